//! `waypost journal drain`: what a dead edge's directory holds reaches Kafka, or a file, from wherever the directory is.

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
    dsl::{PATIENCE, Site, request, until},
    kafka::{
        broker::{Broker, Kind},
        site::{backlog, click, delivered, each_once, numbers, orphan, streaming},
    },
    kafka_refused::large_click,
};

/// Nobody listens there.
const AWAY: &str = "127.0.0.1:9";

/// A site that streams to nobody, with topics of its own at the broker for later.
fn site(broker: Option<&Broker>, topic: &str) -> Site {
    if let Some(broker) = broker {
        for name in [topic.to_owned(), orphan(topic), lanes(topic)] {
            broker.create(&name, 1, &[]);
        }
    }
    streaming(AWAY, topic).env("WAYPOST__KAFKA__LANES", &lanes(topic)).env("WAYPOST__EDGE__WORKERS", "2")
}

fn lanes(topic: &str) -> String {
    format!("{topic}.lanes")
}

fn drain(site: &Site, flags: &[&str]) -> (Option<i32>, String, String) {
    let data = site.data().display().to_string();
    let Output { status, stdout, stderr } =
        site.command(&[&["journal", "drain", &data], flags].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn audit(site: &Site, broker: &Broker) -> (Option<i32>, String) {
    let output = site.command(&["clicks", "audit", "--kafka", &broker.address()]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The line of a fault among what the command logged.
fn told(log: &str, event: &str) -> Value {
    let line = log.lines().find(|line| line.contains(&format!("\"event\":\"{event}\"")));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no {event}: {log}"))).unwrap()
}

fn found_once(broker: &Broker, topic: &str, wanted: u64) {
    let (found, repeats) = numbers(&broker.read(&[topic], wanted as usize, PATIENCE));
    each_once(&found, 0..wanted);
    assert_eq!(repeats, 0);
}

/// Every file below a directory, with what it holds.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_edges_clicks_are_delivered_from_its_directory_and_the_topics_prove_it() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(Some(&broker), "retired").start();
    click(&site, 0..30);
    click(&site, 30..60);
    site.get("/nobody", &[]);
    site.kill();
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("61 clicks to deliver") && said.ends_with("drained: nothing stays\n"), "{said}");
    let line = "clicks: 60 delivered, 0 found delivered, 0 dead-lettered, 0 quarantined, 0 stay";
    assert!(said.contains(line) && said.contains("clicks.orphan: 1 delivered"), "{said}");
    assert!(!said.contains("cut"), "{said}");
    found_once(&broker, "retired", 60);
    let events: Vec<Value> = broker.read(&["retired"], 60, PATIENCE).iter().map(|record| record.json()).collect();
    let edge = std::fs::read_to_string(site.data().join("edge.id")).unwrap();
    assert!(events.iter().all(|event| event["edge"] == edge.trim()));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");

    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("2 lanes, 0 clicks to deliver") && said.contains("clicks: 0 delivered, 0 found"), "{said}");
    found_once(&broker, "retired", 60);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
    let kinds: Vec<Value> =
        valid_statements(&broker, &lanes("retired")).into_iter().map(|said| said["kind"].clone()).collect();
    assert!(kinds.contains(&"recovered".into()) && kinds.last() == Some(&"drained".into()), "{kinds:?}");
}

/// 20 clicks in segments and 5 in the ring alone, in a directory of its own; then kill -9.
fn with_a_ring_elsewhere(broker: &Broker, topic: &str) -> Site {
    let site = site(Some(broker), topic);
    let rings = site.path("rings").display().to_string();
    let site = site.env("WAYPOST__JOURNAL__RING_DIR", &rings).env("WAYPOST__JOURNAL__SYNC_INTERVAL", "3s");
    let mut site = site.start();
    click(&site, 0..20);
    until("20 clicks in segments", || {
        let durable = site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0;
        (durable && backlog(&site) == 20.0 && site.metric("waypost_journal_spilled_bytes_total", "") > 0.0)
            .then_some(())
    });
    click(&site, 20..25);
    site.kill();
    site
}

#[test]
fn without_its_ring_the_lanes_are_stated_as_cut_and_the_audit_says_so() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = with_a_ring_elsewhere(&broker, "ringless");
    std::fs::remove_dir_all(site.path("rings")).unwrap();
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "what is there is delivered: {said}{log}");
    assert!(said.contains("clicks: 20 delivered") && said.contains("lane 0: cut: its ring is gone"), "{said}");
    let line = told(&log, "lane_cut");
    assert_eq!((&line["money_at_risk"], &line["runbook"]), (&"yes".into(), &"journal-damaged".into()));
    assert!(!site.path("rings").exists(), "nothing is made where another machine had its rings");
    found_once(&broker, "ringless", 20);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(3), "{proved}");
    // Said once, a cut stays one, however often the directory is opened again.
    assert_eq!(drain(&site, &["--kafka", &broker.address()]).0, Some(0));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(3), "{proved}");
    // Not retired after all: it goes on where its rings always were.
    site.restart();
    click(&site, 25..30);
    assert_eq!(site.metric("waypost_clicks_recovered_total", ""), 0.0);
    until("the clicks are journaled", || (backlog(&site) == 5.0).then_some(()));
}

#[test]
fn a_drain_that_is_killed_is_gone_on_with_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(Some(&broker), "killed-drain").start();
    click(&site, 0..40);
    site.kill();
    let data = site.data().display().to_string();
    for _ in 0..3 {
        let mut draining = site.command(&["journal", "drain", &data, "--kafka", AWAY]);
        let mut draining = draining.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(draining.stdout.take().unwrap()).lines();
        let line = said.next().unwrap().unwrap();
        draining.kill().unwrap();
        draining.wait().unwrap();
        assert!(line.contains("2 lanes, 40 clicks to deliver"), "{line}");
    }
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("40 clicks to deliver") && !said.contains("cut"), "{said}");
    found_once(&broker, "killed-drain", 40);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
}

#[test]
fn with_its_ring_brought_from_elsewhere_nothing_is_missing() {
    let Some(broker) = Broker::shared() else { return };
    let site = with_a_ring_elsewhere(&broker, "moved");
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
    found_once(&broker, "moved", 25);
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{proved}");
}

#[test]
fn while_the_broker_is_away_a_drain_gives_up_says_what_stays_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(Some(&broker), "patient").start();
    click(&site, 0..10);
    site.kill();
    let (code, said, log) = drain(&site, &["--kafka", AWAY, "--wait", "2s"]);
    assert_eq!(code, Some(1), "{said}{log}");
    assert!(said.contains("clicks: 0 delivered") && said.contains("10 clicks stay in"), "{said}");
    let line = told(&log, "kafka_error");
    assert_eq!((&line["money_at_risk"], &line["runbook"]), (&"bounded".into(), &"clicks-not-delivered".into()));
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    found_once(&broker, "patient", 10);
    assert_eq!(audit(&site, &broker).0, Some(0));
}

#[test]
fn a_directory_on_which_an_edge_runs_is_not_drained() {
    let site = site(None, "living").start();
    click(&site, 0..5);
    let file = site.path("out.jsonl").display().to_string();
    for flags in [&["--kafka", AWAY][..], &["--to-file", &file], &["--to-file", &file, "--done"]] {
        let (code, said, log) = drain(&site, flags);
        assert_eq!(code, Some(1), "{flags:?}: {said}{log}");
        assert!(log.contains("another waypost runs on") && log.contains("lock"), "{log}");
    }
    assert!(!site.path("out.jsonl").exists());
    click(&site, 5..6);
    until("it goes on as before", || (backlog(&site) == 6.0).then_some(()));
}

#[test]
fn what_is_no_data_directory_or_leads_nowhere_is_refused_with_what_to_do() {
    let site = site(None, "none");
    let (code, _, log) = drain(&site, &["--kafka", AWAY]);
    assert_eq!((code, log.contains("holds no journal")), (Some(1), true), "{log}");
    assert!(!site.data().exists(), "nothing is made");
    let (code, _, log) = drain(&site, &[]);
    assert_eq!((code, log.contains("--kafka") && log.contains("--to-file")), (Some(1), true), "{log}");
    assert_eq!(drain(&site, &["--kafka", AWAY, "--done"]).0, Some(64));
}

#[test]
fn clicks_written_to_a_file_are_all_there_and_are_still_delivered_later() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(Some(&broker), "filed").start();
    click(&site, 0..20);
    click(&site, 20..40);
    site.get("/nobody", &[]);
    site.kill();
    let before = files(&site.data());
    let file = site.path("out.jsonl").display().to_string();
    let (code, said, log) = drain(&site, &["--to-file", &file]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("clicks: 40 clicks in ") && said.contains("clicks.orphan: 1 clicks in "), "{said}");
    assert!(files(&site.data()) == before, "nothing is changed");
    let (code, _, log) = drain(&site, &["--to-file", &file]);
    assert_eq!((code, log.contains("cannot make")), (Some(1), true), "an earlier file is not written over: {log}");

    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    found_once(&broker, "filed", 40);
    let mut events = lines(&site.path("out.jsonl"));
    assert_eq!(events.len(), 40);
    assert!(events.is_sorted_by_key(|event| event["clicked_at_ms"].as_u64()), "oldest first over both lanes");
    events.extend(lines(&site.path("out.jsonl.orphan")));
    let place = |event: &Value| ["lane", "epoch", "seq", "outcome"].map(|key| event[key].to_string());
    let by_place = |events: Vec<Value>| {
        let events = events.into_iter().map(|mut event| {
            // Said at shipping, of clicks before this one.
            event.as_object_mut().unwrap().remove("safe");
            (place(&event), event)
        });
        events.collect::<BTreeMap<_, _>>()
    };
    let delivered = broker.read(&["filed", &orphan("filed")], 41, PATIENCE);
    let delivered = by_place(delivered.iter().map(|record| record.json()).collect());
    assert_eq!(by_place(events), delivered, "they are as they were delivered");
}

#[test]
fn clicks_written_to_a_file_with_done_are_delivered_to_nobody_else() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(Some(&broker), "done").start();
    click(&site, 0..20);
    site.kill();
    let file = site.path("out.jsonl").display().to_string();
    let (code, said, log) = drain(&site, &["--to-file", &file, "--done"]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("clicks: 20 clicks in ") && said.contains("nothing stays in"), "{said}");
    assert_eq!(lines(&site.path("out.jsonl")).len(), 20);
    let (code, said, log) = drain(&site, &["--kafka", &broker.address()]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(said.contains("0 clicks to deliver") && said.contains("clicks: 0 delivered, 0 found"), "{said}");
    assert!(broker.read(&["done"], 0, PATIENCE).is_empty());
}

/// Copies what a topic holds into a new one, without the records that `drop` names; what lanes said names the topics as they are called.
fn copied(broker: &Broker, from: &str, to: &str, drop: impl Fn(&Value) -> bool) {
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    for (suffix, name) in [("", to.to_owned()), (".orphan", orphan(to)), (".lanes", lanes(to))] {
        broker.create(&name, 1, &[]);
        for record in broker.read(&[&format!("{from}{suffix}")], 0, PATIENCE) {
            if drop(&record.json()) {
                continue;
            }
            let value = record.value.unwrap().replace(&format!("\"{from}"), &format!("\"{to}"));
            producer.send(BaseRecord::<str, str>::to(&name).payload(&value)).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn a_dead_letter_is_stated_so_that_the_audit_explains_it_without_its_stub() {
    let Some(broker) = Broker::shared() else { return };
    broker.create("stubbed", 1, &[("max.message.bytes", "1800")]);
    broker.create(&orphan("stubbed"), 1, &[]);
    broker.create(&lanes("stubbed"), 1, &[]);
    let mut site = streaming(&broker.address(), "stubbed").env("WAYPOST__KAFKA__LANES", &lanes("stubbed")).start();
    click(&site, 0..3);
    large_click(&site, 3);
    click(&site, 4..6);
    let label = "topic=\"clicks\",reason=\"too_large\"";
    until("a dead letter", || (site.metric("waypost_clicks_dead_lettered_total", label) == 1.0).then_some(()));
    delivered(&site, "clicks", 5);
    site.tells("dead_lettered", "bounded", "clicks-dead-lettered");
    assert_eq!(site.stop().0, Some(0));
    let said = valid_statements(&broker, &lanes("stubbed"));
    let (epoch, last) = (&said[0]["epoch"], said.last().unwrap());
    let range = serde_json::json!([{"epoch": epoch, "from": 3, "to": 4}]);
    assert_eq!(last["topics"]["stubbed"]["dead_lettered"], range, "{last}");

    copied(&broker, "stubbed", "unstubbed", |event| event["type"] == "dead_lettered");
    let site = site
        .env("WAYPOST__KAFKA__CLICKS", "unstubbed")
        .env("WAYPOST__KAFKA__ORPHAN", &orphan("unstubbed"))
        .env("WAYPOST__KAFKA__LANES", &lanes("unstubbed"));
    let (code, said) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("unstubbed: 5 clicks, 0 repeats, 1 dead-lettered, 0 quarantined, 0 not"), "{said}");
    if let Some((code, found)) = by_the_page(&site, &broker, &["unstubbed", &orphan("unstubbed")], &lanes("unstubbed"))
    {
        assert_eq!(code, Some(0), "{found:#?}");
    }
}

#[test]
fn clicks_without_a_record_are_stated_and_the_audit_tells_them() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    for topic in ["full", "full.orphan", "full.lanes"] {
        broker.create(topic, 1, &[]);
    }
    broker.stop();
    let mut site = streaming(&broker.address(), "full")
        .env("WAYPOST__KAFKA__LANES", "full.lanes")
        .env("WAYPOST__JOURNAL__DISK_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__WAIT_FOR_ROOM", "0s")
        .start();
    let mut wire = site.wire();
    let ask = request("GET", &format!("/live?x={}", "x".repeat(3000)), &[]);
    let unrecorded = || site.metric("waypost_clicks_unrecorded_total", "reason=\"full\"");
    until("clicks without a record", || {
        for _ in 0..100 {
            assert_eq!(wire.send(&ask).status, 302);
        }
        (unrecorded() > 0.0).then_some(())
    });
    drop(wire);
    site.tells("spill_stopped", "bounded", "spill-stopped");
    broker.restart();
    until("nothing waits", || (backlog(&site) == 0.0).then_some(()));
    let count = unrecorded();
    assert_eq!(site.stop().0, Some(0));
    let said = valid_statements(&broker, "full.lanes");
    assert_eq!(said.last().unwrap()["unrecorded"].as_f64(), Some(count));
    let (code, proved) = audit(&site, &broker);
    assert_eq!(code, Some(0), "what has no number is not missing: {proved}");
    assert!(proved.contains(&format!("{count} clicks were answered without a record")), "{proved}");
    if let Some((code, found)) = by_the_page(&site, &broker, &["full", "full.orphan"], "full.lanes") {
        assert_eq!((code, found[0]["unrecorded"].as_f64()), (Some(0), Some(count)), "{found:#?}");
    }
}
