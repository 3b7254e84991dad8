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
    clock::wall_ms,
    faults::{self, say},
    journal::{
        Config, Spill,
        disk::Asked,
        gauges::{Gauges, Room},
        lane::Shared,
    },
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
    /// Whether a ring's file is gone, as the spiller says.
    pub(super) ring_gone: bool,
    /// What the file system has left, as the spiller last saw; at first as good as unbounded.
    pub(super) file_system_room: u64,
    stalled: bool,
    room_low: bool,
}

/// When the frames in a ring came: marks of its head.
#[derive(Debug, Default)]
struct Clock {
    /// Frames below the position came at this time or later.
    marks: VecDeque<(Instant, u64)>,
    looked: Option<Instant>,
    before: Option<Before>,
}

/// Frames that lay in the ring alone when this process opened it.
#[derive(Clone, Copy, Debug)]
struct Before {
    /// How old the oldest of them was at most, by the wall clock, and when.
    age: Duration,
    at: Instant,
    /// Where they end.
    head: u64,
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
            lanes: lanes.map(|shared| (shared.clone(), Clock::of(&shared))).collect(),
            gauges,
            asked,
            spill: config.spill,
            disk_bytes: config.disk_bytes.0,
            disk_pressed,
            backing_off: false,
            ring_gone: false,
            file_system_room: u64::MAX,
            stalled: false,
            room_low: false,
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

    /// Sets the gauges, and tells of a disk that has stopped to answer or has no room.
    pub(super) fn publish(&mut self, now: Instant) {
        let oldest = (0..self.lanes.len()).filter_map(|lane| self.age(lane, now)).max().unwrap_or_default();
        let used = self.disk_used();
        self.disk_pressed.store(used >= self.disk_bytes / 4 * 3, Ordering::Relaxed);
        self.tell_of_stalls(now);
        self.tell_of_room();
        self.gauges.alarms(self.backing_off || self.stalled, self.ring_gone);
        let disk = Room {
            used,
            budget: self.disk_bytes,
            left: self.disk_bytes.saturating_sub(used).min(self.file_system_room),
        };
        self.gauges.refresh(now, self.lanes.iter().map(|(shared, _)| &**shared), &disk, oldest);
    }

    fn tell_of_stalls(&mut self, now: Instant) {
        let stalled = self.asked.waiting(now).is_some_and(|waiting| waiting >= STALLED);
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
    }

    /// Low: less is left than the rings may hold, so that a sink that goes away now has clicks in memory alone. Twice that is
    /// room again.
    fn tell_of_room(&mut self) {
        let rings: u64 = self.lanes.iter().map(|(shared, _)| shared.ring.size()).sum();
        let low = self.file_system_room < if self.room_low { 2 * rings } else { rings };
        if low && !self.room_low {
            say!(
                warn,
                faults::JOURNAL_ROOM_LOW,
                bytes = self.file_system_room,
                "the file system of the journal has less room than the rings: make room, whatever [journal] disk_bytes allows"
            );
        } else if self.room_low && !low {
            tracing::info!("the file system of the journal has room again");
        }
        self.room_low = low;
    }
}

impl Clock {
    fn of(shared: &Shared) -> Clock {
        let (head, since) = (shared.ring.head(), shared.ring.since_ms());
        let age = Duration::from_millis(wall_ms().saturating_sub(since));
        let waiting = head > shared.durable() && since > 0;
        Clock { before: waiting.then(|| Before { age, at: Instant::now(), head }), ..Clock::default() }
    }

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
        self.before = self.before.filter(|before| done < before.head);
        match self.before {
            Some(before) => Some(before.age + now.saturating_duration_since(before.at)),
            None => self.marks.front().map(|(came, _)| now.saturating_duration_since(*came)),
        }
    }
}
