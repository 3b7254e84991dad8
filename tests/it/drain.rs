//! `waypost journal drain`: what a dead edge's directory holds reaches Kafka, or a file, from wherever the directory
//! is.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::{
    audit::{by_the_page, valid_statements},
    dsl::{Site, TIMEOUT, request, until},
    kafka::{
        broker::{Broker, Kind},
        site::{
            assert_each_once, backlog_clicks, count_clicks, orphan_topic, send_clicks, site_with_kafka,
            wait_until_delivered,
        },
    },
    kafka_refused::send_large_click,
};

/// An address where nothing listens.
const AWAY: &str = "127.0.0.1:9";

/// A site that cannot reach its broker; `broker`, if given, gets the topics for the drain that follows.
fn site(broker: Option<&Broker>, topic: &str) -> Site {
    if let Some(broker) = broker {
        for name in [topic.to_owned(), orphan_topic(topic), lanes(topic)] {
            broker.create_topic(&name, 1, &[]);
        }
    }
    site_with_kafka(AWAY, topic).env("WAYPOST__KAFKA__TOPICS__LANES", &lanes(topic)).env("WAYPOST__EDGE__WORKERS", "2")
}

fn lanes(topic: &str) -> String {
    format!("{topic}.lanes")
}

fn drain(site: &Site, flags: &[&str]) -> (Option<i32>, String, String) {
    let data = site.data().display().to_string();
    let Output { status, stdout, stderr } =
        site.command(&[&["journal", "drain", "--data-dir", &data], flags].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn audit(site: &Site, broker: &Broker) -> (Option<i32>, String) {
    let output = site.command(&["clicks", "audit", "--kafka", &broker.address()]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The log line of a fault.
fn fault_line(log: &str, event: &str) -> Value {
    let line = log.lines().find(|line| line.contains(&format!("\"event\":\"{event}\"")));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no {event}: {log}"))).unwrap()
}

fn assert_each_delivered_once(broker: &Broker, topic: &str, wanted: u64) {
    let (found, repeats) = count_clicks(&broker.read(&[topic], wanted as usize, TIMEOUT));
    assert_each_once(&found, 0..wanted);
    assert_eq!(repeats, 0);
}

/// The content of every file below a directory.
fn read_all_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(read_all_files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

fn read_json_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_clicks_of_a_killed_edge_are_delivered_from_its_directory_and_the_audit_proves_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(Some(&broker), "retired").start();
    send_clicks(&site, 0..30);
    send_clicks(&site, 30..60);
    site.get("/nobody", &[]);
    site.kill();
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("61 clicks to deliver") && said.ends_with("drained: no click remains\n"), "{said}");
    let line = "clicks: 60 delivered, 0 already delivered, 0 dead-lettered, 0 quarantined, 0 remain";
    assert!(said.contains(line) && said.contains("clicks.orphan: 1 delivered"), "{said}");
    assert!(!said.contains("cut"), "{said}");
    assert_each_delivered_once(&broker, "retired", 60);
    let events: Vec<Value> = broker.read(&["retired"], 60, TIMEOUT).iter().map(|record| record.json()).collect();
    let edge = std::fs::read_to_string(site.data().join("edge.id")).unwrap();
    assert!(events.iter().all(|event| event["edge"] == edge.trim()));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");

    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("4 lanes, 0 clicks to deliver") && said.contains("clicks: 0 delivered, 0 already"), "{said}");
    assert_each_delivered_once(&broker, "retired", 60);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
    let kinds: Vec<Value> =
        valid_statements(&broker, &lanes("retired")).into_iter().map(|said| said["kind"].clone()).collect();
    assert!(kinds.contains(&"recovered".into()) && kinds.last() == Some(&"drained".into()), "{kinds:?}");
}

/// 20 clicks in segments and 5 in the ring alone, in a directory of its own; then kill -9.
fn kill_site_with_separate_ring(broker: &Broker, topic: &str) -> Site {
    let site = site(Some(broker), topic);
    let rings = site.path("rings").display().to_string();
    let site = site.env("WAYPOST__JOURNAL__RING_DIR", &rings).env("WAYPOST__JOURNAL__SYNC_INTERVAL", "3s");
    let mut site = site.start();
    send_clicks(&site, 0..20);
    until("20 clicks in segments", || {
        let durable = site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0;
        (durable && backlog_clicks(&site) == 20.0 && site.metric("waypost_journal_spilled_bytes_total", "") > 0.0)
            .then_some(())
    });
    send_clicks(&site, 20..25);
    site.kill();
    site
}

#[test]
fn without_its_ring_the_lanes_are_stated_as_cut_and_the_audit_reports_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = kill_site_with_separate_ring(&broker, "ringless");
    std::fs::remove_dir_all(site.path("rings")).unwrap();
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "what is there is delivered: {said}{log}");
    assert!(said.contains("clicks: 20 delivered") && said.contains("was cut: its ring is gone"), "{said}");
    let line = fault_line(&log, "lane_cut");
    assert_eq!((&line["money_at_risk"], &line["runbook"]), (&"yes".into(), &"journal-damaged".into()));
    assert!(!site.path("rings").exists(), "nothing is made where another machine had its rings");
    assert_each_delivered_once(&broker, "ringless", 20);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(3), "{proved}");
    // Said once, a cut stays one, however often the directory is opened again.
    assert_eq!(drain(&site, &["--kafka", &broker.address()]).0, Some(0));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(3), "{proved}");
    // Not retired after all: it goes on where its rings always were.
    site.restart();
    send_clicks(&site, 25..30);
    assert_eq!(site.metric("waypost_clicks_recovered_total", ""), 0.0);
    until("the clicks are journaled", || (backlog_clicks(&site) == 5.0).then_some(()));
}

#[test]
fn a_drain_after_a_killed_drain_delivers_every_click_once() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(Some(&broker), "killed-drain").start();
    send_clicks(&site, 0..40);
    site.kill();
    let data = site.data().display().to_string();
    for _ in 0..3 {
        let mut draining = site.command(&["journal", "drain", "--data-dir", &data, "--kafka", AWAY]);
        let mut draining = draining.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(draining.stdout.take().unwrap()).lines();
        let line = said.next().unwrap().unwrap();
        draining.kill().unwrap();
        draining.wait().unwrap();
        assert!(line.contains("4 lanes, 40 clicks to deliver"), "{line}");
    }
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("40 clicks to deliver") && !said.contains("cut"), "{said}");
    assert_each_delivered_once(&broker, "killed-drain", 40);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
}

#[test]
fn with_ring_dir_the_clicks_of_a_moved_ring_are_delivered() {
    let Some(broker) = Broker::start_or_share() else { return };
    let site = kill_site_with_separate_ring(&broker, "moved");
    std::fs::rename(site.path("rings"), site.path("brought")).unwrap();
    std::fs::create_dir(site.path("empty")).unwrap();
    for wrong in ["empty", "nowhere"] {
        let wrong = site.path(wrong).display().to_string();
        let (code, _, log) = drain(&site, &["--kafka", &broker.address(), "--ring-dir", &wrong]);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(&format!("{wrong} does not hold")) && log.contains("cut"), "{log}");
    }
    let brought = site.path("brought").display().to_string();
    let (code, said, log) = drain(&site, &["--kafka", &broker.address(), "--ring-dir", &brought]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("clicks: 25 delivered") && !said.contains("cut"), "{said}");
    assert_each_delivered_once(&broker, "moved", 25);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
}

#[test]
fn without_a_broker_a_drain_gives_up_reports_what_remains_and_loses_nothing() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(Some(&broker), "patient").start();
    send_clicks(&site, 0..10);
    site.kill();
    let (code, said, log) = drain(&site, &["--kafka", AWAY, "--wait", "2s"]);
    assert_eq!(code, Some(1), "{said}{log}");
    assert!(said.contains("clicks: 0 delivered") && said.contains("10 clicks remain in"), "{said}");
    let line = fault_line(&log, "kafka_error");
    assert_eq!((&line["money_at_risk"], &line["runbook"]), (&"bounded".into(), &"clicks-not-delivered".into()));
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert_each_delivered_once(&broker, "patient", 10);
    assert_eq!(audit(&site, &broker).0, Some(0));
}

#[test]
fn a_directory_on_which_an_edge_runs_is_not_drained() {
    let site = site(None, "living").start();
    send_clicks(&site, 0..5);
    let file = site.path("out.jsonl").display().to_string();
    for flags in [&["--kafka", AWAY][..], &["--to-file", &file], &["--to-file", &file, "--done"]] {
        let (code, said, log) = drain(&site, flags);
        assert_eq!(code, Some(1), "{flags:?}: {said}{log}");
        assert!(log.contains("another waypost runs on") && log.contains("lock"), "{log}");
    }
    assert!(!site.path("out.jsonl").exists());
    send_clicks(&site, 5..6);
    until("it goes on as before", || (backlog_clicks(&site) == 6.0).then_some(()));
}

#[test]
fn a_drain_without_a_data_directory_or_a_target_is_refused_with_advice() {
    let site = site(None, "none");
    let (code, _, log) = drain(&site, &["--kafka", AWAY]);
    assert_eq!((code, log.contains("holds no journal")), (Some(1), true), "{log}");
    assert!(!site.data().exists(), "nothing is made");
    let (code, _, log) = drain(&site, &[]);
    assert_eq!((code, log.contains("--kafka") && log.contains("--to-file")), (Some(1), true), "{log}");
    assert_eq!(drain(&site, &["--kafka", AWAY, "--done"]).0, Some(64));
}

#[test]
fn clicks_exported_to_a_file_are_complete_and_are_still_delivered_later() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(Some(&broker), "filed").start();
    send_clicks(&site, 0..20);
    send_clicks(&site, 20..40);
    site.get("/nobody", &[]);
    site.kill();
    let before = read_all_files(&site.data());
    let file = site.path("out.jsonl").display().to_string();
    let (code, said, log) = drain(&site, &["--to-file", &file]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("clicks: 40 clicks in ") && said.contains("clicks.orphan: 1 clicks in "), "{said}");
    assert!(read_all_files(&site.data()) == before, "nothing is changed");
    let (code, _, log) = drain(&site, &["--to-file", &file]);
    assert_eq!((code, log.contains("cannot create")), (Some(1), true), "an earlier file is not written over: {log}");

    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert_each_delivered_once(&broker, "filed", 40);
    let mut events = read_json_lines(&site.path("out.jsonl"));
    assert_eq!(events.len(), 40);
    assert!(events.is_sorted_by_key(|event| event["clicked_at_ms"].as_u64()), "oldest first over both lanes");
    events.extend(read_json_lines(&site.path("out.jsonl.orphan")));
    let place = |event: &Value| ["lane", "epoch", "seq", "outcome"].map(|key| event[key].to_string());
    let by_place = |events: Vec<Value>| {
        let events = events.into_iter().map(|mut event| {
            // Said at shipping, of clicks before this one.
            event.as_object_mut().unwrap().remove("safe");
            (place(&event), event)
        });
        events.collect::<BTreeMap<_, _>>()
    };
    let delivered = broker.read(&["filed", &orphan_topic("filed")], 41, TIMEOUT);
    let delivered = by_place(delivered.iter().map(|record| record.json()).collect());
    assert_eq!(by_place(events), delivered, "they are as they were delivered");
}

#[test]
fn clicks_exported_with_done_are_not_delivered_again() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(Some(&broker), "done").start();
    send_clicks(&site, 0..20);
    site.kill();
    let file = site.path("out.jsonl").display().to_string();
    let (code, said, log) = drain(&site, &["--to-file", &file, "--done"]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("clicks: 20 clicks in ") && said.contains("no click remains in"), "{said}");
    assert_eq!(read_json_lines(&site.path("out.jsonl")).len(), 20);
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("0 clicks to deliver") && said.contains("clicks: 0 delivered, 0 already"), "{said}");
    assert!(broker.read(&["done"], 0, TIMEOUT).is_empty());
}

/// Copies the topics of an edge into new ones, without the records that `drop` selects. The statements of the copy name
/// the new topics.
fn copy_topics(broker: &Broker, from: &str, to: &str, drop: impl Fn(&Value) -> bool) {
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    for (suffix, name) in [("", to.to_owned()), (".orphan", orphan_topic(to)), (".lanes", lanes(to))] {
        broker.create_topic(&name, 1, &[]);
        for record in broker.read(&[&format!("{from}{suffix}")], 0, TIMEOUT) {
            if drop(&record.json()) {
                continue;
            }
            let value = record.value.unwrap().replace(&format!("\"{from}"), &format!("\"{to}"));
            producer.send(BaseRecord::<str, str>::to(&name).payload(&value)).unwrap();
        }
    }
    producer.flush(TIMEOUT).unwrap();
}

#[test]
fn a_dead_letter_is_stated_so_that_the_audit_explains_it_without_its_stub() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("stubbed", 1, &[("max.message.bytes", "1800")]);
    broker.create_topic(&orphan_topic("stubbed"), 1, &[]);
    broker.create_topic(&lanes("stubbed"), 1, &[]);
    let mut site =
        site_with_kafka(&broker.address(), "stubbed").env("WAYPOST__KAFKA__TOPICS__LANES", &lanes("stubbed")).start();
    send_clicks(&site, 0..3);
    send_large_click(&site, 3);
    send_clicks(&site, 4..6);
    let label = "topic=\"clicks\",reason=\"too_large\"";
    until("a dead letter", || (site.metric("waypost_clicks_dead_lettered_total", label) == 1.0).then_some(()));
    wait_until_delivered(&site, "clicks", 5);
    site.wait_for_fault("dead_lettered", "bounded", "clicks-dead-lettered");
    assert_eq!(site.stop().0, Some(0));
    let said = valid_statements(&broker, &lanes("stubbed"));
    let of_topic = || said.iter().filter(|statement| statement["topic"] == "stubbed");
    let (epoch, last) = (&of_topic().next().unwrap()["epoch"], of_topic().next_back().unwrap());
    let range = serde_json::json!([{"epoch": epoch, "from": 3, "to": 4}]);
    assert_eq!(last["dead_lettered"], range, "{last}");

    copy_topics(&broker, "stubbed", "unstubbed", |event| event["type"] == "dead_lettered");
    let site = site
        .env("WAYPOST__KAFKA__TOPICS__CLICKS", "unstubbed")
        .env("WAYPOST__KAFKA__TOPICS__ORPHAN", &orphan_topic("unstubbed"))
        .env("WAYPOST__KAFKA__TOPICS__LANES", &lanes("unstubbed"));
    let (code, said) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("  5 clicks, 0 repeats, 1 dead-lettered, 0 quarantined, 0 not"), "{said}");
    if let Some((code, found)) =
        by_the_page(&site, &broker, &["unstubbed", &orphan_topic("unstubbed")], &lanes("unstubbed"))
    {
        assert_eq!(code, Some(0), "{found:#?}");
    }
}

#[test]
fn unrecorded_clicks_are_stated_and_the_audit_reports_them() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    for topic in ["full", "full.orphan", "full.lanes"] {
        broker.create_topic(topic, 1, &[]);
    }
    broker.stop();
    let mut site = site_with_kafka(&broker.address(), "full")
        .env("WAYPOST__KAFKA__TOPICS__LANES", "full.lanes")
        .env("WAYPOST__JOURNAL__MAX_DISK_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__WAIT_FOR_ROOM", "0s")
        .start();
    let mut wire = site.connect();
    let ask = request("GET", &format!("/live?x={}", "x".repeat(3000)), &[]);
    let unrecorded = || site.metric("waypost_clicks_unrecorded_total", "reason=\"no_room\"");
    until("clicks without a record", || {
        for _ in 0..100 {
            assert_eq!(wire.send(&ask).status, 302);
        }
        (unrecorded() > 0.0).then_some(())
    });
    drop(wire);
    site.wait_for_fault("spill_stopped", "bounded", "spill-stopped");
    broker.restart();
    until("nothing waits", || (backlog_clicks(&site) == 0.0).then_some(()));
    let count = unrecorded();
    assert_eq!(site.stop().0, Some(0));
    let said = valid_statements(&broker, "full.lanes");
    let of_clicks = said.iter().rfind(|statement| statement["topic"] == "full");
    assert_eq!(of_clicks.unwrap()["unrecorded"].as_f64(), Some(count));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "what has no number is not missing: {proved}");
    assert!(proved.contains(&format!("{count} clicks were answered without a record")), "{proved}");
    if let Some((code, found)) = by_the_page(&site, &broker, &["full", "full.orphan"], "full.lanes") {
        assert_eq!((code, found[0]["unrecorded"].as_f64()), (Some(0), Some(count)), "{found:#?}");
    }
}
