//! The fingerprint of all links and their versions: a sum of hashes, so that the order does not matter and a change
//! costs two of them. Edges that have read the same topic have the same one.

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::catalog::{change::LinkName, recorded::RecordedLink};

/// The fingerprint behind a change.
pub(super) fn update(fingerprint: u64, change: &RecordedLink) -> u64 {
    let hash = |version| hash_of(&change.name.domain, &change.name.code, version);
    let without = change.before_version.map_or(fingerprint, |before| fingerprint.wrapping_sub(hash(before)));
    if change.after.is_some() { without.wrapping_add(hash(change.version)) } else { without }
}

/// The fingerprint of every link in the catalog's file.
pub(super) fn of_all_links(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare("SELECT domain, code, version FROM link")?;
    let mut rows = statement.query([])?;
    let mut fingerprint = 0u64;
    while let Some(row) = rows.next()? {
        let name = LinkName { domain: row.get(0)?, code: row.get(1)? };
        fingerprint = fingerprint.wrapping_add(hash_of(&name.domain, &name.code, row.get(2)?));
    }
    Ok(fingerprint)
}

fn hash_of(domain: &str, code: &str, version: u64) -> u64 {
    let digest = Sha256::digest(format!("{domain}/{code}/{version}"));
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
