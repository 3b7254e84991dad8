//! A worker's own counters: plain cells on the hot path, carried into the shared metrics ten times a second.

use std::cell::Cell;

use metrics::Counter;

use crate::{
    edge::target::Refusal,
    metrics::{CLICKS, CLICKS_UNRECORDED, COOKIES, REQUESTS_FIXED, REQUESTS_REFUSED, REQUESTS_UPGRADED, counter},
    model::click::{CookieState, Outcome},
};

/// Why an answered click has no record; a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// The lane had no room and the policy is `unrecorded`.
    Full,
    /// An unknown code while ring or disk is three quarters full: a flood must not displace paid clicks (design §7).
    Pressed,
    /// An unknown code of an address that asked for more of them than `edge.limits.unknown_per_address`.
    Budget,
    /// The lane had no room and the policy is `refuse`: the request got 503.
    Refused,
}

impl Unrecorded {
    const ALL: [(Unrecorded, &'static str); 4] = [
        (Unrecorded::Full, "full"),
        (Unrecorded::Pressed, "pressed"),
        (Unrecorded::Budget, "budget"),
        (Unrecorded::Refused, "refused"),
    ];
}

/// One cell and the shared counter that it is carried into.
struct Count {
    local: Cell<u64>,
    shared: Counter,
}

impl Count {
    fn new(shared: Counter) -> Count {
        Count { local: Cell::new(0), shared }
    }

    fn add(&self) {
        self.local.set(self.local.get() + 1);
    }

    /// Carries the cell on; what was in it.
    fn flush(&self) -> u64 {
        let count = self.local.take();
        if count > 0 {
            self.shared.increment(count);
        }
        count
    }
}

/// Every counter of a worker's edge.
pub struct Tally {
    outcomes: Vec<Count>,
    cookies: Vec<Count>,
    unrecorded: Vec<Count>,
    refused: Vec<Count>,
    fixed: Count,
    upgraded: Count,
}

impl Default for Tally {
    fn default() -> Tally {
        let count = |metric, label: &str| Count::new(counter(metric, &[label]));
        Tally {
            outcomes: Outcome::ALL.iter().map(|outcome| count(&CLICKS, outcome.as_str())).collect(),
            cookies: CookieState::ALL.iter().map(|state| count(&COOKIES, state.as_str())).collect(),
            unrecorded: Unrecorded::ALL.iter().map(|(_, label)| count(&CLICKS_UNRECORDED, label)).collect(),
            refused: Refusal::ALL.iter().map(|refusal| count(&REQUESTS_REFUSED, refusal.as_str())).collect(),
            fixed: Count::new(counter(&REQUESTS_FIXED, &[])),
            upgraded: Count::new(counter(&REQUESTS_UPGRADED, &[])),
        }
    }
}

impl Tally {
    /// A click was answered.
    pub fn click(&self, outcome: Outcome, cookie: CookieState) {
        self.outcomes[outcome as usize].add();
        self.cookies[cookie as usize].add();
    }

    /// A click was answered, or refused, without a record.
    pub fn unrecorded(&self, why: Unrecorded) {
        self.unrecorded[why as usize].add();
    }

    /// A request was refused before its code was looked at.
    pub fn refused(&self, why: Refusal) {
        self.refused[why as usize].add();
    }

    /// A fixed path was answered.
    pub fn fixed(&self) {
        self.fixed.add();
    }

    /// A request was sent to `https`.
    pub fn upgraded(&self) {
        self.upgraded.add();
    }

    /// Carries every cell into the shared metrics; called by the worker ten times a second and at its end. Returns how many clicks
    /// were answered without a record since the last time, for the lane's statements; a 503 is no answer.
    pub fn flush(&self) -> u64 {
        for count in [&self.outcomes, &self.cookies, &self.refused].into_iter().flatten() {
            count.flush();
        }
        self.fixed.flush();
        self.upgraded.flush();
        let mut answered = 0;
        for (count, (why, _)) in self.unrecorded.iter().zip(Unrecorded::ALL) {
            let count = count.flush();
            answered += if why == Unrecorded::Refused { 0 } else { count };
        }
        answered
    }
}
