//! Clicks that nobody can use, or that the journal has lost since they were read: they are passed over.

use super::{ClickState, ClickTracker};
use crate::{
    events::duplicates::DuplicateVerdict,
    journal::{Batch, Frame, Position},
};

impl ClickTracker {
    /// Appends a click that is passed over once every click before it is delivered. `at_ms`: about when it was made.
    pub(crate) fn track_quarantined_click_and_advance_read_position(&mut self, frame: &Frame<'_>, at_ms: u64) {
        let (verdict, state) = (DuplicateVerdict::First, ClickState::Delivered);
        let number = self.track_click_advance_read_position_and_return_number(frame, at_ms, verdict, state, 0);
        self.mark_quarantined(number);
    }

    /// The click is passed over once every click before it is delivered.
    pub(crate) fn mark_quarantined(&mut self, click_number: u64) {
        self.update_click_and_adjust_counts(click_number, |click| {
            click.is_quarantined = true;
            ClickState::Delivered
        });
    }

    /// The numbers of the returned clicks from `from` to the end of the batch that are not in it.
    pub(crate) fn list_returned_clicks_absent_from(&self, from: Position, batch: &Batch) -> Vec<u64> {
        let mut absent = Vec::new();
        let mut frames = batch.frames().map(|frame| frame.position).peekable();
        let first = self.queue.partition_point(|click| click.position < from);
        for (at, click) in self.queue.iter().enumerate().skip(first) {
            if click.position >= batch.next_position() {
                break;
            }
            while frames.next_if(|position| *position < click.position).is_some() {}
            if frames.peek() != Some(&click.position) && matches!(click.state, ClickState::Returned(_)) {
                absent.push(self.first_number + at as u64);
            }
        }
        absent
    }
}
