//! Reads every file of a log, frame by frame, and changes nothing: for recovery, and for commands that only look.

mod boundary;
mod file_scan;
mod lane_scan;
mod log_scan;
mod seq_coverage;

pub(super) use self::{
    boundary::DeliveryBoundary,
    lane_scan::{LaneScan, RING_FILE_NUMBER, RingRange},
    log_scan::{LogScan, ScannedLane, ScannedSegment},
    seq_coverage::SeqCoverage,
};
