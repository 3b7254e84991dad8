//! Applies records of the topic to the catalog, on the catalog's thread, by the rules of every other source.

use std::sync::Arc;

use rand::rngs::StdRng;
use rusqlite::{Connection, TransactionBehavior};

use super::{
    fingerprint, parked,
    record::{RecordContent, RejectReason, Rejection, SuspensionValue, TopicRecord, to_ms},
    record_key::RecordKey,
    rejected,
    state::{Generation, TopicState},
    waiting,
};
use crate::{
    catalog::{
        act::{Act, new_act_id, write_act, write_act_with_detail},
        apply::{Application, ChangeRules},
        change::{ChangeRow, ExpectedLink, LinkChange, LinkName, RowOutcome},
        recorded::RecordedLink,
        store::{GoneRow, Meta, StoredLink},
        suspension_rows::{SuspensionRow, detail_of_suspension, load_suspensions},
        transaction::ChangesToServe,
        versions::Versions,
        writer::CatalogWriter,
    },
    clock::{self, work_pauses::WorkPauses},
    links::{
        RemovedLink,
        destination::policy::DestinationPolicy,
        domains::{Config, Domains},
        suspensions::Dimension,
    },
    model::link::record::Record,
    word_enum::word_enum,
};

/// Records that waited for the end of a freeze and are taken at once.
const UNPARKED_AT_ONCE: usize = 500;

word_enum! {
    /// What became of a record. The word is the label `kind` of a metric.
    pub(super) enum RecordOutcome {
        Link = "link",
        Gone = "gone",
        Tombstone = "tombstone",
        Suspension = "suspension",
        Domain = "domain",
        /// It is kept, and the configuration wins.
        DomainConfigured = "domain_configured",
        Freeze = "freeze",
        Generation = "generation",
        /// It waits for the end of a freeze.
        Parked = "parked",
        /// This build does not know it yet.
        Skipped = "skipped",
        /// It breaks a rule.
        Rejected = "rejected",
    }
}

/// Whether how far the topic is read is written with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPosition {
    /// It is.
    Advances,
    /// The records are a part of a topic that is read anew.
    Stays,
}

/// What became of a batch of records.
#[derive(Debug)]
pub(super) struct AppliedRecords {
    pub(super) state: TopicState,
    /// For each record, in their order.
    pub(super) outcomes: Vec<(RecordOutcome, u64)>,
    /// Why records were skipped.
    pub(super) rejections: Vec<(u64, RejectReason)>,
    /// Skipped records that are listed.
    pub(super) rejected_kept: u64,
    /// Why the catalog's file did not take the records, which are served all the same.
    pub(super) store_error: Option<String>,
}

/// Applies records in one transaction, with how far the topic is read, and serves them. If the file refuses them, they
/// are served and the state stays, so that they are applied once more: the topic is their home.
///
/// # Errors
/// No transaction can be begun.
pub(super) fn apply_records(
    writer: &mut CatalogWriter,
    state: TopicState,
    records: &[TopicRecord],
    position: ReadPosition,
) -> rusqlite::Result<AppliedRecords> {
    let before = state.clone();
    let transaction = writer.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
    let mut application = TopicApplication {
        connection: &transaction,
        policy: &writer.policy,
        configured: &writer.configured_domains,
        domains: writer.domains.clone(),
        changes_domains: false,
        now_ms,
        random: &mut writer.random,
        latest_version: &writer.latest_version,
        foreign_act: Act { id: new_act_id(), actor: format!("topic {}", state.topic), reason: None },
        frozen: Meta::Frozen.read(&transaction)?,
        state,
        changes: ChangesToServe::default(),
        outcomes: Vec::with_capacity(records.len()),
        rejections: Vec::new(),
    };
    let applied = application.apply_all_and_write_state(records, position);
    let TopicApplication { state, mut changes, outcomes, rejections, domains, changes_domains, .. } = application;
    let suspensions = std::mem::take(&mut changes.changes_suspensions).then(|| load_suspensions(&transaction));
    let rejected_kept = rejected::count(&transaction).unwrap_or(0);
    let stored = applied.and_then(|()| transaction.commit());
    if changes_domains {
        writer.serve_domains(domains);
    }
    writer.serve_changes(changes);
    if let (Some(Ok(suspensions)), Some(publish)) = (suspensions, &writer.publish_suspensions) {
        publish(suspensions.into());
    }
    let store_error = stored.err().map(|error| error.to_string());
    let state = if store_error.is_some() { before } else { state };
    Ok(AppliedRecords { state, outcomes, rejections, rejected_kept, store_error })
}

/// Records of one transaction while they are applied.
pub(super) struct TopicApplication<'a> {
    pub(super) connection: &'a Connection,
    pub(super) policy: &'a DestinationPolicy,
    /// The domains of the configuration.
    pub(super) configured: &'a Config,
    /// The domains behind the records so far.
    pub(super) domains: Arc<Domains>,
    pub(super) changes_domains: bool,
    /// The wall's time, never before the latest commit, milliseconds since the epoch.
    now_ms: u64,
    random: &'a mut StdRng,
    latest_version: &'a std::sync::atomic::AtomicU64,
    /// The act of records of other programs.
    foreign_act: Act,
    /// Why links are frozen.
    frozen: Option<String>,
    state: TopicState,
    changes: ChangesToServe,
    pub(super) outcomes: Vec<(RecordOutcome, u64)>,
    rejections: Vec<(u64, RejectReason)>,
}

impl TopicApplication<'_> {
    fn apply_all_and_write_state(&mut self, records: &[TopicRecord], position: ReadPosition) -> rusqlite::Result<()> {
        let mut pauses = WorkPauses::starting_now();
        for record in records {
            pauses.pause_if_due();
            self.state.next_offset = record.offset + 1;
            let outcome = self.apply_record(record)?;
            self.outcomes.push((outcome, record.at_ms));
        }
        let version = self.state.next_offset.saturating_sub(1);
        self.latest_version.store(version, std::sync::atomic::Ordering::Relaxed);
        Meta::Version.write(self.connection, Some(&version.to_string()))?;
        Meta::LatestMs.write(self.connection, Some(&self.now_ms.to_string()))?;
        match position {
            ReadPosition::Advances => self.state.write(self.connection),
            ReadPosition::Stays => Ok(()),
        }
    }

    pub(super) fn apply_record(&mut self, record: &TopicRecord) -> rusqlite::Result<RecordOutcome> {
        match record.parse() {
            Err(rejection) => self.reject(record, &rejection),
            Ok(content) if self.frozen.is_some() && is_about_link_or_domain(&content) => {
                parked::park(self.connection, record)?;
                Ok(RecordOutcome::Parked)
            }
            Ok(content) => self.apply_content(record, content),
        }
    }

    fn apply_content(&mut self, record: &TopicRecord, content: RecordContent) -> rusqlite::Result<RecordOutcome> {
        match content {
            RecordContent::PutLink { name, record: link, text } => self.put_link(record, &name, link, text),
            RecordContent::GoneLink { name, gone } => self.remove_link(record, name, Some(gone)),
            RecordContent::LinkTombstone { name } => self.remove_link(record, name, None),
            RecordContent::Suspend { dimension, value, suspension } => {
                self.suspend(record, dimension, value, suspension)
            }
            RecordContent::EndSuspension { dimension, value } => self.end_suspension(record, dimension, &value),
            RecordContent::Domain { host, settings } => {
                self.change_domain(record, &host, settings.map(|settings| *settings))
            }
            RecordContent::Freeze { reason } => self.set_frozen(record, reason),
            RecordContent::Generation { id } => {
                self.state.generation = Some(Generation { id, offset: record.offset });
                Ok(RecordOutcome::Generation)
            }
            RecordContent::Skipped => Ok(RecordOutcome::Skipped),
        }
    }

    pub(super) fn reject(&mut self, record: &TopicRecord, rejection: &Rejection) -> rusqlite::Result<RecordOutcome> {
        rejected::keep(self.connection, record, rejection)?;
        self.rejections.push((record.offset, rejection.reason));
        Ok(RecordOutcome::Rejected)
    }

    pub(super) fn act_of(&self, record: &TopicRecord) -> Act {
        let author = record.author.as_ref().and_then(super::record::RecordAuthor::to_act);
        author.unwrap_or_else(|| self.foreign_act.clone())
    }

    /// Applies by the clock of the record, so that edges that read it at different times agree.
    fn with_link_application<T>(
        &mut self,
        record: &TopicRecord,
        apply: impl FnOnce(&mut Application<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let act = self.act_of(record);
        let domains = self.domains.clone();
        let rules = ChangeRules { policy: self.policy, domains: &domains, now_ms: self.time_of(record) };
        let versions = Versions::of_offset(self.latest_version, record.offset);
        let mut application = Application::new(self.connection, rules, &act, self.random, versions);
        application.recorded = Some(Vec::new());
        let value = apply(&mut application)?;
        let Application { mut table_changes, recorded, .. } = application;
        self.changes.table_changes.append(&mut table_changes);
        let recorded: Vec<RecordedLink> = recorded.unwrap_or_default();
        if !recorded.is_empty() {
            write_act(self.connection, &act, "change", self.time_of(record))?;
        }
        for change in &recorded {
            self.state.fingerprint = fingerprint::update(self.state.fingerprint, change);
        }
        Ok(value)
    }

    pub(super) fn time_of(&self, record: &TopicRecord) -> u64 {
        if record.at_ms == 0 { self.now_ms } else { record.at_ms.min(self.now_ms) }
    }

    fn put_link(
        &mut self,
        record: &TopicRecord,
        name: &LinkName,
        link: Box<Record>,
        text: String,
    ) -> rusqlite::Result<RecordOutcome> {
        if self.domains.find_by_name(&name.domain).is_none() {
            waiting::keep(self.connection, record)?;
            let detail = "no domain has this name; the link waits for the record d/HOST or a [domains] section";
            return self.reject(record, &Rejection::new(RejectReason::DomainUnknown, detail));
        }
        let outcome = self.with_link_application(record, |application| {
            if application.canonical_name(name).is_some_and(|canonical| canonical != *name) {
                return Ok(None);
            }
            let change = LinkChange::Put { record: link, text: Some(text) };
            application.apply_row(&ChangeRow { change, expected: ExpectedLink::Any }).map(Some)
        })?;
        let Some(outcome) = outcome else {
            let detail = "the domain ignores case, so the key has the code in lower case";
            return self.reject(record, &Rejection::new(RejectReason::KeyDiffers, detail));
        };
        if let RowOutcome::Refused(refusal) = outcome {
            return self.reject(record, &Rejection::of_refusal(refusal));
        }
        rejected::forget_key(self.connection, &record.key_text())?;
        let once = record.author.as_ref().and_then(|author| author.once.as_ref());
        if let (Some(once), RowOutcome::Created(link)) = (once, &outcome) {
            once.to_key().keep_request(self.connection, self.now_ms, link)?;
        }
        Ok(RecordOutcome::Link)
    }

    /// Removes a link. `gone` reserves its code; a tombstone of another program reserves it from its own time on.
    fn remove_link(
        &mut self,
        record: &TopicRecord,
        name: LinkName,
        gone: Option<RemovedLink>,
    ) -> rusqlite::Result<RecordOutcome> {
        let connection = self.connection;
        if let Some(stored) = StoredLink::find(connection, &name.domain, &name.code)? {
            self.with_link_application(record, |application| application.delete_link(&name, &stored))?;
        } else if gone.is_none()
            && let Some(row) = GoneRow::find(connection, &name.domain, &name.code)?
            && row.link.reusable_at_ms() <= self.now_ms
        {
            GoneRow::delete(connection, &name.domain, &name.code)?;
        }
        rejected::forget_key(connection, &record.key_text())?;
        waiting::forget_key(connection, &record.key_text())?;
        let Some(link) = gone else { return Ok(RecordOutcome::Tombstone) };
        GoneRow { domain: name.domain, code: name.code, link, id: None }.write(connection)?;
        Ok(RecordOutcome::Gone)
    }

    fn suspend(
        &mut self,
        record: &TopicRecord,
        dimension: Dimension,
        value: String,
        suspension: SuspensionValue,
    ) -> rusqlite::Result<RecordOutcome> {
        let fallback =
            suspension.fallback_url.map(|url| self.policy.check_and_normalize_url_without_placeholders(&url));
        let fallback_url = match fallback.transpose() {
            Ok(fallback_url) => fallback_url,
            Err(error) => {
                let detail = format!("fallback_url: {error}");
                return self.reject(record, &Rejection::new(RejectReason::Invalid, detail));
            }
        };
        let act = self.act_of(record);
        let row = SuspensionRow {
            dimension,
            value,
            version: record.offset,
            since_ms: self.time_of(record),
            until_ms: suspension.until.map(to_ms),
            actor: act.actor.clone(),
            reason: suspension.reason,
            fallback_url,
        };
        let before = SuspensionRow::find(self.connection, row.dimension, &row.value)?;
        row.write(self.connection)?;
        self.finish_suspension(record, &act, "suspend", &detail_of_suspension(before.as_ref(), Some(&row)))
    }

    fn end_suspension(
        &mut self,
        record: &TopicRecord,
        dimension: Dimension,
        value: &str,
    ) -> rusqlite::Result<RecordOutcome> {
        let before = SuspensionRow::find(self.connection, dimension, value)?;
        if let Some(suspension) = &before {
            suspension.delete(self.connection)?;
        }
        let act = self.act_of(record);
        self.finish_suspension(record, &act, "end_suspension", &detail_of_suspension(before.as_ref(), None))
    }

    fn finish_suspension(
        &mut self,
        record: &TopicRecord,
        act: &Act,
        action: &str,
        detail: &serde_json::Value,
    ) -> rusqlite::Result<RecordOutcome> {
        write_act_with_detail(self.connection, act, action, self.time_of(record), Some(detail))?;
        rejected::forget_key(self.connection, &record.key_text())?;
        self.changes.changes_suspensions = true;
        Ok(RecordOutcome::Suspension)
    }

    /// Sets why links are frozen. At the end of a freeze the records that waited are applied, in their order.
    fn set_frozen(&mut self, record: &TopicRecord, reason: Option<String>) -> rusqlite::Result<RecordOutcome> {
        Meta::Frozen.write(self.connection, reason.as_deref())?;
        let action = if reason.is_some() { "freeze" } else { "unfreeze" };
        let detail = serde_json::json!({"before": self.frozen, "after": reason});
        write_act_with_detail(self.connection, &self.act_of(record), action, self.time_of(record), Some(&detail))?;
        rejected::forget_key(self.connection, &RecordKey::Freeze.to_string())?;
        self.changes.is_frozen = Some(reason.is_some());
        self.frozen = reason;
        while self.frozen.is_none() {
            let waiting = parked::take_first(self.connection, UNPARKED_AT_ONCE)?;
            if waiting.is_empty() {
                break;
            }
            for waiting in &waiting {
                let outcome = self.apply_record(waiting)?;
                self.outcomes.push((outcome, waiting.at_ms));
            }
        }
        Ok(RecordOutcome::Freeze)
    }
}

fn is_about_link_or_domain(content: &RecordContent) -> bool {
    use RecordContent::{Domain, GoneLink, LinkTombstone, PutLink};
    matches!(content, PutLink { .. } | GoneLink { .. } | LinkTombstone { .. } | Domain { .. })
}
