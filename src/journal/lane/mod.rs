//! The ends of a running lane: the worker's writer, the reader of the delivery, and what these share with the spiller.

mod batch;
mod delivered_tail;
mod extent_walk;
mod failed_pages;
mod malformed_frames;
mod progress;
mod reader;
mod shared;
mod status;
mod writer;

pub use self::{
    batch::{Batch, MAX_BATCH_BYTES},
    delivered_tail::TailCoverage,
    reader::{LaneReader, ReadError},
    status::LaneStatus,
    writer::{LaneFull, LaneWriter},
};
pub(super) use self::{
    delivered_tail::DeliveredTail,
    malformed_frames::MalformedFramesFile,
    progress::{DamagedSeqs, LaneProgress},
    reader::LaneReaderParts,
    shared::LaneShared,
};
