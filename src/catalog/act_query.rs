//! Reads of acts, and of the lines that each has in the audit.

use rusqlite::OptionalExtension;

use super::{
    apply::one_line_text,
    change::{ChangeRow, ExpectedLink, LinkChange, LinkName},
    query::{AUDIT, AuditLine, CatalogReader, audit_line_of_row},
    store::find_link_id,
};
use crate::model::link::record::Record;

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
    /// What it did beside changes of links, a JSON object.
    pub detail: Option<String>,
}

impl CatalogReader {
    /// An act by its id.
    pub fn find_act(&self, id: &str) -> rusqlite::Result<Option<ActRecord>> {
        let sql = "SELECT id, at_ms, actor, action, reason, detail FROM act WHERE id = ?1";
        let act = self.0.prepare_cached(sql)?.query_row([id], |row| {
            Ok(ActRecord {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                reason: row.get(4)?,
                detail: row.get(5)?,
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

    /// The version that an act gave a link by this very row; `None` if it has not carried the row out.
    pub fn find_version_of_row_done_by_act(
        &self,
        act: &str,
        name: &LinkName,
        row: &ChangeRow,
    ) -> rusqlite::Result<Option<u64>> {
        let Some(link) = find_link_id(&self.0, &name.domain, &name.code)? else { return Ok(None) };
        let sql = "SELECT version, before_version, after FROM audit WHERE link = ?1 AND act = ?2 ORDER BY position";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut lines = statement.query((link, act))?;
        while let Some(line) = lines.next()? {
            let (before_version, after): (Option<u64>, Option<String>) = (line.get(1)?, line.get(2)?);
            if is_row_of_change(row, before_version, after.as_deref()) {
                return line.get(0).map(Some);
            }
        }
        Ok(None)
    }

    /// The place of the latest change in the order of all changes; 0 if there is none.
    pub fn latest_position(&self) -> rusqlite::Result<u64> {
        let position: Option<u64> =
            self.0.prepare_cached("SELECT max(position) FROM audit")?.query_row([], |row| row.get(0))?;
        Ok(position.unwrap_or(0))
    }
}

/// Whether a row makes this change: from a link of the version before (`None`: no link) to this record.
fn is_row_of_change(row: &ChangeRow, before_version: Option<u64>, after: Option<&str>) -> bool {
    let had_expected_link = match row.expected {
        ExpectedLink::Any => true,
        ExpectedLink::Absent | ExpectedLink::AbsentOrSame => before_version.is_none(),
        ExpectedLink::AtVersion(version) => before_version == Some(version),
        ExpectedLink::AtVersionOrDone(version) => before_version == version,
    };
    had_expected_link
        && match (&row.change, after) {
            (LinkChange::Put { record, text }, Some(after)) => {
                let text = one_line_text(record, text.as_deref());
                after == text || serde_json::from_str::<Record>(after).is_ok_and(|after| after == **record)
            }
            (LinkChange::Patch { .. }, Some(_)) | (LinkChange::Delete { .. }, None) => true,
            _ => false,
        }
}
