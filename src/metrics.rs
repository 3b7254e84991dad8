//! Every metric: name, kind, labels, help and buckets. The raw macros are banned elsewhere (`clippy.toml`).
//!
//! A module asks once, at start, for a handle by its row ([`counter`], [`gauge`], [`histogram`]) and keeps it. Workers
//! count in plain cells of their own and flush them into these handles ten times a second.

use metrics::{Counter, Gauge, Histogram, Label, Unit};

/// What a metric is; histograms carry their bucket bounds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds or bytes, in these buckets.
    Histogram(&'static [f64]),
}

/// One row of the table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The full name, `waypost_…`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it counts, in one sentence.
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($(#[$group:meta])* $id:ident = $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $($(#[$group])* #[doc = $help] pub const $id: Metric =
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };)*
        /// Every metric of this process apart from `process_*`.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

/// From a tenth of a millisecond to ten seconds.
const SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

metrics_table! {
    // net
    CONNECTIONS = "waypost_connections_total", Kind::Counter, [], "Connections accepted.";
    CONNECTIONS_OPEN = "waypost_connections_open", Kind::Gauge, [], "Connections open now.";
    CONNECTIONS_CLOSED = "waypost_connections_closed_total", Kind::Counter, ["reason"], "Connections ended, by reason.";
    ACCEPT_ERRORS = "waypost_accept_errors_total", Kind::Counter, ["reason"], "Failed accepts, by reason; no_descriptors and no_memory pause the worker for 100 ms.";
    // admin
    ADMIN_REQUESTS = "waypost_admin_requests_total", Kind::Counter, ["path"], "Requests to the admin listener, by path.";
    // server
    BUILD_INFO = "waypost_build_info", Kind::Gauge, ["version"], "Always 1; names the version.";
    EDGE_INFO = "waypost_edge_info", Kind::Gauge, ["edge"], "Always 1; names this edge as its clicks do.";
    READY = "waypost_ready", Kind::Gauge, [], "1 while /readyz says yes, else 0.";
    WORKERS = "waypost_workers", Kind::Gauge, [], "Worker threads.";
    // the edge
    CLICKS = "waypost_clicks_total", Kind::Counter, ["outcome"], "Requests answered for a code, by outcome.";
    CLICKS_UNRECORDED = "waypost_clicks_unrecorded_total", Kind::Counter, ["reason"], "Requests for a code without a record: no room (answered or refused by on_full), or an unknown code while the journal was nearly full.";
    COOKIES = "waypost_cookies_total", Kind::Counter, ["state"], "Attribution cookies as presented with requests for a code.";
    REQUESTS_REFUSED = "waypost_requests_refused_total", Kind::Counter, ["reason"], "Requests refused before their code was looked at.";
    REQUESTS_FIXED = "waypost_requests_fixed_total", Kind::Counter, [], "Requests for the fixed paths of a host.";
    // attribution
    KEYRING_FINGERPRINT = "waypost_keyring_fingerprint", Kind::Gauge, [], "48 bits over every key's id and times: equal on edges with the same ring.";
    KEYRING_KEYS = "waypost_keyring_keys", Kind::Gauge, ["role"], "Keys in the ring, by what they do now.";
    KEYRING_RELOADS = "waypost_keyring_reloads_total", Kind::Counter, ["result"], "Changes of the key ring's file: taken, or refused and the old ring kept.";
    // the journal
    JOURNAL_SYNC_SECONDS = "waypost_journal_sync_duration_seconds", Kind::Histogram(SECONDS), [], "Time of one fdatasync of a segment.";
    // links
    LINKS = "waypost_links", Kind::Gauge, [], "Links in the table that is served.";
    LINKS_RELOADS = "waypost_links_reloads_total", Kind::Counter, ["result"], "Loads of the links file after the first, by result: ok, refused or failed to be read.";
    LINKS_LOADED = "waypost_links_loaded_timestamp_seconds", Kind::Gauge, [], "When the served links were loaded, seconds since the epoch.";
    LINKS_LOAD_SECONDS = "waypost_links_load_duration_seconds", Kind::Histogram(SECONDS), [], "Time to read, check and build the table of a links file, refused ones too.";
