//! `waypost attribute` over the clicks of a running server: its click files, and its topics.

use serde_json::{Value, json};

use crate::{
    attribute::{attribute, rows},
    dsl::{Site, link},
    kafka::{
        broker::Broker,
        site::{orphan_topic, site_with_kafka, wait_until_delivered},
    },
};

const DAY_MS: u64 = 86_400_000;
/// A phone's browser: a human to the labels.
const TAP: [&str; 3] = [
    "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
     Mobile Safari/537.36",
    "Sec-Fetch-Mode: navigate",
    "Referer: https://l.instagram.com/",
];

/// A link that pays.
fn paid_link(code: &str) -> String {
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    link(code).replace(r#""test":true"#, &format!(r#""created_at":"{yesterday}""#))
}

/// An order that is paid now, with this raw token, for the product of [`link`].
fn order_of_token(token: &str) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    json!({"order_id": "o", "updated_at_ms": now, "buyer_id": "b", "paid_at_ms": now, "click_tokens": [token],
        "lines": [{"line_id": "1", "seller_id": "s_1", "product_id": "p_1", "quantity": 1, "value_minor": 100_000,
            "currency": "VND"}]})
    .to_string()
}

#[test]
fn a_tap_on_a_served_link_earns_from_the_order_that_brings_its_token() {
    let site = Site::new(&[paid_link("live")]).start();
    let token = site.get("/live", &TAP).token().unwrap();
    let event = &site.wait_for_events("clicks", 1)[0];
    site.write("orders.jsonl", &order_of_token(&token));
    let data = site.data().display().to_string();
    let (code, out, error) = attribute(&site, &["--data-dir", &data, "--orders", "orders.jsonl", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let row = &rows(&out)[0];
    assert_eq!((&row["state"], &row["reason"]), (&json!("pending"), &json!("last_click")), "{row}");
    assert_eq!((&row["click_id"], &row["creator_id"]), (&event["click_id"], &json!("c_1")), "{row}");
    assert_eq!((&row["commission_minor"], row.get("flags")), (&json!(12_000), None), "{row}");
}

#[test]
fn clicks_are_read_from_the_topics_with_the_time_of_their_arrival() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "attribute";
    broker.create_topic(topic, 2, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    let site = site_with_kafka(&broker.address(), topic);
    site.write("links.jsonl", &(paid_link("live") + "\n"));
    let site = site.start();
    let token = site.get("/live", &TAP).token().unwrap();
    wait_until_delivered(&site, "clicks", 1);
    site.write("orders.jsonl", &order_of_token(&token));
    let keys = site.data().join("keys.json").display().to_string();
    let address = broker.address();
    let args = ["--kafka", &address, "--keys", &keys, "--orders", "orders.jsonl", "--json"];
    let (code, out, error) = attribute(&site, &args);
    assert_eq!(code, Some(0), "{error}");
    let row = &rows(&out)[0];
    assert_eq!((&row["reason"], &row["creator_id"]), (&json!("last_click"), &json!("c_1")), "{row}");
    // The same order, but paid so early that the record arrived after the freeze.
    let mut early: Value = serde_json::from_str(&order_of_token(&token)).unwrap();
    let paid = early["paid_at_ms"].as_u64().unwrap() - 15 * DAY_MS;
    (early["paid_at_ms"], early["updated_at_ms"]) = (json!(paid), json!(paid));
    site.write("orders.jsonl", &early.to_string());
    let (code, out, error) = attribute(&site, &args);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(rows(&out)[0]["candidates"][0]["reason"], "arrived_too_late", "{out}");
}
