//! The topic of links: edges that share their links by a compacted topic of a real Kafka.

mod bad_records;
mod changed_topic;
mod domains;
mod edges;
mod freeze;
mod java_producer;
mod reread;
mod site;
mod targets;
mod trouble;
mod writers;
