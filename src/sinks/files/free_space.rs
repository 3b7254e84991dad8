//! Watches the free space of the click files' file system.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use metrics::Gauge;

use crate::{
    faults::{self, log_fault},
    metrics as table,
    size::Bytes,
};

const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Space is low below the larger of this and a twentieth of the file system, but at most half of the file system.
const LOW_BYTES: u64 = 1 << 30;

/// The free space, as last seen.
pub(super) struct FreeSpaceMonitor {
    checked_at: Option<Instant>,
    free_bytes: Gauge,
    low_space: Gauge,
}

impl FreeSpaceMonitor {
    pub(super) fn new() -> FreeSpaceMonitor {
        FreeSpaceMonitor {
            checked_at: None,
            free_bytes: table::gauge(&table::CLICK_FILES_FREE_BYTES, &[]),
            low_space: table::gauge(&table::CLICK_FILES_LOW_SPACE, &[]),
        }
    }

    /// Sets the gauges and warns about low space, once an interval.
    pub(super) fn set_free_space_gauges_and_warn_if_due(&mut self, dir: &Path, now: Instant) {
        if self.checked_at.is_some_and(|at| now.duration_since(at) < CHECK_INTERVAL) {
            return;
        }
        self.checked_at = Some(now);
        let Ok(stat) = rustix::fs::statvfs(dir) else { return };
        let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        let low = free < LOW_BYTES.max(total / 20).min(total / 2);
        self.free_bytes.set(free as f64);
        self.low_space.set(f64::from(u8::from(low)));
        if low {
            log_fault!(
                warn,
                faults::CLICK_FILES_ROOM_LOW,
                free = %Bytes(free), dir = %dir.display(),
                "little space is left for click files; no file is deleted unless delivery.files.keep_bytes or keep_age \
                 is set"
            );
        }
    }
}
