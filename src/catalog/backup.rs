//! Copies and checks of the catalog's file.

use std::path::Path;

use super::{query::CatalogReader, store::StoreError};

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
        Ok(())
    }

    /// What SQLite finds wrong with the file: none if it is sound.
    pub fn find_damage(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.0.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(if lines == ["ok"] { Vec::new() } else { lines })
    }
}
