//! What the reading of a file gives: the file's facts, or the reason why it is not read to its end.

use crate::import::{file_error::FileError, row_block::ReceiverGone};

/// What a file says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) rows: u64,
    /// The number of rows on all pages of the list of which the file is one.
    pub(super) total: Option<u64>,
    /// Whether the file says that another page follows.
    pub(super) has_next_page: bool,
}

/// Why a file is not read to its end.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file is refused.
    File(FileError),
    /// Nobody takes its rows any more.
    ReceiverGone,
}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> ReadError {
        ReadError::File(error)
    }
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> ReadError {
        ReadError::File(FileError::Read(error))
    }
}

impl From<ReceiverGone> for ReadError {
    fn from(_: ReceiverGone) -> ReadError {
        ReadError::ReceiverGone
    }
}
