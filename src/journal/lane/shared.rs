//! What the writer, the reader and the spiller of a lane share beside the ring.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::progress::LaneProgress;
use crate::journal::{
    frame::checksum_seed,
    locks::DirectoryLocks,
    ring::Ring,
    units::{Epoch, LaneId, Position, Seq},
};

/// What the writer, the reader and the spiller of a lane share beside the ring.
#[derive(Debug)]
pub(in crate::journal) struct LaneShared {
    pub(in crate::journal) lane: u16,
    pub(in crate::journal) lane_id: LaneId,
    pub(in crate::journal) checksum_seed: u32,
    pub(in crate::journal) ring: Arc<Ring>,
    /// The epoch in which the worker appends; [`Epoch::NONE`] for a lane without a worker.
    pub(in crate::journal) epoch: Epoch,
    /// The worker's next number, stored relaxed beside each append. For the metrics and statements alone.
    pub(super) next_seq: NextSeqCell,
    /// Clicks of this epoch that were answered and found no room. The worker adds to it ten times a second.
    pub(super) unrecorded: AtomicU64,
    /// The writer still exists, so that frames may still be appended.
    pub(in crate::journal) has_writer: AtomicBool,
    /// Damaged places that the reader met.
    pub(in crate::journal) damaged: AtomicU64,
    /// Held as long as any end of the lane lives.
    _locks: DirectoryLocks,
    progress: Mutex<LaneProgress>,
}

/// The lane's next number, in a cache line that only the worker writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct NextSeqCell(AtomicU64);

impl NextSeqCell {
    pub(super) fn store(&self, next: Seq) {
        self.0.store(next.get(), Ordering::Relaxed);
    }
}

impl LaneShared {
    pub(in crate::journal) fn new(
        lane_id: LaneId,
        epoch: Epoch,
        ring: Arc<Ring>,
        locks: DirectoryLocks,
        progress: LaneProgress,
    ) -> Arc<LaneShared> {
        Arc::new(LaneShared {
            lane: lane_id.lane,
            lane_id,
            checksum_seed: checksum_seed(lane_id),
            ring,
            epoch,
            next_seq: NextSeqCell::default(),
            unrecorded: AtomicU64::new(0),
            has_writer: AtomicBool::new(epoch.is_some()),
            damaged: AtomicU64::new(0),
            _locks: locks,
            progress: Mutex::new(progress),
        })
    }

    pub(in crate::journal) fn lock_progress(&self) -> MutexGuard<'_, LaneProgress> {
        // A panic leaves nothing half done in there: each change is one assignment or one push.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position below which everything is durable: delivered, or synced in a segment.
    pub(in crate::journal) fn durable_position(&self) -> Position {
        self.ring.acked().max(self.ring.spilled())
    }

    /// The next number in this epoch.
    pub(in crate::journal) fn next_seq(&self) -> Seq {
        Seq::new(self.next_seq.0.load(Ordering::Relaxed))
    }
}
