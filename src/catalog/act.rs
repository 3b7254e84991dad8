//! Acts: who changes links, and why. And their rows.

use rand::{TryRng, rngs::SysRng};
use uuid::Uuid;

use crate::clock;

/// Who changes links, why, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Names the act in the audit.
    pub id: Uuid,
    /// Who: an API key, a file, a user of the machine.
    pub actor: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// Writes who changed links and why.
pub(super) fn write_act(
    connection: &rusqlite::Connection,
    act: &Act,
    action: &str,
    now_ms: u64,
) -> rusqlite::Result<()> {
    write_act_with_detail(connection, act, action, now_ms, None)
}

/// Writes who changed something, and what it was before and is now.
pub(super) fn write_act_with_detail(
    connection: &rusqlite::Connection,
    act: &Act,
    action: &str,
    now_ms: u64,
    detail: Option<&serde_json::Value>,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO act (id, at_ms, actor, action, reason, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let detail = detail.map(ToString::to_string);
    let values = rusqlite::params![act.id.to_string(), now_ms, act.actor, action, act.reason, detail];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// A new name for an act.
pub(super) fn new_act_id() -> Uuid {
    let mut bytes = [0; 16];
    // An error: the time alone makes the id.
    let _ = SysRng.try_fill_bytes(&mut bytes);
    let now_ms = clock::wall_ms();
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    uuid::Builder::from_bytes(bytes)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::SortRand)
        .into_uuid()
}
