//! Looks into a data directory from outside: nothing is locked, nothing is changed, and a running process is not
//! disturbed.

mod commands;
mod location;
mod report;
mod snapshot;

#[cfg(test)]
pub(super) use self::commands::{dump_frames_on_disk_and_count, inspect_on_disk, verify_undelivered_frames_on_disk};
pub use self::{
    commands::{dump_frames_and_count, inspect, verify_undelivered_frames},
    location::{InspectError, QuarantinedFile},
    report::{Inspection, LaneInspection, SegmentInspection, VerifyReport},
    snapshot::RingInspection,
};
pub(super) use self::{
    location::JournalLocation,
    snapshot::{LaneSnapshot, read_snapshots_of_all_lanes},
};
