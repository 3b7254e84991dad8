//! Why a file is refused as a whole.

use std::io;

/// The reason, without the file's name: the caller knows that.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The caller could not take a row.
    #[error("{0}")]
    Output(#[source] io::Error),
    /// The file's form is not the one of its format, or the file is not complete.
    #[error("{0}")]
    Refused(String),
}

impl FileError {
    pub(super) fn refused(message: impl Into<String>) -> FileError {
        FileError::Refused(message.into())
    }
}
