//! Which numbers of a lane were seen: so that what is missing between them can be counted.

use std::collections::BTreeMap;

use crate::journal::{Mark, STREAMS, frame::Frame, history::End};

/// The numbers seen, by epoch and stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Seqs {
    epochs: BTreeMap<u64, [Numbers; STREAMS]>,
}

#[derive(Clone, Debug, Default)]
struct Numbers {
    /// `[first, end)`, in the order of arrival; sorted and merged when they are counted.
    ranges: Vec<(u64, u64)>,
    /// No number at or above it was given, as far as is known.
    end: u64,
    /// `[first, end)`: a segment says that it holds them, and its bytes are damaged there.
    damaged: Vec<(u64, u64)>,
    /// A power loss took some from here on, and others may have been delivered without a trace: only what a segment was to hold
    /// is known to be damaged.
    cut: Option<u64>,
}

impl Numbers {
    /// The numbers from `start` on that are neither seen nor cut.
    fn holes(&self, start: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut from = start;
        for (first, end) in merged(&self.ranges).chain([(self.end, self.end)]) {
            if first > from {
                self.known(from, first, &mut holes);
            }
            from = from.max(end);
        }
        holes
    }

    /// Of the numbers `[from, to)`, which nobody has seen, those that are known to be damaged.
    fn known(&self, from: u64, to: u64, holes: &mut Vec<(u64, u64)>) {
        let cut = self.cut.map_or(to, |cut| cut.clamp(from, to));
        let damaged = merged(&self.damaged).map(|(first, end)| (first.max(cut), end.min(to)));
        let all = [(from, cut)].into_iter().chain(damaged).filter(|(first, end)| first < end);
        for (first, end) in all {
            match holes.last_mut() {
                Some(last) if last.1 == first => last.1 = end,
                _ => holes.push((first, end)),
            }
        }
    }
}

/// How many there are and how many are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) present: u64,
    pub(super) missing: u64,
}

impl Seqs {
    /// Notes a frame that can be read.
    pub(super) fn add(&mut self, frame: &Frame<'_>) {
        self.know(frame.epoch, frame.next);
        let Some(epoch) = self.epochs.get_mut(&frame.epoch) else { return };
        let numbers = &mut epoch[usize::from(frame.stream)];
        match numbers.ranges.last_mut() {
            Some(last) if last.1 == frame.seq => last.1 += 1,
            Some(last) if (last.0..last.1).contains(&frame.seq) => {}
            _ => numbers.ranges.push((frame.seq, frame.seq + 1)),
        }
    }

    /// Notes that the numbers below `next` were given in `epoch`.
    pub(super) fn know(&mut self, epoch: u64, next: [u64; STREAMS]) {
        for (numbers, next) in self.epochs.entry(epoch).or_default().iter_mut().zip(next) {
            numbers.end = numbers.end.max(next);
        }
    }

    /// Notes that a segment was to hold the numbers from `first` to `end` of each stream, and is damaged there.
    pub(super) fn damage(&mut self, epoch: u64, first: [u64; STREAMS], end: [u64; STREAMS]) {
        let streams = self.epochs.entry(epoch).or_default();
        for (numbers, range) in streams.iter_mut().zip(first.into_iter().zip(end)) {
            if range.0 < range.1 {
                numbers.damaged.push(range);
            }
        }
    }

    /// Notes how an epoch ended: so many were given, though no file of it may be left.
    pub(super) fn ended(&mut self, end: &End) {
        self.know(end.epoch, end.next);
        if end.cut
            && let Some(streams) = self.epochs.get_mut(&end.epoch)
        {
            for (numbers, next) in streams.iter_mut().zip(end.next) {
                numbers.cut = Some(next);
            }
        }
    }

    /// Counts the numbers of `stream` from `mark` on. Those between `mark` and the first one seen in its epoch count as missing;
    /// those that a power loss may have taken do not.
    pub(super) fn count(&self, stream: usize, mark: Mark) -> Count {
        let mut count = Count::default();
        for (epoch, streams) in self.epochs.range(mark.epoch..) {
            let numbers = &streams[stream];
            let start = if *epoch == mark.epoch { mark.next } else { 0 };
            count.present +=
                merged(&numbers.ranges).map(|(first, end)| end.saturating_sub(first.max(start))).sum::<u64>();
            count.missing += numbers.holes(start).iter().map(|(first, end)| end - first).sum::<u64>();
        }
        count
    }

    /// The numbers of `stream` from `mark` on that are missing: epoch, first, and the one after the last.
    pub(super) fn holes(&self, stream: usize, mark: Mark) -> Vec<(u64, u64, u64)> {
        let mut holes = Vec::new();
        for (epoch, streams) in self.epochs.range(mark.epoch..) {
            let start = if *epoch == mark.epoch { mark.next } else { 0 };
            holes.extend(streams[stream].holes(start).into_iter().map(|(first, end)| (*epoch, first, end)));
        }
        holes
    }

    /// The next numbers of an epoch, as far as is known.
    pub(super) fn next(&self, epoch: u64) -> [u64; STREAMS] {
        self.epochs.get(&epoch).map_or([0; STREAMS], |streams| std::array::from_fn(|s| streams[s].end))
    }

    /// The first number of an epoch, from `from` on, that is not there.
    pub(super) fn whole(&self, epoch: u64, stream: usize, from: u64) -> u64 {
        let Some(numbers) = self.epochs.get(&epoch).map(|streams| &streams[stream]) else { return from };
        merged(&numbers.ranges)
            .find(|(_, end)| *end > from)
            .filter(|(first, _)| *first <= from)
            .map_or(from, |(_, end)| end)
    }

    /// The last epoch and the next numbers in it.
    pub(super) fn last(&self) -> Option<(u64, [u64; STREAMS])> {
        self.epochs.last_key_value().map(|(epoch, streams)| (*epoch, std::array::from_fn(|s| streams[s].end)))
    }
}

fn merged(ranges: &[(u64, u64)]) -> impl Iterator<Item = (u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut done: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match done.last_mut() {
            Some(last) if range.0 <= last.1 => last.1 = last.1.max(range.1),
            _ => done.push(range),
        }
    }
    done.into_iter()
}
