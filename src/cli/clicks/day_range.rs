//! The days of `--from` and `--to`: whole days, UTC, both included.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{source::ReadRange, time_range::check_from_is_not_after_to};
use crate::config::ConfigErrors;

/// The longest time by which an edge's clock is ahead and believed, milliseconds: a day, as the rule of commissions has
/// it. A click of a clock that is ahead lies that much earlier on its topic.
const MAX_CLOCK_AHEAD_MS: u64 = 86_400_000;

/// The flags of a range of days.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(in crate::cli) struct DayRange {
    /// First day (UTC), such as 2026-11-21 [default: the first that the source holds]
    #[arg(long, value_name = "DATE")]
    pub(in crate::cli) from: Option<Date>,
    /// Last day (UTC) [default: today]
    #[arg(long, value_name = "DATE")]
    pub(in crate::cli) to: Option<Date>,
}

impl DayRange {
    /// Checks that the range has a day.
    ///
    /// # Errors
    /// `--from` is after `--to`.
    pub(in crate::cli) fn check(self) -> Result<(), ConfigErrors> {
        check_from_is_not_after_to(self.from, self.to)
    }

    /// Whether a click of this time, milliseconds since the epoch, lies in the range.
    pub(in crate::cli) fn contains_ms(self, at_ms: u64) -> bool {
        let day = utc_day(at_ms);
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day <= to)
    }

    /// The records among which those of the range are.
    pub(in crate::cli) fn read_range(self) -> ReadRange {
        match self.from.map(start_of_day_ms) {
            None => ReadRange::All,
            Some(start_ms) => ReadRange::Since(start_ms.saturating_sub(MAX_CLOCK_AHEAD_MS)),
        }
    }
}

/// The day of a time in milliseconds since the epoch.
pub(in crate::cli) fn utc_day(at_ms: u64) -> Date {
    let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).date()
}

/// The first millisecond of a day since the epoch; 0 for days before it.
pub(in crate::cli) fn start_of_day_ms(day: Date) -> u64 {
    let start = day.to_zoned(TimeZone::UTC).map(|start| start.timestamp().as_millisecond());
    start.ok().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_in_the_range_from_its_first_millisecond_to_its_last() {
        let day: Date = "2026-11-21".parse().unwrap();
        let (range, start) = (DayRange { from: Some(day), to: Some(day) }, start_of_day_ms(day));
        assert_eq!(start, 1_795_219_200_000);
        let found = [start - 1, start, start + 86_399_999, start + 86_400_000].map(|at_ms| range.contains_ms(at_ms));
        assert_eq!(found, [false, true, true, false]);
        assert!(DayRange::default().contains_ms(0) && DayRange::default().contains_ms(u64::MAX));
    }
}
