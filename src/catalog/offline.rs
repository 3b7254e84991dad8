//! What a catalog has, for a start and for commands that show answers: read beside a server or without one, and nothing
//! is written.

use std::path::Path;

use super::{
    FILE_NAME,
    domain_rows::{DomainRow, merge_domains},
    load::{build_link, fingerprint, load_ready_bytes},
    store::{Meta, StoreError, open_read_only},
    suspension_rows::load_suspensions,
};
use crate::links::{
    Table,
    destination::policy::DestinationPolicy,
    domains::{Config, Domains},
    suspensions::Suspensions,
};

/// Links as a server would serve them.
pub struct OfflineLinks {
    /// The links.
    pub table: Table,
    /// The suspensions.
    pub suspensions: Suspensions,
}

/// The domains of a configuration, and behind them those that the catalog of a data directory keeps. The configuration
/// wins where both name a host.
///
/// # Errors
/// The catalog cannot be read.
pub fn add_domains_of_catalog(configured: &Config, data_dir: &Path) -> Result<Config, StoreError> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(configured.clone());
    }
    let rows = open_read_only(&path).and_then(|connection| Ok(DomainRow::list(&connection)?));
    Ok(merge_domains(configured, rows.map_err(|error| error.or_damaged(&path))?))
}

/// The suspensions of the catalog of a data directory; none if there is no catalog.
///
/// # Errors
/// The file cannot be read.
pub fn load_suspensions_read_only(data_dir: &Path) -> Result<Suspensions, StoreError> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(Suspensions::default());
    }
    Ok(load_suspensions(&open_read_only(&path)?)?)
}

/// The links of the catalog of a data directory; `None` if there is no catalog.
///
/// # Errors
/// The file cannot be read.
pub fn load_links_read_only(
    data_dir: &Path,
    policy: &DestinationPolicy,
    domains: &Domains,
    now_ms: u64,
    threads: usize,
) -> Result<Option<OfflineLinks>, StoreError> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let connection = open_read_only(&path)?;
    let suspensions = load_suspensions(&connection)?;
    let is_ready = Meta::ReadyFingerprint.read(&connection)? == Some(fingerprint(policy, domains));
    if is_ready {
        return Ok(Some(OfflineLinks { table: load_ready_bytes(&path, threads)?.table, suspensions }));
    }
    let count: u64 = connection.query_row("SELECT count(*) FROM link", [], |row| row.get(0))?;
    let table = Table::with_capacity(count as usize);
    let mut statement = connection.prepare("SELECT record, version, created_ms FROM link")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        // What the rules refuse is not served.
        if let Ok(link) = build_link(&text, policy, domains, now_ms.max(row.get(2)?), row.get(1)?) {
            let _ = table.try_insert_or_give_back(link);
        }
    }
    Ok(Some(OfflineLinks { table, suspensions }))
}
