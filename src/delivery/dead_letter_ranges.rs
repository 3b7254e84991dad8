//! The dead letters of one topic of one lane, as ranges of seqs for the lane's statements.

use std::collections::VecDeque;

use crate::{
    events::statement::SeqRange,
    journal::{Epoch, Seq},
};

/// The ranges that are kept, the latest. A statement is bounded, and earlier statements hold the other ranges.
const MAX_RANGES: usize = 256;

/// Dead letters below the delivered position: their stubs are on the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetterRanges {
    ranges: VecDeque<SeqRange>,
    total: u64,
}

impl DeadLetterRanges {
    /// Adds one dead letter. Dead letters are added in the order of the lane.
    pub(crate) fn append_and_drop_oldest_range_if_full(&mut self, epoch: Epoch, seq: Seq) {
        let (epoch, seq) = (epoch.get(), seq.get());
        self.total += 1;
        match self.ranges.back_mut() {
            Some(last) if last.epoch == epoch && last.to == seq => last.to += 1,
            _ => {
                if self.ranges.len() == MAX_RANGES {
                    self.ranges.pop_front();
                }
                self.ranges.push_back(SeqRange { epoch, from: seq, to: seq + 1 });
            }
        }
    }

    /// The latest ranges, in the order of the lane.
    pub(crate) fn latest_ranges(&self) -> impl Iterator<Item = SeqRange> {
        self.ranges.iter().copied()
    }

    /// The dead letters since the start of the process.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range_and_the_latest_ranges_are_kept() {
        let range = |epoch, from, to| SeqRange { epoch, from, to };
        let mut dead_letters = DeadLetterRanges::default();
        [3, 4, 5, 9]
            .into_iter()
            .for_each(|seq| dead_letters.append_and_drop_oldest_range_if_full(Epoch::new(5), Seq::new(seq)));
        dead_letters.append_and_drop_oldest_range_if_full(Epoch::new(6), Seq::new(10));
        let ranges: Vec<SeqRange> = dead_letters.latest_ranges().collect();
        assert_eq!(ranges, [range(5, 3, 6), range(5, 9, 10), range(6, 10, 11)]);
        (0..1000).for_each(|n| dead_letters.append_and_drop_oldest_range_if_full(Epoch::new(7), Seq::new(2 * n)));
        assert_eq!((dead_letters.latest_ranges().count(), dead_letters.total()), (MAX_RANGES, 1005));
        assert_eq!(dead_letters.latest_ranges().last(), Some(range(7, 1998, 1999)));
    }
}
