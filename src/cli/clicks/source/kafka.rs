//! Reads topics of a Kafka cluster, without joining a consumer group.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::RDKafkaErrorCode,
};

use super::record::{EventRecord, ReadProgress, ReadProgressVisitor, ReadRange, RecordLocation};
use crate::{
    events::protobuf_reader::value_as_json,
    kafka::{ClientObserver, Config, REQUEST_TIMEOUT},
};

/// The header that says when the edge sent a record.
const SHIPPED_AT_HEADER: &str = "wp_shipped_at_ms";
/// The longest wait for one message.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

type TopicConsumer = BaseConsumer<ClientObserver>;

/// Reads the topics with these names, as [`super::ClickSource::visit_records_and_follow_if_asked`]. Topics are read one
/// after the other, because the client reports the end of a partition without its topic.
///
/// # Errors
/// No broker answers, a topic is missing, or `visit` fails.
pub(in crate::cli::clicks) fn visit_topics_and_follow_if_asked(
    config: &Config,
    topics: &[&str],
    range: ReadRange,
    visit: ReadProgressVisitor<'_>,
) -> Result<()> {
    let consumer = create_consumer_without_offset_commits(config)?;
    let mut ends = TopicPartitionList::new();
    for topic in topics {
        let mut unread = assign_partitions_and_return_unread_offsets(&consumer, topic, range)?;
        visit_assigned_partitions_to_their_ends(&consumer, &mut unread, visit)?;
        for (partition, offsets) in unread {
            ends.add_partition_offset(topic, partition, Offset::Offset(offsets.next)).context("kafka")?;
        }
    }
    visit(ReadProgress::CaughtUp)?;
    if !matches!(range, ReadRange::Latest { follow: true, .. }) {
        return Ok(());
    }
    consumer.assign(&ends).context("kafka")?;
    let mut json = Vec::new();
    loop {
        if let PollResult::Message(message) = poll_next_message_or_partition_end(&consumer)? {
            visit_message_if_it_has_a_value(&message, &mut json, visit)?;
        }
    }
}

/// Reads one topic, as [`visit_topics_and_follow_if_asked`].
///
/// # Errors
/// As there.
pub(in crate::cli) fn visit_topic(
    config: &Config,
    topic: &str,
    range: ReadRange,
    visit: ReadProgressVisitor<'_>,
) -> Result<()> {
    visit_topics_and_follow_if_asked(config, &[topic], range, visit)
}

/// The time from which on every record is still on the topics: the latest write time of a partition's oldest record,
/// over the partitions that have lost their first records. 0 if no partition lost any. Milliseconds since the Unix
/// epoch.
///
/// # Errors
/// As [`visit_topics_and_follow_if_asked`].
pub(in crate::cli::clicks) fn find_latest_retention_start_ms_or_zero(config: &Config, topics: &[&str]) -> Result<u64> {
    let consumer = create_consumer_without_offset_commits(config)?;
    let mut latest = 0;
    for topic in topics {
        for (partition, UnreadOffsets { next, end }) in
            assign_partitions_and_return_unread_offsets(&consumer, topic, ReadRange::All)?
        {
            if next == 0 || next == end {
                continue;
            }
            let mut oldest_record = TopicPartitionList::new();
            oldest_record.add_partition_offset(topic, partition, Offset::Offset(next)).context("kafka")?;
            consumer.assign(&oldest_record).context("kafka")?;
            let mut unread = BTreeMap::from([(partition, UnreadOffsets { next, end: next + 1 })]);
            let mut written_ms = None;
            visit_assigned_partitions_to_their_ends(&consumer, &mut unread, &mut |progress| {
                if let ReadProgress::Record(record) = progress {
                    written_ms = written_ms.or(record.written_ms);
                }
                Ok(())
            })?;
            latest = latest.max(written_ms.unwrap_or(0));
        }
    }
    Ok(latest)
}

/// The records that a topic holds, with control records of transactions among them.
///
/// # Errors
/// No broker answers, or the topic is missing.
pub(in crate::cli) fn count_records(config: &Config, topic: &str) -> Result<i64> {
    let consumer = create_consumer_without_offset_commits(config)?;
    let unread = assign_partitions_and_return_unread_offsets(&consumer, topic, ReadRange::All)?;
    Ok(unread.values().map(|offsets| offsets.end - offsets.next).sum())
}

fn create_consumer_without_offset_commits(config: &Config) -> Result<TopicConsumer> {
    let mut settings = config.build_non_producer_settings("clicks").map_err(anyhow::Error::msg)?;
    // librdkafka requires a group; it is never joined or committed to, because partitions are assigned by hand.
    settings.set("group.id", "waypost-clicks").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    TopicConsumer::from_config_and_context(&settings, ClientObserver::silent()).context("kafka")
}

/// The offsets of a partition that are still to be read: from `next` to before `end`, the partition's end when reading
/// began.
struct UnreadOffsets {
    next: i64,
    end: i64,
}

/// Reads every partition of the assigned topic to its end.
fn visit_assigned_partitions_to_their_ends(
    consumer: &TopicConsumer,
    unread: &mut BTreeMap<i32, UnreadOffsets>,
    visit: ReadProgressVisitor<'_>,
) -> Result<()> {
    let (mut last_message, mut json) = (Instant::now(), Vec::new());
    while unread.values().any(|offsets| offsets.next < offsets.end) {
        match poll_next_message_or_partition_end(consumer)? {
            PollResult::Message(message) => {
                last_message = Instant::now();
                let Some(offsets) = unread.get_mut(&message.partition()) else { continue };
                if message.offset() < offsets.end {
                    offsets.next = message.offset() + 1;
                    visit_message_if_it_has_a_value(&message, &mut json, visit)?;
                } else {
                    offsets.next = offsets.end;
                }
            }
            // The last offsets can be transaction markers, or an open or aborted transaction: they give no record.
            PollResult::PartitionEnd(partition) => {
                if let Some(offsets) = unread.get_mut(&partition) {
                    offsets.next = offsets.end;
                }
            }
            PollResult::Nothing(_) if last_message.elapsed() < REQUEST_TIMEOUT => {}
            PollResult::Nothing(Some(why)) => return Err(explain_with_last_connection_error(consumer, &why)),
            PollResult::Nothing(None) => {
                bail!(
                    "kafka: no message arrived for {REQUEST_TIMEOUT:?}: {}",
                    poll_and_describe_last_connection_error(consumer)
                )
            }
        }
    }
    Ok(())
}

/// The result of one poll.
enum PollResult<'a> {
    Message(BorrowedMessage<'a>),
    /// The partition was read to its end.
    PartitionEnd(i32),
    /// No message within the timeout, perhaps because of an error that can pass.
    Nothing(Option<KafkaError>),
}

fn poll_next_message_or_partition_end(consumer: &TopicConsumer) -> Result<PollResult<'_>> {
    match consumer.poll(POLL_TIMEOUT) {
        Some(Ok(message)) => Ok(PollResult::Message(message)),
        Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
            bail!("a topic was deleted while it was read; `waypost kafka setup --apply` creates it")
        }
        Some(Err(KafkaError::PartitionEOF(partition))) => Ok(PollResult::PartitionEnd(partition)),
        Some(Err(why)) => Ok(PollResult::Nothing(Some(why))),
        None => Ok(PollResult::Nothing(None)),
    }
}

/// Calls `visit` with the message's record, its value as JSON. A message without a value is skipped.
fn visit_message_if_it_has_a_value(
    message: &BorrowedMessage<'_>,
    json: &mut Vec<u8>,
    visit: ReadProgressVisitor<'_>,
) -> Result<()> {
    let Some(value) = message.payload() else { return Ok(()) };
    let value = value_as_json(value, json);
    let (partition, offset) = (message.partition(), message.offset());
    let location = RecordLocation::Kafka { topic: message.topic(), partition, offset };
    let written_ms = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok());
    let shipped_ms = find_time_in_header(message, SHIPPED_AT_HEADER);
    visit(ReadProgress::Record(EventRecord { value, location, written_ms, shipped_ms, message: Some(message) }))
}

/// The time in a header, as decimal text of milliseconds since the Unix epoch.
fn find_time_in_header(message: &BorrowedMessage<'_>, name: &str) -> Option<u64> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    str::from_utf8(header.value?).ok()?.parse().ok()
}

/// Assigns every partition of the topic to the consumer, at the first offset in `range`. Returns the offsets to read.
fn assign_partitions_and_return_unread_offsets(
    consumer: &TopicConsumer,
    name: &str,
    range: ReadRange,
) -> Result<BTreeMap<i32, UnreadOffsets>> {
    let metadata = consumer
        .fetch_metadata(Some(name), REQUEST_TIMEOUT)
        .map_err(|_| anyhow::anyhow!("no broker answered: {}", poll_and_describe_last_connection_error(consumer)))?;
    let partitions = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    if partitions.is_empty() {
        bail!("topic `{name}` does not exist; create it with `waypost kafka setup --apply`");
    }
    let since = match range {
        ReadRange::Since(since_ms) => {
            find_first_offset_of_each_partition_since(consumer, name, partitions.len(), since_ms)?
        }
        ReadRange::All | ReadRange::Latest { .. } => BTreeMap::new(),
    };
    let mut assignment = TopicPartitionList::new();
    let mut unread = BTreeMap::new();
    for partition in partitions {
        let watermarks = consumer.fetch_watermarks(name, partition.id(), REQUEST_TIMEOUT);
        let (low, high) = watermarks.map_err(|why| explain_with_last_connection_error(consumer, &why))?;
        let next = match range {
            ReadRange::All => low,
            ReadRange::Since(_) => since.get(&partition.id()).map_or(high, |offset| low.max(*offset)),
            // The latest records of a topic can all be in one partition, so each partition gives as many.
            ReadRange::Latest { count, .. } => low.max(high.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX))),
        };
        assignment.add_partition_offset(name, partition.id(), Offset::Offset(next)).context("kafka")?;
        unread.insert(partition.id(), UnreadOffsets { next, end: high });
    }
    consumer.assign(&assignment).context("kafka")?;
    Ok(unread)
}

/// The offset of the first record of each partition whose timestamp is not before `since_ms`. Every record before that
/// offset is older, in whatever order they were written. A partition without such a record is absent.
fn find_first_offset_of_each_partition_since(
    consumer: &TopicConsumer,
    name: &str,
    partitions: usize,
    since_ms: u64,
) -> Result<BTreeMap<i32, i64>> {
    let mut times = TopicPartitionList::new();
    let since = Offset::Offset(i64::try_from(since_ms).unwrap_or(i64::MAX));
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        times.add_partition_offset(name, partition, since).context("kafka")?;
    }
    let answers = consumer.offsets_for_times(times, REQUEST_TIMEOUT);
    let answers = answers.map_err(|why| explain_with_last_connection_error(consumer, &why))?;
    let mut offsets = BTreeMap::new();
    for partition in answers.elements() {
        partition.error().with_context(|| format!("kafka: {name} partition {}", partition.partition()))?;
        if let Offset::Offset(offset) = partition.offset() {
            offsets.insert(partition.partition(), offset);
        }
    }
    Ok(offsets)
}

/// An error of a request, with the last connection error if there is one: it names the broker that could not be
/// reached, which may be one that another broker advertised.
fn explain_with_last_connection_error(consumer: &TopicConsumer, why: &KafkaError) -> anyhow::Error {
    poll_client_for_its_errors(consumer);
    match consumer.context().last_error() {
        Some(reason) => anyhow::anyhow!("kafka: {why}: {reason}"),
        None => anyhow::anyhow!("kafka: {why}"),
    }
}

/// The last connection error of the client. The client reports it only while it is polled.
fn poll_and_describe_last_connection_error(consumer: &TopicConsumer) -> String {
    poll_client_for_its_errors(consumer);
    consumer.context().last_error().unwrap_or_else(|| "the brokers give no reason".to_owned())
}

fn poll_client_for_its_errors(consumer: &TopicConsumer) {
    for _ in 0..16 {
        if consumer.poll(Duration::from_millis(10)).is_none() {
            break;
        }
    }
}
