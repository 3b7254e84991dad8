//! The spiller's side of one lane: from the ring into segments, the checkpoint, and what may be removed after it.

use std::{
    fmt,
    fs::File,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    clock::wall_ms,
    journal::{
        Config, Mark, STREAMS, Spill,
        checkpoint::{Checkpoint, CheckpointFile},
        disk::{self, Disk, Named},
        frame::MAX_FRAME,
        gauges::Counters,
        lane::Shared,
        layout,
        reader::BATCH,
        ring::Tap,
        segment::{self, Block, Extent, Item, Segment, walk},
    },
};

/// The first and the longest wait after a disk error.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The spiller's side of one lane.
#[derive(Debug)]
pub(super) struct SpillLane {
    pub(super) shared: Arc<Shared>,
    tap: Tap,
    disk: Disk,
    directory: u64,
    dir: PathBuf,
    quarantine: PathBuf,
    checkpoint: CheckpointFile,
    /// The checkpoint that is durable.
    written: Checkpoint,
    next_number: u64,
    /// The epoch and next numbers at the end of what is written, and of what is synced.
    at_written: (u64, [u64; STREAMS]),
    at_spilled: (u64, [u64; STREAMS]),
    open: Option<OpenSegment>,
    retry: Option<(Instant, Duration)>,
    /// The last checkpoint that was due is not written.
    pub(super) checkpoint_failing: bool,
    ring: Named,
    /// Its file is not under its name any more.
    pub(super) ring_gone: bool,
    buffer: Vec<u8>,
}

/// What recovery hands over.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) disk: Disk,
    pub(super) directory: u64,
    pub(super) dir: PathBuf,
    pub(super) quarantine: PathBuf,
    pub(super) checkpoint: CheckpointFile,
    pub(super) written: Checkpoint,
    pub(super) next_number: u64,
    pub(super) at_spilled: (u64, [u64; STREAMS]),
    pub(super) ring: Named,
}

/// The segment that is written now.
#[derive(Debug)]
struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: File,
    /// Where the next block goes.
    len: u64,
    /// Its name is not synced yet.
    new: bool,
    /// Written, not yet synced.
    pending: Vec<Extent>,
}

/// Why a round of spilling ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The disk budget is used up.
    Budget,
    /// The disk refused.
    Disk(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Disk(error)
    }
}

impl Stopped {
    /// The label of its counter.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Stopped::Budget => "budget",
            Stopped::Disk(_) => "disk",
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Budget => f.write_str("the disk budget is used up; see to the sink or raise [journal] disk_bytes"),
            Stopped::Disk(error) => error.fmt(f),
        }
    }
}

impl SpillLane {
    pub(super) fn new(shared: Arc<Shared>, tap: Tap, origin: Origin) -> SpillLane {
        let Origin { disk, directory, dir, quarantine, checkpoint, written, next_number, at_spilled, ring } = origin;
        SpillLane {
            shared,
            tap,
            disk,
            directory,
            dir,
            quarantine,
            checkpoint,
            written,
            next_number,
            at_written: at_spilled,
            at_spilled,
            open: None,
            retry: None,
            checkpoint_failing: false,
            ring,
            ring_gone: false,
            buffer: Vec::new(),
        }
    }

    pub(super) fn number(&self) -> u16 {
        self.shared.lane
    }

    /// What the file system of its segments has left, bytes.
    pub(super) fn file_system_room(&self) -> Option<u64> {
        disk::room(&self.dir).ok()
    }

    /// Looks for the ring's file: `Some` if it is newly gone, with its name.
    pub(super) fn miss_ring(&mut self) -> Option<&Path> {
        let gone = !self.ring.is_there();
        let newly = gone && !self.ring_gone;
        self.ring_gone = gone;
        newly.then_some(&*self.ring.path)
    }

    /// Leaves to the next start, should this process be killed, since when something has had no home: `age`, or now.
    pub(super) fn note_age(&self, age: Option<Duration>) {
        // Rounded down, for none may be older.
        let since = wall_ms().saturating_sub(age.unwrap_or_default().as_millis() as u64 + 1);
        self.disk.store(|| self.shared.ring.set_since_ms(since));
    }

    /// Whether the wait after an error is over.
    pub(super) fn may_spill(&self, now: Instant) -> bool {
        self.retry.is_none_or(|(at, _)| now >= at)
    }

    /// Whether the last round ended with an error.
    pub(super) fn backing_off(&self) -> bool {
        self.retry.is_some()
    }

    /// Forgets the errors; whether there were any.
    pub(super) fn recovered_from_error(&mut self) -> bool {
        self.retry.take().is_some()
    }

    /// Copies everything up to the head into segments and syncs it. `room`: what is left of the disk budget.
    pub(super) fn spill(&mut self, config: &Config, mut room: u64, counters: &Counters) -> Result<(), Stopped> {
        let goal = self.shared.ring.head();
        let mut from = match config.spill {
            Spill::Auto => self.shared.durable(),
            Spill::Always => self.shared.ring.spilled(),
        };
        while from < goal {
            let Some(head) = self.tap.copy(from, BATCH, &mut self.buffer) else {
                // Gone under it: delivered meanwhile.
                from = self.shared.ring.acked().max(from);
                continue;
            };
            let (to, at_end) = self.cut(from, head);
            let need = segment::BLOCK as u64 + (to - from);
            let Some(left) = room.checked_sub(need) else {
                // What fitted stays: given up with the rest, it would be written again at each try and never free the ring.
                self.commit(counters)?;
                return Err(Stopped::Budget);
            };
            room = left;
            self.roll_over(config, counters)?;
            if let Err(error) = self.write_block(from, to, at_end) {
                self.commit(counters)?;
                return Err(error.into());
            }
            from = to;
        }
        let spilled = self.commit(counters)?;
        if self.backing_off() && !spilled {
            self.probe(room)?;
        }
        // What left the ring unspilled was delivered, so this holds with nothing written too.
        self.shared.ring.set_spilled(from);
        Ok(())
    }

    /// Cuts the buffer, copied from `from` on, to whole frames of one epoch (so that each epoch's last number stands in a
    /// block). Returns its end and the numbers there.
    fn cut(&mut self, from: u64, head: u64) -> (u64, (u64, [u64; STREAMS])) {
        let end = from + self.buffer.len() as u64;
        let last = end == head || end.is_multiple_of(self.shared.ring.size());
        let mut at_end = self.at_written;
        let (mut epoch, mut other_epoch) = (None, None);
        let plausible = |offset: usize, pos| pos == from + offset as u64;
        let walked = walk(&self.buffer, self.shared.seed, last, plausible, |offset, item| {
            if let (Item::Frame(frame), None) = (item, other_epoch) {
                match *epoch.get_or_insert(frame.epoch) == frame.epoch {
                    true => at_end = (frame.epoch, frame.next),
                    false => other_epoch = Some(offset),
                }
            }
        });
        let len = other_epoch.unwrap_or(walked);
        self.buffer.truncate(len);
        (from + len as u64, at_end)
    }

    /// Closes a segment that is long enough.
    fn roll_over(&mut self, config: &Config, counters: &Counters) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.len >= config.segment_bytes.0) {
            self.commit(counters)?;
            self.open = None;
        }
        Ok(())
    }

    fn write_block(&mut self, from: u64, to: u64, at_end: (u64, [u64; STREAMS])) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let (epoch, next) = at_end;
        let block = Block { from, to, acked_below: self.shared.ring.acked(), epoch, next };
        let header = block.encode(self.shared.seed);
        let offset = open.len;
        let done = self
            .disk
            .write_at(&open.file, &header, offset)
            .and_then(|()| self.disk.write_at(&open.file, &self.buffer, offset + segment::BLOCK as u64));
        if done.is_ok() {
            open.len = offset + segment::BLOCK as u64 + (to - from);
            open.pending.push(Extent { from, to, file: open.number, offset, end: open.len });
            self.at_written = at_end;
        }
        self.open = Some(open);
        done
    }

    fn create(&mut self) -> io::Result<OpenSegment> {
        let number = self.next_number;
        let path = self.dir.join(layout::segment_name(number));
        let file = self.disk.create(&path)?;
        self.next_number += 1;
        let head =
            segment::Head { version: segment::VERSION, lane: self.shared.lane, directory: self.directory, number };
        let made = OpenSegment { number, path, file, len: segment::HEADER as u64, new: true, pending: Vec::new() };
        if let Err(error) = self.disk.write_at(&made.file, &head.encode(), 0) {
            let _ = self.disk.remove(&made.path);
            return Err(error);
        }
        Ok(made)
    }

    /// Whether the disk takes a segment again, asked after an error where the sink was quicker and nothing is left to be spilled.
    fn probe(&mut self, room: u64) -> Result<(), Stopped> {
        if room < segment::BLOCK as u64 + MAX_FRAME {
            return Err(Stopped::Budget);
        }
        let made = self.create()?;
        let synced = self.disk.sync(&made.file).and_then(|()| self.disk.sync_dir(&self.dir));
        let _ = self.disk.remove(&made.path);
        Ok(synced?)
    }

    /// Syncs what was written, then says where it is, then lets the worker have its room: in this order. Whether there was anything.
    fn commit(&mut self, counters: &Counters) -> io::Result<bool> {
        let Some(open) = self.open.as_mut().filter(|open| !open.pending.is_empty()) else { return Ok(false) };
        let started = Instant::now();
        self.disk.sync(&open.file)?;
        if open.new {
            self.disk.sync_dir(&self.dir)?;
            open.new = false;
        }
        counters.synced(started.elapsed(), open.pending.iter().map(|extent| extent.end - extent.offset).sum());
        let mut home = self.shared.home();
        let to = open.pending.last().map_or(0, |extent| extent.to);
        home.index.files.entry(open.number).or_insert_with(|| Segment {
            path: open.path.clone(),
            to,
            bytes: open.len,
            damaged: false,
        });
        for extent in mem::take(&mut open.pending) {
            home.index.push(extent);
        }
        self.at_spilled = self.at_written;
        let (epoch, next) = self.at_spilled;
        home.safe = next.map(|next| Mark { epoch, next });
        drop(home);
        self.shared.ring.set_spilled(to);
        Ok(true)
    }

    /// After an error: closes the segment at its last good sync (the same frames are taken again into a new one) and backs
    /// off. Whether this is the first error in a row.
    pub(super) fn abandon(&mut self, now: Instant) -> bool {
        self.at_written = self.at_spilled;
        if let Some(open) = self.open.take() {
            // Without a good sync there is nothing in it that anybody was told of.
            if !self.shared.home().index.files.contains_key(&open.number) {
                let _ = self.disk.remove(&open.path);
            }
        }
        let wait = self.retry.map_or(BACK_OFF.0, |(_, wait)| (wait * 2).min(BACK_OFF.1));
        self.retry.replace((now + wait, wait)).is_none()
    }

    /// What the checkpoint has to say now.
    fn now(&self) -> Checkpoint {
        let home = self.shared.home();
        let next = if self.shared.epoch > 0 { self.shared.appended() } else { self.written.next };
        Checkpoint {
            epoch: self.written.epoch,
            next,
            acked: home.acked,
            delivered: home.delivered,
            sink: home.sink,
            clean: None,
        }
    }

    /// Makes the checkpoint durable if it changed, then removes what it has passed.
    pub(super) fn keep_checkpoint(&mut self) -> io::Result<()> {
        let checkpoint = self.now();
        if checkpoint.acked == self.written.acked && checkpoint.delivered == self.written.delivered {
            return Ok(());
        }
        self.checkpoint.write(&checkpoint)?;
        self.written = checkpoint;
        self.remove_finished()
    }

    /// The last checkpoint. `false`: without the clean mark, because something is in the ring alone or may still come.
    pub(super) fn close(&mut self) -> io::Result<bool> {
        let head = self.shared.ring.head();
        let clean = !self.shared.appending.load(Ordering::Acquire) && self.shared.durable() >= head;
        let checkpoint = Checkpoint { clean: clean.then_some(head), ..self.now() };
        self.checkpoint.write(&checkpoint)?;
        self.written = checkpoint;
        self.open = None;
        self.remove_finished()?;
        Ok(clean)
    }

    /// Removes the segments below the durable checkpoint; those with damage go to the quarantine.
    fn remove_finished(&mut self) -> io::Result<()> {
        let finished = {
            let mut home = self.shared.home();
            let acked = self.written.acked;
            let passed = |number: u64| home.index.files.get(&number).is_some_and(|file| file.to <= acked);
            if self.open.as_ref().is_some_and(|open| open.pending.is_empty() && passed(open.number)) {
                self.open = None;
            }
            home.index.finished(acked, self.open.as_ref().map(|open| open.number))
        };
        if finished.is_empty() {
            return Ok(());
        }
        for (_, segment) in finished {
            let gone = match segment.path.file_name().filter(|_| segment.damaged) {
                Some(name) => layout::put_aside(&self.disk, &segment.path, &self.quarantine, name),
                None => self.disk.remove(&segment.path),
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It stays, and the next start finds that it is delivered.
                    tracing::warn!(path = %segment.path.display(), %error, "a finished segment could not be removed");
                }
                _ => {}
            }
        }
        self.disk.sync_dir(&self.dir)
    }
}
