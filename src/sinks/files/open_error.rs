//! The error of a start with click files that cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The click files cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub(crate) struct OpenError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl OpenError {
    pub(super) fn new(action: &'static str, path: &Path, source: io::Error) -> OpenError {
        OpenError { action, path: path.to_owned(), source }
    }
}
