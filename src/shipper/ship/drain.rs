//! The end of an edge: everything that lies in its lanes is delivered, and the lanes say so.

use std::time::{Duration, Instant};

use super::{PAUSE, Ship};
use crate::shipper::{Drained, Summary, lane::LaneState, lane::TOPICS};

impl Ship {
    /// Ships until everything is delivered, or until nothing was for `patience`. `progress` hears, once a second, how many clicks
    /// of each topic are delivered, and for how long none was.
    pub(in crate::shipper) fn drain(
        mut self,
        patience: Duration,
        mut progress: impl FnMut([u64; TOPICS], Duration),
    ) -> Drained {
        let (mut moved_at, mut told_at) = (Instant::now(), Instant::now());
        let mut passed = self.passed();
        loop {
            let now = Instant::now();
            let round = self.round(now, true);
            if self.sink.found() && self.lanes.iter().all(LaneState::done) {
                break;
            }
            if self.passed() != passed {
                (passed, moved_at) = (self.passed(), now);
            }
            let quiet = now.duration_since(moved_at);
            if now.duration_since(told_at) >= Duration::from_secs(1) {
                told_at = now;
                progress(self.delivered, quiet);
            }
            if quiet >= patience {
                break;
            }
            if !round.more {
                std::thread::sleep(PAUSE);
            }
        }
        let now = Instant::now();
        let (_, failed) = self.sink.unstated();
        self.say_last(now);
        let stated = self.sink.unstated() == (0, failed);
        self.drained(stated)
    }

    /// Clicks that left the journal so far.
    fn passed(&self) -> u64 {
        self.lanes.iter().map(LaneState::prefix).sum()
    }

    /// `stated`: whether what lanes said last has arrived.
    fn drained(self, stated: bool) -> Drained {
        let sum = |count: &dyn Fn(&LaneState, usize) -> u64| {
            std::array::from_fn(|topic| self.lanes.iter().map(|lane| count(lane, topic)).sum())
        };
        let dead_lettered = sum(&|lane, topic| lane.tracks[topic].dead().total());
        let quarantined =
            sum(&|lane, topic| lane.reader.standing().quarantined[topic].iter().map(|(_, from, to)| to - from).sum());
        let stated = stated && self.lanes.iter().all(|lane| lane.said.as_ref().is_some_and(|said| said.drained));
        let found = self.found;
        let Summary { delivered, remaining, counted_all } = self.summary();
        Drained { delivered, found, dead_lettered, quarantined, remaining, counted_all, stated }
    }
}
