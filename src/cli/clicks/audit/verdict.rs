//! The result of an audit: what is present, missing, lost or unproved, by lane.

use serde::Serialize;

use crate::events::statement::SeqRange;

/// The clicks of a lane, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ClickCounts {
    /// Clicks on the topic, without stubs.
    pub(super) present: u64,
    pub(super) repeats: u64,
    /// Stubs on the topic, and numbers without a stub that the lane states as dead letters.
    pub(super) dead_lettered: u64,
    pub(super) quarantined: u64,
    /// Stated as delivered, and absent.
    pub(super) missing: Vec<SeqRange>,
    /// Given in an epoch that a power loss ended, and neither delivered nor synced before it.
    pub(super) lost_by_cut: Vec<SeqRange>,
    /// In the edge's journal, or on the way.
    #[serde(rename = "not_shipped")]
    pub(super) not_delivered: u64,
    /// Neither proved to be complete nor known to be missing.
    pub(super) unproved: u64,
}

impl ClickCounts {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.lost_by_cut.is_empty() && self.not_delivered + self.unproved == 0
    }
}

/// The result for one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LaneVerdict {
    pub(super) edge: String,
    pub(super) topic: String,
    pub(super) lane: u16,
    /// Every click before this time is on the topic, or in one of the counts below. Milliseconds since the Unix epoch.
    pub(super) complete_to_ms: Option<u64>,
    #[serde(flatten)]
    pub(super) clicks: ClickCounts,
    /// Clicks that were answered without a record, because the journal was full: they have no number and are on no
    /// topic.
    pub(super) unrecorded: u64,
    /// Epochs without a stated end: a copy of the data directory ran, or statements are gone.
    pub(super) forked: Vec<u64>,
    /// Epochs that a power loss ended, and the time of the last statement before it: later clicks can be lost without a
    /// trace.
    pub(super) cut: Vec<(u64, Option<u64>)>,
    /// The time of the last statement of a lane that was open then and has made no statement since.
    pub(super) silent_since_ms: Option<u64>,
}

impl LaneVerdict {
    /// Whether a delivered click is missing.
    pub(super) fn has_missing(&self) -> bool {
        !self.clicks.missing.is_empty()
    }

    /// Whether every click of the lane is proved to be on its topic.
    pub(super) fn is_complete(&self) -> bool {
        self.clicks.is_complete() && self.forked.is_empty() && self.cut.is_empty() && self.silent_since_ms.is_none()
    }
}
