//! The recovery of a whole log: its segments are read once for all lanes, then the lanes are recovered a few at a time.

use std::{
    collections::BTreeMap,
    num::NonZero,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    context::LaneRecoveryContext,
    lane::{FoundLane, RecoveredLane, recover_lane_and_begin_next_epoch},
};
use crate::journal::{
    checkpoint::{Checkpoint, CheckpointLookup, CheckpointsFile},
    disk::Disk,
    error::{OpenError, with_path},
    lane_files::{LaneFiles, LogFiles},
    layout,
    ring_file::{RingFile, RingLookup},
    scan::{LogScan, ScannedLane, ScannedSegment},
    units::{LaneId, Position},
};

/// Lanes that are recovered at the same time: most of a first start is the writing of zeros into new rings.
const MAX_PARALLEL: usize = 4;

/// A log that is to be recovered, and its surroundings.
#[derive(Debug)]
pub(in crate::journal) struct LogRecoveryContext<'a> {
    pub(in crate::journal) disk: &'a Disk,
    /// The name of the log.
    pub(in crate::journal) log: &'static str,
    pub(in crate::journal) directory_id: u64,
    pub(in crate::journal) journal_dir: &'a Path,
    pub(in crate::journal) ring_dir: &'a Path,
    pub(in crate::journal) boot_id: [u8; 16],
    /// The size of rings in the configuration.
    pub(in crate::journal) ring_bytes: u64,
    /// The lanes below this number get a worker.
    pub(in crate::journal) workers: u16,
    pub(in crate::journal) wall_ms: u64,
}

/// A log that is ready to be used.
#[derive(Debug)]
pub(in crate::journal) struct RecoveredLog {
    /// The lanes with a worker, and then those without one that hold clicks; without workers, all lanes.
    pub(in crate::journal) lanes: Vec<RecoveredLane>,
    pub(in crate::journal) segments: Vec<ScannedSegment>,
    pub(in crate::journal) next_file_number: u64,
    pub(in crate::journal) checkpoints: CheckpointsFile,
}

/// The lanes of a log while it is recovered.
struct FoundLanes {
    /// Lanes that are opened.
    opened: BTreeMap<u16, FoundLane>,
    /// Lanes without a worker that were closed in good order and hold nothing, with their end.
    drained: BTreeMap<u16, Position>,
}

/// Recovers a log: the lane of each worker, and each lane without a worker that holds clicks. Removes the rings of
/// lanes that are drained.
pub(in crate::journal) fn recover_log_and_begin_next_epochs(
    context: &LogRecoveryContext<'_>,
) -> Result<RecoveredLog, OpenError> {
    let LogRecoveryContext { disk, journal_dir, workers, .. } = *context;
    let existing = with_path(journal_dir, layout::list_lane_numbers_sorted(journal_dir))?;
    let last_lane = workers.saturating_sub(1).max(existing.last().copied().unwrap_or(0));
    let open_checkpoints = |last| {
        let opened = CheckpointsFile::open_or_create_with_slots_up_to(disk, journal_dir, last);
        with_path(&journal_dir.join(layout::CHECKPOINTS), opened)
    };
    let mut checkpoints = open_checkpoints(last_lane)?;
    let next_file_number = AtomicU64::new(0);
    // 1
    let mut lanes = FoundLanes { opened: BTreeMap::new(), drained: BTreeMap::new() };
    for lane in (0..workers).chain(existing.into_iter().filter(|lane| *lane >= workers)) {
        let context = context.of_lane(lane, &checkpoints, &next_file_number);
        match find_end_if_drained_without_worker(&context, workers)? {
            Some(end) => _ = lanes.drained.insert(lane, end),
            None => _ = lanes.opened.insert(lane, context.open_ring_and_read_checkpoint()?),
        }
    }
    // 2
    let scan = loop {
        let scan = scan_segments_once(context, &lanes)?;
        let unknown = |(lane, scanned): (&u16, &ScannedLane)| {
            let is_drained = lanes.drained.get(lane).is_some_and(|end| scanned.scan.frames.top <= *end);
            (!lanes.opened.contains_key(lane) && !is_drained).then_some(*lane)
        };
        let unknown: Vec<u16> = scan.lanes.iter().filter_map(unknown).collect();
        if let Some(last) = unknown.last() {
            checkpoints = open_checkpoints(last_lane.max(*last))?;
        }
        for lane in &unknown {
            lanes.drained.remove(lane);
            let context = context.of_lane(*lane, &checkpoints, &next_file_number);
            lanes.opened.insert(*lane, context.open_ring_and_read_checkpoint()?);
        }
        let mut is_later_known = false;
        for (lane, found) in &mut lanes.opened {
            let Some(scanned) = scan.lanes.get(lane) else { continue };
            found.raise_acked(scanned.scan.frames.acked_below);
            is_later_known |= found.acked() > scanned.acked;
        }
        if !is_later_known {
            break scan;
        }
    };
    let LogScan { lanes: mut scanned, segments, foreign, next_file_number: above_segments } = scan;
    let above_salvaged = context.log_files().find_number_above_salvaged_rings()?;
    next_file_number.store(above_segments.max(above_salvaged), Ordering::Relaxed);
    for path in &foreign {
        context.of_lane(0, &checkpoints, &next_file_number).quarantine_and_log(path, journal_dir)?;
    }
    // 3 and later
    let to_recover = lanes.opened.into_iter().map(|(lane, found)| {
        let acked = found.acked();
        (lane, found, scanned.remove(&lane).unwrap_or_else(|| ScannedLane::not_scanned_yet(acked)))
    });
    let recovered = map_in_parallel(to_recover.collect(), |(lane, found, scanned)| {
        recover_lane_and_begin_next_epoch(&context.of_lane(lane, &checkpoints, &next_file_number), found, scanned)
    });
    let mut recovered = recovered.into_iter().collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = recovered.first_mut() {
        first.report.quarantined_files += foreign.len() as u64;
    }
    for lane in lanes.drained.into_keys() {
        context.remove_own_ring_or_log(lane);
    }
    let next_file_number = next_file_number.into_inner();
    Ok(RecoveredLog { lanes: recovered, segments, next_file_number, checkpoints })
}

impl LogRecoveryContext<'_> {
    fn log_files(&self) -> LogFiles<'_> {
        LogFiles { disk: self.disk, directory_id: self.directory_id, journal_dir: self.journal_dir }
    }

    /// The files of one lane.
    pub(in crate::journal) fn lane_files(&self, lane: u16) -> LaneFiles<'_> {
        let lane_id = LaneId { directory_id: self.directory_id, lane };
        LaneFiles { disk: self.disk, lane_id, journal_dir: self.journal_dir, ring_dir: self.ring_dir }
    }

    fn of_lane<'a>(
        &'a self,
        lane: u16,
        checkpoints: &'a CheckpointsFile,
        next_file_number: &'a AtomicU64,
    ) -> LaneRecoveryContext<'a> {
        LaneRecoveryContext {
            disk: self.disk,
            log: self.log,
            files: self.lane_files(lane),
            boot_id: self.boot_id,
            ring_bytes: self.ring_bytes,
            has_worker: lane < self.workers,
            wall_ms: self.wall_ms,
            checkpoints,
            next_file_number,
        }
    }

    /// Removes the ring of a lane that needs none any more. What fails is tried again at the next start.
    fn remove_own_ring_or_log(&self, lane: u16) {
        let files = self.lane_files(lane);
        let path = files.ring_path();
        let removed = match RingFile::open_and_verify_header(self.disk, &path, false) {
            Ok(RingLookup::Found(ring)) if ring.header.lane_id == files.lane_id => self.disk.remove(&path),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                tracing::info!(topic = self.log, lane, path = %path.display(), "removed the ring of a drained lane")
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove the ring of a drained lane");
            }
        }
    }
}

/// The end of a lane that has no worker, was closed in good order and is delivered. Such a lane is not opened. Without
/// any worker every lane is opened, so that each one states that it is drained.
fn find_end_if_drained_without_worker(
    context: &LaneRecoveryContext<'_>,
    workers: u16,
) -> Result<Option<Position>, OpenError> {
    if context.has_worker || workers == 0 {
        return Ok(None);
    }
    let read = context.checkpoints.read_newer_valid_checkpoint(context.files.lane_id);
    let (_, lookup) = with_path(&context.files.checkpoints_path(), read)?;
    let CheckpointLookup::Found(Checkpoint { clean_head: Some(head), acked, .. }) = lookup else { return Ok(None) };
    // The mark may be of an earlier run, if the newer slot is unreadable: then the ring has more.
    let path = context.files.ring_path();
    let has_ring_more = match with_path(&path, RingFile::open_and_verify_header(context.disk, &path, false))? {
        RingLookup::Found(ring) if ring.header.lane_id == context.files.lane_id => {
            !ring.has_plausible_positions() || ring.positions.head > acked
        }
        _ => false,
    };
    let is_drained = acked >= head && !has_ring_more && context.files.list_salvaged_rings()?.is_empty();
    Ok(is_drained.then_some(acked))
}

fn scan_segments_once(context: &LogRecoveryContext<'_>, lanes: &FoundLanes) -> Result<LogScan, OpenError> {
    let opened = lanes.opened.iter().map(|(lane, found)| (*lane, found.acked()));
    let drained = lanes.drained.iter().map(|(lane, end)| (*lane, *end));
    let from = drained.chain(opened).map(|(lane, acked)| (lane, ScannedLane::not_scanned_yet(acked)));
    Ok(LogScan::scan_segments(&context.log_files(), from.collect())?)
}

/// Applies `map` to each item, to a few at a time, and keeps the order.
fn map_in_parallel<T: Send, R: Send>(items: Vec<T>, map: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = items.len().min(MAX_PARALLEL).min(thread::available_parallelism().map_or(1, NonZero::get).max(2));
    if threads <= 1 {
        return items.into_iter().map(map).collect();
    }
    let count = items.len();
    let next = Mutex::new(items.into_iter().enumerate());
    let take_next = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut results = Vec::new();
        while let Some((index, item)) = take_next() {
            results.push((index, map(item)));
        }
        results
    };
    let mut results = Vec::with_capacity(count);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        results.extend(run());
        for other in others {
            match other.join() {
                Ok(others) => results.extend(others),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
