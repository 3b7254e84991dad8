//! Logs that the process is not ready any more, and that it is again. The main thread does so and not the workers: a
//! reader of the log that stalls must not stall them.

use crate::{
    faults::{self, log_fault},
    lifecycle::Readiness,
};

/// The state of readiness that was logged last.
pub(super) struct ReadinessLog {
    readiness: Readiness,
    /// `None` before the process was ready for the first time.
    was_ready: Option<bool>,
}

impl ReadinessLog {
    /// Logs changes of `readiness` once the process was ready.
    pub(super) fn new(readiness: Readiness) -> ReadinessLog {
        ReadinessLog { readiness, was_ready: None }
    }

    /// Compares readiness with the last call, and logs a change.
    pub(super) fn log_if_readiness_changed(&mut self) {
        let missing = self.readiness.list_missing_conditions();
        let is_ready = missing.is_empty();
        match self.was_ready {
            Some(true) if !is_ready => log_fault!(
                error,
                faults::NOT_READY,
                missing = missing.join(", "),
                "not ready: disk and sink both fail; a click that finds no space is answered as journal.on_full says"
            ),
            Some(false) if is_ready => tracing::info!("ready again"),
            None if !is_ready => return,
            _ => {}
        }
        self.was_ready = Some(is_ready);
    }
}
