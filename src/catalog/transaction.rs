//! Writes of one transaction, each as its author asked for it.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rusqlite::Connection;

use super::{
    act::{Act, write_act, write_act_with_detail},
    apply::{Application, ChangeRules, TableChange, WriteExtent},
    change::{Batch, BatchMode, BatchReport, RowOutcome, Write, WriteReport},
    error::{CatalogError, LinkSource},
    idempotency::EarlierRequest,
    recorded::{RecordedChange, RecordedLink, RecordedWrite},
    store::Meta,
    suspension_rows::{NewSuspension, SuspensionRow, detail_of_suspension},
    versions::Versions,
};
use crate::{clock::work_pauses::WorkPauses, links::suspensions::Dimension};

/// The writes of one transaction.
pub(super) struct WriteTransaction<'a> {
    connection: &'a Connection,
    rules: ChangeRules<'a>,
    source: LinkSource,
    random: &'a mut StdRng,
    latest_version: &'a AtomicU64,
    /// Why links are frozen.
    frozen: Option<String>,
    changes: ChangesToServe,
    /// What the topic of links gets; `None`: links come from elsewhere.
    recorded: Option<Vec<RecordedWrite>>,
    /// The pauses for the workers; `None`: there are none.
    pauses: Option<WorkPauses>,
    /// The id of the next new link, once one was needed: rows that are rolled back later may not stand in the audit.
    next_link_id: Option<i64>,
}

/// What has to be served behind the commit.
#[derive(Default)]
pub(super) struct ChangesToServe {
    pub(super) table_changes: Vec<TableChange>,
    pub(super) changes_suspensions: bool,
    /// Whether links are frozen now; `None`: as before.
    pub(super) is_frozen: Option<bool>,
}

/// What rows of a batch became.
struct AppliedRows {
    outcomes: Vec<RowOutcome>,
    table_changes: Vec<TableChange>,
    recorded_links: Option<Vec<RecordedLink>>,
}

/// Done, refused, or the store fails.
type Written = rusqlite::Result<Result<WriteReport, CatalogError>>;

impl<'a> WriteTransaction<'a> {
    /// Begins with the catalog's state. The time of `rules` is put behind the latest commit if a clock went back.
    pub(super) fn begin(
        connection: &'a Connection,
        rules: ChangeRules<'a>,
        source: LinkSource,
        random: &'a mut StdRng,
        latest_version: &'a AtomicU64,
    ) -> rusqlite::Result<WriteTransaction<'a>> {
        let now_ms = rules.now_ms.max(Meta::LatestMs.read_number(connection)?);
        Ok(WriteTransaction {
            connection,
            rules: ChangeRules { now_ms, ..rules },
            source,
            random,
            latest_version,
            frozen: Meta::Frozen.read(connection)?,
            changes: ChangesToServe::default(),
            recorded: None,
            pauses: None,
            next_link_id: None,
        })
    }

    /// This transaction, which records what the topic of links gets of it.
    pub(super) fn recording(self) -> WriteTransaction<'a> {
        WriteTransaction { recorded: Some(Vec::new()), ..self }
    }

    /// This transaction, which pauses now and then if workers serve beside it.
    pub(super) fn pausing_if(self, has_workers: bool) -> WriteTransaction<'a> {
        WriteTransaction { pauses: has_workers.then(WorkPauses::starting_now), ..self }
    }

    /// Writes one of them. A refused one changes nothing.
    pub(super) fn write(&mut self, write: Write) -> Written {
        if self.source == LinkSource::Topic {
            return Ok(Err(CatalogError::SourceIsTopic));
        }
        match write {
            Write::Batch(batch) => self.write_batch(&batch),
            Write::Suspend(act, suspension) => self.suspend(&act, suspension),
            Write::EndSuspension(act, dimension, value) => self.end_suspension(&act, dimension, &value),
            Write::Freeze(act, reason) => self.set_frozen(&act, "freeze", Some(reason)),
            Write::Unfreeze(act) => self.set_frozen(&act, "unfreeze", None),
        }
    }

    /// Writes the catalog's state behind all writes. What has changed is served after the commit.
    pub(super) fn finish(self) -> rusqlite::Result<ChangesToServe> {
        Meta::Version.write(self.connection, Some(&self.version().to_string()))?;
        Meta::LatestMs.write(self.connection, Some(&self.rules.now_ms.to_string()))?;
        Ok(self.changes)
    }

    /// Ends a transaction that is rolled back: what the topic of links gets.
    pub(super) fn into_recorded(self) -> Vec<RecordedWrite> {
        self.recorded.unwrap_or_default()
    }

    fn record(&mut self, act: &Act, change: RecordedChange) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(RecordedWrite { act: act.clone(), once: None, change });
        }
    }

    fn version(&self) -> u64 {
        self.latest_version.load(Ordering::Relaxed)
    }

    fn take_next_version(&self) -> u64 {
        self.latest_version.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn write_batch(&mut self, batch: &Batch) -> Written {
        if let Some(key) = &batch.once
            && let Some(earlier) = key.find_earlier_request(self.connection, self.rules.now_ms)?
        {
            return Ok(self.answer_again(earlier));
        }
        if let Some(reason) = &self.frozen {
            return Ok(Err(CatalogError::Frozen { reason: reason.clone() }));
        }
        if self.source == LinkSource::File {
            return Ok(Err(CatalogError::SourceIsFile));
        }
        let version_before = self.version();
        // A savepoint copies every page that is changed behind it.
        let can_be_rolled_back = batch.is_dry_run || batch.mode == BatchMode::Atomic;
        if can_be_rolled_back {
            self.connection.execute_batch("SAVEPOINT batch")?;
        }
        let AppliedRows { outcomes, mut table_changes, recorded_links } = self.apply_rows(batch)?;
        let has_refusal = outcomes.iter().any(|outcome| matches!(outcome, RowOutcome::Refused(_)));
        let is_refused_whole = has_refusal && batch.mode == BatchMode::Atomic;
        let is_applied = !batch.is_dry_run && !is_refused_whole;
        if is_applied {
            self.changes.table_changes.append(&mut table_changes);
            write_act(self.connection, &batch.act, "change", self.rules.now_ms)?;
            if let (Some(key), [RowOutcome::Created(link)]) = (&batch.once, &*outcomes) {
                key.keep_request(self.connection, self.rules.now_ms, link)?;
            }
            for link in recorded_links.into_iter().flatten() {
                self.record_link(batch, link);
            }
        } else {
            self.connection.execute_batch("ROLLBACK TO batch")?;
            // Without a links file nobody else takes versions.
            self.latest_version.store(version_before, Ordering::Relaxed);
        }
        if can_be_rolled_back {
            self.connection.execute_batch("RELEASE batch")?;
        }
        Ok(Ok(WriteReport::Batch(BatchReport { outcomes, is_applied, version: self.version() })))
    }

    fn apply_rows(&mut self, batch: &Batch) -> rusqlite::Result<AppliedRows> {
        let versions = Versions::counted(self.latest_version);
        let mut application = Application::new(self.connection, self.rules, &batch.act, self.random, versions);
        application.recorded = self.recorded.as_ref().map(|_| Vec::new());
        application.next_link_id = self.next_link_id;
        // A request with a key finds the one before it by the audit.
        if batch.once.is_none() && (batch.is_dry_run || self.recorded.is_some()) {
            application.extent = WriteExtent::WhatRowsAreCheckedAgainst;
        }
        let apply = |row| {
            self.pauses.iter_mut().for_each(WorkPauses::pause_if_due);
            application.apply_row(row)
        };
        let outcomes = batch.rows.iter().map(apply).collect::<rusqlite::Result<_>>()?;
        let Application { table_changes, recorded: recorded_links, next_link_id, .. } = application;
        self.next_link_id = next_link_id;
        Ok(AppliedRows { outcomes, table_changes, recorded_links })
    }

    fn record_link(&mut self, batch: &Batch, link: RecordedLink) {
        if let Some(recorded) = &mut self.recorded {
            let change = RecordedChange::Link(link);
            recorded.push(RecordedWrite { act: batch.act.clone(), once: batch.once.clone(), change });
        }
    }

    /// The report of a request whose `Idempotency-Key` is known.
    fn answer_again(&self, earlier: EarlierRequest) -> Result<WriteReport, CatalogError> {
        let EarlierRequest::Same(link) = earlier else { return Err(CatalogError::IdempotencyKeyReused) };
        let outcomes = vec![RowOutcome::Created(link)];
        Ok(WriteReport::Batch(BatchReport { outcomes, is_applied: true, version: self.version() }))
    }

    fn suspend(&mut self, act: &Act, suspension: NewSuspension) -> Written {
        let version = self.take_next_version();
        let suspension = suspension.into_row(act, version, self.rules.now_ms);
        let before = SuspensionRow::find(self.connection, suspension.dimension, &suspension.value)?;
        suspension.write(self.connection)?;
        let detail = detail_of_suspension(before.as_ref(), Some(&suspension));
        write_act_with_detail(self.connection, act, "suspend", self.rules.now_ms, Some(&detail))?;
        self.changes.changes_suspensions = true;
        self.record(act, RecordedChange::Suspended(suspension.clone()));
        Ok(Ok(WriteReport::Suspended { suspension, is_replaced: before.is_some() }))
    }

    fn end_suspension(&mut self, act: &Act, dimension: Dimension, value: &str) -> Written {
        let found = SuspensionRow::find(self.connection, dimension, value)?;
        if let Some(suspension) = &found {
            self.take_next_version();
            self.record(act, RecordedChange::SuspensionEnded(suspension.clone()));
            suspension.delete(self.connection)?;
            let detail = detail_of_suspension(Some(suspension), None);
            write_act_with_detail(self.connection, act, "end_suspension", self.rules.now_ms, Some(&detail))?;
            self.changes.changes_suspensions = true;
        }
        Ok(Ok(WriteReport::SuspensionEnded(found)))
    }

    fn set_frozen(&mut self, act: &Act, action: &str, reason: Option<String>) -> Written {
        Meta::Frozen.write(self.connection, reason.as_deref())?;
        let detail = serde_json::json!({"before": self.frozen, "after": reason});
        write_act_with_detail(self.connection, act, action, self.rules.now_ms, Some(&detail))?;
        self.changes.is_frozen = Some(reason.is_some());
        self.record(act, RecordedChange::FreezeChanged(reason.clone()));
        self.frozen = reason;
        Ok(Ok(WriteReport::FreezeChanged))
    }
}
