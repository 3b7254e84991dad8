//! The send gate: decides what a topic may send next, after failures and refusals.
//!
//! - The click is not at fault (broker, topic, permissions): the topic pauses, twice as long after each failure. Then
//!   every returned click is sent again, oldest first.
//! - The click may be at fault: one bad record fails its whole batch. So refused clicks are sent again 64 at a time,
//!   then the clicks refused with those one at a time. A click refused alone is bad: it becomes a dead letter, and its
//!   stub is sent alone. Nothing is sent beside a suspect, because that would make its batch suspect again.
//! - The timestamp is refused: it is shifted step by step until it passes. New clicks are then shifted as far at once;
//!   every half minute one click is sent unshifted, to see whether the shift is still needed. Without this rule each
//!   click would be tried alone, step by step, as long as a clock runs ahead.
//! - A stub is refused, or a dead letter cannot be written: the click waits, is counted and logged, and is tried alone
//!   every half minute. Until it passes no other click becomes a dead letter, because the fault is the topic's or the
//!   disk's. Other clicks go on within the bound on clicks behind an undelivered one.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::click_tracker::{REFUSALS_OF_PROOF, ReturnedByRefusals};
use crate::{
    faults::{self, log_fault},
    kafka::Refusal,
};

/// The pause after a failure that is not a click's own: the first, and the longest. Each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Clicks sent together to find the one that the broker refuses.
const SUSPECTS_TOGETHER: usize = 64;
/// The time between two attempts with a blocked click.
const BLOCKED_RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// The time for which new clicks are shifted before one is sent unshifted again.
const UNSHIFTED_TRIAL_INTERVAL: Duration = Duration::from_secs(30);
/// After this time without a report on any click in flight, a warning is logged: librdkafka repeats some requests
/// silently.
const SILENCE_BEFORE_WARNING: Duration = Duration::from_secs(10);
/// A failure is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Undelivered clicks, over all lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UndeliveredCounts {
    pub(crate) in_flight: usize,
    /// Clicks in flight that were refused before.
    pub(crate) on_trial: usize,
    /// Returned clicks that wait to be sent again, by the number of their refusals.
    pub(crate) returned: ReturnedByRefusals,
}

/// What a topic may send next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SendDecision {
    /// Nothing now.
    Wait,
    /// At most so many clicks that were not sent before.
    SendNew(usize),
    /// At most `limit` returned clicks that were refused so many times.
    Resend { refusals: RangeInclusive<u8>, limit: usize },
}

/// What an accepted timestamp says about the shift that the topic needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LearnedShift {
    /// The shift is the known one.
    Unchanged,
    /// Unshifted timestamps pass again.
    NoneNeeded,
    /// Timestamps pass with a shift that was not known: refused clicks may pass with it too.
    NewShift,
}

/// What a topic may send now, and what its failures have taught.
#[derive(Debug, Default)]
pub(crate) struct SendGate {
    pause: Option<Pause>,
    retry_blocked_at: Option<Instant>,
    /// The steps by which a timestamp had to be shifted to pass, and when to try without.
    timestamp_shift: u8,
    try_unshifted_at: Option<Instant>,
    /// The last report, or since when clicks are in flight.
    last_report_at: Option<Instant>,
    silence_logged_at: Option<Instant>,
    refusal_logged_at: Option<Instant>,
    suppressed_logs: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl SendGate {
    /// Decides what the topic sends next. `max_in_flight` bounds the clicks in flight.
    pub(crate) fn decide_next_send(
        &self,
        counts: &UndeliveredCounts,
        max_in_flight: usize,
        now: Instant,
    ) -> SendDecision {
        if self.pause.is_some_and(|pause| now < pause.until) {
            return SendDecision::Wait;
        }
        let room = max_in_flight.saturating_sub(counts.in_flight);
        // A record is alone in its batch only while nothing else is in flight.
        let resend_alone = |refusals, limit| match counts.in_flight {
            0 => SendDecision::Resend { refusals, limit },
            _ => SendDecision::Wait,
        };
        let [unrefused, once, twice, proved, blocked] = counts.returned;
        let blocked_due = blocked > 0 && self.retry_blocked_at.is_none_or(|at| now >= at);
        if room == 0 || counts.on_trial > 0 {
            SendDecision::Wait
        } else if unrefused > 0 {
            SendDecision::Resend { refusals: 0..=0, limit: room }
        } else if once > 0 {
            resend_alone(1..=1, SUSPECTS_TOGETHER.min(room))
        } else if twice > 0 {
            resend_alone(2..=2, 1)
        } else if blocked_due {
            resend_alone(REFUSALS_OF_PROOF + 1..=u8::MAX, 1)
        } else if proved > 0 && blocked == 0 {
            resend_alone(REFUSALS_OF_PROOF..=REFUSALS_OF_PROOF, 1)
        } else if room < max_in_flight / 8 {
            // Each read copies and checks up to 256 KiB of the journal, which a handful of clicks is not worth.
            SendDecision::Wait
        } else {
            SendDecision::SendNew(room)
        }
    }

    /// Ends the pause, because a click was delivered. `was_proved_bad`: the click had been refused alone, or is the
    /// stub of such a click, so blocked clicks are tried again at once.
    pub(crate) fn end_pause_and_allow_blocked_retry_if(&mut self, was_proved_bad: bool) {
        self.pause = None;
        if was_proved_bad {
            self.retry_blocked_at = None;
        }
    }

    /// Notes the time of a report on any click.
    pub(crate) fn note_report(&mut self, now: Instant) {
        self.last_report_at = Some(now);
    }

    /// Logs a warning if clicks are in flight and no report has come for long, at most once an interval.
    pub(crate) fn warn_if_reports_are_missing(&mut self, topic: &str, in_flight: usize, now: Instant) {
        if in_flight == 0 {
            self.last_report_at = None;
            return;
        }
        let silence = now.duration_since(*self.last_report_at.get_or_insert(now));
        let logged_lately = self.silence_logged_at.is_some_and(|at| now.duration_since(at) < LOG_INTERVAL);
        if silence < SILENCE_BEFORE_WARNING || logged_lately {
            return;
        }
        self.silence_logged_at = Some(now);
        log_fault!(
            warn,
            faults::CLICKS_WAIT,
            topic,
            in_flight,
            seconds = silence.as_secs(),
            "Kafka neither acknowledges nor refuses the clicks in flight: check that brokers are up, that partitions \
             have leaders, and that as many replicas are in sync as min.insync.replicas demands; clicks wait in the \
             journal"
        );
    }

    /// The steps by which a new click's timestamp is shifted; 0 for the click that tries without a shift.
    pub(crate) fn choose_timestamp_shift_or_periodic_unshifted_trial(&mut self, now: Instant) -> u8 {
        if self.try_unshifted_at.is_some_and(|at| now >= at) {
            self.try_unshifted_at = Some(now + UNSHIFTED_TRIAL_INTERVAL);
            return 0;
        }
        self.timestamp_shift
    }

    /// The steps by which the last accepted timestamp was shifted.
    pub(crate) fn accepted_timestamp_shift(&self) -> u8 {
        self.timestamp_shift
    }

    /// Learns from a click whose timestamp was accepted after `shift` steps.
    pub(crate) fn store_accepted_timestamp_shift(&mut self, shift: u8, now: Instant) -> LearnedShift {
        if shift == self.timestamp_shift {
            return LearnedShift::Unchanged;
        }
        self.timestamp_shift = shift;
        self.try_unshifted_at = (shift > 0).then(|| now + UNSHIFTED_TRIAL_INTERVAL);
        if shift > 0 { LearnedShift::NewShift } else { LearnedShift::NoneNeeded }
    }

    /// Pauses the topic after a failure that is not a click's own; the pause doubles with each failure after it.
    pub(crate) fn start_or_double_pause_after_failure(&mut self, now: Instant) {
        let length = match self.pause {
            // One failure returns many clicks.
            Some(pause) if now < pause.until => return,
            Some(pause) => (pause.length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        self.pause = Some(Pause { until: now + length, length });
    }

    /// Delays the next attempt with a blocked click, because the click was refused once more.
    pub(crate) fn delay_blocked_retry(&mut self, now: Instant) {
        self.retry_blocked_at = Some(now + BLOCKED_RETRY_INTERVAL);
    }

    /// Logs why clicks of the topic are refused, at most once an interval.
    pub(crate) fn log_refusal_rate_limited(&mut self, topic: &str, refusal: Refusal, now: Instant) {
        if self.refusal_logged_at.is_some_and(|at| now.duration_since(at) < LOG_INTERVAL) {
            self.suppressed_logs += 1;
            return;
        }
        self.refusal_logged_at = Some(now);
        let suppressed = std::mem::take(&mut self.suppressed_logs);
        log_fault!(
            error,
            refusal.fault(),
            topic,
            reason = refusal.as_str(),
            suppressed,
            "Kafka refuses clicks: {}",
            refusal.advice_for_operator(topic)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(in_flight: usize, returned: ReturnedByRefusals) -> UndeliveredCounts {
        UndeliveredCounts { in_flight, on_trial: 0, returned }
    }

    fn resend(refusals: RangeInclusive<u8>, limit: usize) -> SendDecision {
        SendDecision::Resend { refusals, limit }
    }

    #[test]
    fn returned_clicks_go_first_and_suspects_go_alone() {
        let (gate, now) = (SendGate::default(), Instant::now());
        let decide = |in_flight, returned| gate.decide_next_send(&counts(in_flight, returned), 100, now);
        assert_eq!(decide(10, [0; 5]), SendDecision::SendNew(90));
        assert_eq!(decide(100, [0; 5]), SendDecision::Wait);
        assert_eq!(decide(88, [0; 5]), SendDecision::SendNew(12));
        assert_eq!(decide(89, [0; 5]), SendDecision::Wait, "a handful is not worth a read");
        assert_eq!(decide(10, [5, 3, 1, 1, 1]), resend(0..=0, 90));
        assert_eq!(decide(10, [0, 3, 1, 1, 1]), SendDecision::Wait);
        assert_eq!(decide(0, [0, 3, 1, 1, 1]), resend(1..=1, 64));
        assert_eq!(decide(0, [0, 0, 1, 1, 1]), resend(2..=2, 1));
        assert_eq!(decide(0, [0, 0, 0, 0, 1]), resend(4..=255, 1));
    }

    #[test]
    fn nothing_is_sent_beside_a_suspect() {
        let (gate, now) = (SendGate::default(), Instant::now());
        for returned in [[0; 5], [1, 0, 0, 0, 0], [0, 1, 1, 1, 1]] {
            let counts = UndeliveredCounts { in_flight: 1, on_trial: 1, returned };
            assert_eq!(gate.decide_next_send(&counts, 100, now), SendDecision::Wait);
        }
    }

    #[test]
    fn a_click_proved_bad_is_resent_at_once_unless_another_is_blocked() {
        let (mut gate, now) = (SendGate::default(), Instant::now());
        assert_eq!(gate.decide_next_send(&counts(1, [0, 0, 0, 2, 0]), 100, now), SendDecision::Wait);
        assert_eq!(gate.decide_next_send(&counts(0, [0, 0, 0, 2, 0]), 100, now), resend(3..=3, 1));
        gate.delay_blocked_retry(now);
        assert_eq!(gate.decide_next_send(&counts(0, [0, 0, 0, 2, 1]), 100, now), SendDecision::SendNew(100));
        let later = now + BLOCKED_RETRY_INTERVAL;
        assert_eq!(gate.decide_next_send(&counts(0, [0, 0, 0, 2, 1]), 100, later), resend(4..=255, 1));
        gate.end_pause_and_allow_blocked_retry_if(true);
        assert_eq!(gate.decide_next_send(&counts(0, [0, 0, 0, 2, 0]), 100, now), resend(3..=3, 1));
    }

    #[test]
    fn a_blocked_click_is_tried_every_half_minute_and_others_go_on() {
        let (mut gate, now) = (SendGate::default(), Instant::now());
        let blocked = |in_flight| counts(in_flight, [0, 0, 0, 0, 1]);
        gate.delay_blocked_retry(now);
        assert_eq!(gate.decide_next_send(&blocked(10), 100, now), SendDecision::SendNew(90));
        gate.end_pause_and_allow_blocked_retry_if(false);
        assert_eq!(gate.decide_next_send(&blocked(10), 100, now), SendDecision::SendNew(90));
        gate.end_pause_and_allow_blocked_retry_if(true);
        assert_eq!(gate.decide_next_send(&blocked(0), 100, now), resend(4..=255, 1));
        gate.delay_blocked_retry(now);
        let later = now + BLOCKED_RETRY_INTERVAL;
        assert_eq!(gate.decide_next_send(&blocked(10), 100, later), SendDecision::Wait);
        assert_eq!(gate.decide_next_send(&blocked(0), 100, later), resend(4..=255, 1));
    }

    #[test]
    fn pauses_double_once_a_failure_and_end_with_a_delivery() {
        let (mut gate, mut now) = (SendGate::default(), Instant::now());
        let returned = counts(0, [1, 0, 0, 0, 0]);
        for pause_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            gate.start_or_double_pause_after_failure(now);
            gate.start_or_double_pause_after_failure(now);
            let pause = Duration::from_millis(pause_ms);
            let just_before = now + pause - Duration::from_millis(1);
            assert_eq!(gate.decide_next_send(&returned, 9, just_before), SendDecision::Wait);
            now += pause;
            assert_eq!(gate.decide_next_send(&returned, 9, now), resend(0..=0, 9));
        }
        gate.end_pause_and_allow_blocked_retry_if(false);
        assert_eq!(gate.decide_next_send(&counts(0, [0; 5]), 9, now), SendDecision::SendNew(9));
    }

    #[test]
    fn the_accepted_shift_holds_for_new_clicks_until_one_passes_unshifted() {
        let (mut gate, now) = (SendGate::default(), Instant::now());
        assert_eq!(gate.store_accepted_timestamp_shift(0, now), LearnedShift::Unchanged);
        assert_eq!(gate.choose_timestamp_shift_or_periodic_unshifted_trial(now), 0);
        assert_eq!(gate.store_accepted_timestamp_shift(3, now), LearnedShift::NewShift);
        assert_eq!(gate.store_accepted_timestamp_shift(3, now), LearnedShift::Unchanged);
        assert_eq!(gate.choose_timestamp_shift_or_periodic_unshifted_trial(now), 3);
        let later = now + UNSHIFTED_TRIAL_INTERVAL;
        let shifts = [
            gate.choose_timestamp_shift_or_periodic_unshifted_trial(later),
            gate.choose_timestamp_shift_or_periodic_unshifted_trial(later),
        ];
        assert_eq!(shifts, [0, 3], "one click shows whether the shift is still needed");
        assert_eq!(gate.store_accepted_timestamp_shift(0, later), LearnedShift::NoneNeeded);
        assert_eq!(gate.choose_timestamp_shift_or_periodic_unshifted_trial(later + UNSHIFTED_TRIAL_INTERVAL), 0);
    }
}
