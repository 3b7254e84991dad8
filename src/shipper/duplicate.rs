//! The same tap twice: a double tap, a reload because the page was slow.
//!
//! 1. The cookie says so: a valid one whose last click has the same domain and code within the window. Exact, and the same
//!    at every replay.
//! 2. Else rotating bloom filters over what was seen lately: visitor × code where a valid cookie was presented, address
//!    and agent × code where not (a first tap's cookie may not have arrived before the second tap left).
//!
//! Both look at the click's own time, so a backlog shipped hours later is judged as it would have been at once. A repeat
//! within the window is always found, one after 1.5 windows never. The filters forget at a restart: a repeat whose first
//! tap was shipped before it and that carries no cookie counts.
//!
//! # Error
//!
//! A first tap is called a duplicate by chance at most once in `1 / error_rate`, at any load: a slot of time whose filter is
//! full gets another of twice the capacity and half the error, so that a slot's errors sum to less than twice its
//! first, and five slots are looked at. Apart from chance, two people behind one address with the same agent and language who
//! tap the same link within the window and have no cookie yet are one; that is what the window is short for.

use std::{hash::BuildHasher, net::IpAddr, time::Duration};

use bloomfilter::Bloom;
use serde::Deserialize;

use crate::model::click::{Click, CookieState, Text};

/// Slots kept; two a window, so four windows of disorder between lanes.
const SLOTS: usize = 8;
/// Slots looked at on either side of a click's own.
const REACH: u64 = 2;
/// Bits that a click sets. The smallest filter for an error of 1e-6 would set 20, at 1.4 times less memory and 2.5 times the time.
const PROBES: f64 = 8.0;
/// Clicks that the first filter of a slot holds at its error rate.
const CAPACITY: usize = 16 * 1024;

/// `[shipper.duplicate]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long after a tap the same tap is a duplicate; 1 s to 10 min.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub window: Duration,
    /// The share of first taps wrongly called duplicates, at most; 1e-9 to 0.01.
    pub error_rate: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config { window: Duration::from_secs(10), error_rate: 1e-5 }
    }
}

impl Config {
    /// What is wrong with it, by key.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&self.window) {
            mistakes.push(("window".to_owned(), format!("{:?}; allowed is 1s to 10m", self.window)));
        }
        if !(1e-9..=0.01).contains(&self.error_rate) {
            mistakes.push(("error_rate".to_owned(), format!("{}; allowed is 1e-9 to 0.01", self.error_rate)));
        }
        mistakes
    }
}

/// Whether a click repeats another, and what tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verdict {
    /// The first of its kind.
    #[default]
    First,
    /// The same visitor, by a valid cookie.
    Visitor,
    /// The same address, agent and language, without a cookie.
    AddressAgent,
}

impl Verdict {
    /// Whether this is a repeat.
    pub(super) const fn is_duplicate(self) -> bool {
        !matches!(self, Verdict::First)
    }

    /// The word in `duplicate_basis`; empty for a first tap.
    pub(super) const fn basis(self) -> &'static str {
        match self {
            Verdict::First => "",
            Verdict::Visitor => "visitor",
            Verdict::AddressAgent => "address_agent",
        }
    }
}

/// What was seen lately.
pub(super) struct Duplicates {
    window_ms: u64,
    slot_ms: u64,
    /// Error of a slot's first filter.
    error: f64,
    hasher: foldhash::quality::RandomState,
    seed: [u8; 32],
    slots: [Slot; SLOTS],
}

/// One stretch of time, `slot_ms` long.
#[derive(Default)]
struct Slot {
    /// Its number since the epoch.
    number: u64,
    /// Filters, each of twice the capacity and half the error of the one before.
    filters: Vec<Filter>,
}

struct Filter {
    bloom: Bloom<u64>,
    /// How many doublings from the first.
    step: u32,
    room: usize,
}

impl Duplicates {
    /// Empty filters. Their memory grows with the clicks of a window: 5.1 bytes a click at the default error rate.
    pub(super) fn new(config: &Config) -> Duplicates {
        let window_ms = config.window.as_millis() as u64;
        let hasher = foldhash::quality::RandomState::default();
        let mut seed = [0; 32];
        for (index, part) in seed.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *part = hasher.hash_one(index).to_le_bytes();
        }
        let looked_at = 2 * REACH + 1;
        Duplicates {
            window_ms,
            slot_ms: window_ms.div_ceil(REACH).max(1),
            error: config.error_rate / (2 * looked_at) as f64,
            hasher,
            seed,
            slots: Default::default(),
        }
    }

    /// Judges one click and remembers it. Ask once a click: a second time it is its own duplicate.
    pub(super) fn judge(&mut self, click: &Click<'_>) -> Verdict {
        let place = (click.text(Text::Domain), click.text(Text::Code));
        let (key, repeat) = match (click.visitor, click.cookie_state, click.address) {
            (Some(visitor), CookieState::Valid, _) => (self.hasher.hash_one((place, visitor)), Verdict::Visitor),
            (_, _, Some(address)) => {
                // IPv6 hands out new addresses within its network all day, sometimes between two taps.
                let network = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => (u128::from(v6) & (u128::MAX << 64)).to_be_bytes(),
                };
                let agent = (click.text(Text::UserAgent), click.text(Text::AcceptLanguage));
                (self.hasher.hash_one((place, network, agent)), Verdict::AddressAgent)
            }
            // Neither cookie nor address: nothing to know it again by.
            _ => return Verdict::First,
        };
        let seen = self.seen(click.at_ms, key);
        if repeat == Verdict::Visitor && self.cookie_says_so(click) || seen { repeat } else { Verdict::First }
    }

    /// The verdict as far as the click itself holds it, which is the same whenever it is asked.
    pub(super) fn told_by_cookie(&self, click: &Click<'_>) -> Verdict {
        let known = click.visitor.is_some() && click.cookie_state == CookieState::Valid;
        if known && self.cookie_says_so(click) { Verdict::Visitor } else { Verdict::First }
    }

    fn cookie_says_so(&self, click: &Click<'_>) -> bool {
        let same_link = click.text(Text::PreviousDomain) == click.text(Text::Domain)
            && click.text(Text::PreviousCode) == click.text(Text::Code);
        same_link && click.previous.is_some_and(|id| click.at_ms.abs_diff(uuid_ms(&id)) <= self.window_ms)
    }

    /// Whether the key was seen around this time; it is from now on.
    fn seen(&mut self, at_ms: u64, key: u64) -> bool {
        let own = at_ms / self.slot_ms;
        let around = own.saturating_sub(REACH)..=own + REACH;
        let seen = around.filter(|number| *number != own).any(|number| {
            let slot = &self.slots[number as usize % SLOTS];
            slot.number == number && slot.filters.iter().any(|filter| filter.bloom.check(&key))
        });
        let slot = &mut self.slots[own as usize % SLOTS];
        if slot.number != own {
            slot.restart(own);
        }
        slot.insert(key, self.error, &self.seed) || seen
    }
}

impl Slot {
    /// Forgets another time's keys. The largest filter stays, for the load that made it.
    fn restart(&mut self, number: u64) {
        self.number = number;
        if let Some(mut largest) = self.filters.pop() {
            largest.bloom.clear();
            largest.room = CAPACITY << largest.step;
            self.filters.clear();
            self.filters.push(largest);
        }
    }

    /// Adds a key; true if it was here before.
    fn insert(&mut self, key: u64, error: f64, seed: &[u8; 32]) -> bool {
        let full = self.filters.split_last().is_none_or(|(last, _)| last.room == 0);
        if full {
            let step = self.filters.last().map_or(0, |last| last.step + 1);
            let (room, error) = (CAPACITY << step, error / f64::from(1u32 << step.min(31)));
            // A key that is not in is called so if all its bits are set, so this share of the bits may be.
            let filled = error.powf(1.0 / PROBES);
            let bits = room as f64 * PROBES / -(1.0 - filled).ln();
            // The filter sets as many bits a key as would be best for so many keys.
            let keys = bits * std::f64::consts::LN_2 / PROBES;
            // Fails only where it would have to invent a seed.
            if let Ok(bloom) = Bloom::new_with_seed((bits / 8.0).ceil() as usize, keys as usize, seed) {
                self.filters.push(Filter { bloom, step, room });
            }
        }
        let Some((last, older)) = self.filters.split_last_mut() else { return false };
        if older.iter().any(|filter| filter.bloom.check(&key)) {
            return true;
        }
        let seen = last.bloom.check_and_set(&key);
        last.room = last.room.saturating_sub(usize::from(!seen));
        seen
    }
}

/// The time of a UUIDv7, milliseconds since the epoch.
pub(super) fn uuid_ms(id: &[u8; 16]) -> u64 {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id[..6]);
    u64::from_be_bytes(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipper::event::tests::click;

    fn duplicates() -> Duplicates {
        Duplicates::new(&Config::default())
    }

    #[test]
    fn the_cookies_last_click_on_the_same_link_within_the_window_is_exact() {
        let mut first = click();
        first.cookie_state = CookieState::Valid;
        first.visitor = Some([7; 16]);
        first.texts[Text::PreviousDomain as usize] = first.text(Text::Domain);
        first.texts[Text::PreviousCode as usize] = first.text(Text::Code);
        let previous = |ms_ago: u64| {
            let mut id = [0; 16];
            id[..6].copy_from_slice(&(first.at_ms - ms_ago).to_be_bytes()[2..]);
            Some(id)
        };
        first.previous = previous(9_000);
        // Fresh filters each time: the cookie alone tells.
        assert_eq!(duplicates().judge(&first), Verdict::Visitor);
        first.previous = previous(10_001);
        assert_eq!(duplicates().judge(&first), Verdict::First);
        first.previous = previous(1_000);
        first.texts[Text::PreviousCode as usize] = b"other";
        assert_eq!(duplicates().judge(&first), Verdict::First);
    }

    #[test]
    fn without_a_cookie_the_address_and_agent_tell_on_the_same_link_alone() {
        let mut duplicates = duplicates();
        let first = click();
        assert_eq!(duplicates.judge(&first), Verdict::First);
        assert_eq!(duplicates.judge(&first), Verdict::AddressAgent);
        let mut other_link = first;
        other_link.texts[Text::Code as usize] = b"other";
        assert_eq!(duplicates.judge(&other_link), Verdict::First);
        let mut other_agent = first;
        other_agent.texts[Text::UserAgent as usize] = b"Mozilla/5.0 (another)";
        assert_eq!(duplicates.judge(&other_agent), Verdict::First);
        let mut nobody = first;
        nobody.address = None;
        assert_eq!(duplicates.judge(&nobody), Verdict::First);
        assert_eq!(duplicates.judge(&nobody), Verdict::First);
    }

    #[test]
    fn a_repeat_within_the_window_is_always_found_and_one_after_one_and_a_half_never() {
        for phase in (0..20_000).step_by(700) {
            for (age, found) in
                [(0, true), (4_999, true), (10_000, true), (15_000, false), (40_000, false), (80_000, false)]
            {
                let mut duplicates = duplicates();
                let mut tap = click();
                tap.at_ms += phase;
                duplicates.judge(&tap);
                tap.at_ms += age;
                assert_eq!(duplicates.judge(&tap).is_duplicate(), found, "phase {phase}, age {age}");
            }
        }
    }

    #[test]
    fn of_two_taps_that_lanes_ship_in_the_wrong_order_one_counts() {
        let mut duplicates = duplicates();
        let mut tap = click();
        assert_eq!(duplicates.judge(&tap), Verdict::First);
        tap.at_ms -= 8_000;
        assert_eq!(duplicates.judge(&tap), Verdict::AddressAgent);
    }

    #[test]
    fn first_taps_are_wrongly_called_duplicates_no_more_often_than_configured() {
        let config = Config { window: Duration::from_secs(10), error_rate: 0.001 };
        let mut duplicates = Duplicates::new(&config);
        let (mut wrong, taps) = (0u32, 600_000u64);
        for n in 0..taps {
            // 20 000 a second: five filters a slot, six windows. A key is never used again.
            wrong += u32::from(duplicates.seen(1_000_000_000 + n / 20, duplicates.hasher.hash_one(n)));
        }
        let rate = f64::from(wrong) / taps as f64;
        assert!(rate <= config.error_rate, "{rate}");
        assert!(
            duplicates
                .slots
                .iter()
                .flat_map(|slot| &slot.filters)
                .all(|filter| filter.bloom.number_of_hash_functions() == 8)
        );
        let filters = duplicates.slots.iter().map(|slot| slot.filters.len()).max();
        assert!(filters >= Some(2), "the load was meant to overflow a slot's first filter");
    }
}
