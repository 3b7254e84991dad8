//! `waypost clicks audit` against a real Apache Kafka: what is proved, and what is taken away and named.

use std::{process::Output, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

use crate::{
    dsl::{Site, TIMEOUT, until},
    kafka::{
        broker::Broker,
        site::{orphan_topic, send_clicks, site_with_kafka, wait_until_delivered},
    },
    need::has_program,
};

/// A site with a topic of lanes of its own.
fn site(broker: &Broker, topic: &str) -> Site {
    broker.create_topic(topic, 3, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    broker.create_topic(&lanes(topic), 1, &[]);
    site_with_kafka(&broker.address(), topic)
        .env("WAYPOST__KAFKA__TOPICS__LANES", &lanes(topic))
        .env("WAYPOST__EDGE__WORKERS", "2")
        .start()
}

fn lanes(topic: &str) -> String {
    format!("{topic}.lanes")
}

/// The exit code, and what was found of each lane.
fn audit(site: &Site, broker: &Broker, flags: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = site.command(&["clicks", "audit", "--json", "--kafka", &broker.address()]);
    let Output { status, stdout, stderr } = command.args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&stdout);
    assert!(status.code().is_some_and(|code| code != 64), "{said}{}", String::from_utf8_lossy(&stderr));
    (status.code(), said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Audits until the exit code is this.
pub(crate) fn until_audited(site: &Site, broker: &Broker, code: i32) -> Vec<Value> {
    until(&format!("an audit that exits {code}"), || {
        let (found, lanes) = audit(site, broker, &[]);
        (found == Some(code)).then_some(lanes)
    })
}

/// The exit code of the auditor of a page, over what Java's consumer reads of these topics.
pub(crate) fn by_the_page(
    site: &Site,
    broker: &Broker,
    topics: &[&str],
    lanes: &str,
) -> Option<(Option<i32>, Vec<Value>)> {
    let dump = |topic: &str| {
        let records = broker.read(&[topic], 0, TIMEOUT);
        records.into_iter().map(|record| record.value.unwrap() + "\n").collect()
    };
    judge_by_the_page(site, topics, lanes, dump)
}

/// As [`by_the_page`], over what `dump` gives as the lines of a topic.
pub(crate) fn judge_by_the_page(
    site: &Site,
    topics: &[&str],
    lanes: &str,
    dump: impl Fn(&str) -> String,
) -> Option<(Option<i32>, Vec<Value>)> {
    if !has_program("python3", "--version") {
        return None;
    }
    let dump_to_file = |topic: &str| {
        site.write(topic, &dump(topic));
        site.path(topic).display().to_string()
    };
    let mut command = std::process::Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas/audit.py")).arg(dump_to_file(lanes));
    command.args(topics.iter().map(|topic| format!("{topic}={}", dump_to_file(topic))));
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    let said = String::from_utf8_lossy(&stdout);
    Some((status.code(), said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()))
}

/// Every statement is as the schema says.
pub(crate) fn valid_statements(broker: &Broker, lanes: &str) -> Vec<Value> {
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas/lane.v1.schema.json");
    let schema = compiler.compile(path, &mut schemas).unwrap();
    let said = broker.read(&[lanes], 1, TIMEOUT).into_iter().map(|record| {
        let value = record.json();
        schemas.validate(&value, schema).unwrap_or_else(|why| panic!("{why:#}: {value}"));
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let key = format!("{}/{}/{}", text("edge"), text("topic"), value["lane"]);
        assert_eq!(record.key.as_deref(), Some(&*key));
        value
    });
    said.collect()
}

/// Every statement is as the schema says, and every kind of them is there.
fn stated_by_the_schema(broker: &Broker, lanes: &str) {
    let said = valid_statements(broker, lanes);
    let kinds: Vec<&str> = ["open", "recovered", "running", "closing"]
        .into_iter()
        .filter(|kind| said.iter().any(|said| said["kind"] == *kind))
        .collect();
    assert_eq!(kinds, ["open", "recovered", "running", "closing"]);
}

pub(crate) fn sum(lanes: &[Value], topic: &str, count: &str) -> u64 {
    lanes.iter().filter(|lane| lane["topic"] == topic).filter_map(|lane| lane[count].as_u64()).sum()
}

#[test]
fn what_was_delivered_is_proved_over_kills_and_clean_stops() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(&broker, "proved");
    send_clicks(&site, 0..200);
    wait_until_delivered(&site, "clicks", 200);
    let found = until_audited(&site, &broker, 0);
    assert_eq!((sum(&found, "proved", "present"), sum(&found, "proved", "repeats")), (200, 0));
    site.kill();
    site.restart();
    send_clicks(&site, 200..300);
    until("all are there", || {
        let (_, lanes) = audit(&site, &broker, &[]);
        (sum(&lanes, "proved", "present") == 300).then_some(())
    });
    until_audited(&site, &broker, 0);
    assert_eq!(site.stop().0, Some(0));
    let (code, found) = audit(&site, &broker, &[]);
    assert_eq!(code, Some(0), "{found:#?}");
    assert_eq!(sum(&found, "proved", "present"), 300);
    stated_by_the_schema(&broker, "proved.lanes");
    if let Some((code, found)) = by_the_page(&site, &broker, &["proved", "proved.orphan"], "proved.lanes") {
        assert_eq!(code, Some(0), "{found:#?}");
        let live = found.iter().filter(|found| found["topic"] == "proved");
        assert_eq!(live.map(|found| found["numbers"].as_u64().unwrap()).sum::<u64>(), 300);
    }
    let (code, _) = audit(&site, &broker, &["--edges", "nobody"]);
    assert_eq!(code, Some(3), "an edge that had to speak did not");
}

#[test]
fn a_record_taken_away_is_named() {
    let Some(broker) = Broker::start_or_share() else { return };
    let mut site = site(&broker, "whole");
    send_clicks(&site, 0..50);
    wait_until_delivered(&site, "clicks", 50);
    until_audited(&site, &broker, 0);
    assert_eq!(site.stop().0, Some(0));
    // The same topics without one click.
    let records = broker.read(&["whole"], 50, TIMEOUT);
    let taken = records[17].json();
    for topic in ["robbed", "robbed.orphan"] {
        broker.create_topic(topic, 1, &[]);
    }
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    for record in records.iter().filter(|record| record.json() != taken) {
        producer.send(BaseRecord::<str, str>::to("robbed").payload(record.value.as_deref().unwrap())).unwrap();
    }
    // What lanes said names the topics as they were called.
    broker.create_topic("robbed.lanes", 1, &[]);
    for said in broker.read(&["whole.lanes"], 1, TIMEOUT) {
        let said = said.value.unwrap().replace("\"whole", "\"robbed");
        producer.send(BaseRecord::<str, str>::to("robbed.lanes").payload(&said)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let mut command = site.command(&["clicks", "audit", "--kafka", &broker.address()]);
    for (key, topic) in [("CLICKS", "robbed"), ("ORPHAN", "robbed.orphan"), ("LANES", "robbed.lanes")] {
        command.env(format!("WAYPOST__KAFKA__TOPICS__{key}"), topic);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&stderr));
    let named = format!("missing: epoch {} seq {} to {}", taken["epoch"], taken["seq"], taken["seq"]);
    assert!(said.contains(&named), "{named}: {said}");
    if let Some((code, found)) = by_the_page(&site, &broker, &["robbed", "robbed.orphan"], "robbed.lanes") {
        assert_eq!(code, Some(1), "{found:#?}");
        let seq = taken["seq"].as_u64().unwrap();
        let span = serde_json::json!([[taken["epoch"], seq, seq + 1]]);
        let named = found.iter().filter(|found| found["missing"] == span && found["lane"] == taken["lane"]);
        assert_eq!(named.count(), 1, "{found:#?}");
    }
    producer.send(BaseRecord::<str, str>::to("robbed.orphan").payload("not a click")).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    let said = command.output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&said).contains("1 records are not clicks of Waypost and were ignored"));
}
