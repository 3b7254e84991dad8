//! What is asked of a bulk request as a whole.

use crate::catalog::{
    act::Act,
    change::{BatchMode, ExpectedLink},
};

/// What all chunks of a request share.
#[derive(Clone, Debug)]
pub(super) struct BulkChange {
    pub(super) act: Act,
    /// Whether an earlier request had the act: what that one has done counts as done.
    pub(super) is_continued: bool,
    pub(super) mode: BatchMode,
    pub(super) is_dry_run: bool,
    /// What a link has to be before a record takes its place, unless the row names a version.
    pub(super) existing: ExpectedLink,
    /// Which rows the answer has a line for.
    pub(super) reported: ReportedRows,
}

/// Which rows the answer has a line for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportedRows {
    Refused,
    All,
}
