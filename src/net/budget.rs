//! What one address may take of a worker: open connections, and clicks on codes that no link has.
//!
//! An address is an IPv4 address or an IPv6 /64, the least that one subscriber gets. Both tables are bounded by
//! themselves: the one by the connections that are open, the other is of a fixed size.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

/// An address as the limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(u64);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Origin {
        match address.to_canonical() {
            // Below ff00::/8, which is multicast and nobody's address.
            IpAddr::V4(v4) => Origin(0xffff << 48 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Origin((v6.to_bits() >> 64) as u64),
        }
    }
}

/// So many at a time of each address, of one worker: its open connections, its handshakes that wait.
#[derive(Debug)]
pub(super) struct Seats {
    most: u32,
    taken: RefCell<HashMap<Origin, u32>>,
}

impl Seats {
    pub(super) fn new(most: u32) -> Seats {
        Seats { most: most.max(1), taken: RefCell::default() }
    }

    /// Takes a seat; says whether there was one. Give it back by [`Seats::leave`].
    pub(super) fn take(&self, origin: Origin) -> bool {
        let mut taken = self.taken.borrow_mut();
        let seats = taken.entry(origin).or_default();
        let free = *seats < self.most;
        *seats += u32::from(free);
        free
    }

    pub(super) fn leave(&self, origin: Origin) {
        if let Entry::Occupied(mut seats) = self.taken.borrow_mut().entry(origin) {
            *seats.get_mut() -= 1;
            if *seats.get() == 0 {
                seats.remove();
            }
        }
    }
}

/// How many counts a worker holds: 64 KiB. More addresses than that in one minute share counts by chance, which records a
/// few unknown codes less, and nothing else.
const COUNTS: usize = 8192;

/// How much each address spent in this minute, of one worker: a table of a fixed size, whoever asks.
pub struct Spending {
    most: u32,
    /// Whoever could choose the place of an address could spend another's budget.
    hash: RandomState,
    counts: Box<[Spent]>,
}

#[derive(Clone, Copy, Default)]
struct Spent {
    minute: u32,
    count: u32,
}

impl Spending {
    /// `most` for each address and minute; 0 is none.
    pub fn new(most: u32) -> Spending {
        Spending { most, hash: RandomState::new(), counts: vec![Spent::default(); COUNTS].into() }
    }

    /// Spends one of this address's; says whether it still had one. `now_ms` is any clock that rarely steps back.
    pub fn spend(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let minute = (now_ms / 60_000) as u32;
        let place = self.hash.hash_one(Origin::from(address)) as usize % COUNTS;
        let Some(spent) = self.counts.get_mut(place) else { return true };
        if spent.minute != minute {
            *spent = Spent { minute, count: 0 };
        }
        let had = spent.count < self.most;
        spent.count += u32::from(had);
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address_and_a_mapped_one_its_own() {
        let origin = |text| Origin::from(address(text));
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.2"), origin("192.0.2.1"));
    }

    #[test]
    fn seats_are_given_back_and_leave_nothing_behind() {
        let seats = Seats::new(2);
        let one = Origin::from(address("192.0.2.1"));
        assert!(seats.take(one) && seats.take(one) && !seats.take(one));
        assert!(seats.take(Origin::from(address("192.0.2.2"))));
        seats.leave(one);
        assert!(seats.take(one));
        (0..2).for_each(|_| seats.leave(one));
        seats.leave(Origin::from(address("192.0.2.2")));
        assert!(seats.taken.borrow().is_empty());
    }

    #[test]
    fn a_budget_is_of_one_address_and_one_minute() {
        let mut spending = Spending::new(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!(spending.spend(one, 0) && spending.spend(one, 59_999) && !spending.spend(one, 59_999));
        // One in 8192 that they share a place.
        let _ = spending.spend(other, 0);
        assert!(spending.spend(one, 60_000));
        assert!(!Spending::new(0).spend(one, 0));
    }
}
