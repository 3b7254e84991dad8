//! Keys of recent time slots, in Bloom filters that are read together.
//!
//! A key has eight places in a table of bytes. Each bit of a byte belongs to one time slot, so a table holds a Bloom
//! filter for each slot, and one pass over the places of a key reads all of them. A key is never hashed again: its
//! places follow from its own bits.
//!
//! A slot with more keys than its filter is for goes on in another table, of twice the capacity and half the error
//! rate. The next slots begin there, because the load may go on.

use std::ops::RangeInclusive;

/// Time slots kept: the bits of a byte.
const SLOTS: usize = 8;
/// Places of a key. The smallest filter for an error of 1e-6 would have 20: 1.4 times less memory, 2.5 times the time.
const PLACES: usize = 8;
/// Keys that the first filter of a slot can hold at its error rate.
const FIRST_CAPACITY: usize = 16 * 1024;

/// The keys of recent time slots. Forgets a slot when another one takes its place, eight slots later or earlier.
pub(super) struct RecentKeys {
    /// The share of absent keys that the first filter of a slot finds by chance.
    first_error_rate: f64,
    /// Each has twice the capacity and half the error rate of the one before.
    tables: Vec<Table>,
    slots: [TimeSlot; SLOTS],
}

/// A time slot. Its keys are in `tables`.
#[derive(Clone, Copy, Default)]
struct TimeSlot {
    /// The slot's number, counted from the Unix epoch.
    number: u64,
    /// The index of the table that takes its next keys.
    table: usize,
    /// Keys that this table can still take from the slot.
    remaining_capacity: usize,
}

/// A Bloom filter for each slot.
#[derive(Default)]
struct Table {
    /// The slots that have keys here, a bit each.
    slots_in_use: u8,
    /// Empty if no slot has keys here. Else each byte is a place: the slots that have a key there.
    bytes: Box<[u8]>,
}

impl RecentKeys {
    /// No keys. In each slot at most twice the share `first_error_rate` of absent keys is found by chance. The memory
    /// grows with the keys: 5.1 bytes a key at an error rate of 1e-6.
    pub(super) fn new(first_error_rate: f64) -> RecentKeys {
        RecentKeys { first_error_rate, tables: Vec::new(), slots: Default::default() }
    }

    /// Remembers a key in a time slot. Returns whether it was already there, or in a slot at most `reach` slots away.
    /// The bits of the key have to be random.
    pub(super) fn remember_and_return_if_seen(&mut self, slot: u64, reach: u64, key: u64) -> bool {
        let at = slot as usize % SLOTS;
        if self.slots[at].number != slot || self.slots[at].remaining_capacity == 0 {
            self.make_room_in_slot(slot);
        }
        let (own, own_table) = (1 << at, self.slots[at].table);
        let in_reach = self.find_bits_of_slots(slot.saturating_sub(reach)..=slot + reach);
        let mut seen = 0;
        for (index, table) in self.tables.iter().enumerate() {
            if index != own_table && table.slots_in_use & in_reach != 0 {
                seen |= table.find_slots_of_key(key);
            }
        }
        if seen & own == 0 {
            let seen_here = self.tables[own_table].insert_and_return_earlier_slots(key, own);
            self.slots[at].remaining_capacity -= usize::from(seen_here & own == 0);
            seen |= seen_here;
        }
        seen & in_reach != 0
    }

    /// How many tables have keys.
    #[cfg(test)]
    pub(super) fn tables_in_use(&self) -> usize {
        self.tables.iter().filter(|table| table.slots_in_use != 0).count()
    }

    /// The bits of those of these slots that are kept.
    fn find_bits_of_slots(&self, slots: RangeInclusive<u64>) -> u8 {
        slots.fold(0, |bits, slot| {
            let at = slot as usize % SLOTS;
            bits | u8::from(self.slots[at].number == slot) << at
        })
    }

    /// Begins the slot in the place of another one, if that is to be done; else lets it go on in the next table.
    #[cold]
    fn make_room_in_slot(&mut self, slot: u64) {
        let at = slot as usize % SLOTS;
        let largest = self.tables.len().saturating_sub(1);
        let table = if self.slots[at].number == slot && !self.tables.is_empty() {
            self.slots[at].table + 1
        } else {
            for (index, table) in self.tables.iter_mut().enumerate() {
                table.remove_slot(1 << at);
                if table.slots_in_use == 0 && index != largest {
                    table.bytes = Box::default();
                }
            }
            largest
        };
        if table >= self.tables.len() {
            self.tables.push(Table::default());
        }
        let capacity = FIRST_CAPACITY << table;
        let new = &mut self.tables[table];
        new.slots_in_use |= 1 << at;
        if new.bytes.is_empty() {
            let error_rate = self.first_error_rate / 2_f64.powi(table as i32);
            new.bytes = vec![0; count_places(capacity, error_rate)].into_boxed_slice();
        }
        self.slots[at] = TimeSlot { number: slot, table, remaining_capacity: capacity };
    }
}

impl Table {
    /// The slots that have the key, or all its places by chance; a bit each.
    #[inline]
    fn find_slots_of_key(&self, key: u64) -> u8 {
        find_places(key, self.bytes.len()).into_iter().fold(u8::MAX, |slots, place| slots & self.bytes[place])
    }

    /// Inserts the key for the slot with the bit `slot`. Returns the slots that had it before.
    #[inline]
    fn insert_and_return_earlier_slots(&mut self, key: u64, slot: u8) -> u8 {
        let mut earlier = u8::MAX;
        for place in find_places(key, self.bytes.len()) {
            earlier &= self.bytes[place];
            self.bytes[place] |= slot;
        }
        earlier
    }

    /// Removes the keys of the slot with this bit.
    fn remove_slot(&mut self, slot: u8) {
        if self.slots_in_use & slot != 0 {
            self.bytes.iter_mut().for_each(|byte| *byte &= !slot);
            self.slots_in_use &= !slot;
        }
    }
}

/// The places of a table for so many keys of each slot, with this error rate.
fn count_places(keys: usize, error_rate: f64) -> usize {
    // A key that is absent is found by chance if a slot has all its places, so the slot may have at most this share.
    let filled = error_rate.powf(1.0 / PLACES as f64);
    (keys as f64 * PLACES as f64 / -(1.0 - filled).ln()).ceil() as usize
}

/// The places of a key in a table of `len` bytes, each below `len`: double hashing, with the key as the first hash and
/// a mix of its bits as the second.
#[inline]
fn find_places(key: u64, len: usize) -> [usize; PLACES] {
    let step = key.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut hash = key;
    [(); PLACES].map(|()| {
        hash = hash.wrapping_add(step);
        ((u128::from(hash) * len as u128) >> 64) as usize
    })
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    /// Random keys, the same in each run.
    fn keys(from: u64) -> impl Iterator<Item = u64> {
        let hasher = foldhash::quality::FixedState::with_seed(7);
        (from..).map(move |number| hasher.hash_one(number))
    }

    #[test]
    fn every_key_is_found_within_reach_while_its_slot_grows_through_several_tables() {
        let mut recent = RecentKeys::new(1e-6);
        for key in keys(0).take(8 * FIRST_CAPACITY) {
            recent.remember_and_return_if_seen(100, 2, key);
        }
        assert_eq!(recent.tables_in_use(), 4);
        let is_found = |slot: u64, key: u64| {
            let in_reach = recent.find_bits_of_slots(slot - 2..=slot + 2);
            recent.tables.iter().any(|table| table.slots_in_use != 0 && table.find_slots_of_key(key) & in_reach != 0)
        };
        for (slot, found) in [(97, false), (98, true), (100, true), (102, true), (103, false)] {
            assert!(keys(0).take(8 * FIRST_CAPACITY).step_by(1000).all(|key| is_found(slot, key) == found), "{slot}");
        }
    }

    #[test]
    fn a_slot_in_the_place_of_another_one_has_none_of_its_keys_and_begins_in_the_largest_table() {
        let mut recent = RecentKeys::new(1e-6);
        for key in keys(0).take(3 * FIRST_CAPACITY + 1) {
            recent.remember_and_return_if_seen(16, 2, key);
        }
        assert!(keys(0).take(1000).all(|key| !recent.remember_and_return_if_seen(24, 2, key)));
        assert_eq!((recent.tables.len(), recent.slots[0].table), (3, 2));
        assert!(recent.tables[..2].iter().all(|table| table.bytes.is_empty()), "no slot uses the small tables");
    }

    #[test]
    fn a_full_filter_finds_absent_keys_no_more_often_than_its_error_rate() {
        for error_rate in [0.01, 0.001, 0.0001] {
            let mut recent = RecentKeys::new(error_rate);
            for key in keys(0).take(FIRST_CAPACITY) {
                recent.remember_and_return_if_seen(16, 2, key);
            }
            let tries = 4_000_000;
            let found = keys(1 << 32).take(tries).filter(|key| recent.tables[0].find_slots_of_key(*key) != 0).count();
            let rate = found as f64 / tries as f64;
            assert!(rate < error_rate * 1.2 && rate > error_rate / 2.0, "{rate} beside {error_rate}");
        }
    }
}
