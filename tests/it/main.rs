//! The integration tests: the real program and the real client, against real brokers where Java is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod alerts;
mod answers;
mod audit;
mod bad_input;
mod clock;
mod clock_steps;
mod config;
mod copies;
mod countable;
mod crash;
mod damage;
mod data_dir;
mod disk_faults;
mod domains;
mod drain;
mod dsl;
mod exactly_once;
mod full;
mod inject;
mod kafka;
mod kafka_away;
mod kafka_clicks;
mod kafka_client;
mod kafka_cluster;
mod kafka_faults;
mod kafka_refused;
mod keys;
mod mount;
mod operate;
mod proxies;
mod reload;
mod telling;
mod tls;
mod why;
