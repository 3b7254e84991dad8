//! Sets of numbers that are mostly without gaps.

use std::collections::BTreeMap;

/// A set of numbers as disjoint ranges: memory by the gap, not by the number.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `[from, to)`; whether any of it was not there.
    pub(super) fn add(&mut self, from: u64, to: u64) -> bool {
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

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// The number behind the highest; 0 if there is none.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// How many numbers of `[from, to)` there are.
    pub(super) fn count(&self, from: u64, to: u64) -> u64 {
        to.saturating_sub(from) - self.absent(from, to).iter().map(|(first, end)| end - first).sum::<u64>()
    }

    /// What of `[from, to)` is not there, in order.
    pub(super) fn absent(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut absent = Vec::new();
        let mut at = from;
        let before = self.0.range(..from).next_back();
        for (first, end) in before.into_iter().chain(self.0.range(from..to)) {
            if *first > at {
                absent.push((at, *first));
            }
            at = at.max(*end);
        }
        if at < to {
            absent.push((at, to));
        }
        absent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_of_numbers_would(
            parts in prop::collection::vec((0u64..60, 0u64..8), 0..40),
            from in 0u64..60,
            len in 0u64..60,
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, len) in parts {
                let before = set.len();
                set.extend(first..first + len);
                prop_assert_eq!(ranges.add(first, first + len), set.len() > before);
            }
            prop_assert_eq!(ranges.end(), set.last().map_or(0, |last| last + 1));
            let absent: Vec<u64> = ranges.absent(from, from + len).into_iter().flat_map(|(a, b)| a..b).collect();
            let expected: Vec<u64> = (from..from + len).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(ranges.count(from, from + len), len - expected.len() as u64);
            prop_assert_eq!(absent, expected);
        }
    }
}
