//! Records of links and domains that came while links were frozen. They wait in their order for the end of the freeze.

use rusqlite::{Connection, params};

use super::record::TopicRecord;

/// Lets a record wait.
pub(super) fn park(connection: &Connection, record: &TopicRecord) -> rusqlite::Result<()> {
    let author = record.author.as_ref().and_then(|author| serde_json::to_string(author).ok());
    let sql = "INSERT OR REPLACE INTO topic_parked VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![record.offset, record.at_ms, record.key_text(), record.value, author];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Takes the first records that wait, in their order; `limit` at most.
pub(super) fn take_first(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<TopicRecord>> {
    let sql = "SELECT offset, at_ms, key, value, author FROM topic_parked ORDER BY offset LIMIT ?1";
    let records: Vec<TopicRecord> = {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([limit as i64], record_of_row)?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    if let Some(last) = records.last() {
        connection.prepare_cached("DELETE FROM topic_parked WHERE offset <= ?1")?.execute([last.offset])?;
    }
    Ok(records)
}

/// Drops every record that waits.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM topic_parked", [])?;
    Ok(())
}

/// A record of the columns offset, at_ms, key, value and author.
pub(super) fn record_of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TopicRecord> {
    let (key, author): (String, Option<String>) = (row.get(2)?, row.get(4)?);
    Ok(TopicRecord {
        offset: row.get(0)?,
        at_ms: row.get(1)?,
        key: Some(key.into_bytes()),
        value: row.get(3)?,
        author: author.and_then(|text| serde_json::from_str(&text).ok()),
    })
}
