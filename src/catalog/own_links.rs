//! Links that lead to other links of this server: browsers must not go in a circle.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use super::change::LinkName;
use crate::links::{LinkKey, domains::Domains};

/// How many links are followed from one link to find a circle.
const MAX_FOLLOWED: usize = 1000;

/// The targets as a JSON array of domain and code; `None` if there is none.
pub(super) fn to_json(domains: &Domains, targets: &[LinkKey]) -> Option<String> {
    let names: Vec<(String, String)> = targets.iter().map(|key| name_of(domains, key)).collect();
    (!names.is_empty()).then(|| serde_json::to_string(&names).unwrap_or_default())
}

/// Whether the links that lie behind `targets` lead back to the link `name`.
pub(super) fn leads_back_to(
    connection: &Connection,
    domains: &Domains,
    name: &LinkName,
    targets: &[LinkKey],
) -> rusqlite::Result<bool> {
    let mut next: Vec<(String, String)> = targets.iter().map(|key| name_of(domains, key)).collect();
    let mut seen = HashSet::new();
    while let Some(target) = next.pop() {
        if (&*target.0, &*target.1) == (&*name.domain, &*name.code) {
            return Ok(true);
        }
        if seen.len() < MAX_FOLLOWED && seen.insert(target.clone()) {
            let sql = "SELECT leads_to FROM link WHERE domain = ?1 AND code = ?2";
            let row = connection.prepare_cached(sql)?.query_row([&target.0, &target.1], |row| row.get(0)).optional()?;
            let behind: Option<String> = row.flatten();
            next.extend(behind.and_then(|text| serde_json::from_str::<Vec<_>>(&text).ok()).unwrap_or_default());
        }
    }
    Ok(false)
}

fn name_of(domains: &Domains, key: &LinkKey) -> (String, String) {
    (domains.domain(key.domain).name.to_string(), String::from_utf8_lossy(&key.code).into_owned())
}
