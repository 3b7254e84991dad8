//! What every step of a lane's recovery needs to know.

use std::{
    path::Path,
    sync::atomic::{self, AtomicU64},
};

use crate::{
    faults::{self, log_fault},
    journal::{
        checkpoint::{Checkpoint, CheckpointsFile},
        disk::Disk,
        error::{OpenError, with_path},
        lane_files::LaneFiles,
        layout,
        ring_file::RingFile,
        scan::LaneScan,
        units::Position,
    },
};

/// The lane to be recovered, and its surroundings.
#[derive(Debug)]
pub(in crate::journal) struct LaneRecoveryContext<'a> {
    pub(in crate::journal) disk: &'a Disk,
    /// The name of the log.
    pub(in crate::journal) log: &'static str,
    pub(in crate::journal) files: LaneFiles<'a>,
    pub(in crate::journal) boot_id: [u8; 16],
    /// The size of rings in the configuration.
    pub(in crate::journal) ring_bytes: u64,
    /// A worker will append to the lane; if not, the lane is only drained.
    pub(in crate::journal) has_worker: bool,
    pub(in crate::journal) wall_ms: u64,
    pub(in crate::journal) checkpoints: &'a CheckpointsFile,
    /// The next number of a segment or salvaged ring of the log.
    pub(in crate::journal) next_file_number: &'a AtomicU64,
}

/// What the files of the lane say before recovery changes any of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) checkpoint: Option<&'a Checkpoint>,
    pub(super) ring: Option<&'a RingFile>,
    pub(super) scan: &'a LaneScan,
    /// The position below which everything is delivered.
    pub(super) acked: Position,
}

impl LaneRecoveryContext<'_> {
    /// A number that no segment and no salvaged ring of the log has.
    pub(super) fn take_file_number(&self) -> u64 {
        self.next_file_number.fetch_add(1, atomic::Ordering::Relaxed)
    }

    /// Moves a file into the quarantine below `base_dir`, and logs the fault.
    pub(super) fn quarantine_and_log(&self, path: &Path, base_dir: &Path) -> Result<(), OpenError> {
        log_fault!(
            error,
            faults::FILE_PUT_ASIDE,
            path = %path.display(),
            "damaged, of another version or of another directory: moved to the quarantine, not read"
        );
        let name = path.file_name().unwrap_or_default();
        with_path(
            path,
            layout::move_to_quarantine_under_free_name(self.disk, path, &base_dir.join(layout::QUARANTINE), name),
        )
    }
}
