//! Checks requests as the catalog would carry them out, on the catalog's thread, and changes nothing. What would change
//! is what the topic gets.

use std::{collections::HashMap, sync::atomic::Ordering};

use rusqlite::TransactionBehavior;

use super::{
    outgoing::OutgoingRecord,
    record::{MAX_VALUE, RecordAuthor},
};
use crate::{
    catalog::{
        act::new_act_id,
        apply::ChangeRules,
        change::{LinkName, RowOutcome, Write, WriteReport},
        domain_change::{DomainChange, DomainError, DomainRefusal, DomainReport},
        domain_rows::DomainRow,
        error::{CatalogError, LinkSource},
        recorded::{RecordedChange, RecordedDomain, RecordedWrite},
        store::GoneRow,
        transaction::WriteTransaction,
        writer::CatalogWriter,
    },
    clock,
    invalid_value::InvalidValue,
};

/// Tombstones of gone links that one transaction carries along at most.
const MAX_TOMBSTONES: usize = 100;

/// The answers to writes, in their order.
pub(super) type WriteReports = Vec<Result<WriteReport, CatalogError>>;
/// The answer to a change of a domain.
pub(super) type PlannedDomain = Result<DomainReport, DomainError>;

/// What requests become.
#[derive(Debug)]
pub(super) struct WritePlan<R> {
    /// The reports, with the versions of the plan.
    reports: R,
    /// What has to be written for them.
    pub(super) records: Vec<OutgoingRecord>,
    /// The offset of each record, once they are written.
    pub(super) offsets: Vec<u64>,
}

/// Plans the writes, each on top of those before.
///
/// # Errors
/// The store fails.
pub(super) fn plan_writes(writer: &mut CatalogWriter, writes: &[Write]) -> rusqlite::Result<WritePlan<WriteReports>> {
    let version_before = writer.latest_version.load(Ordering::Relaxed);
    let plan = plan_and_roll_back(writer, writes);
    writer.latest_version.store(version_before, Ordering::Relaxed);
    plan
}

fn plan_and_roll_back(writer: &mut CatalogWriter, writes: &[Write]) -> rusqlite::Result<WritePlan<WriteReports>> {
    let now_ms = clock::wall_ms();
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rules = ChangeRules { policy: &writer.policy, domains: &writer.domains, now_ms };
    // By the rules for requests.
    let source = LinkSource::Store;
    let mut rows = WriteTransaction::begin(&transaction, rules, source, &mut writer.random, &writer.latest_version)?
        .recording()
        .pausing_if(writer.publish_suspensions.is_some());
    let reports = writes.iter().map(|write| rows.write(write.clone())).collect::<rusqlite::Result<_>>()?;
    let mut records: Vec<OutgoingRecord> =
        rows.into_recorded().into_iter().map(|write| OutgoingRecord::new(write, now_ms)).collect();
    if !records.is_empty() {
        let written: Vec<String> = records.iter().map(|record| record.key.clone()).collect();
        let names = GoneRow::list_free_again(&transaction, now_ms, MAX_TOMBSTONES)?;
        let tombstones = names.into_iter().map(|name| OutgoingRecord::tombstone_of(name, author_of_tombstones()));
        records.extend(tombstones.filter(|record| !written.contains(&record.key)));
    }
    transaction.rollback()?;
    Ok(WritePlan { reports, records, offsets: Vec::new() })
}

/// Plans a change of a domain.
pub(super) fn plan_domain_change(writer: &CatalogWriter, change: &DomainChange) -> WritePlan<PlannedDomain> {
    let now_ms = clock::wall_ms();
    let (reports, record) = match check_and_record_domain(writer, change, now_ms) {
        Ok(Some((report, record))) => (Ok(report), Some(record)),
        Ok(None) => (Ok(DomainReport::Unknown), None),
        Err(error) => (Err(error), None),
    };
    WritePlan { reports, records: Vec::from_iter(record), offsets: Vec::new() }
}

/// The report and the record of a change that is allowed; `None`: there is no such domain to remove.
fn check_and_record_domain(
    writer: &CatalogWriter,
    change: &DomainChange,
    now_ms: u64,
) -> Result<Option<(DomainReport, OutgoingRecord)>, DomainError> {
    let Some(checked) = writer.check_domain_change(change)? else { return Ok(None) };
    let DomainChange { act, host, settings } = change;
    let (host, before) = (host.clone(), checked.before);
    let row = settings.clone().map(|settings| DomainRow {
        host: host.clone(),
        settings,
        version: 0,
        changed_ms: now_ms,
        actor: act.actor.clone(),
    });
    let report = DomainReport::of_change(row, before.is_some());
    let domain = RecordedDomain { host, before: before.map(|row| row.settings), after: settings.clone() };
    let change = RecordedChange::Domain(Box::new(domain));
    let record = OutgoingRecord::new(RecordedWrite { act: act.clone(), once: None, change }, now_ms);
    match record.value.as_ref().map_or(0, String::len) {
        ..=MAX_VALUE => Ok(Some((report, record))),
        length => {
            let message = format!("have {length} bytes as JSON; a record of the topic has {MAX_VALUE} at most");
            Err(DomainRefusal::Invalid(vec![InvalidValue::new("settings", message)]).into())
        }
    }
}

fn author_of_tombstones() -> RecordAuthor {
    RecordAuthor {
        act: new_act_id().to_string(),
        actor: "waypost".to_owned(),
        reason: Some("the code is free again".to_owned()),
        once: None,
    }
}

impl WritePlan<PlannedDomain> {
    /// The report, with the offset of the record as the version.
    pub(super) fn into_report(self) -> PlannedDomain {
        let mut report = self.reports;
        if let (Ok(DomainReport::Created(row) | DomainReport::Replaced(row)), [offset]) = (&mut report, &*self.offsets)
        {
            row.version = *offset;
        }
        report
    }
}

impl WritePlan<WriteReports> {
    /// The reports, with the offsets of the records in the place of the planned versions.
    pub(super) fn into_reports(self) -> WriteReports {
        let planned = self.records.iter().zip(&self.offsets);
        let offsets: HashMap<u64, u64> =
            planned.filter_map(|(record, offset)| Some((record.planned_version?, *offset))).collect();
        let latest = offsets.values().copied().max();
        let with_offset = |version: &mut u64| {
            if let Some(offset) = offsets.get(version) {
                *version = *offset;
            }
        };
        let mut reports = self.reports;
        for report in reports.iter_mut().flatten() {
            match report {
                WriteReport::Batch(batch) => {
                    for outcome in batch.outcomes.iter_mut().filter(|_| batch.is_applied) {
                        match outcome {
                            RowOutcome::Created(link) | RowOutcome::Updated(link) | RowOutcome::Unchanged(link) => {
                                with_offset(&mut link.version);
                            }
                            RowOutcome::Deleted { version, .. } => with_offset(version),
                            RowOutcome::Refused(_) => {}
                        }
                    }
                    batch.version = latest.unwrap_or(batch.version);
                }
                WriteReport::Suspended { suspension, .. } => with_offset(&mut suspension.version),
                WriteReport::SuspensionEnded(_) | WriteReport::FreezeChanged => {}
            }
        }
        reports
    }
}

impl GoneRow {
    /// Gone links whose codes are free at `now_ms`; `limit` at most.
    fn list_free_again(
        connection: &rusqlite::Connection,
        now_ms: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<LinkName>> {
        let sql = "SELECT domain, code FROM gone WHERE since_ms <= ?1 LIMIT ?2";
        let latest_since_ms = now_ms.saturating_sub(crate::links::CODE_RESERVATION_MS);
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map((latest_since_ms, limit as i64), |row| {
            Ok(LinkName { domain: row.get(0)?, code: row.get(1)? })
        })?;
        rows.collect()
    }
}
