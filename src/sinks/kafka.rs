//! The Kafka sink of a topic: one idempotent producer with `acks=all`. A click is delivered once its delivery report
//! says so.
//!
//! - Key: the visitor's id as text, else the click's id. Never null: a click that is sent again lies in the partition
//!   of its first record. So a reader of one partition can apply the rule: the first click of a number stands, and a
//!   click outweighs its stub.
//! - Timestamp: the click's time, which a replay keeps.
//! - Headers: the time of sending, which the value must not hold; the media type of a value that is no JSON; and by
//!   choice CloudEvents in binary mode (`kafka.cloudevents`).
//!
//! After a fatal error the producer is dropped with everything in its queue, and the engine reads those clicks from the
//! journal again.
//!
//! Under exactly-once a click is delivered once its transaction is committed, together with a checkpoint of the edge
//! (`transactions`, `checkpoint`).

mod checkpoint;
mod checkpoint_lookup;
mod delivery_stopped;
pub mod hand_over;
mod producer;
mod producer_lifecycle;
mod producer_reports;
mod record;
mod transactions;

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use rdkafka::{
    message::Header,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode as Code,
};

#[cfg(any(test, fuzzing))]
pub use self::checkpoint::assert_decoded_checkpoint_survives_encoding;
pub(crate) use self::transactions::USUAL_COMMIT_DELAY;
use self::{
    delivery_stopped::DeliveryStopped,
    producer::{ProducerError, ProducerEvents, ProducerReport, build_producer},
    record::{
        CHECKPOINT_BITS, Rfc3339Formatter, STATEMENT_BITS, build_cloudevents_click_headers, build_cloudevents_headers,
        build_plain_click_headers, shift_refused_timestamp_ms,
    },
    transactions::{TransactionEvent, TransactionMetrics, Transactions},
};
use crate::{
    clock,
    delivery::{
        committed::CommittedLanes,
        lane::JournalConflict,
        sink::{DeliveryReport, OutgoingRecord, ReturnCause, SendOutcome, Sink, StatementCounts},
    },
    events::encoder::{ValueEncoding, format_uuid, format_visitor_id},
    journal::SinkNote,
    kafka::{Config, Encoding, Refusal},
    metrics as table,
    model::click::Topic,
};

/// The shortest time between two producers.
const FIRST_REBUILD_PAUSE: Duration = Duration::from_secs(1);
/// How often the producer is asked whether it has failed for good. A report usually says so sooner.
const FATAL_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A record that carries 64 bits through the producer's queue.
type Record<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// The producer, and what a record needs.
pub(crate) struct KafkaSink {
    topic: Topic,
    config: Config,
    edge: String,
    /// The header `ce_source`.
    source: String,
    producer: Option<BaseProducer<ProducerEvents>>,
    /// `None` under at-least-once.
    transactions: Option<Transactions>,
    /// The offset of the checkpoint that is being committed.
    checkpoint_offset: Option<i64>,
    /// A producer may be built again from this time on.
    rebuild_at: Instant,
    rebuild_pause: Duration,
    fatal_checked_at: Instant,
    /// The producer refused a record, so it is asked now whether it has failed for good.
    check_fatal_now: bool,
    stopped: Option<DeliveryStopped>,
    stopped_logged_at: Option<Instant>,
    value: Vec<u8>,
    /// Reports taken from the producer; kept for its allocation.
    producer_reports: Vec<ProducerReport>,
    time: Rfc3339Formatter,
    /// Producers built so far.
    producers_built: u64,
    statements: StatementCounts,
    /// Under exactly-once: statements that the broker has, and that are not committed yet.
    uncommitted_statements: u64,
    metrics: KafkaSinkMetrics,
}

struct KafkaSinkMetrics {
    stopped: [Gauge; DeliveryStopped::REASONS.len()],
    rebuilds: Counter,
    timestamps_shifted: Counter,
    statements_delivered: Counter,
    statements_failed: Counter,
}

impl KafkaSinkMetrics {
    fn register(topic: Topic) -> KafkaSinkMetrics {
        let stopped =
            DeliveryStopped::REASONS.map(|reason| table::gauge(&table::DELIVERY_STOPPED, &[topic.name(), reason]));
        stopped.iter().for_each(|gauge| gauge.set(0.0));
        KafkaSinkMetrics {
            stopped,
            rebuilds: table::counter(&table::KAFKA_PRODUCER_REBUILDS, &[]),
            timestamps_shifted: table::counter(&table::CLICKS_TIMESTAMP_SHIFTED, &[]),
            statements_delivered: table::counter(&table::LANE_STATEMENTS, &["delivered"]),
            statements_failed: table::counter(&table::LANE_STATEMENTS, &["failed"]),
        }
    }
}

impl KafkaSink {
    /// Builds the producer. It connects later, so a broker that is away is no error. `notes`: what the lanes keep of
    /// the sink.
    ///
    /// # Errors
    /// The settings do not make a producer, or a file that they name cannot be read.
    pub(crate) fn new(
        topic: Topic,
        config: Config,
        edge: &str,
        notes: &[SinkNote],
        max_in_flight: usize,
    ) -> Result<KafkaSink, ProducerError> {
        let producer = build_producer(&config, edge, topic)?;
        // Registered under at-least-once too, so that the series exist with the value 0.
        let metrics = TransactionMetrics::register();
        let transactions =
            config.exactly_once().then(|| Transactions::new(&config, edge, topic, notes, max_in_flight, metrics));
        let now = Instant::now();
        Ok(KafkaSink {
            topic,
            config,
            edge: edge.to_owned(),
            source: format!("/waypost/{edge}"),
            producer: Some(producer),
            transactions,
            checkpoint_offset: None,
            rebuild_at: now,
            rebuild_pause: FIRST_REBUILD_PAUSE,
            fatal_checked_at: now,
            check_fatal_now: false,
            stopped: None,
            stopped_logged_at: None,
            value: Vec::with_capacity(16 << 10),
            producer_reports: Vec::new(),
            time: Rfc3339Formatter::default(),
            producers_built: 1,
            statements: StatementCounts::default(),
            uncommitted_statements: 0,
            metrics: KafkaSinkMetrics::register(topic),
        })
    }

    /// Builds the topic's producer and drops it.
    ///
    /// # Errors
    /// As [`KafkaSink::new`].
    pub(crate) fn check_producer_can_be_built(topic: Topic, config: &Config, edge: &str) -> Result<(), ProducerError> {
        build_producer(config, edge, topic).map(drop)
    }

    #[cfg(test)]
    pub(super) fn producers_built(&self) -> u64 {
        self.producers_built
    }

    /// Whether records may be sent now.
    fn accepts_records(&self) -> bool {
        self.producer.is_some() && self.transactions.as_ref().is_none_or(Transactions::accepts_records)
    }

    /// Puts the next record into a transaction, under exactly-once. `false` if the producer has failed.
    fn try_begin_or_extend_transaction_if_exactly_once(&mut self) -> bool {
        let (Some(transactions), Some(producer)) = (&mut self.transactions, &self.producer) else { return true };
        let joined = transactions.count_record_and_begin_transaction_if_none_open(producer, Instant::now());
        self.check_fatal_now |= joined.is_err();
        joined.is_ok()
    }

    /// Does the next step of the transaction. Returns the committed lanes once the last checkpoint is read.
    fn run_transaction_step_and_return_lanes_if_resumed(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        let (Some(transactions), Some(producer)) = (&mut self.transactions, &self.producer) else { return None };
        let (topic, source, cloudevents) = (&self.config.topics.checkpoints, &self.source, self.config.cloudevents);
        let key = checkpoint::record_key(&self.edge, self.topic);
        let send_checkpoint = |value: &[u8]| {
            let mut record: Record<'_> = BaseRecord::with_opaque_to(topic, CHECKPOINT_BITS)
                .partition(checkpoint_lookup::PARTITION)
                .payload(value)
                .key(key.as_bytes());
            if cloudevents {
                let headers = build_cloudevents_headers(Encoding::Json, "waypost.checkpoint.v1", source);
                record = record.headers(headers);
            }
            producer.send(record).map_err(|(why, _)| why)
        };
        match transactions.run_due_transaction_step(producer, now, flush_now, next_commit, send_checkpoint)? {
            TransactionEvent::Resumed(committed) => return Some(committed),
            TransactionEvent::Committed => self.take_reports_and_add_all_delivered_after_commit(reports),
            TransactionEvent::Aborted => self.take_reports_and_add_all_returned_after_abort(reports),
            // Logged with the reason, and the producer dropped, at the next check.
            TransactionEvent::ProducerFailed(Refusal::Fatal | Refusal::Fenced)
                if producer.client().fatal_error().is_some() =>
            {
                self.check_fatal_now = true;
            }
            TransactionEvent::ProducerFailed(refusal) => {
                self.drop_producer_return_clicks_and_schedule_rebuild(refusal, now, reports)
            }
            TransactionEvent::TakenOver(process) => {
                self.set_stopped_and_drop_producer_and_return_clicks(DeliveryStopped::Fenced { process }, reports)
            }
        }
        None
    }

    fn take_reports_and_add_all_delivered_after_commit(&mut self, reports: &mut Vec<DeliveryReport>) {
        self.rebuild_pause = FIRST_REBUILD_PAUSE;
        // The report on the checkpoint has come by now, because the commit waited for it.
        self.take_producer_reports_and_find_fatal_refusal(reports);
        if let (Some(transactions), Some(offset)) = (&mut self.transactions, self.checkpoint_offset.take()) {
            transactions.note_checkpoint_offset(offset);
        }
        self.metrics.statements_delivered.increment(std::mem::take(&mut self.uncommitted_statements));
        reports.push(DeliveryReport::AllDelivered);
    }

    fn take_reports_and_add_all_returned_after_abort(&mut self, reports: &mut Vec<DeliveryReport>) {
        // Every record of the transaction is reported on before its id can be used again.
        self.take_producer_reports_and_find_fatal_refusal(reports);
        self.checkpoint_offset = None;
        self.count_unsettled_statements_as_failed();
        reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(Refusal::Retriable)));
    }
}

impl Sink for KafkaSink {
    /// `None` while there is no producer, or no transaction can be open.
    fn record_buffer_if_accepting(&mut self, _now: Instant) -> Option<&mut Vec<u8>> {
        self.accepts_records().then_some(())?;
        self.value.clear();
        Some(&mut self.value)
    }

    fn value_encoding(&self) -> ValueEncoding {
        match self.config.encoding {
            Encoding::Json => ValueEncoding::Json,
            Encoding::Protobuf => ValueEncoding::Protobuf { schema_id: self.config.schema_id },
        }
    }

    /// Hands the record to the producer, which copies it.
    fn send_buffered(&mut self, record: &OutgoingRecord<'_>) -> SendOutcome {
        if !self.try_begin_or_extend_transaction_if_exactly_once() {
            return SendOutcome::QueueFull;
        }
        let Some(producer) = &self.producer else { return SendOutcome::QueueFull };
        let now_ms = clock::wall_ms();
        if record.timestamp_shift > 0 {
            self.metrics.timestamps_shifted.increment(1);
        }
        let mut ints = itoa::Buffer::new();
        let headers = match self.config.cloudevents {
            true => build_cloudevents_click_headers(&self.config, &self.source, &mut self.time, record),
            false => build_plain_click_headers(self.config.encoding),
        };
        let headers = headers.insert(Header { key: "wp_shipped_at_ms", value: Some(ints.format(now_ms)) });
        let (visitor, click_id);
        let key = match record.visitor {
            Some(id) => {
                visitor = format_visitor_id(id);
                &visitor[..]
            }
            None => {
                click_id = format_uuid(record.click_id);
                &click_id[..]
            }
        };
        let topic = self.config.topics.click_topics()[self.topic as usize];
        let timestamp = shift_refused_timestamp_ms(record.at_ms, now_ms, record.timestamp_shift);
        let outgoing: Record<'_> = BaseRecord::with_opaque_to(topic, record.id.to_bits())
            .payload(self.value.as_slice())
            .key(key)
            .timestamp(timestamp as i64)
            .headers(headers);
        match producer.send(outgoing) {
            Ok(()) => SendOutcome::Accepted,
            Err((error, _)) if error.rdkafka_error_code() == Some(Code::QueueFull) => SendOutcome::QueueFull,
            Err((error, _)) => match Refusal::of(&error) {
                // The producer has failed, not the click: the click waits for the next producer.
                Refusal::Fatal | Refusal::Fenced => {
                    self.check_fatal_now = true;
                    SendOutcome::QueueFull
                }
                refusal => SendOutcome::Refused(refusal),
            },
        }
    }

    /// Takes delivery reports, advances the transaction, and builds the next producer where the last one has failed for
    /// good.
    fn poll(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        let fatal = self.take_producer_reports_and_find_fatal_refusal(reports);
        let check_fatal = std::mem::take(&mut self.check_fatal_now)
            || now.duration_since(self.fatal_checked_at) >= FATAL_CHECK_INTERVAL;
        if check_fatal {
            self.fatal_checked_at = now;
        }
        match (&self.producer, fatal) {
            (None, _) => self.rebuild_producer_or_log_stop_if_due(now),
            (Some(_), Some(refusal)) => {
                self.find_and_log_fatal_error();
                self.drop_producer_return_clicks_and_schedule_rebuild(refusal, now, reports);
            }
            (Some(_), None) if check_fatal => self.log_and_drop_producer_if_failed_for_good(now, reports),
            (Some(_), None) => {
                return self.run_transaction_step_and_return_lanes_if_resumed(now, flush_now, reports, next_commit);
            }
        }
        None
    }

    /// Under exactly-once, where the last checkpoint lies.
    fn journal_note(&self) -> SinkNote {
        self.transactions.as_ref().map_or([0; 64], Transactions::journal_note)
    }

    fn topic_name(&self) -> &str {
        self.config.topics.click_topics()[self.topic as usize]
    }

    fn checkpoints_cover(&self, note: &SinkNote) -> bool {
        checkpoint::find_checkpoint_offset_in_note(&self.edge, note).is_some()
    }

    fn max_committed_ranges(&self, lanes: usize) -> usize {
        if self.transactions.is_some() { checkpoint::max_ranges_of_each_lane(lanes) } else { usize::MAX }
    }

    fn is_resumed(&self) -> bool {
        self.transactions.as_ref().is_none_or(Transactions::has_committed)
    }

    fn stop_delivery_until_next_start(&mut self, conflict: JournalConflict, reports: &mut Vec<DeliveryReport>) {
        self.set_stopped_and_drop_producer_and_return_clicks(DeliveryStopped::Conflict(conflict), reports);
    }

    fn try_send_statement(&mut self, lane: u16, statement: &[u8], at_ms: u64, timestamp_shift: u8) -> bool {
        if !self.accepts_records() || !self.try_begin_or_extend_transaction_if_exactly_once() {
            return false;
        }
        let Some(producer) = &self.producer else { return false };
        let key = format!("{}/{}/{lane}", self.edge, self.topic_name());
        let mut record: Record<'_> = BaseRecord::with_opaque_to(&self.config.topics.lanes, STATEMENT_BITS)
            .payload(statement)
            .key(key.as_bytes())
            .timestamp(shift_refused_timestamp_ms(at_ms, at_ms, timestamp_shift) as i64);
        if self.config.cloudevents {
            record = record.headers(build_cloudevents_headers(Encoding::Json, "waypost.lane.v1", &self.source));
        }
        let sent = producer.send(record).is_ok();
        self.statements.pending += u64::from(sent);
        sent
    }

    fn statement_counts(&self) -> StatementCounts {
        let uncommitted = self.transactions.as_ref().is_some_and(Transactions::is_transaction_open);
        StatementCounts { pending: self.statements.pending + u64::from(uncommitted), ..self.statements }
    }
}
