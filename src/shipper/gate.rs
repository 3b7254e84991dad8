//! What a topic may send next, after what came back.
//!
//! - Not its clicks' fault (broker, topic, rights, disk): a pause, doubled each time; then everything that came back, oldest first.
//! - Their fault, perhaps: one bad record fails its whole batch. So what came back is sent again 64 at a time, what is refused
//!   with those alone, and what is refused alone has proved to be bad: it becomes a dead letter, and its stub is sent alone.
//!   Nothing is sent beside a suspect, for that would make its batch suspect again.
//! - Their timestamp: moved step by step until it passes; what is new is then moved as far at once, and every half minute one click
//!   shows whether that is still wanted. Else each click would be tried alone, step by step, as long as a clock runs ahead.
//! - A stub that is refused too, or a dead letter that cannot be written, waits, counted and said aloud, and is tried alone every
//!   half minute. Until it passes nothing else becomes a dead letter: the fault is the topic's, or the disk's. The rest goes on,
//!   as far as the bound on what lies behind an undelivered click lets it.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::track::{FAILED, PROVED};
use crate::{
    faults::{self, say},
    kafka::Refusal,
};

/// The pauses after a failure that was not a click's own, doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How many are sent again together to find the one that the broker refuses.
const TOGETHER: usize = 64;
/// How long what was refused beyond its proof waits for the next attempt.
const ALONE_EVERY: Duration = Duration::from_secs(30);
/// How long new clicks' timestamps are moved before one is sent with its own again.
const OWN_TIME_EVERY: Duration = Duration::from_secs(30);
/// Without a word about anything that the sink has for so long, it is said aloud: librdkafka tries some failures again in silence.
const SILENT: Duration = Duration::from_secs(10);
/// A failure is said aloud at most this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What a topic holds, over all lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) in_flight: usize,
    /// Of these, refused before.
    pub(super) on_trial: usize,
    /// Came back, by how often they were refused.
    pub(super) failed: [usize; FAILED],
}

/// What to send next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing now.
    Wait,
    /// Clicks not sent yet, so many at most.
    New(usize),
    /// Clicks that came back with so many refusals, so many at most.
    Again(RangeInclusive<u8>, usize),
}

/// The gate of one topic.
#[derive(Debug, Default)]
pub(super) struct Gate {
    paused: Option<(Instant, Duration)>,
    alone_at: Option<Instant>,
    /// By so many steps a timestamp had to be moved to pass, and when to try without.
    clamps: u8,
    own_time_at: Option<Instant>,
    /// Since when nothing was heard of what is in flight.
    heard_at: Option<Instant>,
    waits_said_at: Option<Instant>,
    said_at: Option<Instant>,
    kept_back: u64,
}

impl Gate {
    /// Whose turn it is. `most` bounds what is in flight.
    pub(super) fn turn(&self, held: &Held, most: usize, now: Instant) -> Turn {
        if self.paused.is_some_and(|(until, _)| now < until) {
            return Turn::Wait;
        }
        let room = most.saturating_sub(held.in_flight);
        // One at a time is alone only if nothing else is on its way.
        let alone = |refusals, count| if held.in_flight == 0 { Turn::Again(refusals, count) } else { Turn::Wait };
        let [unrefused, once, twice, proved, waiting] = held.failed;
        let waiting_due = waiting > 0 && self.alone_at.is_none_or(|at| now >= at);
        if room == 0 || held.on_trial > 0 {
            Turn::Wait
        } else if unrefused > 0 {
            Turn::Again(0..=0, room)
        } else if once > 0 {
            alone(1..=1, TOGETHER.min(room))
        } else if twice > 0 {
            alone(2..=2, 1)
        } else if waiting_due {
            alone(PROVED + 1..=u8::MAX, 1)
        } else if proved > 0 && waiting == 0 {
            alone(PROVED..=PROVED, 1)
        } else if room < most / 8 {
            // Each reading copies and checks up to 256 KiB of the journal: not for a handful of clicks.
            Turn::Wait
        } else {
            Turn::New(room)
        }
    }

    /// Something was delivered: what had failed works again. `proved`: it had been refused alone, or is the stub of such a click, so
    /// others like it may pass now.
    pub(super) fn delivered(&mut self, proved: bool) {
        self.paused = None;
        if proved {
            self.alone_at = None;
        }
    }

    /// Something was heard of a click.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Says that so many clicks are in flight and nothing was heard of any for long, unless that was said a moment ago.
    pub(super) fn watch(&mut self, topic: &str, in_flight: usize, now: Instant) {
        if in_flight == 0 {
            self.heard_at = None;
            return;
        }
        let silent = now.duration_since(*self.heard_at.get_or_insert(now));
        if silent < SILENT || self.waits_said_at.is_some_and(|at| now.duration_since(at) < SAY_EVERY) {
            return;
        }
        self.waits_said_at = Some(now);
        say!(
            warn,
            faults::CLICKS_WAIT,
            topic,
            in_flight,
            seconds = silent.as_secs(),
            "clicks were handed over and are neither taken nor refused: look whether brokers are up, partitions have leaders, and as \
             many copies are in sync as min.insync.replicas wants; clicks wait in the journal"
        );
    }

    /// By how many steps a new click's timestamp is moved.
    pub(super) fn clamps(&mut self, now: Instant) -> u8 {
        if self.own_time_at.is_some_and(|at| now >= at) {
            self.own_time_at = Some(now + OWN_TIME_EVERY);
            return 0;
        }
        self.clamps
    }

    /// By how many steps a timestamp had to be moved, as last seen.
    pub(super) fn moved(&self) -> u8 {
        self.clamps
    }

    /// A click passed with its timestamp moved by so many steps; whether clicks that were refused may pass with that many too.
    pub(super) fn passed(&mut self, clamps: u8, now: Instant) -> bool {
        if clamps == self.clamps {
            return false;
        }
        self.clamps = clamps;
        self.own_time_at = (clamps > 0).then(|| now + OWN_TIME_EVERY);
        clamps > 0
    }

    /// Something failed that was not its own fault.
    pub(super) fn pause(&mut self, now: Instant) {
        let pause = match self.paused {
            // Others of the same failure.
            Some((until, _)) if now < until => return,
            Some((_, pause)) => (pause * 2).min(PAUSES.1),
            None => PAUSES.0,
        };
        self.paused = Some((now + pause, pause));
    }

    /// What had been refused alone was refused once more.
    pub(super) fn refused_alone(&mut self, now: Instant) {
        self.alone_at = Some(now + ALONE_EVERY);
    }

    /// Says why a topic's clicks wait, unless that was said a moment ago.
    pub(super) fn say(&mut self, topic: &str, refusal: Refusal, now: Instant) {
        if self.said_at.is_some_and(|at| now.duration_since(at) < SAY_EVERY) {
            self.kept_back += 1;
            return;
        }
        self.said_at = Some(now);
        let kept_back = std::mem::take(&mut self.kept_back);
        say!(
            error,
            refusal.fault(),
            topic,
            reason = refusal.as_str(),
            kept_back,
            "clicks refused: {}",
            refusal.advice(topic)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(in_flight: usize, failed: [usize; FAILED]) -> Held {
        Held { in_flight, on_trial: 0, failed }
    }

    #[test]
    fn what_came_back_goes_first_and_suspects_go_alone() {
        let (gate, now) = (Gate::default(), Instant::now());
        assert_eq!(gate.turn(&held(10, [0; FAILED]), 100, now), Turn::New(90));
        assert_eq!(gate.turn(&held(100, [0; FAILED]), 100, now), Turn::Wait);
        assert_eq!(gate.turn(&held(88, [0; FAILED]), 100, now), Turn::New(12));
        assert_eq!(gate.turn(&held(89, [0; FAILED]), 100, now), Turn::Wait, "a handful is not worth a reading");
        assert_eq!(gate.turn(&held(10, [5, 3, 1, 1, 1]), 100, now), Turn::Again(0..=0, 90));
        assert_eq!(gate.turn(&held(10, [0, 3, 1, 1, 1]), 100, now), Turn::Wait);
        assert_eq!(gate.turn(&held(0, [0, 3, 1, 1, 1]), 100, now), Turn::Again(1..=1, 64));
        assert_eq!(gate.turn(&held(0, [0, 0, 1, 1, 1]), 100, now), Turn::Again(2..=2, 1));
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 0, 1]), 100, now), Turn::Again(4..=255, 1));
    }

    #[test]
    fn nothing_is_sent_beside_a_suspect() {
        let (gate, now) = (Gate::default(), Instant::now());
        for failed in [[0; FAILED], [1, 0, 0, 0, 0], [0, 1, 1, 1, 1]] {
            assert_eq!(gate.turn(&Held { in_flight: 1, on_trial: 1, failed }, 100, now), Turn::Wait);
        }
    }

    #[test]
    fn what_is_proved_becomes_a_dead_letter_at_once_unless_another_waits() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert_eq!(gate.turn(&held(1, [0, 0, 0, 2, 0]), 100, now), Turn::Wait);
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 2, 0]), 100, now), Turn::Again(3..=3, 1));
        gate.refused_alone(now);
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 2, 1]), 100, now), Turn::New(100));
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 2, 1]), 100, now + ALONE_EVERY), Turn::Again(4..=255, 1));
        gate.delivered(true);
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 2, 0]), 100, now), Turn::Again(3..=3, 1));
    }

    #[test]
    fn a_click_refused_beyond_its_proof_is_tried_every_half_minute_and_others_go_on() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.refused_alone(now);
        assert_eq!(gate.turn(&held(10, [0, 0, 0, 0, 1]), 100, now), Turn::New(90));
        gate.delivered(false);
        assert_eq!(gate.turn(&held(10, [0, 0, 0, 0, 1]), 100, now), Turn::New(90));
        gate.delivered(true);
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 0, 1]), 100, now), Turn::Again(4..=255, 1));
        gate.refused_alone(now);
        let later = now + ALONE_EVERY;
        assert_eq!(gate.turn(&held(10, [0, 0, 0, 0, 1]), 100, later), Turn::Wait);
        assert_eq!(gate.turn(&held(0, [0, 0, 0, 0, 1]), 100, later), Turn::Again(4..=255, 1));
    }

    #[test]
    fn pauses_double_once_a_failure_and_end_with_a_delivery() {
        let (mut gate, mut now) = (Gate::default(), Instant::now());
        for pause_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            gate.pause(now);
            gate.pause(now);
            let pause = Duration::from_millis(pause_ms);
            assert_eq!(gate.turn(&held(0, [1, 0, 0, 0, 0]), 9, now + pause - Duration::from_millis(1)), Turn::Wait);
            now += pause;
            assert_eq!(gate.turn(&held(0, [1, 0, 0, 0, 0]), 9, now), Turn::Again(0..=0, 9));
        }
        gate.delivered(false);
        assert_eq!(gate.turn(&held(0, [0; FAILED]), 9, now), Turn::New(9));
    }

    #[test]
    fn how_far_a_timestamp_had_to_be_moved_holds_for_new_clicks_until_one_passes_unmoved() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert!(!gate.passed(0, now));
        assert_eq!(gate.clamps(now), 0);
        assert!(gate.passed(3, now), "what was refused may pass now");
        assert!(!gate.passed(3, now), "nothing new");
        assert_eq!(gate.clamps(now), 3);
        let later = now + OWN_TIME_EVERY;
        assert_eq!([gate.clamps(later), gate.clamps(later)], [0, 3], "one shows whether it is still wanted");
        assert!(!gate.passed(0, later));
        assert_eq!(gate.clamps(later + OWN_TIME_EVERY), 0);
    }
}
