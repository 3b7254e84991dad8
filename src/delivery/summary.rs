//! The results of a delivery that has ended.

/// The result of one topic's run that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Clicks delivered by this process.
    pub delivered: u64,
    /// Clicks that stay in the journal for the next start.
    pub remaining: u64,
    /// Whether `remaining` is complete; else the count took too long, and at least so many clicks remain.
    pub counted_all: bool,
}

/// The result of one topic's drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSummary {
    /// Clicks delivered, those of `already_delivered` included.
    pub delivered: u64,
    /// Clicks that the sink held before, although the journal did not know.
    pub already_delivered: u64,
    /// Clicks refused even alone: whole in a dead-letter file, a stub in the topic.
    pub dead_lettered: u64,
    /// Clicks whose bytes are damaged.
    pub quarantined: u64,
    /// Clicks that stay in the journal.
    pub remaining: u64,
    /// Whether `remaining` is complete; else at least so many clicks remain.
    pub counted_all: bool,
    /// Whether each lane has published on its topic that it is drained.
    pub stated: bool,
}
