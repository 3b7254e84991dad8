//! Exactly-once: clicks and the edge's checkpoint are committed in one transaction, or not at all.
//!
//! ```text
//!  start, or a new producer ──▶ Joining ─────▶ Resuming ────▶ Idle ──▶ Open ──▶ Committing ──▶ Idle
//!                               fences every   reads the       ▲         │         │
//!                               earlier        last            │         ▼         ▼
//!  fenced ──▶ CheckingTakeover ▶ producer      checkpoint      └────── Aborting ◀──┘
//!                    └──▶ stopped: another process has committed as this edge
//! ```
//!
//! A producer is fenced by another process of the same edge, and also by the broker itself when a transaction was open
//! for longer than `transaction.timeout.ms`, as after an outage. The checkpoints tell which of the two it was: each
//! names the process that wrote it, and each process commits one as soon as it has joined. If no other process has
//! committed since, this one joins again; else it stops. So of two live processes the one that committed last goes on.
//!
//! Every call to the client waits for at most [`CALL_TIMEOUT`] and is repeated until it succeeds.

use std::time::{Duration, Instant};

use rdkafka::{
    error::KafkaError,
    producer::{BaseProducer, Producer},
};

use super::{
    checkpoint::{Checkpoint, encode_checkpoint_offset_note, find_checkpoint_offset_in_note},
    checkpoint_lookup::{CheckpointLookup, CommittedCheckpoint, LookupStep},
    producer::ProducerEvents,
};
use crate::{
    clock,
    delivery::committed::CommittedLanes,
    journal::SinkNote,
    kafka::{Config, Refusal},
    metrics as table,
    model::click::Topic,
};

/// A transaction is committed so long after its first record. Kafka Streams has the same default under exactly-once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// From a click to the end of the transaction that commits it, while Kafka is well: a wait for the commit, and twice as
/// long for the commit itself and a busy machine.
pub(crate) const USUAL_COMMIT_DELAY: Duration = Duration::from_millis(300);
const _: () = assert!(USUAL_COMMIT_DELAY.as_millis() >= 3 * COMMIT_INTERVAL.as_millis());
/// The longest time for which a call to the client may hold up the delivery thread.
const CALL_TIMEOUT: Duration = Duration::from_millis(20);
/// A process that has fenced this one needs so long to join, to read the last checkpoint, and to commit its own.
/// Without a new checkpoint after this time, the transaction had expired.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The possible causes of a fence, for the log.
pub(super) const FENCED_ADVICE: &str = "another process delivers as this edge, or a transaction was open for longer \
    than transaction.timeout.ms: the edge's checkpoints are read to find out which";

/// The state of the transactions.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Fenced: from `check_at` on the checkpoints are read, to see whether another process has taken over.
    CheckingTakeover { check_at: Instant },
    /// The producer takes the transactional id, which fences every earlier producer.
    #[default]
    Joining,
    /// The last checkpoint is being read.
    Resuming,
    /// No transaction is open.
    Idle,
    /// A transaction is open.
    Open { since: Instant, records: usize },
    /// The transaction is being committed.
    Committing { since: Instant },
    /// The transaction is being aborted.
    Aborting,
}

/// The result of a step that the sink has to act upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TransactionEvent {
    /// The last checkpoint is read; the engine resumes from it.
    Resumed(CommittedLanes),
    /// Every record since the last event is committed.
    Committed,
    /// No record since the last event is committed.
    Aborted,
    /// The producer has failed for good.
    ProducerFailed(Refusal),
    /// Another process has committed as this edge: its name.
    TakenOver(String),
}

/// The transactions of one topic of an edge, over the lives of its producers.
pub(super) struct Transactions {
    edge: String,
    topic: Topic,
    /// This process, as its checkpoints name it: host/pid/start in ms.
    process: String,
    phase: Phase,
    /// A transaction with so many records is committed at once: half of the clicks that may be in flight.
    max_records: usize,
    /// Whether the first commit is pending, which tells other processes that this one has joined.
    first_commit_pending: bool,
    /// Whether a record was refused, so that the transaction can only be aborted.
    abort_only: bool,
    /// The last known checkpoint: its process and offset.
    last_checkpoint: Option<CheckpointId>,
    /// The lanes of the last checkpoint that existed when this process joined.
    lanes_at_join: CommittedLanes,
    /// The offset of the last known checkpoint, or the one in the journal's notes.
    offset_hint: Option<i64>,
    lookup: CheckpointLookup,
    metrics: TransactionMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CheckpointId {
    process: String,
    offset: i64,
}

/// The metric handles of transactions.
pub(super) struct TransactionMetrics {
    committed: metrics::Counter,
    aborted: metrics::Counter,
    commit_seconds: metrics::Histogram,
}

impl TransactionMetrics {
    pub(super) fn register() -> TransactionMetrics {
        TransactionMetrics {
            committed: table::counter(&table::KAFKA_TRANSACTIONS, &["committed"]),
            aborted: table::counter(&table::KAFKA_TRANSACTIONS, &["aborted"]),
            commit_seconds: table::histogram(&table::KAFKA_COMMIT_SECONDS, &[]),
        }
    }
}

impl Transactions {
    /// `notes`: what the journal's lanes keep of the last checkpoint.
    pub(super) fn new(
        config: &Config,
        edge: &str,
        topic: Topic,
        notes: &[SinkNote],
        max_in_flight: usize,
        metrics: TransactionMetrics,
    ) -> Transactions {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let offset_hint = notes.iter().filter_map(|note| find_checkpoint_offset_in_note(edge, note)).max();
        Transactions {
            edge: edge.to_owned(),
            topic,
            process: format!("{host}/{}/{}", std::process::id(), clock::wall_ms()),
            phase: Phase::Joining,
            max_records: max_in_flight / 2,
            first_commit_pending: true,
            abort_only: false,
            last_checkpoint: None,
            lanes_at_join: CommittedLanes::new(),
            offset_hint,
            lookup: CheckpointLookup::new(config, edge, topic),
            metrics,
        }
    }

    /// The note for the journal: where the last checkpoint lies.
    pub(super) fn journal_note(&self) -> SinkNote {
        self.offset_hint.map_or([0; 64], |offset| encode_checkpoint_offset_note(&self.edge, offset))
    }

    /// Whether records may be sent now.
    pub(super) fn accepts_records(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Open { .. })
    }

    /// Whether this process has committed as the edge.
    pub(super) fn has_committed(&self) -> bool {
        !self.first_commit_pending
    }

    /// Whether a transaction waits to be committed or aborted.
    pub(super) fn is_transaction_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Committing { .. } | Phase::Aborting)
    }

    /// Counts one record in the open transaction, and opens one if none is. Called before the record is sent.
    ///
    /// # Errors
    /// The producer has failed.
    pub(super) fn count_record_and_begin_transaction_if_none_open(
        &mut self,
        producer: &BaseProducer<ProducerEvents>,
        now: Instant,
    ) -> Result<(), KafkaError> {
        match &mut self.phase {
            Phase::Open { records, .. } => *records += 1,
            _ => {
                producer.begin_transaction()?;
                self.phase = Phase::Open { since: now, records: 1 };
            }
        }
        Ok(())
    }

    /// Notes that a record was refused: the transaction can only be aborted.
    pub(super) fn mark_abort_only(&mut self) {
        self.abort_only = true;
    }

    /// Starts again with a new producer. `fenced`: the last producer was fenced, so another process may have taken
    /// over.
    pub(super) fn rejoin_with_new_producer_or_check_takeover(&mut self, now: Instant, fenced: bool) {
        self.abort_only = false;
        self.lookup.restart(self.offset_hint);
        self.phase = if fenced { Phase::CheckingTakeover { check_at: now + TAKEOVER_TIMEOUT } } else { Phase::Joining };
    }

    /// Does the work that is due, with at most one call to the client. `flush_now`: an open transaction is committed at
    /// once. `next_commit` gives the lanes for the checkpoint, and `send_checkpoint` sends it.
    pub(super) fn run_due_transaction_step(
        &mut self,
        producer: &BaseProducer<ProducerEvents>,
        now: Instant,
        flush_now: bool,
        next_commit: &dyn Fn() -> CommittedLanes,
        send_checkpoint: impl FnOnce(&[u8]) -> Result<(), KafkaError>,
    ) -> Option<TransactionEvent> {
        match self.phase {
            Phase::CheckingTakeover { check_at } if now < check_at => None,
            Phase::CheckingTakeover { .. } => self.report_takeover_or_rejoin_after_fence(now),
            Phase::Joining => self.try_init_transactions_and_restart_lookup(producer),
            Phase::Resuming => self.poll_lookup_and_resume_or_report_takeover(now),
            Phase::Idle if !self.first_commit_pending => None,
            Phase::Idle | Phase::Open { .. } | Phase::Committing { .. } if self.abort_only => {
                self.phase = Phase::Aborting;
                None
            }
            Phase::Open { since, records }
                if !flush_now && now.duration_since(since) < COMMIT_INTERVAL && records < self.max_records =>
            {
                None
            }
            Phase::Idle | Phase::Open { .. } => {
                self.send_checkpoint_and_begin_commit(producer, now, next_commit(), send_checkpoint)
            }
            Phase::Committing { since } => self.try_commit_transaction_and_count(producer, since),
            Phase::Aborting => self.try_abort_transaction_and_count(producer),
        }
    }

    fn try_init_transactions_and_restart_lookup(
        &mut self,
        producer: &BaseProducer<ProducerEvents>,
    ) -> Option<TransactionEvent> {
        match producer.init_transactions(CALL_TIMEOUT) {
            Ok(()) => {
                self.lookup.restart(self.offset_hint);
                self.phase = Phase::Resuming;
                None
            }
            Err(why) => self.retry_abort_or_give_up_after_error(&why),
        }
    }

    /// Sends the checkpoint as the last record of the transaction.
    fn send_checkpoint_and_begin_commit(
        &mut self,
        producer: &BaseProducer<ProducerEvents>,
        now: Instant,
        lanes: CommittedLanes,
        send_checkpoint: impl FnOnce(&[u8]) -> Result<(), KafkaError>,
    ) -> Option<TransactionEvent> {
        let mut checkpoint = Checkpoint { process: self.process.clone(), lanes };
        checkpoint.add_youngest_lanes_of_other_directories(&self.lanes_at_join);
        let value = checkpoint.encode(&self.edge, self.topic, clock::wall_ms());
        match self.count_record_and_begin_transaction_if_none_open(producer, now).and_then(|()| send_checkpoint(&value))
        {
            Ok(()) => self.phase = Phase::Committing { since: now },
            // The queue is full: the next call finds room once its records are sent.
            Err(why) if Refusal::of(&why) == Refusal::Retriable => {}
            Err(why) => return self.retry_abort_or_give_up_after_error(&why),
        }
        None
    }

    fn try_commit_transaction_and_count(
        &mut self,
        producer: &BaseProducer<ProducerEvents>,
        since: Instant,
    ) -> Option<TransactionEvent> {
        if let Err(why) = producer.commit_transaction(CALL_TIMEOUT) {
            return self.retry_abort_or_give_up_after_error(&why);
        }
        self.metrics.commit_seconds.record(since.elapsed().as_secs_f64());
        self.metrics.committed.increment(1);
        (self.phase, self.first_commit_pending) = (Phase::Idle, false);
        Some(TransactionEvent::Committed)
    }

    fn try_abort_transaction_and_count(&mut self, producer: &BaseProducer<ProducerEvents>) -> Option<TransactionEvent> {
        if let Err(why) = producer.abort_transaction(CALL_TIMEOUT) {
            return self.retry_abort_or_give_up_after_error(&why);
        }
        self.metrics.aborted.increment(1);
        (self.phase, self.abort_only) = (Phase::Idle, false);
        Some(TransactionEvent::Aborted)
    }

    /// Notes the offset of the checkpoint that was just committed. The report on it may come after the commit.
    pub(super) fn note_checkpoint_offset(&mut self, offset: i64) {
        self.offset_hint = Some(offset);
        self.last_checkpoint = Some(CheckpointId { process: self.process.clone(), offset });
    }

    /// Decides how to go on after a failed call: repeat it, abort the transaction, or give the producer up.
    fn retry_abort_or_give_up_after_error(&mut self, why: &KafkaError) -> Option<TransactionEvent> {
        match why {
            KafkaError::Transaction(error) if error.is_fatal() => {
                Some(TransactionEvent::ProducerFailed(Refusal::from_code(error.code())))
            }
            KafkaError::Transaction(error) if error.txn_requires_abort() => {
                self.phase = Phase::Aborting;
                None
            }
            KafkaError::Transaction(error) if error.is_retriable() => None,
            KafkaError::Transaction(error) => {
                // The call can neither be repeated nor undone, so this client is of no more use.
                tracing::debug!("a transaction failed: {error}");
                Some(TransactionEvent::ProducerFailed(Refusal::Fatal))
            }
            // Records still wait to be sent.
            KafkaError::Flush(_) => None,
            other => Some(TransactionEvent::ProducerFailed(Refusal::of(other))),
        }
    }

    /// After a fence: joins again, unless another process has committed since.
    fn report_takeover_or_rejoin_after_fence(&mut self, now: Instant) -> Option<TransactionEvent> {
        let LookupStep::Finished(stored) = self.lookup.advance_lookup_and_log_errors(now) else { return None };
        if let Some(stored) = stored
            && self.was_written_later_by_other_process(&stored)
        {
            return Some(TransactionEvent::TakenOver(stored.checkpoint.process));
        }
        self.phase = Phase::Joining;
        None
    }

    /// After joining: reads the last checkpoint, from which the engine resumes.
    fn poll_lookup_and_resume_or_report_takeover(&mut self, now: Instant) -> Option<TransactionEvent> {
        let LookupStep::Finished(stored) = self.lookup.advance_lookup_and_log_errors(now) else { return None };
        if let Some(stored) = &stored
            && self.last_checkpoint.is_some()
            && self.was_written_later_by_other_process(stored)
        {
            return Some(TransactionEvent::TakenOver(stored.checkpoint.process.clone()));
        }
        (self.phase, self.first_commit_pending) = (Phase::Idle, true);
        let Some(CommittedCheckpoint { checkpoint, offset }) = stored else {
            return Some(TransactionEvent::Resumed(CommittedLanes::new()));
        };
        self.offset_hint = Some(offset);
        self.last_checkpoint = Some(CheckpointId { process: checkpoint.process, offset });
        self.lanes_at_join = checkpoint.lanes.clone();
        Some(TransactionEvent::Resumed(checkpoint.lanes))
    }

    /// Whether another process wrote this checkpoint, after the last one that is known.
    fn was_written_later_by_other_process(&self, stored: &CommittedCheckpoint) -> bool {
        let process = &stored.checkpoint.process;
        let known =
            self.last_checkpoint.as_ref().is_some_and(|last| last.process == *process && last.offset == stored.offset);
        *process != self.process && !known
    }
}
