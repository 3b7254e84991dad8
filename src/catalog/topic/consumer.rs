//! Reads the one partition of the topic.

use std::time::Duration;

use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::RDKafkaErrorCode as Code,
};

use super::record::{RecordAuthor, TopicRecord};
use crate::kafka::{ClientObserver, Config};

/// The only partition.
pub(super) const PARTITION: i32 = 0;
/// How long the broker lets a fetch wait for records, milliseconds. The end of the topic is told behind a fetch.
const FETCH_WAIT_MS: &str = "50";

/// What a poll gave.
pub(super) enum Polled {
    Record(TopicRecord),
    /// The end was reached, as of a moment behind the last assignment.
    End,
    Nothing,
    /// The position is no place of the topic, or there is no topic.
    Lost(String),
}

/// Whether records of open transactions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

/// A consumer of the topic, without a group.
pub(super) struct TopicConsumer {
    consumer: BaseConsumer<ClientObserver>,
    topic: String,
}

impl TopicConsumer {
    /// Builds the client, which connects later.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(super) fn new(config: &Config, edge: &str, topic: &str, isolation: Isolation) -> Result<TopicConsumer, String> {
        let isolation = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut settings = config.build_non_producer_settings(&format!("{edge}-links"))?;
        if settings.get("reconnect.backoff.max.ms").is_none() {
            settings.set("reconnect.backoff.max.ms", "5000");
        }
        settings
            // The group is never joined and nothing is committed to it: the partition is assigned by hand.
            .set("group.id", format!("waypost-{edge}-links"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", FETCH_WAIT_MS);
        let consumer = BaseConsumer::from_config_and_context(&settings, ClientObserver::silent())
            .map_err(|why| format!("cannot build a Kafka consumer: {why}"))?;
        Ok(TopicConsumer { consumer, topic: topic.to_owned() })
    }

    /// The first offset and the end of what can be read.
    ///
    /// # Errors
    /// No broker answers, or there is no topic.
    pub(super) fn fetch_first_and_end(&self, timeout: Duration) -> Result<(u64, u64), KafkaError> {
        let (first, end) = self.consumer.fetch_watermarks(&self.topic, PARTITION, timeout)?;
        Ok((u64::try_from(first).unwrap_or(0), u64::try_from(end).unwrap_or(0)))
    }

    /// Reads from this offset on; `None`: from the first record. Records that were fetched already are dropped, and the
    /// end is told again.
    ///
    /// # Errors
    /// The client refuses.
    pub(super) fn read_from(&self, offset: Option<u64>) -> Result<(), String> {
        let offset = offset.map_or(Offset::Beginning, |offset| Offset::Offset(offset as i64));
        let mut partition = TopicPartitionList::new();
        partition
            .add_partition_offset(&self.topic, PARTITION, offset)
            .and_then(|()| self.consumer.assign(&partition))
            .map_err(|why| why.to_string())
    }

    /// Waits for a record, or the end, for at most `timeout`.
    pub(super) fn poll(&self, timeout: Duration) -> Polled {
        match self.consumer.poll(timeout) {
            None => Polled::Nothing,
            Some(Ok(message)) => Polled::Record(to_record(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => Polled::End,
            Some(Err(why)) => match why.rdkafka_error_code() {
                Some(
                    Code::AutoOffsetReset
                    | Code::OffsetOutOfRange
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::UnknownTopicId,
                ) => Polled::Lost(why.to_string()),
                _ => Polled::Nothing,
            },
        }
    }

    /// An error with what the client's last failed connection did.
    pub(super) fn explain(&self, why: &str) -> String {
        match self.consumer.context().last_error() {
            Some(reason) => format!("{why}: {reason}"),
            None => why.to_owned(),
        }
    }
}

fn to_record(message: &BorrowedMessage<'_>) -> TopicRecord {
    TopicRecord {
        offset: u64::try_from(message.offset()).unwrap_or(0),
        at_ms: message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        author: read_author(message),
    }
}

/// The author of a record; `None` if it does not say.
fn read_author(message: &BorrowedMessage<'_>) -> Option<RecordAuthor> {
    let headers = message.headers()?;
    let find = |name: &str| {
        let header = headers.iter().find(|header| header.key == name)?;
        str::from_utf8(header.value?).ok().map(str::to_owned)
    };
    Some(RecordAuthor {
        act: find("act")?,
        actor: find("author")?,
        reason: find("reason"),
        once: find("once").and_then(|text| serde_json::from_str(&text).ok()),
    })
}
