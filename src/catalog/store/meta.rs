//! The single values of the catalog, by name.

use rusqlite::{Connection, OptionalExtension, params};

/// A single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalog) enum Meta {
    /// The version of the catalog.
    Version,
    /// The latest time of a commit, so that a clock that goes back renews nothing.
    LatestMs,
    /// Of domains, rules and format, for which the bytes in `ready` were made.
    ReadyFingerprint,
    /// The version of the links file that the links are those of.
    FileVersion,
    /// Why writes are refused; absent: they are not.
    Frozen,
    /// The secret by which cursors of lists are signed.
    CursorKey,
    /// How far the topic of links is read.
    TopicState,
}

impl Meta {
    const fn name(self) -> &'static str {
        match self {
            Meta::Version => "version",
            Meta::LatestMs => "latest_ms",
            Meta::ReadyFingerprint => "ready_fingerprint",
            Meta::FileVersion => "file_version",
            Meta::Frozen => "frozen",
            Meta::CursorKey => "cursor_key",
            Meta::TopicState => "topic_state",
        }
    }

    pub(in crate::catalog) fn read(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        statement.query_row([self.name()], |row| row.get(0)).optional()
    }

    /// The value as a number; 0 if it is absent.
    pub(in crate::catalog) fn read_number(self, connection: &Connection) -> rusqlite::Result<u64> {
        Ok(self.read(connection)?.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// Sets the value; `None` removes it.
    pub(in crate::catalog) fn write(self, connection: &Connection, value: Option<&str>) -> rusqlite::Result<()> {
        match value {
            Some(value) => connection
                .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?
                .execute(params![self.name(), value])?,
            None => connection.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([self.name()])?,
        };
        Ok(())
    }
}
