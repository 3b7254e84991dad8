//! The transactional producer of the topic and of its audit. One edge writes at a time: whoever takes the transactional
//! id `TOPIC-writer` fences the writer before.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode as Code,
};

use super::{consumer::PARTITION, outgoing::OutgoingRecord};
use crate::kafka::{ClientObserver, Config, Refusal};

/// How long each step of a transaction may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// An open transaction holds back every reader, so the broker ends it soon. A record must not wait for longer.
const TRANSACTION_TIMEOUT_MS: &str = "10000";
/// The number of records that are no records of the topic itself.
const AUDIT: usize = usize::MAX;

/// Why a transaction is not committed.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// Another writer has taken this one's place. Nothing is written.
    Fenced,
    /// Nothing is written.
    NotWritten(String),
    /// It is not known whether everything or nothing is written.
    Unknown(String),
}

/// Writes to the topic and to its audit.
pub(super) struct TopicProducer {
    config: Config,
    edge: String,
    topic: String,
    audit_topic: String,
    producer: Option<BaseProducer<WriterEvents>>,
    /// The client that takes the place next. A new client takes half a second to find the broker, in which the writer
    /// whose place is taken could write, and a suspension would wait.
    standby: Standby,
}

/// The client that takes the place of the writer next.
enum Standby {
    /// It is to be made.
    Due,
    /// It looks for the broker, or has it.
    Ready(BaseProducer<WriterEvents>),
    /// It could not be made. The attempt to take the place tells why.
    Failed,
}

/// Collects the offsets of the records that are written.
struct WriterEvents {
    observer: ClientObserver,
    /// The number of each record, with its offset or why it is refused.
    reports: Mutex<Vec<(usize, Result<u64, Code>)>>,
}

impl ClientContext for WriterEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
    }
}

impl ProducerContext for WriterEvents {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            Ok(message) => Ok(u64::try_from(message.offset()).unwrap_or(0)),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
    }
}

impl TopicProducer {
    pub(super) fn new(config: &Config, edge: &str, topic: &str, audit_topic: &str) -> TopicProducer {
        let [edge, topic, audit_topic] = [edge, topic, audit_topic].map(str::to_owned);
        TopicProducer { config: config.clone(), edge, topic, audit_topic, producer: None, standby: Standby::Due }
    }

    /// Makes the client that takes the place next, unless there is one. Does not wait for the broker.
    pub(super) fn prepare_standby(&mut self) {
        if matches!(self.standby, Standby::Due) {
            self.standby = self.build().map_or(Standby::Failed, Standby::Ready);
        }
    }

    /// Whether this producer has the place of the writer, as far as it knows.
    pub(super) const fn has_place(&self) -> bool {
        self.producer.is_some()
    }

    /// Gives the place up, because another one has taken it: to be told so costs an attempt.
    pub(super) fn give_up_place(&mut self) {
        self.producer = None;
    }

    /// Takes the place of the writer.
    pub(super) fn take_place(&mut self) -> Result<(), WriteFailure> {
        let producer = match std::mem::replace(&mut self.standby, Standby::Due) {
            Standby::Ready(producer) => producer,
            Standby::Due | Standby::Failed => self.build().map_err(WriteFailure::NotWritten)?,
        };
        producer.init_transactions(STEP_TIMEOUT).map_err(|why| {
            let why = producer.context().observer.last_error().map_or(why.to_string(), |told| format!("{why}: {told}"));
            WriteFailure::NotWritten(why)
        })?;
        self.producer = Some(producer);
        Ok(())
    }

    fn build(&self) -> Result<BaseProducer<WriterEvents>, String> {
        let mut settings = self.config.build_producer_settings(&format!("{}-links", self.edge))?;
        settings
            .set("transactional.id", format!("{}-writer", self.topic))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("message.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("socket.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("statistics.interval.ms", "0");
        let events = WriterEvents { observer: ClientObserver::silent(), reports: Mutex::default() };
        BaseProducer::from_config_and_context(&settings, events).map_err(|why| why.to_string())
    }

    /// Writes all records, or none. Returns their offsets. A producer that fails is given up.
    pub(super) fn commit(&mut self, records: &[OutgoingRecord]) -> Result<Vec<u64>, WriteFailure> {
        let Some(producer) = self.producer.take() else {
            return Err(WriteFailure::NotWritten("there is no producer".to_owned()));
        };
        producer.context().reports.lock().unwrap_or_else(PoisonError::into_inner).clear();
        producer.begin_transaction().map_err(|why| to_failure(&producer, &why))?;
        let sent = self.send_all(&producer, records).map_err(|why| to_failure(&producer, &why));
        let offsets = sent.and_then(|()| flush(&producer)).and_then(|()| take_offsets(&producer, records.len()));
        let offsets = match offsets {
            Ok(offsets) => offsets,
            Err(failure) => {
                // An error: the broker ends the transaction, at its timeout or for the next writer.
                let _ = producer.abort_transaction(STEP_TIMEOUT);
                return Err(failure);
            }
        };
        commit_transaction(&producer)?;
        self.producer = Some(producer);
        Ok(offsets)
    }

    fn send_all(&self, producer: &BaseProducer<WriterEvents>, records: &[OutgoingRecord]) -> Result<(), KafkaError> {
        for (number, record) in records.iter().enumerate() {
            let headers = to_headers(record);
            send(producer, number, &self.topic, &record.key, record.value.as_deref(), headers)?;
            if let Some(audit) = &record.audit {
                send(producer, AUDIT, &self.audit_topic, &record.key, Some(audit), OwnedHeaders::new())?;
            }
        }
        Ok(())
    }
}

fn send(
    producer: &BaseProducer<WriterEvents>,
    number: usize,
    topic: &str,
    key: &str,
    value: Option<&str>,
    headers: OwnedHeaders,
) -> Result<(), KafkaError> {
    let mut record = BaseRecord::with_opaque_to(topic, number).key(key).partition(PARTITION).headers(headers);
    if let Some(value) = value {
        record = record.payload(value);
    }
    // The queue has room for the largest transaction, so a refusal is no matter of waiting.
    producer.send(record).map_err(|(why, _)| why)
}

/// Waits for the reports on all records. A producer that is fenced sends nothing any more.
fn flush(producer: &BaseProducer<WriterEvents>) -> Result<(), WriteFailure> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        match producer.flush(Duration::from_millis(100)) {
            Ok(()) => return Ok(()),
            Err(why) if producer.client().fatal_error().is_some() || Instant::now() >= deadline => {
                return Err(to_failure(producer, &why));
            }
            Err(_) => {}
        }
    }
}

fn to_headers(record: &OutgoingRecord) -> OwnedHeaders {
    let author = &record.author;
    let once = author.once.as_ref().and_then(|once| serde_json::to_string(once).ok());
    let given = [("act", Some(&author.act)), ("author", Some(&author.actor)), ("reason", author.reason.as_ref())];
    let given = given.into_iter().chain([("once", once.as_ref())]);
    given
        .filter_map(|(key, value)| Some((key, value?)))
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_str()) }))
}

/// The offsets of the records, in their order.
fn take_offsets(producer: &BaseProducer<WriterEvents>, count: usize) -> Result<Vec<u64>, WriteFailure> {
    let reports = std::mem::take(&mut *producer.context().reports.lock().unwrap_or_else(PoisonError::into_inner));
    let mut offsets = vec![0; count];
    let mut written = 0;
    for (number, result) in reports {
        match result {
            Ok(offset) => {
                if let Some(place) = offsets.get_mut(number) {
                    *place = offset;
                    written += 1;
                }
            }
            Err(code) => return Err(failure_of_producer(producer, Refusal::from_code(code), code.to_string())),
        }
    }
    if written == count { Ok(offsets) } else { Err(WriteFailure::NotWritten("a record has no report".to_owned())) }
}

fn commit_transaction(producer: &BaseProducer<WriterEvents>) -> Result<(), WriteFailure> {
    match producer.commit_transaction(STEP_TIMEOUT) {
        Ok(()) => Ok(()),
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
            let _ = producer.abort_transaction(STEP_TIMEOUT);
            Err(WriteFailure::NotWritten(error.to_string()))
        }
        Err(why) => match to_failure(producer, &why) {
            WriteFailure::NotWritten(why) => Err(WriteFailure::Unknown(why)),
            failure => Err(failure),
        },
    }
}

fn to_failure(producer: &BaseProducer<WriterEvents>, why: &KafkaError) -> WriteFailure {
    failure_of_producer(producer, Refusal::of(why), why.to_string())
}

/// What a refusal means. The records of a producer that is fenced are purged, and its fatal error tells why.
fn failure_of_producer(producer: &BaseProducer<WriterEvents>, refusal: Refusal, why: String) -> WriteFailure {
    let (refusal, why) = match producer.client().fatal_error() {
        Some((code, text)) => (Refusal::from_code(code), text),
        None => (refusal, why),
    };
    if refusal == Refusal::Fenced { WriteFailure::Fenced } else { WriteFailure::NotWritten(why) }
}
