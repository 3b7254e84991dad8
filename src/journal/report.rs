//! What recovery found in a lane, for the log, the metrics and the statements.

use crate::journal::units::{Epoch, Position, Watermark};

/// The condition in which a lane was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneCondition {
    /// Nothing was ever appended to the lane.
    Fresh,
    /// The lane was closed in good order: everything below the head is delivered or in segments. The ring is not
    /// needed.
    Clean {
        /// The position at which the lane continues.
        head: Position,
    },
    /// The process died, the machine did not: every frame that is not durable is in the ring, which stays in place.
    Intact,
    /// The machine died, or the ring is gone or damaged: frames that were not durable may be missing. The frames that
    /// are left in the ring are read.
    Cut,
}

/// What recovery found in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The name of the log.
    pub log: &'static str,
    /// The lane's number.
    pub lane: u16,
    /// The epoch that was opened now; [`Epoch::NONE`] for a lane without a worker.
    pub epoch: Epoch,
    /// The condition in which the lane was found.
    pub condition: LaneCondition,
    /// The epoch before, and the next number in it as far as is known; exact unless the lane was cut.
    pub last_epoch: Option<Watermark>,
    /// Clicks that are not known to be delivered, damaged clicks included. Clicks that a power loss may have taken are
    /// not included, because it is not known whether they were delivered: see
    /// [`EpochEnd::cut`](crate::journal::EpochEnd::cut).
    pub recovered: u64,
    /// Of the recovered clicks, those whose numbers are missing: their bytes are damaged, and there is no good copy.
    pub quarantined: u64,
    /// Damaged places in segments.
    pub damaged: u64,
    /// Files that were moved to the quarantine, because they are damaged or of another version.
    pub quarantined_files: u64,
    /// Bytes from the first undelivered position to the head.
    pub backlog_bytes: u64,
}
