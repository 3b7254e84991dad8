//! The worker's end of a lane, and what its three ends share.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::journal::{
    Mark, STREAMS, SinkNote,
    frame::{self, MAX_FRAME, Stamp},
    history::End,
    ring::{Ring, Writer},
    segment::Index,
    seqs::Seqs,
};

/// There is no room in the ring for a frame: neither the sink nor the disk keeps up. Nothing was appended, no number used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full: neither the sink nor the disk keeps up")]
pub struct Full;

/// The worker's end of a lane: one thread appends.
#[derive(Debug)]
pub struct Lane {
    writer: Writer,
    shared: Arc<Shared>,
    epoch: u64,
    next: [u64; STREAMS],
}

/// What worker, reader and spiller of a lane share beside the ring.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lane: u16,
    pub(super) seed: u32,
    pub(super) ring: Arc<Ring>,
    /// The epoch the worker appends in; 0 for a lane without a worker.
    pub(super) epoch: u64,
    /// The worker's next numbers, stored relaxed beside each append, for the metrics alone.
    pub(super) next: Numbers,
    /// Clicks of this epoch that were answered and found no room; told by the worker ten times a second.
    pub(super) unrecorded: AtomicU64,
    /// The worker's end still exists, so something may still be appended.
    pub(super) appending: AtomicBool,
    /// Three quarters of the disk budget are used. One for all lanes.
    pub(super) disk_pressed: Arc<AtomicBool>,
    /// Damaged places met by the reader.
    pub(super) damaged: AtomicU64,
    /// The directories' locks: held as long as any end of a lane lives.
    _locks: Arc<Vec<File>>,
    home: Mutex<Home>,
}

/// A line of the cache that only the worker writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Numbers(pub(super) [AtomicU64; STREAMS]);

/// Where things lie and how far they are delivered. Never locked by the worker.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) index: Index,
    /// Everything below is delivered, as the shipper says.
    pub(super) acked: u64,
    pub(super) delivered: [Mark; STREAMS],
    pub(super) sink: SinkNote,
    /// Everything before is delivered or synced, as the spiller says.
    pub(super) safe: [Mark; STREAMS],
    /// What was found at the start.
    pub(super) recovered: Seqs,
    /// Numbers whose frames the reader found damaged since then.
    pub(super) lost: Lost,
    /// How earlier epochs ended, the latest last.
    pub(super) ended: Vec<End>,
}

/// Numbers that are gone: by epoch, stream and the first of them, the one after the last.
pub(super) type Lost = BTreeMap<(u64, usize, u64), u64>;

impl Home {
    /// Frames of `stream` that are neither delivered nor missing, with `appended` of them in the current `epoch`.
    pub(super) fn backlog(&self, stream: usize, epoch: u64, appended: u64) -> u64 {
        let mark = self.delivered[stream];
        let now = if mark.epoch == epoch { mark.next } else { 0 };
        let behind = |&(epoch, of, first): &(u64, usize, u64)| of == stream && Mark { epoch, next: first } >= mark;
        let lost: u64 = self.lost.iter().filter(|(key, _)| behind(key)).map(|((_, _, first), end)| end - first).sum();
        (self.recovered.count(stream, mark).present + appended.saturating_sub(now)).saturating_sub(lost)
    }

    /// The numbers of `stream` that are damaged and will never be delivered: epoch, first, and the one after the last.
    /// Those found at the start from where delivery stood then.
    pub(super) fn gone(&self, stream: usize, began: Mark) -> Vec<(u64, u64, u64)> {
        let mut gone = self.recovered.holes(stream, began);
        let met = self.lost.iter().filter(|((_, of, _), _)| *of == stream);
        gone.extend(met.map(|((epoch, _, first), end)| (*epoch, *first, *end)));
        gone.sort_unstable();
        gone.dedup();
        gone
    }

    /// How many numbers the reader found to be lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.iter().map(|((_, _, first), end)| end - first).sum()
    }
}

impl Shared {
    pub(super) fn new(
        (lane, seed, epoch): (u16, u32, u64),
        ring: Arc<Ring>,
        (disk_pressed, locks): (Arc<AtomicBool>, Arc<Vec<File>>),
        home: Home,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            lane,
            seed,
            ring,
            epoch,
            next: Numbers::default(),
            unrecorded: AtomicU64::new(0),
            appending: AtomicBool::new(epoch > 0),
            disk_pressed,
            damaged: AtomicU64::new(0),
            _locks: locks,
            home: Mutex::new(home),
        })
    }

    pub(super) fn home(&self) -> MutexGuard<'_, Home> {
        // Nothing in there is left half done by a panic: each change is one assignment or one push.
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything below has a durable home.
    pub(super) fn durable(&self) -> u64 {
        self.ring.acked().max(self.ring.spilled())
    }

    /// Appended in this epoch, a stream each.
    pub(super) fn appended(&self) -> [u64; STREAMS] {
        std::array::from_fn(|stream| self.next.0[stream].load(Ordering::Relaxed))
    }
}

impl Lane {
    pub(super) fn new(writer: Writer, shared: Arc<Shared>) -> Lane {
        Lane { epoch: shared.epoch, writer, shared, next: [0; STREAMS] }
    }

    /// Its number, from 0.
    pub fn lane(&self) -> u16 {
        self.shared.lane
    }

    /// This opening of the lane: larger than every one before, at least the wall clock in milliseconds.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The largest payload it takes, bytes: 64 KiB, or 1/64 of a small ring, less the frame's header.
    pub fn largest(&self) -> usize {
        (self.size() / 64).min(MAX_FRAME) as usize - frame::HEADER
    }

    /// Whether a payload of so many bytes can be appended now. Takes room back if it has to; never waits.
    pub fn room(&mut self, payload_len: usize) -> bool {
        let (_, end) = self.place(payload_len);
        if end > self.writer.limit() {
            self.writer.make_room();
        }
        end <= self.writer.limit() && payload_len <= self.largest()
    }

    /// Appends a frame and returns its number in this epoch and stream. A copy, a checksum and one store: no system call,
    /// no clock, no wait.
    ///
    /// # Errors
    /// [`Full`] where [`Lane::room`] says no.
    pub fn append(&mut self, stream: u8, payload: &[u8]) -> Result<u64, Full> {
        if usize::from(stream) >= STREAMS || !self.room(payload.len()) {
            return Err(Full);
        }
        let (pos, end) = self.place(payload.len());
        let head = self.writer.head();
        let seed = self.shared.seed;
        if pos > head {
            frame::write_pad(self.writer.slot(head, (pos - head) as usize).ok_or(Full)?, seed, head);
        }
        let seq = self.next[usize::from(stream)];
        let mut next = self.next;
        next[usize::from(stream)] += 1;
        let stamp = Stamp { pos, epoch: self.epoch, stream, seq, next };
        frame::write(self.writer.slot(pos, (end - pos) as usize).ok_or(Full)?, seed, &stamp, payload);
        self.writer.publish(end);
        self.next = next;
        self.shared.next.0[usize::from(stream)].store(seq + 1, Ordering::Relaxed);
        Ok(seq)
    }

    /// So many more clicks were answered and not appended: the lane's statements say how many there are in this epoch. Not for each
    /// click: the readers look at the same line of the cache.
    pub fn unrecorded(&self, clicks: u64) {
        if clicks > 0 {
            self.shared.unrecorded.fetch_add(clicks, Ordering::Relaxed);
        }
    }

    /// Bytes in the ring that have no durable home yet.
    pub fn used(&self) -> u64 {
        self.writer.head() - self.shared.durable().min(self.writer.head())
    }

    /// Bytes the ring holds.
    pub fn size(&self) -> u64 {
        self.writer.ring().size()
    }

    /// Whether three quarters of the ring or of the disk budget are used: what does not earn should not be recorded now.
    pub fn pressed(&self) -> bool {
        // The limit is what was free when it was last looked at: a lower bound, so it may answer without touching the lines
        // that the other threads write.
        let surely_free = self.writer.limit() - self.writer.head();
        let ring = surely_free < self.size() / 4 && self.used() >= self.size() / 4 * 3;
        ring || self.shared.disk_pressed.load(Ordering::Relaxed)
    }

    /// Where a payload's frame would begin and end: behind a pad if it would straddle the ring's end.
    fn place(&self, payload_len: usize) -> (u64, u64) {
        let need = frame::total(payload_len);
        let head = self.writer.head();
        let to_end = self.writer.to_end();
        let pos = if need > to_end { head + to_end } else { head };
        (pos, pos + need)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.appending.store(false, Ordering::Release);
    }
}
