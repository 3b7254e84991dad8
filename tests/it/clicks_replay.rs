//! `waypost clicks replay`: the records of a topic once more, on fresh topics of a real Kafka.

use serde_json::json;

use crate::{
    attribute::attribute,
    dsl::{Site, TIMEOUT, link},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{orphan_topic, send_clicks, site_with_kafka, wait_until_delivered},
    },
};

/// What a reader sees of a record, without its topic and offset.
fn seen(record: &Record) -> String {
    let Record { partition, timestamp, key, value, headers, .. } = record;
    format!("{partition} {timestamp} {key:?} {value:?} {headers:?}")
}

fn read_sorted(broker: &Broker, topic: &str, count: usize) -> Vec<String> {
    let mut records: Vec<String> = broker.read(&[topic], count, TIMEOUT).iter().map(seen).collect();
    records.sort();
    records
}

/// Runs a command that must succeed, with this site's topics, and gives its standard output.
fn run(site: &Site, topics: &str, args: &[&str]) -> String {
    let mut command = site.command(args);
    command.env("WAYPOST__KAFKA__TOPICS__CLICKS", topics).env("WAYPOST__KAFKA__TOPICS__ORPHAN", orphan_topic(topics));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Orders that are paid now with the tokens of these clicks, one an order.
fn orders_of(records: &[Record]) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    let orders = records.iter().enumerate().map(|(number, record)| {
        let event = record.json();
        let token = json!({"verdict": "valid", "kind": "url", "click_id": event["click_id"],
            "clicked_at_ms": event["clicked_at_ms"], "domain": "*", "code": event["code"], "audience_kind": "seller",
            "audience": "s_1"});
        let order = json!({"order_id": format!("o_{number}"), "updated_at_ms": now, "paid_at_ms": now,
            "click_tokens": [token], "lines": [{"line_id": "1", "seller_id": "s_1", "product_id": "p_1",
            "quantity": 1, "value_minor": 100_000, "currency": "VND"}]});
        format!("{order}\n")
    });
    orders.collect()
}

#[test]
fn a_replay_has_the_same_records_in_the_same_partitions_and_gives_the_same_commissions() {
    let Some(broker) = Broker::start_or_share() else { return };
    let (topic, address) = ("replayed", broker.address());
    broker.create_topic(topic, 3, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    let site = site_with_kafka(&address, topic);
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let paid = link("live").replace(r#""test":true"#, &format!(r#""created_at":"{yesterday}""#));
    site.write("links.jsonl", &format!("{paid}\n"));
    let mut site = site.start();
    send_clicks(&site, 0..30);
    site.get("/unknown", &[]);
    wait_until_delivered(&site, "clicks", 30);
    wait_until_delivered(&site, "clicks.orphan", 1);
    site.stop();
    let said = run(&site, topic, &["clicks", "replay", "--kafka", &address, "--into", "fresh"]);
    assert_eq!(said, "fresh  30 records\nfresh.orphan  1 records\n");
    let originals = broker.read(&[topic], 30, TIMEOUT);
    assert_eq!(read_sorted(&broker, "fresh", 30), read_sorted(&broker, topic, 30));
    assert_eq!(read_sorted(&broker, "fresh.orphan", 1), read_sorted(&broker, &orphan_topic(topic), 1));
    // Once more from exported lines: the same records.
    let lines = run(&site, topic, &["clicks", "export", "--kafka", &address]);
    site.write("export.jsonl", &lines);
    run(
        &site,
        topic,
        &["clicks", "replay", "--into-kafka", &address, "--into", "restored", "--clicks", "export.jsonl"],
    );
    let without_partition = |topic: &str| {
        let mut records: Vec<String> = broker.read(&[topic], 30, TIMEOUT).iter().map(seen).collect();
        records.iter_mut().for_each(|text| *text = text.split_once(' ').unwrap().1.to_owned());
        records.sort();
        records
    };
    assert_eq!(without_partition("restored"), without_partition(topic));
    // The same commissions.
    site.write("orders.jsonl", &orders_of(&originals));
    let as_of = (jiff::Timestamp::now().as_millisecond() + 1_000).to_string();
    let rows = |topics: &str| {
        let args = ["attribute", "--kafka", &address, "--orders", "orders.jsonl", "--as-of", &as_of, "--json"];
        run(&site, topics, &args)
    };
    let original = rows(topic);
    assert_eq!(original.matches("\"reason\":\"last_click\",\"commission_minor\":12000").count(), 30, "{original}");
    assert_eq!(rows("fresh"), original);
    assert_eq!(rows("restored"), original);
    let exported = ["--clicks", "export.jsonl", "--orders", "orders.jsonl", "--as-of", &as_of, "--json"];
    assert_eq!(attribute(&site, &exported).1, original);
}

#[test]
fn a_replay_goes_to_no_topic_that_has_records() {
    let Some(broker) = Broker::start_or_share() else { return };
    let (topic, address) = ("replayed-once", broker.address());
    broker.create_topic(topic, 1, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    let site = site_with_kafka(&address, topic).start();
    send_clicks(&site, 0..1);
    wait_until_delivered(&site, "clicks", 1);
    let refused = |into: &str| {
        let output = site.command(&["clicks", "replay", "--kafka", &address, "--into", into]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(topic).contains("is the topic that is read"));
    run(&site, topic, &["clicks", "replay", "--kafka", &address, "--into", "once"]);
    assert!(refused("once").contains("has 1 records"));
    let none = run(&site, topic, &["clicks", "replay", "--kafka", &address, "--into", "no-days", "--to", "2020-01-01"]);
    assert_eq!(none, "no-days  0 records\nno-days.orphan  0 records\n");
}
