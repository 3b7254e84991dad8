//! The state of a lane, for its statement.

use crate::journal::{
    epoch_ends::EpochEnd,
    units::{Seq, SeqRange, Watermark},
};

/// Ranges in a lane's state, so that its statement fits a record.
pub(super) const MAX_STATED_RANGES: usize = 256;

/// The state of a lane, as its statement on the topic of lanes needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The next number in the lane's epoch.
    pub next_seq: Seq,
    /// How far the lane is delivered or synced.
    pub durable: Watermark,
    /// Clicks of this epoch that were answered and not recorded: they found no room, and have no number.
    pub unrecorded: u64,
    /// How earlier epochs ended, the latest last; 256 at most.
    pub epoch_ends: Vec<EpochEnd>,
    /// Numbers whose clicks are damaged or gone: the highest 256 ranges, in order.
    pub quarantined: Vec<SeqRange>,
    /// How many numbers lie in lower ranges, which are left out.
    pub quarantined_omitted: u64,
}
