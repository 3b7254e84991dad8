//! The rate limiter of requests for unknown codes: so many a minute for each address prefix are recorded as clicks.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Duration,
};

use crate::net::address_prefix::AddressPrefix;

/// The number of counters of one worker, 64 KiB. If more prefixes than that ask in one minute, some share a counter.
/// Then fewer of their unknown codes are recorded; nothing else changes.
const COUNTERS: usize = 8192;

/// Counts the requests for unknown codes of one worker by address prefix and minute, in a table of fixed size.
pub struct UnknownCodeRateLimiter {
    max_per_minute: u32,
    /// Seeded at random: a client that could choose its counter could use up another client's allowance.
    hasher: RandomState,
    counters: Box<[MinuteCounter]>,
}

/// The requests of one minute, a number of minutes on the caller's clock.
#[derive(Clone, Copy, Default)]
struct MinuteCounter {
    minute: u32,
    count: u32,
}

impl UnknownCodeRateLimiter {
    /// A limiter that allows `max_per_minute` requests for each address prefix and minute. 0 allows none.
    pub fn new(max_per_minute: u32) -> UnknownCodeRateLimiter {
        let counters = vec![MinuteCounter::default(); COUNTERS].into();
        UnknownCodeRateLimiter { max_per_minute, hasher: RandomState::new(), counters }
    }

    /// Counts one request of this address and returns whether it is within the limit of the current minute. `now` is
    /// the time since any fixed point, by a clock that never goes back.
    pub fn try_acquire(&mut self, address: IpAddr, now: Duration) -> bool {
        let minute = (now.as_secs() / 60) as u32;
        let index = self.hasher.hash_one(AddressPrefix::from(address)) as usize % COUNTERS;
        let Some(counter) = self.counters.get_mut(index) else { return true };
        if counter.minute != minute {
            *counter = MinuteCounter { minute, count: 0 };
        }
        let is_within_limit = counter.count < self.max_per_minute;
        counter.count += u32::from(is_within_limit);
        is_within_limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_of_one_address_and_one_minute() {
        let at = Duration::from_secs;
        let mut limiter = UnknownCodeRateLimiter::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        assert!(
            limiter.try_acquire(one, at(0)) && limiter.try_acquire(one, at(59)) && !limiter.try_acquire(one, at(59))
        );
        // With a chance of 1 in 8192 the two share a counter, so the result is not asserted.
        let _ = limiter.try_acquire(other, at(0));
        assert!(limiter.try_acquire(one, at(60)));
        assert!(!UnknownCodeRateLimiter::new(0).try_acquire(one, at(0)));
    }
}
