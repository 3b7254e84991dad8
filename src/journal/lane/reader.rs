//! The delivery's end of a lane: it reads frames from the ring, or from segments once they have left the ring, and
//! acknowledges them. What it cannot read is accounted by number: it knows the next number that it must see.

mod quarantine;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::{
    batch::{Batch, MAX_BATCH_BYTES},
    delivered_tail::{DeliveredTail, TailCoverage},
    extent_walk::{ExtentWalk, WalkEnd},
    failed_pages::FailedPages,
    malformed_frames::MalformedFramesFile,
    shared::LaneShared,
    status::{LaneStatus, MAX_STATED_RANGES},
};
use crate::journal::{
    disk::Disk,
    frame::Frame,
    ring::RingReader,
    segment_index::Extent,
    units::{Epoch, Position, SinkNote, Watermark},
    walk::{WalkItem, walk_items_and_return_walked_bytes},
};

/// A segment with undelivered clicks cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}; its clicks stay where they are, and reading is tried again")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// The delivery's end of a lane.
#[derive(Debug)]
pub struct LaneReader {
    shared: Arc<LaneShared>,
    ring: RingReader,
    directory_id: u64,
    delivered_tail: DeliveredTail,
    disk: Disk,
    /// The name of the log.
    log: &'static str,
    /// The directory of the lane's files.
    lane_dir: PathBuf,
    /// This file exists as long as the directory of the log can be reached.
    checkpoints_path: PathBuf,
    first_undelivered: Position,
    recovered_watermark: Watermark,
    recovered_sink_note: SinkNote,
    segment: Option<SegmentCursor>,
    frontier: Frontier,
    failed_pages: FailedPages,
    /// The file that was found damaged or gone last, until it is named in the log.
    faulty_file: Option<PathBuf>,
    malformed_frames: MalformedFramesFile,
}

/// What the reader needs beside the lane's shared parts and its ring.
#[derive(Debug)]
pub(in crate::journal) struct LaneReaderParts {
    pub(in crate::journal) directory_id: u64,
    pub(in crate::journal) disk: Disk,
    /// The name of the log.
    pub(in crate::journal) log: &'static str,
    pub(in crate::journal) lane_dir: PathBuf,
    pub(in crate::journal) checkpoints_path: PathBuf,
    pub(in crate::journal) malformed_frames: MalformedFramesFile,
    pub(in crate::journal) delivered_tail: DeliveredTail,
}

/// How far the lane was read. Reading again below it changes nothing.
#[derive(Clone, Copy, Debug)]
struct Frontier {
    end: Position,
    /// Every number below was seen or is quarantined. `None` after a jump, until the next frame.
    seen: Option<Watermark>,
}

/// The segment that is being read, and how far it is read.
#[derive(Debug)]
struct SegmentCursor {
    file_number: u64,
    file: File,
    next_position: Position,
    offset: u64,
}

/// An extent of the index, at the moment when it was looked up.
#[derive(Debug)]
struct FoundExtent {
    extent: Extent,
    path: PathBuf,
    /// The watermark at the extent's end, if no extent follows.
    watermark_at_end: Option<Watermark>,
}

impl LaneReader {
    pub(in crate::journal) fn new(shared: Arc<LaneShared>, ring: RingReader, parts: LaneReaderParts) -> LaneReader {
        let LaneReaderParts { directory_id, disk, log, lane_dir, checkpoints_path, malformed_frames, delivered_tail } =
            parts;
        let (first_undelivered, watermark, note) = {
            let progress = shared.lock_progress();
            (progress.acked, progress.delivered, progress.sink_note)
        };
        LaneReader {
            shared,
            ring,
            directory_id,
            delivered_tail,
            disk,
            log,
            lane_dir,
            checkpoints_path,
            first_undelivered,
            recovered_watermark: watermark,
            recovered_sink_note: note,
            segment: None,
            frontier: Frontier { end: first_undelivered, seen: Some(watermark) },
            failed_pages: FailedPages::default(),
            faulty_file: None,
            malformed_frames,
        }
    }

    /// The id of the journal's directory: the same in a copy of it, and in no other directory.
    pub fn directory_id(&self) -> u64 {
        self.directory_id
    }

    /// The lane's number.
    pub fn lane(&self) -> u16 {
        self.shared.lane
    }

    /// The epoch in which the lane's worker appends; [`Epoch::NONE`] for a lane without a worker, which is only
    /// drained.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The first position that is not delivered, as recovered at the start.
    pub fn first_undelivered(&self) -> Position {
        self.first_undelivered
    }

    /// How far the lane was delivered, as recovered at the start: clicks below need not be delivered again.
    pub fn recovered_watermark(&self) -> Watermark {
        self.recovered_watermark
    }

    /// The sink's note in the checkpoint recovered at the start; zeros if there was none.
    pub fn recovered_sink_note(&self) -> SinkNote {
        self.recovered_sink_note
    }

    /// Shows the frames that were delivered before the start and that the ring still holds: in parts of about 1 MiB,
    /// the newest part first, and each part in order. Stops behind a part in which `visit` returned `false`.
    ///
    /// # Errors
    /// The ring's file cannot be read.
    pub fn visit_frames_delivered_before_start(
        &self,
        visit: impl FnMut(&Frame<'_>) -> bool,
    ) -> io::Result<TailCoverage> {
        self.delivered_tail.visit_newest_part_first(visit)
    }

    /// The position below which everything is appended.
    pub fn head(&self) -> Position {
        self.shared.ring.head()
    }

    /// The lowest position that the ring may still hold.
    #[cfg(test)]
    pub(in crate::journal) fn ring_lowest_position(&self) -> Position {
        self.ring.lowest_position()
    }

    /// The watermark below which every frame is delivered or synced.
    pub fn durable_watermark(&self) -> Watermark {
        let durable = {
            let progress = self.shared.lock_progress();
            progress.durable.max(progress.delivered)
        };
        self.lower_watermark_to_cut_of_its_epoch(durable)
    }

    /// Lowers a watermark to the first missing number, if a power loss cut its epoch: from there on some numbers are
    /// missing, though later ones may exist.
    pub fn lower_watermark_to_cut_of_its_epoch(&self, watermark: Watermark) -> Watermark {
        if watermark.epoch == self.shared.epoch {
            return watermark;
        }
        let progress = self.shared.lock_progress();
        match progress.epoch_ends.iter().rev().find(|end| end.epoch == watermark.epoch && end.cut) {
            Some(end) => Watermark { next: watermark.next.min(end.next_seq), ..watermark },
            None => watermark,
        }
    }

    /// The state of the lane now.
    pub fn status(&self) -> LaneStatus {
        // The durable watermark first, so that every click below it is below `next_seq` too.
        let durable = self.durable_watermark();
        let next_seq = self.shared.next_seq();
        let progress = self.shared.lock_progress();
        let mut quarantined = progress.list_undeliverable_ranges(self.recovered_watermark);
        let omitted = quarantined.drain(..quarantined.len().saturating_sub(MAX_STATED_RANGES));
        let quarantined_omitted = omitted.map(|range| range.end - range.first).sum();
        LaneStatus {
            next_seq,
            durable,
            unrecorded: self.shared.unrecorded.load(Ordering::Relaxed),
            epoch_ends: progress.epoch_ends.clone(),
            quarantined,
            quarantined_omitted,
        }
    }

    /// Records that everything below `position` is delivered, which is everything below the watermark. `sink_note` goes
    /// into the checkpoint with them. Lower values than before change nothing.
    pub fn acknowledge(&self, position: Position, delivered: Watermark, sink_note: SinkNote) {
        let mut progress = self.shared.lock_progress();
        progress.acked = progress.acked.max(position.min(self.shared.ring.head()));
        progress.delivered = progress.delivered.max(delivered);
        progress.sink_note = sink_note;
        self.shared.ring.raise_acked(progress.acked);
    }

    /// Reads frames from `from` on into `batch`, 256 KiB at most, for the first time. `from` is at least the
    /// acknowledged position. If there is nothing new, the batch is empty and its `next_position` is `from`.
    ///
    /// Frames that a segment has lost are taken from the ring, if it still holds them. Numbers that are nowhere are
    /// quarantined and logged, and reading goes on behind them.
    ///
    /// # Errors
    /// A segment cannot be reached, or the medium does not give its bytes and has not failed often enough. Nothing is
    /// lost: try again later.
    pub fn read(&mut self, from: Position, batch: &mut Batch) -> Result<(), ReadError> {
        batch.offsets.clear();
        batch.next_position = from;
        if from > self.frontier.end {
            self.frontier = Frontier { end: from, seen: None };
        }
        let mut watermark_at_end = self.read_batch_from_ring_or_segment(from, batch)?;
        // Behind lost bytes, up to the next frame: it tells which numbers they had.
        let mut reached = from;
        while batch.is_empty() && watermark_at_end.is_none() && batch.next_position > reached {
            reached = batch.next_position;
            watermark_at_end = self.read_batch_from_ring_or_segment(reached, batch)?;
        }
        self.advance_frontier_and_quarantine_skipped_seqs(batch, watermark_at_end);
        Ok(())
    }

    /// Reads frames again, as [`LaneReader::read`] does. Nothing is quarantined: who reads again knows which frames
    /// were there.
    ///
    /// # Errors
    /// As in [`LaneReader::read`].
    pub fn read_again(&mut self, from: Position, batch: &mut Batch) -> Result<(), ReadError> {
        batch.offsets.clear();
        batch.next_position = from;
        self.read_batch_from_ring_or_segment(from, batch).map(|_| ())
    }

    /// The last batch was used up to `position` alone, and every number below `seen` was seen. The rest is read once
    /// more, and what it then lacks is quarantined.
    pub fn continue_account_at(&mut self, position: Position, seen: Watermark) {
        self.frontier = Frontier { end: position, seen: Some(seen) };
    }

    /// Returns the watermark that the lane has at the end of the batch, if it is known.
    fn read_batch_from_ring_or_segment(
        &mut self,
        from: Position,
        batch: &mut Batch,
    ) -> Result<Option<Watermark>, ReadError> {
        if let Some(head) = self.ring.try_copy_and_return_head(from, MAX_BATCH_BYTES, &mut batch.bytes) {
            self.collect_frames_of_ring_bytes(from, head, batch);
            return Ok(None);
        }
        // The index is read after the ring: a frame that has left the ring is in the index, or delivered.
        let (found, durable) = {
            let progress = self.shared.lock_progress();
            let extent = progress.index.find_extent_at_or_above(from);
            let found = extent.and_then(|extent| {
                let path = progress.index.files.get(&extent.file)?.path.clone();
                let is_last = progress.index.extents.back() == Some(&extent);
                Some(FoundExtent { extent, path, watermark_at_end: is_last.then_some(progress.durable) })
            });
            (found, (self.shared.durable_position(), progress.durable))
        };
        match found {
            Some(found) => self.read_batch_from_extent(from.max(found.extent.from), found, batch),
            None => {
                batch.next_position = from.max(durable.0);
                Ok(Some(durable.1))
            }
        }
    }

    /// Notes the frames in the batch's bytes, which were copied from the ring at `from`.
    fn collect_frames_of_ring_bytes(&self, from: Position, head: Position, batch: &mut Batch) {
        let Batch { bytes, offsets, .. } = batch;
        let end = from + bytes.len() as u64;
        let is_last = end == head || end.is_multiple_of(self.shared.ring.size());
        let is_plausible = |offset, position| position == from + offset as u64;
        let mut damaged_places = 0;
        let lane_id = self.shared.lane_id;
        let walked =
            walk_items_and_return_walked_bytes(bytes, lane_id, is_last, is_plausible, |offset, item| match item {
                WalkItem::Frame(_) => offsets.push(offset as u32),
                WalkItem::Damage | WalkItem::OtherVersion { .. } => damaged_places += 1,
                WalkItem::Block(_) | WalkItem::Pad { .. } => {}
            });
        self.shared.damaged.fetch_add(damaged_places, Ordering::Relaxed);
        batch.next_position = from + walked as u64;
    }

    /// Reads frames of the extent up to the first place that cannot be read. If the batch would begin at such a place,
    /// passes over it: to what the ring still holds of it, else to the next frame behind it. Returns the watermark that
    /// the lane has at the end of the batch, if it is known.
    fn read_batch_from_extent(
        &mut self,
        from: Position,
        found: FoundExtent,
        batch: &mut Batch,
    ) -> Result<Option<Watermark>, ReadError> {
        let FoundExtent { extent, path, watermark_at_end } = found;
        let Some(mut segment) = self.take_cached_or_open_segment_unless_gone(extent.file, &path)? else {
            // The ring may still hold a part of what the file held.
            batch.next_position = self.ring.lowest_position().clamp(from, extent.to);
            self.shared.damaged.fetch_add(1, Ordering::Relaxed);
            self.mark_file_as_damaged(extent.file, path);
            return Ok(watermark_at_end.filter(|_| batch.next_position == extent.to));
        };
        let continues = segment.next_position == from && (extent.offset..=extent.end).contains(&segment.offset);
        if !continues {
            segment.offset = extent.offset;
        }
        let mut walk = ExtentWalk::new(from, &extent, self.ring.lowest_position());
        while segment.offset < extent.end && walk.wants_more() {
            let len = ((extent.end - segment.offset) as usize).min(MAX_BATCH_BYTES);
            batch.bytes.resize(len, 0);
            batch.offsets.clear();
            let read = self.disk.read_at_marking_unreadable_pages(&segment.file, &mut batch.bytes, segment.offset);
            let read = match read {
                Ok(read) => read,
                Err(source) => return Err(ReadError { path, source }),
            };
            let (range, unreadable) = (segment.offset..segment.offset + len as u64, &read.unreadable_pages);
            if !self.failed_pages.count_attempt_and_return_if_all_are_lost(extent.file, range, unreadable) {
                return Err(ReadError { path, source: rustix::io::Errno::IO.into() });
            }
            batch.bytes.truncate(read.len);
            let is_last = read.len < len || segment.offset + len as u64 == extent.end;
            let walked = walk.walk_chunk(batch, self.shared.lane_id, is_last);
            // A block of another lane that reaches beyond the bytes is passed over as a whole.
            let is_exhausted = is_last && walked >= batch.bytes.len();
            segment.offset = if is_exhausted { extent.end } else { segment.offset + walked as u64 };
        }
        let WalkEnd { next_position, damaged_places, is_damaged } = walk.finish(segment.offset >= extent.end);
        segment.next_position = next_position;
        batch.next_position = next_position;
        self.shared.damaged.fetch_add(damaged_places, Ordering::Relaxed);
        if is_damaged {
            self.mark_file_as_damaged(extent.file, path);
        }
        self.segment = Some(segment);
        Ok(watermark_at_end.filter(|_| next_position >= extent.to))
    }

    /// The segment that was read last, if it is this one; else opens it. `None`: the file was removed.
    fn take_cached_or_open_segment_unless_gone(
        &mut self,
        file_number: u64,
        path: &Path,
    ) -> Result<Option<SegmentCursor>, ReadError> {
        if let Some(segment) = self.segment.take().filter(|segment| segment.file_number == file_number) {
            return Ok(Some(segment));
        }
        match File::open(path) {
            Ok(file) => Ok(Some(SegmentCursor { file_number, file, next_position: Position::MAX, offset: 0 })),
            // A file system that was unmounted takes the whole directory away, and may come back.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.checkpoints_path.exists() => Ok(None),
            Err(source) => Err(ReadError { path: path.to_owned(), source }),
        }
    }

    /// The file is then moved to the quarantine instead of being removed.
    fn mark_file_as_damaged(&mut self, file_number: u64, path: PathBuf) {
        if let Some(file) = self.shared.lock_progress().index.files.get_mut(&file_number) {
            file.damaged = true;
        }
        self.faulty_file = Some(path);
    }
}
