//! Links whose domain no record has made yet: compaction leaves the last record of a domain, which can lie behind those
//! of its links. They wait in a table until the domain follows.

use rusqlite::{Connection, params};

use super::{parked::record_of_row, record::TopicRecord};

/// Lets a link wait, in the place of an earlier record of its key.
pub(super) fn keep(connection: &Connection, record: &TopicRecord) -> rusqlite::Result<()> {
    let author = record.author.as_ref().and_then(|author| serde_json::to_string(author).ok());
    let sql = "INSERT OR REPLACE INTO topic_waiting (key, offset, at_ms, value, author) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![record.key_text(), record.offset, record.at_ms, record.value, author];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Takes the first links of a domain that wait, in the order of their offsets; `limit` at most.
pub(super) fn take_first_of_domain(
    connection: &Connection,
    host: &str,
    limit: usize,
) -> rusqlite::Result<Vec<TopicRecord>> {
    // `0` is the sign behind `/`.
    let sql = "SELECT offset, at_ms, key, value, author FROM topic_waiting \
               WHERE key >= 'l/' || ?1 || '/' AND key < 'l/' || ?1 || '0' ORDER BY offset LIMIT ?2";
    let records: Vec<TopicRecord> = {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map((host, limit as i64), record_of_row)?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for record in &records {
        forget_key(connection, &record.key_text())?;
    }
    Ok(records)
}

/// Forgets the link of a key, because it is removed.
pub(super) fn forget_key(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM topic_waiting WHERE key = ?1")?.execute([key])?;
    Ok(())
}

/// Forgets every link, because the topic is read anew.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM topic_waiting", [])?;
    Ok(())
}
