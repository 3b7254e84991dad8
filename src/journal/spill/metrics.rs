//! The journal's metrics, computed from the positions of all lanes in one pass. The worker computes none.

use std::{
    fmt,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram};

use crate::{
    journal::{lane::LaneShared, report::RecoveryReport, units::Position},
    metrics as table,
};

/// How often the gauges are set. The spiller calls more often than that.
const REFRESH_EVERY: Duration = Duration::from_millis(100);
/// The time over which the rate of appended bytes is averaged, seconds.
const RATE_OVER: f64 = 10.0;

/// The gauges and counters of all lanes.
pub(super) struct JournalMetrics {
    lanes: Vec<LaneMetrics>,
    oldest_undurable_age: Gauge,
    disk_used: Gauge,
    disk_budget: Gauge,
    disk_free: Gauge,
    disk_time_left: Gauge,
    spill_stopped: Gauge,
    ring_gone: Gauge,
    stalls: Counter,
    refreshed_at: Option<Instant>,
}

/// The room for segments on the disk, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskSpace {
    /// What segments take.
    pub(super) used: u64,
    /// What segments may take.
    pub(super) budget: u64,
    /// What segments can still take: the rest of the budget, or of the file system if that is less.
    pub(super) free: u64,
}

/// The counters that the spiller raises while it works.
#[derive(Clone)]
pub(super) struct SpillMetrics {
    sync_seconds: Histogram,
    spilled_bytes: Counter,
    errors: [(&'static str, Counter); 2],
}

struct LaneMetrics {
    journaled: Counter,
    backlog_clicks: Gauge,
    backlog_bytes: Gauge,
    ring_bytes: Gauge,
    ring_free: Gauge,
    ring_capacity_seconds: Gauge,
    corrupt_frames: Counter,
    counted_corrupt_frames: u64,
    quarantined: Counter,
    counted_quarantined: u64,
    /// The head at the last refresh.
    head: Position,
    /// Appended bytes a second, averaged.
    byte_rate: f64,
}

impl JournalMetrics {
    /// Registers the metrics and counts what recovery found.
    pub(super) fn new(log: &'static str, reports: &[RecoveryReport]) -> JournalMetrics {
        JournalMetrics {
            lanes: reports.iter().map(LaneMetrics::new).collect(),
            oldest_undurable_age: table::gauge(&table::JOURNAL_OLDEST_UNDURABLE, &[log]),
            disk_used: table::gauge(&table::JOURNAL_DISK_USED, &[log]),
            disk_budget: table::gauge(&table::JOURNAL_DISK_BUDGET, &[log]),
            disk_free: table::gauge(&table::JOURNAL_DISK_FREE, &[log]),
            disk_time_left: table::gauge(&table::JOURNAL_DISK_TIME_LEFT, &[log]),
            spill_stopped: table::gauge(&table::JOURNAL_SPILL_STOPPED, &[log]),
            ring_gone: table::gauge(&table::JOURNAL_RING_GONE, &[log]),
            stalls: table::counter(&table::JOURNAL_SPILL_ERRORS, &[log, "stalled"]),
            refreshed_at: None,
        }
    }

    /// Counts that the disk has stopped to answer.
    pub(super) fn count_stall(&self) {
        self.stalls.increment(1);
    }

    /// Sets the gauges for alarms: `is_spill_stopped` after a disk error or while the disk does not answer,
    /// `is_ring_gone` if a ring's file was removed.
    pub(super) fn set_alarms(&self, is_spill_stopped: bool, is_ring_gone: bool) {
        self.spill_stopped.set(f64::from(u8::from(is_spill_stopped)));
        self.ring_gone.set(f64::from(u8::from(is_ring_gone)));
    }

    /// Sets the gauges that follow from positions, every 100 ms at most.
    pub(super) fn refresh_gauges_at_most_every_100_ms<'a>(
        &mut self,
        now: Instant,
        lanes: impl Iterator<Item = &'a LaneShared>,
        disk: DiskSpace,
        oldest_undurable_age: Duration,
    ) {
        let elapsed = self.refreshed_at.map(|at| now.saturating_duration_since(at));
        if elapsed.is_some_and(|elapsed| elapsed < REFRESH_EVERY) {
            return;
        }
        self.refreshed_at = Some(now);
        for (metrics, lane) in self.lanes.iter_mut().zip(lanes) {
            metrics.refresh_gauges_counters_and_byte_rate(lane, elapsed.unwrap_or_default().as_secs_f64());
        }
        let byte_rate: f64 = self.lanes.iter().map(|lane| lane.byte_rate).sum();
        self.oldest_undurable_age.set(oldest_undurable_age.as_secs_f64());
        self.disk_used.set(disk.used as f64);
        self.disk_budget.set(disk.budget as f64);
        self.disk_free.set(disk.free as f64);
        self.disk_time_left.set(disk.free as f64 / byte_rate.max(1.0));
    }
}

impl fmt::Debug for JournalMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalMetrics").finish_non_exhaustive()
    }
}

impl SpillMetrics {
    pub(super) fn new(log: &'static str) -> SpillMetrics {
        let error = |reason| (reason, table::counter(&table::JOURNAL_SPILL_ERRORS, &[log, reason]));
        SpillMetrics {
            sync_seconds: table::histogram(&table::JOURNAL_SYNC_SECONDS, &[log]),
            spilled_bytes: table::counter(&table::JOURNAL_SPILLED_BYTES, &[log]),
            errors: [error("disk"), error("budget")],
        }
    }

    /// Counts a sync of a segment and the bytes that it made durable.
    pub(super) fn add_sync(&self, duration: Duration, bytes: u64) {
        self.sync_seconds.record(duration.as_secs_f64());
        self.spilled_bytes.increment(bytes);
    }

    /// Counts a failed round of spilling, or a failed checkpoint.
    pub(super) fn count_spill_or_checkpoint_error(&self, reason: &str) {
        for (_, counter) in self.errors.iter().filter(|(name, _)| *name == reason) {
            counter.increment(1);
        }
    }
}

impl fmt::Debug for SpillMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillMetrics").finish_non_exhaustive()
    }
}

impl LaneMetrics {
    fn new(report: &RecoveryReport) -> LaneMetrics {
        let lane = report.lane.to_string();
        let labels: &[&str] = &[report.log, &lane];
        table::counter(&table::CLICKS_RECOVERED, labels).increment(report.recovered);
        let quarantined = table::counter(&table::CLICKS_QUARANTINED, labels);
        quarantined.increment(report.quarantined);
        let corrupt_frames = table::counter(&table::JOURNAL_CORRUPT_FRAMES, labels);
        corrupt_frames.increment(report.damaged);
        LaneMetrics {
            journaled: table::counter(&table::CLICKS_JOURNALED, labels),
            backlog_clicks: table::gauge(&table::JOURNAL_BACKLOG_CLICKS, labels),
            backlog_bytes: table::gauge(&table::JOURNAL_BACKLOG_BYTES, labels),
            ring_bytes: table::gauge(&table::JOURNAL_RING, labels),
            ring_free: table::gauge(&table::JOURNAL_RING_FREE, labels),
            ring_capacity_seconds: table::gauge(&table::JOURNAL_RING_CAPACITY, labels),
            corrupt_frames,
            counted_corrupt_frames: 0,
            quarantined,
            counted_quarantined: 0,
            head: Position::ZERO,
            byte_rate: 0.0,
        }
    }

    fn refresh_gauges_counters_and_byte_rate(&mut self, shared: &LaneShared, elapsed_seconds: f64) {
        let next_seq = shared.next_seq();
        let (backlog, quarantined) = {
            let progress = shared.lock_progress();
            let backlog = progress.count_undelivered_and_undamaged(shared.epoch, next_seq);
            (backlog, progress.damaged_since.total_count())
        };
        self.quarantined.increment(quarantined - self.counted_quarantined);
        self.counted_quarantined = quarantined;
        self.journaled.absolute(next_seq.get());
        let (head, acked) = (shared.ring.head(), shared.lock_progress().acked);
        let size = shared.ring.size();
        self.backlog_clicks.set(backlog as f64);
        self.backlog_bytes.set(head.saturating_bytes_from(acked) as f64);
        self.ring_bytes.set(size as f64);
        let undurable = head.saturating_bytes_from(shared.durable_position());
        self.ring_free.set(size.saturating_sub(undurable) as f64);
        if elapsed_seconds > 0.0 {
            let rate = (head - self.head) as f64 / elapsed_seconds;
            self.byte_rate += (rate - self.byte_rate) * (elapsed_seconds / RATE_OVER).min(1.0);
        }
        self.head = head;
        self.ring_capacity_seconds.set(size as f64 / self.byte_rate.max(1.0));
        let corrupt_frames = shared.damaged.load(Ordering::Relaxed);
        self.corrupt_frames.increment(corrupt_frames - self.counted_corrupt_frames);
        self.counted_corrupt_frames = corrupt_frames;
    }
}
