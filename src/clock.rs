//! The clocks: the wall clock in the unit every format here uses, and the monotonic one. A test can set both for its
//! thread.

pub(crate) mod work_pauses;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since the Unix epoch, UTC. A clock set before 1970 reads as 0.
pub fn wall_ms() -> u64 {
    #[cfg(test)]
    if let Some(time) = simulated::time_of_thread() {
        return time.wall_ms;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The monotonic clock, where a caller is not given the time.
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(time) = simulated::time_of_thread() {
        return time.now;
    }
    Instant::now()
}

/// Lets this thread sleep.
pub fn sleep(duration: Duration) {
    #[cfg(test)]
    if let Some(time) = simulated::time_of_thread() {
        return simulated::set_time_of_thread(Some(time.advanced_by(duration)));
    }
    thread::sleep(duration);
}

/// Clocks that a test sets for its own thread.
#[cfg(test)]
pub(crate) mod simulated {
    use std::{
        cell::Cell,
        time::{Duration, Instant},
    };

    /// The reading of both clocks.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct SimulatedTime {
        pub(crate) now: Instant,
        pub(crate) wall_ms: u64,
    }

    impl SimulatedTime {
        /// The reading so much later. Of the wall clock only whole milliseconds count.
        pub(crate) fn advanced_by(self, duration: Duration) -> SimulatedTime {
            SimulatedTime { now: self.now + duration, wall_ms: self.wall_ms + duration.as_millis() as u64 }
        }
    }

    thread_local! {
        static TIME: Cell<Option<SimulatedTime>> = const { Cell::new(None) };
    }

    pub(crate) fn time_of_thread() -> Option<SimulatedTime> {
        TIME.get()
    }

    /// Sets the clocks of this thread; `None`: they are the system's again.
    pub(crate) fn set_time_of_thread(time: Option<SimulatedTime>) {
        TIME.set(time);
    }
}
