//! The order of time in a life: clicks come to the lanes, and each topic's spiller and delivery have their turns, at
//! times of their own. A turn comes late now and then, as on a busy machine.

use std::time::{Duration, Instant};

use super::{simulation::Simulation, topic::SPILLER_PAUSE};
use crate::clock::{
    self,
    simulated::{SimulatedTime, set_time_of_thread, time_of_thread},
};

/// The time between two turns of a delivery behind new clicks, and of one that is idle.
const ACTIVE_PAUSE: Duration = Duration::from_millis(2);
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// By how much turns come more seldom on a slow machine.
const SLOWDOWN: u32 = 25;

/// The clocks of the machine: those of this thread, which move when the test says so, and when the thread sleeps.
pub(super) struct SimulatedClock(());

impl SimulatedClock {
    /// Stops the clocks of this thread at the present time.
    pub(super) fn start() -> SimulatedClock {
        set_time_of_thread(Some(SimulatedTime { now: clock::now(), wall_ms: clock::wall_ms() }));
        SimulatedClock(())
    }

    #[allow(clippy::unused_self, reason = "the clock must have been started")]
    pub(super) fn now(&self) -> Instant {
        clock::now()
    }

    /// Turns come at whole milliseconds.
    fn advance(&mut self, advance_by: Duration) {
        set_time_of_thread(time_of_thread().map(|time| time.advanced_by(advance_by)));
    }
}

impl Drop for SimulatedClock {
    fn drop(&mut self) {
        set_time_of_thread(None);
    }
}

/// The thread that runs next.
#[derive(Clone, Copy)]
enum ThreadToRun {
    Clicks,
    Spiller(usize),
    Delivery(usize),
}

impl Simulation {
    /// Runs the edge for some time: whatever is due comes at its time, and in the order of time.
    pub(super) fn run_all_threads_for(&mut self, duration: Duration) {
        self.run_threads_until(self.clock.now() + duration, 1);
    }

    /// Runs a machine that gives each thread little time, while no click comes.
    pub(super) fn run_slow_edge_without_clicks_for(&mut self, duration: Duration) {
        let end = self.clock.now() + duration;
        self.clicks_due = self.clicks_due.max(end + ACTIVE_PAUSE);
        self.run_threads_until(end, SLOWDOWN);
    }

    /// Moves the clock on while no thread has a turn.
    pub(super) fn advance_clock(&mut self, advance_by: Duration) {
        self.clock.advance(advance_by);
        self.topics.iter_mut().for_each(|topic| topic.now = self.clock.now());
    }

    fn run_threads_until(&mut self, end: Instant, slowdown: u32) {
        loop {
            let (due, thread) = self.find_next_thread_to_run();
            if due > end {
                break;
            }
            self.advance_clock(due.saturating_duration_since(self.clock.now()));
            self.run_thread_and_schedule_next(thread, slowdown);
        }
        self.advance_clock(end.saturating_duration_since(self.clock.now()));
    }

    fn find_next_thread_to_run(&self) -> (Instant, ThreadToRun) {
        let turns = self.topics.iter().enumerate().flat_map(|(index, topic)| {
            [(topic.spiller_due, ThreadToRun::Spiller(index)), (topic.delivery_due, ThreadToRun::Delivery(index))]
        });
        turns.fold((self.clicks_due, ThreadToRun::Clicks), |first, next| if next.0 < first.0 { next } else { first })
    }

    fn run_thread_and_schedule_next(&mut self, thread: ThreadToRun, slowdown: u32) {
        let (now, delay) = (self.clock.now(), self.pick_delay());
        match thread {
            ThreadToRun::Clicks => {
                let topic = self.pick_topic();
                self.topics[topic].append_random_clicks_to_one_lane();
                self.clicks_due = now + Duration::from_millis(1 + self.pick(10) as u64);
            }
            ThreadToRun::Spiller(index) => {
                self.topics[index].run_spiller_and_check_invariants();
                self.topics[index].spiller_due = now + SPILLER_PAUSE * slowdown + delay;
            }
            ThreadToRun::Delivery(index) => {
                let topic = &mut self.topics[index];
                topic.run_delivery_cycle_and_check_invariants(false);
                let pause = if topic.pending.is_empty() { IDLE_PAUSE } else { ACTIVE_PAUSE };
                topic.delivery_due = now + pause * slowdown + delay;
            }
        }
    }

    /// By how much the next turn comes late: mostly not at all.
    fn pick_delay(&self) -> Duration {
        let most_ms = match self.pick(200) {
            0 => 1_500,
            1..10 => 60,
            _ => 1,
        };
        Duration::from_millis(self.pick(most_ms) as u64)
    }
}
