//! Records that were skipped. Each is listed until a good record of its key follows.

use rusqlite::{Connection, params};

use super::record::{Rejection, TopicRecord};
use crate::catalog::query::CatalogReader;

/// Records that are kept at most; the oldest ones go.
const MAX_KEPT: u32 = 10_000;

/// A record that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its offset.
    pub offset: u64,
    /// When it was written, milliseconds since the epoch.
    pub at_ms: u64,
    /// Its key; "" for none.
    pub key: String,
    /// Why, as a metric names it.
    pub reason: String,
    /// What was found.
    pub detail: String,
}

/// Keeps a record that is skipped.
pub(super) fn keep(connection: &Connection, record: &TopicRecord, rejection: &Rejection) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO topic_rejected VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![record.offset, record.at_ms, record.key_text(), rejection.reason.as_str(), rejection.detail];
    connection.prepare_cached(sql)?.execute(values)?;
    let sql = "DELETE FROM topic_rejected WHERE offset <= \
               (SELECT offset FROM topic_rejected ORDER BY offset DESC LIMIT 1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute([MAX_KEPT])?;
    Ok(())
}

/// Forgets the records of a key, because a good one has followed.
pub(super) fn forget_key(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM topic_rejected WHERE key = ?1")?.execute([key])?;
    Ok(())
}

/// Forgets every record, because the topic is read anew.
pub(super) fn forget_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM topic_rejected", [])?;
    Ok(())
}

/// How many records are kept.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT count(*) FROM topic_rejected")?.query_row([], |row| row.get(0))
}

impl CatalogReader {
    /// The newest skipped records of the topic of links, the newest first; `limit` at most.
    pub fn list_rejected_records(&self, limit: usize) -> rusqlite::Result<Vec<RejectedRecord>> {
        // A start that has never reached the topic has made no table yet.
        let known = "SELECT 1 FROM sqlite_schema WHERE name = 'topic_rejected'";
        if !self.0.prepare_cached(known)?.exists([])? {
            return Ok(Vec::new());
        }
        let sql = "SELECT offset, at_ms, key, reason, detail FROM topic_rejected ORDER BY offset DESC LIMIT ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([limit as i64], |row| {
            Ok(RejectedRecord {
                offset: row.get(0)?,
                at_ms: row.get(1)?,
                key: row.get(2)?,
                reason: row.get(3)?,
                detail: row.get(4)?,
            })
        })?;
        rows.collect()
    }
}
