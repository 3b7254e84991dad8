//! A bound on how many connections of one address prefix hold a permit at the same time. One worker has two of them:
//! for open connections, and for connections that wait for their first handshake step.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    rc::Rc,
};

use crate::net::address_prefix::AddressPrefix;

/// Counts the permits in use by address prefix. Its size is bounded by the number of permits in use.
#[derive(Debug)]
pub(super) struct PrefixConnectionQuota {
    max_per_prefix: u32,
    in_use: RefCell<HashMap<AddressPrefix, u32>>,
}

impl PrefixConnectionQuota {
    /// A quota of `max_per_prefix` permits at a time for each prefix, at least one.
    pub(super) fn new(max_per_prefix: u32) -> Rc<PrefixConnectionQuota> {
        Rc::new(PrefixConnectionQuota { max_per_prefix: max_per_prefix.max(1), in_use: RefCell::default() })
    }

    /// Takes a permit for a connection of this address. `None`: all permits of its prefix are in use.
    pub(super) fn try_acquire(self: &Rc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let prefix = AddressPrefix::from(address);
        let mut in_use = self.in_use.borrow_mut();
        let permits = in_use.entry(prefix).or_default();
        if *permits >= self.max_per_prefix {
            return None;
        }
        *permits += 1;
        Some(ConnectionPermit { quota: self.clone(), prefix })
    }
}

/// One permit of a [`PrefixConnectionQuota`]. Dropping it gives the permit back.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    quota: Rc<PrefixConnectionQuota>,
    prefix: AddressPrefix,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut permits) = self.quota.in_use.borrow_mut().entry(self.prefix) {
            *permits.get_mut() -= 1;
            if *permits.get() == 0 {
                permits.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_given_back_and_leave_nothing_behind() {
        let quota = PrefixConnectionQuota::new(2);
        let acquire = |text: &str| quota.try_acquire(text.parse().unwrap());
        let (first, second) = (acquire("192.0.2.1").unwrap(), acquire("192.0.2.1").unwrap());
        assert!(acquire("192.0.2.1").is_none());
        let other = acquire("192.0.2.2").unwrap();
        drop(first);
        let third = acquire("192.0.2.1").unwrap();
        drop((second, third, other));
        assert!(quota.in_use.borrow().is_empty());
    }
}
