//! Finds duplicates: a double tap, or a reload because the page was slow.
//!
//! 1. By the cookie: a valid cookie whose last click has the same domain and code, within the window. Exact, and the
//!    same at every delivery of the click. Only for a tap without parameters, because the cookie names none.
//! 2. Else by rotating Bloom filters over recent clicks: link and visitor if a valid cookie was presented; link,
//!    address and user agent if not (the cookie of a first tap can arrive after the second tap has left).
//!
//! A link is its domain, its code, and the parameters of the query, such as `sub1`, without the marks that platforms
//! add (`fbclid`, `igsh`): `?sub1=reel-1` and `?sub1=reel-2` are two taps.
//!
//! Both compare the clicks' own times, so a backlog that is delivered hours later gives the same result. A repeat
//! within the window is always found, a repeat after 1.5 windows never. After a restart the filters are filled with the
//! delivered clicks that the rings still hold. If a ring was lost, a tap within the window after the start that looks
//! like a first one is [`DuplicateVerdict::FirstAsFarAsKnown`].
//!
//! # Error rate
//!
//! At most the share `error_rate` of first taps is called a duplicate by chance, at any load. A time slot whose filter
//! is full gets another one of twice the capacity and half the error, so the errors of a slot add up to less than twice
//! its first; five slots are checked. Not counted in this: two people behind one address (the NAT of a carrier), with
//! the same user agent and language (one model of phone), who tap the same link within the window and have no cookie
//! yet. So a repeat by address and agent is marked, and counts all the same.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::IpAddr,
    time::Duration,
};

use bloomfilter::Bloom;
use serde::{Deserialize, Serialize};

use crate::{
    invalid_value::InvalidValue,
    model::{
        ad_parameter::is_platform_mark,
        click::{Click, CookieState, Text},
    },
    uri::query::{self, MAX_KNOWN_NAME_LEN},
};

/// Time slots kept. Two slots are a window, so lanes can be four windows apart.
const SLOTS: usize = 8;
/// Slots checked before and after a click's own slot.
const SLOT_REACH: u64 = 2;
/// Bits that a click sets in a filter. The smallest filter for an error of 1e-6 would set 20 bits: 1.4 times less
/// memory, 2.5 times the time.
const BITS_PER_KEY: f64 = 8.0;
/// Clicks that the first filter of a slot can hold at its error rate.
const FIRST_CAPACITY: usize = 16 * 1024;

/// `[delivery.duplicate]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long after a tap a repeat is a duplicate; 1 s to 10 min.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub window: Duration,
    /// The largest share of first taps that are called duplicates by chance; 1e-9 to 0.01.
    pub error_rate: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config { window: Duration::from_secs(10), error_rate: 1e-5 }
    }
}

impl Config {
    /// What is wrong with it, by key.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut mistakes = Vec::new();
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&self.window) {
            mistakes.push(InvalidValue::new("window", format!("{:?}; allowed is 1s to 10m", self.window)));
        }
        if !(1e-9..=0.01).contains(&self.error_rate) {
            mistakes.push(InvalidValue::new("error_rate", format!("{}; allowed is 1e-9 to 0.01", self.error_rate)));
        }
        mistakes
    }
}

/// Whether a click is a duplicate, and by which sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum DuplicateVerdict {
    /// A first tap.
    #[default]
    First,
    /// A repeat of the same visitor, by a valid cookie.
    Visitor,
    /// A repeat from the same address, user agent and language, without a cookie.
    AddressAgent,
    /// A first tap among the clicks that are known. The clicks before the start are lost, and the tap may repeat one.
    FirstAsFarAsKnown,
}

impl DuplicateVerdict {
    /// Whether the click repeats an earlier one.
    pub(crate) const fn is_duplicate(self) -> bool {
        matches!(self, DuplicateVerdict::Visitor | DuplicateVerdict::AddressAgent)
    }

    /// The value of `duplicate_basis`; empty for a first tap.
    pub(crate) const fn duplicate_basis_as_str(self) -> &'static str {
        match self {
            DuplicateVerdict::First => "",
            DuplicateVerdict::Visitor => "visitor",
            DuplicateVerdict::AddressAgent => "address_agent",
            DuplicateVerdict::FirstAsFarAsKnown => "unknown",
        }
    }
}

/// Decides about duplicates. Remembers recent clicks in Bloom filters by time slot.
pub(crate) struct DuplicateFilter {
    window_ms: u64,
    slot_ms: u64,
    /// Error rate of a slot's first filter.
    first_error_rate: f64,
    /// Clicks before this time are not all remembered, Unix milliseconds; 0: all are.
    unknown_before_ms: u64,
    hasher: foldhash::quality::RandomState,
    seed: [u8; 32],
    slots: [TimeSlot; SLOTS],
}

/// What the filters compare of a tap.
struct TapIdentity {
    key: u64,
    /// The verdict if the key was seen.
    repeat: DuplicateVerdict,
    /// The query has parameters other than the marks of platforms.
    has_parameters: bool,
}

/// The clicks of one time slot.
#[derive(Default)]
struct TimeSlot {
    /// The slot's number, counted from the Unix epoch.
    number: u64,
    /// Each filter has twice the capacity and half the error rate of the one before.
    filters: Vec<BoundedBloom>,
}

/// A Bloom filter with a limit on its keys.
struct BoundedBloom {
    bloom: Bloom<u64>,
    /// How often the first capacity was doubled.
    doublings: u32,
    remaining_capacity: usize,
}

impl DuplicateFilter {
    /// Empty filters. Their memory grows with the clicks of a window: 5.1 bytes a click at the default error rate.
    pub(super) fn new(config: &Config) -> DuplicateFilter {
        let window_ms = config.window.as_millis() as u64;
        let hasher = foldhash::quality::RandomState::default();
        let mut seed = [0; 32];
        for (index, part) in seed.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *part = hasher.hash_one(index).to_le_bytes();
        }
        let checked_slots = 2 * SLOT_REACH + 1;
        DuplicateFilter {
            window_ms,
            slot_ms: window_ms.div_ceil(SLOT_REACH).max(1),
            first_error_rate: config.error_rate / (2 * checked_slots) as f64,
            unknown_before_ms: 0,
            hasher,
            seed,
            slots: Default::default(),
        }
    }

    /// Decides about a click and remembers it. A click that is given twice is a duplicate of itself.
    pub(super) fn judge_by_visitor_or_address_and_remember_click(&mut self, click: &Click<'_>) -> DuplicateVerdict {
        let Some(tap) = self.identify_tap(click) else { return self.first_verdict_at(click.at_ms) };
        let was_seen = self.remember_key_and_return_if_seen_recently(click.at_ms, tap.key);
        // The cookie does not say with which parameters its last click came.
        let repeats_cookie = tap.repeat == DuplicateVerdict::Visitor
            && !tap.has_parameters
            && self.is_repeat_of_previous_click_in_cookie(click);
        if was_seen || repeats_cookie { tap.repeat } else { self.first_verdict_at(click.at_ms) }
    }

    /// Remembers a click about which an earlier process has decided.
    pub(super) fn remember_click(&mut self, click: &Click<'_>) {
        if let Some(tap) = self.identify_tap(click) {
            self.remember_key_and_return_if_seen_recently(click.at_ms, tap.key);
        }
    }

    /// How long after a tap a repeat is a duplicate, milliseconds.
    pub(super) fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Notes that the clicks before this time are not all remembered: a tap within a window of them may repeat one.
    pub(super) fn set_unknown_before_ms(&mut self, at_ms: u64) {
        self.unknown_before_ms = self.unknown_before_ms.max(at_ms);
    }

    fn first_verdict_at(&self, at_ms: u64) -> DuplicateVerdict {
        match at_ms < self.unknown_before_ms.saturating_add(self.window_ms) && self.unknown_before_ms > 0 {
            true => DuplicateVerdict::FirstAsFarAsKnown,
            false => DuplicateVerdict::First,
        }
    }

    /// What the filters compare. `None`: neither cookie nor address identifies the client.
    fn identify_tap(&self, click: &Click<'_>) -> Option<TapIdentity> {
        let parameters = self.hash_parameters_without_platform_marks(click.text(Text::Query));
        let link = (click.text(Text::Domain), click.text(Text::Code), parameters);
        let (key, repeat) = match (click.visitor, click.cookie_state, click.address) {
            (Some(visitor), CookieState::Valid, _) => {
                (self.hasher.hash_one((link, visitor)), DuplicateVerdict::Visitor)
            }
            (_, _, Some(address)) => {
                // A client changes its IPv6 address within its network, sometimes between two taps.
                let network = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => (u128::from(v6) & (u128::MAX << 64)).to_be_bytes(),
                };
                let agent = (click.text(Text::UserAgent), click.text(Text::AcceptLanguage));
                (self.hasher.hash_one((link, network, agent)), DuplicateVerdict::AddressAgent)
            }
            _ => return None,
        };
        Some(TapIdentity { key, repeat, has_parameters: parameters.is_some() })
    }

    /// A hash over the query's parameters in their order; `None` without any. The marks that ad platforms and apps add
    /// do not count: they can differ between two taps.
    fn hash_parameters_without_platform_marks(&self, query: &[u8]) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        let mut any = false;
        for pair in query::split_link_query_into_pairs(query) {
            let mut buffer = [0; MAX_KNOWN_NAME_LEN];
            let is_mark = query::fold_name(pair.name(), &mut buffer).is_some_and(is_platform_mark);
            if !pair.whole.is_empty() && !is_mark {
                pair.whole.hash(&mut hasher);
                any = true;
            }
        }
        any.then(|| hasher.finish())
    }

    /// Decides by the cookie alone, and remembers nothing.
    pub(super) fn decide_duplicate_by_cookie_alone(&self, click: &Click<'_>) -> DuplicateVerdict {
        let visitor_is_known = click.visitor.is_some() && click.cookie_state == CookieState::Valid;
        let has_parameters = self.hash_parameters_without_platform_marks(click.text(Text::Query)).is_some();
        match visitor_is_known && !has_parameters && self.is_repeat_of_previous_click_in_cookie(click) {
            true => DuplicateVerdict::Visitor,
            false => DuplicateVerdict::First,
        }
    }

    fn is_repeat_of_previous_click_in_cookie(&self, click: &Click<'_>) -> bool {
        let same_link = click.text(Text::PreviousDomain) == click.text(Text::Domain)
            && click.text(Text::PreviousCode) == click.text(Text::Code);
        same_link && click.previous.is_some_and(|id| click.at_ms.abs_diff(uuid_v7_ms(&id)) <= self.window_ms)
    }

    /// Remembers the key at this time. Returns whether it was already remembered in this slot or one in reach.
    fn remember_key_and_return_if_seen_recently(&mut self, at_ms: u64, key: u64) -> bool {
        let own = at_ms / self.slot_ms;
        let around = own.saturating_sub(SLOT_REACH)..=own + SLOT_REACH;
        let was_seen = around.filter(|number| *number != own).any(|number| {
            let slot = &self.slots[number as usize % SLOTS];
            slot.number == number && slot.filters.iter().any(|filter| filter.bloom.check(&key))
        });
        let slot = &mut self.slots[own as usize % SLOTS];
        if slot.number != own {
            slot.clear_keys_and_set_slot_number(own);
        }
        slot.check_and_insert(key, self.first_error_rate, &self.seed) || was_seen
    }
}

impl TimeSlot {
    /// Removes the keys of an earlier slot. The largest filter stays, empty, because the load that needed it may go on.
    fn clear_keys_and_set_slot_number(&mut self, number: u64) {
        self.number = number;
        if let Some(mut largest) = self.filters.pop() {
            largest.bloom.clear();
            largest.remaining_capacity = FIRST_CAPACITY << largest.doublings;
            self.filters.clear();
            self.filters.push(largest);
        }
    }

    /// Inserts the key. Returns whether it was already in the slot.
    fn check_and_insert(&mut self, key: u64, first_error_rate: f64, seed: &[u8; 32]) -> bool {
        if self.filters.last().is_none_or(|last| last.remaining_capacity == 0) {
            self.add_filter(first_error_rate, seed);
        }
        let Some((last, older)) = self.filters.split_last_mut() else { return false };
        if older.iter().any(|filter| filter.bloom.check(&key)) {
            return true;
        }
        let was_seen = last.bloom.check_and_set(&key);
        last.remaining_capacity = last.remaining_capacity.saturating_sub(usize::from(!was_seen));
        was_seen
    }

    /// Adds a filter of twice the capacity and half the error rate of the last one.
    fn add_filter(&mut self, first_error_rate: f64, seed: &[u8; 32]) {
        let doublings = self.filters.last().map_or(0, |last| last.doublings + 1);
        let capacity = FIRST_CAPACITY << doublings;
        let error_rate = first_error_rate / f64::from(1u32 << doublings.min(31));
        // A key that is absent is found by chance if all its bits are set, so at most this share of the bits may be
        // set.
        let filled = error_rate.powf(1.0 / BITS_PER_KEY);
        let bits = capacity as f64 * BITS_PER_KEY / -(1.0 - filled).ln();
        // The crate chooses the bits per key that are optimal for the number of keys; this number gives `BITS_PER_KEY`.
        let keys = bits * std::f64::consts::LN_2 / BITS_PER_KEY;
        // Fails only if the crate would have to make a seed.
        if let Ok(bloom) = Bloom::new_with_seed((bits / 8.0).ceil() as usize, keys as usize, seed) {
            self.filters.push(BoundedBloom { bloom, doublings, remaining_capacity: capacity });
        }
    }
}

/// The time in a UUID of version 7, milliseconds since the Unix epoch.
pub(super) fn uuid_v7_ms(id: &[u8; 16]) -> u64 {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id[..6]);
    u64::from_be_bytes(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::encoder::tests::click;

    fn filter() -> DuplicateFilter {
        DuplicateFilter::new(&Config::default())
    }

    #[test]
    fn a_cookie_whose_last_click_is_on_the_same_link_within_the_window_makes_a_duplicate() {
        let mut first = click();
        first.cookie_state = CookieState::Valid;
        first.visitor = Some([7; 16]);
        first.texts[Text::Query as usize] = b"fbclid=1";
        first.texts[Text::PreviousDomain as usize] = first.text(Text::Domain);
        first.texts[Text::PreviousCode as usize] = first.text(Text::Code);
        let previous = |ms_ago: u64| {
            let mut id = [0; 16];
            id[..6].copy_from_slice(&(first.at_ms - ms_ago).to_be_bytes()[2..]);
            Some(id)
        };
        first.previous = previous(9_000);
        // Empty filters each time: only the cookie decides.
        assert_eq!(filter().judge_by_visitor_or_address_and_remember_click(&first), DuplicateVerdict::Visitor);
        first.texts[Text::Query as usize] = b"sub1=reel-1";
        let verdict = filter().judge_by_visitor_or_address_and_remember_click(&first);
        assert_eq!(verdict, DuplicateVerdict::First, "the last click may have had other parameters");
        first.texts[Text::Query as usize] = b"";
        first.previous = previous(10_001);
        assert_eq!(filter().judge_by_visitor_or_address_and_remember_click(&first), DuplicateVerdict::First);
        first.previous = previous(1_000);
        first.texts[Text::PreviousCode as usize] = b"other";
        assert_eq!(filter().judge_by_visitor_or_address_and_remember_click(&first), DuplicateVerdict::First);
    }

    #[test]
    fn without_a_cookie_the_same_address_and_user_agent_on_the_same_link_make_a_duplicate() {
        let mut filter = filter();
        let first = click();
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&first), DuplicateVerdict::First);
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&first), DuplicateVerdict::AddressAgent);
        let mut other_link = first;
        other_link.texts[Text::Code as usize] = b"other";
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&other_link), DuplicateVerdict::First);
        let mut other_agent = first;
        other_agent.texts[Text::UserAgent as usize] = b"Mozilla/5.0 (another)";
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&other_agent), DuplicateVerdict::First);
        let mut without_address = first;
        without_address.address = None;
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&without_address), DuplicateVerdict::First);
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&without_address), DuplicateVerdict::First);
    }

    #[test]
    fn parameters_belong_to_the_link_and_the_marks_of_platforms_do_not() {
        let judge_second = |first: &'static [u8], second: &'static [u8]| {
            let mut filter = filter();
            let mut tap = click();
            tap.texts[Text::Query as usize] = first;
            filter.judge_by_visitor_or_address_and_remember_click(&tap);
            tap.texts[Text::Query as usize] = second;
            filter.judge_by_visitor_or_address_and_remember_click(&tap)
        };
        assert_eq!(judge_second(b"sub1=reel-1", b"sub1=reel-2"), DuplicateVerdict::First);
        assert_eq!(judge_second(b"color=red&size=m", b"color=red&size=l"), DuplicateVerdict::First);
        assert_eq!(judge_second(b"sub1=a&fbclid=1", b"igsh=x&sub1=a&fbclid=2"), DuplicateVerdict::AddressAgent);
        assert_eq!(judge_second(b"", b"ttclid=1&"), DuplicateVerdict::AddressAgent);
    }

    #[test]
    fn a_repeat_within_the_window_is_always_found_and_one_after_one_and_a_half_never() {
        for phase in (0..20_000).step_by(700) {
            for (age, found) in
                [(0, true), (4_999, true), (10_000, true), (15_000, false), (40_000, false), (80_000, false)]
            {
                let mut filter = filter();
                let mut tap = click();
                tap.at_ms += phase;
                filter.judge_by_visitor_or_address_and_remember_click(&tap);
                tap.at_ms += age;
                assert_eq!(
                    filter.judge_by_visitor_or_address_and_remember_click(&tap).is_duplicate(),
                    found,
                    "phase {phase}, age {age}"
                );
            }
        }
    }

    #[test]
    fn of_two_taps_that_lanes_deliver_in_the_wrong_order_one_counts() {
        let mut filter = filter();
        let mut tap = click();
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&tap), DuplicateVerdict::First);
        tap.at_ms -= 8_000;
        assert_eq!(filter.judge_by_visitor_or_address_and_remember_click(&tap), DuplicateVerdict::AddressAgent);
    }

    #[test]
    fn first_taps_are_wrongly_called_duplicates_no_more_often_than_configured() {
        let config = Config { window: Duration::from_secs(10), error_rate: 0.001 };
        let mut filter = DuplicateFilter::new(&config);
        let (mut wrong, taps) = (0u32, 600_000u64);
        for n in 0..taps {
            // 20 000 a second: five filters a slot, six windows. A key is never used again.
            wrong += u32::from(
                filter.remember_key_and_return_if_seen_recently(1_000_000_000 + n / 20, filter.hasher.hash_one(n)),
            );
        }
        let rate = f64::from(wrong) / taps as f64;
        assert!(rate <= config.error_rate, "{rate}");
        assert!(
            filter
                .slots
                .iter()
                .flat_map(|slot| &slot.filters)
                .all(|filter| filter.bloom.number_of_hash_functions() == 8)
        );
        let filters = filter.slots.iter().map(|slot| slot.filters.len()).max();
        assert!(filters >= Some(2), "the load was meant to overflow a slot's first filter");
    }
}
