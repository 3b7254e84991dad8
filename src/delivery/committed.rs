//! The set of clicks that a sink has committed for each lane, clicks above an undelivered one included.

use std::collections::BTreeMap;

use crate::{
    events::statement::SeqRange,
    journal::{Epoch, Seq, Watermark},
};

/// The committed clicks of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommittedSet {
    /// Every click below is committed.
    pub(crate) watermark: Watermark,
    /// Committed clicks above the watermark, because a click before them is not committed.
    pub(crate) above: Vec<SeqRange>,
}

impl CommittedSet {
    /// Whether this click is committed.
    pub(crate) fn contains(&self, epoch: Epoch, seq: Seq) -> bool {
        self.watermark.covers(epoch, seq) || self.contains_above_watermark(epoch, seq)
    }

    /// Whether this click is committed although a click before it is not.
    pub(crate) fn contains_above_watermark(&self, epoch: Epoch, seq: Seq) -> bool {
        self.above.iter().any(|range| range.contains(epoch.get(), seq.get()))
    }

    /// Adds the clicks that `other` holds above its watermark, from `start` on. What touches the watermark or the last
    /// range is joined with it.
    pub(crate) fn add_ranges_above_watermark_of(&mut self, start: Watermark, other: &CommittedSet) {
        let (start_epoch, start_seq) = (start.epoch.get(), start.next.get());
        for range in other.above.iter().filter(|range| range.epoch >= start_epoch) {
            let from = if range.epoch == start_epoch { range.from.max(start_seq) } else { range.from };
            if from >= range.to {
                continue;
            }
            let watermark = &mut self.watermark;
            match self.above.last_mut() {
                Some(last) if last.epoch == range.epoch && last.to == from => last.to = range.to,
                None if watermark.epoch.get() == range.epoch && watermark.next.get() == from => {
                    watermark.next = Seq::new(range.to);
                }
                _ => self.above.push(SeqRange { from, ..*range }),
            }
        }
    }

    /// Adds one click. Clicks are added in the order of the lane; `is_behind_gap`: a click before this one is not
    /// committed.
    pub(crate) fn append_in_lane_order(&mut self, epoch: Epoch, seq: Seq, is_behind_gap: bool) {
        if !is_behind_gap {
            self.watermark = Watermark::after(epoch, seq);
            return;
        }
        let (epoch, seq) = (epoch.get(), seq.get());
        match self.above.last_mut() {
            Some(last) if last.epoch == epoch && last.to == seq => last.to += 1,
            _ => self.above.push(SeqRange { epoch, from: seq, to: seq + 1 }),
        }
    }
}

/// Identifies a lane in checkpoints: lanes of another data directory can have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneKey {
    /// The id of the data directory.
    pub(crate) directory: u64,
    pub(crate) lane: u16,
}

/// The committed clicks of each lane.
pub(crate) type CommittedLanes = BTreeMap<LaneKey, CommittedSet>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unread_part_of_a_committed_range_is_joined_with_the_part_that_was_read() {
        let range = |from, to| SeqRange { epoch: 7, from, to };
        let watermark = |next| Watermark { epoch: Epoch::new(7), next: Seq::new(next) };
        let earlier = CommittedSet { watermark: watermark(2), above: vec![range(3, 8), range(9, 10)] };
        let mut next = CommittedSet { watermark: watermark(2), above: vec![range(3, 5)] };
        next.add_ranges_above_watermark_of(watermark(5), &earlier);
        assert_eq!(next, earlier);
        // Everything up to the part that was not read is committed by now.
        let mut next = CommittedSet { watermark: watermark(5), above: Vec::new() };
        next.add_ranges_above_watermark_of(watermark(5), &earlier);
        assert_eq!(next, CommittedSet { watermark: watermark(8), above: vec![range(9, 10)] });
    }

    #[test]
    fn clicks_behind_a_gap_are_in_the_set_and_the_gap_is_not() {
        let mut committed = CommittedSet::default();
        for (seq, is_behind_gap) in [(0, false), (1, false), (3, true), (4, true), (6, true)] {
            committed.append_in_lane_order(Epoch::new(7), Seq::new(seq), is_behind_gap);
        }
        let contained: Vec<u64> = (0..8).filter(|seq| committed.contains(Epoch::new(7), Seq::new(*seq))).collect();
        assert_eq!(contained, [0, 1, 3, 4, 6]);
        assert_eq!(committed.above.len(), 2);
        assert!(committed.contains(Epoch::new(6), Seq::new(99)), "every earlier epoch is in the set");
    }
}
