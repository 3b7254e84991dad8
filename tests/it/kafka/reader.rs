//! Reads topics back with Apache Kafka's own Java consumer.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde::Deserialize;

use super::{
    broker::Broker,
    install::{Install, output},
};

/// A record as the Java consumer saw it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: String,
    pub(crate) key: Option<String>,
    /// Where the Java producer's default partitioner would have put the key.
    pub(crate) java_partition: Option<i32>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, Option<String>)>,
}

impl Record {
    /// The value as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.value.as_deref().unwrap_or("null")).unwrap()
    }

    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref())
    }
}

/// Every record of the topics from the first on, by the brokers at `address`; waits up to `patience` until there are
/// `at_least` so many.
pub(crate) fn read(
    install: &Install,
    address: &str,
    topics: &[&str],
    at_least: usize,
    patience: Duration,
) -> Vec<Record> {
    let (at_least, patience) = (at_least.to_string(), patience.as_millis().to_string());
    let mut java = install.java();
    java.args(["Harness", "read", address, &at_least, &patience]).args(topics);
    let lines = String::from_utf8(output(&mut java).unwrap()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

impl Broker {
    /// [`read`] from this broker.
    pub(crate) fn read(&self, topics: &[&str], at_least: usize, patience: Duration) -> Vec<Record> {
        read(self.install(), &self.unrestricted_address(), topics, at_least, patience)
    }

    /// The values of all records of a topic as bytes, in the order of each partition. Fails after `patience`.
    pub(crate) fn read_values(&self, topic: &str, patience: Duration) -> Vec<Vec<u8>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.unrestricted_address())
            .set("group.id", "values")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), patience).unwrap();
        let mut unread = metadata.topics()[0].partitions().len();
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let (deadline, mut values) = (Instant::now() + patience, Vec::new());
        while unread > 0 {
            assert!(Instant::now() < deadline, "{unread} partitions of {topic} have no end yet");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => values.push(message.payload().unwrap().to_vec()),
                Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
                _ => {}
            }
        }
        values
    }

    /// How many records this broker has appended to a topic, acknowledged or not.
    pub(crate) fn count_appended(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.unrestricted_address()).create().unwrap();
        let patience = Duration::from_secs(10);
        let metadata = consumer.fetch_metadata(Some(topic), patience).unwrap();
        let partitions = metadata.topics()[0].partitions();
        partitions.iter().map(|partition| consumer.fetch_watermarks(topic, partition.id(), patience).unwrap().1).sum()
    }
}
