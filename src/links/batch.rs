//! A batch of link records: one new version of all links, checked record by record and collected in a fresh table.
//!
//! A batch knows nothing of the source of its records. A source numbers its records, adds them from one or several
//! threads, and translates the violations, which are values, into positions of its own (`file` into lines and columns).

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    links::{
        destination::policy::DestinationPolicy,
        domains::{DomainId, Domains},
        link::{Link, ValidLink},
        link_key::LinkKey,
        own_host::{self, OwnHostLink},
        rules::{self, PreviousComparison, ShrinkViolation},
        table::Table,
    },
    model::link::record::{Record, RecordError},
};

/// What the records of a batch are checked against.
#[derive(Clone, Copy)]
pub struct BatchRules<'a> {
    /// Which destinations are allowed.
    pub policy: &'a DestinationPolicy,
    /// The domains that links may name.
    pub domains: &'a Domains,
    /// The wall's time, milliseconds since the epoch.
    pub now_ms: u64,
    /// The links that are served now, if any: some fields of them never change.
    pub served: Option<&'a Table>,
    /// Gives each new or changed link a version of its own: the number behind this one.
    pub latest_version: &'a AtomicU64,
    /// Whether the batch may be empty, or lack more than a tenth of the live links.
    pub allow_shrink: bool,
}

/// What became of one record.
#[derive(Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The record is a link of the batch; the warnings name allowed but unusual values.
    Added(Vec<RecordError>),
    /// The domain has the code already, from another record of the batch, and
    /// [`LinkBatch::take_conflicts_between_records`] lists the code.
    DuplicateCode,
    /// The record breaks these rules.
    Invalid(Vec<RecordError>),
}

/// A record that is valid alone, and not beside the others.
#[derive(Debug, PartialEq, Eq)]
pub struct ConflictingRecord {
    /// The number that the source gave the record.
    pub number: u64,
    /// What is wrong: its code left another domain, or its URL leads back to it through other links.
    pub error: RecordError,
}

/// Errors of records that are valid alone and not together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchConflicts {
    /// A key for each record beyond the first with this key, in no order.
    pub duplicates: Vec<LinkKey>,
    /// The other conflicts, in no order.
    pub records: Vec<ConflictingRecord>,
}

/// A new version of all links.
pub struct FinishedBatch {
    /// The links.
    pub table: Table,
    /// How many links of the version before are gone.
    pub removed: u64,
}

/// A new version of all links while it is collected. Shared by the threads of a source.
pub struct LinkBatch<'a> {
    rules: BatchRules<'a>,
    table: Table,
    candidates: Mutex<ConflictCandidates>,
}

#[derive(Default)]
struct ConflictCandidates {
    duplicates: Vec<LinkKey>,
    moves: Vec<MoveCandidate>,
    own_host_links: Vec<OwnHostLink>,
}

/// A link that is new in its domain and whose code another domain serves. It moved if the batch lacks the code there.
struct MoveCandidate {
    number: u64,
    from: DomainId,
    code: Vec<u8>,
}

impl<'a> LinkBatch<'a> {
    /// An empty batch with space for `capacity` links.
    pub fn new(rules: BatchRules<'a>, capacity: usize) -> LinkBatch<'a> {
        LinkBatch { rules, table: Table::with_capacity(capacity), candidates: Mutex::default() }
    }

    /// Checks a record against every rule that needs no other record of the batch, and adds its link.
    /// `record_number` is the source's name for the record.
    pub fn check_record_alone_and_add_link(&self, record_number: u64, record: &Record) -> RecordResult {
        let BatchRules { policy, domains, now_ms, served, latest_version, .. } = self.rules;
        let version = latest_version.fetch_add(1, Ordering::Relaxed) + 1;
        let ValidLink { mut link, warnings, own_host_targets } =
            match Link::check_and_build_from_record(record, policy, domains, now_ms, version) {
                Ok(valid) => valid,
                Err(errors) => return RecordResult::Invalid(errors),
            };
        if let Some(served) = served {
            match rules::compare_with_previous(&link, served, now_ms) {
                PreviousComparison::NoPreviousLink => {
                    self.record_possible_moves_from_other_domains(record_number, &link, served)
                }
                // It keeps its version, and both tables share its memory.
                PreviousComparison::Unchanged(previous) => link = previous,
                PreviousComparison::NoForbiddenChange => {}
                PreviousComparison::ForbiddenChanges(errors) => return RecordResult::Invalid(errors),
            }
        }
        if !own_host_targets.is_empty() {
            let own = OwnHostLink { number: record_number, key: link.key(), targets: own_host_targets };
            self.with_candidates(|candidates| candidates.own_host_links.push(own));
        }
        match self.table.try_insert_or_give_back(link) {
            Ok(()) => RecordResult::Added(warnings),
            Err(link) => {
                let key = link.key();
                self.with_candidates(|candidates| candidates.duplicates.push(key));
                RecordResult::DuplicateCode
            }
        }
    }

    fn record_possible_moves_from_other_domains(&self, record_number: u64, link: &Link, served: &Table) {
        for from in rules::other_domains_with_code(link, served, self.rules.domains) {
            let candidate = MoveCandidate { number: record_number, from: from.id, code: link.code().to_owned() };
            self.with_candidates(|candidates| candidates.moves.push(candidate));
        }
    }

    fn with_candidates(&self, change: impl FnOnce(&mut ConflictCandidates)) {
        change(&mut self.candidates.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The errors that only all records together show. Called once, after the last record was added.
    pub fn take_conflicts_between_records(&mut self) -> BatchConflicts {
        let candidates = std::mem::take(self.candidates.get_mut().unwrap_or_else(PoisonError::into_inner));
        let is_moved = |candidate: &MoveCandidate| self.table.get(candidate.from, &candidate.code).is_none();
        let moved = candidates.moves.into_iter().filter(is_moved).map(|candidate| ConflictingRecord {
            number: candidate.number,
            error: rules::moved_domain_error(self.rules.domains.domain(candidate.from)),
        });
        let circles = own_host::find_circles(&candidates.own_host_links)
            .into_iter()
            .map(|(number, error)| ConflictingRecord { number, error });
        BatchConflicts { duplicates: candidates.duplicates, records: moved.chain(circles).collect() }
    }

    /// Ends the batch; gives the table, ready to be published. Called only if no record is invalid and none conflicts.
    ///
    /// # Errors
    /// The batch loses too many links, and `allow_shrink` is not set.
    pub fn into_table_remembering_removed_links(self) -> Result<FinishedBatch, ShrinkViolation> {
        let LinkBatch { rules: BatchRules { now_ms, served, allow_shrink, .. }, mut table, .. } = self;
        if !allow_shrink {
            rules::check_new_table_keeps_most_live_links(&table, served, now_ms)?;
        }
        let removed = served.map_or(0, |served| table.remember_and_count_links_removed_since(served, now_ms));
        Ok(FinishedBatch { table, removed })
    }
}
