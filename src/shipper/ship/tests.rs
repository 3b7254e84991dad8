use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::*;
use crate::{
    journal::{Config as JournalConfig, Journal, Lane, Parts},
    model::click::{Click, Outcome, Text},
    shipper::{Config, Start, Target, event::tests, open, track::FAILED, upto::Lanes},
    size::Bytes,
};

/// An edge without a worker: its journal, its lanes and a shipper that is run by hand.
struct Edge {
    dir: PathBuf,
    lanes: Vec<Lane>,
    ship: Ship,
    _spiller: crate::journal::Spiller,
}

impl Edge {
    fn open(dir: &Path, workers: usize, target: Target) -> Edge {
        let journal = JournalConfig { ring_bytes: Bytes::mib(4), ..JournalConfig::default() };
        let Parts { lanes, readers, spiller } = Journal::open(dir, &journal, workers).unwrap().into_parts();
        let config = Config { max_in_flight: 1_000, ..Config::default() };
        let ship =
            open(Start { config, target, dead_letters: dir.join("dead-letters"), edge: "edge-1".to_owned(), readers })
                .unwrap();
        Edge { dir: dir.to_owned(), lanes, ship, _spiller: spiller }
    }

    fn to_files(dir: &Path, workers: usize) -> Edge {
        let files = Target::Files { dir: dir.join("clicks"), sync_every: Duration::ZERO };
        Edge::open(dir, workers, files)
    }

    /// Takes a click into a lane's journal.
    fn click(&mut self, lane: usize, topic: Topic, number: u64) {
        let mut click = tests::click();
        click.id[8..].copy_from_slice(&number.to_be_bytes());
        let agent = format!("Mozilla/5.0 ({number})");
        click.texts[Text::UserAgent as usize] = agent.as_bytes();
        if topic == Topic::Orphan {
            click.outcome = Outcome::NotFound;
        }
        self.append(lane, topic, &click);
    }

    fn append(&mut self, lane: usize, topic: Topic, click: &Click<'_>) {
        let mut bytes = Vec::new();
        click.encode(&mut bytes);
        self.lanes[lane].append(topic as u8, &bytes).unwrap();
    }

    /// Rounds until everything is delivered, or the time is up.
    fn run(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.ship.round(Instant::now(), true);
            if self.ship.lanes.iter().all(LaneState::done) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Every line of a topic's files.
    fn lines(&self, topic: Topic) -> Vec<serde_json::Value> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.dir.join("clicks")).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        let own = format!("{}-", topic.name());
        let mut lines = Vec::new();
        for path in paths.iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&own)) {
            for line in fs::read_to_string(path).unwrap().lines() {
                lines.push(serde_json::from_str(line).unwrap());
            }
        }
        lines
    }
}

/// How often each click is there, by its number.
fn numbers(lines: &[serde_json::Value]) -> BTreeMap<u64, usize> {
    let mut numbers = BTreeMap::new();
    for line in lines {
        let id = line["click_id"].as_str().unwrap().replace('-', "");
        *numbers.entry(u64::from_str_radix(&id[16..], 16).unwrap()).or_default() += 1;
    }
    numbers
}

fn once(numbers: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    numbers.map(|number| (number, 1)).collect()
}

#[test]
fn clicks_of_both_topics_and_all_lanes_arrive_once_with_gapless_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::to_files(dir.path(), 2);
    for number in 0..3_000 {
        let topic = if number % 3 == 0 { Topic::Orphan } else { Topic::Clicks };
        edge.click(number as usize % 2, topic, number);
    }
    assert!(edge.run());
    let (clicks, orphans) = (edge.lines(Topic::Clicks), edge.lines(Topic::Orphan));
    assert_eq!((clicks.len(), orphans.len()), (2_000, 1_000));
    let mut all = clicks.clone();
    all.extend(orphans.iter().cloned());
    assert_eq!(numbers(&all), once(0..3_000));
    for lines in [clicks, orphans] {
        for lane in 0..2 {
            let seqs: Vec<u64> =
                lines.iter().filter(|l| l["lane"] == lane).map(|l| l["seq"].as_u64().unwrap()).collect();
            assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "lane {lane}");
        }
    }
    assert_eq!(edge.ship.delivered, [2_000, 1_000]);
    let summary = edge.ship.summary();
    assert_eq!(summary, Summary { delivered: [2_000, 1_000], remaining: [0, 0], counted_all: true });
}

#[test]
fn what_was_written_but_not_acknowledged_when_the_process_died_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    for cycle in 0..5 {
        let mut edge = Edge::to_files(dir.path(), 1);
        for number in cycle * 100..(cycle + 1) * 100 {
            edge.click(0, if number % 4 == 0 { Topic::Orphan } else { Topic::Clicks }, number);
        }
        // Read and synced, but the journal is not told; then the process dies, in the middle of a line.
        let mut room = [70, 10];
        edge.ship.read_on(0, &mut room, Instant::now());
        edge.ship.sink.tend(Instant::now(), true, &mut Vec::new(), &Lanes::new);
        drop(edge);
        let last = fs::read_dir(dir.path().join("clicks")).unwrap().map(|e| e.unwrap().path()).max().unwrap();
        let mut torn = fs::read(&last).unwrap();
        torn.extend_from_slice(b"{\"type\":\"click\",\"sch");
        fs::write(&last, torn).unwrap();
    }
    let mut edge = Edge::to_files(dir.path(), 1);
    assert!(edge.run());
    let mut all = edge.lines(Topic::Clicks);
    all.extend(edge.lines(Topic::Orphan));
    assert_eq!(numbers(&all), once(0..500));
}

#[test]
fn a_topic_that_has_to_wait_does_not_hold_the_other_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::to_files(dir.path(), 1);
    for number in 0..200 {
        edge.click(0, if number % 2 == 0 { Topic::Clicks } else { Topic::Orphan }, number);
    }
    let mut room = [0, 1_000];
    edge.ship.read_on(0, &mut room, Instant::now());
    edge.ship.sink.tend(Instant::now(), true, &mut edge.ship.words, &Lanes::new);
    edge.ship.hear(Instant::now());
    edge.ship.acknowledge(Instant::now());
    assert_eq!(edge.lines(Topic::Orphan).len(), 100);
    let lane = &edge.ship.lanes[0];
    assert_eq!(lane.prefix(), lane.reader.start(), "the lane is delivered as far as its slower topic");
    assert!(edge.run());
    assert_eq!(numbers(&edge.lines(Topic::Clicks)).len(), 100);
    assert_eq!(edge.lines(Topic::Orphan).len(), 100);
}

#[test]
fn a_double_tap_is_labelled_and_written_again_with_the_same_label_after_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::to_files(dir.path(), 1);
    let tap = tests::click();
    edge.append(0, Topic::Clicks, &tap);
    edge.append(0, Topic::Clicks, &tap);
    edge.ship.read_on(0, &mut [100, 100], Instant::now());
    // The sink lost them.
    edge.ship.words.push(Word::Every(Topic::Clicks, Err(crate::kafka::Refusal::Retriable)));
    edge.ship.hear(Instant::now());
    let Sink::Files(files) = &mut edge.ship.sink else { panic!() };
    files.line(Topic::Clicks, Instant::now()).unwrap().clear();
    assert!(edge.run());
    let duplicates: Vec<bool> = edge.lines(Topic::Clicks).iter().map(|l| l["duplicate"].as_bool().unwrap()).collect();
    assert_eq!(duplicates, [false, true]);
}

#[test]
fn a_click_that_only_a_newer_build_reads_waits_over_restarts_and_its_topic_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::to_files(dir.path(), 1);
    edge.click(0, Topic::Clicks, 0);
    edge.lanes[0].append(Topic::Clicks as u8, b"of another time").unwrap();
    for number in 1..10 {
        edge.click(0, Topic::Clicks, number);
        edge.click(0, Topic::Orphan, 100 + number);
    }
    for _ in 0..3 {
        for _ in 0..5 {
            edge.ship.round(Instant::now(), true);
        }
        // To the next start what stands highest in the files stands for all before it: so nothing may stand behind this one.
        assert_eq!(numbers(&edge.lines(Topic::Clicks)), once(0..1));
        assert_eq!(numbers(&edge.lines(Topic::Orphan)), once(101..110));
        assert!(!edge.ship.lanes[0].done());
        drop(edge);
        edge = Edge::to_files(dir.path(), 1);
    }
    edge.ship.round(Instant::now(), true);
    assert_eq!(edge.ship.summary().remaining, [10, 0]);
}

#[test]
fn what_cannot_be_shipped_at_the_end_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::to_files(dir.path(), 1);
    for number in 0..100 {
        edge.click(0, if number % 10 == 0 { Topic::Orphan } else { Topic::Clicks }, number);
    }
    edge.ship.read_on(0, &mut [30, 0], Instant::now());
    edge.ship.sink.tend(Instant::now(), true, &mut edge.ship.words, &Lanes::new);
    edge.ship.hear(Instant::now());
    edge.ship.acknowledge(Instant::now());
    let summary = edge.ship.summary();
    assert_eq!(summary, Summary { delivered: [30, 0], remaining: [60, 10], counted_all: true });
}

/// A mock broker: real TCP, acknowledges without keeping for long.
fn broker() -> (MockCluster<'static, DefaultProducerContext>, Target) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in Topic::ALL {
        cluster.create_topic(topic.name(), 3, 1).unwrap();
    }
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    let config = crate::kafka::Config { brokers: Some(cluster.bootstrap_servers()), ..crate::kafka::Config::default() };
    (cluster, Target::Kafka(config))
}

/// Every record of a topic, from its beginning until `count` came.
fn consume(cluster: &MockCluster<'static, DefaultProducerContext>, topic: Topic, count: usize) -> Vec<Record> {
    use rdkafka::{
        ClientConfig, Message,
        consumer::{BaseConsumer, Consumer},
        message::Headers,
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic.name()]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut records = Vec::new();
    while records.len() < count && Instant::now() < deadline {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().unwrap();
        records.push(Record {
            value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
            key: message.key().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis().unwrap(),
            headers: headers
                .iter()
                .map(|h| (h.key.to_owned(), String::from_utf8(h.value.unwrap().to_vec()).unwrap()))
                .collect(),
        });
    }
    records
}

struct Record {
    value: serde_json::Value,
    key: Option<Vec<u8>>,
    timestamp: i64,
    headers: BTreeMap<String, String>,
}

#[test]
fn records_carry_key_timestamp_and_cloudevents_headers() {
    let (cluster, target) = broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    edge.append(0, Topic::Clicks, &tests::click());
    edge.append(0, Topic::Clicks, &Click { visitor: None, ..tests::click() });
    assert!(edge.run());
    let records = consume(&cluster, Topic::Clicks, 2);
    assert_eq!(records.len(), 2);
    for record in &records {
        let visitor = record.value.get("visitor_id").map(|id| id.as_str().unwrap().as_bytes().to_vec());
        assert_eq!(record.key, visitor);
        assert_eq!(record.timestamp, tests::click().at_ms as i64);
        let header = |name: &str| record.headers[name].as_str();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(header("ce_type"), "waypost.click.v1");
        assert_eq!(header("ce_source"), "/waypost/edge-1");
        assert_eq!(header("ce_id"), record.value["click_id"].as_str().unwrap());
        assert_eq!(header("ce_time"), "2026-11-18T11:06:40.123Z");
        assert_eq!(header("schema-version"), "1");
        assert!(header("wp_shipped_at_ms").parse::<u64>().unwrap() > 1_700_000_000_000);
    }
    assert_eq!(records.iter().filter(|record| record.key.is_none()).count(), 1);
}

/// What the lanes said on their topic, from its beginning until one is what is waited for.
fn statements(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    last: impl Fn(&serde_json::Value) -> bool,
) -> Vec<serde_json::Value> {
    use rdkafka::{
        ClientConfig, Message,
        consumer::{BaseConsumer, Consumer},
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "auditor")
        .create()
        .unwrap();
    let mut partitions = rdkafka::TopicPartitionList::new();
    partitions.add_partition_offset("clicks.lanes", 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut said: Vec<serde_json::Value> = Vec::new();
    while !said.last().is_some_and(&last) {
        assert!(Instant::now() < deadline, "{said:#?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        said.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
    }
    said
}

#[test]
fn a_lane_says_when_it_opens_how_far_it_is_and_how_its_last_epoch_ended() {
    let (cluster, target) = broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target.clone());
    for number in 0..30 {
        edge.click(0, if number % 3 == 0 { Topic::Orphan } else { Topic::Clicks }, number);
    }
    assert!(edge.run());
    let (stopper, stop) = crate::lifecycle::stop();
    stopper.stop();
    let Edge { ship, lanes, _spiller: spiller, .. } = edge;
    drop((lanes, spiller));
    ship.run(&stop, Duration::from_secs(10));
    let said = statements(&cluster, |said| said["kind"] == "closing");
    assert_eq!((&said[0]["kind"], &said[0]["ended"]), (&"open".into(), &serde_json::json!([])));
    let closing = said.last().unwrap();
    let epoch = closing["epoch"].as_u64().unwrap();
    for (topic, count) in [("clicks", 20), ("clicks.orphan", 10)] {
        let stands = &closing["topics"][topic];
        assert_eq!(stands["next_seq"], count);
        assert_eq!(stands["delivered"], serde_json::json!({"epoch": epoch, "next": count}));
        assert_eq!(stands["safe"], stands["delivered"]);
        assert_eq!(stands["quarantined"], serde_json::json!([]));
        assert!(stands["complete_to_ms"].as_u64().unwrap() <= closing["at_ms"].as_u64().unwrap());
    }
    // The process dies without a word: its ring is there, so how the epoch ended is known to the last number.
    let mut edge = Edge::open(dir.path(), 1, target);
    edge.ship.round(Instant::now(), false);
    let said = statements(&cluster, |said| said["kind"] == "recovered");
    let end = serde_json::json!({"epoch": epoch, "cut": false, "next_seq": {"clicks": 20, "clicks.orphan": 10}});
    assert_eq!(said.last().unwrap()["ended"], serde_json::json!([end]));
}

#[test]
fn a_round_takes_every_report_that_came() {
    let (cluster, target) = broker();
    let Target::Kafka(mut config) = target else { panic!("{target:?}") };
    // Each click is a batch of its own, and so is its report.
    config.properties = [("batch.num.messages".to_owned(), "1".to_owned())].into_iter().collect();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, Target::Kafka(config));
    (0..600).for_each(|number| edge.click(0, Topic::Clicks, number));
    while edge.ship.held(Topic::Clicks).in_flight as u64 + edge.ship.delivered[0] < 600 {
        edge.ship.round(Instant::now(), false);
    }
    assert_eq!(consume(&cluster, Topic::Clicks, 600).len(), 600);
    for _ in 0..50 {
        edge.ship.round(Instant::now(), false);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(edge.ship.delivered, [600, 0]);
}

#[test]
fn clicks_wait_for_a_broker_that_is_away_and_refused_batches_are_sent_again_until_all_are_delivered() {
    let (cluster, target) = broker();
    let dir = tempfile::tempdir().unwrap();
    cluster.broker_down(-1).unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    for number in 0..2_500 {
        edge.click(0, if number % 5 == 0 { Topic::Orphan } else { Topic::Clicks }, number);
    }
    for _ in 0..50 {
        edge.ship.round(Instant::now(), false);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(edge.ship.delivered, [0, 0]);
    assert!(edge.ship.held(Topic::Clicks).in_flight <= 1_000, "what waits in memory is bounded");
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        ],
    );
    cluster.broker_up(-1).unwrap();
    assert!(edge.run());
    assert_eq!(edge.ship.delivered, [2_000, 500]);
    let clicks: Vec<_> = consume(&cluster, Topic::Clicks, 2_000).into_iter().map(|record| record.value).collect();
    let mut expected = once(0..2_500);
    expected.retain(|number, _| number % 5 != 0);
    assert_eq!(numbers(&clicks), expected);
}

#[test]
fn a_fatal_error_builds_another_producer_and_sends_what_was_not_acknowledged() {
    let (cluster, target) = broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    // The lane's first word is through, so that the error meets clicks.
    edge.ship.round(Instant::now(), false);
    edge.ship.sink.settle(Instant::now() + Duration::from_secs(30), &Lanes::new);
    for number in 0..300 {
        edge.click(0, Topic::Clicks, number);
    }
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    assert!(edge.run());
    assert_eq!(edge.ship.delivered, [300, 0]);
    let clicks: Vec<_> = consume(&cluster, Topic::Clicks, 300).into_iter().map(|record| record.value).collect();
    assert!(numbers(&clicks).into_keys().eq(0..300));
    let Sink::Kafka(kafka) = &edge.ship.sink else { panic!() };
    assert_eq!(kafka.builds(), 2);
}

/// A mock broker with one partition a topic, so that what is sent together is one batch.
fn narrow_broker() -> (MockCluster<'static, DefaultProducerContext>, Target) {
    let cluster = MockCluster::new(1).unwrap();
    Topic::ALL.into_iter().for_each(|topic| cluster.create_topic(topic.name(), 1, 1).unwrap());
    let properties = [("linger.ms".to_owned(), "30".to_owned())].into_iter().collect();
    let brokers = Some(cluster.bootstrap_servers());
    let config = crate::kafka::Config { brokers, properties, ..crate::kafka::Config::default() };
    (cluster, Target::Kafka(config))
}

/// Refuses the batch, the same again, and of its clicks one by one the one at this place; then takes what comes, but refuses as
/// many more.
fn refuse(cluster: &MockCluster<'static, DefaultProducerContext>, place: usize, more: usize) {
    use RDKafkaRespErr::{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR};
    let mut answers = vec![TOO_LARGE, TOO_LARGE];
    answers.extend(std::iter::repeat_n(NO_ERROR, place));
    answers.extend(std::iter::repeat_n(TOO_LARGE, 1 + more));
    cluster.request_errors(RDKafkaApiKey::Produce, &answers);
}

impl Edge {
    /// Rounds until it is so, or the time is up.
    fn run_until(&mut self, mut so: impl FnMut(&Edge) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !so(self) {
            assert!(Instant::now() < deadline, "in time");
            self.ship.round(Instant::now(), false);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Every dead letter.
    fn dead(&self) -> Vec<serde_json::Value> {
        let Ok(found) = fs::read_dir(self.dir.join("dead-letters")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn waiting(&self) -> usize {
        self.ship.held(Topic::Clicks).failed[FAILED - 1]
    }
}

/// The clicks among the records, and the stubs.
fn parted(records: Vec<Record>) -> (Vec<serde_json::Value>, Vec<Record>) {
    let (stubs, clicks): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| record.value["type"] == "dead_lettered");
    (clicks.into_iter().map(|record| record.value).collect(), stubs)
}

#[test]
fn of_a_batch_with_one_bad_click_only_that_is_dead_lettered_and_its_stub_has_its_place() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    refuse(&cluster, 5, 0);
    (0..8).for_each(|number| edge.click(0, Topic::Clicks, number));
    assert!(edge.run());
    assert_eq!(edge.ship.delivered, [7, 0], "a dead letter is not delivered");
    let (clicks, stubs) = parted(consume(&cluster, Topic::Clicks, 8));
    let mut expected = once(0..8);
    expected.remove(&5);
    assert_eq!(numbers(&clicks), expected);
    let [letter] = &edge.dead()[..] else { panic!("{:?}", edge.dead()) };
    let [stub] = &stubs[..] else { panic!("{} stubs", stubs.len()) };
    let event = &letter["event"];
    assert_eq!(numbers(std::slice::from_ref(event)), once(5..6));
    for key in ["click_id", "clicked_at_ms", "edge", "lane", "epoch", "seq", "schema_version"] {
        assert_eq!(stub.value[key], event[key], "{key}");
    }
    assert_eq!((&stub.value["seq"], &letter["seq"]), (&5.into(), &5.into()));
    assert_eq!((&stub.value["reason"], &letter["reason"]), (&"too_large".into(), &"too_large".into()));
    assert_eq!(letter["topic"], "clicks");
    assert!(stub.value["size"].as_u64().unwrap() > 500 && stub.value["safe"].is_u64());
    assert_eq!(stub.key.as_deref(), event["visitor_id"].as_str().map(str::as_bytes));
    assert_eq!(stub.headers["ce_type"], "waypost.dead_lettered.v1");
    assert_eq!(stub.timestamp, tests::click().at_ms as i64);
}

#[test]
fn a_crash_between_the_letter_and_its_stub_repeats_both_and_loses_nothing() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target.clone());
    // Its stub is refused too, and so is the click behind it, which is no dead letter as long as the stub waits.
    refuse(&cluster, 2, 100);
    (0..4).for_each(|number| edge.click(0, Topic::Clicks, number));
    edge.run_until(|edge| edge.waiting() == 1);
    assert_eq!((edge.dead().len(), edge.ship.delivered), (1, [2, 0]), "the prefix stands before it");
    drop(edge);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);

    // What follows the prefix is sent again: the bad click, now the first, and the one behind it.
    refuse(&cluster, 0, 0);
    let mut edge = Edge::open(dir.path(), 1, target.clone());
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (2, [1, 0]));
    let letters = edge.dead();
    for key in ["edge", "lane", "epoch", "seq"] {
        assert_eq!(letters[0][key], letters[1][key], "{key}");
    }
    let (clicks, stubs) = parted(consume(&cluster, Topic::Clicks, 4));
    assert!(numbers(&clicks).into_keys().eq([0, 1, 3]));
    assert_eq!(stubs.len(), 1);
    assert_eq!(stubs[0].value["seq"], 2);
}

#[test]
fn a_stub_that_is_refused_too_waits_and_is_sent_again_without_a_second_letter() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    refuse(&cluster, 1, 1);
    (0..2).for_each(|number| edge.click(0, Topic::Clicks, number));
    edge.run_until(|edge| edge.waiting() == 1);
    let turn = |edge: &Edge, at: Instant| edge.ship.gates[0].turn(&edge.ship.held(Topic::Clicks), 1_000, at);
    assert_eq!(turn(&edge, Instant::now()), Turn::New(1_000), "others go on");
    let later = Instant::now() + Duration::from_secs(31);
    assert_eq!(turn(&edge, later), Turn::Again(4..=255, 1));
    edge.ship.round(later, false);
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (1, [1, 0]));
    let (clicks, stubs) = parted(consume(&cluster, Topic::Clicks, 2));
    assert_eq!((numbers(&clicks), stubs.len()), (once(0..1), 1));
}

#[test]
fn a_click_that_the_topic_takes_after_a_crash_is_delivered_beside_its_letter() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target.clone());
    refuse(&cluster, 0, 100);
    edge.click(0, Topic::Clicks, 0);
    edge.run_until(|edge| edge.waiting() == 1);
    drop(edge);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let mut edge = Edge::open(dir.path(), 1, target);
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (1, [1, 0]));
    let (clicks, stubs) = parted(consume(&cluster, Topic::Clicks, 1));
    assert_eq!((numbers(&clicks), stubs.len()), (once(0..1), 0));
}

#[test]
fn a_dead_letter_that_cannot_be_written_waits_and_nothing_else_until_it_can() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("dead-letters");
    fs::write(&in_the_way, "").unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    // The click itself is tried once more, for it is all there is to try.
    refuse(&cluster, 3, 1);
    (0..4).for_each(|number| edge.click(0, Topic::Clicks, number));
    edge.run_until(|edge| edge.waiting() == 1);
    (4..20).for_each(|number| edge.click(0, Topic::Clicks, number));
    edge.run_until(|edge| edge.ship.held(Topic::Clicks).in_flight == 0 && edge.ship.lanes[0].tracks[0].ahead() == 17);
    assert_eq!(edge.ship.delivered, [3, 0], "nothing passes it");
    assert_eq!(edge.ship.gates[0].turn(&edge.ship.held(Topic::Clicks), 1_000, Instant::now()), Turn::New(1_000));

    fs::remove_file(&in_the_way).unwrap();
    let later = Instant::now() + Duration::from_secs(31);
    edge.ship.round(later, false);
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (1, [19, 0]));
    let (clicks, stubs) = parted(consume(&cluster, Topic::Clicks, 20));
    assert_eq!((clicks.len(), stubs.len()), (19, 1));
    assert_eq!(stubs[0].value["seq"], 3);
}

#[test]
fn errors_of_the_topic_and_of_rights_prove_nothing_against_a_click() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as FORBIDDEN,
    };
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE, FORBIDDEN, TOO_LARGE, TOO_FEW, FORBIDDEN, FORBIDDEN]);
    (0..4).for_each(|number| edge.click(0, Topic::Clicks, number));
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (0, [4, 0]));
}

#[test]
fn what_was_clamped_with_others_is_tried_alone_with_its_own_time_before_it_is_a_dead_letter() {
    let (cluster, target) = narrow_broker();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Edge::open(dir.path(), 1, target);
    let round = usize::from(CLAMPS) + 1;
    let refusals = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP; 2 * round];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    edge.click(0, Topic::Clicks, 0);
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (0, [1, 0]));
    assert_eq!(consume(&cluster, Topic::Clicks, 1)[0].timestamp, tests::click().at_ms as i64);

    cluster.request_errors(RDKafkaApiKey::Produce, &vec![refusals[0]; 3 * round]);
    edge.click(0, Topic::Clicks, 1);
    assert!(edge.run());
    assert_eq!((edge.dead().len(), edge.ship.delivered), (1, [1, 0]));
    assert_eq!(edge.dead()[0]["reason"], "invalid_timestamp");
}
