//! The rows of links, of what is ready for the table, and of codes that are gone.

use std::cell::OnceCell;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    links::{Link, RemovedLink},
    model::link::{LinkFacts, LinkKind, record::Record},
};

/// A link as the file has it.
#[derive(Debug)]
pub(in crate::catalog) struct StoredLink {
    pub(in crate::catalog) id: i64,
    pub(in crate::catalog) version: u64,
    pub(in crate::catalog) record: String,
    created_ms: u64,
    /// `record`, once somebody has asked for its fields; `None` inside: it is of a newer build.
    parsed: OnceCell<Option<Record>>,
}

/// What is written of a link.
pub(in crate::catalog) struct LinkRow<'a> {
    pub(in crate::catalog) domain: &'a str,
    pub(in crate::catalog) code: &'a str,
    pub(in crate::catalog) version: u64,
    pub(in crate::catalog) text: &'a str,
    pub(in crate::catalog) record: &'a Record,
    pub(in crate::catalog) link: &'a Link,
    /// The links of this server that its URLs lead to, a JSON array.
    pub(in crate::catalog) leads_to: Option<String>,
}

impl StoredLink {
    /// Finds a link by domain and code.
    pub(in crate::catalog) fn find(
        connection: &Connection,
        domain: &str,
        code: &str,
    ) -> rusqlite::Result<Option<StoredLink>> {
        let sql = "SELECT id, version, record, created_ms FROM link WHERE domain = ?1 AND code = ?2";
        connection.prepare_cached(sql)?.query_row([domain, code], StoredLink::from_row).optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredLink> {
        let (id, version, record, created_ms) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(StoredLink { id, version, record, created_ms, parsed: OnceCell::new() })
    }

    fn parsed(&self) -> Option<&Record> {
        self.parsed.get_or_init(|| serde_json::from_str(&self.record).ok()).as_ref()
    }

    /// Whether the link has this record, which was written as `text`.
    pub(in crate::catalog) fn is_same(&self, text: &str, record: &Record) -> bool {
        self.record == text || self.parsed() == Some(record)
    }

    fn may_have_tags(&self) -> bool {
        self.parsed().is_none_or(|record| !record.tags.is_empty())
    }

    /// What is remembered of the link once it is removed, also if the rules of today refuse its record and nothing
    /// serves it. `None` if the record is of a newer build.
    pub(in crate::catalog) fn as_removed(&self, since_ms: u64) -> Option<RemovedLink> {
        let record = self.parsed()?;
        Some(RemovedLink {
            since_ms,
            created_ms: self.created_ms,
            is_created_at_default: record.created_at.is_none(),
            kind: record.kind,
            creator: record.creator.as_deref().unwrap_or_default().into(),
            partner: record.partner.as_deref().unwrap_or_default().into(),
        })
    }

    /// Removes the link, its tags and its bytes for the table.
    pub(in crate::catalog) fn delete(&self, connection: &Connection) -> rusqlite::Result<()> {
        for sql in
            ["DELETE FROM tag WHERE link = ?1", "DELETE FROM ready WHERE id = ?1", "DELETE FROM link WHERE id = ?1"]
        {
            connection.prepare_cached(sql)?.execute([self.id])?;
        }
        Ok(())
    }
}

impl LinkRow<'_> {
    /// Writes the link in the place of `stored`, or as a new one with the id `id`.
    pub(in crate::catalog) fn write(
        &self,
        connection: &Connection,
        id: i64,
        stored: Option<&StoredLink>,
    ) -> rusqlite::Result<()> {
        const INSERT: &str = "INSERT INTO link (id, domain, code, version, record, created_ms, starts_ms, ends_ms, \
            enabled, creator, partner, seller, campaign, product, host, leads_to) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        // SQLite writes the entry of an index again if its column is set, also to the same value.
        const UPDATE_UNLESS_INDEXED_COLUMNS_CHANGE: &str = "UPDATE link SET version = ?4, record = ?5, \
            created_ms = ?6, starts_ms = ?7, ends_ms = ?8, enabled = ?9, leads_to = ?16 \
            WHERE id = ?1 AND domain = ?2 AND code = ?3 \
            AND (creator, partner, seller, campaign, product, host) IS (?10, ?11, ?12, ?13, ?14, ?15)";
        const UPDATE: &str = "UPDATE link SET domain = ?2, code = ?3, version = ?4, record = ?5, created_ms = ?6, \
            starts_ms = ?7, ends_ms = ?8, enabled = ?9, creator = ?10, partner = ?11, seller = ?12, campaign = ?13, \
            product = ?14, host = ?15, leads_to = ?16 WHERE id = ?1";
        let facts = LinkFacts::decode(self.link.facts());
        let created_ms = facts.map_or(0, |facts| facts.created_ms);
        let ends_ms = facts.and_then(|facts| facts.end_ms());
        let starts_ms = self.link.starts_ms();
        let record = self.record;
        let values = params![
            id,
            self.domain,
            self.code,
            self.version,
            self.text,
            created_ms,
            (starts_ms > 0).then_some(starts_ms),
            ends_ms,
            record.enabled,
            record.creator,
            record.partner,
            record.seller,
            record.campaign,
            record.product,
            self.link.url_template().web_host(),
            self.leads_to
        ];
        if stored.is_none() {
            connection.prepare_cached(INSERT)?.execute(values)?;
        } else if connection.prepare_cached(UPDATE_UNLESS_INDEXED_COLUMNS_CHANGE)?.execute(values)? == 0 {
            connection.prepare_cached(UPDATE)?.execute(values)?;
        }
        Ok(())
    }

    /// Writes what depends on the link's row: its tags, and its bytes for the table.
    pub(in crate::catalog) fn write_tags_and_ready_bytes(
        &self,
        connection: &Connection,
        id: i64,
        stored: Option<&StoredLink>,
    ) -> rusqlite::Result<()> {
        if stored.is_some_and(StoredLink::may_have_tags) {
            connection.prepare_cached("DELETE FROM tag WHERE link = ?1")?.execute([id])?;
        }
        for tag in &self.record.tags {
            connection.prepare_cached("INSERT OR IGNORE INTO tag VALUES (?1, ?2)")?.execute(params![id, tag])?;
        }
        write_ready_bytes(connection, id, self.link)
    }
}

/// An id that no link has, and none ever had: each id stands in the audit.
pub(in crate::catalog) fn find_new_link_id(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM link), 0), coalesce((SELECT max(link) FROM audit), 0)) + 1";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The id of a link that is there or gone; `None`: the catalog never had it, or its code is free again.
pub(in crate::catalog) fn find_link_id(
    connection: &Connection,
    domain: &str,
    code: &str,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT coalesce((SELECT id FROM link WHERE domain = ?1 AND code = ?2), \
               (SELECT link FROM gone WHERE domain = ?1 AND code = ?2))";
    connection.prepare_cached(sql)?.query_row([domain, code], |row| row.get(0))
}

/// Writes the bytes of the link that the table starts from.
pub(in crate::catalog) fn write_ready_bytes(connection: &Connection, id: i64, link: &Link) -> rusqlite::Result<()> {
    let mut bytes = Vec::with_capacity(256);
    link.write_bytes(&mut bytes);
    connection.prepare_cached("INSERT OR REPLACE INTO ready VALUES (?1, ?2)")?.execute(params![id, bytes])?;
    Ok(())
}

/// Removes the bytes of a link that is not served any more.
pub(in crate::catalog) fn delete_ready_bytes(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM ready WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A removed link that reserves its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::catalog) struct GoneRow {
    pub(in crate::catalog) domain: String,
    pub(in crate::catalog) code: String,
    pub(in crate::catalog) link: RemovedLink,
    /// The id that the link had; `None`: this catalog never had it, or it has the id already.
    pub(in crate::catalog) id: Option<i64>,
}

impl GoneRow {
    const COLUMNS: &str = "domain, code, since_ms, created_ms, created_at_default, kind, creator, partner, link";

    /// Finds the removed link of a code.
    pub(in crate::catalog) fn find(
        connection: &Connection,
        domain: &str,
        code: &str,
    ) -> rusqlite::Result<Option<GoneRow>> {
        let sql = format!("SELECT {} FROM gone WHERE domain = ?1 AND code = ?2", GoneRow::COLUMNS);
        connection.prepare_cached(&sql)?.query_row([domain, code], GoneRow::from_row).optional()
    }

    /// Every removed link whose code is reserved at `now_ms`.
    pub(in crate::catalog) fn list_reserved(connection: &Connection, now_ms: u64) -> rusqlite::Result<Vec<GoneRow>> {
        let mut statement = connection.prepare(&format!("SELECT {} FROM gone", GoneRow::COLUMNS))?;
        let rows: rusqlite::Result<Vec<GoneRow>> = statement.query_map([], GoneRow::from_row)?.collect();
        Ok(rows?.into_iter().filter(|row| row.link.reusable_at_ms() > now_ms).collect())
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<GoneRow> {
        let kind: String = row.get(5)?;
        let (creator, partner): (String, String) = (row.get(6)?, row.get(7)?);
        Ok(GoneRow {
            domain: row.get(0)?,
            code: row.get(1)?,
            link: RemovedLink {
                since_ms: row.get(2)?,
                created_ms: row.get(3)?,
                is_created_at_default: row.get(4)?,
                kind: LinkKind::from_word(&kind).unwrap_or(LinkKind::Plain),
                creator: creator.into(),
                partner: partner.into(),
            },
            id: row.get(8)?,
        })
    }

    /// Reserves the code.
    pub(in crate::catalog) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT INTO gone ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET \
             since_ms = excluded.since_ms, created_ms = excluded.created_ms, \
             created_at_default = excluded.created_at_default, kind = excluded.kind, creator = excluded.creator, \
             partner = excluded.partner, link = coalesce(excluded.link, link)",
            GoneRow::COLUMNS
        );
        let GoneRow { domain, code, link, id } = self;
        connection.prepare_cached(&sql)?.execute(params![
            domain,
            code,
            link.since_ms,
            link.created_ms,
            link.is_created_at_default,
            link.kind.as_str(),
            &*link.creator,
            &*link.partner,
            id
        ])?;
        Ok(())
    }

    /// Ends the reservation of a code, because its link is back.
    pub(in crate::catalog) fn delete(connection: &Connection, domain: &str, code: &str) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM gone WHERE domain = ?1 AND code = ?2")?.execute([domain, code])?;
        Ok(())
    }
}
