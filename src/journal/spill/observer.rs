//! Publishes what can be seen of the lanes without a disk operation: ages, gauges, and whether the disk answers at all.
//! A thread of its own does so beside the spiller's thread, which waits as long as a frozen disk does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    age::AgeTracker,
    metrics::{DiskSpace, JournalMetrics},
};
use crate::{
    faults::{self, log_fault},
    journal::{
        config::{Config, SpillMode},
        disk::PendingIoTimer,
        lane::LaneShared,
        report::RecoveryReport,
    },
};

/// The disk counts as stalled when it has not answered for so long. On a starved machine a sync took 0.4 s at worst.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// The observer, used by the spiller's thread and the observer's. Either locks it briefly, and never during a disk
/// operation.
#[derive(Clone, Debug)]
pub(super) struct SharedObserver(Arc<Mutex<SpillObserver>>);

#[derive(Debug)]
pub(super) struct SpillObserver {
    /// The name of the log.
    log: &'static str,
    lanes: Vec<ObservedLane>,
    metrics: JournalMetrics,
    pending_io: PendingIoTimer,
    spill: SpillMode,
    max_disk_bytes: u64,
    /// Set by the spiller: bytes that segments and salvaged rings take.
    pub(super) used_disk_bytes: u64,
    /// Set by the spiller: it waits after an error.
    pub(super) is_backing_off: bool,
    /// Set by the spiller: the file of a ring is gone.
    pub(super) is_ring_gone: bool,
    /// Set by the spiller: bytes that are left on the file system. At first as good as unbounded.
    pub(super) available_disk_bytes: u64,
    is_stalled: bool,
    is_disk_low: bool,
}

#[derive(Debug)]
struct ObservedLane {
    shared: Arc<LaneShared>,
    age: AgeTracker,
}

impl SharedObserver {
    pub(super) fn new(
        log: &'static str,
        config: &Config,
        lanes: impl Iterator<Item = Arc<LaneShared>>,
        reports: &[RecoveryReport],
        pending_io: PendingIoTimer,
    ) -> SharedObserver {
        let observe = |shared: Arc<LaneShared>| ObservedLane {
            age: AgeTracker::new_with_frames_inherited_at_open(&shared),
            shared,
        };
        SharedObserver(Arc::new(Mutex::new(SpillObserver {
            log,
            lanes: lanes.map(observe).collect(),
            metrics: JournalMetrics::new(log, reports),
            pending_io,
            spill: config.spill,
            max_disk_bytes: config.max_disk_bytes.0,
            used_disk_bytes: 0,
            is_backing_off: false,
            is_ring_gone: false,
            available_disk_bytes: u64::MAX,
            is_stalled: false,
            is_disk_low: false,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SpillObserver> {
        // A panic leaves nothing half done in there: each change is one assignment or one push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpillObserver {
    /// How long the oldest frame that is to be spilled has waited, at most, in the lane at `lane_index`. `None`: there
    /// is no such frame.
    pub(super) fn sample_head_and_get_age_bound_of_oldest_frame_to_spill(
        &mut self,
        lane_index: usize,
        now: Instant,
    ) -> Option<Duration> {
        let ObservedLane { shared, age } = self.lanes.get_mut(lane_index)?;
        let done = match self.spill {
            SpillMode::Auto => shared.durable_position(),
            SpillMode::Always => shared.ring.spilled(),
        };
        age.sample_head_and_get_age_bound_of_oldest_frame_above(now, shared.ring.head(), done)
    }

    /// Sets the metrics, and logs when the disk stops to answer or has little room.
    pub(super) fn publish_metrics_and_log_alarms(&mut self, now: Instant) {
        let ages = (0..self.lanes.len())
            .filter_map(|index| self.sample_head_and_get_age_bound_of_oldest_frame_to_spill(index, now));
        let oldest = ages.max().unwrap_or_default();
        let used = self.used_disk_bytes;
        self.count_and_log_disk_stall_or_log_its_end(now);
        self.log_when_disk_has_less_room_than_rings_or_recovers();
        self.metrics.set_alarms(self.is_backing_off || self.is_stalled, self.is_ring_gone);
        let disk = DiskSpace {
            used,
            budget: self.max_disk_bytes,
            free: self.max_disk_bytes.saturating_sub(used).min(self.available_disk_bytes),
        };
        self.metrics.refresh_gauges_at_most_every_100_ms(
            now,
            self.lanes.iter().map(|lane| &*lane.shared),
            disk,
            oldest,
        );
    }

    fn count_and_log_disk_stall_or_log_its_end(&mut self, now: Instant) {
        let is_stalled = self.pending_io.pending_for(now).is_some_and(|pending| pending >= STALLED_AFTER);
        if is_stalled && !self.is_stalled {
            self.metrics.count_stall();
            log_fault!(
                error,
                faults::SPILL_STOPPED,
                topic = self.log,
                reason = %format!("the disk has not answered for {STALLED_AFTER:?}"),
                "not spilled: the ring keeps the clicks until the disk answers"
            );
        } else if self.is_stalled && !is_stalled {
            tracing::info!(topic = self.log, "the disk answers again");
        }
        self.is_stalled = is_stalled;
    }

    /// The disk is low when it has less room than the rings hold: if the sink went away then, clicks would be in memory
    /// alone. The alarm ends at twice that.
    fn log_when_disk_has_less_room_than_rings_or_recovers(&mut self) {
        let rings: u64 = self.lanes.iter().map(|lane| lane.shared.ring.size()).sum();
        let threshold = if self.is_disk_low { 2 * rings } else { rings };
        let is_low = self.available_disk_bytes < threshold;
        if is_low && !self.is_disk_low {
            log_fault!(
                warn,
                faults::JOURNAL_ROOM_LOW,
                topic = self.log,
                bytes = self.available_disk_bytes,
                "the file system of the journal has less room than the log's rings: make room, whatever its \
                 max_disk_bytes allows"
            );
        } else if self.is_disk_low && !is_low {
            tracing::info!(topic = self.log, "the file system of the journal has room again");
        }
        self.is_disk_low = is_low;
    }
}
