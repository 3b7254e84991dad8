//! A set of sequence numbers that has few gaps.

use std::collections::BTreeMap;

/// A set of numbers, stored as disjoint ranges: memory grows with the gaps, not with the numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct SeqSet(BTreeMap<u64, u64>);

impl SeqSet {
    /// Inserts the numbers `from` to before `to`. Returns whether any of them was new.
    pub(super) fn insert_range_and_return_if_any_was_new(&mut self, from: u64, to: u64) -> bool {
        if from >= to {
            return false;
        }
        let (mut first, mut end) = (from, to);
        if let Some((before, until)) = self.0.range(..=from).next_back().map(|(before, until)| (*before, *until))
            && until >= from
        {
            if until >= to {
                return false;
            }
            first = before;
        }
        while let Some((next, until)) = self.0.range(first..).next().map(|(next, until)| (*next, *until))
            && next <= end
        {
            self.0.remove(&next);
            end = end.max(until);
        }
        self.0.insert(first, end);
        true
    }

    /// The ranges `(first, end)` in order; `end` is the number after the last.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// The number after the highest; 0 if the set is empty.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// How many numbers the set holds.
    pub(super) fn len(&self) -> u64 {
        self.ranges().map(|(first, end)| end - first).sum()
    }

    /// The ranges of numbers from `from` to before `to` that the set lacks, in order.
    pub(super) fn find_missing_ranges(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = from;
        let before = self.0.range(..from).next_back();
        for (first, end) in before.into_iter().chain(self.0.range(from..to)) {
            if *first > at {
                gaps.push((at, *first));
            }
            at = at.max(*end);
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_seq_set_holds_the_same_numbers_as_a_btree_set(
            parts in prop::collection::vec((0u64..60, 0u64..8), 0..40),
            from in 0u64..60,
            len in 0u64..60,
        ) {
            let (mut seqs, mut set) = (SeqSet::default(), BTreeSet::new());
            for (first, len) in parts {
                let before = set.len();
                set.extend(first..first + len);
                prop_assert_eq!(seqs.insert_range_and_return_if_any_was_new(first, first + len), set.len() > before);
            }
            prop_assert_eq!(seqs.end(), set.last().map_or(0, |last| last + 1));
            let gaps: Vec<u64> =
                seqs.find_missing_ranges(from, from + len).into_iter().flat_map(|(a, b)| a..b).collect();
            let expected: Vec<u64> = (from..from + len).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(seqs.len(), set.len() as u64);
            prop_assert_eq!(gaps, expected);
        }
    }
}
