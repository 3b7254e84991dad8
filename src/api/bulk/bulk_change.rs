//! What is asked of a bulk request as a whole.

use crate::catalog::{act::Act, change::BatchMode};

/// What all chunks of a request share.
#[derive(Clone, Debug)]
pub(super) struct BulkChange {
    pub(super) act: Act,
    pub(super) mode: BatchMode,
    pub(super) is_dry_run: bool,
}
