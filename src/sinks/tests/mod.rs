//! The delivery engine with real sinks: click files, and librdkafka's mock cluster.

mod dead_letters;
mod to_files;
mod to_kafka;
mod transactions;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    mocking::MockCluster,
    producer::DefaultProducerContext,
};

use super::{files::FileSink, kafka::KafkaSink};
use crate::{
    delivery::{Config, EngineInputs, FilesConfig, build_engine, engine::Engine, lane::LaneProgress, sink::Sink},
    events::{encoder::tests::click as sample_click, protobuf_reader::value_as_json},
    journal::{Config as JournalConfig, DirectoryLocks, Journal, JournalParts, LaneWriter, SinkNote, Spiller},
    kafka,
    model::click::{Click, Outcome, Text, Topic},
    size::Bytes,
};

type TestCluster = MockCluster<'static, DefaultProducerContext>;

const DEADLINE: Duration = Duration::from_secs(30);

/// One topic of an edge without a worker: its journal, its lanes, and an engine that the test runs cycle by cycle.
struct TestEdge<S> {
    topic: Topic,
    dir: PathBuf,
    lanes: Vec<LaneWriter>,
    engine: Engine<S>,
    _spiller: Spiller,
}

impl TestEdge<FileSink> {
    fn with_files(topic: Topic, dir: &Path, workers: usize) -> TestEdge<FileSink> {
        TestEdge::open(topic, dir, workers, |notes| {
            FileSink::recover_clicks_and_open_files(
                topic,
                dir.join("clicks"),
                FilesConfig::default(),
                "edge-1",
                notes,
                Duration::ZERO,
            )
            .unwrap()
        })
    }

    /// Every line of the topic's files.
    fn lines(&self) -> Vec<serde_json::Value> {
        let prefix = format!("{}-", self.topic.name());
        let mut paths = list_paths(&self.dir.join("clicks"));
        paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix));
        read_json_lines(&paths)
    }

    /// Syncs the files without handling the reports.
    fn sync_without_reports(&mut self) {
        self.engine.sink.poll(Instant::now(), true, &mut Vec::new(), &BTreeMap::new);
    }

    /// Syncs the files, handles the reports, and acknowledges the delivered clicks.
    fn sync_and_acknowledge(&mut self) {
        let Engine { sink, reports, .. } = &mut self.engine;
        sink.poll(Instant::now(), true, reports, &BTreeMap::new);
        self.engine.handle_delivery_reports_and_return_if_any(Instant::now());
        self.engine.acknowledge_delivered_to_journal_and_publish_progress(Instant::now());
    }
}

impl TestEdge<KafkaSink> {
    fn with_kafka(dir: &Path, config: kafka::Config) -> TestEdge<KafkaSink> {
        TestEdge::with_kafka_topic(Topic::Clicks, dir, config)
    }

    fn with_kafka_topic(topic: Topic, dir: &Path, config: kafka::Config) -> TestEdge<KafkaSink> {
        TestEdge::open(topic, dir, 1, |notes| KafkaSink::new(topic, config, "edge-1", notes, 1_000).unwrap())
    }

    /// Runs cycles until the condition holds.
    fn run_until(&mut self, mut condition: impl FnMut(&TestEdge<KafkaSink>) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "the condition does not come true");
            self.engine.poll_send_and_acknowledge_once(Instant::now(), false);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Every line of the dead-letter files.
    fn dead_letters(&self) -> Vec<serde_json::Value> {
        read_json_lines(&list_paths(&self.dir.join("dead-letters")))
    }
}

impl<S: Sink> TestEdge<S> {
    fn open(topic: Topic, dir: &Path, workers: usize, open_sink: impl FnOnce(&[SinkNote]) -> S) -> TestEdge<S> {
        let journal = JournalConfig { ring_bytes: Bytes::mib(4), ..JournalConfig::default() };
        let JournalParts { writers: lanes, readers, spiller } =
            Journal::open(dir, topic.name(), &journal, workers, &DirectoryLocks::lock(dir, None).unwrap())
                .unwrap()
                .into_parts();
        let config = Config { max_in_flight: 1_000, ..Config::default() };
        let dead_letter_dir = dir.join("dead-letters");
        let inputs =
            EngineInputs { topic, config, dead_letter_dir, edge: "edge-1".to_owned(), readers, geoip: Arc::default() };
        let sink = open_sink(&inputs.sink_notes());
        TestEdge { topic, dir: dir.to_owned(), lanes, engine: build_engine(inputs, sink).unwrap(), _spiller: spiller }
    }

    /// Appends a click with this number to a lane's journal.
    fn append_numbered(&mut self, lane: usize, number: u64) {
        let mut click = sample_click();
        click.id[8..].copy_from_slice(&number.to_be_bytes());
        let agent = format!("Mozilla/5.0 ({number})");
        click.texts[Text::UserAgent as usize] = agent.as_bytes();
        if self.topic == Topic::Orphan {
            click.outcome = Outcome::NotFound;
        }
        self.append(lane, &click);
    }

    fn append(&mut self, lane: usize, click: &Click<'_>) {
        let mut bytes = Vec::new();
        click.encode(&mut bytes);
        self.lanes[lane].append(&bytes).unwrap();
    }

    /// Runs cycles until every click is delivered. Fails after a deadline.
    fn deliver_all(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.engine.poll_send_and_acknowledge_once(Instant::now(), true);
            if self.engine.lanes.iter().all(LaneProgress::is_all_delivered) {
                return;
            }
            assert!(Instant::now() < deadline, "not every click is delivered in time");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The paths in a directory in order; none if it does not exist.
fn list_paths(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read_json_lines(paths: &[PathBuf]) -> Vec<serde_json::Value> {
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How often each click occurs among the events, by its number.
fn count_by_number<'a>(events: impl IntoIterator<Item = &'a serde_json::Value>) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let id = event["click_id"].as_str().unwrap().replace('-', "");
        *counts.entry(u64::from_str_radix(&id[16..], 16).unwrap()).or_default() += 1;
    }
    counts
}

/// Each of these numbers once.
fn once_each(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    numbers.into_iter().map(|number| (number, 1)).collect()
}

/// A mock cluster of one broker: real TCP, and records are kept in memory for a short time. `partitions`: of each click
/// topic.
fn start_mock_cluster(partitions: i32) -> (TestCluster, kafka::Config) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in Topic::ALL {
        cluster.create_topic(topic.name(), partitions, 1).unwrap();
    }
    let brokers = Some(cluster.bootstrap_servers());
    let config = kafka::Config { brokers, ..kafka::Config::default() };
    (cluster, config)
}

struct ConsumedRecord {
    value: serde_json::Value,
    /// The bytes that hold the value.
    encoded: Vec<u8>,
    key: Option<Vec<u8>>,
    timestamp: i64,
    headers: BTreeMap<String, String>,
}

/// The records of a topic from its beginning, until `count` different events have come; an event may come twice. Fails
/// after a deadline.
fn consume(cluster: &TestCluster, topic: Topic, count: usize) -> Vec<ConsumedRecord> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic.name()]).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let (mut records, mut ids) = (Vec::new(), HashSet::new());
    while ids.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} events have come", ids.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().unwrap().iter();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        let mut json = Vec::new();
        let record = ConsumedRecord {
            value: serde_json::from_slice(value_as_json(message.payload().unwrap(), &mut json)).unwrap(),
            encoded: message.payload().unwrap().to_vec(),
            key: message.key().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis().unwrap(),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        };
        ids.insert(["type", "lane", "epoch", "seq"].map(|key| record.value[key].to_string()));
        records.push(record);
    }
    records
}

/// The lane statements from the topic's beginning, until one fulfils the condition. Fails after a deadline.
fn consume_statements(cluster: &TestCluster, is_last: impl Fn(&serde_json::Value) -> bool) -> Vec<serde_json::Value> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "auditor")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset("clicks.lanes", 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let mut statements: Vec<serde_json::Value> = Vec::new();
    while !statements.last().is_some_and(&is_last) {
        assert!(Instant::now() < deadline, "{statements:#?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        statements.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
    }
    statements
}
