//! Which sequence numbers of a lane were found, so that the missing ones between them can be counted.

use std::collections::BTreeMap;

use crate::journal::{
    epoch_ends::EpochEnd,
    frame::Frame,
    units::{Epoch, Seq, SeqRange, Watermark},
};

/// The numbers found, by epoch.
#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct SeqCoverage {
    epochs: BTreeMap<Epoch, EpochCoverage>,
}

/// How many numbers were found, and how many are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct SeqCounts {
    pub(in crate::journal) present: u64,
    pub(in crate::journal) missing: u64,
}

/// The numbers `[first, end)` of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: Seq,
    end: Seq,
}

/// The numbers of one epoch.
#[derive(Clone, Debug, Default)]
struct EpochCoverage {
    /// Numbers found, in the order of arrival; sorted and merged when they are counted.
    found: Vec<Span>,
    /// No number at or above was used, as far as is known.
    end: Seq,
    /// Numbers that a segment was to hold, in bytes that are damaged.
    damaged: Vec<Span>,
    /// A power loss took numbers from here on. Some of them may have been delivered without a trace, so only those in
    /// `damaged` count as missing.
    cut_from: Option<Seq>,
}

impl EpochCoverage {
    /// The numbers from `start` on that are missing: used, not found, and not possibly taken by a power loss.
    fn find_surely_missing_spans_from(&self, start: Seq) -> Vec<Span> {
        let mut missing = Vec::new();
        let mut from = start;
        for span in sort_and_merge_spans(&self.found).chain([Span { first: self.end, end: self.end }]) {
            if span.first > from {
                self.push_surely_missing_seqs_of_gap(Span { first: from, end: span.first }, &mut missing);
            }
            from = from.max(span.end);
        }
        missing
    }

    /// Adds those numbers of `gap`, in which none was found, that are missing for certain.
    fn push_surely_missing_seqs_of_gap(&self, gap: Span, missing: &mut Vec<Span>) {
        let cut_from = self.cut_from.map_or(gap.end, |cut_from| cut_from.clamp(gap.first, gap.end));
        let before_cut = Span { first: gap.first, end: cut_from };
        let damaged = sort_and_merge_spans(&self.damaged)
            .map(|damaged| Span { first: damaged.first.max(cut_from), end: damaged.end.min(gap.end) });
        for span in [before_cut].into_iter().chain(damaged).filter(|span| span.first < span.end) {
            match missing.last_mut() {
                Some(last) if last.end == span.first => last.end = span.end,
                _ => missing.push(span),
            }
        }
    }
}

impl SeqCoverage {
    /// Adds the number of a readable frame.
    pub(in crate::journal) fn mark_frame_seq_as_found(&mut self, frame: &Frame<'_>) {
        let coverage = self.epochs.entry(frame.epoch).or_default();
        coverage.end = coverage.end.max(frame.seq + 1);
        match coverage.found.last_mut() {
            Some(last) if last.end == frame.seq => last.end += 1,
            Some(last) if (last.first..last.end).contains(&frame.seq) => {}
            _ => coverage.found.push(Span { first: frame.seq, end: frame.seq + 1 }),
        }
    }

    /// Adds that the numbers of the watermark's epoch below it were used, found or not.
    pub(in crate::journal) fn mark_seqs_below_as_used(&mut self, watermark: Watermark) {
        let coverage = self.epochs.entry(watermark.epoch).or_default();
        coverage.end = coverage.end.max(watermark.next);
    }

    /// Adds that a segment was to hold these numbers, in bytes that are damaged.
    pub(in crate::journal) fn add_damaged(&mut self, SeqRange { epoch, first, end }: SeqRange) {
        let coverage = self.epochs.entry(epoch).or_default();
        if first < end {
            coverage.damaged.push(Span { first, end });
        }
    }

    /// Adds how an epoch ended. Its numbers count as used though no file of it may be left.
    pub(in crate::journal) fn add_used_seqs_and_cut_of_epoch_end(&mut self, end: &EpochEnd) {
        let coverage = self.epochs.entry(end.epoch).or_default();
        coverage.end = coverage.end.max(end.next_seq);
        if end.cut {
            coverage.cut_from = Some(end.next_seq);
        }
    }

    /// Counts the numbers from the watermark on. Numbers between the watermark and the first one found count as
    /// missing; numbers that a power loss may have taken do not.
    pub(in crate::journal) fn count_present_and_surely_missing_from(&self, watermark: Watermark) -> SeqCounts {
        let mut counts = SeqCounts::default();
        for (epoch, coverage) in self.epochs.range(watermark.epoch..) {
            let start = watermark.first_uncovered_in(*epoch);
            let found = sort_and_merge_spans(&coverage.found);
            counts.present += found.map(|span| span.end.saturating_count_from(span.first.max(start))).sum::<u64>();
            counts.missing +=
                coverage.find_surely_missing_spans_from(start).iter().map(|span| span.end - span.first).sum::<u64>();
        }
        counts
    }

    /// The numbers from the watermark on that are missing, counted as in
    /// [`SeqCoverage::count_present_and_surely_missing_from`].
    pub(in crate::journal) fn find_surely_missing_ranges_from(&self, watermark: Watermark) -> Vec<SeqRange> {
        let mut ranges = Vec::new();
        for (epoch, coverage) in self.epochs.range(watermark.epoch..) {
            let missing = coverage.find_surely_missing_spans_from(watermark.first_uncovered_in(*epoch));
            ranges.extend(missing.into_iter().map(|Span { first, end }| SeqRange { epoch: *epoch, first, end }));
        }
        ranges
    }

    /// The numbers that were found, from `from` on and below `to`.
    pub(in crate::journal) fn find_found_ranges_between(&self, from: Watermark, to: Watermark) -> Vec<SeqRange> {
        let mut ranges = Vec::new();
        for (epoch, coverage) in self.epochs.range(from.epoch..).take_while(|(epoch, _)| **epoch <= to.epoch) {
            let start = from.first_uncovered_in(*epoch);
            for span in sort_and_merge_spans(&coverage.found) {
                let end = if *epoch == to.epoch { span.end.min(to.next) } else { span.end };
                let range = SeqRange { epoch: *epoch, first: span.first.max(start), end };
                ranges.extend((range.first < range.end).then_some(range));
            }
        }
        ranges
    }

    /// The next number in an epoch, as far as is known.
    pub(in crate::journal) fn next_seq_in(&self, epoch: Epoch) -> Seq {
        self.epochs.get(&epoch).map_or(Seq::ZERO, |coverage| coverage.end)
    }

    /// The first number of an epoch, from `from` on, that was not found.
    pub(in crate::journal) fn find_first_unfound_seq_from(&self, epoch: Epoch, from: Seq) -> Seq {
        let Some(coverage) = self.epochs.get(&epoch) else { return from };
        sort_and_merge_spans(&coverage.found)
            .find(|span| span.end > from)
            .filter(|span| span.first <= from)
            .map_or(from, |span| span.end)
    }

    /// The watermark at the end of the latest epoch of which anything is known.
    pub(in crate::journal) fn end_of_latest_epoch(&self) -> Option<Watermark> {
        let (epoch, coverage) = self.epochs.last_key_value()?;
        Some(Watermark { epoch: *epoch, next: coverage.end })
    }
}

fn sort_and_merge_spans(spans: &[Span]) -> impl Iterator<Item = Span> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.first <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged.into_iter()
}
