//! How long the disk has not answered. One thread performs operations, another reads the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// When the operation that has not returned yet was begun. Set by one thread at a time.
#[derive(Debug)]
pub(super) struct PendingIo {
    created: Instant,
    /// Nanoseconds after `created`; 0: no operation is pending.
    begun_ns: AtomicU64,
}

/// The reading side of [`PendingIo`].
#[derive(Debug)]
pub(in crate::journal) struct PendingIoTimer(pub(super) Arc<PendingIo>);

impl Default for PendingIo {
    fn default() -> PendingIo {
        PendingIo { created: Instant::now(), begun_ns: AtomicU64::new(0) }
    }
}

impl PendingIo {
    pub(super) fn begin(&self) {
        self.begun_ns.store(self.created.elapsed().as_nanos() as u64 | 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.begun_ns.store(0, Ordering::Relaxed);
    }
}

impl PendingIoTimer {
    /// For how long the operation that is pending now has not returned; `None`: no operation is pending.
    pub(in crate::journal) fn pending_for(&self, now: Instant) -> Option<Duration> {
        let begun = self.0.begun_ns.load(Ordering::Relaxed);
        (begun > 0).then(|| now.saturating_duration_since(self.0.created).saturating_sub(Duration::from_nanos(begun)))
    }
}
