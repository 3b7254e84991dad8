//! Brings a file of an older format up to the present one. The file is copied first, then changed in one transaction,
//! so that a start that fails or dies in between leaves the older format, and an older build can go back to the copy.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{StoreError, free_name::find_free_name};

/// The newest format. A change of the schema adds a step to [`STEPS`].
pub(super) const FORMAT: i64 = 3;

/// The statements that make the next format of each one, from format 1 on.
const STEPS: [&str; FORMAT as usize - 1] = [
    // Format 1 lacks the changes that outlive a restart; its first builds lack domains, too.
    concat!(include_str!("domain.sql"), include_str!("kept_change.sql")),
    include_str!("format_3.sql"),
];

/// Copies the file, then makes it a file of the present format. Returns the path of the copy.
///
/// # Errors
/// The copy or the change fails; the file has its format of before then.
pub(super) fn copy_then_migrate(connection: &Connection, path: &Path, format: i64) -> Result<PathBuf, StoreError> {
    let copy = copy_and_sync(connection, path, format)?;
    let steps = STEPS.iter().skip(usize::try_from(format - 1).unwrap_or(0)).copied();
    let steps: String = steps.collect();
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {FORMAT}; COMMIT"))?;
    Ok(copy)
}

/// Writes `FILE.format-N.copy-1` beside the file. A copy that is not whole has another name.
fn copy_and_sync(connection: &Connection, path: &Path, format: i64) -> Result<PathBuf, StoreError> {
    let copy = find_free_name(path, &format!(".format-{format}.copy-"));
    let mut unfinished = copy.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let io_error = |error| StoreError::Io { path: copy.display().to_string(), error };
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    connection.execute("VACUUM INTO ?1", [unfinished.display().to_string()])?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io_error)?;
    std::fs::rename(&unfinished, &copy).map_err(io_error)?;
    sync_directory_of(&copy)?;
    Ok(copy)
}

/// Makes the names in the directory of a file outlive a power loss.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::Io { path: directory.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::store::{
        link_rows::{find_link_id, find_new_link_id},
        open::{OpenOutcome, Store},
    };

    /// A file that the first builds of format 1 wrote.
    const FORMAT_1: &str = include_str!("../../../tests/fixtures/catalog/format-1.sql");

    fn read_number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_file_of_an_older_format_is_copied_then_migrated_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        Connection::open(&path).unwrap().execute_batch(FORMAT_1).unwrap();
        // What a copy that broke off has left.
        std::fs::write(dir.path().join("catalog.db.format-1.copy-1.unfinished"), "half").unwrap();
        let (store, outcome) = Store::open_or_create(&path).unwrap();
        let copy = dir.path().join("catalog.db.format-1.copy-1");
        assert_eq!(outcome, OpenOutcome::Migrated { from: 1, copy: copy.clone() });
        assert_eq!(read_number(&store.connection, "PRAGMA user_version"), FORMAT);
        let counts = "SELECT (SELECT count(*) FROM link) * 10000 + (SELECT count(*) FROM gone) * 1000 \
                      + (SELECT count(*) FROM suspension) * 100 + (SELECT count(*) FROM audit) * 10 \
                      + (SELECT count(*) FROM api_key)";
        assert_eq!(read_number(&store.connection, counts), 21_151);
        assert_eq!(read_number(&store.connection, "SELECT count(*) FROM domain"), 0);
        assert_eq!(read_number(&store.connection, "SELECT count(*) FROM kept_change"), 0);
        let copied = Connection::open(&copy).unwrap();
        assert_eq!((read_number(&copied, "PRAGMA user_version"), read_number(&copied, counts)), (1, 21_151));
        assert!(!dir.path().join("catalog.db.format-1.copy-1.unfinished").exists());
        drop((store, copied));
        let (store, outcome) = Store::open_or_create(&path).unwrap();
        assert_eq!(outcome, OpenOutcome::Existing, "it is migrated once");
        // An older build that went back to its copy is migrated again, and the first copy stays.
        drop(store);
        std::fs::copy(&copy, &path).unwrap();
        let (_, outcome) = Store::open_or_create(&path).unwrap();
        let second = dir.path().join("catalog.db.format-1.copy-2");
        assert_eq!(outcome, OpenOutcome::Migrated { from: 1, copy: second });
    }

    #[test]
    fn the_history_of_each_link_is_found_behind_the_step_to_format_3() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let older = format!("{FORMAT_1} {} PRAGMA user_version = 2;", STEPS[0]);
        Connection::open(&path).unwrap().execute_batch(&older).unwrap();
        let (store, outcome) = Store::open_or_create(&path).unwrap();
        assert!(matches!(outcome, OpenOutcome::Migrated { from: 2, .. }), "{outcome:?}");
        let connection = &store.connection;
        // `old` is gone, and its id is none of the links'.
        for (code, changes) in [("tea", 1), ("cup", 2), ("old", 2)] {
            let id = find_link_id(connection, "*", code).unwrap().unwrap();
            let sql = format!("SELECT count(*) FROM audit WHERE link = {id}");
            assert_eq!(read_number(connection, &sql), changes, "{code}");
            assert!(id < find_new_link_id(connection).unwrap());
        }
        assert_eq!(read_number(connection, "SELECT count(*) FROM link JOIN gone ON gone.link = link.id"), 0);
    }

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old.db"), dir.path().join("new.db"));
        Connection::open(&old).unwrap().execute_batch(FORMAT_1).unwrap();
        let tables = |path: &Path| -> Vec<(String, String)> {
            let (store, _) = Store::open_or_create(path).unwrap();
            store.create_missing_indexes().unwrap();
            let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
            let mut statement = store.connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        let (old, new) = (tables(&old), tables(&new));
        let names = |tables: &[(String, String)]| tables.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&old), names(&new));
    }

    #[test]
    fn a_copy_that_fails_leaves_the_older_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        Connection::open(&path).unwrap().execute_batch(FORMAT_1).unwrap();
        // A directory in the place of the copy cannot be replaced.
        std::fs::create_dir_all(dir.path().join("catalog.db.format-1.copy-1.unfinished/x")).unwrap();
        assert!(matches!(Store::open_or_create(&path), Err(StoreError::Io { .. })));
        assert_eq!(read_number(&Connection::open(&path).unwrap(), "PRAGMA user_version"), 1);
    }
}
