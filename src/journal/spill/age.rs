//! How long frames have waited in a ring to become durable.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    clock,
    journal::{lane::LaneShared, units::Position},
};

/// The most samples kept of a ring that nobody empties. Further samples are merged into the last one.
const MAX_SAMPLES: usize = 4096;

/// Bounds the age of the oldest frame in a ring that is not durable, from samples of the head.
#[derive(Debug, Default)]
pub(super) struct AgeTracker {
    samples: VecDeque<HeadSample>,
    last_sample_at: Option<Instant>,
    inherited: Option<InheritedFrames>,
}

/// The frames below `head` that are not below the previous sample's were appended at this time or later.
#[derive(Clone, Copy, Debug)]
struct HeadSample {
    appended_since: Instant,
    head: Position,
}

/// Frames that lay in the ring alone when this process opened it.
#[derive(Clone, Copy, Debug)]
struct InheritedFrames {
    /// The age of the oldest at most, by the wall clock, when the ring was opened.
    max_age: Duration,
    opened_at: Instant,
    /// The end of the last one.
    end: Position,
}

impl AgeTracker {
    /// For a ring that was just opened.
    pub(super) fn new_with_frames_inherited_at_open(shared: &LaneShared) -> AgeTracker {
        let (head, since_ms) = (shared.ring.head(), shared.ring.undurable_since_ms());
        let max_age = Duration::from_millis(clock::wall_ms().saturating_sub(since_ms));
        let has_inherited = head > shared.durable_position() && since_ms > 0;
        let inherited = InheritedFrames { max_age, opened_at: clock::now(), end: head };
        AgeTracker { inherited: has_inherited.then_some(inherited), ..AgeTracker::default() }
    }

    /// Takes a sample of the head, and returns the age of the oldest frame at or above `durable`, at most. `None`:
    /// there is none.
    pub(super) fn sample_head_and_get_age_bound_of_oldest_frame_above(
        &mut self,
        now: Instant,
        head: Position,
        durable: Position,
    ) -> Option<Duration> {
        // Two threads take samples, and one may come with the older time.
        let now = self.last_sample_at.map_or(now, |last| last.max(now));
        let appended_since = self.last_sample_at.replace(now).unwrap_or(now);
        let is_full = self.samples.len() >= MAX_SAMPLES;
        match self.samples.back_mut() {
            Some(last) if last.head >= head => {}
            Some(last) if is_full => last.head = head,
            _ => self.samples.push_back(HeadSample { appended_since, head }),
        }
        while self.samples.front().is_some_and(|sample| sample.head <= durable) {
            self.samples.pop_front();
        }
        self.inherited = self.inherited.filter(|inherited| durable < inherited.end);
        match self.inherited {
            Some(inherited) => Some(inherited.max_age + now.saturating_duration_since(inherited.opened_at)),
            None => self.samples.front().map(|sample| now.saturating_duration_since(sample.appended_since)),
        }
    }
}
