//! Which clicks of the lane are committed in transactions, and which are once the next commit is.

use super::{ClickState, ClickTracker, TrackedClick};
use crate::{
    delivery::committed::CommittedSet,
    journal::{Frame, Watermark},
};

impl ClickTracker {
    /// Whether this click is committed although a click before it is not.
    pub(crate) fn is_committed_above_watermark(&self, frame: &Frame<'_>) -> bool {
        self.committed.contains_above_watermark(frame.epoch, frame.seq)
    }

    /// Takes over the set that the sink has committed: clicks in the set are delivered, other clicks in flight are
    /// returned.
    pub(crate) fn mark_committed_delivered_and_others_in_flight_returned(&mut self, committed: &CommittedSet) {
        for at in 0..self.queue.len() {
            self.update_click_and_adjust_counts(self.first_number + at as u64, |click| match click.state {
                _ if committed.contains(click.epoch, click.seq) => ClickState::Delivered,
                ClickState::InFlight => ClickState::Returned(click.refusals),
                other => other,
            });
        }
        if self.queue.is_empty() {
            self.delivered = self.delivered.max(committed.watermark);
        }
        self.committed = committed.clone();
    }

    /// The set that is committed once every click in flight is.
    pub(crate) fn build_committed_set_including_in_flight(&self) -> CommittedSet {
        let mut next = CommittedSet { watermark: self.delivered, above: Vec::new() };
        let mut is_behind_gap = false;
        for click in &self.queue {
            match click.state {
                ClickState::Returned(_) => is_behind_gap = true,
                ClickState::InFlight | ClickState::Delivered => {
                    next.append_in_lane_order(click.epoch, click.seq, is_behind_gap)
                }
            }
        }
        // Clicks that an earlier process committed and this one has not read again yet.
        let last_read = self.queue.back().map(|click| Watermark::after(click.epoch, click.seq));
        next.add_ranges_above_watermark_of(last_read.unwrap_or(next.watermark), &self.committed);
        next
    }

    /// The ranges of clicks above an undelivered one that are committed once every click in flight is.
    pub(crate) fn count_committed_ranges_above_gap(&self) -> usize {
        self.build_committed_set_including_in_flight().above.len()
    }

    /// By how much [`ClickTracker::count_committed_ranges_above_gap`] grows if this returned click is sent.
    pub(crate) fn count_new_ranges_if_sent(&self, click_number: u64) -> isize {
        let Some(at) = click_number.checked_sub(self.first_number).map(|at| at as usize) else { return 0 };
        let Some(click) = self.queue.get(at) else { return 0 };
        let begins_range = match at.checked_sub(1).and_then(|before| self.queue.get(before)) {
            None => false,
            Some(before) if is_returned(before) => true,
            // Below the first returned click everything is below the watermark.
            Some(before) => !before.is_directly_before(click) && self.queue.range(..at).any(is_returned),
        };
        let joins_next =
            self.queue.get(at + 1).is_some_and(|next| !is_returned(next) && click.is_directly_before(next));
        isize::from(begins_range) - isize::from(joins_next)
    }

    /// Whether the last click read is returned, so that the next one would begin a range above it.
    pub(crate) fn is_last_read_returned(&self) -> bool {
        self.queue.back().is_some_and(is_returned)
    }

    /// Whether this click, which was not read before, would begin a range above the watermark.
    pub(crate) fn begins_committed_range(&self, frame: &Frame<'_>) -> bool {
        let has_returned = self.returned.iter().sum::<usize>() > 0;
        has_returned
            && self.queue.back().is_some_and(|last| {
                is_returned(last) || last.epoch_and_seq() != (frame.epoch, frame.seq.saturating_sub(1))
            })
    }
}

fn is_returned(click: &TrackedClick) -> bool {
    matches!(click.state, ClickState::Returned(_))
}
