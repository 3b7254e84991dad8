//! The rows of suspensions.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::act::Act;
use crate::links::suspensions::{Dimension, Suspensions, canonical_value};

/// A suspension as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionRow {
    /// What its links have in common.
    pub dimension: Dimension,
    /// The value that they share.
    pub value: String,
    /// The version of the catalog that made it.
    pub version: u64,
    /// Its start, milliseconds since the epoch.
    pub since_ms: u64,
    /// Its end, milliseconds since the epoch; `None`: when somebody ends it.
    pub until_ms: Option<u64>,
    /// Who made it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Where its links lead meanwhile.
    pub fallback_url: Option<String>,
}

/// A suspension that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuspension {
    /// What its links have in common.
    pub dimension: Dimension,
    /// The value that they share.
    pub value: String,
    /// Its end, milliseconds since the epoch.
    pub until_ms: Option<u64>,
    /// Why.
    pub reason: String,
    /// Where its links lead meanwhile.
    pub fallback_url: Option<String>,
}

impl SuspensionRow {
    const COLUMNS: &str = "dimension, value, version, since_ms, until_ms, actor, reason, fallback_url";

    pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SuspensionRow>> {
        let sql = format!("SELECT {} FROM suspension ORDER BY dimension, value", SuspensionRow::COLUMNS);
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], SuspensionRow::from_row)?;
        rows.filter_map(Result::transpose).collect()
    }

    pub(super) fn find(
        connection: &Connection,
        dimension: Dimension,
        value: &str,
    ) -> rusqlite::Result<Option<SuspensionRow>> {
        let sql = format!("SELECT {} FROM suspension WHERE dimension = ?1 AND value = ?2", SuspensionRow::COLUMNS);
        let value = canonical_value(dimension, value);
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row([dimension.as_str(), &value], SuspensionRow::from_row).optional()?.flatten())
    }

    /// `None` if this build does not know the dimension.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<SuspensionRow>> {
        let dimension: String = row.get(0)?;
        let Some(dimension) = Dimension::from_word(&dimension) else { return Ok(None) };
        Ok(Some(SuspensionRow {
            dimension,
            value: row.get(1)?,
            version: row.get(2)?,
            since_ms: row.get(3)?,
            until_ms: row.get(4)?,
            actor: row.get(5)?,
            reason: row.get(6)?,
            fallback_url: row.get(7)?,
        }))
    }

    /// Writes the suspension, in the place of an earlier one of its value.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT OR REPLACE INTO suspension ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            SuspensionRow::COLUMNS
        );
        connection.prepare_cached(&sql)?.execute(params![
            self.dimension.as_str(),
            self.value,
            self.version,
            self.since_ms,
            self.until_ms,
            self.actor,
            self.reason,
            self.fallback_url
        ])?;
        Ok(())
    }

    pub(super) fn delete(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "DELETE FROM suspension WHERE dimension = ?1 AND value = ?2";
        connection.prepare_cached(sql)?.execute([self.dimension.as_str(), &self.value])?;
        Ok(())
    }
}

impl NewSuspension {
    /// The row of this suspension.
    pub(super) fn into_row(self, act: &Act, version: u64, now_ms: u64) -> SuspensionRow {
        SuspensionRow {
            dimension: self.dimension,
            value: canonical_value(self.dimension, &self.value),
            version,
            since_ms: now_ms,
            until_ms: self.until_ms,
            actor: act.actor.clone(),
            reason: self.reason,
            fallback_url: self.fallback_url,
        }
    }
}

/// What the audit says of a suspension that is made, replaced or ended.
pub(super) fn detail_of_suspension(before: Option<&SuspensionRow>, after: Option<&SuspensionRow>) -> serde_json::Value {
    let to_json = |row: &SuspensionRow| {
        let SuspensionRow { until_ms, reason, fallback_url, .. } = row;
        serde_json::json!({"until_ms": until_ms, "reason": reason, "fallback_url": fallback_url})
    };
    let named = after.or(before);
    serde_json::json!({
        "dimension": named.map(|row| row.dimension.as_str()),
        "value": named.map(|row| &row.value),
        "before": before.map(to_json),
        "after": after.map(to_json),
    })
}

/// The set that clicks ask.
pub(super) fn load_suspensions(connection: &Connection) -> rusqlite::Result<Suspensions> {
    let mut suspensions = Suspensions::default();
    for row in SuspensionRow::list(connection)? {
        suspensions.insert(row.dimension, &row.value, row.until_ms, row.fallback_url.as_deref());
    }
    Ok(suspensions)
}
