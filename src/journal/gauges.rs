//! What the journal says to its operator, computed from the lanes' positions in one pass, never by the worker.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram};

use crate::{
    journal::{LaneReport, STREAMS, lane::Shared},
    metrics as table,
};

/// The gauges are refreshed this often; the spiller looks more often than that.
const EVERY: Duration = Duration::from_millis(100);
/// The time over which the rate is averaged.
const RATE_OVER: f64 = 10.0;

pub(super) struct Gauges {
    lanes: Vec<LaneGauges>,
    oldest: Gauge,
    disk_used: Gauge,
    disk_budget: Gauge,
    disk_room: Gauge,
    disk_seconds: Gauge,
    stopped: Gauge,
    ring_gone: Gauge,
    stalls: Counter,
    refreshed: Option<Instant>,
}

/// The disk as segments see it, bytes.
pub(super) struct Room {
    /// By segments.
    pub(super) used: u64,
    /// What they may take.
    pub(super) budget: u64,
    /// What they still can take: the rest of the budget, or of the file system if that is less.
    pub(super) left: u64,
}

/// What the spiller counts while it works.
#[derive(Clone)]
pub(super) struct Counters {
    sync_seconds: Histogram,
    spilled_bytes: Counter,
    errors: [(&'static str, Counter); 2],
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

struct LaneGauges {
    journaled: Counter,
    backlog_clicks: Gauge,
    backlog_bytes: Gauge,
    ring: Gauge,
    ring_free: Gauge,
    ring_seconds: Gauge,
    damaged: Counter,
    counted_damage: u64,
    quarantined: Counter,
    counted_lost: u64,
    head: u64,
    /// Bytes a second, averaged.
    rate: f64,
}

impl Gauges {
    pub(super) fn new(reports: &[LaneReport]) -> Gauges {
        let lanes = reports.iter().map(LaneGauges::new).collect();
        Gauges {
            lanes,
            oldest: table::gauge(&table::JOURNAL_OLDEST_UNDURABLE, &[]),
            disk_used: table::gauge(&table::JOURNAL_DISK_USED, &[]),
            disk_budget: table::gauge(&table::JOURNAL_DISK_BUDGET, &[]),
            disk_room: table::gauge(&table::JOURNAL_DISK_ROOM, &[]),
            disk_seconds: table::gauge(&table::JOURNAL_DISK_SECONDS, &[]),
            stopped: table::gauge(&table::JOURNAL_SPILL_STOPPED, &[]),
            ring_gone: table::gauge(&table::JOURNAL_RING_GONE, &[]),
            stalls: table::counter(&table::JOURNAL_SPILL_ERRORS, &["stalled"]),
            refreshed: None,
        }
    }

    /// The disk has stopped to answer.
    pub(super) fn stalled(&self) {
        self.stalls.increment(1);
    }

    /// The alarms: whether a lane waits after an error or for the disk, and whether a ring's file is gone.
    pub(super) fn alarms(&self, stopped: bool, ring_gone: bool) {
        self.stopped.set(f64::from(u8::from(stopped)));
        self.ring_gone.set(f64::from(u8::from(ring_gone)));
    }

    /// Sets what is computed from the positions. `oldest`: the age of the oldest frame without a home.
    pub(super) fn refresh<'a>(
        &mut self,
        now: Instant,
        lanes: impl Iterator<Item = &'a Shared>,
        disk: &Room,
        oldest: Duration,
    ) {
        let passed = self.refreshed.map(|at| now.saturating_duration_since(at));
        if passed.is_some_and(|passed| passed < EVERY) {
            return;
        }
        self.refreshed = Some(now);
        for (gauges, lane) in self.lanes.iter_mut().zip(lanes) {
            gauges.refresh(lane, passed.unwrap_or_default().as_secs_f64());
        }
        let rate: f64 = self.lanes.iter().map(|lane| lane.rate).sum();
        self.oldest.set(oldest.as_secs_f64());
        self.disk_used.set(disk.used as f64);
        self.disk_budget.set(disk.budget as f64);
        self.disk_room.set(disk.left as f64);
        self.disk_seconds.set(disk.left as f64 / rate.max(1.0));
    }
}

impl Counters {
    pub(super) fn new() -> Counters {
        let error = |reason| (reason, table::counter(&table::JOURNAL_SPILL_ERRORS, &[reason]));
        Counters {
            sync_seconds: table::histogram(&table::JOURNAL_SYNC_SECONDS, &[]),
            spilled_bytes: table::counter(&table::JOURNAL_SPILLED_BYTES, &[]),
            errors: [error("disk"), error("budget")],
        }
    }

    /// A segment was synced.
    pub(super) fn synced(&self, took: Duration, bytes: u64) {
        self.sync_seconds.record(took.as_secs_f64());
        self.spilled_bytes.increment(bytes);
    }

    /// A round of spilling or a checkpoint failed.
    pub(super) fn spill_error(&self, reason: &str) {
        for (_, counter) in self.errors.iter().filter(|(name, _)| *name == reason) {
            counter.increment(1);
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl LaneGauges {
    fn new(report: &LaneReport) -> LaneGauges {
        let lane = report.lane.to_string();
        let labels: &[&str] = &[&lane];
        let [recovered, quarantined] = [report.recovered, report.quarantined].map(|streams| streams.iter().sum());
        table::counter(&table::CLICKS_RECOVERED, labels).increment(recovered);
        let lost = table::counter(&table::CLICKS_QUARANTINED, labels);
        lost.increment(quarantined);
        let damaged = table::counter(&table::JOURNAL_CORRUPT_FRAMES, labels);
        damaged.increment(report.damaged);
        LaneGauges {
            journaled: table::counter(&table::CLICKS_JOURNALED, labels),
            backlog_clicks: table::gauge(&table::JOURNAL_BACKLOG_CLICKS, labels),
            backlog_bytes: table::gauge(&table::JOURNAL_BACKLOG_BYTES, labels),
            ring: table::gauge(&table::JOURNAL_RING, labels),
            ring_free: table::gauge(&table::JOURNAL_RING_FREE, labels),
            ring_seconds: table::gauge(&table::JOURNAL_RING_SECONDS, labels),
            damaged,
            counted_damage: 0,
            quarantined: lost,
            counted_lost: 0,
            head: 0,
            rate: 0.0,
        }
    }

    fn refresh(&mut self, shared: &Shared, seconds: f64) {
        let appended = shared.appended();
        let (backlog, lost) = {
            let home = shared.home();
            let backlog = |stream| home.backlog(stream, shared.epoch, appended[stream]);
            ((0..STREAMS).map(backlog).sum::<u64>(), home.lost())
        };
        self.quarantined.increment(lost - self.counted_lost);
        self.counted_lost = lost;
        // Read after the acknowledgements, so that the backlog never looks negative.
        self.journaled.absolute(appended.iter().sum());
        let (head, acked) = (shared.ring.head(), shared.home().acked);
        let size = shared.ring.size();
        self.backlog_clicks.set(backlog as f64);
        self.backlog_bytes.set(head.saturating_sub(acked) as f64);
        self.ring.set(size as f64);
        self.ring_free.set(size.saturating_sub(head.saturating_sub(shared.durable())) as f64);
        if seconds > 0.0 {
            let now = (head - self.head) as f64 / seconds;
            self.rate += (now - self.rate) * (seconds / RATE_OVER).min(1.0);
        }
        self.head = head;
        self.ring_seconds.set(size as f64 / self.rate.max(1.0));
        let damage = shared.damaged.load(Ordering::Relaxed);
        self.damaged.increment(damage - self.counted_damage);
        self.counted_damage = damage;
    }
}
