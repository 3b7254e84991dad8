//! What requests with an `Idempotency-Key` made. The row is written in the transaction that creates the link, so that a
//! request is carried out once, whatever happens to its answer.

use rusqlite::{Connection, OptionalExtension, params};

use super::change::{ChangedLink, IdempotencyKey, LinkName};

/// How long a key is kept: 24 hours, milliseconds.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Old rows that one write removes at most.
const MAX_REMOVED: u32 = 100;

/// What an earlier request with the same key was.
pub(super) enum EarlierRequest {
    /// The same request, which made this link.
    Same(ChangedLink),
    /// Another request.
    Different,
}

impl IdempotencyKey {
    /// The earlier request with this key, if it is kept.
    pub(super) fn find_earlier_request(
        &self,
        connection: &Connection,
        now_ms: u64,
    ) -> rusqlite::Result<Option<EarlierRequest>> {
        let sql = "SELECT i.fingerprint, i.domain, i.code, i.version, a.after FROM idempotency i \
                   LEFT JOIN audit a ON a.version = i.version AND a.link = coalesce( \
                   (SELECT id FROM link l WHERE l.domain = i.domain AND l.code = i.code), \
                   (SELECT link FROM gone g WHERE g.domain = i.domain AND g.code = i.code)) \
                   WHERE i.api_key = ?1 AND i.key = ?2 AND i.at_ms > ?3";
        let oldest_ms = now_ms.saturating_sub(KEPT_MS);
        let found = connection.prepare_cached(sql)?.query_row(params![self.api_key, self.key, oldest_ms], |row| {
            let fingerprint: [u8; 32] = row.get(0)?;
            let name = LinkName { domain: row.get(1)?, code: row.get(2)? };
            let record: Option<String> = row.get(4)?;
            let link =
                ChangedLink { name, version: row.get(3)?, record: record.unwrap_or_default(), warnings: Vec::new() };
            Ok((fingerprint, link))
        });
        Ok(found.optional()?.map(|(fingerprint, link)| {
            if fingerprint == self.fingerprint { EarlierRequest::Same(link) } else { EarlierRequest::Different }
        }))
    }

    /// Keeps what the request made, and removes some rows that are too old.
    pub(super) fn keep_request(
        &self,
        connection: &Connection,
        now_ms: u64,
        link: &ChangedLink,
    ) -> rusqlite::Result<()> {
        let expired = "DELETE FROM idempotency WHERE (api_key, key) IN \
                       (SELECT api_key, key FROM idempotency WHERE at_ms <= ?1 LIMIT ?2)";
        connection.prepare_cached(expired)?.execute(params![now_ms.saturating_sub(KEPT_MS), MAX_REMOVED])?;
        let sql = "INSERT OR REPLACE INTO idempotency (api_key, key, fingerprint, at_ms, domain, code, version) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        connection.prepare_cached(sql)?.execute(params![
            self.api_key,
            self.key,
            self.fingerprint,
            now_ms,
            link.name.domain,
            link.name.code,
            link.version
        ])?;
        Ok(())
    }
}
