//! The spiller: copies frames that wait too long from the rings into segments, writes the checkpoints, removes segments
//! that are delivered, and publishes the journal's metrics.

mod age;
mod lane;
mod metrics;
mod observer;
mod segment_files;
mod segment_log;
mod segment_writer;
mod spiller;

pub use self::spiller::Spiller;
pub(super) use self::{
    lane::{OpenRingFile, SpillLane, SpillLaneParts},
    segment_log::{SegmentLog, SegmentLogParts},
};
