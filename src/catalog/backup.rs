//! Copies and checks of the catalog's file.

use std::path::Path;

use rusqlite::Connection;

use super::{
    query::CatalogReader,
    store::{Meta, StoreError},
};

impl CatalogReader {
    /// Writes the whole catalog to a new file, as it is at one moment.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn back_up_to(&self, path: &Path) -> Result<(), StoreError> {
        if path.exists() {
            let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(StoreError::Io { path: path.display().to_string(), error });
        }
        self.0.execute("VACUUM INTO ?1", [path.display().to_string()])?;
        if Meta::TopicState.read(&self.0)?.is_some() {
            forget_changes_that_wait(path)?;
        }
        Ok(())
    }

    /// What SQLite finds wrong with the file: none if it is sound.
    pub fn find_damage(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.0.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(if lines == ["ok"] { Vec::new() } else { lines })
    }
}

/// The copy of an edge that shares its links is the start of another edge, which must not change them a second time.
fn forget_changes_that_wait(copy: &Path) -> rusqlite::Result<()> {
    Connection::open(copy)?.execute("DELETE FROM kept_change WHERE state IN ('scheduled', 'running')", []).map(drop)
}
