//! The clock of click ids: the wall clock, which does not go back within a lane, so that ids of a lane are in order.
//!
//! A wall clock that jumped ahead and came back would leave every later id ahead of it, and a token that is dated more
//! than a day ahead counts as expired. So the lead is bounded: beyond it the ids begin anew at the wall clock. That
//! costs their order once, and no creator's click.

use crate::faults::{self, log_fault};

/// The longest time that ids run ahead of the wall clock, milliseconds: 12 hours, half of what a token may be ahead.
const MAX_LEAD_MS: u64 = 12 * 60 * 60 * 1000;

/// A lead that is logged, milliseconds. Time services step a clock by less.
const REPORTED_LEAD_MS: u64 = 60_000;

/// The clock of one worker's click ids.
#[derive(Debug, Default)]
pub(super) struct IdClock {
    /// The time of the last id, milliseconds since the epoch.
    last_ms: u64,
    /// The value of `last_ms` whose lead was logged.
    reported_ms: u64,
}

impl IdClock {
    /// The time of the next click id, at this time of the wall clock.
    pub(super) fn advance_to_wall(&mut self, wall_ms: u64) -> u64 {
        if wall_ms >= self.last_ms {
            self.last_ms = wall_ms;
        } else {
            self.keep_lead_or_begin_anew(wall_ms);
        }
        self.last_ms
    }

    /// Keeps the time of the last id while it is within its bound, else begins anew at the wall clock. Logs each lead
    /// once.
    #[cold]
    fn keep_lead_or_begin_anew(&mut self, wall_ms: u64) {
        let lead_ms = self.last_ms - wall_ms;
        if lead_ms > MAX_LEAD_MS {
            log_fault!(
                error,
                faults::CLOCK_WENT_BACK,
                lead_seconds = lead_ms / 1000,
                "the wall clock went back by more than 12 hours: click ids begin anew at it; set the clock by NTP"
            );
            self.last_ms = wall_ms;
        } else if lead_ms >= REPORTED_LEAD_MS && self.reported_ms != self.last_ms {
            log_fault!(
                warn,
                faults::CLOCK_WENT_BACK,
                lead_seconds = lead_ms / 1000,
                "the wall clock went back: click ids keep the latest time until it comes again; set the clock by NTP"
            );
            self.reported_ms = self.last_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_go_back_by_less_than_twelve_hours_and_begin_anew_beyond() {
        let now = 1_795_000_000_000;
        let mut clock = IdClock::default();
        assert_eq!(clock.advance_to_wall(now), now);
        assert_eq!(clock.advance_to_wall(now - 1), now);
        assert_eq!(clock.advance_to_wall(now - MAX_LEAD_MS), now, "within the bound");
        assert_eq!(clock.advance_to_wall(now + 5), now + 5);
        assert_eq!(clock.advance_to_wall(now + 4 - MAX_LEAD_MS), now + 4 - MAX_LEAD_MS, "beyond it");
        assert_eq!(clock.advance_to_wall(now - MAX_LEAD_MS), now + 4 - MAX_LEAD_MS);
    }
}
