//! Edges that read a topic of links, and another program that writes to it.

use std::time::Duration;

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};
use serde_json::{Value, json};

use crate::{
    api::client::{ApiSite, new_key},
    dsl::{Site, until},
    kafka::broker::Broker,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// An edge on the topic, not started. Its clicks go to topics of their own.
pub(super) fn edge(broker: &Broker, topic: &str) -> Site {
    edge_at(&broker.address(), topic)
}

/// As [`edge`], by the broker at this address.
pub(super) fn edge_at(address: &str, topic: &str) -> Site {
    Site::without_links_file()
        .arg("--kafka")
        .arg(address)
        .env("WAYPOST__LINKS__TOPIC", topic)
        .env("WAYPOST__KAFKA__TOPICS__CLICKS", &format!("{topic}.clicks"))
        .env("WAYPOST__KAFKA__TOPICS__ORPHAN", &format!("{topic}.orphan"))
        .env("WAYPOST__KAFKA__TOPICS__LANES", &format!("{topic}.lanes"))
        .env("WAYPOST__DELIVERY__DRAIN_DEADLINE", "1s")
        .env("WAYPOST__KAFKA__PROPERTIES__RECONNECT_BACKOFF_MAX_MS", "500")
}

/// A started edge with an API key.
pub(super) fn api_edge(broker: &Broker, topic: &str) -> ApiSite {
    let site = edge(broker, topic);
    let key = new_key(&site, &["--name", "test", "--scope", "read,write,admin,suspend"]);
    ApiSite { site: site.start(), key }
}

/// Makes the topics as an operator does.
pub(super) fn set_up(broker: &Broker, topic: &str) {
    let site = edge(broker, topic);
    let args = ["kafka", "setup", "--apply", "--replication", "1", "--partitions", "1", "--kafka", &broker.address()];
    let output = site.command(&args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(super) fn delete_topic(broker: &Broker, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for result in runtime.block_on(admin.delete_topics(&[topic], &options)).unwrap() {
        result.unwrap();
    }
}

/// A record of a link.
pub(super) fn plain(code: &str, url: &str) -> Value {
    json!({"code": code, "url": url, "kind": "plain", "creator": "c_1", "created_at": "2026-11-01T00:00:00Z"})
}

/// Another program that writes to the topic.
pub(super) struct OtherProgram {
    producer: BaseProducer<Reports>,
    topic: String,
}

/// Fails the test if a record is refused.
struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "{result:?}");
    }
}

impl OtherProgram {
    pub(super) fn new(broker: &Broker, topic: &str) -> OtherProgram {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", broker.address()).set("linger.ms", "0");
        OtherProgram { producer: settings.create_with_context(Reports).unwrap(), topic: topic.to_owned() }
    }

    /// One that writes in transactions.
    pub(super) fn transactional(broker: &Broker, topic: &str) -> OtherProgram {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", broker.address()).set("transactional.id", format!("{topic}-other"));
        let producer: BaseProducer<Reports> = settings.create_with_context(Reports).unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        OtherProgram { producer, topic: topic.to_owned() }
    }

    pub(super) fn producer(&self) -> &BaseProducer<impl ProducerContext<DeliveryOpaque = ()>> {
        &self.producer
    }

    /// Writes records and waits until the broker has them.
    pub(super) fn write(&self, records: &[(Option<&str>, Option<&str>)]) {
        for (key, value) in records {
            let mut record: BaseRecord<'_, str, str> = BaseRecord::to(&self.topic).partition(0);
            if let Some(key) = key {
                record = record.key(*key);
            }
            if let Some(value) = value {
                record = record.payload(*value);
            }
            self.producer.send(record).map_err(|(why, _)| why).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Writes the records of links of `*`.
    pub(super) fn write_links(&self, links: &[Value]) {
        for link in links {
            let key = format!("l/*/{}", link["code"].as_str().unwrap());
            self.write(&[(Some(&key), Some(&link.to_string()))]);
        }
    }

    pub(super) fn write_tombstone(&self, code: &str) {
        self.write(&[(Some(&format!("l/*/{code}")), None)]);
    }
}

/// Waits until the edge redirects a code to this URL.
pub(super) fn wait_until_leads_to(site: &Site, code: &str, url: &str) {
    until(&format!("{code} to lead to {url}"), || {
        let answer = site.get(&format!("/{code}"), &[]);
        answer.header("location").is_some_and(|location| location.starts_with(url)).then_some(())
    });
}

/// Waits until the edge answers a code with this status.
pub(super) fn wait_for_status(site: &Site, code: &str, status: u16) {
    until(&format!("{code} to answer {status}"), || {
        (site.get(&format!("/{code}"), &[]).status == status).then_some(())
    });
}

/// The offset up to which the edge has read.
pub(super) fn next_offset(site: &Site) -> f64 {
    site.metric("waypost_links_topic_next_offset", "")
}

/// Waits until two edges serve the same links.
pub(super) fn wait_until_fingerprints_agree(one: &Site, other: &Site) {
    let fingerprint = |site: &Site| site.metric("waypost_links_topic_fingerprint", "");
    until("the same fingerprint", || {
        (next_offset(one) == next_offset(other) && fingerprint(one) == fingerprint(other)).then_some(())
    });
}
