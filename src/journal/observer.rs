//! What can be seen of the lanes without asking the disk: how long clicks have waited, the gauges, and whether the disk answers at
//! all. A thread of its own looks beside the spiller's, which waits as long as a frozen disk does.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    faults::{self, say},
    journal::{Config, Spill, disk::Asked, gauges::Gauges, lane::Shared},
};

/// The disk is said to have stopped when it has not answered for so long: a sync took 0.4 s at worst on a starved machine.
const STALLED: Duration = Duration::from_secs(2);
/// Marks kept of a ring that nobody empties; more are merged into the last.
const MARKS: usize = 4096;

/// Seen by the spiller's thread and the observer's; held by either for a moment, never while it asks the disk.
#[derive(Clone, Debug)]
pub(super) struct Observed(Arc<Mutex<Observer>>);

#[derive(Debug)]
pub(super) struct Observer {
    lanes: Vec<(Arc<Shared>, Clock)>,
    gauges: Gauges,
    asked: Arc<Asked>,
    spill: Spill,
    disk_bytes: u64,
    disk_pressed: Arc<AtomicBool>,
    /// Whether a lane waits after an error, as the spiller says.
    pub(super) backing_off: bool,
    stalled: bool,
}

/// When the frames in a ring came: marks of its head.
#[derive(Debug, Default)]
struct Clock {
    /// Frames below the position came at this time or later.
    marks: VecDeque<(Instant, u64)>,
    looked: Option<Instant>,
}

impl Observed {
    pub(super) fn new(
        config: &Config,
        lanes: impl Iterator<Item = Arc<Shared>>,
        gauges: Gauges,
        asked: Arc<Asked>,
        disk_pressed: Arc<AtomicBool>,
    ) -> Observed {
        Observed(Arc::new(Mutex::new(Observer {
            lanes: lanes.map(|shared| (shared, Clock::default())).collect(),
            gauges,
            asked,
            spill: config.spill,
            disk_bytes: config.disk_bytes.0,
            disk_pressed,
            backing_off: false,
            stalled: false,
        })))
    }

    pub(super) fn look(&self) -> MutexGuard<'_, Observer> {
        // Each change in there is one assignment or one push, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// How long the oldest frame of the lane at `index` that is to be spilled has waited at most.
    pub(super) fn age(&mut self, index: usize, now: Instant) -> Option<Duration> {
        let (shared, clock) = self.lanes.get_mut(index)?;
        let done = match self.spill {
            Spill::Auto => shared.durable(),
            Spill::Always => shared.ring.spilled(),
        };
        clock.look(now, shared.ring.head(), done)
    }

    /// Bytes that segments take, of all lanes.
    pub(super) fn disk_used(&self) -> u64 {
        self.lanes.iter().map(|(shared, _)| shared.home().index.bytes()).sum()
    }

    /// Sets the gauges, and tells of a disk that has stopped to answer, and of its first answer.
    pub(super) fn publish(&mut self, now: Instant) {
        let oldest = (0..self.lanes.len()).filter_map(|lane| self.age(lane, now)).max().unwrap_or_default();
        let used = self.disk_used();
        self.disk_pressed.store(used >= self.disk_bytes / 4 * 3, Ordering::Relaxed);
        let waiting = self.asked.waiting(now);
        let stalled = waiting.is_some_and(|waiting| waiting >= STALLED);
        if stalled && !self.stalled {
            self.gauges.stalled();
            say!(
                error,
                faults::SPILL_STOPPED,
                reason = %format!("the disk has not answered for {STALLED:?}"),
                "not spilled: the ring keeps the clicks until the disk answers"
            );
        } else if self.stalled && !stalled {
            tracing::info!("the disk answers again");
        }
        self.stalled = stalled;
        self.gauges.spill_stopped(self.backing_off || stalled);
        self.gauges.refresh(now, self.lanes.iter().map(|(shared, _)| &**shared), (used, self.disk_bytes), oldest);
    }
}

impl Clock {
    fn look(&mut self, now: Instant, head: u64, done: u64) -> Option<Duration> {
        // Of two threads that look, one may come with the older time.
        let now = self.looked.map_or(now, |looked| looked.max(now));
        let since = self.looked.replace(now).unwrap_or(now);
        let full = self.marks.len() >= MARKS;
        match self.marks.back_mut() {
            Some((_, seen)) if *seen >= head => {}
            Some((_, seen)) if full => *seen = head,
            _ => self.marks.push_back((since, head)),
        }
        while self.marks.front().is_some_and(|(_, position)| *position <= done) {
            self.marks.pop_front();
        }
        self.marks.front().map(|(came, _)| now.saturating_duration_since(*came))
    }
}
