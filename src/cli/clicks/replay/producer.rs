//! Sends the records of a replay, and waits for the report on each.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode as Code,
};

use super::{envelope::OutgoingClick, target::ReplayTarget};
use crate::{kafka::ClientObserver, model::click::Topic};

/// How long the producer is polled when its queue is full, or for the last reports.
const POLL_TIME: Duration = Duration::from_millis(100);
/// A replay that has delivered nothing for so long fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The producer of a replay: idempotent, with `acks=all`.
pub(super) struct ReplayProducer<'a> {
    target: &'a ReplayTarget<'a>,
    producer: BaseProducer<ReplayReports>,
}

/// Counts the delivery reports, and keeps the first refusal.
struct ReplayReports {
    observer: ClientObserver,
    delivered: AtomicU64,
    refusal: Mutex<Option<KafkaError>>,
}

impl ClientContext for ReplayReports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
    }
}

impl ProducerContext for ReplayReports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
                refusal.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl<'a> ReplayProducer<'a> {
    /// # Errors
    /// The settings make no producer.
    pub(super) fn new(target: &'a ReplayTarget<'a>) -> Result<ReplayProducer<'a>> {
        let mut settings = target.config.build_producer_settings("replay").map_err(anyhow::Error::msg)?;
        // The order of a partition is kept without transactions.
        settings.remove("transactional.id");
        settings.set("message.timeout.ms", "0").set("statistics.interval.ms", "0");
        let reports = ReplayReports {
            observer: ClientObserver::silent(),
            delivered: AtomicU64::new(0),
            refusal: Mutex::default(),
        };
        let producer = BaseProducer::from_config_and_context(&settings, reports).context("kafka")?;
        Ok(ReplayProducer { target, producer })
    }

    /// Queues a record. Waits while the queue is full.
    ///
    /// # Errors
    /// The broker has refused a record, or takes none.
    pub(super) fn send(&mut self, topic: Topic, click: &OutgoingClick<'_>) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        self.check_for_refusal()?;
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(self.target.topic_name(topic)).payload(&*click.value).headers(click.headers.clone());
        if let Some(key) = &click.key {
            record = record.key(key);
        }
        if let Some(timestamp_ms) = click.timestamp_ms {
            record = record.timestamp(timestamp_ms);
        }
        let mut progress = Progress::new(self.delivered());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), unsent)) => {
                    self.producer.poll(POLL_TIME);
                    self.check_progress(&mut progress)?;
                    record = unsent;
                }
                Err((why, _)) => return Err(why).context("kafka"),
            }
        }
    }

    /// # Errors
    /// The broker has refused a record, or takes none.
    pub(super) fn wait_until_all_are_delivered(&self) -> Result<()> {
        let mut progress = Progress::new(self.delivered());
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(POLL_TIME);
            self.check_progress(&mut progress)?;
        }
        self.check_for_refusal()
    }

    fn delivered(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed)
    }

    fn check_for_refusal(&self) -> Result<()> {
        let refusal = self.producer.context().refusal.lock().unwrap_or_else(PoisonError::into_inner);
        match &*refusal {
            Some(why) => bail!(
                "kafka: a record was refused: {why}; the fresh topics hold a part of the records. Delete them, and \
                 replay again"
            ),
            None => Ok(()),
        }
    }

    fn check_progress(&self, progress: &mut Progress) -> Result<()> {
        self.check_for_refusal()?;
        let delivered = self.delivered();
        if delivered > progress.delivered {
            *progress = Progress::new(delivered);
        } else if progress.since.elapsed() > STALL_TIMEOUT {
            let why = self.producer.context().observer.last_error();
            bail!("kafka: no record was taken for {STALL_TIMEOUT:?}: {}", why.as_deref().unwrap_or("no reason given"));
        }
        Ok(())
    }
}

/// The records delivered, and since when no more were.
struct Progress {
    delivered: u64,
    since: Instant,
}

impl Progress {
    fn new(delivered: u64) -> Progress {
        Progress { delivered, since: Instant::now() }
    }
}
