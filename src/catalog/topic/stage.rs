//! Reads the topic anew beside the links that are served: the last record of each key is kept in a table aside, and
//! applied once the end is reached. Links without a record are removed then, unless they are more than a tenth.

use rusqlite::{Connection, TransactionBehavior};

use super::{
    apply_domains::remove_domains_without_record,
    apply_records::{AppliedRecords, ReadPosition, apply_records},
    fingerprint, parked,
    record::TopicRecord,
    rejected,
    state::TopicState,
    waiting,
};
use crate::{
    catalog::{
        act::{Act, new_act_id, write_act},
        apply::{Application, ChangeRules},
        change::LinkName,
        domain_check::DomainRules,
        store::{Meta, StoredLink},
        suspension_rows::{SuspensionRow, load_suspensions},
        versions::Versions,
        writer::CatalogWriter,
    },
    clock::{self, work_pauses::WorkPauses},
    links::suspensions::Suspensions,
};

/// Links that are looked at in one transaction.
const LINKS_AT_ONCE: usize = 1_000;

/// What the links would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StageCheck {
    /// Few enough.
    MayBeServed,
    /// More than a tenth of the live links.
    LosesTooMany {
        /// Live links without a record.
        lost: u64,
        /// Live links that are served.
        live: u64,
    },
}

/// Empties the table.
pub(super) fn clear_stage(writer: &mut CatalogWriter) -> rusqlite::Result<()> {
    writer.store.connection.execute("DELETE FROM topic_stage", []).map(|_| ())
}

/// Keeps the last record of each key. A record without a usable key is kept as a skipped one by [`apply_stage`].
pub(super) fn stage_records(writer: &mut CatalogWriter, records: &[TopicRecord]) -> rusqlite::Result<()> {
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for record in records {
        if record.parse_key().is_err() {
            continue;
        }
        match &record.value {
            None => {
                let sql = "DELETE FROM topic_stage WHERE key = ?1";
                transaction.prepare_cached(sql)?.execute([record.key_text()])?;
            }
            Some(value) => {
                let author = record.author.as_ref().and_then(|author| serde_json::to_string(author).ok());
                let sql = "INSERT OR REPLACE INTO topic_stage VALUES (?1, ?2, ?3, ?4, ?5)";
                let values = rusqlite::params![record.key_text(), record.offset, record.at_ms, value, author];
                transaction.prepare_cached(sql)?.execute(values)?;
            }
        }
    }
    transaction.commit()
}

/// Counts the live links that have no record.
pub(super) fn check_stage(writer: &mut CatalogWriter, allow_shrink: bool) -> rusqlite::Result<StageCheck> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS \
               (SELECT 1 FROM topic_stage WHERE key = 'l/' || domain || '/' || code)) \
               FROM link WHERE enabled AND (starts_ms IS NULL OR starts_ms <= ?1) \
               AND (ends_ms IS NULL OR ends_ms > ?1)";
    let (live, lost): (u64, u64) =
        writer.store.connection.query_row(sql, [clock::wall_ms()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let may_be_served = allow_shrink || lost * 10 <= live;
    Ok(if may_be_served { StageCheck::MayBeServed } else { StageCheck::LosesTooMany { lost, live } })
}

/// Forgets what the topic of before said beside links: its position, its freeze, waiting and skipped records.
pub(super) fn begin_apply(writer: &mut CatalogWriter) -> rusqlite::Result<()> {
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    parked::clear(&transaction)?;
    waiting::clear(&transaction)?;
    rejected::forget_all(&transaction)?;
    let is_frozen: bool =
        transaction
            .query_row("SELECT EXISTS (SELECT 1 FROM topic_stage WHERE key = 'f/freeze')", [], |row| row.get(0))?;
    Meta::Frozen.write(&transaction, None)?;
    Meta::TopicState.write(&transaction, None)?;
    transaction.commit()?;
    if !is_frozen {
        writer.is_frozen.store(false, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

/// Applies the next records behind an offset; `None`: there are no more. How far the topic is read is written at the
/// end, so that a process that ends in between begins anew.
pub(super) fn apply_next_part(
    writer: &mut CatalogWriter,
    state: TopicState,
    after: Option<u64>,
) -> rusqlite::Result<Option<AppliedRecords>> {
    let records = read_part(&writer.store.connection, after)?;
    if records.is_empty() {
        return Ok(None);
    }
    apply_records(writer, state, &records, ReadPosition::Stays).map(Some)
}

fn read_part(connection: &Connection, after: Option<u64>) -> rusqlite::Result<Vec<TopicRecord>> {
    let sql = "SELECT offset, at_ms, key, value, author FROM topic_stage WHERE offset > ?1 ORDER BY offset LIMIT ?2";
    let after = after.map_or(-1, |offset| offset as i64);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((after, LINKS_AT_ONCE as i64), parked::record_of_row)?;
    rows.collect()
}

/// Removes the links behind a row's id that have no record. `None`: there are no more rows.
pub(super) fn remove_next_part(
    writer: &mut CatalogWriter,
    topic: &str,
    after_id: i64,
) -> rusqlite::Result<Option<(i64, u64)>> {
    let act = Act { id: new_act_id(), actor: format!("topic {topic}"), reason: Some("has no record".to_owned()) };
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
    let rows: Vec<(i64, LinkName, bool)> = {
        let sql = "SELECT id, domain, code, EXISTS (SELECT 1 FROM topic_stage \
                   WHERE key = 'l/' || domain || '/' || code) FROM link WHERE id > ?1 ORDER BY id LIMIT ?2";
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = statement.query_map((after_id, LINKS_AT_ONCE as i64), |row| {
            Ok((row.get(0)?, LinkName { domain: row.get(1)?, code: row.get(2)? }, row.get(3)?))
        })?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let Some((last_id, ..)) = rows.last() else { return Ok(None) };
    let last_id = *last_id;
    let latest = writer.latest_version.load(std::sync::atomic::Ordering::Relaxed);
    let rules = ChangeRules { policy: &writer.policy, domains: &writer.domains, now_ms };
    let versions = Versions::of_offset(&writer.latest_version, latest);
    let mut application = Application::new(&transaction, rules, &act, &mut writer.random, versions);
    let (mut removed, mut pauses) = (0, WorkPauses::starting_now());
    for (_, name, _) in rows.iter().filter(|(_, _, has_record)| !has_record) {
        pauses.pause_if_due();
        if let Some(stored) = StoredLink::find(&transaction, &name.domain, &name.code)? {
            application.delete_link(name, &stored)?;
            removed += 1;
        }
    }
    let table_changes = application.table_changes;
    if removed > 0 {
        write_act(&transaction, &act, "change", now_ms)?;
    }
    transaction.commit()?;
    writer.serve_table_changes(table_changes);
    Ok(Some((last_id, removed)))
}

/// Ends the suspensions and domains that have no record, and writes how far the topic is read, with the fingerprint of
/// all links.
pub(super) fn finish_apply(writer: &mut CatalogWriter, state: TopicState) -> rusqlite::Result<TopicState> {
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for row in SuspensionRow::list(&transaction)? {
        let key = format!("s/{}/{}", row.dimension.as_str(), row.value);
        if !transaction.prepare_cached("SELECT 1 FROM topic_stage WHERE key = ?1")?.exists([key])? {
            row.delete(&transaction)?;
        }
    }
    let rules = DomainRules {
        connection: &transaction,
        policy: &writer.policy,
        domains: &writer.domains,
        configured: &writer.configured_domains,
    };
    let version = state.next_offset.saturating_sub(1);
    let domains = remove_domains_without_record(&rules, &state.topic, version)?;
    let state = TopicState { fingerprint: fingerprint::of_all_links(&transaction)?, ..state };
    state.write(&transaction)?;
    Meta::Version.write(&transaction, Some(&version.to_string()))?;
    transaction.execute("DELETE FROM topic_stage", [])?;
    let suspensions: Suspensions = load_suspensions(&transaction)?;
    transaction.commit()?;
    writer.latest_version.store(version, std::sync::atomic::Ordering::Relaxed);
    if let Some(domains) = domains {
        writer.serve_domains(domains);
    }
    if let Some(publish) = &writer.publish_suspensions {
        publish(suspensions.into());
    }
    Ok(state)
}
