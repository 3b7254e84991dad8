//! Reads of the catalog, beside the thread that writes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::Value};

use super::{
    change::LinkName,
    store::{Meta, find_link_id},
    suspension_rows::SuspensionRow,
};
use crate::word_enum::word_enum;

/// A link with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedLink {
    /// Its name.
    pub name: LinkName,
    /// The version of the catalog that made it what it is.
    pub version: u64,
    /// Its record, a JSON object on one line.
    pub record: String,
}

word_enum! {
    /// What a filter compares.
    pub enum FilterField {
        /// The domain's name.
        Domain = "domain",
        /// The creator's id.
        Creator = "creator",
        /// The partner's id.
        Partner = "partner",
        /// The seller's id.
        Seller = "seller",
        /// The campaign's id.
        Campaign = "campaign",
        /// The product's id.
        Product = "product",
        /// The host of the destination.
        Host = "host",
        /// One of the tags.
        Tag = "tag",
        /// How the code begins.
        CodePrefix = "code_prefix",
    }
}

word_enum! {
    /// The states that links can be listed by.
    pub enum StateFilter {
        /// Redirects, and its clicks may earn.
        Live = "live",
        /// Past its end.
        Expired = "expired",
        /// Before its start.
        NotStarted = "not-started",
        /// Switched off.
        Disabled = "disabled",
    }
}

/// Which links are listed: those that match everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// Each field with the value that it must have.
    pub fields: Vec<(FilterField, String)>,
    /// Each field with the values of which it must have one.
    pub any_of: Vec<(FilterField, Vec<String>)>,
    /// The state, and the time for which it is judged, milliseconds since the epoch.
    pub state: Option<(StateFilter, u64)>,
    /// Created later than this, milliseconds since the epoch.
    pub created_after_ms: Option<u64>,
}

/// A line of a link's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Its place in the order of all changes.
    pub position: u64,
    /// The version of the link behind it.
    pub version: u64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// The act.
    pub act: String,
    /// Who.
    pub actor: String,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// The link.
    pub name: LinkName,
    /// The record before; `None`: there was none.
    pub before: Option<String>,
    /// The record behind; `None`: there is none.
    pub after: Option<String>,
}

/// How often a read checks whether it is to be interrupted: some tens of microseconds.
const OPERATIONS_BETWEEN_CHECKS: i32 = 1_000;

/// A connection that reads.
#[derive(Debug)]
pub struct CatalogReader(pub(super) Connection);

impl CatalogReader {
    /// Interrupts reads of this connection from the time on at which `is_stopped` is set, in place of an earlier
    /// condition.
    pub fn interrupt_once(&mut self, is_stopped: Arc<AtomicBool>) -> rusqlite::Result<()> {
        self.0.progress_handler(OPERATIONS_BETWEEN_CHECKS, Some(move || is_stopped.load(Ordering::Relaxed)))
    }

    /// The version of the catalog.
    pub fn version(&self) -> rusqlite::Result<u64> {
        Meta::Version.read_number(&self.0)
    }

    /// A link by its name, as the tables have it: the code in lower case if the domain ignores case.
    pub fn find_link(&self, name: &LinkName) -> rusqlite::Result<Option<VersionedLink>> {
        let sql = "SELECT domain, code, version, record FROM link WHERE domain = ?1 AND code = ?2";
        self.0.prepare_cached(sql)?.query_row([&name.domain, &name.code], versioned_link_of_row).optional()
    }

    /// The links that match, ordered by domain and code, behind `after`; `limit` at most. A link that exists all the
    /// time is listed once, whatever happens to others between two pages.
    pub fn list_links(
        &self,
        filter: &LinkFilter,
        after: Option<&LinkName>,
        limit: usize,
    ) -> rusqlite::Result<Vec<VersionedLink>> {
        let (mut sql, mut values) = (
            String::from("SELECT link.domain, link.code, link.version, link.record FROM link WHERE 1"),
            Vec::<Value>::new(),
        );
        filter.append_conditions(&mut sql, &mut values);
        if let Some(after) = after {
            sql += " AND (link.domain, link.code) > (?, ?)";
            values.extend([after.domain.clone().into(), after.code.clone().into()]);
        }
        sql += " ORDER BY link.domain, link.code LIMIT ?";
        values.push((limit as i64).into());
        let mut statement = self.0.prepare_cached(&sql)?;
        statement.query_map(params_from_iter(values), versioned_link_of_row)?.collect()
    }

    /// Whether there is an act of this id.
    pub fn has_act(&self, id: &str) -> rusqlite::Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM act WHERE id = ?1")?.exists([id])
    }

    /// Every suspension, by dimension and value.
    pub fn list_suspensions(&self) -> rusqlite::Result<Vec<SuspensionRow>> {
        SuspensionRow::list(&self.0)
    }

    /// Why links are frozen; `None`: they are not.
    pub fn frozen_reason(&self) -> rusqlite::Result<Option<String>> {
        Meta::Frozen.read(&self.0)
    }

    /// The changes of a link, the latest first; `limit` at most.
    pub fn list_history(&self, name: &LinkName, limit: usize) -> rusqlite::Result<Vec<AuditLine>> {
        let Some(link) = find_link_id(&self.0, &name.domain, &name.code)? else { return Ok(Vec::new()) };
        let sql = format!("{AUDIT} WHERE audit.link = ?1 ORDER BY position DESC LIMIT ?2");
        let mut statement = self.0.prepare_cached(&sql)?;
        statement.query_map((link, limit), audit_line_of_row)?.collect()
    }

    /// The changes of all links behind a position, the earliest first; `limit` at most.
    pub fn list_changes(&self, after_position: u64, limit: usize) -> rusqlite::Result<Vec<AuditLine>> {
        let sql = format!("{AUDIT} WHERE position > ?1 ORDER BY position LIMIT ?2");
        let mut statement = self.0.prepare_cached(&sql)?;
        statement.query_map((after_position, limit), audit_line_of_row)?.collect()
    }
}

impl LinkFilter {
    fn append_conditions(&self, sql: &mut String, values: &mut Vec<Value>) {
        for (field, value) in &self.fields {
            match field {
                FilterField::Tag => *sql += " AND link.id IN (SELECT link FROM tag WHERE tag = ?)",
                FilterField::CodePrefix => {
                    *sql += " AND substr(link.code, 1, ?) = ?";
                    values.push((value.chars().count() as i64).into());
                }
                field => *sql += &format!(" AND link.{} = ?", field.as_str()),
            }
            values.push(value.clone().into());
        }
        for (field, allowed) in &self.any_of {
            let places = vec!["?"; allowed.len()].join(", ");
            *sql += &format!(" AND link.{} IN ({places})", field.as_str());
            values.extend(allowed.iter().cloned().map(Value::from));
        }
        if let Some((state, now_ms)) = self.state {
            let now = now_ms as i64;
            let is_ended = "(link.ends_ms IS NOT NULL AND link.ends_ms <= ?)";
            let is_ahead = "(link.starts_ms IS NOT NULL AND link.starts_ms > ?)";
            let (condition, times) = match state {
                StateFilter::Disabled => ("NOT link.enabled".to_owned(), 0),
                StateFilter::Expired => (format!("link.enabled AND {is_ended}"), 1),
                StateFilter::NotStarted => (format!("link.enabled AND NOT {is_ended} AND {is_ahead}"), 2),
                StateFilter::Live => (format!("link.enabled AND NOT {is_ended} AND NOT {is_ahead}"), 2),
            };
            *sql += &format!(" AND {condition}");
            values.extend(std::iter::repeat_n(Value::from(now), times));
        }
        if let Some(after_ms) = self.created_after_ms {
            *sql += " AND link.created_ms > ?";
            values.push((after_ms as i64).into());
        }
    }
}

pub(super) const AUDIT: &str = "SELECT position, version, audit.at_ms, act, actor, reason, audit.domain, audit.code, \
                                before, after FROM audit LEFT JOIN act ON act.id = audit.act";

fn versioned_link_of_row(row: &Row<'_>) -> rusqlite::Result<VersionedLink> {
    let name = LinkName { domain: row.get(0)?, code: row.get(1)? };
    Ok(VersionedLink { name, version: row.get(2)?, record: row.get(3)? })
}

pub(super) fn audit_line_of_row(row: &Row<'_>) -> rusqlite::Result<AuditLine> {
    Ok(AuditLine {
        position: row.get(0)?,
        version: row.get(1)?,
        at_ms: row.get(2)?,
        act: row.get(3)?,
        actor: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        reason: row.get(5)?,
        name: LinkName { domain: row.get(6)?, code: row.get(7)? },
        before: row.get(8)?,
        after: row.get(9)?,
    })
}
