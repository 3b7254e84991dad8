//! The producer, and the queue of its delivery reports.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{DeliveryResult, Message},
    producer::{BaseProducer, ProducerContext},
    types::RDKafkaErrorCode as Code,
};

use crate::{
    kafka::{ClientObserver, Config},
    model::click::Topic,
};

/// No producer could be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot build the Kafka producer: {0}")]
pub(crate) struct ProducerError(String);

/// The producer's report on one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProducerReport {
    /// The 64 bits that were sent with the record.
    pub(super) record_bits: usize,
    /// The record's offset, or why the record was refused.
    pub(super) result: Result<i64, Code>,
}

/// Receives the producer's events: delivery reports, logs, errors and statistics.
pub(super) struct ProducerEvents {
    observer: ClientObserver,
    /// Reports that the sink has not taken yet.
    pub(super) reports: Mutex<Vec<ProducerReport>>,
}

impl ClientContext for ProducerEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.observer.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
    }
}

impl ProducerContext for ProducerEvents {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, record_bits: usize) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(ProducerReport { record_bits, result });
    }
}

/// Builds a producer, which connects by itself.
///
/// # Errors
/// As [`super::KafkaSink::new`].
pub(super) fn build_producer(
    config: &Config,
    edge: &str,
    topic: Topic,
) -> Result<BaseProducer<ProducerEvents>, ProducerError> {
    let events = ProducerEvents { observer: ClientObserver::new(topic.name()), reports: Mutex::default() };
    let settings = config.build_producer_settings(&format!("{edge}-{}", topic.short_name())).map_err(ProducerError)?;
    BaseProducer::from_config_and_context(&settings, events).map_err(|why| ProducerError(why.to_string()))
}
