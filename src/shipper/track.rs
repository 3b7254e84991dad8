//! How far one topic of one lane is: what was sent, what came back, and the prefix below which everything is delivered.
//!
//! Acknowledgements come in any order, so what was sent is kept in a queue until all before it is delivered. What comes back
//! refused stays in its place and is read again from the journal; reading on never goes back. The verdict on a repeat lies
//! beside it, so that a click sent again is never the duplicate of itself.

use std::collections::VecDeque;

use super::{duplicate::Verdict, upto::Upto};
use crate::{
    journal::{Frame, Mark},
    kafka::Refusal,
};

/// Where a sent click stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Handed to the sink, no word yet.
    InFlight,
    /// The sink has it for good.
    Delivered,
    /// Came back; to be sent again. How often it was refused for what it holds: 0 if it was not its own fault.
    Failed(u8),
}

/// One click between the prefix and the end of reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) pos: u64,
    epoch: u64,
    seq: u64,
    /// The click's time, for the delay of its delivery.
    pub(super) at_ms: u64,
    pub(super) state: State,
    pub(super) verdict: Verdict,
    /// By how many steps its record's timestamp is moved: how often it was refused, or those before it.
    pub(super) clamps: u8,
    /// Its refusals so far, kept while it is in flight again.
    pub(super) refusals: u8,
    /// Why it was refused the last time; of a dead letter, why it is one.
    pub(super) reason: Option<Refusal>,
    /// The size of its event, once that is a dead letter on disk: from then on its stub is sent.
    pub(super) dead: Option<u32>,
}

/// So many refusals prove a click bad: in its batch, among few, and alone.
pub(super) const PROVED: u8 = 3;

/// Failed clicks are told apart by 0, 1, 2, 3, and 4 or more refusals.
pub(super) const FAILED: usize = 5;

/// One topic of one lane.
#[derive(Debug)]
pub(super) struct Track {
    next: u64,
    /// Since when what lies at `next` waits for a build that can read it, Unix milliseconds.
    barred_ms: Option<u64>,
    sent: VecDeque<Sent>,
    /// Ticket of the queue's front; tickets count up.
    first: u64,
    delivered: Mark,
    /// Committed as the sink knows: what is read of it is not sent again.
    committed: Upto,
    in_flight: usize,
    /// Of these, clicks that were refused before.
    on_trial: usize,
    /// Clicks that came back, by how often they were refused; the last place is for that often and more.
    failed: [usize; FAILED],
    dead: Dead,
}

/// Dead letters that the prefix passed, as their lane states them: numbers whose stubs stand in the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dead {
    ranges: VecDeque<(u64, u64, u64)>,
    total: u64,
}

/// Ranges of dead letters kept, the latest: a statement is bounded, and earlier ones have said the others.
const DEAD_RANGES: usize = 256;

impl Dead {
    fn add(&mut self, epoch: u64, seq: u64) {
        self.total += 1;
        match self.ranges.back_mut() {
            Some((of, _, to)) if *of == epoch && *to == seq => *to += 1,
            _ => {
                if self.ranges.len() == DEAD_RANGES {
                    self.ranges.pop_front();
                }
                self.ranges.push_back((epoch, seq, seq + 1));
            }
        }
    }

    /// Epoch, first number, and the one after the last.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.ranges.iter().copied()
    }

    /// How many there were since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

impl Track {
    /// Starts at a position, with everything before the mark delivered.
    pub(super) fn new(start: u64, delivered: Mark) -> Track {
        Track {
            next: start,
            barred_ms: None,
            sent: VecDeque::new(),
            first: 0,
            delivered,
            committed: Upto::default(),
            in_flight: 0,
            on_trial: 0,
            failed: [0; FAILED],
            dead: Dead::default(),
        }
    }

    /// Where to read on.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reading got to here.
    pub(super) fn go_on(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// What lies where reading got to cannot be read by this build. Nothing behind it is sent either: to the next start the
    /// highest click in the sink's files stands for all before it.
    pub(super) fn bar(&mut self, now_ms: u64) {
        self.barred_ms = Some(now_ms);
    }

    /// Whether reading has ended for this process.
    pub(super) fn barred(&self) -> bool {
        self.barred_ms.is_some()
    }

    /// Everything of this topic below is delivered.
    pub(super) fn prefix(&self) -> u64 {
        self.sent.front().map_or(self.next, |sent| sent.pos)
    }

    /// Everything before this mark is delivered.
    pub(super) fn delivered(&self) -> Mark {
        self.delivered
    }

    /// Dead letters before the prefix.
    pub(super) fn dead(&self) -> &Dead {
        &self.dead
    }

    /// Clicks that the sink holds.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Clicks that the sink holds and that were refused before: what is sent beside one would spoil its trial.
    pub(super) fn on_trial(&self) -> usize {
        self.on_trial
    }

    /// Clicks that came back and are to be sent again, by how often they were refused: the last place is for four and more.
    pub(super) fn failed(&self) -> [usize; FAILED] {
        self.failed
    }

    /// Clicks between the prefix and the end of reading, delivered ones included.
    pub(super) fn ahead(&self) -> usize {
        self.sent.len()
    }

    /// The time of the oldest click read and not delivered; of one that cannot be read, when it was met.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.sent.front().map(|sent| sent.at_ms).or(self.barred_ms)
    }

    /// Whether this frame and all before it were delivered: by the last run, or found in the sink's files, or committed.
    pub(super) fn has(&self, frame: &Frame<'_>) -> bool {
        Mark { epoch: frame.epoch, next: frame.seq } < self.delivered.max(self.committed.mark)
    }

    /// Whether this frame was committed though one before it was not.
    pub(super) fn has_beyond(&self, frame: &Frame<'_>) -> bool {
        self.committed.lies_beyond(frame.epoch, frame.seq)
    }

    /// Takes up what the sink found to be committed. What was in flight and is not among it has failed.
    pub(super) fn resume(&mut self, committed: &Upto) {
        for at in 0..self.sent.len() {
            self.set(self.first + at as u64, |sent| match sent.state {
                _ if committed.covers(sent.epoch, sent.seq) => State::Delivered,
                State::InFlight => State::Failed(sent.refusals),
                other => other,
            });
        }
        if self.sent.is_empty() {
            self.delivered = self.delivered.max(committed.mark);
        }
        self.committed = committed.clone();
    }

    /// What will be committed once everything in flight is.
    pub(super) fn upto(&self) -> Upto {
        let mut upto = Upto { mark: self.delivered, beyond: Vec::new() };
        let mut gap = false;
        for sent in &self.sent {
            match sent.state {
                State::Failed(_) => gap = true,
                State::InFlight | State::Delivered => upto.add(sent.epoch, sent.seq, gap),
            }
        }
        // What an earlier process committed and this one has not read again yet.
        let read = self.sent.back().map_or(upto.mark, |sent| Mark { epoch: sent.epoch, next: sent.seq + 1 });
        upto.keep_from(read, &self.committed);
        upto
    }

    /// Notes a frame that was read for the first time; gives the ticket under which the sink reports on it.
    /// `clamps`: by how many steps its record's timestamp is moved.
    pub(super) fn push(&mut self, frame: &Frame<'_>, at_ms: u64, verdict: Verdict, state: State, clamps: u8) -> u64 {
        self.count(state, 0, 1);
        self.sent.push_back(Sent {
            pos: frame.pos,
            epoch: frame.epoch,
            seq: frame.seq,
            at_ms,
            state,
            verdict,
            clamps,
            refusals: 0,
            reason: None,
            dead: None,
        });
        self.go_on(frame.next_pos);
        self.first + self.sent.len() as u64 - 1
    }

    /// What is known of a ticket; `None` once the prefix has passed it.
    pub(super) fn get(&self, ticket: u64) -> Option<&Sent> {
        self.sent.get(ticket.checked_sub(self.first)? as usize)
    }

    /// The frame's ticket, if it is between the prefix and the end of reading.
    pub(super) fn ticket_of(&self, frame: &Frame<'_>) -> Option<u64> {
        let at = self.sent.binary_search_by_key(&frame.pos, |sent| sent.pos).ok()?;
        Some(self.first + at as u64)
    }

    /// The first click that waits to be sent again and for which `wanted` holds, with its position.
    pub(super) fn first_failed(&self, wanted: impl Fn(&Sent) -> bool) -> Option<u64> {
        if self.failed == [0; FAILED] {
            return None;
        }
        self.sent.iter().find(|sent| matches!(sent.state, State::Failed(_)) && wanted(sent)).map(|sent| sent.pos)
    }

    /// A failed click is with the sink again.
    pub(super) fn sent_again(&mut self, ticket: u64) {
        self.set(ticket, |_| State::InFlight);
    }

    /// The sink has it.
    pub(super) fn deliver(&mut self, ticket: u64) {
        self.set(ticket, |_| State::Delivered);
    }

    /// It came back, not by its own fault.
    pub(super) fn fail(&mut self, ticket: u64) {
        self.set(ticket, |sent| State::Failed(sent.refusals));
    }

    /// It came back for what it, or another of its batch, holds.
    pub(super) fn refuse(&mut self, ticket: u64, reason: Refusal) {
        self.set(ticket, |sent| {
            sent.refusals = sent.refusals.saturating_add(1);
            if sent.dead.is_none() {
                sent.reason = Some(reason);
            }
            if reason == Refusal::InvalidTimestamp {
                // Moved for the sake of others in its batch, perhaps: among fewer its own time is tried first.
                sent.clamps = 0;
            }
            State::Failed(sent.refusals)
        });
    }

    /// It came back for its record's timestamp.
    pub(super) fn clamp(&mut self, ticket: u64) {
        self.set(ticket, |sent| {
            sent.clamps = sent.clamps.saturating_add(1);
            State::Failed(sent.refusals)
        });
    }

    /// Timestamps pass once moved by so many steps: what was refused short of a proof, perhaps for its own, is as good as new.
    pub(super) fn acquit(&mut self, clamps: u8) {
        if self.failed == [0; FAILED] {
            return;
        }
        for at in 0..self.sent.len() {
            let sent = self.sent[at];
            if matches!(sent.state, State::Failed(1..PROVED)) && sent.reason != Some(Refusal::TooLarge) {
                self.set(self.first + at as u64, |sent| {
                    (sent.clamps, sent.refusals) = (clamps, 0);
                    State::Failed(0)
                });
            }
        }
    }

    /// By how many steps a timestamp in flight is moved at the most; none if nothing is in flight.
    pub(super) fn clamped_in_flight(&self) -> Option<u8> {
        let in_flight = self.sent.iter().filter(|sent| self.in_flight > 0 && sent.state == State::InFlight);
        in_flight.map(|sent| sent.clamps).max()
    }

    /// Whether the click had been refused alone, so that it was bad beyond doubt.
    pub(super) fn proved_bad(&self, ticket: u64) -> bool {
        self.get(ticket).is_some_and(|sent| sent.refusals >= PROVED)
    }

    /// Its event, so large, is a dead letter on disk.
    pub(super) fn bury(&mut self, ticket: u64, size: u32) {
        self.set(ticket, |sent| {
            sent.dead = Some(size);
            sent.state
        });
    }

    /// Everything in flight is delivered.
    pub(super) fn deliver_all(&mut self) {
        self.set_in_flight(State::Delivered);
    }

    /// Nothing in flight is delivered.
    pub(super) fn fail_all(&mut self) {
        self.set_in_flight(State::Failed(0));
    }

    /// Lets the prefix pass what is delivered; how many clicks it passed, apart from the dead letters, whose reasons `dead` hears.
    pub(super) fn advance(&mut self, mut dead: impl FnMut(Refusal)) -> u64 {
        let mut passed = 0;
        while let Some(front) = self.sent.front()
            && front.state == State::Delivered
        {
            self.delivered = Mark { epoch: front.epoch, next: front.seq + 1 };
            match front.reason.filter(|_| front.dead.is_some()) {
                Some(reason) => {
                    self.dead.add(front.epoch, front.seq);
                    dead(reason);
                }
                None => passed += 1,
            }
            self.first += 1;
            self.sent.pop_front();
        }
        passed
    }

    fn set(&mut self, ticket: u64, state: impl FnOnce(&mut Sent) -> State) {
        let Some(at) = ticket.checked_sub(self.first) else { return };
        let Some(sent) = self.sent.get_mut(at as usize) else { return };
        let before = (sent.state, sent.refusals);
        sent.state = state(sent);
        let after = (sent.state, sent.refusals);
        self.count(before.0, before.1, -1);
        self.count(after.0, after.1, 1);
    }

    fn set_in_flight(&mut self, state: State) {
        if self.in_flight == 0 {
            return;
        }
        for at in 0..self.sent.len() {
            if self.sent[at].state == State::InFlight {
                self.set(self.first + at as u64, |sent| match state {
                    State::Failed(_) => State::Failed(sent.refusals),
                    other => other,
                });
            }
        }
    }

    fn count(&mut self, state: State, refusals: u8, by: isize) {
        match state {
            State::InFlight => {
                self.in_flight = self.in_flight.saturating_add_signed(by);
                if refusals > 0 {
                    self.on_trial = self.on_trial.saturating_add_signed(by);
                }
            }
            State::Failed(refusals) => {
                let failed = &mut self.failed[usize::from(refusals).min(FAILED - 1)];
                *failed = failed.saturating_add_signed(by);
            }
            State::Delivered => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Frame<'static> {
        Frame { pos: 64 * seq, next_pos: 64 * (seq + 1), epoch: 5, stream: 0, seq, next: [0; 2], payload: b"" }
    }

    fn track(frames: u64) -> (Track, Vec<u64>) {
        let mut track = Track::new(0, Mark::default());
        let tickets = (0..frames).map(|seq| track.push(&frame(seq), seq, Verdict::First, State::InFlight, 0)).collect();
        (track, tickets)
    }

    #[test]
    fn the_prefix_waits_for_the_oldest_whatever_comes_back_first() {
        let (mut track, tickets) = track(4);
        track.deliver(tickets[2]);
        track.deliver(tickets[1]);
        assert_eq!((track.advance(|_| {}), track.prefix(), track.delivered()), (0, 0, Mark::default()));
        track.deliver(tickets[0]);
        assert_eq!((track.advance(|_| {}), track.prefix()), (3, 3 * 64));
        assert_eq!(track.delivered(), Mark { epoch: 5, next: 3 });
        track.deliver(tickets[3]);
        track.go_on(9 * 64);
        assert_eq!((track.advance(|_| {}), track.prefix(), track.in_flight()), (1, 9 * 64, 0));
        // A report that comes late changes nothing.
        track.fail(tickets[1]);
        assert_eq!(track.failed(), [0; FAILED]);
    }

    #[test]
    fn what_came_back_is_found_by_its_position_and_keeps_its_verdict() {
        let (mut track, tickets) = track(3);
        track.push(&frame(3), 3, Verdict::Visitor, State::InFlight, 0);
        track.deliver(tickets[0]);
        track.fail_all();
        assert_eq!((track.failed(), track.in_flight()), ([3, 0, 0, 0, 0], 0));
        track.advance(|_| {});
        assert_eq!(track.first_failed(|_| true), Some(64));
        assert_eq!(track.ticket_of(&frame(0)), None);
        let again = track.ticket_of(&frame(3)).unwrap();
        assert_eq!(track.get(again).unwrap().verdict, Verdict::Visitor);
        track.sent_again(again);
        track.refuse(again, Refusal::TooLarge);
        assert_eq!(track.get(again).unwrap().state, State::Failed(1));
        track.sent_again(again);
        track.fail_all();
        assert_eq!(track.get(again).unwrap().state, State::Failed(1), "refusals are not forgotten");
        assert_eq!(track.first_failed(|sent| sent.state == State::Failed(1)), Some(3 * 64));
    }

    #[test]
    fn what_will_be_committed_is_all_in_flight_and_says_what_lies_behind_a_gap() {
        let (mut track, tickets) = track(6);
        track.fail(tickets[2]);
        let upto = track.upto();
        assert_eq!(upto.mark, Mark { epoch: 5, next: 2 });
        let covered: Vec<u64> = (0..7).filter(|seq| upto.covers(5, *seq)).collect();
        assert_eq!(covered, [0, 1, 3, 4, 5]);
    }

    #[test]
    fn a_track_goes_on_from_what_is_committed_and_keeps_what_it_has_not_read_again() {
        let (mut old, tickets) = track(6);
        old.fail(tickets[2]);
        let committed = old.upto();
        let (mut new, _) = track(0);
        new.resume(&committed);
        let read: Vec<(bool, bool)> = (0..7).map(|seq| (new.has(&frame(seq)), new.has_beyond(&frame(seq)))).collect();
        let (before, gap, beyond) = ((true, false), (false, false), (false, true));
        assert_eq!(read, [before, before, gap, beyond, beyond, beyond, gap]);
        // The gap is sent; what lies beyond was not read yet.
        new.push(&frame(2), 2, Verdict::First, State::InFlight, 0);
        let upto = new.upto();
        assert!((0..6).all(|seq| upto.covers(5, seq)) && !upto.covers(5, 6), "{upto:?}");
        new.push(&frame(3), 3, Verdict::First, State::Delivered, 0);
        assert_eq!(new.upto().mark, Mark { epoch: 5, next: 4 });
        assert!((0..6).all(|seq| new.upto().covers(5, seq)));
    }

    #[test]
    fn after_a_commit_of_which_nothing_was_heard_what_was_in_flight_is_delivered_or_failed() {
        let (mut track, tickets) = track(4);
        let committed = Upto { mark: Mark { epoch: 5, next: 2 }, beyond: Vec::new() };
        track.fail(tickets[3]);
        track.resume(&committed);
        assert_eq!((track.advance(|_| {}), track.in_flight(), track.failed()), (2, 0, [2, 0, 0, 0, 0]));
    }

    #[test]
    fn dead_letters_are_kept_as_ranges_of_which_the_latest_are_stated() {
        let mut dead = Dead::default();
        [3, 4, 5, 9].into_iter().for_each(|seq| dead.add(5, seq));
        dead.add(6, 10);
        assert_eq!(dead.ranges().collect::<Vec<_>>(), [(5, 3, 6), (5, 9, 10), (6, 10, 11)]);
        (0..1000).for_each(|n| dead.add(7, 2 * n));
        assert_eq!((dead.ranges().count(), dead.total()), (DEAD_RANGES, 1005));
        assert_eq!(dead.ranges().last(), Some((7, 1998, 1999)));
    }

    #[test]
    fn frames_before_the_mark_were_delivered_by_the_last_run() {
        let track = Track::new(0, Mark { epoch: 5, next: 2 });
        assert!(track.has(&frame(1)));
        assert!(!track.has(&frame(2)));
        let newer = Frame { epoch: 6, ..frame(0) };
        assert!(!track.has(&newer));
    }
}
