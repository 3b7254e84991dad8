//! The producer, and how it is heard.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{DeliveryResult, Message},
    producer::{BaseProducer, ProducerContext},
    types::RDKafkaErrorCode as Code,
};

use crate::kafka::{Config, Observer};

/// A ticket, and the record's offset or why it was refused.
pub(super) type Report = (usize, Result<i64, Code>);

/// Hears what became of records; the sink takes it away.
pub(super) struct Reports {
    observer: Observer,
    pub(super) came: Mutex<Vec<Report>>,
}

impl ClientContext for Reports {
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

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        self.came.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, result));
    }
}

/// No producer could be built.
#[derive(Debug, thiserror::Error)]
#[error("no Kafka producer: {0}")]
pub struct ProducerError(String);

/// Builds a producer; it connects by itself.
///
/// # Errors
/// As [`super::KafkaSink::new`].
pub(super) fn build(config: &Config, edge: &str) -> Result<BaseProducer<Reports>, ProducerError> {
    let reports = Reports { observer: Observer::new(), came: Mutex::default() };
    let settings = config.producer(edge).map_err(ProducerError)?;
    BaseProducer::from_config_and_context(&settings, reports).map_err(|why| ProducerError(why.to_string()))
}
