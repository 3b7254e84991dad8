//! A set of rows of the catalog's file.

/// Ids of rows, a bit each.
#[derive(Debug, Default)]
pub(super) struct RowSet(Vec<u64>);

impl RowSet {
    pub(super) fn insert(&mut self, id: i64) {
        let (word, bit) = RowSet::word_and_bit_of(id);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    pub(super) fn remove(&mut self, id: i64) {
        let (word, bit) = RowSet::word_and_bit_of(id);
        if let Some(bits) = self.0.get_mut(word) {
            *bits &= !bit;
        }
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        let (word, bit) = RowSet::word_and_bit_of(id);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    const fn word_and_bit_of(id: i64) -> (usize, u64) {
        (id as usize / 64, 1 << (id % 64))
    }
}
