//! Clicks as they were delivered, read back from files or from Kafka, one event at a time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};

use crate::{
    kafka::{Observer, PATIENCE},
    model::click::Topic,
    shipper,
};

/// How often files are looked at, and Kafka is asked, for what came since.
const LOOK: Duration = Duration::from_millis(200);
/// Read from the end of a file at a time.
const BLOCK: u64 = 64 << 10;

/// Where clicks are read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The directory of the file sink.
    Files(PathBuf),
    /// The topics on a cluster.
    Kafka(Box<crate::kafka::Config>),
}

/// An event and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) value: &'a [u8],
    pub(super) at: At<'a>,
    /// The record's timestamp in Kafka, milliseconds since the epoch.
    pub(super) written_ms: Option<u64>,
}

/// Where an event lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    /// The line counts from where reading began: from 1 in the file, unless the range is [`Range::Last`].
    File { path: &'a Path, line: u64 },
    /// In a topic.
    Kafka { topic: &'a str, partition: i32, offset: i64 },
}

/// What to do with an event, and (`None`, once) when all that was there at the start has been read.
type Take<'a> = &'a mut dyn FnMut(Option<Record<'_>>) -> Result<()>;

/// Which events.
#[derive(Clone, Copy, Debug)]
pub(super) enum Range {
    /// Everything there is.
    All,
    /// What was written at this time or later, milliseconds since the epoch; some of what was written before may come too.
    Since(u64),
    /// So many of the latest of each topic; with `follow`, then those that come.
    Last { count: usize, follow: bool },
}

impl Source {
    /// Reads the events of `topics`.
    ///
    /// # Errors
    /// A file cannot be read; no broker answers or a topic is missing; or what `take` fails with.
    pub(super) fn read(&self, topics: &[Topic], range: Range, take: Take<'_>) -> Result<()> {
        match self {
            Source::Files(dir) => {
                if !dir.is_dir() {
                    bail!(
                        "{} is not there: give --data-dir, or --kafka HOST:PORT if clicks go to Kafka",
                        dir.display()
                    );
                }
                read_files(dir, topics, range, take)
            }
            Source::Kafka(config) => {
                let names: Vec<&str> = topics.iter().map(|topic| config.topics()[*topic as usize]).collect();
                read_kafka(config, &names, range, take)
            }
        }
    }
}

fn read_files(dir: &Path, topics: &[Topic], range: Range, take: Take<'_>) -> Result<()> {
    let mut places = Vec::new();
    for topic in topics {
        let mut place = Place { topic: *topic, path: None, offset: 0, line: 0 };
        let mut files = shipper::files(dir, *topic).with_context(|| dir.display().to_string())?;
        if let Range::Since(since_ms) = range {
            files.retain(|path| !untouched_since(path, since_ms));
        }
        if let Range::Last { count, .. } = range {
            place.last(&files, count)?;
        }
        place.go_on(&files, take)?;
        places.push(place);
    }
    take(None)?;
    while let Range::Last { follow: true, .. } = range {
        std::thread::sleep(LOOK);
        for place in &mut places {
            let files = shipper::files(dir, place.topic).with_context(|| dir.display().to_string())?;
            place.go_on(&files, take)?;
        }
    }
    Ok(())
}

/// How far a topic's files are read.
struct Place {
    topic: Topic,
    path: Option<PathBuf>,
    offset: u64,
    /// Lines read of this file.
    line: u64,
}

/// Whether a file was last written before this time. One that cannot be asked is read.
fn untouched_since(path: &Path, since_ms: u64) -> bool {
    let written = path.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written < UNIX_EPOCH + Duration::from_millis(since_ms))
}

impl Place {
    /// Moves to where the last `count` lines begin.
    fn last(&mut self, files: &[PathBuf], count: usize) -> Result<()> {
        let mut wanted = count;
        for path in files.iter().rev() {
            let (offset, found) = begin_of_last(path, wanted).with_context(|| path.display().to_string())?;
            (self.path, self.offset) = (Some(path.clone()), offset);
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Reads on to the end of the last file. A line that is not whole yet is left for the next time.
    fn go_on(&mut self, files: &[PathBuf], take: Take<'_>) -> Result<()> {
        let mut line = Vec::new();
        let own = self.path.clone();
        for path in files.iter().filter(|path| own.as_ref().is_none_or(|own| *path >= own)) {
            if self.path.as_ref() != Some(path) {
                (self.path, self.offset, self.line) = (Some(path.clone()), 0, 0);
            }
            let context = || path.display().to_string();
            let mut file = match File::open(path) {
                // Deleted by retention since it was listed.
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.with_context(context)?,
            };
            file.seek(SeekFrom::Start(self.offset)).with_context(context)?;
            let mut reader = BufReader::with_capacity(BLOCK as usize, file);
            loop {
                line.clear();
                reader.read_until(b'\n', &mut line).with_context(context)?;
                let Some(whole) = line.strip_suffix(b"\n") else { break };
                self.offset += line.len() as u64;
                self.line += 1;
                take(Some(Record { value: whole, at: At::File { path, line: self.line }, written_ms: None }))?;
            }
        }
        Ok(())
    }
}

/// Where the last `count` whole lines of a file begin, and how many there are; reads no more of it than it must.
fn begin_of_last(path: &Path, count: usize) -> std::io::Result<(u64, usize)> {
    let mut file = File::open(path)?;
    let mut at = file.metadata()?.len();
    let (mut found, mut end, mut block) = (0, None, Vec::new());
    while at > 0 {
        let from = at.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        Read::by_ref(&mut file).take(at - from).read_to_end(&mut block)?;
        for newline in memchr::memrchr_iter(b'\n', &block) {
            let behind = from + newline as u64 + 1;
            match end {
                // The end of the last whole line.
                None => end = Some(behind),
                Some(_) => found += 1,
            }
            if found == count {
                return Ok((behind, found));
            }
        }
        at = from;
    }
    // The first line of a file has no newline before it.
    Ok((0, found + usize::from(end.is_some())))
}

/// Reads the topics of these names, as [`Source::read`]: one after the other, for the client names the partition that is at its end, but not the topic.
pub(super) fn read_kafka(config: &crate::kafka::Config, names: &[&str], range: Range, take: Take<'_>) -> Result<()> {
    let consumer = consumer(config)?;
    let mut behind = TopicPartitionList::new();
    for name in names {
        let mut stretches = assign(&consumer, name, range)?;
        read_stretches(&consumer, &mut stretches, take)?;
        for (partition, stretch) in stretches {
            behind.add_partition_offset(name, partition, Offset::Offset(stretch.next)).context("kafka")?;
        }
    }
    take(None)?;
    if !matches!(range, Range::Last { follow: true, .. }) {
        return Ok(());
    }
    consumer.assign(&behind).context("kafka")?;
    loop {
        if let Polled::Message(message) = poll(&consumer)? {
            hand_over(&message, take)?;
        }
    }
}

/// What is left to read of a partition: from `next` to before `end`, where it ended when reading began.
struct Stretch {
    next: i64,
    end: i64,
}

/// Reads every stretch of a topic to its end.
fn read_stretches(
    consumer: &BaseConsumer<Observer>,
    stretches: &mut BTreeMap<i32, Stretch>,
    take: Take<'_>,
) -> Result<()> {
    let mut quiet = Instant::now();
    while stretches.values().any(|stretch| stretch.next < stretch.end) {
        match poll(consumer)? {
            Polled::Message(message) => {
                quiet = Instant::now();
                let Some(stretch) = stretches.get_mut(&message.partition()) else { continue };
                if message.offset() < stretch.end {
                    stretch.next = message.offset() + 1;
                    hand_over(&message, take)?;
                } else {
                    stretch.next = stretch.end;
                }
            }
            // The last offsets may be a transaction's markers, or an open or aborted transaction: no record comes from there.
            Polled::End(partition) => {
                if let Some(stretch) = stretches.get_mut(&partition) {
                    stretch.next = stretch.end;
                }
            }
            Polled::Nothing(_) if quiet.elapsed() < PATIENCE => {}
            Polled::Nothing(Some(why)) => return Err(why).context("kafka"),
            Polled::Nothing(None) => bail!("kafka: nothing came for {PATIENCE:?}: {}", reason(consumer)),
        }
    }
    Ok(())
}

fn consumer(config: &crate::kafka::Config) -> Result<BaseConsumer<Observer>> {
    let mut settings = config.client("clicks").map_err(anyhow::Error::msg)?;
    // The group is never joined nor committed to: partitions are assigned by hand.
    settings.set("group.id", "waypost-clicks").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    BaseConsumer::from_config_and_context(&settings, Observer::silent()).context("kafka")
}

/// When the oldest record of each partition that lost its first ones was written, the latest of these times; 0 if none lost any.
/// All that was written later is still there. Milliseconds since the epoch.
///
/// # Errors
/// As [`Source::read`].
pub(super) fn oldest_ms(config: &crate::kafka::Config, names: &[&str]) -> Result<u64> {
    let consumer = consumer(config)?;
    let mut oldest = 0;
    for name in names {
        for (partition, Stretch { next, end }) in assign(&consumer, name, Range::All)? {
            if next == 0 || next == end {
                continue;
            }
            let mut one = TopicPartitionList::new();
            one.add_partition_offset(name, partition, Offset::Offset(next)).context("kafka")?;
            consumer.assign(&one).context("kafka")?;
            let mut stretch = BTreeMap::from([(partition, Stretch { next, end: next + 1 })]);
            let mut first = None;
            read_stretches(&consumer, &mut stretch, &mut |record| {
                first = first.or(record.and_then(|record| record.written_ms));
                Ok(())
            })?;
            oldest = oldest.max(first.unwrap_or(0));
        }
    }
    Ok(oldest)
}

/// What a look at the brokers gave.
enum Polled<'a> {
    Message(BorrowedMessage<'a>),
    /// The partition was read to its end.
    End(i32),
    /// Nothing yet, perhaps because of an error that may pass.
    Nothing(Option<KafkaError>),
}

fn poll(consumer: &BaseConsumer<Observer>) -> Result<Polled<'_>> {
    match consumer.poll(LOOK) {
        Some(Ok(message)) => Ok(Polled::Message(message)),
        Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
            bail!("a topic is gone; `waypost kafka setup` creates it")
        }
        Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Polled::End(partition)),
        Some(Err(why)) => Ok(Polled::Nothing(Some(why))),
        None => Ok(Polled::Nothing(None)),
    }
}

fn hand_over(message: &BorrowedMessage<'_>, take: Take<'_>) -> Result<()> {
    let Some(value) = message.payload() else { return Ok(()) };
    let at = At::Kafka { topic: message.topic(), partition: message.partition(), offset: message.offset() };
    let written_ms = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok());
    take(Some(Record { value, at, written_ms }))
}

/// Assigns every partition of a topic from where reading begins, and says what is to be read.
fn assign(consumer: &BaseConsumer<Observer>, name: &str, range: Range) -> Result<BTreeMap<i32, Stretch>> {
    let metadata = consumer
        .fetch_metadata(Some(name), PATIENCE)
        .map_err(|_| anyhow::anyhow!("no broker answered: {}", reason(consumer)))?;
    let partitions = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    if partitions.is_empty() {
        bail!("topic `{name}` does not exist; create it with `waypost kafka setup --apply`");
    }
    let since = match range {
        Range::Since(since_ms) => offsets_since(consumer, name, partitions.len(), since_ms)?,
        Range::All | Range::Last { .. } => BTreeMap::new(),
    };
    let mut list = TopicPartitionList::new();
    let mut stretches = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(name, partition.id(), PATIENCE).context("kafka")?;
        let from = match range {
            Range::All => low,
            Range::Since(_) => since.get(&partition.id()).map_or(high, |from| low.max(*from)),
            // The latest of a topic may all lie in one partition; which of them are, is seen once they are read.
            Range::Last { count, .. } => low.max(high.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX))),
        };
        list.add_partition_offset(name, partition.id(), Offset::Offset(from)).context("kafka")?;
        stretches.insert(partition.id(), Stretch { next: from, end: high });
    }
    consumer.assign(&list).context("kafka")?;
    Ok(stretches)
}

/// The first record of each partition whose timestamp is not before this time; absent where there is none. Every record before it
/// is older, whatever order they were written in.
fn offsets_since(
    consumer: &BaseConsumer<Observer>,
    name: &str,
    partitions: usize,
    since_ms: u64,
) -> Result<BTreeMap<i32, i64>> {
    let mut times = TopicPartitionList::new();
    let since = Offset::Offset(i64::try_from(since_ms).unwrap_or(i64::MAX));
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        times.add_partition_offset(name, partition, since).context("kafka")?;
    }
    let found = consumer.offsets_for_times(times, PATIENCE).context("kafka")?;
    let mut offsets = BTreeMap::new();
    for partition in found.elements() {
        partition.error().with_context(|| format!("kafka: {name} partition {}", partition.partition()))?;
        if let Offset::Offset(offset) = partition.offset() {
            offsets.insert(partition.partition(), offset);
        }
    }
    Ok(offsets)
}

fn reason(consumer: &BaseConsumer<Observer>) -> String {
    // What went wrong with the connection is only told to who asks.
    for _ in 0..16 {
        if consumer.poll(Duration::from_millis(10)).is_none() {
            break;
        }
    }
    consumer.context().last_error().unwrap_or_else(|| "the brokers say nothing".to_owned())
}
