//! `kafka.delivery = "exactly-once"` before a real Apache Kafka: a reader of what is committed sees each click once,
//! whatever ends in the middle.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

use crate::{
    crash::kill_under_load,
    dsl::{Site, TIMEOUT, request, until},
    kafka::{
        broker::Broker,
        oracle::{assert_records_match_answers, wait_until_audit_is_complete},
        proxy::{Mode, Proxy},
        reader::Record,
        site::{
            Load, assert_each_once, backlog_clicks, count_clicks, send_clicks, site_with_own_lanes_topic,
            wait_until_counts_add_up, wait_until_delivered,
        },
    },
};

fn checkpoints(topic: &str) -> String {
    format!("{topic}.checkpoints")
}

/// Topics for a site, and the site, not started yet.
fn site(broker: &Broker, address: &str, topic: &str) -> Site {
    broker.create_click_topics(topic, 3, &[]);
    broker.create_topic(&checkpoints(topic), 1, &[("cleanup.policy", "compact")]);
    exactly_once(address, topic)
}

fn exactly_once(address: &str, topic: &str) -> Site {
    site_with_own_lanes_topic(address, topic)
        .env("WAYPOST__KAFKA__DELIVERY", "exactly-once")
        .env("WAYPOST__KAFKA__TOPICS__CHECKPOINTS", &checkpoints(topic))
        .env("WAYPOST__EDGE__ID", &format!("edge-{topic}"))
}

fn stopped(site: &Site, reason: &str) -> f64 {
    site.metric("waypost_delivery_stopped", &format!("topic=\"clicks\",reason=\"{reason}\""))
}

/// What is committed of a topic's live clicks: each of these numbers once.
fn assert_committed_once(broker: &Broker, topic: &str, clicks: std::ops::Range<u64>) {
    let (found, repeats) = count_clicks(&broker.read(&[topic], clicks.end as usize, TIMEOUT));
    assert_each_once(&found, clicks);
    assert_eq!(repeats, 0);
}

/// Waits until as many more clicks are delivered.
fn wait_for_200_more_delivered(site: &Site) {
    let before = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as u64;
    wait_until_delivered(site, "clicks", before + 200);
}

/// Ends the load; what is committed is what was answered, each click once.
fn stop_load_and_assert_committed_once(site: &Site, broker: &Broker, topic: &str, load: Load) {
    let answers = load.stop_and_collect();
    until("nothing waits", || (backlog_clicks(site) == 0.0).then_some(()));
    let records = broker.read(&[topic], answers.len(), TIMEOUT);
    assert_eq!(assert_records_match_answers(site, &answers, &records), 0);
}

#[test]
fn over_kills_a_reader_of_what_is_committed_sees_each_click_once() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(&broker, &broker.address(), "once").env("WAYPOST__EDGE__WORKERS", "2");
    let (answered, asked) = kill_under_load(&mut site);
    site.restart();
    until("nothing waits", || (backlog_clicks(&site) == 0.0).then_some(()));
    wait_until_counts_add_up(&site);
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let records = broker.read(&["once"], answered.len(), TIMEOUT);
    let (found, repeats) = count_clicks(&records);
    assert_eq!(repeats, 0);
    let lost: Vec<_> = answered.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(lost.is_empty(), "answered, and not there: {lost:?}");
    assert!(found.iter().all(|(number, times)| *number < asked && *times == 1), "{found:?}");
    wait_until_audit_is_complete(&site, &broker.address());
    println!("{} answered clicks, each found once", answered.len());
}

#[test]
fn while_kafka_is_well_clicks_are_committed_before_they_would_be_written_to_the_disk() {
    const CLICKS: u64 = 200;
    /// Fewer than a click's frame has, which is a header of 48 bytes and a payload.
    const FRAME_BYTES: u64 = 100;
    let Some(broker) = Broker::start_or_share() else { return };
    let site = site(&broker, &broker.address(), "unspilled").start();
    let spilled_bytes = || site.metric("waypost_journal_spilled_bytes_total", "topic=\"clicks\"") as u64;
    // The first transaction waits for the producer to join.
    send_clicks(&site, 0..1);
    wait_until_delivered(&site, "clicks", 1);
    let before = spilled_bytes();
    for first in (1..=CLICKS).step_by(10) {
        send_clicks(&site, first..first + 10);
        wait_until_delivered(&site, "clicks", first + 10);
    }
    let spilled = spilled_bytes() - before;
    assert!(spilled < CLICKS * FRAME_BYTES / 2, "{spilled} bytes: more than a fourth of the clicks");
}

#[test]
fn checkpoints_are_as_the_schema_says_and_cover_what_is_committed() {
    let Some(broker) = Broker::start_or_share() else { return };
    let site = site(&broker, &broker.address(), "covered").start();
    send_clicks(&site, 0..40);
    assert_eq!(site.get("/nobody", &[]).status, 404);
    wait_until_delivered(&site, "clicks", 40);
    wait_until_delivered(&site, "clicks.orphan", 1);
    assert!(site.metric("waypost_kafka_transactions_total", "result=\"committed\"") >= 1.0);
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas/checkpoint.v1.schema.json");
    let schema = compiler.compile(path, &mut schemas).unwrap();
    let records = broker.read(&[&checkpoints("covered")], 4, TIMEOUT);
    for record in &records {
        let value = record.json();
        schemas.validate(&value, schema).unwrap_or_else(|why| panic!("{why:#}: {value}"));
        let key = format!("edge-covered/{}", value["topic"].as_str().unwrap());
        assert_eq!((record.partition, record.key.as_deref()), (0, Some(&*key)));
    }
    let last = |topic: &str| records.iter().map(Record::json).rfind(|value| value["topic"] == topic).unwrap();
    let next = |topic: &str| last(topic)["lanes"][0]["upto"]["next"].clone();
    assert_eq!((next("clicks"), next("clicks.orphan")), (Value::from(40), Value::from(1)));
}

#[test]
fn over_deaths_of_the_broker_a_reader_of_what_is_committed_sees_each_click_once() {
    let Some(mut broker) = Broker::start(crate::kafka::broker::Kind::Plain) else { return };
    let site = site(&broker, &broker.address(), "deaths").start();
    let load = Load::start(&site, 2);
    for _ in 0..3 {
        wait_for_200_more_delivered(&site);
        broker.kill();
        load.wait_for_more_answers(200);
        broker.restart();
    }
    wait_for_200_more_delivered(&site);
    stop_load_and_assert_committed_once(&site, &broker, "deaths", load);
    wait_until_audit_is_complete(&site, &broker.address());
}

#[test]
fn under_the_networks_faults_a_reader_of_what_is_committed_sees_each_click_once() {
    let proxy = Proxy::new();
    let Some(broker) = Broker::start_behind(&proxy) else { return };
    let site = site(&broker, &proxy.address(), "faulty")
        .env("WAYPOST__KAFKA__PROPERTIES__SOCKET_TIMEOUT_MS", "1000")
        .env("WAYPOST__KAFKA__PROPERTIES__SOCKET_CONNECTION_SETUP_TIMEOUT_MS", "2000")
        .start();
    let load = Load::start(&site, 2);
    for fault in [Mode::SwallowAnswers, Mode::Stall, Mode::Reset, Mode::SwallowAnswers, Mode::Reset] {
        wait_for_200_more_delivered(&site);
        proxy.set_mode(fault);
        load.wait_for_more_answers(600);
        site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
        proxy.set_mode(Mode::Pass);
    }
    wait_for_200_more_delivered(&site);
    stop_load_and_assert_committed_once(&site, &broker, "faulty", load);
    wait_until_audit_is_complete(&site, &broker.address());
}

/// The broker ends a transaction that was open for too long, and fences its producer: no other process has taken over.
#[test]
fn a_transaction_that_expired_in_an_outage_is_sent_again_and_delivery_goes_on() {
    let proxy = Proxy::new();
    let Some(broker) = Broker::start_behind(&proxy) else { return };
    let site = site(&broker, &proxy.address(), "expired")
        .env("WAYPOST__KAFKA__PROPERTIES__SOCKET_TIMEOUT_MS", "1000")
        .env("WAYPOST__KAFKA__PROPERTIES__TRANSACTION_TIMEOUT_MS", "2000")
        .start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    let mut expired = false;
    // Each time the link stalls, a transaction is open or is not.
    for _ in 0..10 {
        proxy.set_mode(Mode::Stall);
        let written = broker.count_appended("expired");
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            // The broker has appended the marker that ends the transaction.
            ended = broker.count_appended("expired") > written;
        }
        proxy.set_mode(Mode::Pass);
        wait_for_200_more_delivered(&site);
        // A commit that was under way when the link stalled has a marker, too, and no producer is rebuilt for it.
        expired = ended && site.metric("waypost_kafka_producer_rebuilds_total", "") >= 1.0;
        if expired {
            break;
        }
    }
    assert!(expired, "no transaction expired: {}", site.log());
    stop_load_and_assert_committed_once(&site, &broker, "expired", load);
    assert_eq!(site.metric("waypost_delivery_stopped", ""), 0.0);
    wait_until_counts_add_up(&site);
}

#[test]
fn another_edges_open_transaction_holds_up_the_start_and_neither_clicks_nor_what_follows() {
    let Some(broker) = Broker::start_or_share() else { return };
    let site = site(&broker, &broker.address(), "held");
    let other: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", "another-edge")
        .create()
        .unwrap();
    other.init_transactions(TIMEOUT).unwrap();
    other.begin_transaction().unwrap();
    let topic = checkpoints("held");
    other.send(BaseRecord::to(&topic).key("edge-other").payload("open")).unwrap();
    other.flush(TIMEOUT).unwrap();
    let site = site.start();
    send_clicks(&site, 0..50);
    until("they wait", || (backlog_clicks(&site) == 50.0).then_some(()));
    // Long enough for a start that nothing holds up.
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        assert_eq!(site.metric("waypost_clicks_delivered_total", "topic=\"clicks\""), 0.0);
        std::thread::sleep(Duration::from_millis(100));
    }
    other.abort_transaction(TIMEOUT).unwrap();
    wait_until_delivered(&site, "clicks", 50);
    assert_committed_once(&broker, "held", 0..50);
}

#[test]
fn a_process_that_comes_back_after_another_took_its_place_delivers_nothing_more_and_names_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut old = site(&broker, &broker.address(), "zombie").start();
    send_clicks(&old, 0..50);
    wait_until_delivered(&old, "clicks", 50);
    // Frozen, perhaps with a transaction open.
    send_clicks(&old, 50..60);
    old.signal("-STOP");
    let mut new = exactly_once(&broker.address(), "zombie").start();
    send_clicks(&new, 100..150);
    wait_until_delivered(&new, "clicks", 50);
    old.signal("-CONT");
    send_clicks(&old, 60..70);
    until("the old one stops delivering", || (stopped(&old, "fenced") == 1.0).then_some(()));
    let line = old.wait_for_fault("producer_fenced", "bounded", "delivery-stopped").to_string();
    assert!(line.contains(&format!("/{}/", new.pid())), "{line}");
    assert_eq!(old.get("/live?sub1=70", &[]).status, 302, "clicks are taken on");
    send_clicks(&new, 150..200);
    wait_until_delivered(&new, "clicks", 100);
    assert_eq!(stopped(&new, "fenced"), 0.0);
    let (code, log) = new.stop();
    assert_eq!(code, Some(0), "{log}");
    old.kill();
    // Its clicks come once it is alone again, each once, for its directory is not the other's.
    old.restart();
    until("nothing waits", || (backlog_clicks(&old) == 0.0).then_some(()));
    let (found, repeats) = count_clicks(&broker.read(&["zombie"], 171, TIMEOUT));
    assert_each_once(&found, (0..71).chain(100..200));
    assert_eq!(repeats, 0);
}

#[test]
fn a_copy_of_the_directory_that_delivered_as_this_edge_stops_the_original() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(&broker, &broker.address(), "forked").start();
    send_clicks(&site, 0..50);
    wait_until_delivered(&site, "clicks", 50);
    site.stop();
    let copy = exactly_once(&broker.address(), "forked");
    let copied = std::process::Command::new("cp").arg("-a").arg(site.data()).arg(copy.data()).status().unwrap();
    assert!(copied.success());
    let mut copy = copy.start();
    send_clicks(&copy, 50..60);
    wait_until_delivered(&copy, "clicks", 10);
    copy.stop();
    site.restart();
    send_clicks(&site, 60..70);
    until("it stops delivering", || (stopped(&site, "forked") == 1.0).then_some(()));
    let line = site.wait_for_fault("checkpoint_behind", "bounded", "delivery-stopped").to_string();
    assert!(line.contains("a copy of the directory has delivered as edge `edge-forked`"), "{line}");
    assert_committed_once(&broker, "forked", 0..60);
    // As the message says. Both hold nothing here.
    site.kill();
    let mut site = site.env("WAYPOST__KAFKA__DELIVERY", "at-least-once");
    site.restart();
    wait_until_delivered(&site, "clicks", 10);
    site.stop();
    let mut site = site.env("WAYPOST__KAFKA__DELIVERY", "exactly-once");
    site.restart();
    send_clicks(&site, 70..80);
    wait_until_delivered(&site, "clicks", 10);
    assert_committed_once(&broker, "forked", 0..80);
}

#[test]
fn a_drain_of_a_copy_delivers_it_once_and_fences_the_owner_that_still_runs() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut owner = site(&broker, &broker.address(), "drained").start();
    send_clicks(&owner, 0..50);
    wait_until_delivered(&owner, "clicks", 50);
    send_clicks(&owner, 50..60);
    owner.signal("-STOP");
    let copy = owner.path("copy").display().to_string();
    assert!(std::process::Command::new("cp").arg("-a").arg(owner.data()).arg(&copy).status().unwrap().success());
    let drain =
        owner.command(&["journal", "drain", "--data-dir", &copy, "--kafka", &broker.address()]).output().unwrap();
    let said = String::from_utf8_lossy(&drain.stdout).into_owned() + &String::from_utf8_lossy(&drain.stderr);
    assert_eq!(drain.status.code(), Some(0), "{said}");
    assert_committed_once(&broker, "drained", 0..60);
    owner.signal("-CONT");
    send_clicks(&owner, 60..70);
    until("the owner stops delivering", || (stopped(&owner, "fenced") == 1.0).then_some(()));
    owner.kill();
    owner.restart();
    until("nothing waits", || (backlog_clicks(&owner) == 0.0).then_some(()));
    assert_committed_once(&broker, "drained", 0..70);
}

#[test]
fn a_lost_topic_of_checkpoints_stops_delivery_and_one_start_at_least_once_goes_on_from_the_journal() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(&broker, &broker.address(), "behind").start();
    send_clicks(&site, 0..50);
    wait_until_delivered(&site, "clicks", 50);
    site.stop();
    broker.create_topic("behind.checkpoints.2", 1, &[("cleanup.policy", "compact")]);
    let mut site = site.env("WAYPOST__KAFKA__TOPICS__CHECKPOINTS", "behind.checkpoints.2");
    site.restart();
    send_clicks(&site, 50..60);
    until("it stops delivering", || (stopped(&site, "checkpoint_behind") == 1.0).then_some(()));
    let line = site.wait_for_fault("checkpoint_behind", "bounded", "delivery-stopped").to_string();
    assert!(line.contains("behind.checkpoints.2") && line.contains("at-least-once"), "{line}");
    let (_, log) = site.stop();
    assert!(log.contains("\"remain\":10"), "{log}");
    let mut site = site.env("WAYPOST__KAFKA__DELIVERY", "at-least-once");
    site.restart();
    wait_until_delivered(&site, "clicks", 10);
    site.stop();
    let mut site = site.env("WAYPOST__KAFKA__DELIVERY", "exactly-once");
    site.restart();
    send_clicks(&site, 60..70);
    wait_until_delivered(&site, "clicks", 10);
    assert_committed_once(&broker, "behind", 0..70);
}

#[test]
fn a_click_too_large_for_its_topic_is_dead_lettered_and_all_others_are_committed_once() {
    let Some(broker) = Broker::start_or_share() else { return };
    for (topic, settings) in [
        ("slim", &[("max.message.bytes", "1800")][..]),
        ("slim.orphan", &[]),
        ("slim.lanes", &[]),
        ("slim.checkpoints", &[("cleanup.policy", "compact")]),
    ] {
        broker.create_topic(topic, 1, settings);
    }
    let mut site = exactly_once(&broker.address(), "slim").start();
    send_clicks(&site, 0..20);
    let noise: String = (0..120_u32).map(|n| format!("{:08x}", crc32c::crc32c(&n.to_le_bytes()))).collect();
    let large = request("GET", &format!("/live?sub1=20&sub2={noise}"), &[]);
    assert_eq!(site.send(&large).status, 302);
    send_clicks(&site, 21..50);
    wait_until_delivered(&site, "clicks", 49);
    until("it is dead-lettered", || (site.metric("waypost_clicks_dead_lettered_total", "") == 1.0).then_some(()));
    assert!(site.metric("waypost_kafka_transactions_total", "result=\"aborted\"") >= 1.0);
    wait_until_counts_add_up(&site);
    site.kill();
    site.restart();
    send_clicks(&site, 50..60);
    wait_until_delivered(&site, "clicks", 10);
    let (stubs, clicks): (Vec<_>, Vec<_>) =
        broker.read(&["slim"], 60, TIMEOUT).into_iter().partition(|record| record.json()["type"] == "dead_lettered");
    let (found, repeats) = count_clicks(&clicks);
    assert_each_once(&found, (0..60).filter(|number| *number != 20));
    assert_eq!((stubs.len(), repeats), (1, 0));
}
