//! The tables of the topic in the catalog's file. They are made with the first start that reads a topic.

use rusqlite::Connection;

const TABLES: &str = "
-- Records that wait for the end of a freeze.
CREATE TABLE IF NOT EXISTS topic_parked (
  offset INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  key TEXT NOT NULL,
  value BLOB,
  author TEXT
) STRICT;
-- The last record of each link whose domain is not known yet.
CREATE TABLE IF NOT EXISTS topic_waiting (
  key TEXT PRIMARY KEY,
  offset INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  value BLOB NOT NULL,
  author TEXT
) STRICT, WITHOUT ROWID;
-- The last record of each key, while the topic is read anew.
CREATE TABLE IF NOT EXISTS topic_stage (
  key TEXT PRIMARY KEY,
  offset INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  value BLOB NOT NULL,
  author TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS topic_stage_offset ON topic_stage (offset);
-- Records that were skipped, until a good one of their key follows.
CREATE TABLE IF NOT EXISTS topic_rejected (
  offset INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  key TEXT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS topic_rejected_key ON topic_rejected (key);
";

/// Makes the tables, unless they exist.
pub(super) fn create_missing_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}
