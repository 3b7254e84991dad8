//! Short pauses in long work beside the workers: a click never waits longer for a core than the work goes on.

use std::time::{Duration, Instant};

use crate::clock;

/// Work between two pauses. Without them a woken worker waits until the kernel ends the slice of the thread that works,
/// 2 to 3 ms; priorities do not shorten it (Linux 6.18, measured).
const MAX_WORK: Duration = Duration::from_micros(300);
/// A pause. The kernel adds its timer slack, 50 µs.
const PAUSE: Duration = Duration::from_micros(50);

/// The pauses of one long work.
#[derive(Debug)]
pub(crate) struct WorkPauses {
    /// When the work began or went on.
    since: Instant,
}

impl WorkPauses {
    /// For work that begins now.
    pub(crate) fn starting_now() -> WorkPauses {
        WorkPauses { since: clock::now() }
    }

    /// Lets this thread sleep for a moment if the work began long enough ago. Time in which it waited counts too. To be
    /// called between two short steps.
    pub(crate) fn pause_if_due(&mut self) {
        if clock::now().duration_since(self.since) >= MAX_WORK {
            clock::sleep(PAUSE);
            self.since = clock::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::simulated::{SimulatedTime, set_time_of_thread};

    #[test]
    fn work_pauses_once_it_has_gone_on_for_the_bound_and_not_before() {
        let start = SimulatedTime { now: Instant::now(), wall_ms: 0 };
        set_time_of_thread(Some(start));
        let mut pauses = WorkPauses::starting_now();
        set_time_of_thread(Some(start.advanced_by(MAX_WORK - Duration::from_nanos(1))));
        pauses.pause_if_due();
        assert_eq!(clock::now(), start.now + MAX_WORK - Duration::from_nanos(1), "too early for a pause");
        set_time_of_thread(Some(start.advanced_by(MAX_WORK)));
        pauses.pause_if_due();
        assert_eq!(clock::now(), start.now + MAX_WORK + PAUSE);
        pauses.pause_if_due();
        assert_eq!(clock::now(), start.now + MAX_WORK + PAUSE, "the work begins anew behind a pause");
        set_time_of_thread(None);
    }
}
