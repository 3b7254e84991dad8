//! Clicks in Protobuf on a real Apache Kafka, beside clicks in JSON on the same topics: every reader takes both.

use std::{collections::BTreeMap, process::Output};

use serde_json::{Value, json};

use crate::{
    attribute::{attribute, rows},
    audit::{judge_by_the_page, sum, until_audited},
    dsl::{Site, TIMEOUT, link},
    kafka::{
        broker::Broker,
        site::{lanes_topic, orphan_topic, send_clicks, site_with_own_lanes_topic, wait_until_delivered},
    },
};

/// A phone's browser: a human to the labels.
const TAP: [&str; 2] = [
    "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
     Mobile Safari/537.36",
    "Referer: https://l.instagram.com/",
];

fn create_topics(broker: &Broker, topic: &str) {
    broker.create_topic(topic, 3, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    broker.create_topic(&lanes_topic(topic), 1, &[]);
}

/// A value as a line of the page of Python: JSON as it is, Protobuf in hexadecimal digits.
fn line_of(value: &[u8]) -> String {
    match value.first() {
        Some(b'{') => String::from_utf8(value.to_vec()).unwrap() + "\n",
        _ => value.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n",
    }
}

/// The lines of `waypost clicks tail --json` by click id.
fn tail(site: &Site, broker: &Broker, count: &str) -> BTreeMap<String, Value> {
    let mut command = site.command(&["clicks", "--kafka", &broker.address(), "tail", "-n", count, "--json"]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let events = String::from_utf8(stdout).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| (event["click_id"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn a_topic_with_both_encodings_is_proved_complete_and_read_as_one() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "encodings";
    create_topics(&broker, topic);
    let edge = |settings: &[(&str, &str)]| {
        let site = site_with_own_lanes_topic(&broker.address(), topic);
        settings.iter().fold(site, |site, (key, value)| site.env(&format!("WAYPOST__KAFKA__{key}"), value)).start()
    };
    let mut edges = [
        edge(&[]),
        edge(&[("ENCODING", "protobuf")]),
        edge(&[("ENCODING", "protobuf"), ("SCHEMA_ID", "7"), ("CLOUDEVENTS", "true")]),
    ];
    for site in &edges {
        send_clicks(site, 0..50);
        assert_eq!(site.get("/nobody", &TAP).status, 404);
        wait_until_delivered(site, "clicks", 50);
        wait_until_delivered(site, "clicks.orphan", 1);
    }
    until_audited(&edges[0], &broker, 0);
    for site in &mut edges {
        assert_eq!(site.stop().0, Some(0));
    }
    let found = until_audited(&edges[0], &broker, 0);
    assert_eq!((sum(&found, topic, "present"), sum(&found, topic, "repeats")), (150, 0));

    let values = broker.read_values(topic, TIMEOUT);
    let first_bytes = |byte: u8| values.iter().filter(|value| value[0] == byte).count();
    assert_eq!([first_bytes(b'{'), first_bytes(0x0a), first_bytes(0)], [50, 50, 50]);
    let dump = |topic: &str| broker.read_values(topic, TIMEOUT).iter().map(|value| line_of(value)).collect();
    let orphans = orphan_topic(topic);
    if let Some((code, found)) = judge_by_the_page(&edges[0], &[topic, &orphans], &lanes_topic(topic), dump) {
        assert_eq!(code, Some(0), "{found:#?}");
    }

    let events = tail(&edges[0], &broker, "1000");
    assert_eq!(events.len(), 153);
    let keys = |event: &Value| event.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let live: Vec<&Value> = events.values().filter(|event| event["sub1"] == "7").collect();
    assert_eq!(live.len(), 3);
    assert!(live.iter().all(|event| keys(event) == keys(live[0])), "{live:#?}");
    let stats = edges[0].command(&["clicks", "--kafka", &broker.address(), "stats", "--json", "--by", "day"]);
    let Output { stdout, .. } = { stats }.output().unwrap();
    let stats: Vec<Value> =
        String::from_utf8(stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(stats.iter().map(|row| row["clicks"].as_u64().unwrap()).sum::<u64>(), 153, "{stats:?}");
}

#[test]
fn an_order_is_credited_to_a_click_in_protobuf_and_why_finds_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "credited-protobuf";
    create_topics(&broker, topic);
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let paid_link = link("live").replace(r#""test":true"#, &format!(r#""created_at":"{yesterday}""#));
    let site = site_with_own_lanes_topic(&broker.address(), topic).env("WAYPOST__KAFKA__ENCODING", "protobuf");
    site.write("links.jsonl", &(paid_link + "\n"));
    let site = site.start();
    let token = site.get("/live", &TAP).token().unwrap();
    wait_until_delivered(&site, "clicks", 1);
    let now = jiff::Timestamp::now().as_millisecond();
    let order = json!({"order_id": "o", "updated_at_ms": now, "buyer_id": "b", "paid_at_ms": now,
        "click_tokens": [token], "lines": [{"line_id": "1", "seller_id": "s_1", "product_id": "p_1", "quantity": 1,
            "value_minor": 100_000, "currency": "VND"}]});
    site.write("orders.jsonl", &order.to_string());
    let (keys, address) = (site.data().join("keys.json").display().to_string(), broker.address());
    let args = ["--kafka", &address, "--keys", &keys, "--orders", "orders.jsonl", "--json"];
    let (code, out, error) = attribute(&site, &args);
    assert_eq!(code, Some(0), "{error}");
    let row = &rows(&out)[0];
    assert_eq!((&row["reason"], &row["creator_id"]), (&json!("last_click"), &json!("c_1")), "{row}");

    let id = row["click_id"].as_str().unwrap();
    let Output { stdout, stderr, .. } =
        site.command(&["clicks", "--kafka", &address, "why", "--json", id]).output().unwrap();
    let report: Value = serde_json::from_slice(&stdout).unwrap_or_else(|why| {
        panic!("{why}: {}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
    });
    assert_eq!((&report["found"], &report["event"]["click_id"]), (&json!(true), &json!(id)), "{report}");
    assert_eq!(report["event"], tail(&site, &broker, "1")[id]);
}
