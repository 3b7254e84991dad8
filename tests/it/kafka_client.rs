//! The client settings and `kafka setup` against a real broker, without the server.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use waypost::{
    cli::kafka::{SetupArgs, print_topic_plans_and_apply_if_asked},
    kafka::{Config, Refusal, TopicAdmin, TopicState},
};

use crate::{
    dsl::{Site, link},
    kafka::{
        broker::{Broker, Kind},
        mock::Mock,
    },
    kafka_refused::wait_for_topic_alarm,
    tls_client::{self_signed, tls_site},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A producer whose delivery reports are kept.
struct Reports(std::sync::Mutex<Vec<Result<usize, RDKafkaErrorCode>>>);

impl rdkafka::ClientContext for Reports {}
impl rdkafka::producer::ProducerContext for Reports {
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, opaque: usize) {
        let report = match result {
            Ok(_) => Ok(opaque),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        self.0.lock().unwrap().push(report);
    }
}

type TestProducer = BaseProducer<Reports>;

fn producer(config: &ClientConfig) -> TestProducer {
    config.create_with_context(Reports(std::sync::Mutex::default())).unwrap()
}

fn reports(producer: &TestProducer) -> Vec<Result<usize, RDKafkaErrorCode>> {
    producer.context().0.lock().unwrap().clone()
}

/// Polls until there are so many reports, in any order.
fn until_reported(producer: &TestProducer, count: usize) -> Vec<Result<usize, RDKafkaErrorCode>> {
    let deadline = Instant::now() + TIMEOUT;
    while reports(producer).len() < count && Instant::now() < deadline {
        producer.poll(Duration::from_millis(20));
    }
    reports(producer)
}

fn send(producer: &TestProducer, topic: &str, at: usize, key: Option<&str>) {
    let value = format!("{{\"n\":{at}}}");
    let mut record = BaseRecord::with_opaque_to(topic, at).payload(&value).timestamp(1_700_000_000_000 + at as i64);
    record =
        record.headers(OwnedHeaders::new().insert(Header { key: "content-type", value: Some("application/json") }));
    if let Some(key) = key {
        record = record.key(key);
    }
    producer.send(record).map_err(|(why, _)| why).unwrap();
}

fn flags(apply: bool) -> SetupArgs {
    SetupArgs { apply, partitions: 6, replication: 1, min_insync: None, retention_days: 180, receipts_topic: None }
}

fn run_setup(config: &Config, flags: &SetupArgs) -> (String, Result<(), String>) {
    let mut out = Vec::new();
    let config = waypost::config::Config { kafka: config.clone(), ..waypost::config::Config::default() };
    let outcome = print_topic_plans_and_apply_if_asked(&config, flags, &mut out).map_err(|why| format!("{why:#}"));
    (String::from_utf8(out).unwrap(), outcome)
}

#[test]
fn what_the_recommended_settings_produce_the_java_consumer_reads_with_its_own_partitions() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic("clicks", 7, &[]);
    let producer = producer(&broker.config("").build_producer_settings("e1").unwrap());
    for at in 0..500 {
        let key = format!("visitor-{at}");
        send(&producer, "clicks", at, (at % 5 != 0).then_some(key.as_str()));
    }
    assert_eq!(until_reported(&producer, 500).iter().filter(|report| report.is_ok()).count(), 500);
    let records = broker.read(&["clicks"], 500, TIMEOUT);
    assert_eq!(records.len(), 500);
    let mut seen = HashMap::new();
    for record in &records {
        let at = record.json()["n"].as_u64().unwrap();
        assert_eq!(record.timestamp, 1_700_000_000_000 + at as i64);
        assert_eq!(record.timestamp_type, "CreateTime");
        assert_eq!(record.header("content-type"), Some("application/json"));
        assert_eq!(record.key.is_none(), at % 5 == 0, "a null key stays null");
        if record.key.is_some() {
            assert_eq!(Some(record.partition), record.java_partition, "key {:?}", record.key);
        }
        seen.insert(at, (record.topic.as_str(), record.offset));
    }
    assert_eq!(seen.len(), 500);
    assert!(records.iter().map(|record| record.partition).collect::<HashSet<_>>().len() > 1);
}

#[test]
fn sasl_ssl_lets_plain_and_scram_in_and_a_wrong_password_out() {
    let Some(broker) = Broker::start(Kind::SaslSsl) else { return };
    broker.create_topic("clicks", 3, &[]);
    for (at, mechanism) in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].into_iter().enumerate() {
        let config = broker.config(mechanism);
        assert_eq!(config.list_invalid_values(), [], "{mechanism}");
        let producer = producer(&config.build_producer_settings("e1").unwrap());
        send(&producer, "clicks", at, None);
        assert_eq!(until_reported(&producer, 1), [Ok(at)], "{mechanism}");
    }
    assert_eq!(broker.read(&["clicks"], 3, TIMEOUT).len(), 3);

    let mut properties = broker.properties("SCRAM-SHA-256");
    properties.retain(|(key, _)| key != "sasl.password");
    properties.push(("sasl.password".to_owned(), "wrong".to_owned()));
    let wrong = Config { properties: properties.into_iter().collect(), ..broker.config("PLAIN") };
    let why = TopicAdmin::new(&wrong, "e1").unwrap().describe_topics(&["clicks"], Duration::from_secs(3)).unwrap_err();
    assert!(why.contains("SASL authentication error"), "{why}");
}

#[test]
fn a_missing_topic_is_named_and_setup_makes_it_after_a_dry_run_that_changes_nothing() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let config = broker.config("");
    let topics = TopicAdmin::new(&config, "e1").unwrap();
    assert_eq!(
        topics.describe_topics(&config.topics.click_topics(), TIMEOUT).unwrap(),
        [TopicState::Missing, TopicState::Missing]
    );

    let mut hasty = config.build_producer_settings("e1").unwrap();
    hasty.set("topic.metadata.propagation.max.ms", "100").set("topic.metadata.refresh.interval.ms", "200");
    let producer = producer(&hasty);
    send(&producer, "clicks", 1, None);
    let report = until_reported(&producer, 1)[0];
    assert_eq!(report.map_err(Refusal::from_code), Err(Refusal::TopicMissing));
    assert!(Refusal::TopicMissing.advice_for_operator("clicks").contains("topic `clicks` does not exist"));

    let (said, outcome) = run_setup(&config, &flags(false));
    assert_eq!(outcome, Ok(()), "{said}");
    assert!(said.contains("clicks: create with 6 partitions") && said.contains("--apply"), "{said}");
    assert_eq!(
        topics.describe_topics(&config.topics.click_topics(), TIMEOUT).unwrap(),
        [TopicState::Missing, TopicState::Missing]
    );

    let (said, outcome) = run_setup(&config, &flags(true));
    assert_eq!(outcome, Ok(()), "{said}");
    for state in topics.describe_topics(&config.topics.click_topics(), TIMEOUT).unwrap() {
        let TopicState::Present(facts) = state else { panic!("{state:?}") };
        assert_eq!((facts.partitions, facts.replication, facts.min_insync()), (6, 1, Some(1)));
        assert_eq!(facts.find_setting("retention.ms"), Some("15552000000"));
        assert_eq!(facts.find_setting("compression.type"), Some("producer"));
        assert_eq!(facts.find_setting("message.timestamp.before.max.ms"), Some("9223372036854775807"));
    }
    let (said, outcome) = run_setup(&config, &flags(true));
    assert_eq!(outcome, Ok(()));
    assert!(said.contains("Nothing to do."), "{said}");
}

#[test]
fn setup_alters_what_falls_short_and_leaves_the_topics_other_settings() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic(
        "clicks",
        2,
        &[("retention.ms", "1000000"), ("segment.ms", "3600000"), ("cleanup.policy", "compact")],
    );
    let config = broker.config("");
    let (said, outcome) = run_setup(&config, &flags(true));
    assert_eq!(outcome, Ok(()), "{said}");
    assert!(said.contains("retention.ms: 1000000 -> 15552000000"), "{said}");
    assert!(said.contains("2 partitions"), "{said}");
    let states = TopicAdmin::new(&config, "e1").unwrap().describe_topics(&["clicks"], TIMEOUT).unwrap();
    let [TopicState::Present(facts)] = states.as_slice() else { panic!("{states:?}") };
    assert_eq!(facts.find_setting("retention.ms"), Some("15552000000"));
    assert_eq!(facts.find_setting("cleanup.policy"), Some("delete"));
    assert_eq!(facts.find_setting("segment.ms"), Some("3600000"), "a setting that is not ours stays");
    assert_eq!(facts.partitions, 2);
}

#[test]
fn setup_says_what_to_do_where_it_cannot() {
    let Some(broker) = Broker::start(Kind::Acls) else { return };
    let config = broker.config("PLAIN");
    broker.create_topic("clicks", 1, &[]);
    let (said, outcome) = run_setup(&config, &flags(false));
    assert!(outcome.unwrap_err().contains("clicks"), "{said}");
    assert!(said.contains("grant"), "{said}");

    let inside = Config { brokers: Some(broker.unrestricted_address()), ..Config::default() };
    let three = SetupArgs { replication: 3, ..flags(true) };
    let (said, outcome) = run_setup(&inside, &three);
    assert!(outcome.unwrap_err().contains("clicks.orphan"), "{said}");
    assert!(said.contains("3 replicas were asked for") && said.contains("--replication"), "{said}");

    let nobody = Config { brokers: Some("127.0.0.1:1".to_owned()), ..Config::default() };
    let why = TopicAdmin::new(&nobody, "e1").unwrap().describe_topics(&["clicks"], Duration::from_secs(2)).unwrap_err();
    assert!(why.contains("127.0.0.1:1"), "{why}");
}

#[test]
fn a_user_who_may_not_write_is_told_so_and_may_once_allowed() {
    let Some(broker) = Broker::start(Kind::Acls) else { return };
    broker.create_topic("clicks", 1, &[]);
    let config = broker.config("SCRAM-SHA-256");
    let refused = producer(&config.build_producer_settings("e1").unwrap());
    send(&refused, "clicks", 1, None);
    let deadline = Instant::now() + TIMEOUT;
    while reports(&refused).is_empty() && refused.client().fatal_error().is_none() && Instant::now() < deadline {
        refused.poll(Duration::from_millis(20));
    }
    let fatal = refused.client().fatal_error().map(|(code, _)| Refusal::from_code(code));
    let report = reports(&refused).first().copied().map(|report| report.map_err(Refusal::from_code));
    assert!(
        fatal == Some(Refusal::NotAuthorized) || report == Some(Err(Refusal::NotAuthorized)),
        "fatal: {fatal:?}, report: {report:?}"
    );
    broker.grant_write("clicks");
    let allowed = producer(&config.build_producer_settings("e1").unwrap());
    send(&allowed, "clicks", 2, None);
    assert_eq!(until_reported(&allowed, 1), [Ok(2)]);
}

#[test]
fn a_broker_killed_in_the_middle_loses_nothing_once_it_is_back() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic("clicks", 3, &[]);
    let producer = producer(&broker.config("").build_producer_settings("e1").unwrap());
    for at in 0..2000 {
        send(&producer, "clicks", at, None);
        if at == 1000 {
            until_reported(&producer, 500);
            broker.kill();
        }
    }
    broker.restart();
    let delivered = until_reported(&producer, 2000);
    assert_eq!(delivered.iter().filter(|report| report.is_ok()).count(), 2000);
    let records = broker.read(&["clicks"], 2000, TIMEOUT);
    // A batch that was written but not acknowledged may be there twice: at least once, which click ids tell apart.
    let distinct: HashSet<u64> = records.iter().map(|record| record.json()["n"].as_u64().unwrap()).collect();
    assert_eq!(distinct.len(), 2000, "every record that was reported delivered is there");
    broker.stop();
    broker.restart();
    assert_eq!(broker.read(&["clicks"], 2000, TIMEOUT).len(), records.len(), "a clean stop changes nothing");
}

#[test]
fn the_mock_broker_goes_away_comes_back_slows_down_and_refuses() {
    let mock = Mock::start(&["clicks"]);
    let config = Config { brokers: Some(mock.address()), ..Config::default() };
    let producer = producer(&config.build_producer_settings("e1").unwrap());
    send(&producer, "clicks", 0, None);
    assert_eq!(until_reported(&producer, 1), [Ok(0)]);
    mock.stop_broker();
    send(&producer, "clicks", 1, None);
    producer.poll(Duration::from_millis(300));
    assert_eq!(reports(&producer).len(), 1, "nothing is delivered while it is away, and nothing fails");
    mock.start_broker();
    assert_eq!(until_reported(&producer, 2)[1], Ok(1));
    mock.set_latency(Duration::from_millis(200));
    let start = Instant::now();
    send(&producer, "clicks", 2, None);
    assert_eq!(until_reported(&producer, 3)[2], Ok(2));
    assert!(start.elapsed() >= Duration::from_millis(200));
    mock.set_latency(Duration::ZERO);
    mock.refuse_requests(RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 100);
    send(&producer, "clicks", 3, None);
    assert_eq!(until_reported(&producer, 4)[3].map_err(Refusal::from_code), Err(Refusal::TooLarge));
    mock.stop_refusing();
    send(&producer, "clicks", 4, None);
    assert_eq!(until_reported(&producer, 5)[4], Ok(4));
}

/// What a `waypost` command of a site says, and its exit code.
fn said_by(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let output = site.command(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn a_plaintext_client_at_a_tls_listener_is_told_what_the_connection_did_and_which_key_to_look_at() {
    // Two servers that speak TLS: Waypost's own listener, and a broker.
    let tls = tls_site(&[("a", &self_signed(&["a.example"]))]).start();
    let broker = Broker::start(Kind::SaslSsl);
    let addresses = [Some(tls.listen().to_string()), broker.as_ref().map(Broker::address)];
    for address in addresses.into_iter().flatten() {
        let site = Site::new(&[link("live")]).arg("--kafka").arg(&address).start();
        let line = site.wait_for_log("no broker can be reached: ");
        assert!(line.contains(&address) && line.contains("security.protocol"), "{line}");
        let (code, said) = said_by(&site, &["kafka", "setup", "--kafka", &address]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&address) && said.contains("\"security.protocol\" in [kafka.properties]"), "{said}");
    }
}

#[test]
fn mistakes_in_brokers_and_login_are_refused_before_anything_is_connected() {
    let site = Site::new(&[link("live")]);
    for (variable, value, expected) in [
        ("WAYPOST__KAFKA__BROKERS", "SASL_SSL://k:9093", "set \"security.protocol\" = \"sasl_ssl\""),
        ("WAYPOST__KAFKA__BROKERS", "http://k:9092", "has the scheme http://; Kafka has none"),
        ("WAYPOST__KAFKA__BROKERS", "k-1:9092;k-2:9092", "something else than a comma between them"),
        ("WAYPOST__KAFKA__PROPERTIES__SASL_MECHANISM", "OAUTHBEARER", "this build has no way to get one"),
    ] {
        let mut command = site.command(&["check", "--links", "links.jsonl"]);
        let output = command.env(variable, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(variable) && said.contains(expected), "{variable}={value}: {said}");
    }
}

/// A broker that answers requests for metadata alone: the leader of its topic has a name that nobody knows.
fn broker_that_advertises_an_unknown_name() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let mut answer = Vec::new();
    answer.extend(1u32.to_be_bytes());
    answer.extend([&1u32.to_be_bytes()[..], &text("no-such-host.invalid"), &9092u32.to_be_bytes()].concat());
    answer.extend(1u32.to_be_bytes());
    answer.extend([&0u16.to_be_bytes()[..], &text("clicks"), &1u32.to_be_bytes()].concat());
    // Partition 0 without an error; its leader, its replicas and those in sync are broker 1.
    answer.extend(0u16.to_be_bytes());
    answer.extend([0u32, 1, 1, 1, 1, 1].iter().flat_map(|number| number.to_be_bytes()));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut head = [0; 12];
                while stream.read_exact(&mut head).is_ok() {
                    let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
                    let mut rest = vec![0; len - 8];
                    stream.read_exact(&mut rest).unwrap();
                    let size = (answer.len() as u32 + 4).to_be_bytes();
                    stream.write_all(&[&size[..], &head[8..], &answer[..]].concat()).unwrap();
                }
            });
        }
    });
    address
}

#[test]
fn clicks_tail_names_the_host_that_it_cannot_resolve() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__KAFKA__PROPERTIES__API_VERSION_REQUEST", "false")
        .env("WAYPOST__KAFKA__PROPERTIES__BROKER_VERSION_FALLBACK", "0.9.0.1");
    let advertised = broker_that_advertises_an_unknown_name().to_string();
    for (brokers, host) in [(&*advertised, "no-such-host.invalid:9092"), ("missing.invalid:1", "missing.invalid:1")] {
        let (code, said) = said_by(&site, &["clicks", "tail", "--kafka", brokers]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("Failed to resolve '{host}'")), "{brokers}: {said}");
    }
}

#[test]
fn a_topic_that_is_compacted_or_kept_too_short_raises_an_alarm_while_it_runs() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let forever = ("retention.ms", "-1");
    broker.create_topic("clicks", 1, &[("cleanup.policy", "compact"), forever]);
    broker.create_topic("clicks.orphan", 1, &[("retention.ms", "604800000")]);
    broker.create_topic("clicks.lanes", 1, &[forever]);
    let site = Site::new(&[link("live")]).arg("--kafka").arg(&broker.address()).start();
    wait_for_topic_alarm(&site, "clicks", "cleanup_policy", 1.0);
    wait_for_topic_alarm(&site, "clicks.orphan", "retention", 1.0);
    for (topic, reason) in [("clicks", "retention"), ("clicks.orphan", "cleanup_policy"), ("clicks.lanes", "retention")]
    {
        wait_for_topic_alarm(&site, topic, reason, 0.0);
    }
    let line = site.wait_for_fault("topic_removes_clicks", "yes", "topic-removes-clicks");
    assert!(line["message"].as_str().unwrap().contains("waypost kafka setup"), "{line}");
}
