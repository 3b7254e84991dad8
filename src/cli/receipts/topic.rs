//! The compacted topic of receipts: key `CREATOR/DAY`, value the signed receipt. The last record of a key is in force.
//!
//! One publisher writes at a time: whoever takes the transactional id `TOPIC-publisher` fences the one before. It takes
//! the id before it reads the receipts in force, so no two publishers can make one revision.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use rdkafka::{
    config::FromClientConfigAndContext,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode as Code,
};

use crate::{
    cli::clicks::{ReadProgress, ReadRange, RecordLocation, day_range::start_of_day_ms, visit_topic},
    kafka::{ClientObserver, Config, REQUEST_TIMEOUT, TopicAdmin, TopicState},
    receipts::{SignedReceipt, SigningKey},
};

/// How long each step of a transaction may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the producer is polled when its queue is full.
const QUEUE_FULL_POLL: Duration = Duration::from_millis(50);

/// The topic of receipts on a cluster.
#[derive(Clone, Copy)]
pub(super) struct ReceiptTopic<'a> {
    pub(super) config: &'a Config,
    pub(super) name: &'a str,
}

impl ReceiptTopic<'_> {
    /// Reads the receipts in force of a day, by creator; of one creator if it is given. None if the topic does not
    /// exist.
    ///
    /// # Errors
    /// The topic cannot be read; a record is no receipt, or says that `key` signed it, which did not.
    pub(super) fn read_receipts_in_force(
        &self,
        day: Date,
        creator: Option<&str>,
        key: Option<&SigningKey>,
    ) -> Result<BTreeMap<String, SignedReceipt>> {
        let mut in_force: BTreeMap<String, SignedReceipt> = BTreeMap::new();
        if !self.exists()? {
            return Ok(in_force);
        }
        let day_text = day.to_string();
        // A receipt is written after the day began.
        let range = ReadRange::Since(start_of_day_ms(day));
        visit_topic(self.config, self.name, range, &mut |progress| {
            let ReadProgress::Record(record) = progress else { return Ok(()) };
            let signed: SignedReceipt = serde_json::from_slice(record.value)
                .map_err(|error| anyhow::anyhow!("{}: is no receipt: {error}", describe(&record.location)))?;
            let receipt = &signed.receipt;
            if receipt.day != day_text || creator.is_some_and(|creator| receipt.creator_id != creator) {
                return Ok(());
            }
            if key.is_some_and(|key| receipt.key_id == key.key_id() && !signed.is_signed_by(key)) {
                bail!(
                    "{}: the receipt names key {} and has another's signature; find out who wrote it",
                    describe(&record.location),
                    receipt.key_id
                );
            }
            let last = in_force.get(&receipt.creator_id).map_or(0, |last| last.receipt.revision);
            if receipt.revision > last {
                in_force.insert(receipt.creator_id.clone(), signed);
            }
            Ok(())
        })?;
        Ok(in_force)
    }

    fn exists(&self) -> Result<bool> {
        let admin = TopicAdmin::new(self.config, "receipts").map_err(anyhow::Error::msg)?;
        let states = admin.describe_topics(&[self.name], REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
        Ok(!matches!(states.as_slice(), [TopicState::Missing]))
    }

    /// Becomes the publisher.
    ///
    /// # Errors
    /// The topic does not exist, or no broker answers.
    pub(super) fn take_publishers_place(&self) -> Result<Publisher<'_>> {
        if !self.exists()? {
            bail!(
                "topic `{}` does not exist; create it with `waypost kafka setup --receipts-topic {} --apply`",
                self.name,
                self.name
            );
        }
        let mut settings = self.config.build_producer_settings("receipts").map_err(anyhow::Error::msg)?;
        settings
            .set("transactional.id", format!("{}-publisher", self.name))
            .set("message.timeout.ms", STEP_TIMEOUT.as_millis().to_string())
            .set("statistics.interval.ms", "0");
        let producer = BaseProducer::from_config_and_context(&settings, ClientObserver::silent()).context("kafka")?;
        producer.init_transactions(STEP_TIMEOUT).context("kafka: no transaction can be begun")?;
        Ok(Publisher { topic: self.name, producer })
    }
}

/// Writes to the topic, as long as no other publisher takes its place.
pub(super) struct Publisher<'a> {
    topic: &'a str,
    producer: BaseProducer<ClientObserver>,
}

impl Publisher<'_> {
    /// Writes all receipts, or none.
    ///
    /// # Errors
    /// Another publisher has taken the place, or the broker refuses a receipt: then none is written.
    pub(super) fn publish(&self, receipts: &[SignedReceipt]) -> Result<()> {
        if receipts.is_empty() {
            return Ok(());
        }
        self.producer.begin_transaction().context("kafka")?;
        let written = receipts.iter().try_for_each(|signed| self.send(signed)).and_then(|()| {
            // Waits for the reports on all receipts; one that was refused makes the transaction fail.
            self.producer.commit_transaction(STEP_TIMEOUT).context("kafka: no receipt was published")
        });
        if written.is_err() {
            // An error: the broker ends the transaction at its timeout.
            let _ = self.producer.abort_transaction(STEP_TIMEOUT);
        }
        written
    }

    fn send(&self, signed: &SignedReceipt) -> Result<()> {
        let key = format!("{}/{}", signed.receipt.creator_id, signed.receipt.day);
        let value = serde_json::to_vec(signed)?;
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut record = BaseRecord::to(self.topic).key(&key).payload(&value).headers(build_headers());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), unsent)) if Instant::now() < deadline => {
                    self.producer.poll(QUEUE_FULL_POLL);
                    record = unsent;
                }
                Err((why, _)) => return Err(why).with_context(|| format!("kafka: the receipt of {key}")),
            }
        }
    }
}

fn build_headers() -> OwnedHeaders {
    OwnedHeaders::new()
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "schema-version", value: Some("1") })
}

fn describe(location: &RecordLocation<'_>) -> String {
    match location {
        RecordLocation::File { path, line } => format!("{}:{line}", path.display()),
        RecordLocation::Kafka { topic, partition, offset } => {
            format!("topic {topic}, partition {partition}, offset {offset}")
        }
    }
}
