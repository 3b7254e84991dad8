//! The topics of one run of the pipeline: what it reads, written by a producer, and what it wrote, read back.

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use prost_reflect::{DescriptorPool, DynamicMessage, prost::Message};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

use super::cases::{Case, key_of};
use crate::kafka::broker::Broker;

const TOPICS: [&str; 12] = [
    "clicks",
    "orphans",
    "orders",
    "product_sets",
    "links",
    "ticks",
    "winners",
    "commissions",
    "late_orders",
    "refused_orders",
    "creator_clicks",
    "creator_commissions",
];

/// A click's value in Protobuf, as another library writes it by the generated file.
fn click_in_protobuf(click: &Value) -> Vec<u8> {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas");
        let files = protox::compile(["click.v1.proto"], [folder]).unwrap();
        DescriptorPool::from_file_descriptor_set(files).unwrap()
    });
    let message = POOL.get_message_by_name("waypost.v1.Click").unwrap();
    DynamicMessage::deserialize(message, click).unwrap_or_else(|why| panic!("{why}: {click}")).encode_to_vec()
}

/// Topics with a prefix of their own on a broker that tests share.
pub(crate) struct Topics<'a> {
    broker: &'a Broker,
    prefix: String,
    producer: BaseProducer,
}

impl Topics<'_> {
    /// Creates the topics, with two partitions for what is keyed by visitor or order.
    pub(crate) fn create(broker: &Broker) -> Topics<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("flink{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", broker.unrestricted_address())
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        let topics = Topics { broker, prefix, producer };
        for name in TOPICS {
            let partitions = if ["clicks", "orders", "winners", "commissions"].contains(&name) { 2 } else { 1 };
            // The times of the cases lie before or after this machine's, whenever the test runs.
            let settings = [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")];
            broker.create_topic(&topics.name(name), partitions, &settings);
        }
        topics
    }

    /// The name on the broker.
    pub(crate) fn name(&self, topic: &str) -> String {
        format!("{}-{topic}", self.prefix)
    }

    /// Settings that make the launcher use these topics.
    pub(crate) fn settings(&self) -> Vec<String> {
        let names = TOPICS.map(|topic| format!("TOPIC_{}={}", topic.to_uppercase(), self.name(topic)));
        let group = [format!("KAFKA={}", self.broker.unrestricted_address()), format!("GROUP={}", self.prefix)];
        group.into_iter().chain(names).collect()
    }

    /// Sends a case's records: what is listed last first, and each click twice.
    pub(crate) fn send_case(&self, case: &Case) {
        for click in case.clicks.iter().rev().chain(&case.clicks) {
            self.send_click(click);
        }
        for order in case.orders.iter().rev() {
            self.send_order(order);
        }
        for entry in &case.product_sets {
            let key = ["product_set_id", "seller_id", "product_id", "valid_from_ms"].map(|key| entry[key].to_string());
            self.send("product_sets", &key.join(" "), &entry.to_string(), None, OwnedHeaders::new());
        }
        for link in &case.links {
            self.send("links", &link["code"].to_string(), &link.to_string(), None, OwnedHeaders::new());
        }
    }

    /// Sends what compacted topics also have: records that are no links, as on Waypost's own topic of links, and
    /// tombstones.
    pub(crate) fn send_records_without_facts(&self) {
        self.send("links", "a/generation", r#"{"generation":"1"}"#, None, OwnedHeaders::new());
        self.send("links", "l/*/gone", r#"{"gone":{}}"#, None, OwnedHeaders::new());
        for topic in ["links", "product_sets"] {
            let topic = self.name(topic);
            let tombstone: BaseRecord<'_, str, str> = BaseRecord::to(&topic).key("l/*/removed");
            self.producer.send(tombstone).map_err(|(why, _)| why).unwrap();
        }
    }

    /// Sends a click as Waypost does, each second visitor's in Protobuf, half of those with the prefix of a schema
    /// registry; `arrived_at_ms` becomes the header.
    pub(crate) fn send_click(&self, click: &Value) {
        let mut click = click.clone();
        let arrived = click.as_object_mut().unwrap().remove("arrived_at_ms").map(|at| at.to_string());
        let mut headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some("application/json") });
        if let Some(at) = &arrived {
            headers = headers.insert(Header { key: "wp_shipped_at_ms", value: Some(at) });
        }
        let key = click.get("visitor_id").unwrap_or(&click["click_id"]).as_str().unwrap();
        let topic = if click["outcome"] == "redirected" { "clicks" } else { "orphans" };
        let value = match key.bytes().fold(0, |sum: u8, byte| sum.wrapping_add(byte)) % 4 {
            0 => [&[0, 0, 0, 0, 7, 0], &click_in_protobuf(&click)[..]].concat(),
            2 => click_in_protobuf(&click),
            _ => click.to_string().into_bytes(),
        };
        self.send_bytes(topic, key, &value, click["clicked_at_ms"].as_i64(), headers);
    }

    /// Sends a version of an order as if at its payment.
    pub(crate) fn send_order(&self, order: &Value) {
        self.send_order_at(order, order["paid_at_ms"].as_i64().or(order["updated_at_ms"].as_i64()));
    }

    /// Sends a version of an order with a record's timestamp.
    pub(crate) fn send_order_at(&self, order: &Value, at_ms: Option<i64>) {
        self.send("orders", order["order_id"].as_str().unwrap(), &order.to_string(), at_ms, OwnedHeaders::new());
    }

    /// Sends any record.
    pub(crate) fn send(&self, topic: &str, key: &str, value: &str, at_ms: Option<i64>, headers: OwnedHeaders) {
        self.send_bytes(topic, key, value.as_bytes(), at_ms, headers);
    }

    fn send_bytes(&self, topic: &str, key: &str, value: &[u8], at_ms: Option<i64>, headers: OwnedHeaders) {
        let topic = self.name(topic);
        let mut record = BaseRecord::to(&topic).key(key).payload(value).headers(headers);
        record.timestamp = at_ms;
        self.producer.send(record).map_err(|(why, _)| why).unwrap();
    }

    /// Waits until every record is acknowledged.
    pub(crate) fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// The last row of each key of a topic of the pipeline, without the fields that only the topic has.
    pub(crate) fn rows(&self, topic: &str) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for record in self.broker.read(&[topic], 0, Duration::from_secs(30)) {
            let key = record.key.clone().unwrap_or_default();
            let mut row = record.json();
            match row.as_object_mut() {
                None => drop(rows.remove(&key)),
                Some(fields) => {
                    fields.remove("paid_at_ms");
                    rows.insert(key, row);
                }
            }
        }
        let is_keyed_by_line = |row: &Value| row["line_id"].is_string();
        rows.into_iter().map(|(key, row)| (if is_keyed_by_line(&row) { key_of(&row) } else { key }, row)).collect()
    }
}
