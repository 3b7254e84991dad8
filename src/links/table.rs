//! The table of links: filled once by one or several threads, then published and only read.
//!
//! The table holds one thin pointer a link: the key (domain and code) lies at the front of the link's allocation, so a
//! code costs neither an allocation of its own nor space in the table. A look-up hashes the requested key from the
//! stack. An unknown code is one miss, which is cheaper than a hit: there is no filter in front of the table.
//!
//! Keys in the slots were tried: slots of 24 bytes instead of 8 cost 17 bytes a link more and save a hit nothing,
//! because a click reads the allocation anyway. Only a miss takes half the time, and it takes a sixth of a hit as it
//! is.
//!
//! A table is not written to after it is published: a reload fills another one, and the server swaps it in. So no
//! look-up ever meets a resize.

use std::{collections::HashMap, ops::Deref};

use dashmap::{DashMap, Entry, mapref::one::Ref};
use foldhash::fast::RandomState;

use crate::{
    links::{domains::DomainId, link::Link},
    model::code::MAX as MAX_CODE,
};

/// Shards of the table. A bulk insert stops a look-up beside it for 133 ms with 8 shards, for 9 ms with 1024
/// (measured at 10 million links).
const SHARDS: usize = 1024;

/// How long the code of a removed link is reserved, milliseconds: its clicks can earn for 100 days and 14 more.
pub(super) const CODE_RESERVATION_MS: u64 = 114 * 24 * 60 * 60 * 1000;

/// Every link, by domain and code.
pub struct Table {
    links: DashMap<Link, (), RandomState>,
    /// Links that earlier tables of this process had and this one lacks, with the time of their removal, milliseconds
    /// since the epoch.
    removed: HashMap<Link, u64, RandomState>,
}

/// A link under the read lock of its shard; drop it before doing anything slow.
pub struct LockedLink<'a>(Ref<'a, Link, ()>);

impl Deref for LockedLink<'_> {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.key()
    }
}

impl Table {
    /// An empty table with space for `capacity` links.
    pub fn with_capacity(capacity: usize) -> Table {
        let links = DashMap::with_capacity_and_hasher_and_shard_amount(capacity, RandomState::default(), SHARDS);
        Table { links, removed: HashMap::default() }
    }

    /// The link of a code, which may be any bytes. Makes no allocation.
    pub fn get(&self, domain: DomainId, code: &[u8]) -> Option<LockedLink<'_>> {
        let mut key = [0; 2 + MAX_CODE];
        let key = key.get_mut(..2 + code.len())?;
        key[..2].copy_from_slice(&domain.to_bytes());
        key[2..].copy_from_slice(code);
        if domain.ignores_case() {
            key[2..].make_ascii_lowercase();
        }
        self.links.get(&*key).map(LockedLink)
    }

    /// Adds a link before the table is published.
    ///
    /// # Errors
    /// The link itself, if its domain has its code already.
    pub fn try_insert_or_give_back(&self, link: Link) -> Result<(), Link> {
        match self.links.entry(link) {
            Entry::Vacant(vacant) => {
                vacant.insert(());
                Ok(())
            }
            Entry::Occupied(occupied) => Err(occupied.into_key()),
        }
    }

    /// The number of links.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Visits every link, in no order. For reloads and commands, not for the click path.
    pub fn for_each(&self, mut visit: impl FnMut(&Link)) {
        self.links.iter().for_each(|entry| visit(entry.key()));
    }

    /// Keeps the links that `previous` had and this table lacks, for [`CODE_RESERVATION_MS`] from their removal, and
    /// counts them. Called before the table is published.
    pub(super) fn remember_and_count_links_removed_since(&mut self, previous: &Table, now_ms: u64) -> u64 {
        let lacks = |link: &Link| !self.links.contains_key(link);
        let earlier =
            previous.removed.iter().filter(|(link, removed_ms)| is_code_reserved(**removed_ms, now_ms) && lacks(link));
        let mut removed: HashMap<_, _, _> = earlier.map(|(link, removed_ms)| (link.clone(), *removed_ms)).collect();
        let mut count = 0;
        previous.for_each(|link| {
            if lacks(link) {
                count += 1;
                removed.insert(link.clone(), now_ms);
            }
        });
        self.removed = removed;
        count
    }

    /// The removed link with the domain and code of `link`, while the code is reserved.
    pub(super) fn find_removed(&self, link: &Link, now_ms: u64) -> Option<&Link> {
        let (removed, removed_ms) = self.removed.get_key_value(link)?;
        is_code_reserved(*removed_ms, now_ms).then_some(removed)
    }

    /// The number of removed links that are remembered.
    #[cfg(test)]
    pub(super) fn removed_len(&self) -> usize {
        self.removed.len()
    }
}

/// Whether the code of a link that was removed at `removed_ms` must not name another link yet.
const fn is_code_reserved(removed_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(removed_ms) < CODE_RESERVATION_MS
}
