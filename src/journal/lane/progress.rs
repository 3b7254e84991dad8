//! Where a lane's frames lie, and how far they are durable and delivered.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::journal::{
    epoch_ends::EpochEnd,
    quarantined_seqs::merge_ranges,
    scan::SeqCoverage,
    segment_index::SegmentIndex,
    units::{Epoch, Position, Seq, SeqRange, SinkNote, Watermark},
};

/// Where a lane's frames lie, and how far they are durable and delivered. The worker never locks it.
#[derive(Debug)]
pub(in crate::journal) struct LaneProgress {
    pub(in crate::journal) index: SegmentIndex,
    /// Everything below is delivered, as the delivery says.
    pub(in crate::journal) acked: Position,
    /// How far the lane is delivered, by number, as the delivery says.
    pub(in crate::journal) delivered: Watermark,
    pub(in crate::journal) sink_note: SinkNote,
    /// How far the lane is delivered or synced, by number, as the spiller says.
    pub(in crate::journal) durable: Watermark,
    /// The numbers found at the start.
    pub(in crate::journal) recovered: SeqCoverage,
    /// Numbers whose frames the reader found damaged or gone since the start. None of them was known to be missing
    /// then.
    pub(in crate::journal) damaged_since: DamagedSeqs,
    /// Numbers that this start or an earlier process quarantined, as the lane's file says.
    pub(in crate::journal) quarantined_before: Vec<SeqRange>,
    /// How earlier epochs ended, the latest last.
    pub(in crate::journal) epoch_ends: Vec<EpochEnd>,
}

impl LaneProgress {
    /// Frames that are neither delivered nor damaged, if `next_seq_in_epoch` is the next number of the current epoch.
    pub(in crate::journal) fn count_undelivered_and_undamaged(
        &self,
        current_epoch: Epoch,
        next_seq_in_epoch: Seq,
    ) -> u64 {
        let delivered = self.delivered;
        let in_epoch = next_seq_in_epoch.saturating_count_from(delivered.first_uncovered_in(current_epoch));
        let damaged = self.damaged_since.count_from(delivered);
        (self.recovered.count_present_and_surely_missing_from(delivered).present + in_epoch).saturating_sub(damaged)
    }

    /// Quarantines the numbers from `from` on and below `to` that were appended, and not known to be missing at the
    /// start. Returns the ranges that were not quarantined before.
    pub(in crate::journal) fn quarantine_appended_seqs_between(
        &mut self,
        from: Watermark,
        to: Watermark,
        current_epoch: Epoch,
    ) -> Vec<SeqRange> {
        let mut ranges = self.recovered.find_found_ranges_between(from, to);
        if to.epoch == current_epoch && current_epoch.is_some() {
            let first = from.first_uncovered_in(current_epoch);
            ranges.extend((first < to.next).then_some(SeqRange { epoch: current_epoch, first, end: to.next }));
        }
        ranges.into_iter().flat_map(|range| self.damaged_since.insert_and_return_new(range)).collect()
    }

    /// The numbers that are damaged and will never be delivered. `delivered_at_start`: how far the lane was delivered
    /// at the start.
    pub(in crate::journal) fn list_undeliverable_ranges(&self, delivered_at_start: Watermark) -> Vec<SeqRange> {
        let mut ranges = self.recovered.find_surely_missing_ranges_from(delivered_at_start);
        ranges.extend(self.damaged_since.ranges());
        ranges.extend(&self.quarantined_before);
        merge_ranges(ranges)
    }
}

/// Numbers whose frames are damaged or gone.
#[derive(Debug, Default)]
pub(in crate::journal) struct DamagedSeqs {
    /// The end of each range, by its epoch and first number. No two ranges touch.
    ends: BTreeMap<(Epoch, Seq), Seq>,
    total: u64,
}

impl DamagedSeqs {
    /// Adds numbers. Returns those that are new.
    fn insert_and_return_new(&mut self, range: SeqRange) -> Vec<SeqRange> {
        let SeqRange { epoch, first, end } = range;
        let (mut merged, mut new) = (range, Vec::new());
        let is_below = |key: &(Epoch, Seq)| key.0 == epoch;
        let mut new_end = end;
        while let Some((key, until)) = self.ends.range(..=(epoch, end)).next_back().map(|(key, until)| (*key, *until))
            && is_below(&key)
            && until >= first
        {
            self.ends.remove(&key);
            new.extend((until < new_end).then_some(SeqRange { epoch, first: until, end: new_end }));
            new_end = new_end.min(key.1);
            merged = SeqRange { epoch, first: merged.first.min(key.1), end: merged.end.max(until) };
        }
        new.extend((first < new_end).then_some(SeqRange { epoch, first, end: new_end }));
        self.ends.insert((epoch, merged.first), merged.end);
        self.total += new.iter().map(|range| range.end - range.first).sum::<u64>();
        new.reverse();
        new
    }

    fn ranges(&self) -> impl Iterator<Item = SeqRange> {
        self.ends.iter().map(|((epoch, first), end)| SeqRange { epoch: *epoch, first: *first, end: *end })
    }

    /// How many numbers lie at or above the watermark.
    fn count_from(&self, watermark: Watermark) -> u64 {
        let from = |range: SeqRange| match range.epoch.cmp(&watermark.epoch) {
            Ordering::Less => 0,
            Ordering::Equal => range.end.saturating_count_from(range.first.max(watermark.next)),
            Ordering::Greater => range.end - range.first,
        };
        self.ranges().map(from).sum()
    }

    /// How many numbers there are.
    pub(in crate::journal) fn total_count(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(epoch: u64, first: u64, end: u64) -> SeqRange {
        SeqRange { epoch: Epoch::new(epoch), first: Seq::new(first), end: Seq::new(end) }
    }

    #[test]
    fn ranges_that_touch_become_one_and_each_number_counts_once() {
        let mut damaged = DamagedSeqs::default();
        for (added, new) in [
            (range(5, 10, 20), 10),
            (range(5, 10, 20), 0),
            (range(5, 12, 15), 0),
            (range(5, 30, 40), 10),
            (range(6, 0, 5), 5),
            (range(5, 15, 32), 10),
            (range(4, 19, 21), 2),
            (range(5, 40, 41), 1),
            (range(5, 0, 100), 69),
        ] {
            let count: u64 = damaged.insert_and_return_new(added).iter().map(|range| range.end - range.first).sum();
            assert_eq!(count, new, "{added:?}");
        }
        assert_eq!(damaged.ranges().collect::<Vec<_>>(), [range(4, 19, 21), range(5, 0, 100), range(6, 0, 5)]);
        assert_eq!(damaged.total_count(), 107);
        let at = |epoch, next| Watermark { epoch: Epoch::new(epoch), next: Seq::new(next) };
        let counts = [at(0, 0), at(5, 0), at(5, 90), at(6, 4), at(7, 0)].map(|from| damaged.count_from(from));
        assert_eq!(counts, [107, 105, 15, 1, 0]);
        let mut damaged = DamagedSeqs::default();
        damaged.insert_and_return_new(range(5, 10, 20));
        damaged.insert_and_return_new(range(5, 30, 40));
        let new = damaged.insert_and_return_new(range(5, 5, 35));
        assert_eq!(new, [range(5, 5, 10), range(5, 20, 30)]);
    }
}
