//! `waypost clicks audit` against a real Apache Kafka: what is proved, and what is taken away and named.

use std::{process::Output, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

use crate::{
    dsl::{PATIENCE, Site, until},
    kafka::{
        broker::Broker,
        site::{click, delivered, orphan, streaming},
    },
};

/// A site with a topic of lanes of its own.
fn site(broker: &Broker, topic: &str) -> Site {
    broker.create(topic, 3, &[]);
    broker.create(&orphan(topic), 1, &[]);
    broker.create(&lanes(topic), 1, &[]);
    streaming(&broker.address(), topic)
        .env("WAYPOST__KAFKA__LANES", &lanes(topic))
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
fn until_audited(site: &Site, broker: &Broker, code: i32) -> Vec<Value> {
    until(&format!("an audit that exits {code}"), || {
        let (found, lanes) = audit(site, broker, &[]);
        (found == Some(code)).then_some(lanes)
    })
}

fn sum(lanes: &[Value], topic: &str, count: &str) -> u64 {
    lanes.iter().filter_map(|lane| lane["topics"][topic][count].as_u64()).sum()
}

#[test]
fn what_was_delivered_is_proved_over_kills_and_clean_stops() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(&broker, "proved");
    click(&site, 0..200);
    delivered(&site, "clicks", 200);
    let found = until_audited(&site, &broker, 0);
    assert_eq!((sum(&found, "proved", "present"), sum(&found, "proved", "repeats")), (200, 0));
    site.kill();
    site.restart();
    click(&site, 200..300);
    until("all are there", || {
        let (_, lanes) = audit(&site, &broker, &[]);
        (sum(&lanes, "proved", "present") == 300).then_some(())
    });
    until_audited(&site, &broker, 0);
    assert_eq!(site.stop().0, Some(0));
    let (code, found) = audit(&site, &broker, &[]);
    assert_eq!(code, Some(0), "{found:#?}");
    assert_eq!(sum(&found, "proved", "present"), 300);
    let (code, _) = audit(&site, &broker, &["--edges", "nobody"]);
    assert_eq!(code, Some(3), "an edge that had to speak did not");
}

#[test]
fn a_record_taken_away_is_named() {
    let Some(broker) = Broker::shared() else { return };
    let mut site = site(&broker, "whole");
    click(&site, 0..50);
    delivered(&site, "clicks", 50);
    until_audited(&site, &broker, 0);
    assert_eq!(site.stop().0, Some(0));
    // The same topics without one click.
    let records = broker.read(&["whole"], 50, PATIENCE);
    let taken = records[17].json();
    for topic in ["robbed", "robbed.orphan"] {
        broker.create(topic, 1, &[]);
    }
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    for record in records.iter().filter(|record| record.json() != taken) {
        producer.send(BaseRecord::<str, str>::to("robbed").payload(record.value.as_deref().unwrap())).unwrap();
    }
    // What lanes said names the topics as they were called.
    broker.create("robbed.lanes", 1, &[]);
    for said in broker.read(&["whole.lanes"], 1, PATIENCE) {
        let said = said.value.unwrap().replace("\"whole", "\"robbed");
        producer.send(BaseRecord::<str, str>::to("robbed.lanes").payload(&said)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let mut command = site.command(&["clicks", "audit", "--kafka", &broker.address()]);
    for (key, topic) in [("CLICKS", "robbed"), ("ORPHAN", "robbed.orphan"), ("LANES", "robbed.lanes")] {
        command.env(format!("WAYPOST__KAFKA__{key}"), topic);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&stderr));
    let named = format!("missing: epoch {} seq {} to {}", taken["epoch"], taken["seq"], taken["seq"]);
    assert!(said.contains(&named), "{named}: {said}");
}
