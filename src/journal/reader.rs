//! The shipper's end of a lane: the ring while a position is in it, else the segments.

use std::{
    fs::File,
    io, mem,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use crate::journal::{
    Mark, STREAMS, SinkNote,
    frame::{self, Frame, MAX_FRAME},
    history::End,
    lane::{Lost, Shared},
    ring::Tap,
    segment::{Extent, Item, read_up_to, walk},
};

/// The most a batch holds, bytes. At least two of the largest frames, so that each read gets on.
pub const BATCH: usize = 256 << 10;
const _: () = assert!(BATCH as u64 >= 2 * MAX_FRAME);

/// A segment that holds undelivered clicks cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}; its clicks stay where they are, and reading is tried again")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// Some frames of a lane, in order, in a buffer of their own.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where in `bytes` each frame begins.
    offsets: Vec<u32>,
    next: u64,
}

impl Batch {
    /// The frames, checksum verified, in the order of their positions.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.offsets.iter().map(|offset| {
            let bytes = &self.bytes[*offset as usize..];
            let (end, whole) = frame::lengths(bytes);
            frame::decode(&bytes[..end], frame::position(bytes) + whole)
        })
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Where to go on. It may have moved on past pads and damage though there is no frame.
    pub fn next(&self) -> u64 {
        self.next
    }
}

/// The shipper's end of a lane.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    tap: Tap,
    directory: u64,
    start: u64,
    delivered: [Mark; STREAMS],
    note: SinkNote,
    open: Option<Open>,
    /// Where the last read ended, and the numbers seen up to there: what damage swallows shows in the numbers after it.
    trail: Option<(u64, [Mark; STREAMS])>,
}

/// The segment that is being read, and how far.
#[derive(Debug)]
struct Open {
    number: u64,
    path: PathBuf,
    file: File,
    pos: u64,
    offset: u64,
}

/// How a lane stands: what a reader of the topics can hold it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The next number of each stream in the lane's epoch.
    pub appended: [u64; STREAMS],
    /// Everything before is delivered or synced, a stream each.
    pub safe: [Mark; STREAMS],
    /// Clicks of this epoch that were answered and found no room: they have no number.
    pub unrecorded: u64,
    /// How earlier epochs ended, the latest last; 256 at most.
    pub ended: Vec<End>,
    /// Numbers of each stream whose clicks are damaged: epoch, first, and the one after the last.
    pub quarantined: [Vec<(u64, u64, u64)>; STREAMS],
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, tap: Tap, directory: u64) -> Reader {
        let (start, delivered, note) = {
            let home = shared.home();
            (home.acked, home.delivered, home.sink)
        };
        Reader { shared, tap, directory, start, delivered, note, open: None, trail: Some((start, delivered)) }
    }

    /// The id of the data directory: the same in a copy of it, and in no other.
    pub fn directory(&self) -> u64 {
        self.directory
    }

    /// The lane's number.
    pub fn lane(&self) -> u16 {
        self.shared.lane
    }

    /// The epoch its worker appends in; 0 for a lane without a worker, which is only drained.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The first position to ship, as recovered.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How far each stream was delivered at the recovered checkpoint: what lies before its mark need not be sent again.
    pub fn delivered(&self) -> [Mark; STREAMS] {
        self.delivered
    }

    /// What the sink had noted in the recovered checkpoint; zeros where there was none.
    pub fn sink_note(&self) -> SinkNote {
        self.note
    }

    /// Everything below was appended.
    pub fn head(&self) -> u64 {
        self.shared.ring.head()
    }

    /// Every frame of `stream` before this mark is delivered or synced.
    pub fn safe(&self, stream: u8) -> Mark {
        let safe = {
            let home = self.shared.home();
            let stream = usize::from(stream).min(STREAMS - 1);
            home.safe[stream].max(home.delivered[stream])
        };
        self.true_of(stream, safe)
    }

    /// As much of a mark of `stream` as is true of every number before it: an epoch that a power loss ended lacks some from its
    /// end on, though there may be more behind them.
    pub fn true_of(&self, stream: u8, mark: Mark) -> Mark {
        if mark.epoch == self.shared.epoch {
            return mark;
        }
        let stream = usize::from(stream).min(STREAMS - 1);
        let home = self.shared.home();
        match home.ended.iter().rev().find(|end| end.epoch == mark.epoch && end.cut) {
            Some(end) => Mark { next: mark.next.min(end.next[stream]), ..mark },
            None => mark,
        }
    }

    /// What can be said of the lane now, for its statement.
    pub fn standing(&self) -> Standing {
        // In this order, so that whatever is safe was appended.
        let safe = std::array::from_fn(|stream| self.safe(stream as u8));
        let appended = self.shared.appended();
        let home = self.shared.home();
        Standing {
            appended,
            safe,
            unrecorded: self.shared.unrecorded.load(Ordering::Relaxed),
            ended: home.ended.clone(),
            quarantined: std::array::from_fn(|stream| home.gone(stream, self.delivered[stream])),
        }
    }

    /// Says that everything below `upto` is delivered, each stream up to its mark, with a note of the sink that goes into the
    /// checkpoint with it. Never goes back.
    pub fn acknowledge(&self, upto: u64, delivered: [Mark; STREAMS], sink: SinkNote) {
        let mut home = self.shared.home();
        home.acked = home.acked.max(upto.min(self.shared.ring.head()));
        for (have, now) in home.delivered.iter_mut().zip(delivered) {
            *have = now.max(*have);
        }
        home.sink = sink;
        self.shared.ring.set_acked(home.acked);
    }

    /// Reads on at `from` (at least what is acknowledged) into `batch`, 256 KiB at most. An empty batch whose `next` is `from`: nothing new.
    ///
    /// # Errors
    /// A segment cannot be read. Nothing is lost: try again later.
    pub fn read(&mut self, from: u64, batch: &mut Batch) -> Result<(), ReadError> {
        batch.offsets.clear();
        batch.next = from;
        self.trail = self.trail.filter(|(pos, _)| *pos == from);
        let read = self.read_on(from, batch);
        self.trail = self.trail.map(|(_, marks)| (batch.next, marks));
        read
    }

    fn read_on(&mut self, from: u64, batch: &mut Batch) -> Result<(), ReadError> {
        if let Some(head) = self.tap.copy(from, BATCH, &mut batch.bytes) {
            let size = self.shared.ring.size();
            let end = from + batch.bytes.len() as u64;
            let last = end == head || end.is_multiple_of(size);
            let (walked, _) = self.sift(batch, from, u64::MAX, last, |offset, pos| pos == from + offset as u64);
            batch.next = from + walked as u64;
            return Ok(());
        }
        // Looked up after the ring said no: what left the ring is in the index, or delivered.
        let (extent, spilled, path) = {
            let home = self.shared.home();
            let extent = home.index.at(from);
            let path = extent.and_then(|extent| home.index.files.get(&extent.file)).map(|file| file.path.clone());
            (extent, self.shared.durable(), path)
        };
        match (extent, path) {
            (Some(extent), Some(path)) => self.read_extent(from.max(extent.from), extent, path, batch),
            _ => {
                batch.next = from.max(spilled);
                Ok(())
            }
        }
    }

    fn read_extent(&mut self, from: u64, extent: Extent, path: PathBuf, batch: &mut Batch) -> Result<(), ReadError> {
        let mut open = match self.open.take().filter(|open| open.number == extent.file) {
            Some(open) => open,
            None => match File::open(&path) {
                Ok(file) => Open { number: extent.file, path, file, pos: u64::MAX, offset: 0 },
                Err(source) => return Err(ReadError { path, source }),
            },
        };
        let goes_on = open.pos == from && (extent.offset..extent.end).contains(&open.offset);
        if !goes_on {
            open.offset = extent.offset;
        }
        while open.offset < extent.end && batch.offsets.is_empty() {
            let want = ((extent.end - open.offset) as usize).min(BATCH);
            batch.bytes.resize(want, 0);
            match read_up_to(&open.file, &mut batch.bytes, open.offset) {
                Ok(got) => batch.bytes.truncate(got),
                Err(source) => return Err(ReadError { path: open.path, source }),
            }
            let last = batch.bytes.len() < want || open.offset + want as u64 == extent.end;
            let (walked, damaged) =
                self.sift(batch, from, extent.to, last, |_, pos| pos >= extent.from && pos < extent.to);
            if damaged && let Some(file) = self.shared.home().index.files.get_mut(&extent.file) {
                file.damaged = true;
            }
            open.offset = if last { extent.end } else { open.offset + walked as u64 };
        }
        // Of an extent that was read to its end, the rest is pads or damage.
        batch.next = match batch.offsets.last() {
            Some(_) if open.offset < extent.end => batch.frames().last().map_or(from, |frame| frame.next_pos),
            _ => extent.to,
        };
        open.pos = batch.next;
        self.open = Some(open);
        Ok(())
    }

    /// Notes the good frames of `[from, to)` in the batch's bytes and counts what is bad. Returns the bytes walked, and
    /// whether there was damage.
    fn sift(
        &mut self,
        batch: &mut Batch,
        from: u64,
        to: u64,
        last: bool,
        plausible: impl Fn(usize, u64) -> bool,
    ) -> (usize, bool) {
        let Batch { bytes, offsets, .. } = batch;
        let (mut damaged, mut gap, mut lost) = (0, false, Lost::new());
        let trail = &mut self.trail;
        let walked = walk(bytes, self.shared.seed, last, plausible, |offset, item| match item {
            Item::Frame(frame) if frame.pos >= from && frame.pos < to => {
                offsets.push(offset as u32);
                if let Some((_, marks)) = trail {
                    follow(marks, &frame, mem::take(&mut gap).then_some(&mut lost));
                }
            }
            Item::Bad | Item::Newer => {
                gap = true;
                damaged += 1;
            }
            Item::Frame(_) | Item::Block(_) | Item::Pad { .. } => {}
        });
        if damaged > 0 {
            self.shared.damaged.fetch_add(damaged, Ordering::Relaxed);
            self.shared.home().lost.extend(lost);
        }
        (walked, damaged > 0)
    }
}

/// Moves the marks on over a frame. Behind damage, notes the numbers that are missing before it.
fn follow(marks: &mut [Mark; STREAMS], frame: &Frame<'_>, lost: Option<&mut Lost>) {
    if let Some(lost) = lost {
        for (stream, mark) in marks.iter().enumerate() {
            let before = frame.next[stream] - u64::from(stream == usize::from(frame.stream));
            let first = if mark.epoch == frame.epoch { mark.next } else { 0 };
            if first < before && mark.epoch <= frame.epoch {
                lost.insert((frame.epoch, stream, first), before);
            }
        }
    }
    for (mark, next) in marks.iter_mut().zip(frame.next) {
        *mark = (*mark).max(Mark { epoch: frame.epoch, next });
    }
}
