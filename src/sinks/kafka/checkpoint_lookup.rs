//! Looks up the last committed checkpoint of an edge and topic in the compacted topic of checkpoints.
//!
//! A checkpoint that was committed before the first step is found for certain: the lookup notes the end of the log,
//! open transactions of others included, and reads nothing before every one of them is decided.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::checkpoint::{Checkpoint, record_key};
use crate::{
    faults::{self, log_fault},
    kafka::{ClientObserver, Config, Refusal},
    model::click::Topic,
};

/// Checkpoints of every edge are in the one partition that `waypost kafka setup` creates; of a topic with more, in the
/// first.
pub(super) const PARTITION: i32 = 0;
/// The longest time that one step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two attempts after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is logged that the lookup fails.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A checkpoint in its topic.
pub(super) struct CommittedCheckpoint {
    pub(super) checkpoint: Checkpoint,
    pub(super) offset: i64,
}

/// The state of a lookup after a step.
pub(super) enum LookupStep {
    /// There is more to read, or an error is retried later.
    Pending,
    /// The lookup is finished; the edge has this checkpoint, or none.
    Finished(Option<CommittedCheckpoint>),
}

/// A lookup that is done step by step, so that its thread can do other work in between.
pub(super) struct CheckpointLookup {
    config: Config,
    edge: String,
    /// The topic whose checkpoints are looked for.
    click_topic: Topic,
    /// Where a checkpoint of the edge was seen before: with it, little has to be read.
    offset_hint: Option<i64>,
    reader: Option<Box<LastRecordReader>>,
    failed_at: Option<Instant>,
    logged_at: Option<Instant>,
}

impl CheckpointLookup {
    pub(super) fn new(config: &Config, edge: &str, click_topic: Topic) -> CheckpointLookup {
        CheckpointLookup {
            config: config.clone(),
            edge: edge.to_owned(),
            click_topic,
            offset_hint: None,
            reader: None,
            failed_at: None,
            logged_at: None,
        }
    }

    /// Begins a new lookup.
    pub(super) fn restart(&mut self, offset_hint: Option<i64>) {
        self.reader = None;
        self.offset_hint = offset_hint;
    }

    /// Takes one step, for at most [`STEP_TIMEOUT`]. Errors are logged and retried.
    pub(super) fn advance_lookup_and_log_errors(&mut self, now: Instant) -> LookupStep {
        if self.failed_at.is_some_and(|at| now.duration_since(at) < RETRY_INTERVAL) {
            return LookupStep::Pending;
        }
        let Some(reader) = &mut self.reader else {
            match LastRecordReader::new(&self.config, &self.edge, self.click_topic, self.offset_hint) {
                Ok(reader) => self.reader = Some(Box::new(reader)),
                Err(why) => self.log_error_rate_limited_and_delay_retry(Refusal::Retriable, &why, now),
            }
            return LookupStep::Pending;
        };
        match reader.read_towards_last_record(STEP_TIMEOUT) {
            Ok(ReadStep::Pending) => return LookupStep::Pending,
            Ok(ReadStep::Finished(None)) => return LookupStep::Finished(None),
            Ok(ReadStep::Finished(Some(CommittedRecord { value, offset }))) => match Checkpoint::decode(&value) {
                Ok(checkpoint) => return LookupStep::Finished(Some(CommittedCheckpoint { checkpoint, offset })),
                Err(why) => {
                    self.reader = None;
                    let why = format!("the record at offset {offset} is no checkpoint: {why}");
                    self.log_error_rate_limited_and_delay_retry(Refusal::Invalid, &why, now);
                }
            },
            Err(why) => self.log_error_rate_limited_and_delay_retry(Refusal::of(&why), &why.to_string(), now),
        }
        LookupStep::Pending
    }

    fn log_error_rate_limited_and_delay_retry(&mut self, refusal: Refusal, why: &str, now: Instant) {
        self.failed_at = Some(now);
        if self.logged_at.is_some_and(|at| now.duration_since(at) < LOG_INTERVAL) {
            return;
        }
        self.logged_at = Some(now);
        let topic = &self.config.topics.checkpoints;
        log_fault!(
            warn,
            faults::CHECKPOINT_NOT_FOUND,
            topic,
            reason = refusal.as_str(),
            "the edge's last checkpoint cannot be read yet: {why}: {}",
            refusal.advice_for_operator(topic)
        );
    }
}

/// A committed record.
struct CommittedRecord {
    value: Vec<u8>,
    offset: i64,
}

/// The state of a reader after a step.
enum ReadStep {
    Pending,
    /// The last record of the key, or none.
    Finished(Option<CommittedRecord>),
}

/// Reads the last committed record of a key in the topic of checkpoints.
struct LastRecordReader {
    topic: String,
    key: String,
    offset_hint: Option<i64>,
    /// Sees the end of the log, open transactions included.
    uncommitted: BaseConsumer<ClientObserver>,
    /// Sees the end of the decided transactions.
    committed: BaseConsumer<ClientObserver>,
    /// The end of the log at the first step.
    end: Option<i64>,
    /// Where reading began.
    reading_from: Option<Offset>,
    last: Option<CommittedRecord>,
}

impl LastRecordReader {
    /// Creates the clients, which connect later.
    ///
    /// # Errors
    /// The settings cannot be used.
    fn new(
        config: &Config,
        edge: &str,
        click_topic: Topic,
        offset_hint: Option<i64>,
    ) -> Result<LastRecordReader, String> {
        let consumer = |isolation: &str| {
            let mut settings: ClientConfig = config.build_non_producer_settings(edge)?;
            settings
                .set("isolation.level", isolation)
                // The group is never joined and nothing is committed to it: the partition is assigned by hand.
                .set("group.id", format!("waypost-{edge}"))
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "earliest");
            BaseConsumer::from_config_and_context(&settings, ClientObserver::silent())
                .map_err(|why| format!("cannot build a Kafka consumer: {why}"))
        };
        Ok(LastRecordReader {
            topic: config.topics.checkpoints.clone(),
            key: record_key(edge, click_topic),
            offset_hint,
            uncommitted: consumer("read_uncommitted")?,
            committed: consumer("read_committed")?,
            end: None,
            reading_from: None,
            last: None,
        })
    }

    /// Reads on for at most `timeout`.
    ///
    /// # Errors
    /// A broker refused a request. The step may be repeated.
    fn read_towards_last_record(&mut self, timeout: Duration) -> Result<ReadStep, KafkaError> {
        let deadline = Instant::now() + timeout;
        if self.reading_from.is_none() && !self.try_begin_reading_once_transactions_are_decided(timeout)? {
            return Ok(ReadStep::Pending);
        }
        loop {
            match self.committed.poll(deadline.saturating_duration_since(Instant::now())) {
                None => return Ok(ReadStep::Pending),
                Some(Ok(message)) if message.key() == Some(self.key.as_bytes()) => {
                    let value = message.payload().map(<[u8]>::to_vec);
                    self.last = value.map(|value| CommittedRecord { value, offset: message.offset() });
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(_))) => match (self.last.take(), self.reading_from) {
                    // The hint was for an earlier topic of this name.
                    (None, Some(Offset::Offset(_))) => self.assign_partition_from(Offset::Beginning)?,
                    (last, _) => return Ok(ReadStep::Finished(last)),
                },
                Some(Err(why)) if is_broker_connection_error(&why) => {}
                Some(Err(why)) => return Err(why),
            }
        }
    }

    /// Begins to read once every transaction before the first step is decided; `false` if one is still open.
    fn try_begin_reading_once_transactions_are_decided(&mut self, timeout: Duration) -> Result<bool, KafkaError> {
        let end = match self.end {
            Some(end) => end,
            None => self.uncommitted.fetch_watermarks(&self.topic, PARTITION, timeout)?.1,
        };
        self.end = Some(end);
        let (first, decided_end) = self.committed.fetch_watermarks(&self.topic, PARTITION, timeout)?;
        if decided_end < end {
            return Ok(false);
        }
        let hint = self.offset_hint.filter(|hint| (first..decided_end).contains(hint));
        self.assign_partition_from(hint.map_or(Offset::Beginning, Offset::Offset))?;
        Ok(true)
    }

    fn assign_partition_from(&mut self, offset: Offset) -> Result<(), KafkaError> {
        let mut partition = TopicPartitionList::new();
        partition.add_partition_offset(&self.topic, PARTITION, offset)?;
        self.committed.assign(&partition)?;
        self.reading_from = Some(offset);
        Ok(())
    }
}

/// Whether a consumer reports this error while it connects to the next broker.
fn is_broker_connection_error(why: &KafkaError) -> bool {
    matches!(
        why.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve)
    )
}
