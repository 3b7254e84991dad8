//! How many ranges the next checkpoint of a lane can still take. A click that would begin one more is not sent, because
//! a checkpoint that is too large would abort every transaction.

use crate::{delivery::click_tracker::ClickTracker, journal::Frame};

/// The ranges that a lane's next checkpoint can still take, followed while clicks are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct RangesLeft {
    left: isize,
}

impl RangesLeft {
    /// `max`: the most ranges that the sink can commit for a lane.
    pub(super) fn of(clicks: &ClickTracker, max: usize) -> RangesLeft {
        let max = isize::try_from(max).unwrap_or(isize::MAX);
        let is_bounded = max < isize::MAX && clicks.returned().iter().sum::<usize>() > 0;
        let used = if is_bounded { clicks.count_committed_ranges_above_gap() } else { 0 };
        RangesLeft { left: max - used as isize }
    }

    /// Whether a click that was not read before may be sent. Takes the range that it begins, if any.
    pub(super) fn allow_new_click(&mut self, clicks: &ClickTracker, frame: &Frame<'_>) -> bool {
        !clicks.begins_committed_range(frame) || self.take(1)
    }

    /// Whether a click that begins a range may still be sent.
    pub(super) fn can_begin_range(&self) -> bool {
        self.left > 0
    }

    /// Whether this returned click may be sent. Takes the range that it begins, if any, or gives back one that it joins
    /// to another.
    pub(super) fn allow_returned_click(&mut self, clicks: &ClickTracker, click_number: u64) -> bool {
        self.take(clicks.count_new_ranges_if_sent(click_number))
    }

    fn take(&mut self, ranges: isize) -> bool {
        let is_allowed = ranges <= 0 || ranges <= self.left;
        if is_allowed {
            self.left = self.left.saturating_sub(ranges);
        }
        is_allowed
    }
}
