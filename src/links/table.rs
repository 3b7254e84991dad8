//! The table of links. Every worker reads it; one thread changes it.
//!
//! The table holds one thin pointer a link: the key (domain and code) lies at the front of the link's allocation, so a
//! code costs neither an allocation of its own nor space in the table. A look-up hashes the requested key from the
//! stack. An unknown code is one miss, which is cheaper than a hit: there is no filter in front of the table.
//!
//! Keys in the slots were tried: slots of 24 bytes instead of 8 cost 17 bytes a link more and save a hit nothing,
//! because a click reads the allocation anyway. Only a miss takes half the time, and it takes a sixth of a hit as it
//! is.
//!
//! A new version of all links fills another table, which the server swaps in. A change of few links replaces their
//! pointers under the lock of their shard: a look-up sees the old link or the new one, whole.

use std::{collections::HashMap, ops::Deref};

use dashmap::{DashMap, Entry, mapref::one::Ref};
use foldhash::fast::RandomState;

use crate::{
    links::{
        domains::DomainId,
        link::{Link, UnchangeableFields},
        link_key::LinkKey,
    },
    model::{code::MAX as MAX_CODE, link::LinkKind},
};

/// Shards of a small table.
const MIN_SHARDS: usize = 4096;
/// Links of a shard at most, if the table was made with enough capacity. A shard that grows moves its links while no
/// look-up can read them: some 100 ns a link, 0.4 ms for all.
const LINKS_PER_SHARD: usize = 4096;

/// How long the code of a removed link is reserved, milliseconds: its clicks can earn for 100 days and 14 more.
pub const CODE_RESERVATION_MS: u64 = 114 * 24 * 60 * 60 * 1000;

/// Every link, by domain and code.
pub struct Table {
    links: DashMap<Link, (), RandomState>,
    /// Links that earlier versions had and this one lacks.
    removed: HashMap<LinkKey, RemovedLink, RandomState>,
}

/// What is remembered of a link that was removed, as long as it reserves its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedLink {
    /// When it was removed, milliseconds since the epoch.
    pub since_ms: u64,
    /// Its creation, milliseconds since the epoch.
    pub created_ms: u64,
    /// Whether it was a test link without `created_at`.
    pub is_created_at_default: bool,
    /// What the link referred to.
    pub kind: LinkKind,
    /// The creator's id; "" for none.
    pub creator: Box<str>,
    /// The partner's id; "" for none.
    pub partner: Box<str>,
}

impl RemovedLink {
    /// What to remember of `link`; `None` if its facts are of a newer format.
    pub fn new(link: &Link, since_ms: u64) -> Option<RemovedLink> {
        let fields = link.unchangeable_fields()?;
        Some(RemovedLink {
            since_ms,
            created_ms: fields.created_ms,
            is_created_at_default: fields.is_created_at_default,
            kind: fields.kind,
            creator: fields.creator.into(),
            partner: fields.partner.into(),
        })
    }

    /// What never changes about the link.
    pub fn unchangeable_fields(&self) -> UnchangeableFields<'_> {
        UnchangeableFields {
            created_ms: self.created_ms,
            is_created_at_default: self.is_created_at_default,
            kind: self.kind,
            creator: &self.creator,
            partner: &self.partner,
        }
    }

    /// When another link may have the code, milliseconds since the epoch.
    pub fn reusable_at_ms(&self) -> u64 {
        self.since_ms.saturating_add(CODE_RESERVATION_MS)
    }
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
        let shards = (capacity / LINKS_PER_SHARD).next_power_of_two().max(MIN_SHARDS);
        let links = DashMap::with_capacity_and_hasher_and_shard_amount(capacity, RandomState::default(), shards);
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

    /// Adds a link, or replaces the link with its domain and code, while workers read the table.
    pub fn insert_or_replace(&self, link: Link) {
        match self.links.entry(link) {
            Entry::Vacant(vacant) => {
                vacant.insert(());
            }
            // The key is the link, so the entry's key has to be replaced. The old link is freed behind the lock.
            Entry::Occupied(occupied) => drop(occupied.replace_entry(())),
        }
    }

    /// Removes a link while workers read the table. Returns it.
    pub fn remove(&self, key: &LinkKey) -> Option<Link> {
        let mut bytes = Vec::with_capacity(2 + key.code.len());
        bytes.extend_from_slice(&key.domain.to_bytes());
        bytes.extend_from_slice(&key.code);
        self.links.remove(&*bytes).map(|(link, ())| link)
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

    /// Remembers links that earlier versions had. Called before the table is published.
    pub fn set_removed(&mut self, removed: impl IntoIterator<Item = (LinkKey, RemovedLink)>) {
        self.removed = removed.into_iter().collect();
    }

    /// Keeps the links that `previous` had and this table lacks, for [`CODE_RESERVATION_MS`] from their removal, and
    /// counts them. Called before the table is published.
    pub(super) fn remember_and_count_links_removed_since(&mut self, previous: &Table, now_ms: u64) -> u64 {
        let is_reserved = |key: &LinkKey, removed: &RemovedLink| {
            removed.reusable_at_ms() > now_ms && self.get(key.domain, &key.code).is_none()
        };
        let earlier = previous.removed.iter().filter(|(key, removed)| is_reserved(key, removed));
        let mut removed: HashMap<_, _, _> = earlier.map(|(key, removed)| (key.clone(), removed.clone())).collect();
        let mut count = 0;
        previous.for_each(|link| {
            if !self.links.contains_key(link) {
                count += 1;
                removed.extend(RemovedLink::new(link, now_ms).map(|removed| (link.key(), removed)));
            }
        });
        self.removed = removed;
        count
    }

    /// The removed link with the domain and code of `link`, while the code is reserved.
    pub(super) fn find_removed(&self, link: &Link, now_ms: u64) -> Option<&RemovedLink> {
        self.removed.get(&link.key()).filter(|removed| removed.reusable_at_ms() > now_ms)
    }

    /// The number of removed links that are remembered.
    #[cfg(test)]
    pub(super) fn removed_len(&self) -> usize {
        self.removed.len()
    }
}
