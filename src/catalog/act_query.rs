//! Reads of acts, and of the lines that each has in the audit.

use rusqlite::OptionalExtension;

use super::query::{AUDIT, AuditLine, CatalogReader, audit_line_of_row};

/// What somebody did at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActRecord {
    /// Names it in the audit.
    pub id: String,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// What sort of act.
    pub action: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

impl CatalogReader {
    /// An act by its id.
    pub fn find_act(&self, id: &str) -> rusqlite::Result<Option<ActRecord>> {
        let sql = "SELECT id, at_ms, actor, action, reason FROM act WHERE id = ?1";
        let act = self.0.prepare_cached(sql)?.query_row([id], |row| {
            Ok(ActRecord {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                reason: row.get(4)?,
            })
        });
        act.optional()
    }

    /// The changes of an act behind a position, the earliest first; `limit` at most.
    pub fn list_changes_of_act(&self, id: &str, after: u64, limit: usize) -> rusqlite::Result<Vec<AuditLine>> {
        let sql = format!("{AUDIT} WHERE act = ?1 AND position > ?2 ORDER BY position LIMIT ?3");
        let mut statement = self.0.prepare_cached(&sql)?;
        statement.query_map((id, after, limit), audit_line_of_row)?.collect()
    }

    /// The place of the latest change in the order of all changes; 0 if there is none.
    pub fn latest_position(&self) -> rusqlite::Result<u64> {
        let position: Option<u64> =
            self.0.prepare_cached("SELECT max(position) FROM audit")?.query_row([], |row| row.get(0))?;
        Ok(position.unwrap_or(0))
    }
}
