//! Recovery of a log at the start: reads what its files hold, makes them consistent and opens the next epoch of each
//! lane. The first two steps are taken for all lanes together, the others lane by lane.
//!
//! 1. Reads the checkpoints, and opens the rings that belong to this directory.
//! 2. Scans the segments once, frame by frame, each lane from its acknowledged position on: the highest that any file
//!    names, for each of them is a safe lower bound. If a block names a higher one, scans again.
//! 3. Scans the ring, and so finds the condition of the lane: [`LaneCondition`](crate::journal::LaneCondition). Copies
//!    frames that segments have lost and that a ring which stays in place still holds (`rescue`).
//! 4. Stores how the last epoch ended (`epoch_ends`), durably, before any file names the next one.
//! 5. If the lane is cut, keeps the ring for reading (`salvage`) and makes a new one, with positions above all that
//!    were ever used.
//! 6. Makes the union of all frames by position, counts the missing ones and stores their numbers. Damaged files are
//!    kept as evidence.
//! 7. Writes the checkpoint of the new epoch, durably, before the first click.

mod condition;
mod context;
mod epoch_ends;
mod lane;
mod log;
mod rescue;
mod ring;
mod salvage;

pub(super) use self::{
    lane::RecoveredLane,
    log::{LogRecoveryContext, RecoveredLog, recover_log_and_begin_next_epochs},
};
