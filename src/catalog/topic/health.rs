//! Whether the edge may take traffic: the links of the topic are there, and not too old.

use std::time::{Duration, Instant};

use crate::lifecycle::Latch;

/// A start that has the links of the run before waits so long for the end of the topic, then serves them.
const CATCH_UP_TIME: Duration = Duration::from_secs(10);

/// The conditions of readiness that the topic sets.
#[derive(Debug)]
pub struct TopicConditions {
    /// The links are read, or those of the run before are served.
    pub read: Latch,
    /// The links are not older than this; `None`: old links are served.
    pub fresh: Option<(Latch, Duration)>,
}

/// What is known of the links while the topic is read.
pub(super) struct TopicHealth {
    conditions: TopicConditions,
    started: Instant,
    has_last_good: bool,
    was_at_end: bool,
}

impl TopicHealth {
    /// `has_last_good`: whether links of an earlier run are served.
    pub(super) fn new(conditions: TopicConditions, has_last_good: bool) -> TopicHealth {
        TopicHealth { conditions, started: Instant::now(), has_last_good, was_at_end: false }
    }

    /// The end of the topic was reached, and everything before it is served.
    pub(super) fn mark_at_end(&mut self) {
        self.was_at_end = true;
    }

    /// Sets the conditions. `at_end_ms`: when the end was reached last, 0 if never.
    pub(super) fn update(&self, at_end_ms: u64, now_ms: u64) {
        let gives_up_waiting = self.has_last_good && self.started.elapsed() >= CATCH_UP_TIME;
        self.conditions.read.set(self.was_at_end || gives_up_waiting);
        if let Some((fresh, max_age)) = &self.conditions.fresh {
            let age_ms = u128::from(now_ms.saturating_sub(at_end_ms));
            fresh.set(at_end_ms > 0 && age_ms <= max_age.as_millis());
        }
    }
}
