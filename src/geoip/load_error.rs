//! Why an MMDB file is not used.

use std::{io, path::PathBuf};

use maxminddb::MaxMindDbError;

use super::config::DatabaseKind;

/// Why a file is not used. The message names the key and the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}: {reason}", kind.key(), path.display())]
pub struct LoadError {
    kind: DatabaseKind,
    path: PathBuf,
    #[source]
    reason: RefusedFile,
}

impl LoadError {
    pub(super) fn new(kind: DatabaseKind, path: PathBuf, reason: RefusedFile) -> LoadError {
        LoadError { kind, path, reason }
    }

    /// Whether the file cannot be read at all.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.reason, RefusedFile::Unreadable(_) | RefusedFile::NoFile)
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedFile {
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("is no regular file")]
    NoFile,
    #[error("is no whole MMDB file: {0}; fetch it again")]
    NotMmdb(#[source] MaxMindDbError),
    #[error("is damaged: {0}; fetch it again")]
    Damaged(#[source] MaxMindDbError),
    #[error("has {} in no record; its type is {database_type:?}; name a file that has it", kind.asked_fields())]
    OtherType { kind: DatabaseKind, database_type: String },
}

impl DatabaseKind {
    const fn asked_fields(self) -> &'static str {
        match self {
            DatabaseKind::Country => "country.iso_code or country_code",
            DatabaseKind::Network => "autonomous_system_number or asn",
            DatabaseKind::DataCentre => "is_hosting_provider",
        }
    }
}
