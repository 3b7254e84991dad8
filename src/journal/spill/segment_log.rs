//! The segments and checkpoints of a log, which all its lanes share: one sync makes the frames of every lane durable.

use std::{
    fmt, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    lane::SpillLane,
    metrics::SpillMetrics,
    segment_files::SegmentFiles,
    segment_writer::{SegmentWriter, SyncedBlocks, WrittenBlock},
};
use crate::journal::{
    checkpoint::{Checkpoint, CheckpointsFile},
    config::Config,
    disk::{self, Disk},
    frame::MAX_FRAME,
    layout,
    segment::BLOCK_HEADER,
    segment_index::IndexedFile,
    units::Position,
};

/// The wait after the first disk error.
const FIRST_RETRY_WAIT: Duration = Duration::from_millis(100);
/// The longest wait after repeated disk errors.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(5);

/// The spiller's ends of all lanes, and the segments that they share.
#[derive(Debug)]
pub(in crate::journal) struct SegmentLog {
    pub(in crate::journal) lanes: Vec<SpillLane>,
    disk: Disk,
    dir: PathBuf,
    /// `None` without lanes.
    checkpoints: Option<CheckpointsFile>,
    segments: SegmentWriter,
    files: SegmentFiles,
    retry: Option<Retry>,
    /// The last checkpoints that were due are not written.
    pub(super) is_checkpoint_failing: bool,
}

/// What recovery hands over to the spiller of a log.
#[derive(Debug)]
pub(in crate::journal) struct SegmentLogParts {
    pub(in crate::journal) disk: Disk,
    pub(in crate::journal) directory_id: u64,
    /// The directory of the log's journal.
    pub(in crate::journal) dir: PathBuf,
    pub(in crate::journal) quarantine: PathBuf,
    pub(in crate::journal) checkpoints: Option<CheckpointsFile>,
    pub(in crate::journal) next_file_number: u64,
    /// The segments that were found, by number.
    pub(in crate::journal) segments: Vec<(u64, IndexedFile)>,
}

impl SegmentLogParts {
    /// For a log that has no lanes.
    pub(in crate::journal) fn without_lanes(disk: &Disk, dir: PathBuf) -> SegmentLogParts {
        SegmentLogParts {
            disk: disk.clone(),
            directory_id: 0,
            quarantine: dir.join(layout::QUARANTINE),
            dir,
            checkpoints: None,
            next_file_number: 0,
            segments: Vec::new(),
        }
    }
}

/// The wait after a disk error.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// Why a round of spilling ended early.
#[derive(Debug)]
pub(super) enum SpillError {
    DiskBudgetUsedUp,
    Disk(io::Error),
}

/// The position up to which everything of a lane is durable, once what was written is synced.
struct ReachedPosition {
    lane_index: usize,
    position: Position,
}

impl From<io::Error> for SpillError {
    fn from(error: io::Error) -> SpillError {
        SpillError::Disk(error)
    }
}

impl SpillError {
    /// The label of the error's counter.
    pub(super) fn metric_label(&self) -> &'static str {
        match self {
            SpillError::DiskBudgetUsedUp => "budget",
            SpillError::Disk(_) => "disk",
        }
    }
}

impl fmt::Display for SpillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpillError::DiskBudgetUsedUp => {
                f.write_str("the disk budget is used up; see to the sink or raise the log's max_disk_bytes")
            }
            SpillError::Disk(error) => error.fmt(f),
        }
    }
}

impl SegmentLog {
    pub(in crate::journal) fn new(lanes: Vec<SpillLane>, parts: SegmentLogParts) -> SegmentLog {
        let SegmentLogParts { disk, directory_id, dir, quarantine, checkpoints, next_file_number, segments } = parts;
        let mut files = SegmentFiles::new(disk.clone(), dir.clone(), quarantine);
        for (number, file) in segments {
            files.add_if_unknown(number, &file);
        }
        for lane in &lanes {
            for (number, file) in &lane.shared.lock_progress().index.files {
                files.add_if_unknown(*number, file);
                files.add_user(*number, lane.number());
            }
        }
        SegmentLog {
            lanes,
            segments: SegmentWriter::new(disk.clone(), directory_id, dir.clone(), next_file_number),
            files,
            disk,
            dir,
            checkpoints,
            retry: None,
            is_checkpoint_failing: false,
        }
    }

    /// Bytes that segments and salvaged rings take on the disk.
    pub(super) fn used_disk_bytes(&self) -> u64 {
        self.files.disk_bytes()
    }

    /// Bytes that are left on the file system of the segments; `None` if the system does not say.
    pub(super) fn available_disk_bytes(&self) -> Option<u64> {
        disk::available_bytes(&self.dir).ok()
    }

    /// Whether the wait after an error is over, or there was none.
    pub(super) fn may_spill(&self, now: Instant) -> bool {
        self.retry.is_none_or(|retry| now >= retry.at)
    }

    /// Whether the last round ended with an error.
    pub(in crate::journal) fn is_backing_off(&self) -> bool {
        self.retry.is_some()
    }

    /// Ends the backing off after a round without an error. Returns whether there was any.
    pub(super) fn end_back_off(&mut self) -> bool {
        self.retry.take().is_some()
    }

    /// Copies everything of the given lanes up to their heads into segments, in this order of the lanes, and syncs it:
    /// with one sync, unless a segment is full.
    pub(super) fn spill_lanes_to_heads_and_sync(
        &mut self,
        lane_indices: &[usize],
        config: &Config,
        metrics: &SpillMetrics,
    ) -> Result<(), SpillError> {
        let mut budget_left_bytes = config.max_disk_bytes.0.saturating_sub(self.used_disk_bytes());
        let mut reached = Vec::with_capacity(lane_indices.len());
        for &lane_index in lane_indices {
            let position = self.write_lane_to_head_unsynced(lane_index, config, &mut budget_left_bytes, metrics)?;
            reached.push(ReachedPosition { lane_index, position });
        }
        let has_synced = self.sync_and_publish_blocks_and_return_if_any(metrics)?;
        if self.is_backing_off() && !has_synced {
            self.probe_disk_unless_budget_used_up(budget_left_bytes)?;
        }
        // A frame that left the ring without a copy was delivered, so this holds even if nothing was written.
        for ReachedPosition { lane_index, position } in reached {
            self.lanes[lane_index].shared.ring.raise_spilled(position);
        }
        Ok(())
    }

    /// Writes everything of a lane up to its head as blocks. Returns the position that was reached. Before an error is
    /// returned, what was written is synced.
    fn write_lane_to_head_unsynced(
        &mut self,
        lane_index: usize,
        config: &Config,
        budget_left_bytes: &mut u64,
        metrics: &SpillMetrics,
    ) -> Result<Position, SpillError> {
        let goal = self.lanes[lane_index].shared.ring.head();
        let mut from = self.lanes[lane_index].position_to_spill_from(config.spill);
        while from < goal {
            let Some(block) = self.lanes[lane_index].try_copy_next_block(from) else {
                from = self.lanes[lane_index].shared.ring.acked().max(from);
                continue;
            };
            let Some(left) = budget_left_bytes.checked_sub(block.whole_len()) else {
                // The blocks that fitted are synced: without that, each try would write them again and never free the
                // ring.
                self.sync_and_publish_blocks_and_return_if_any(metrics)?;
                return Err(SpillError::DiskBudgetUsedUp);
            };
            *budget_left_bytes = left;
            if self.segments.open_len() >= config.segment_bytes.0 {
                self.sync_and_publish_blocks_and_return_if_any(metrics)?;
                self.segments.close();
            }
            let lane = &mut self.lanes[lane_index];
            let (seed, frames) = (lane.shared.checksum_seed, &lane.buffer);
            match self.segments.append_block_to_open_or_new_segment_unsynced(lane_index, &block, seed, frames) {
                Ok(()) => lane.note_written_block(&block),
                Err(error) => {
                    self.sync_and_publish_blocks_and_return_if_any(metrics)?;
                    return Err(error.into());
                }
            }
            from = block.to;
        }
        Ok(from)
    }

    /// Asks the disk after an error, if nothing is left to be spilled, because the sink was quicker.
    fn probe_disk_unless_budget_used_up(&mut self, budget_left_bytes: u64) -> Result<(), SpillError> {
        if budget_left_bytes < BLOCK_HEADER as u64 + MAX_FRAME {
            return Err(SpillError::DiskBudgetUsedUp);
        }
        Ok(self.segments.probe_disk_by_creating_and_removing_segment()?)
    }

    /// Syncs the written blocks, then publishes each of them to its lane. Returns whether there were any.
    fn sync_and_publish_blocks_and_return_if_any(&mut self, metrics: &SpillMetrics) -> io::Result<bool> {
        let Some(synced) = self.segments.sync_unsynced_blocks_if_any()? else { return Ok(false) };
        let SyncedBlocks { file_number, path, file_bytes, blocks, sync_duration } = synced;
        metrics.add_sync(sync_duration, blocks.iter().map(|block| block.extent.end - block.extent.offset).sum());
        let file = IndexedFile { path, to: Position::ZERO, bytes: file_bytes, damaged: false };
        self.files.add_if_unknown(file_number, &file);
        self.files.grow(file_number, file_bytes);
        for WrittenBlock { lane_index, extent, watermark_at_to } in blocks {
            let lane = &mut self.lanes[lane_index];
            self.files.add_user(file_number, lane.number());
            lane.publish_synced_block(extent, watermark_at_to, &file);
        }
        Ok(true)
    }

    /// After an error: closes the segment at its last good sync, so that the frames behind it are written again into a
    /// new one, and backs off. Returns whether this is the first error in a row.
    pub(super) fn abandon_segment_back_off_and_return_if_first_error(&mut self, now: Instant) -> bool {
        self.lanes.iter_mut().for_each(SpillLane::forget_unsynced_blocks);
        let files = &self.files;
        self.segments.abandon_open_segment_and_remove_file_if_never_synced(|number| files.is_known(number));
        let wait = self.retry.map_or(FIRST_RETRY_WAIT, |retry| (retry.wait * 2).min(MAX_RETRY_WAIT));
        self.retry.replace(Retry { at: now + wait, wait }).is_none()
    }

    /// Writes the checkpoints of the lanes whose delivery has made progress, with one sync, then removes the files that
    /// all lanes have passed.
    pub(super) fn save_advanced_checkpoints_and_remove_passed_files(&mut self) -> io::Result<()> {
        let advanced = |(index, lane): (usize, &SpillLane)| Some((index, lane.build_checkpoint_if_advanced()?));
        let checkpoints = self.lanes.iter().enumerate().filter_map(advanced).collect();
        self.write_and_sync_checkpoints(checkpoints)?;
        self.remove_or_quarantine_passed_files()
    }

    /// Writes the last checkpoint of every lane, with the clean mark if everything is durable and nothing more can be
    /// appended. Then removes the files that all lanes have passed, and the rings of drained lanes without a worker.
    /// Returns the lanes without the mark: their frames are in the ring alone, or a writer still exists.
    pub(super) fn write_last_checkpoints_and_return_unclean_lanes(&mut self) -> io::Result<Vec<u16>> {
        let checkpoints: Vec<_> =
            self.lanes.iter().enumerate().map(|(index, lane)| (index, lane.build_last_checkpoint())).collect();
        let unclean = checkpoints.iter().filter(|(_, checkpoint)| checkpoint.clean_head.is_none());
        let unclean = unclean.map(|(index, _)| self.lanes[*index].number()).collect();
        self.write_and_sync_checkpoints(checkpoints)?;
        self.segments.close();
        self.remove_or_quarantine_passed_files()?;
        for path in self.lanes.iter().filter_map(SpillLane::ring_to_remove_after_close) {
            if let Err(error) = self.disk.remove(path) {
                // The next start removes it.
                tracing::warn!(path = %path.display(), %error, "cannot remove the ring of a drained lane");
            }
        }
        Ok(unclean)
    }

    fn write_and_sync_checkpoints(&mut self, checkpoints: Vec<(usize, Checkpoint)>) -> io::Result<()> {
        let Some(file) = self.checkpoints.as_ref().filter(|_| !checkpoints.is_empty()) else { return Ok(()) };
        for (index, checkpoint) in &checkpoints {
            file.write_to_older_slot_unsynced(&self.lanes[*index].checkpoint_slots, *checkpoint)?;
        }
        file.sync()?;
        for (index, checkpoint) in checkpoints {
            self.lanes[index].confirm_synced_checkpoint(checkpoint);
        }
        Ok(())
    }

    /// Removes the files that are below the durable checkpoint of every lane. Damaged ones are moved to the quarantine.
    fn remove_or_quarantine_passed_files(&mut self) -> io::Result<()> {
        for lane in &self.lanes {
            for released in lane.release_passed_files() {
                self.files.remove_user(released.number, lane.number(), released.damaged);
            }
        }
        if self.segments.open_file_number().is_some_and(|number| self.files.is_without_user(number)) {
            self.segments.close();
        }
        self.files.remove_or_quarantine_files_without_user(self.segments.open_file_number())
    }
}
