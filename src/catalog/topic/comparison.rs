//! Compares the links that are served with those that an edge would have that starts anew. Compaction leaves the newest
//! record of a key: if that one was skipped here, this edge serves the link before it, and no other edge can.
//!
//! The topic is read from its beginning beside the links that are served. Only what was read before the comparison
//! began is judged; links that change meanwhile are those of the next one.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::{
    record::{TopicRecord, is_gone_value},
    record_key::RecordKey,
};
use crate::catalog::{change::LinkName, row_set::RowSet};

/// Links that are looked at with one query.
const LINKS_AT_ONCE: usize = 1_000;
/// Keys that are remembered because the topic has a newer link: rejected ones, as a rule.
const MAX_NEWER: usize = 100_000;
/// Links that are told by name.
const MAX_TOLD: usize = 10;

/// A comparison on its way.
pub(super) struct Comparison {
    /// Versions and offsets from here on are not judged.
    judged_below: u64,
    /// The links whose records are in the topic.
    found: RowSet,
    /// The offset of the newest link of a key, where that is not the one that is served.
    newer: HashMap<LinkName, u64>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Divergence {
    /// Links that are served here, and whose records the topic has no more.
    pub(super) only_here: u64,
    /// Links of the topic that are neither served here nor listed as rejected.
    pub(super) not_here: u64,
    /// The first of both.
    pub(super) examples: Vec<String>,
}

impl Comparison {
    /// A comparison with an edge that has read the topic up to this offset.
    pub(super) fn new(next_offset: u64) -> Comparison {
        Comparison { judged_below: next_offset, found: RowSet::default(), newer: HashMap::new() }
    }

    /// Looks at the next record of the topic.
    pub(super) fn add(&mut self, connection: &Connection, record: &TopicRecord) -> rusqlite::Result<()> {
        let Ok(RecordKey::Link(name)) = record.parse_key() else { return Ok(()) };
        let is_removal = record.value.as_deref().is_none_or(is_gone_value);
        let served = find_row(connection, &name)?;
        match served {
            Some((id, version)) if version == record.offset => {
                self.found.insert(id);
                self.newer.remove(&name);
            }
            // An edge that starts anew skips it, too.
            _ if record.parse().is_err() => {}
            Some((id, version)) if is_removal && version < record.offset => self.found.remove(id),
            _ if is_removal => drop(self.newer.remove(&name)),
            Some((_, version)) if version > record.offset => {}
            _ if record.offset < self.judged_below && self.newer.len() < MAX_NEWER => {
                self.newer.insert(name, record.offset);
            }
            _ => {}
        }
        Ok(())
    }

    /// What differs, once the end of the topic is reached.
    pub(super) fn finish(self, connection: &Connection) -> rusqlite::Result<Divergence> {
        let mut divergence = Divergence::default();
        self.add_links_without_record(connection, &mut divergence)?;
        for (name, offset) in &self.newer {
            let is_listed =
                connection.prepare_cached("SELECT 1 FROM topic_rejected WHERE offset = ?1")?.exists([offset])?;
            let served = find_row(connection, name)?;
            if !is_listed && served.is_none_or(|(_, version)| version < *offset) {
                divergence.not_here += 1;
                divergence.tell(name);
            }
        }
        Ok(divergence)
    }

    fn add_links_without_record(&self, connection: &Connection, divergence: &mut Divergence) -> rusqlite::Result<()> {
        let mut after_id = 0;
        loop {
            let sql = "SELECT id, domain, code, version FROM link WHERE id > ?1 ORDER BY id LIMIT ?2";
            let rows: Vec<(i64, LinkName, u64)> = connection
                .prepare_cached(sql)?
                .query_map((after_id, LINKS_AT_ONCE as i64), |row| {
                    Ok((row.get(0)?, LinkName { domain: row.get(1)?, code: row.get(2)? }, row.get(3)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let Some((last_id, ..)) = rows.last() else { return Ok(()) };
            after_id = *last_id;
            for (id, name, version) in rows {
                if version < self.judged_below && !self.found.contains(id) {
                    divergence.only_here += 1;
                    divergence.tell(&name);
                }
            }
        }
    }
}

impl Divergence {
    fn tell(&mut self, name: &LinkName) {
        if self.examples.len() < MAX_TOLD {
            self.examples.push(format!("{}/{}", name.domain, name.code));
        }
    }
}

/// Id and version of the link that is served.
fn find_row(connection: &Connection, name: &LinkName) -> rusqlite::Result<Option<(i64, u64)>> {
    let sql = "SELECT id, version FROM link WHERE domain = ?1 AND code = ?2";
    let row =
        connection.prepare_cached(sql)?.query_row((&name.domain, &name.code), |row| Ok((row.get(0)?, row.get(1)?)));
    row.optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(links: &[(i64, &str, u64)]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE link (id INTEGER PRIMARY KEY, domain TEXT, code TEXT, version INTEGER);
                 CREATE TABLE topic_rejected (offset INTEGER PRIMARY KEY)",
            )
            .unwrap();
        for (id, code, version) in links {
            connection.execute("INSERT INTO link VALUES (?1, '*', ?2, ?3)", (id, code, version)).unwrap();
        }
        connection
    }

    fn record(offset: u64, code: &str, value: Option<&str>) -> TopicRecord {
        let key = Some(format!("l/*/{code}").into_bytes());
        TopicRecord { offset, at_ms: 0, key, value: value.map(|value| value.as_bytes().to_vec()), author: None }
    }

    fn good(offset: u64, code: &str) -> TopicRecord {
        let value = format!(r#"{{"code":"{code}","url":"https://shop.example.com/","kind":"plain","test":true}}"#);
        record(offset, code, Some(&value))
    }

    fn compare(connection: &Connection, judged_below: u64, records: &[TopicRecord]) -> Divergence {
        let mut comparison = Comparison::new(judged_below);
        records.iter().for_each(|record| comparison.add(connection, record).unwrap());
        comparison.finish(connection).unwrap()
    }

    #[test]
    fn a_link_whose_record_is_gone_and_one_that_was_missed_are_found_and_what_changes_meanwhile_is_not_judged() {
        let connection = catalog(&[(1, "same", 1), (2, "hidden", 2), (3, "late", 90), (4, "twice", 6)]);
        let bad = record(5, "hidden", Some("{"));
        let records = [good(1, "same"), bad, good(4, "twice"), good(6, "twice"), good(7, "missed"), good(60, "later")];
        let found = compare(&connection, 50, &records);
        let expected =
            Divergence { only_here: 1, not_here: 1, examples: vec!["*/hidden".to_owned(), "*/missed".to_owned()] };
        assert_eq!(found, expected);
        // Before compaction an edge that starts anew still has the good record.
        let before = compare(&connection, 50, &[good(1, "same"), good(2, "hidden"), good(6, "twice")]);
        assert_eq!(before, Divergence::default());
    }

    #[test]
    fn removals_and_rejected_records_count_as_an_edge_takes_them_that_starts_anew() {
        let connection = catalog(&[(1, "removed", 1)]);
        connection.execute("INSERT INTO topic_rejected VALUES (4)", []).unwrap();
        let records = [good(1, "removed"), record(2, "removed", None), good(3, "gone"), record(5, "gone", None)];
        assert_eq!(compare(&connection, 50, &records).examples, ["*/removed"]);
        assert_eq!(compare(&connection, 50, &[good(1, "removed"), good(4, "rejected")]), Divergence::default());
        assert_eq!(compare(&connection, 50, &[good(1, "removed"), good(5, "rejected")]).not_here, 1);
    }
}
