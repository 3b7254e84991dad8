//! The rule by which an audit decides whether a click is missing. It uses only what is on the topics, so that anyone
//! can repeat it; `deploy/schemas/completeness.md` states it in words, `deploy/schemas/audit.py` in Python.

use std::cmp::Ordering;

use super::{
    state::{AuditState, EpochHistory, LaneHistory, LaneId, StatedWatermarks},
    verdict::{ClickCounts, LaneVerdict},
};
use crate::events::statement::{SeqRange, Watermark};

/// An open lane makes a statement at least every 10 s. After 30 s without one it can have answered clicks that no
/// statement covers.
pub(super) const SILENT_AFTER_MS: u64 = 30_000;

impl AuditState {
    /// Judges every lane, as of `now_ms`.
    pub(super) fn judge_lanes(&self, now_ms: u64) -> Vec<LaneVerdict> {
        self.lanes.iter().map(|(id, lane)| lane.judge(id, self.since_ms, now_ms)).collect()
    }
}

/// One epoch of a lane, with what the rule needs to judge it.
struct JudgedEpoch<'a> {
    lane: &'a LaneHistory,
    epoch: u64,
    history: &'a EpochHistory,
}

impl LaneHistory {
    fn judge(&self, id: &LaneId, since_ms: u64, now_ms: u64) -> LaneVerdict {
        let last = self.last_statement.as_ref();
        let silent = last.filter(|last| last.open && last.at_ms + SILENT_AFTER_MS < now_ms);
        LaneVerdict {
            edge: id.edge.clone(),
            topic: id.topic.clone(),
            lane: id.lane,
            complete_to_ms: last.and_then(|last| last.complete_to_ms),
            clicks: self.count_clicks_and_classify_absent_numbers(since_ms),
            unrecorded: self.epochs.values().map(|epoch| epoch.unrecorded).sum(),
            forked: self.list_stated_epochs_without_end(),
            cut: self.list_cut_epochs_with_last_statement_ms(since_ms),
            silent_since_ms: silent.map(|last| last.at_ms),
        }
    }

    /// Counts the clicks of all epochs. Absent numbers are classified from `since_ms` on.
    fn count_clicks_and_classify_absent_numbers(&self, since_ms: u64) -> ClickCounts {
        let mut counts = ClickCounts::default();
        for (epoch, history) in &self.epochs {
            match &self.stated {
                Some(stated) => {
                    let judged = JudgedEpoch { lane: self, epoch: *epoch, history };
                    judged.classify_absent_numbers_and_add_to_counts(stated, since_ms, &mut counts);
                }
                // The lane has made no statement.
                None => counts.unproved += history.present.len(),
            }
            counts.repeats += history.repeats;
            let without_stub =
                history.dead_lettered.ranges().flat_map(|(from, to)| history.present.find_missing_ranges(from, to));
            let stubs_without_click = history.present.len() - history.clicks.len();
            counts.dead_lettered += stubs_without_click + without_stub.map(|(from, to)| to - from).sum::<u64>();
            counts.present += history.clicks.len();
            counts.quarantined += history.quarantined.len();
        }
        counts
    }

    fn latest_epoch(&self) -> u64 {
        self.epochs.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// Epochs in which a statement was made, that are not the latest, and whose end no statement names.
    fn list_stated_epochs_without_end(&self) -> Vec<u64> {
        let stated = self.epochs.iter().filter(|(epoch, history)| **epoch > 0 && history.last_statement_ms.is_some());
        let without_end = stated.filter(|(epoch, _)| **epoch != self.latest_epoch() && !self.ends.contains_key(epoch));
        without_end.map(|(epoch, _)| *epoch).collect()
    }

    /// Epochs that a power loss ended at or after `since_ms`, each with the time of its last statement.
    fn list_cut_epochs_with_last_statement_ms(&self, since_ms: u64) -> Vec<(u64, Option<u64>)> {
        let last_statement = |epoch| self.epochs.get(&epoch).and_then(|epoch| epoch.last_statement_ms);
        let cut = self.ends.values().filter(|end| end.cut).map(|end| (end.epoch, last_statement(end.epoch)));
        cut.filter(|(_, stated_ms)| stated_ms.is_none_or(|stated_ms| stated_ms >= since_ms)).collect()
    }
}

impl JudgedEpoch<'_> {
    /// Adds every absent number of this epoch to the counts: as missing, lost by a cut, not delivered yet, or unproved.
    fn classify_absent_numbers_and_add_to_counts(
        &self,
        stated: &StatedWatermarks,
        since_ms: u64,
        counts: &mut ClickCounts,
    ) {
        let Some(first) = self.find_first_judged_number(stated, since_ms) else { return };
        let history = self.history;
        let end = self.lane.ends.get(&self.epoch);
        let ended_at = self.stated_end();
        let delivered = self.first_number_not_below(stated.delivered);
        let safe = self.first_number_not_below(stated.safe).max(history.safe).max(delivered);
        let given = history.present.end().max(history.next_seq).max(safe).max(ended_at.unwrap_or(0));
        let mut accounted = history.present.clone();
        for (from, to) in history.quarantined.ranges().chain(history.dead_lettered.ranges()) {
            accounted.insert_range_and_return_if_any_was_new(from, to);
        }
        let gaps = |from: u64, to: u64| {
            let epoch = self.epoch;
            accounted.find_missing_ranges(from, to).into_iter().map(move |(from, to)| SeqRange { epoch, from, to })
        };
        let count_gaps = |from: u64, to: u64| gaps(from, to).map(|range| range.to - range.from).sum::<u64>();
        // Statements may have left out the ranges that explain what lacks below here.
        let omitted_below = match self.lane.quarantined_omitted_below {
            below if below.epoch == self.epoch => below.next.clamp(first, delivered.max(first)),
            below if below.epoch > self.epoch => delivered.max(first),
            _ => first,
        };
        counts.unproved += count_gaps(first, omitted_below);
        counts.missing.extend(gaps(omitted_below, delivered));
        let after_delivered = first.max(delivered);
        counts.not_delivered += count_gaps(after_delivered, safe);
        let after_safe = after_delivered.max(safe);
        match end {
            Some(end) if end.cut => counts.lost_by_cut.extend(gaps(after_safe, given)),
            Some(_) => counts.not_delivered += count_gaps(after_safe, given),
            None if self.epoch == self.lane.latest_epoch() => counts.not_delivered += count_gaps(after_safe, given),
            None => counts.unproved += count_gaps(after_safe, given),
        }
    }

    /// The first number of this epoch that is judged: earlier ones may have left the topic by age. `None` if none is
    /// judged.
    fn find_first_judged_number(&self, stated: &StatedWatermarks, since_ms: u64) -> Option<u64> {
        let start =
            if since_ms > 0 { stated.delivered_at_start.unwrap_or(stated.delivered) } else { Watermark::default() };
        match self.epoch.cmp(&start.epoch) {
            Ordering::Less => None,
            Ordering::Equal => Some(start.next),
            Ordering::Greater => Some(0),
        }
    }

    /// The number at which this epoch is stated to have ended.
    fn stated_end(&self) -> Option<u64> {
        Some(self.lane.ends.get(&self.epoch)?.next_seq)
    }

    /// The first number of this epoch that is not below the watermark. A watermark in a later epoch covers this epoch
    /// to its end, and of a cut epoch as much as was safe.
    fn first_number_not_below(&self, watermark: Watermark) -> u64 {
        match watermark.epoch.cmp(&self.epoch) {
            Ordering::Less => 0,
            Ordering::Equal => watermark.next,
            Ordering::Greater => self.stated_end().unwrap_or(0).max(self.history.safe),
        }
    }
}
