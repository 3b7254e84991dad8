//! The catalog's SQLite file: how it is opened, and the rows of its tables.
//!
//! `DATA/catalog.db` is in WAL mode and synced at each commit. One connection writes, others only read. Operators may
//! look in with `sqlite3`. The tables stand in `schema.sql`; `user_version` is the number of the format. A file of a
//! newer format is refused. A file that is no database any more is set aside, never deleted.

mod link_rows;
mod meta;
mod open;

pub(super) use self::{
    link_rows::{GoneRow, LinkRow, StoredLink, delete_ready_bytes, write_ready_bytes},
    meta::Meta,
    open::{OpenOutcome, Store, open_read_only},
};

/// Why the catalog's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to it.
    #[error("{path}: another process has locked it; stop that process (`fuser {path}` names it)")]
    Locked {
        /// The file.
        path: String,
    },
    /// A newer build made it.
    #[error("{path}: has format {found}, this build knows {known}; run the newer build, or restore a backup")]
    NewerFormat {
        /// The file.
        path: String,
        /// The format's number in the file.
        found: i64,
        /// The newest number that this build knows.
        known: i64,
    },
    /// The file is no catalog.
    #[error("{path}: is an SQLite file of another program; move it away")]
    Foreign {
        /// The file.
        path: String,
    },
    /// SQLite refuses.
    #[error("the catalog's file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system refuses.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

impl StoreError {
    /// Whether the disk refuses: it is full, fails, or may not be written.
    pub fn is_refusal_of_disk(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
        match self {
            StoreError::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(DiskFull | SystemIoFailure | CannotOpen | ReadOnly | PermissionDenied)
            ),
            StoreError::Io { .. } => true,
            _ => false,
        }
    }

    /// Whether the file's bytes are damaged.
    pub(super) fn is_corruption(&self) -> bool {
        let StoreError::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        )
    }
}
