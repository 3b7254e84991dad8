//! The catalog's SQLite file: how it is opened, and the rows of its tables.
//!
//! `DATA/catalog.db` is in WAL mode and synced at each commit. One connection writes, others only read. Operators may
//! look in with `sqlite3`. The tables stand in `schema.sql`; `user_version` is the number of the format. A file of a
//! newer format is refused, one of an older format is copied, then migrated (`migrate`). A damaged file is set aside if
//! its links have another home, and never deleted.

mod free_name;
mod link_rows;
mod meta;
mod migrate;
mod open;

pub(super) use self::{
    link_rows::{GoneRow, LinkRow, StoredLink, delete_ready_bytes, find_link_id, find_new_link_id, write_ready_bytes},
    meta::Meta,
    open::{OpenOutcome, Store, open_read_only, set_aside},
};

/// Why the catalog's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to it.
    #[error("{path}: another process has locked it{holder}; stop that process, or wait for its end")]
    Locked {
        /// The file.
        path: String,
        /// ` (process PID)`, as far as the system tells.
        holder: String,
    },
    /// The file is damaged, and the links have no other home.
    #[error(
        "{path}: is damaged ({why}), and the links have no other home; it is left as it is. `waypost links verify` \
         says what is wrong; put a copy of `waypost links backup` in its place, or repair it with sqlite3's \
         `.recover`, then remove {path}-wal and {path}-shm"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What SQLite says.
        why: String,
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

    /// This error; that of a damaged file says what to do.
    pub(super) fn or_damaged(self, path: &std::path::Path) -> StoreError {
        match self.is_corruption() {
            true => StoreError::Damaged { path: path.display().to_string(), why: self.to_string() },
            false => self,
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
