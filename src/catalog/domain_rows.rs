//! The settings of domains that the API made: their rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use serde_json::{Value, json};

use super::{query::CatalogReader, time_text::time_text};
use crate::links::domains::{Config, Settings, parse_host_or_asterisk};

/// A domain as the catalog keeps it.
#[derive(Clone, Debug)]
pub struct DomainRow {
    /// The host, in lower case and punycode, or `*`.
    pub host: String,
    /// Its settings.
    pub settings: Settings,
    /// The version of the catalog that made them what they are.
    pub version: u64,
    /// When that was, milliseconds since the epoch.
    pub changed_ms: u64,
    /// Who made them.
    pub actor: String,
}

impl DomainRow {
    /// Every domain, by host.
    pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<DomainRow>> {
        // A file of an older build has no such table until a process opens it to write.
        let table = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'domain'")?;
        if !{ table }.exists([])? {
            return Ok(Vec::new());
        }
        let sql = "SELECT host, settings, version, changed_ms, actor FROM domain ORDER BY host";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map([], domain_of_row)?.collect()
    }

    pub(super) fn find(connection: &Connection, host: &str) -> rusqlite::Result<Option<DomainRow>> {
        let sql = "SELECT host, settings, version, changed_ms, actor FROM domain WHERE host = ?1";
        connection.prepare_cached(sql)?.query_row([host], domain_of_row).optional()
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO domain (host, settings, version, changed_ms, actor) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let settings = serde_json::to_string(&self.settings);
        let settings = settings.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let values = params![self.host, settings, self.version, self.changed_ms, self.actor];
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    pub(super) fn delete(connection: &Connection, host: &str) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM domain WHERE host = ?1")?.execute([host])?;
        Ok(())
    }
}

fn domain_of_row(row: &Row<'_>) -> rusqlite::Result<DomainRow> {
    let settings: String = row.get(1)?;
    let settings = serde_json::from_str(&settings)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into()))?;
    Ok(DomainRow { host: row.get(0)?, settings, version: row.get(2)?, changed_ms: row.get(3)?, actor: row.get(4)? })
}

impl CatalogReader {
    /// Every domain that the API made, by host.
    pub fn list_domains(&self) -> rusqlite::Result<Vec<DomainRow>> {
        DomainRow::list(&self.0)
    }
}

/// A domain as the API and the commands show it.
pub fn row_to_json(row: &DomainRow) -> Value {
    domain_to_json(&row.host, "catalog", &row.settings, Some(row))
}

fn domain_to_json(host: &str, source: &str, settings: &Settings, row: Option<&DomainRow>) -> Value {
    json!({
        "host": host,
        "source": source,
        "settings": settings,
        "version": row.map(|row| row.version),
        "changed_at": row.map(|row| time_text(row.changed_ms)),
        "actor": row.map(|row| &row.actor),
    })
}

/// Every domain that is served, by host: those of the configuration, which wins, those of the catalog, and `*`.
pub fn list_served_domains(configured: &Config, rows: &[DomainRow]) -> Vec<(String, Value)> {
    let mut domains: Vec<(String, Value)> = configured
        .0
        .iter()
        .map(|(name, settings)| (parse_host_or_asterisk(name).unwrap_or_else(|_| name.clone()), settings))
        .map(|(host, settings)| (host.clone(), domain_to_json(&host, "configuration", settings, None)))
        .collect();
    let kept = rows.iter().filter(|row| !configured.names(&row.host));
    domains.extend(kept.map(|row| (row.host.clone(), row_to_json(row))));
    if !domains.iter().any(|(host, _)| host == "*") {
        domains.push(("*".to_owned(), domain_to_json("*", "default", &Settings::default(), None)));
    }
    domains.sort_by(|one, other| one.0.cmp(&other.0));
    domains
}

/// The domains of a configuration, and of rows for hosts that it does not name.
pub(super) fn merge_domains(configured: &Config, rows: Vec<DomainRow>) -> Config {
    let mut merged = configured.clone();
    for row in rows {
        if !configured.names(&row.host) {
            merged.0.insert(row.host, row.settings);
        }
    }
    merged
}
