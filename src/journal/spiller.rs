//! The spiller's thread: spills what is due, keeps the checkpoints, removes finished segments, publishes the gauges.
//! It alone touches the disk while the edge serves.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    faults::{self, say},
    journal::{
        Config,
        gauges::Counters,
        observer::Observed,
        spill::{SpillLane, Stopped},
    },
    lifecycle::{self, Stop},
};

/// At most one checkpoint of a lane in this time.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The observer looks this often.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// The thread's work for all lanes. Made by [`crate::journal::Journal::into_parts`].
#[derive(Debug)]
pub struct Spiller {
    pub(super) lanes: Vec<SpillLane>,
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) observed: Observed,
    pub(super) checkpoint_at: Option<Instant>,
}

impl Spiller {
    /// Works until `stop`, then spills the rest, marks the lanes as cleanly closed and ends. Give it a stop signal of its own:
    /// first the workers and then the shipper must be done, for a lane whose [`crate::journal::Lane`] still lives gets no mark.
    pub fn run(mut self, stop: Stop) {
        let (stopper, over) = lifecycle::stop();
        let (observed, pause) = (self.observed.clone(), OBSERVE_EVERY);
        // Beside the looks after each round here, which do not come while the disk does not answer.
        let observe = move || {
            while !over.is_set() {
                observed.look().publish(Instant::now());
                thread::sleep(pause);
            }
        };
        let observer = thread::Builder::new().name("wp-observer".to_owned()).spawn(observe);
        if let Err(error) = &observer {
            tracing::warn!(%error, "cannot start the thread wp-observer: the journal's gauges stand still while the disk does");
        }
        let pause = self.pause();
        while !stop.is_set() {
            self.tick(Instant::now());
            thread::sleep(pause);
        }
        self.close();
        stopper.stop();
        // It ends within its pause, and has nothing to lose by a panic.
        let _ = observer.map(thread::JoinHandle::join);
    }

    /// The time between two looks: a quarter of the interval, so that little is added to it.
    fn pause(&self) -> Duration {
        (self.config.sync_interval / 4).clamp(Duration::from_millis(1), Duration::from_millis(20))
    }

    /// One look at every lane.
    pub(super) fn tick(&mut self, now: Instant) {
        let due = self.config.sync_interval.saturating_sub(self.pause());
        let checkpoint = self.checkpoint_at.is_none_or(|at| now.saturating_duration_since(at) >= CHECKPOINT_EVERY);
        for lane in 0..self.lanes.len() {
            let age = self.observed.look().age(lane, now);
            // Here and not by the observer, who must not wait for a disk.
            self.lanes[lane].note_age(age);
            // After an error also where nothing is due, or the alarm would outlast it.
            let wanted = age.is_some_and(|age| age >= due) || self.lanes[lane].backing_off();
            if wanted && self.lanes[lane].may_spill(now) {
                self.spill(lane, now);
            }
            if checkpoint {
                self.keep_checkpoint(lane);
            }
        }
        if checkpoint {
            self.look_around();
            self.checkpoint_at = Some(now);
        }
        self.observed.look().publish(now);
    }

    /// The last round: everything still in a ring, then the clean mark.
    pub(super) fn close(mut self) {
        let now = Instant::now();
        for lane in 0..self.lanes.len() {
            self.spill(lane, now);
            let lane = &mut self.lanes[lane];
            match lane.close() {
                Ok(true) => {}
                Ok(false) => say!(
                    warn,
                    faults::CLOSED_UNCLEAN,
                    lane = lane.number(),
                    "closed without the clean mark: clicks are in the ring alone, the next start takes them from there"
                ),
                Err(error) => say!(
                    error,
                    faults::CHECKPOINT_FAILED,
                    lane = lane.number(), %error,
                    "no checkpoint at the end: the next start recovers instead"
                ),
            }
        }
        self.observed.look().publish(now);
    }

    fn spill(&mut self, lane: usize, now: Instant) {
        let room = self.config.disk_bytes.0.saturating_sub(self.observed.look().disk_used());
        let lane = &mut self.lanes[lane];
        match lane.spill(&self.config, room, &self.counters) {
            Ok(()) => {
                if lane.recovered_from_error() {
                    tracing::info!(lane = lane.number(), "spilling again");
                }
            }
            Err(stopped) => {
                self.counters.spill_error(stopped.reason());
                if lane.abandon(now) {
                    say!(
                        error,
                        faults::SPILL_STOPPED,
                        lane = lane.number(), reason = %stopped,
                        "not spilled: the ring keeps the clicks, and it is tried again"
                    );
                }
            }
        }
        self.observed.look().backing_off = self.lanes.iter().any(SpillLane::backing_off);
    }

    /// What may change outside of this process: the file system's room, and whether the rings' files are still there.
    fn look_around(&mut self) {
        for lane in &mut self.lanes {
            if let Some(path) = lane.miss_ring().map(|path| path.display().to_string()) {
                say!(
                    error,
                    faults::RING_GONE,
                    lane = lane.number(),
                    path,
                    "the ring's file was removed under the process, which goes on in memory that no other start finds: stop \
                     it in good order and start it again"
                );
            }
        }
        let ring_gone = self.lanes.iter().any(|lane| lane.ring_gone);
        let room = self.lanes.first().and_then(SpillLane::file_system_room);
        let mut observed = self.observed.look();
        observed.ring_gone = ring_gone;
        observed.file_system_room = room.unwrap_or(observed.file_system_room);
    }

    fn keep_checkpoint(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        match lane.keep_checkpoint() {
            Ok(()) => {
                if std::mem::take(&mut lane.checkpoint_failing) {
                    tracing::info!(lane = lane.number(), "checkpoints are written again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut lane.checkpoint_failing, true) {
                    say!(
                        error,
                        faults::CHECKPOINT_FAILED,
                        lane = lane.number(), %error,
                        "no checkpoint: segments that are delivered stay until one is written, which is tried again"
                    );
                }
                self.counters.spill_error(Stopped::Disk(error).reason());
            }
        }
    }
}
