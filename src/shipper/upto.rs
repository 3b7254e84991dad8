//! What a sink has of each lane for good, clicks behind a gap included.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{journal::Mark, model::click::Topic};

/// Numbers of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub(super) epoch: u64,
    /// The first.
    pub(super) from: u64,
    /// The one behind the last.
    pub(super) to: u64,
}

/// What is committed of one topic of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upto {
    pub(super) mark: Mark,
    pub(super) beyond: Vec<Stretch>,
}

impl Upto {
    /// Whether this click is committed.
    pub(super) fn covers(&self, epoch: u64, seq: u64) -> bool {
        Mark { epoch, next: seq } < self.mark || self.lies_beyond(epoch, seq)
    }

    /// Whether it is committed though one before it is not.
    pub(super) fn lies_beyond(&self, epoch: u64, seq: u64) -> bool {
        self.beyond.iter().any(|stretch| stretch.epoch == epoch && (stretch.from..stretch.to).contains(&seq))
    }

    /// Adds what lies beyond in `other`, from the mark on.
    pub(super) fn keep_from(&mut self, mark: Mark, other: &Upto) {
        let rest = |stretch: &Stretch| {
            let from = if stretch.epoch == mark.epoch { stretch.from.max(mark.next) } else { stretch.from };
            (stretch.epoch >= mark.epoch && from < stretch.to).then_some(Stretch { from, ..*stretch })
        };
        self.beyond.extend(other.beyond.iter().filter_map(rest));
    }

    /// Counts one more, in the order of reading.
    pub(super) fn add(&mut self, epoch: u64, seq: u64, behind_a_gap: bool) {
        if !behind_a_gap {
            self.mark = Mark { epoch, next: seq + 1 };
            return;
        }
        match self.beyond.last_mut() {
            Some(last) if last.epoch == epoch && last.to == seq => last.to += 1,
            _ => self.beyond.push(Stretch { epoch, from: seq, to: seq + 1 }),
        }
    }
}

/// By data directory and lane, what is committed of each topic.
pub(super) type Lanes = BTreeMap<(u64, u16), [Upto; Topic::ALL.len()]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_gap_is_covered_and_the_gap_is_not() {
        let mut upto = Upto::default();
        for (seq, behind) in [(0, false), (1, false), (3, true), (4, true), (6, true)] {
            upto.add(7, seq, behind);
        }
        let covered: Vec<u64> = (0..8).filter(|seq| upto.covers(7, *seq)).collect();
        assert_eq!(covered, [0, 1, 3, 4, 6]);
        assert_eq!(upto.beyond.len(), 2);
        assert!(upto.covers(6, 99), "earlier epochs are");
    }
}
