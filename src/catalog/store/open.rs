//! Opens the file, and makes it if there is none.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    StoreError,
    free_name::find_free_name,
    migrate::{FORMAT, copy_then_migrate, sync_directory_of},
};
use crate::lock_holder::describe_lock_holder;

/// `WPCT`: tells `file` and this build whose database it is.
const APPLICATION_ID: i64 = 0x5750_4354;
/// The tables of a new file. Those that format 1 lacks stand in files of their own.
const SCHEMA: &str = concat!(include_str!("schema.sql"), include_str!("domain.sql"), include_str!("kept_change.sql"));
const INDEXES: &str = include_str!("indexes.sql");
/// The log is written back into the file at this size.
const LOG_BYTES: i64 = 64 << 20;
/// SQLite's default.
const PAGE_BYTES: i64 = 4096;
/// How long a writer waits for a reader of another process, such as `sqlite3` in a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection that writes.
#[derive(Debug)]
pub(in crate::catalog) struct Store {
    pub(in crate::catalog) connection: Connection,
    pub(in crate::catalog) path: PathBuf,
    /// Whether other connections can read beside this one.
    pub(in crate::catalog) is_shared: bool,
}

/// How a connection locks the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locking {
    /// Others read beside it. The index of the log is a file, which needs space on the disk.
    Shared,
    /// Nobody reads beside it, and the index is in memory.
    Exclusive,
}

/// What an open found.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::catalog) enum OpenOutcome {
    /// The file was there and good.
    Existing,
    /// There was none.
    Created,
    /// It was of an older format, and lies as it was under this name.
    Migrated {
        /// The older format.
        from: i64,
        /// The copy.
        copy: PathBuf,
    },
}

impl Store {
    /// Opens the file, or makes it.
    pub(in crate::catalog) fn open_or_create(path: &Path) -> Result<(Store, OpenOutcome), StoreError> {
        let existed = path.exists();
        match Store::open(path, Locking::Shared) {
            Ok((store, Some(outcome))) => Ok((store, outcome)),
            Ok((store, None)) => Ok((store, if existed { OpenOutcome::Existing } else { OpenOutcome::Created })),
            // A full disk must not keep the links from being read.
            Err(error) if existed && error.is_refusal_of_disk() => {
                let (exclusive, outcome) = Store::open(path, Locking::Exclusive).map_err(|_| error)?;
                Ok((exclusive, outcome.unwrap_or(OpenOutcome::Existing)))
            }
            Err(error) => Err(error.with_path(path)),
        }
    }

    /// A store that nothing outlives.
    pub(in crate::catalog) fn open_in_memory() -> Result<Store, StoreError> {
        Store::open(Path::new(":memory:"), Locking::Exclusive).map(|(store, _)| store)
    }

    /// The store, and how it was migrated if it was.
    fn open(path: &Path, locking: Locking) -> Result<(Store, Option<OpenOutcome>), StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if locking == Locking::Exclusive {
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        }
        let text = path.display().to_string();
        let read = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application, format) = (read("application_id")?, read("user_version")?);
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        match (application, format) {
            (0, 0) if tables == 0 => {}
            (APPLICATION_ID, 1..=FORMAT) => {}
            (APPLICATION_ID, found) => return Err(StoreError::NewerFormat { path: text, found, known: FORMAT }),
            _ => return Err(StoreError::Foreign { path: text }),
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "cache_size", -(64 << 10))?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        // A page that many commits change is written back into the file once.
        connection.pragma_update(None, "wal_autocheckpoint", LOG_BYTES / PAGE_BYTES)?;
        connection.set_prepared_statement_cache_capacity(64);
        if tables == 0 {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; \
                 COMMIT"
            ))?;
        }
        let must_migrate = tables > 0 && format < FORMAT;
        let copy = must_migrate.then(|| copy_then_migrate(&connection, path, format)).transpose()?;
        let migrated = copy.map(|copy| OpenOutcome::Migrated { from: format, copy });
        Ok((Store { connection, path: path.to_owned(), is_shared: locking == Locking::Shared }, migrated))
    }

    /// Whether it holds no link.
    pub(in crate::catalog) fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.connection.query_row("SELECT NOT EXISTS (SELECT * FROM link)", [], |row| row.get(0))?)
    }

    /// Makes the indexes that lists need, unless they exist.
    pub(in crate::catalog) fn create_missing_indexes(&self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(INDEXES)?)
    }

    /// Writes the log back into the file and empties it.
    pub(in crate::catalog) fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// A connection that only reads, beside the one that writes.
pub(in crate::catalog) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > FORMAT {
        return Err(StoreError::NewerFormat { path: path.display().to_string(), found, known: FORMAT });
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Renames the file and its log to the first free name.
pub(in crate::catalog) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = find_free_name(path, ".damaged-");
    let rename = |from: PathBuf, to: PathBuf| match std::fs::rename(&from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { path: from.display().to_string(), error })
        }
        _ => Ok(()),
    };
    rename(path.to_owned(), aside.clone())?;
    for suffix in ["-wal", "-shm"] {
        let mut to = aside.as_os_str().to_owned();
        to.push(suffix);
        rename(name(suffix), PathBuf::from(to))?;
    }
    // Else a power loss could bring the damaged file back over the new one.
    sync_directory_of(path)?;
    Ok(aside)
}

impl StoreError {
    /// This error; that of a lock names the process that holds it.
    fn with_path(self, path: &Path) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match &self {
            StoreError::Sqlite(error) if matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked)) => {
                StoreError::Locked { path: path.display().to_string(), holder: describe_lock_holder(path) }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_made_and_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        assert_eq!(Store::open_or_create(&path).unwrap().1, OpenOutcome::Created);
        let (store, outcome) = Store::open_or_create(&path).unwrap();
        assert_eq!(outcome, OpenOutcome::Existing);
        store.create_missing_indexes().unwrap();
        store.checkpoint().unwrap();
        let version: String = store.connection.query_row("SELECT sqlite_version()", [], |row| row.get(0)).unwrap();
        let number: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(number >= vec![3, 51, 3], "{version} has the fault of WAL resets");
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_foreign_or_newer_or_locked_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(Store::open_or_create(&path).unwrap_err().is_corruption());
        let aside = set_aside(&path).unwrap();
        assert_eq!(aside, dir.path().join("catalog.db.damaged-1"));
        assert_eq!(std::fs::read(aside).unwrap(), vec![7; 8192]);
        let (store, _) = Store::open_or_create(&path).unwrap();
        store.connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
        drop(store);
        let newer = FORMAT + 1;
        let is_newer = |error: &StoreError| matches!(error, StoreError::NewerFormat { found, .. } if *found == newer);
        assert!(is_newer(&Store::open_or_create(&path).unwrap_err()));
        assert!(is_newer(&open_read_only(&path).unwrap_err()));
        let foreign = dir.path().join("other.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Store::open_or_create(&foreign), Err(StoreError::Foreign { .. })));
    }
}
