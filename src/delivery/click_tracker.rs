//! The clicks of one lane between the delivered position and the read position: which were sent, and which came back.
//!
//! Acknowledgements arrive in any order, so a sent click stays in a queue until every click before it is delivered. A
//! returned click keeps its place and is read from the journal again; the read position never goes back. The duplicate
//! verdict is kept with the click, so that a click sent twice is never a duplicate of itself.

mod committed_clicks;
mod quarantined_clicks;

use std::collections::VecDeque;

use super::{committed::CommittedSet, dead_letter_ranges::DeadLetterRanges};
use crate::{
    events::duplicates::DuplicateVerdict,
    journal::{Epoch, Frame, Position, Seq, Watermark},
    kafka::Refusal,
};

/// The state of a tracked click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClickState {
    /// The sink holds the click; no report has come.
    InFlight,
    /// The sink has delivered the click.
    Delivered,
    /// The click came back and is to be sent again. The number counts its refusals: 0 if the click was not at fault.
    Returned(u8),
}

/// A click between the delivered position and the read position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackedClick {
    pub(crate) position: Position,
    epoch: Epoch,
    seq: Seq,
    /// The click's time, Unix milliseconds; the delay of the delivery is measured from it.
    pub(crate) at_ms: u64,
    pub(crate) state: ClickState,
    pub(crate) verdict: DuplicateVerdict,
    /// The steps by which the record's timestamp is shifted: refusals of its own timestamp, or of clicks before it.
    pub(crate) timestamp_shift: u8,
    /// Refusals so far, kept while the click is in flight again.
    pub(crate) refusals: u8,
    /// The last refusal; for a dead letter, the refusal that made it one.
    pub(crate) refusal: Option<Refusal>,
    /// The bytes of the event in the dead-letter file, once the click is there; from then on its stub is sent.
    pub(crate) dead_letter_bytes: Option<u32>,
    /// The journal has lost the click, or cannot decode it: it is passed over and not counted as delivered.
    is_quarantined: bool,
}

impl TrackedClick {
    pub(super) fn epoch_and_seq(&self) -> (Epoch, Seq) {
        (self.epoch, self.seq)
    }

    /// Whether no number lies between the two. One range holds both then.
    fn is_directly_before(&self, next: &TrackedClick) -> bool {
        self.epoch == next.epoch && self.seq + 1 == next.seq
    }
}

/// So many refusals prove a click bad: in its batch, among few, and alone.
pub(crate) const REFUSALS_OF_PROOF: u8 = 3;

/// The length of [`ReturnedByRefusals`].
const REFUSAL_CLASSES: usize = 5;

/// Returned clicks by the number of their refusals: 0, 1, 2, 3, and 4 or more.
pub(crate) type ReturnedByRefusals = [usize; REFUSAL_CLASSES];

/// The undelivered clicks of one lane, as far as they are read.
#[derive(Debug)]
pub(crate) struct ClickTracker {
    read_position: Position,
    /// Since when a click at the read position waits for a build that can read it, Unix milliseconds.
    blocked_since_ms: Option<u64>,
    queue: VecDeque<TrackedClick>,
    /// The number of the queue's front. Numbers count up.
    first_number: u64,
    delivered: Watermark,
    /// The clicks that the sink has committed, as it reported at its start: they are not sent again.
    committed: CommittedSet,
    in_flight: usize,
    /// Clicks in flight that were refused before.
    on_trial: usize,
    returned: ReturnedByRefusals,
    dead_letters: DeadLetterRanges,
}

impl ClickTracker {
    /// Starts reading at a position, with every click below the watermark delivered.
    pub(crate) fn new(read_position: Position, delivered: Watermark) -> ClickTracker {
        ClickTracker {
            read_position,
            blocked_since_ms: None,
            queue: VecDeque::new(),
            first_number: 0,
            delivered,
            committed: CommittedSet::default(),
            in_flight: 0,
            on_trial: 0,
            returned: [0; REFUSAL_CLASSES],
            dead_letters: DeadLetterRanges::default(),
        }
    }

    /// The journal position to read from next.
    pub(crate) fn read_position(&self) -> Position {
        self.read_position
    }

    /// Every click of the lane below this watermark was read, or is delivered, or is gone.
    pub(crate) fn read_watermark(&self) -> Watermark {
        let last_read = self.queue.back().map(|click| Watermark::after(click.epoch, click.seq));
        last_read.unwrap_or_default().max(self.delivered).max(self.committed.watermark)
    }

    /// Moves the read position up to `position`, never back.
    pub(crate) fn advance_read_position(&mut self, position: Position) {
        self.read_position = self.read_position.max(position);
    }

    /// Stops reading for this process: this build cannot read the click at the read position. Nothing behind it may be
    /// sent, because at the next start the highest click in the sink's files stands for every click before it.
    pub(crate) fn block_at_unreadable_click(&mut self, now_ms: u64) {
        self.blocked_since_ms = Some(now_ms);
    }

    /// Whether reading has stopped for this process.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since_ms.is_some()
    }

    /// Every click of the lane below this position is delivered.
    pub(crate) fn delivered_position(&self) -> Position {
        self.queue.front().map_or(self.read_position, |click| click.position)
    }

    /// Every click of the lane below this watermark is delivered.
    pub(crate) fn delivered_watermark(&self) -> Watermark {
        self.delivered
    }

    /// The dead letters below the delivered position.
    pub(crate) fn dead_letters(&self) -> &DeadLetterRanges {
        &self.dead_letters
    }

    /// Clicks that the sink holds.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Clicks that the sink holds and that were refused before. A click sent beside one would make the refusal
    /// ambiguous.
    pub(crate) fn on_trial(&self) -> usize {
        self.on_trial
    }

    /// Returned clicks that wait to be sent again.
    pub(crate) fn returned(&self) -> ReturnedByRefusals {
        self.returned
    }

    /// The clicks between the delivered position and the read position, delivered ones included.
    pub(crate) fn tracked_clicks(&self) -> usize {
        self.queue.len()
    }

    /// The time of the oldest undelivered click that was read; for one that cannot be read, when it was met.
    pub(crate) fn oldest_undelivered_ms(&self) -> Option<u64> {
        self.queue.front().map(|click| click.at_ms).or(self.blocked_since_ms)
    }

    /// Whether this click and every click before it were delivered by an earlier process, or are committed.
    pub(crate) fn is_delivered_with_all_before(&self, frame: &Frame<'_>) -> bool {
        self.delivered.max(self.committed.watermark).covers(frame.epoch, frame.seq)
    }

    /// Appends a click that was read for the first time. Returns the number under which reports name the click.
    pub(crate) fn track_click_advance_read_position_and_return_number(
        &mut self,
        frame: &Frame<'_>,
        at_ms: u64,
        verdict: DuplicateVerdict,
        state: ClickState,
        timestamp_shift: u8,
    ) -> u64 {
        self.adjust_counts_of_state(state, 0, 1);
        self.queue.push_back(TrackedClick {
            position: frame.position,
            epoch: frame.epoch,
            seq: frame.seq,
            at_ms,
            state,
            verdict,
            timestamp_shift,
            refusals: 0,
            refusal: None,
            dead_letter_bytes: None,
            is_quarantined: false,
        });
        self.advance_read_position(frame.next_position);
        self.first_number + self.queue.len() as u64 - 1
    }

    /// The click of this number; `None` once the delivered position has passed it.
    pub(crate) fn find_click(&self, click_number: u64) -> Option<&TrackedClick> {
        self.queue.get(click_number.checked_sub(self.first_number)? as usize)
    }

    /// The number of the frame's click, if the click is tracked.
    pub(crate) fn find_number(&self, frame: &Frame<'_>) -> Option<u64> {
        let at = self.queue.binary_search_by_key(&frame.position, |click| click.position).ok()?;
        Some(self.first_number + at as u64)
    }

    /// The position of the first returned click for which `wanted` holds.
    pub(crate) fn find_position_of_first_returned_click(
        &self,
        wanted: impl Fn(&TrackedClick) -> bool,
    ) -> Option<Position> {
        if self.returned == [0; REFUSAL_CLASSES] {
            return None;
        }
        let returned = |click: &&TrackedClick| matches!(click.state, ClickState::Returned(_)) && wanted(click);
        self.queue.iter().find(returned).map(|click| click.position)
    }

    /// The largest timestamp shift among the clicks in flight; `None` if no click is in flight.
    pub(crate) fn max_timestamp_shift_in_flight(&self) -> Option<u8> {
        if self.in_flight == 0 {
            return None;
        }
        let in_flight = self.queue.iter().filter(|click| click.state == ClickState::InFlight);
        in_flight.map(|click| click.timestamp_shift).max()
    }

    /// Whether the click was refused alone, so that it is bad beyond doubt.
    pub(crate) fn is_proved_bad(&self, click_number: u64) -> bool {
        self.find_click(click_number).is_some_and(|click| click.refusals >= REFUSALS_OF_PROOF)
    }

    /// The sink holds a returned click again.
    pub(crate) fn mark_in_flight(&mut self, click_number: u64) {
        self.update_click_and_adjust_counts(click_number, |_| ClickState::InFlight);
    }

    /// The sink has delivered the click.
    pub(crate) fn mark_delivered(&mut self, click_number: u64) {
        self.update_click_and_adjust_counts(click_number, |_| ClickState::Delivered);
    }

    /// The click came back, through no fault of its own.
    pub(crate) fn mark_returned(&mut self, click_number: u64) {
        self.update_click_and_adjust_counts(click_number, |click| ClickState::Returned(click.refusals));
    }

    /// The click came back because its record, or another of its batch, was refused.
    pub(crate) fn mark_returned_and_count_refusal(&mut self, click_number: u64, refusal: Refusal) {
        self.update_click_and_adjust_counts(click_number, |click| {
            click.refusals = click.refusals.saturating_add(1);
            if click.dead_letter_bytes.is_none() {
                click.refusal = Some(refusal);
            }
            if refusal == Refusal::InvalidTimestamp {
                // Perhaps shifted because of others in its batch: among fewer clicks its own time is tried first.
                click.timestamp_shift = 0;
            }
            ClickState::Returned(click.refusals)
        });
    }

    /// The click came back because of its timestamp, which is shifted by one step more.
    pub(crate) fn mark_refused_for_timestamp_and_shift_click(&mut self, click_number: u64) {
        self.update_click_and_adjust_counts(click_number, |click| {
            click.timestamp_shift = click.timestamp_shift.saturating_add(1);
            ClickState::Returned(click.refusals)
        });
    }

    /// The click's event, so many bytes long, is in a dead-letter file.
    pub(crate) fn mark_written_to_dead_letter_file(&mut self, click_number: u64, event_bytes: u32) {
        self.update_click_and_adjust_counts(click_number, |click| {
            click.dead_letter_bytes = Some(event_bytes);
            click.state
        });
    }

    /// Every click in flight is delivered.
    pub(crate) fn mark_in_flight_delivered(&mut self) {
        self.set_state_of_clicks_in_flight(|_| ClickState::Delivered);
    }

    /// Every click in flight came back, through no fault of its own.
    pub(crate) fn mark_in_flight_returned(&mut self) {
        self.set_state_of_clicks_in_flight(|click| ClickState::Returned(click.refusals));
    }

    /// Forgets the refusals of returned clicks that are not proved bad, and shifts them by so many steps: timestamps
    /// pass with this shift, and the refusals may have been for the timestamp.
    pub(crate) fn reset_unproved_refusals_and_set_timestamp_shift(&mut self, timestamp_shift: u8) {
        if self.returned == [0; REFUSAL_CLASSES] {
            return;
        }
        for at in 0..self.queue.len() {
            let click = self.queue[at];
            let unproved = matches!(click.state, ClickState::Returned(1..REFUSALS_OF_PROOF));
            if unproved && click.refusal != Some(Refusal::TooLarge) {
                self.update_click_and_adjust_counts(self.first_number + at as u64, |click| {
                    (click.timestamp_shift, click.refusals) = (timestamp_shift, 0);
                    ClickState::Returned(0)
                });
            }
        }
    }

    /// Moves the delivered position past delivered clicks. Returns how many clicks it passed, without the quarantined
    /// ones, and without the dead letters, whose refusals go to `on_dead_letter`.
    pub(crate) fn advance_past_delivered_and_count_without_dead_letters(
        &mut self,
        mut on_dead_letter: impl FnMut(Refusal),
    ) -> u64 {
        let mut passed = 0;
        while let Some(front) = self.queue.front()
            && front.state == ClickState::Delivered
        {
            self.delivered = Watermark::after(front.epoch, front.seq);
            match front.refusal.filter(|_| front.dead_letter_bytes.is_some() && !front.is_quarantined) {
                Some(refusal) => {
                    self.dead_letters.append_and_drop_oldest_range_if_full(front.epoch, front.seq);
                    on_dead_letter(refusal);
                }
                None => passed += u64::from(!front.is_quarantined),
            }
            self.first_number += 1;
            self.queue.pop_front();
        }
        passed
    }

    fn update_click_and_adjust_counts(
        &mut self,
        click_number: u64,
        new_state: impl FnOnce(&mut TrackedClick) -> ClickState,
    ) {
        let Some(at) = click_number.checked_sub(self.first_number) else { return };
        let Some(click) = self.queue.get_mut(at as usize) else { return };
        let (old_state, old_refusals) = (click.state, click.refusals);
        click.state = new_state(click);
        let (state, refusals) = (click.state, click.refusals);
        self.adjust_counts_of_state(old_state, old_refusals, -1);
        self.adjust_counts_of_state(state, refusals, 1);
    }

    fn set_state_of_clicks_in_flight(&mut self, new_state: impl Fn(&TrackedClick) -> ClickState) {
        if self.in_flight == 0 {
            return;
        }
        for at in 0..self.queue.len() {
            if self.queue[at].state == ClickState::InFlight {
                self.update_click_and_adjust_counts(self.first_number + at as u64, |click| new_state(click));
            }
        }
    }

    fn adjust_counts_of_state(&mut self, state: ClickState, refusals: u8, change: isize) {
        match state {
            ClickState::InFlight => {
                self.in_flight = self.in_flight.saturating_add_signed(change);
                if refusals > 0 {
                    self.on_trial = self.on_trial.saturating_add_signed(change);
                }
            }
            ClickState::Returned(refusals) => {
                let returned = &mut self.returned[usize::from(refusals).min(REFUSAL_CLASSES - 1)];
                *returned = returned.saturating_add_signed(change);
            }
            ClickState::Delivered => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch::new(5);

    fn frame(seq: u64) -> Frame<'static> {
        Frame {
            position: Position::new(64 * seq),
            next_position: Position::new(64 * (seq + 1)),
            epoch: EPOCH,
            seq: Seq::new(seq),
            payload: b"",
        }
    }

    fn watermark(next: u64) -> Watermark {
        Watermark { epoch: EPOCH, next: Seq::new(next) }
    }

    fn contains(committed: &CommittedSet, seq: u64) -> bool {
        committed.contains(EPOCH, Seq::new(seq))
    }

    fn track(progress: &mut ClickTracker, seq: u64, verdict: DuplicateVerdict, state: ClickState) -> u64 {
        progress.track_click_advance_read_position_and_return_number(&frame(seq), seq, verdict, state, 0)
    }

    fn with_clicks_in_flight(clicks: u64) -> (ClickTracker, Vec<u64>) {
        let mut progress = ClickTracker::new(Position::ZERO, Watermark::default());
        let track = |seq| track(&mut progress, seq, DuplicateVerdict::First, ClickState::InFlight);
        let numbers = (0..clicks).map(track).collect();
        (progress, numbers)
    }

    #[test]
    fn the_delivered_position_waits_for_the_oldest_click_whatever_is_delivered_first() {
        let (mut progress, numbers) = with_clicks_in_flight(4);
        progress.mark_delivered(numbers[2]);
        progress.mark_delivered(numbers[1]);
        assert_eq!(progress.advance_past_delivered_and_count_without_dead_letters(|_| {}), 0);
        assert_eq!((progress.delivered_position().get(), progress.delivered_watermark()), (0, Watermark::default()));
        progress.mark_delivered(numbers[0]);
        assert_eq!(
            (
                progress.advance_past_delivered_and_count_without_dead_letters(|_| {}),
                progress.delivered_position().get()
            ),
            (3, 3 * 64)
        );
        assert_eq!(progress.delivered_watermark(), watermark(3));
        progress.mark_delivered(numbers[3]);
        progress.advance_read_position(Position::new(9 * 64));
        assert_eq!(
            (
                progress.advance_past_delivered_and_count_without_dead_letters(|_| {}),
                progress.delivered_position().get()
            ),
            (1, 9 * 64)
        );
        assert_eq!(progress.in_flight(), 0);
        // A report that comes late changes nothing.
        progress.mark_returned(numbers[1]);
        assert_eq!(progress.returned(), [0; REFUSAL_CLASSES]);
    }

    #[test]
    fn a_returned_click_is_found_by_its_position_and_keeps_its_verdict_and_refusals() {
        let (mut progress, numbers) = with_clicks_in_flight(3);
        track(&mut progress, 3, DuplicateVerdict::Visitor, ClickState::InFlight);
        progress.mark_delivered(numbers[0]);
        progress.mark_in_flight_returned();
        assert_eq!((progress.returned(), progress.in_flight()), ([3, 0, 0, 0, 0], 0));
        progress.advance_past_delivered_and_count_without_dead_letters(|_| {});
        assert_eq!(progress.find_position_of_first_returned_click(|_| true), Some(Position::new(64)));
        assert_eq!(progress.find_number(&frame(0)), None);
        let click_number = progress.find_number(&frame(3)).unwrap();
        assert_eq!(progress.find_click(click_number).unwrap().verdict, DuplicateVerdict::Visitor);
        progress.mark_in_flight(click_number);
        progress.mark_returned_and_count_refusal(click_number, Refusal::TooLarge);
        assert_eq!(progress.find_click(click_number).unwrap().state, ClickState::Returned(1));
        progress.mark_in_flight(click_number);
        progress.mark_in_flight_returned();
        assert_eq!(progress.find_click(click_number).unwrap().state, ClickState::Returned(1), "refusals are kept");
        assert_eq!(
            progress.find_position_of_first_returned_click(|click| click.state == ClickState::Returned(1)),
            Some(Position::new(3 * 64))
        );
    }

    #[test]
    fn the_next_commit_holds_every_click_in_flight_and_those_behind_a_gap_above_its_watermark() {
        let (mut progress, numbers) = with_clicks_in_flight(6);
        progress.mark_returned(numbers[2]);
        let committed = progress.build_committed_set_including_in_flight();
        assert_eq!(committed.watermark, watermark(2));
        let contained: Vec<u64> = (0..7).filter(|seq| contains(&committed, *seq)).collect();
        assert_eq!(contained, [0, 1, 3, 4, 5]);
    }

    #[test]
    fn a_new_process_resumes_from_the_committed_set_and_keeps_the_part_it_has_not_read_again() {
        let (mut old, numbers) = with_clicks_in_flight(6);
        old.mark_returned(numbers[2]);
        let committed = old.build_committed_set_including_in_flight();
        let (mut new, _) = with_clicks_in_flight(0);
        new.mark_committed_delivered_and_others_in_flight_returned(&committed);
        let below: Vec<u64> = (0..7).filter(|seq| new.is_delivered_with_all_before(&frame(*seq))).collect();
        let above: Vec<u64> = (0..7).filter(|seq| new.is_committed_above_watermark(&frame(*seq))).collect();
        assert_eq!((below, above), (vec![0, 1], vec![3, 4, 5]));
        // The gap is sent; the clicks above it were not read yet.
        track(&mut new, 2, DuplicateVerdict::First, ClickState::InFlight);
        let next = new.build_committed_set_including_in_flight();
        assert!((0..6).all(|seq| contains(&next, seq)) && !contains(&next, 6), "{next:?}");
        track(&mut new, 3, DuplicateVerdict::First, ClickState::Delivered);
        assert_eq!(new.build_committed_set_including_in_flight().watermark, watermark(6));
        assert!((0..6).all(|seq| contains(&new.build_committed_set_including_in_flight(), seq)));
    }

    #[test]
    fn after_a_commit_without_a_report_the_clicks_in_flight_are_delivered_or_returned() {
        let (mut progress, numbers) = with_clicks_in_flight(4);
        let committed = CommittedSet { watermark: watermark(2), above: Vec::new() };
        progress.mark_returned(numbers[3]);
        progress.mark_committed_delivered_and_others_in_flight_returned(&committed);
        assert_eq!(
            (progress.advance_past_delivered_and_count_without_dead_letters(|_| {}), progress.in_flight()),
            (2, 0)
        );
        assert_eq!(progress.returned(), [2, 0, 0, 0, 0]);
    }

    #[test]
    fn clicks_below_the_watermark_were_delivered_by_the_last_process() {
        let progress = ClickTracker::new(Position::ZERO, watermark(2));
        assert!(progress.is_delivered_with_all_before(&frame(1)));
        assert!(!progress.is_delivered_with_all_before(&frame(2)));
        let newer = Frame { epoch: Epoch::new(6), ..frame(0) };
        assert!(!progress.is_delivered_with_all_before(&newer));
    }

    #[test]
    fn the_ranges_of_the_next_commit_are_counted_before_a_click_is_sent() {
        let (mut progress, numbers) = with_clicks_in_flight(6);
        let count = |progress: &ClickTracker| progress.count_committed_ranges_above_gap();
        assert_eq!(count(&progress), 0);
        [0, 2, 3, 5].into_iter().for_each(|at| progress.mark_returned(numbers[at]));
        assert_eq!((count(&progress), progress.begins_committed_range(&frame(6))), (2, true));
        for at in [3, 0, 2, 5] {
            let expected = count(&progress).saturating_add_signed(progress.count_new_ranges_if_sent(numbers[at]));
            progress.mark_in_flight(numbers[at]);
            assert_eq!(count(&progress), expected, "click {at}");
            let ranges = progress.build_committed_set_including_in_flight().above.len();
            assert!(ranges <= expected, "{ranges} of {expected}");
        }
        assert_eq!((count(&progress), progress.begins_committed_range(&frame(6))), (0, false));
    }

    #[test]
    fn a_new_epoch_and_numbers_that_are_gone_begin_ranges_of_the_next_commit() {
        let mut progress = ClickTracker::new(Position::ZERO, Watermark::default());
        let frames = [(5, 0), (5, 1), (5, 2), (6, 0), (6, 1), (6, 4), (7, 0)].into_iter().enumerate();
        let frames =
            frames.map(|(at, (epoch, seq))| Frame { epoch: Epoch::new(epoch), seq: Seq::new(seq), ..frame(at as u64) });
        let mut numbers = Vec::new();
        for (at, frame) in frames.enumerate() {
            let begins = progress.begins_committed_range(&frame);
            assert_eq!(begins, [2, 3, 5, 6].contains(&at), "click {at}");
            numbers.push(progress.track_click_advance_read_position_and_return_number(
                &frame,
                0,
                DuplicateVerdict::First,
                ClickState::InFlight,
                0,
            ));
            if at == 1 {
                progress.mark_returned(numbers[1]);
            }
        }
        let count = |progress: &ClickTracker| progress.count_committed_ranges_above_gap();
        let above = |progress: &ClickTracker| progress.build_committed_set_including_in_flight().above.len();
        assert_eq!((count(&progress), above(&progress)), (4, 4));
        progress.mark_returned(numbers[4]);
        assert_eq!((count(&progress), above(&progress)), (4, 4));
        assert_eq!(progress.count_new_ranges_if_sent(numbers[4]), 0, "it joins the click before it alone");
        progress.mark_returned(numbers[3]);
        assert_eq!((count(&progress), above(&progress)), (3, 3));
        assert_eq!(progress.count_new_ranges_if_sent(numbers[3]), 1);
        assert_eq!(progress.count_new_ranges_if_sent(numbers[1]), -1, "it joins the watermark and the next range");
    }
}
