//! Makes the table that is served from the catalog's file.
//!
//! The file keeps each link's bytes as the table has them, with a fingerprint of all that they were made by. If the
//! fingerprint is still the same, the bytes are taken as they are, by several threads. Else each link is made again
//! from its record, by the rules of today; a record that they refuse stays in the file and is not served.

use std::path::Path;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{
    change::LinkName,
    store::{GoneRow, Meta, Store, StoreError, delete_ready_bytes, open_read_only, write_ready_bytes},
};
use crate::{
    links::{Link, LinkKey, RemovedLink, Table, destination::policy::DestinationPolicy, domains::Domains},
    model::link::record::{Record, RecordError},
};

/// Changes with the bytes of a link in the table ([`Link::write_bytes`]).
const BYTES_FORMAT: u32 = 2;
/// Refused records that are told.
const MAX_TOLD: usize = 100;

/// The table of the file's links.
pub(super) struct LoadedTable {
    pub(super) table: Table,
    /// The first records that are not served any more, and why.
    pub(super) refused: Vec<(LinkName, Vec<RecordError>)>,
    pub(super) refused_total: u64,
}

impl LoadedTable {
    /// `rows`: the number of all links in the file.
    fn of_ready_links(table: Table, rows: u64) -> LoadedTable {
        let refused_total = rows.saturating_sub(table.len() as u64);
        LoadedTable { table, refused: Vec::new(), refused_total }
    }
}

/// Makes the table, with the codes of removed links.
pub(super) fn load_table(
    store: &mut Store,
    policy: &DestinationPolicy,
    domains: &Domains,
    now_ms: u64,
    threads: usize,
) -> Result<LoadedTable, StoreError> {
    let fingerprint = fingerprint(policy, domains);
    let is_ready = Meta::ReadyFingerprint.read(&store.connection)?.as_deref() == Some(&fingerprint);
    let mut loaded = match is_ready {
        true => load_ready_bytes_and_count_links_without(store, threads)?,
        false => rebuild_from_records(store, policy, domains, now_ms, &fingerprint)?,
    };
    // The pages that were read or written fill the connection's cache; a server may never need them again.
    store.connection.execute_batch("PRAGMA shrink_memory")?;
    loaded.table.set_removed(load_removed_links(&store.connection, domains, now_ms)?);
    Ok(loaded)
}

/// The removed links that reserve codes, by the ids of today's domains.
fn load_removed_links(
    connection: &Connection,
    domains: &Domains,
    now_ms: u64,
) -> rusqlite::Result<Vec<(LinkKey, RemovedLink)>> {
    let rows = GoneRow::list_reserved(connection, now_ms)?.into_iter();
    Ok(rows
        .filter_map(|GoneRow { domain, code, link, .. }| {
            Some((LinkKey { domain: domains.find_by_name(&domain)?.id, code: code.into_bytes() }, link))
        })
        .collect())
}

/// Of all that the bytes of a link depend on beside its record.
pub(super) fn fingerprint(policy: &DestinationPolicy, domains: &Domains) -> String {
    let text = format!("{BYTES_FORMAT} {} {policy:?} {:?}", env!("CARGO_PKG_VERSION"), domains.all());
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Loads the links that are ready. The others are those that an earlier start refused by the same rules, or whose bytes
/// are damaged.
fn load_ready_bytes_and_count_links_without(store: &Store, threads: usize) -> Result<LoadedTable, StoreError> {
    if store.is_shared {
        return load_ready_bytes(&store.path, threads);
    }
    let count = count_links(&store.connection)?;
    let table = Table::with_capacity(count as usize);
    let mut statement = store.connection.prepare("SELECT bytes FROM ready")?;
    insert_links_of_rows(&table, statement.query([])?)?;
    Ok(LoadedTable::of_ready_links(table, count))
}

/// Counts the rows of links, in an index, which is a tenth of the table.
fn count_links(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM link", [], |row| row.get(0))
}

/// Inserts the links of rows of bytes. A row that is no link is left out.
fn insert_links_of_rows(table: &Table, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        if let Some(link) = row.get_ref(0)?.as_blob().ok().and_then(Link::from_bytes) {
            let _ = table.try_insert_or_give_back(link);
        }
    }
    Ok(())
}

pub(super) fn load_ready_bytes(path: &Path, threads: usize) -> Result<LoadedTable, StoreError> {
    // Not by the connection that writes: it would keep the pages that it reads, up to its large cache.
    let connection = open_read_only(path)?;
    let count = count_links(&connection)?;
    let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM ready", [], |row| row.get(0))?;
    let table = Table::with_capacity(count as usize);
    // More parts than threads, because ids have gaps where links were removed.
    let parts = threads as i64 * 8;
    let part_len = last / parts + 1;
    let next = std::sync::atomic::AtomicI64::new(0);
    let load_parts = || -> Result<(), StoreError> {
        let connection = open_read_only(path)?;
        let mut statement = connection.prepare("SELECT bytes FROM ready WHERE id > ?1 AND id <= ?2")?;
        loop {
            let part = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if part >= parts {
                return Ok(());
            }
            insert_links_of_rows(&table, statement.query([part * part_len, (part + 1) * part_len])?)?;
        }
    };
    let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(load_parts)).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, _>| match handle.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        handles.into_iter().map(join).collect()
    });
    results.into_iter().collect::<Result<(), StoreError>>()?;
    Ok(LoadedTable::of_ready_links(table, count))
}

/// Makes every link from its record, and keeps its bytes for the next start.
fn rebuild_from_records(
    store: &mut Store,
    policy: &DestinationPolicy,
    domains: &Domains,
    now_ms: u64,
    fingerprint: &str,
) -> Result<LoadedTable, StoreError> {
    let transaction = store.connection.transaction()?;
    let count: u64 = transaction.query_row("SELECT count(*) FROM link", [], |row| row.get(0))?;
    let table = Table::with_capacity(count as usize);
    let mut loaded = LoadedTable { table, refused: Vec::new(), refused_total: 0 };
    {
        let mut statement = transaction.prepare("SELECT id, version, record, domain, code, created_ms FROM link")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, version, text): (i64, u64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // A test link without created_at keeps the time at which it was first loaded.
            let now_ms = now_ms.max(row.get(5)?);
            match build_link(&text, policy, domains, now_ms, version) {
                Ok(link) => {
                    write_ready_bytes(&transaction, id, &link)?;
                    let _ = loaded.table.try_insert_or_give_back(link);
                }
                Err(errors) => {
                    delete_ready_bytes(&transaction, id)?;
                    loaded.refused_total += 1;
                    if loaded.refused.len() < MAX_TOLD {
                        loaded.refused.push((LinkName { domain: row.get(3)?, code: row.get(4)? }, errors));
                    }
                }
            }
        }
    }
    Meta::ReadyFingerprint.write(&transaction, Some(fingerprint))?;
    transaction.commit()?;
    Ok(loaded)
}

pub(super) fn build_link(
    text: &str,
    policy: &DestinationPolicy,
    domains: &Domains,
    now_ms: u64,
    version: u64,
) -> Result<Link, Vec<RecordError>> {
    let record: Record =
        serde_json::from_str(text).map_err(|error| vec![RecordError::new("record", error.to_string())])?;
    Link::check_and_build_from_record(&record, policy, domains, now_ms, version).map(|valid| valid.link)
}
