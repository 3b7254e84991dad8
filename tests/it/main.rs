//! The integration tests: the real program, started as a process, against real clients, brokers and file systems.
//!
//! Helpers:
//!
//! - `dsl`: the process with its directory and ports, raw connections, answers, waiting for a condition
//! - `need`: what a test needs beside the toolchain, and what happens where it is not available
//! - `kafka`: a real Apache Kafka, its Java consumer, a proxy that makes network faults, and librdkafka's mock
//! - `python`: a Python with packages of PyPI
//! - `http2_get`: a GET over HTTP/2
//! - `tls_client`: certificates, sites that serve TLS, and TLS clients
//! - `clock`, `mount`, `inject`, `prometheus`: a wall clock to set, file systems to fill or freeze, system calls that
//!   fail, a running Prometheus
//!
//! Requests and answers:
//!
//! - `answers`: the table of answers, row by row, on the wire and in the event
//! - `conformance`: HTTP/1.1 byte by byte
//! - `h2`: HTTP/2 in raw frames, and bounds on hostile clients
//! - `bad_input`: input that no browser sends
//! - `limits`: the limits of one connection and of one address
//! - `domains`: settings of a host
//! - `routes`: old URLs of other trackers
//! - `targets`: where a click ends on this device, in this app, in this country
//! - `told_by_clients`: the same by what clients say, true or not: collected agents, hints that lie, odd bytes
//! - `geoip`: countries and networks of addresses, by MMDB files
//! - `landing`: pages in place of a redirect, out of an app's own browser and to an app
//! - `next_hop`: the URL that a click's own URL names and is led on to
//! - `countable`: recorded headers of browsers and machines, and which clicks count
//! - `proxies`: the buyer's address behind a proxy
//! - `sockets`: several addresses, IPv6, Unix sockets, sockets of a service manager
//! - `tls`, `handshakes`: certificates, versions, reloads; floods, stalls and failures of handshakes
//! - `keys`: tokens that are forged, expired or of another key; rotation
//!
//! Durability:
//!
//! - `crash`: `kill -9` under load; every answered click is found once
//! - `damage`: journal files that are damaged between two starts
//! - `lost_segment`: a segment that loses clicks under the running process
//! - `disk_faults`: a file system that is full, frozen, failing or read-only
//! - `click_files`: click files that somebody removes, renames or cuts
//! - `full`: neither the disk nor the sink takes clicks
//! - `data_dir`: starts that are refused, a full disk, lanes of an earlier start
//! - `copies`: a data directory that is copied and runs twice
//! - `drain`: `waypost journal drain`
//! - `clock_steps`: a wall clock that is set while Waypost serves
//! - `catalog_crash`: the catalog of links survives death, and errors of the disk
//!
//! Kafka:
//!
//! - `kafka_clicks`: clicks on the topics
//! - `kafka_client`: client settings and `kafka setup`, without the server
//! - `kafka_away`, `kafka_refused`: the broker is away; the broker refuses
//! - `kafka_protobuf`: clicks in Protobuf beside clicks in JSON, and every reader of both
//! - `kafka_faults`, `kafka_cluster`: faults of the network; leaders of three brokers move or die
//! - `exactly_once`: `kafka.delivery = "exactly-once"`
//! - `audit`, `why`: `waypost clicks audit`, `waypost clicks why`
//! - `flink`: the commission pipeline of `deploy/flink`
//! - `consumers`: the consumers of `deploy/consumers`
//!
//! Commission:
//!
//! - `attribute`: `waypost attribute`: orders and clicks go in, commission lines come out
//! - `attribute_served`: the same over the clicks of a running server
//! - `clicks_export`, `clicks_replay`: clicks of whole days in files, and once more on fresh topics
//! - `receipts`: signed counts of a creator's day, and proofs that a click was counted
//! - `shop`: the programs of `deploy/shop`: verifying tokens, and a shop in a browser
//!
//! Operation:
//!
//! - `config`: mistakes of the configuration, and which source wins
//! - `explain`, `shadow`: `waypost explain`, `waypost shadow`
//! - `operate`, `telling`: starts, readiness, stops; metrics, logs and output for the operator
//! - `stalled_log`: nobody reads the log
//! - `reload`: links, keys and configuration change while clicks come
//! - `request_duration`: the histogram of request durations
//! - `admin_tls`: the admin listener over TLS
//! - `allocator`: the memory of the C libraries
//! - `alerts`, `manifests`, `compose`: the files of `deploy/`
//! - `catalog`: links over restarts, and `waypost links`
//! - `catalog_damage`: catalogs that are damaged, locked, of an older or a newer format
//! - `links_import`: `waypost links import`
//! - `api`: the API `/v1`; every answer is held against `deploy/schemas/openapi.json`
//! - `links_commands`: domains, patches for later, checks of files, by `waypost links`
//! - `links_server`: `waypost links … --server`, beside the same commands on a data directory
//! - `links_topic`: edges that share their links by a topic of Kafka
//! - `links_file`: links that `check` and `serve` refuse, each with its place
//! - `documents`: the commands of every page of `docs/`
//!
//! `crash` and `kafka_cluster` have long forms, which `loadtest/crash.sh` runs; so has `catalog_crash`. CONTRIBUTING.md
//! lists the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod admin_tls;
mod alerts;
mod allocator;
mod answers;
mod api;
mod attribute;
mod attribute_served;
mod audit;
mod bad_input;
mod catalog;
mod catalog_crash;
mod catalog_damage;
mod click_files;
mod clicks_export;
mod clicks_replay;
mod clock;
mod clock_steps;
mod compose;
mod config;
mod conformance;
mod consumers;
mod copies;
mod countable;
mod crash;
mod damage;
mod data_dir;
mod disk_faults;
mod documents;
mod domains;
mod drain;
mod dsl;
mod exactly_once;
mod explain;
mod flink;
mod full;
mod geoip;
mod h2;
mod handshakes;
mod http2_get;
mod inject;
mod kafka;
mod kafka_away;
mod kafka_clicks;
mod kafka_client;
mod kafka_cluster;
mod kafka_faults;
mod kafka_protobuf;
mod kafka_refused;
mod keys;
mod landing;
mod limits;
mod links_commands;
mod links_file;
mod links_import;
mod links_server;
mod links_topic;
mod lost_segment;
mod manifests;
mod mount;
mod need;
mod next_hop;
mod operate;
mod prometheus;
mod proxies;
mod python;
mod receipts;
mod reload;
mod request_duration;
mod routes;
mod shadow;
mod shop;
mod sockets;
mod stalled_log;
mod targets;
mod telling;
mod tls;
mod tls_client;
mod told_by_clients;
mod why;
