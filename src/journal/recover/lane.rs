//! The order of a lane's recovery: the steps in the header of `recover`.

use std::path::Path;

use super::{
    context::{Evidence, LaneRecoveryContext},
    ring::RingPlan,
};
use crate::journal::{
    checkpoint::{Checkpoint, CheckpointLookup, CheckpointSlots},
    epoch_ends::{EpochEnd, HISTORY},
    error::{OpenError, with_path},
    lane::{DamagedSeqs, LaneProgress},
    quarantined_seqs::{QUARANTINED_SEQS, append_new_quarantined_ranges_and_sync, read_quarantined_ranges},
    report::{LaneCondition, RecoveryReport},
    ring_file::RingFile,
    scan::{LaneScan, RingRange, ScannedLane},
    units::{Epoch, Position, Seq, SeqRange, Watermark},
};

/// What a lane's ring and checkpoint say, read before the segments of the log are.
#[derive(Debug)]
pub(super) struct FoundLane {
    ring: Option<RingFile>,
    slots: CheckpointSlots,
    lookup: CheckpointLookup,
    /// The highest position below which, as blocks say, everything is delivered.
    acked_by_blocks: Position,
}

impl FoundLane {
    /// Takes into account what a block says.
    pub(super) fn raise_acked(&mut self, acked: Position) {
        self.acked_by_blocks = self.acked_by_blocks.max(acked);
    }

    /// The highest position below which, as any file says, everything is delivered.
    pub(super) fn acked(&self) -> Position {
        let noted = self.lookup.into_checkpoint_if_found().map_or(Position::ZERO, |checkpoint| checkpoint.acked);
        let ring = self.ring.as_ref().filter(|ring| ring.has_plausible_positions());
        ring.map_or(noted, |ring| noted.max(ring.positions.acked)).max(self.acked_by_blocks)
    }
}

/// A lane that is ready to be used.
#[derive(Debug)]
pub(in crate::journal) struct RecoveredLane {
    pub(in crate::journal) report: RecoveryReport,
    pub(in crate::journal) ring: RingFile,
    pub(in crate::journal) progress: LaneProgress,
    pub(in crate::journal) checkpoint_slots: CheckpointSlots,
    /// The checkpoint that was written last.
    pub(in crate::journal) checkpoint: Checkpoint,
}

impl LaneRecoveryContext<'_> {
    /// Step 1: creates the lane's directory if it does not exist, opens the ring and reads the checkpoint.
    pub(super) fn open_ring_and_read_checkpoint(&self) -> Result<FoundLane, OpenError> {
        create_lane_dir_and_its_files_if_absent(self, &self.files.dir())?;
        let ring = self.open_own_ring_or_quarantine_unreadable()?;
        let read = self.checkpoints.read_newer_valid_checkpoint(self.files.lane_id);
        let (slots, lookup) = with_path(&self.files.checkpoints_path(), read)?;
        Ok(FoundLane { ring, slots, lookup, acked_by_blocks: Position::ZERO })
    }

    /// Adds the missing numbers from `delivered` on to the file of quarantined numbers, and returns the file's ranges.
    /// A disk that fails stops no start: then the ranges are stated by this process alone.
    fn store_missing_seqs_and_return_all_quarantined(&self, scan: &LaneScan, delivered: Watermark) -> Vec<SeqRange> {
        let (dir, lane_id) = (self.files.dir(), self.files.lane_id);
        let missing = scan.frames.seqs.find_surely_missing_ranges_from(delivered);
        let stored = append_new_quarantined_ranges_and_sync(self.disk, &dir, lane_id, &missing);
        let ranges = stored.and_then(|()| read_quarantined_ranges(self.disk, &dir, lane_id));
        ranges.unwrap_or_else(|error| {
            let lane = lane_id.lane;
            let (topic, dir) = (self.log, dir.display());
            tracing::warn!(topic, lane, %error, "cannot store the numbers of lost clicks: {dir}");
            missing
        })
    }
}

/// Recovers the lane and opens its next epoch: the steps from the third on. `scanned`: what the log's segments hold of
/// it.
pub(super) fn recover_lane_and_begin_next_epoch(
    context: &LaneRecoveryContext<'_>,
    found: FoundLane,
    scanned: ScannedLane,
) -> Result<RecoveredLane, OpenError> {
    let FoundLane { ring, slots: mut checkpoint_slots, lookup, .. } = found;
    let ScannedLane { acked, mut scan } = scanned;
    scan.add_salvaged_rings(&context.files, acked)?;
    quarantine_foreign_files(context, &scan)?;
    let is_used =
        ring.is_some() || scan.frames.top > Position::ZERO || !context.files.list_salvaged_rings()?.is_empty();
    let found = write_first_checkpoint_if_never_written(context, &mut checkpoint_slots, lookup, is_used)?;
    let checkpoint = found.as_ref();
    // 3
    let condition = context.find_lane_condition_by_clean_mark_or_ring(Evidence {
        checkpoint,
        ring: ring.as_ref(),
        scan: &scan,
        acked,
    })?;
    if let Some((seqs, boundary)) = condition.with_ring_frames {
        (scan.frames.seqs, scan.frames.boundary) = (seqs, boundary);
    }
    let condition = condition.condition;
    context.rescue_lost_frames_from_ring_into_segment(condition, ring.as_ref(), &mut scan, acked)?;
    // 4
    let last_epoch = find_last_epoch_and_highest_next_seq(checkpoint, ring.as_ref(), &scan);
    let evidence = Evidence { checkpoint, ring: ring.as_ref(), scan: &scan, acked };
    let ends = context.store_last_epoch_end_and_return_all_ends(condition, last_epoch, evidence)?;
    // 5
    let last = last_epoch.map_or(Epoch::NONE, |last| last.epoch);
    let epoch = if context.has_worker { Epoch::new(context.wall_ms.max(last.get() + 1)) } else { last };
    let ring = context.continue_ring_in_place_or_create_new_and_salvage(
        RingPlan { condition, acked, epoch },
        ring,
        &mut scan,
    )?;
    // 6
    ends.iter().for_each(|end| scan.frames.seqs.add_used_seqs_and_cut_of_epoch_end(end));
    let new_checkpoint = build_first_checkpoint(epoch, acked, checkpoint, &scan);
    scan.finish(Some(RingRange { durable: ring.positions.durable(), head: ring.positions.head }));
    let report = build_recovery_report(context, condition, last_epoch, &new_checkpoint, &ring, &scan);
    let quarantined = context.store_missing_seqs_and_return_all_quarantined(&scan, new_checkpoint.delivered);
    let progress = build_lane_progress(scan, ends, quarantined, &new_checkpoint, &ring);
    // 7
    let written = context.checkpoints.write_and_sync(&mut checkpoint_slots, new_checkpoint);
    with_path(&context.files.checkpoints_path(), written)?;
    Ok(RecoveredLane { report, ring, progress, checkpoint_slots, checkpoint: new_checkpoint })
}

fn create_lane_dir_and_its_files_if_absent(context: &LaneRecoveryContext<'_>, dir: &Path) -> Result<(), OpenError> {
    let created = context.disk.create_dir(dir).and_then(|()| context.disk.sync_dir(context.files.journal_dir));
    with_path(dir, created)?;
    with_path(dir, HISTORY.create_preallocated_if_absent(context.disk, dir))?;
    with_path(dir, QUARANTINED_SEQS.create_preallocated_if_absent(context.disk, dir))
}

/// The checkpoint that was found. Of a lane that has none, writes the first one. `None`: it cannot be read, or is lost.
fn write_first_checkpoint_if_never_written(
    context: &LaneRecoveryContext<'_>,
    slots: &mut CheckpointSlots,
    lookup: CheckpointLookup,
    is_used: bool,
) -> Result<Option<Checkpoint>, OpenError> {
    if lookup != CheckpointLookup::NeverWritten {
        return Ok(lookup.into_checkpoint_if_found());
    }
    // Only a lane of which there is no other trace begins with the clean mark.
    let new = Checkpoint::of_new_lane();
    let first = if is_used { Checkpoint { clean_head: None, ..new } } else { new };
    with_path(&context.files.checkpoints_path(), context.checkpoints.write_and_sync(slots, first))?;
    Ok((!is_used).then_some(first))
}

fn quarantine_foreign_files(context: &LaneRecoveryContext<'_>, scan: &LaneScan) -> Result<(), OpenError> {
    scan.foreign.iter().try_for_each(|path| context.quarantine_and_log(path, context.files.journal_dir))
}

/// The latest epoch that any file names, with the highest next number; `None` for a lane that was never opened. An
/// epoch in which nothing was appended counts too.
fn find_last_epoch_and_highest_next_seq(
    checkpoint: Option<&Checkpoint>,
    ring: Option<&RingFile>,
    scan: &LaneScan,
) -> Option<Watermark> {
    let of_checkpoint = checkpoint.map_or(Watermark::default(), |checkpoint| checkpoint.appended);
    let of_ring = ring.map_or(Watermark::default(), |ring| Watermark { epoch: ring.header.epoch, next: Seq::ZERO });
    let of_frames = scan.frames.seqs.end_of_latest_epoch().unwrap_or_default();
    let last = of_checkpoint.max(of_ring).max(of_frames);
    last.epoch.is_some().then_some(last)
}

/// The first checkpoint of the new epoch. `previous`: the last checkpoint of the epoch before.
fn build_first_checkpoint(epoch: Epoch, acked: Position, previous: Option<&Checkpoint>, scan: &LaneScan) -> Checkpoint {
    Checkpoint {
        appended: Watermark { epoch, next: Seq::ZERO },
        acked,
        delivered: scan.frames.boundary.delivered_watermark(previous, acked),
        sink_note: previous.map_or([0; 64], |previous| previous.sink_note),
        clean_head: None,
    }
}

fn build_recovery_report(
    context: &LaneRecoveryContext<'_>,
    condition: LaneCondition,
    last_epoch: Option<Watermark>,
    checkpoint: &Checkpoint,
    ring: &RingFile,
    scan: &LaneScan,
) -> RecoveryReport {
    let counts = scan.frames.seqs.count_present_and_surely_missing_from(checkpoint.delivered);
    RecoveryReport {
        log: context.log,
        lane: context.files.lane_id.lane,
        epoch: if context.has_worker { checkpoint.appended.epoch } else { Epoch::NONE },
        condition,
        last_epoch,
        recovered: counts.present + counts.missing,
        quarantined: counts.missing,
        damaged: scan.damaged,
        quarantined_files: scan.foreign.len() as u64,
        backlog_bytes: ring.positions.head.saturating_bytes_from(checkpoint.acked),
    }
}

fn build_lane_progress(
    scan: LaneScan,
    epoch_ends: Vec<EpochEnd>,
    quarantined_before: Vec<SeqRange>,
    checkpoint: &Checkpoint,
    ring: &RingFile,
) -> LaneProgress {
    // Frames that only the ring holds are neither delivered nor synced. If there are none, everything is durable: also
    // the latest epoch of a lane without a worker, which goes on with it.
    let durable = if ring.positions.head > ring.positions.durable() {
        checkpoint.delivered
    } else {
        let epoch = checkpoint.appended.epoch;
        Watermark { epoch, next: scan.frames.seqs.next_seq_in(epoch) }
    };
    LaneProgress {
        index: scan.index,
        acked: checkpoint.acked,
        delivered: checkpoint.delivered,
        sink_note: checkpoint.sink_note,
        durable,
        recovered: scan.frames.seqs,
        damaged_since: DamagedSeqs::default(),
        quarantined_before,
        epoch_ends,
    }
}
