//! A producer with transactions, as `sinks::kafka::transactions` drives one: clicks, statements and the checkpoint are
//! committed together or not at all, and the engine resumes from the last checkpoint.

use std::time::{Duration, Instant};

use super::{
    MAX_IN_FLIGHT,
    cluster::{SharedCluster, SimulatedCheckpoint, SimulatedCluster, SimulatedRecord},
};
use crate::{
    clock,
    delivery::{
        committed::CommittedLanes,
        lane::JournalConflict,
        sink::{DeliveryReport, OutgoingRecord, ReturnCause, SendOutcome, Sink, StatementCounts},
    },
    journal::SinkNote,
    kafka::Refusal,
    model::click::Topic,
};

const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// Ranges of a lane in a checkpoint: so few that the bound is met.
const MAX_RANGES_OF_LANE: usize = 8;
const NOTE_MAGIC: &[u8; 8] = b"WPMODEL1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    CheckingTakeover {
        check_at: Instant,
    },
    Joining,
    Resuming,
    Idle,
    Open {
        since: Instant,
        records: usize,
    },
    Committing,
    Aborting,
    /// Another process has taken over.
    TakenOver,
}

/// The sink of one process.
pub(crate) struct ExactlyOnceSink {
    topic: Topic,
    cluster: SharedCluster,
    value: Vec<u8>,
    process: u64,
    producer: u64,
    phase: Phase,
    is_first_commit_pending: bool,
    is_abort_only: bool,
    last_checkpoint: Option<(u64, u64)>,
    lanes_at_join: CommittedLanes,
    offset_hint: Option<u64>,
    statements: StatementCounts,
}

impl ExactlyOnceSink {
    pub(super) fn new(topic: Topic, cluster: &SharedCluster, notes: &[SinkNote]) -> ExactlyOnceSink {
        let random = cluster.lock().unwrap().random.next_below(usize::MAX);
        ExactlyOnceSink {
            topic,
            cluster: cluster.clone(),
            value: Vec::new(),
            process: random as u64,
            producer: 0,
            phase: Phase::Joining,
            is_first_commit_pending: true,
            is_abort_only: false,
            last_checkpoint: None,
            lanes_at_join: CommittedLanes::new(),
            offset_hint: notes.iter().filter_map(find_offset_in_note).max(),
            statements: StatementCounts::default(),
        }
    }

    pub(super) fn is_taken_over(&self) -> bool {
        self.phase == Phase::TakenOver
    }

    fn accepts_records(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Open { .. })
    }

    fn count_record_and_begin_transaction_if_none_open(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Open { records, .. } => *records += 1,
            phase => *phase = Phase::Open { since: now, records: 1 },
        }
    }

    fn was_written_later_by_other_process(&self, stored: &SimulatedCheckpoint) -> bool {
        stored.process != self.process && self.last_checkpoint != Some(stored.id())
    }

    /// The statements of the transaction never arrive.
    fn count_unsettled_statements_as_failed(&mut self, cluster: &mut SimulatedCluster) {
        let lost = std::mem::take(&mut self.statements.pending);
        self.statements.failed += lost;
        cluster.events.statements_failed += lost;
    }

    fn drop_producer_and_return_clicks(
        &mut self,
        refusal: Refusal,
        now: Instant,
        cluster: &mut SimulatedCluster,
        reports: &mut Vec<DeliveryReport>,
    ) {
        self.count_unsettled_statements_as_failed(cluster);
        reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(refusal)));
        self.is_abort_only = false;
        self.phase = match refusal {
            Refusal::Fenced => Phase::CheckingTakeover { check_at: now + TAKEOVER_TIMEOUT },
            _ => Phase::Joining,
        };
    }

    /// Reads the last checkpoint, from which the engine resumes; or another process has taken over.
    fn resume_or_note_takeover(&mut self, cluster: &mut SimulatedCluster) -> Option<CommittedLanes> {
        let stored = cluster.checkpoint.clone();
        if let Some(stored) = &stored
            && self.last_checkpoint.is_some()
            && self.was_written_later_by_other_process(stored)
        {
            self.phase = Phase::TakenOver;
            return None;
        }
        (self.phase, self.is_first_commit_pending) = (Phase::Idle, true);
        let Some(stored) = stored else { return Some(CommittedLanes::new()) };
        (self.last_checkpoint, self.offset_hint) = (Some(stored.id()), Some(stored.offset));
        self.lanes_at_join.clone_from(&stored.lanes);
        Some(stored.lanes)
    }

    /// Refuses the poisonous records of the transaction, each with some others of its batch.
    fn report_poison_and_mark_abort_only(&mut self, cluster: &mut SimulatedCluster, reports: &mut Vec<DeliveryReport>) {
        if self.is_abort_only || !cluster.open.clicks.iter().any(|record| record.poison) {
            return;
        }
        self.is_abort_only = true;
        let random = &cluster.random;
        let refused = cluster.open.clicks.iter().filter(|record| record.poison || random.next_below(4) == 0);
        reports.extend(refused.map(|record| DeliveryReport::Refused(record.id, Refusal::TooLarge)));
    }

    fn begin_commit(&mut self, cluster: &mut SimulatedCluster, mut lanes: CommittedLanes) {
        for (key, committed) in &lanes {
            assert!(committed.above.len() <= MAX_RANGES_OF_LANE, "{key:?}: {} ranges", committed.above.len());
        }
        for (key, committed) in &self.lanes_at_join {
            lanes.entry(*key).or_insert_with(|| committed.clone());
        }
        cluster.open.checkpoint = Some((self.process, lanes));
        self.phase = Phase::Committing;
    }

    fn commit_or_fail(&mut self, now: Instant, cluster: &mut SimulatedCluster, reports: &mut Vec<DeliveryReport>) {
        if cluster.statement_failures_to_come > 0 && self.statements.pending > 0 || cluster.fails_once_in(12) {
            cluster.statement_failures_to_come = cluster.statement_failures_to_come.saturating_sub(1);
            self.begin_abort(cluster);
        } else if cluster.fails_once_in(12) {
            self.drop_producer_and_return_clicks(Refusal::Fatal, now, cluster, reports);
        } else {
            cluster.commit();
            self.last_checkpoint = cluster.checkpoint.as_ref().map(SimulatedCheckpoint::id);
            self.offset_hint = cluster.checkpoint.as_ref().map(|stored| stored.offset);
            (self.phase, self.is_first_commit_pending) = (Phase::Idle, false);
            self.statements.pending = 0;
            reports.push(DeliveryReport::AllDelivered);
        }
    }

    /// From now on nothing can commit the transaction.
    fn begin_abort(&mut self, cluster: &mut SimulatedCluster) {
        cluster.open.checkpoint = None;
        self.phase = Phase::Aborting;
    }

    fn abort(&mut self, cluster: &mut SimulatedCluster, reports: &mut Vec<DeliveryReport>) {
        cluster.abort();
        self.count_unsettled_statements_as_failed(cluster);
        (self.phase, self.is_abort_only) = (Phase::Idle, false);
        reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(Refusal::Retriable)));
    }

    fn run_due_step(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
        cluster: &mut SimulatedCluster,
    ) -> Option<CommittedLanes> {
        let speaks_to_coordinator = match self.phase {
            Phase::Open { .. } | Phase::Committing | Phase::Aborting => true,
            Phase::Idle => self.is_first_commit_pending,
            _ => false,
        };
        if speaks_to_coordinator && self.producer != cluster.newest_producer {
            cluster.events.producers_fenced += 1;
            self.drop_producer_and_return_clicks(Refusal::Fenced, now, cluster, reports);
            return None;
        }
        if matches!(self.phase, Phase::Open { .. } | Phase::Committing) {
            if cluster.fails_once_in(150) {
                cluster.expire_transaction();
                return None;
            }
            self.report_poison_and_mark_abort_only(cluster, reports);
        }
        match self.phase {
            Phase::TakenOver => {}
            Phase::CheckingTakeover { check_at } if now < check_at => {}
            Phase::CheckingTakeover { .. } => {
                let taken =
                    cluster.checkpoint.as_ref().is_some_and(|stored| self.was_written_later_by_other_process(stored));
                self.phase = if taken { Phase::TakenOver } else { Phase::Joining };
                cluster.events.processes_taken_over += u64::from(taken);
            }
            Phase::Joining => {
                self.producer = cluster.join_and_return_producer();
                self.phase = Phase::Resuming;
            }
            Phase::Resuming => return self.resume_or_note_takeover(cluster),
            Phase::Idle if !self.is_first_commit_pending => {}
            Phase::Idle | Phase::Open { .. } | Phase::Committing if self.is_abort_only => self.begin_abort(cluster),
            Phase::Open { since, records }
                if !flush_now && now.duration_since(since) < COMMIT_INTERVAL && records < MAX_IN_FLIGHT / 2 => {}
            Phase::Idle | Phase::Open { .. } => self.begin_commit(cluster, next_commit()),
            Phase::Committing => self.commit_or_fail(now, cluster, reports),
            Phase::Aborting => self.abort(cluster, reports),
        }
        None
    }
}

impl Sink for ExactlyOnceSink {
    fn record_buffer_if_accepting(&mut self, _: Instant) -> Option<&mut Vec<u8>> {
        self.accepts_records().then_some(())?;
        self.value.clear();
        Some(&mut self.value)
    }

    fn send_buffered(&mut self, record: &OutgoingRecord<'_>) -> SendOutcome {
        self.count_record_and_begin_transaction_if_none_open(clock::now());
        let mut cluster = self.cluster.lock().unwrap();
        if cluster.random.next_below(50) == 0 {
            return SendOutcome::QueueFull;
        }
        // A fenced producer's records reach no transaction.
        if self.producer == cluster.newest_producer {
            cluster.open.clicks.push(SimulatedRecord::new(record, &self.value));
        }
        SendOutcome::Accepted
    }

    fn poll(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        let cluster = self.cluster.clone();
        let mut cluster = cluster.lock().unwrap();
        cluster.answers_call().then_some(())?;
        self.run_due_step(now, flush_now, reports, next_commit, &mut cluster)
    }

    fn journal_note(&self) -> SinkNote {
        let mut note = [0; 64];
        if let Some(offset) = self.offset_hint {
            note[..8].copy_from_slice(NOTE_MAGIC);
            note[8..16].copy_from_slice(&offset.to_le_bytes());
        }
        note
    }

    fn topic_name(&self) -> &str {
        self.topic.name()
    }

    fn checkpoints_cover(&self, note: &SinkNote) -> bool {
        find_offset_in_note(note).is_some()
    }

    fn max_committed_ranges(&self, _: usize) -> usize {
        MAX_RANGES_OF_LANE
    }

    fn is_resumed(&self) -> bool {
        !self.is_first_commit_pending
    }

    fn stop_delivery_until_next_start(&mut self, conflict: JournalConflict, _: &mut Vec<DeliveryReport>) {
        panic!("nothing of the cluster was lost: {conflict:?}");
    }

    fn try_send_statement(&mut self, _: u16, statement: &[u8], _: u64, _: u8) -> bool {
        if !self.accepts_records() {
            return false;
        }
        self.count_record_and_begin_transaction_if_none_open(clock::now());
        let mut cluster = self.cluster.lock().unwrap();
        if self.producer == cluster.newest_producer {
            cluster.open.statements.push(statement.to_vec());
        }
        self.statements.pending += 1;
        true
    }

    fn statement_counts(&self) -> StatementCounts {
        let is_open = matches!(self.phase, Phase::Open { .. } | Phase::Committing | Phase::Aborting);
        StatementCounts { pending: self.statements.pending + u64::from(is_open), ..self.statements }
    }
}

impl Drop for ExactlyOnceSink {
    /// The request to commit may be on its way. Otherwise the next producer to join settles the transaction.
    fn drop(&mut self) {
        let mut cluster = self.cluster.lock().unwrap();
        if self.phase == Phase::Committing && self.producer == cluster.newest_producer && cluster.answers_call() {
            cluster.settle_left_transaction();
        }
    }
}

fn find_offset_in_note(note: &SinkNote) -> Option<u64> {
    let rest = note.strip_prefix(NOTE_MAGIC)?;
    rest.first_chunk().map(|offset| u64::from_le_bytes(*offset))
}
