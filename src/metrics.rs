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
    TLS_HANDSHAKES = "waypost_tls_handshakes_total", Kind::Counter, ["result"], "TLS handshakes ended: done, or why not (timeout, busy: no turn in time, or its place went to a later one, junk: not TLS, incompatible: no common version, cipher or protocol, alert: the client refused, left, other).";
    TLS_SESSIONS = "waypost_tls_sessions_total", Kind::Counter, ["version", "resumed"], "TLS handshakes done, by version and whether a ticket spared the signature.";
    TLS_CERT_NOT_AFTER = "waypost_tls_cert_not_after_seconds", Kind::Gauge, ["listener", "name"], "When the certificate that is served for this name ends, seconds since the epoch, 0 if it is served no more; the name is its first, the listener edge or admin.";
    TLS_RELOADS = "waypost_tls_reloads_total", Kind::Counter, ["result"], "Changes of certificate files, of edge.listen and of the admin listener: taken, or refused and what was served before is kept.";
    // admin
    ADMIN_REQUESTS = "waypost_admin_requests_total", Kind::Counter, ["path"], "Requests to the admin listener, by path.";
    ADMIN_HANDSHAKES = "waypost_admin_handshakes_total", Kind::Counter, ["result"], "TLS handshakes of the admin listener: done, client (no certificate that leads to client_ca), timeout, failed.";
    // server
    BUILD_INFO = "waypost_build_info", Kind::Gauge, ["version"], "Always 1; names the version.";
    EDGE_INFO = "waypost_edge_info", Kind::Gauge, ["edge"], "Always 1; names this edge as its clicks do.";
    READY = "waypost_ready", Kind::Gauge, [], "1 while /readyz says yes, else 0.";
    WORKERS = "waypost_workers", Kind::Gauge, [], "Worker threads.";
    // the edge
    CLICKS = "waypost_clicks_total", Kind::Counter, ["outcome"], "Requests answered for a code, by outcome.";
    CLICKS_UNRECORDED = "waypost_clicks_unrecorded_total", Kind::Counter, ["reason"], "Requests for a code without a record: no room (answered or refused by on_full), or an unknown code while the journal was nearly full (pressed) or beyond its address's budget (budget).";
    COOKIES = "waypost_cookies_total", Kind::Counter, ["state"], "Attribution cookies as presented with requests for a code.";
    REQUESTS_REFUSED = "waypost_requests_refused_total", Kind::Counter, ["reason"], "Requests refused before their code was looked at.";
    REQUESTS_FIXED = "waypost_requests_fixed_total", Kind::Counter, [], "Requests for the fixed paths of a host.";
    REQUESTS_UPGRADED = "waypost_requests_upgraded_total", Kind::Counter, [], "Requests sent from http to https; the click is recorded there.";
    // attribution
    KEYRING_FINGERPRINT = "waypost_keyring_fingerprint", Kind::Gauge, [], "48 bits over every key's id and times: equal on edges with the same ring.";
    KEYRING_KEYS = "waypost_keyring_keys", Kind::Gauge, ["role"], "Keys in the ring, by what they do now.";
    KEYRING_RELOADS = "waypost_keyring_reloads_total", Kind::Counter, ["result"], "Changes of the key ring's file: taken, or refused and the old ring kept.";
    // links
    LINKS = "waypost_links", Kind::Gauge, [], "Links in the table that is served.";
    LINKS_RELOADS = "waypost_links_reloads_total", Kind::Counter, ["result"], "Loads of the links file after the first, by result: ok, refused or failed to be read.";
    LINKS_LOADED = "waypost_links_loaded_timestamp_seconds", Kind::Gauge, [], "When the served links were loaded, seconds since the epoch.";
    LINKS_LOAD_SECONDS = "waypost_links_load_duration_seconds", Kind::Histogram(SECONDS), [], "Time to read, check and build the table of a links file, refused ones too.";
    // the journal
    CLICKS_JOURNALED = "waypost_clicks_journaled_total", Kind::Counter, ["lane"], "Clicks appended to the lane since the start.";
    CLICKS_RECOVERED = "waypost_clicks_recovered_total", Kind::Counter, ["lane"], "Undelivered clicks found in the lane at the start, damaged ones included.";
    CLICKS_QUARANTINED = "waypost_clicks_quarantined_total", Kind::Counter, ["lane"], "Recovered clicks whose bytes are damaged; the evidence is kept.";
    JOURNAL_BACKLOG_CLICKS = "waypost_journal_backlog_clicks", Kind::Gauge, ["lane"], "Clicks that are not delivered yet.";
    JOURNAL_BACKLOG_BYTES = "waypost_journal_backlog_bytes", Kind::Gauge, ["lane"], "Bytes from the first undelivered click to the last.";
    JOURNAL_OLDEST_UNDURABLE = "waypost_journal_oldest_undurable_age_seconds", Kind::Gauge, [], "Age of the oldest click that is neither delivered nor synced, the time between two runs included: what a power loss would cost.";
    JOURNAL_RING = "waypost_journal_ring_bytes", Kind::Gauge, ["lane"], "Bytes of the ring: what it holds is how long both sink and disk may fail.";
    JOURNAL_RING_FREE = "waypost_journal_ring_free_bytes", Kind::Gauge, ["lane"], "Bytes of the ring that the worker may write.";
    JOURNAL_RING_SECONDS = "waypost_journal_ring_seconds", Kind::Gauge, ["lane"], "How long the whole ring lasts at the present rate if nothing leaves it.";
    JOURNAL_SPILLED_BYTES = "waypost_journal_spilled_bytes_total", Kind::Counter, [], "Bytes written to segments and synced.";
    JOURNAL_SPILL_ERRORS = "waypost_journal_spill_errors_total", Kind::Counter, ["reason"], "Rounds of spilling that failed: the disk refused, its budget is used up, or it has not answered for seconds (stalled).";
    JOURNAL_SPILL_STOPPED = "waypost_journal_spill_stopped", Kind::Gauge, [], "1 while a lane cannot be spilled, or the disk does not answer: the ring and the sink alone hold its clicks.";
    JOURNAL_RING_GONE = "waypost_journal_ring_gone", Kind::Gauge, [], "1 while a ring's file is not under its name any more: a kill of the process costs what the ring alone holds.";
    JOURNAL_CORRUPT_FRAMES = "waypost_journal_corrupt_frames_total", Kind::Counter, ["lane"], "Damaged places met in rings and segments.";
    JOURNAL_DISK_USED = "waypost_journal_disk_used_bytes", Kind::Gauge, [], "Bytes that segments take.";
    JOURNAL_DISK_BUDGET = "waypost_journal_disk_budget_bytes", Kind::Gauge, [], "Bytes that segments may take.";
    JOURNAL_DISK_ROOM = "waypost_journal_disk_room_bytes", Kind::Gauge, [], "Bytes that segments can still take: the rest of their budget, or of the file system if that is less.";
    JOURNAL_DISK_SECONDS = "waypost_journal_disk_seconds_left", Kind::Gauge, [], "How long that room lasts at the present rate if nothing is delivered.";
    JOURNAL_SYNC_SECONDS = "waypost_journal_sync_duration_seconds", Kind::Histogram(SECONDS), [], "Time of one fdatasync of a segment.";
    // the shipper
    CLICKS_DELIVERED = "waypost_clicks_delivered_total", Kind::Counter, ["topic"], "Clicks that the sink has for good: acknowledged by Kafka, or synced in a file.";
    CLICKS_DELIVERY_FAILED = "waypost_clicks_delivery_failed_total", Kind::Counter, ["code"], "Times a click came back from the sink, by what it means; each is sent again.";
    CLICKS_DEAD_LETTERED = "waypost_clicks_dead_lettered_total", Kind::Counter, ["topic", "reason"], "Clicks that the broker refuses even alone: whole in a dead-letter file, a stub in the topic. Not counted as delivered.";
    CLICKS_IN_FLIGHT = "waypost_clicks_in_flight", Kind::Gauge, ["topic"], "Clicks handed to the sink and not yet delivered.";
    CLICKS_REFUSED = "waypost_clicks_refused", Kind::Gauge, ["topic"], "Clicks refused even alone whose dead letter cannot be written, or whose stub is refused too: they wait, and hold the journal behind them.";
    CLICKS_DELIVERY_SECONDS = "waypost_clicks_delivery_duration_seconds", Kind::Histogram(SECONDS), [], "Time from a click to its delivery, the oldest of each batch.";
    CLICKS_OLDEST_UNDELIVERED_SECONDS = "waypost_clicks_oldest_undelivered_age_seconds", Kind::Gauge, [], "Age of the oldest click that the shipper has read and not delivered.";
    CLICKS_LABELLED = "waypost_clicks_labelled_total", Kind::Counter, ["class"], "Clicks by who they seem to come from.";
    CLICKS_DUPLICATE = "waypost_clicks_duplicate_total", Kind::Counter, ["basis"], "Clicks labelled as the same tap twice, by what told.";
    CLICKS_FOUND = "waypost_clicks_found_delivered_total", Kind::Counter, [], "Clicks that the last run had written to files, or committed to Kafka, though the journal did not know: not sent again.";
    CLICKS_UNREADABLE = "waypost_clicks_unreadable_total", Kind::Counter, [], "Clicks of a newer build's format: they wait for a build that reads them.";
    CLICKS_TIMESTAMP_CLAMPED = "waypost_clicks_timestamp_clamped_total", Kind::Counter, [], "Records sent with a changed timestamp because the broker refused the click's; the value holds the true one.";
    JOURNAL_READ_ERRORS = "waypost_journal_read_errors_total", Kind::Counter, [], "Times the shipper could not read a segment; it is tried again.";
    LANE_STATEMENTS = "waypost_lane_statements_total", Kind::Counter, ["result"], "What lanes said of themselves on the topic of lanes, by what became of it.";
    SHIPPING_STOPPED = "waypost_shipping_stopped", Kind::Gauge, ["reason"], "1 if shipping has stopped until somebody does something: another process ships as this edge, or Kafka's checkpoint and the journal contradict each other.";
    KAFKA_TRANSACTIONS = "waypost_kafka_transactions_total", Kind::Counter, ["result"], "Transactions ended, under exactly-once.";
    KAFKA_COMMIT_SECONDS = "waypost_kafka_commit_duration_seconds", Kind::Histogram(SECONDS), [], "Time of one commit, from its last record on.";
    KAFKA_PRODUCER_REBUILDS = "waypost_kafka_producer_rebuilds_total", Kind::Counter, [], "Times the producer was built anew after a fatal error.";
    CLICKS_FILE_ERRORS = "waypost_clicks_file_errors_total", Kind::Counter, ["topic", "act"], "Errors with click files and dead-letter files, by what was being done.";
    CLICKS_FILE_BYTES = "waypost_clicks_file_written_bytes_total", Kind::Counter, ["topic"], "Bytes synced in click files and dead-letter files.";
    CLICKS_FILES_DELETED = "waypost_clicks_files_deleted_total", Kind::Counter, ["topic"], "Click files deleted because the configuration says so.";
    CLICKS_FILE_SYNC_SECONDS = "waypost_clicks_file_sync_duration_seconds", Kind::Histogram(SECONDS), [], "Time of one fdatasync of a click file.";
    CLICKS_FILE_ROOM_BYTES = "waypost_clicks_file_room_bytes", Kind::Gauge, [], "Free bytes of the file system of the click files.";
    CLICKS_FILE_ROOM_LOW = "waypost_clicks_file_room_low", Kind::Gauge, [], "1 while the click files' file system has less than 1 GiB or a twentieth left.";
    // kafka
    KAFKA_ERRORS = "waypost_kafka_errors_total", Kind::Counter, ["class"], "Errors of the Kafka client, by what they mean.";
    KAFKA_QUEUE_MESSAGES = "waypost_kafka_producer_queue_messages", Kind::Gauge, [], "Clicks in the producer's queue or in flight.";
    KAFKA_QUEUE_BYTES = "waypost_kafka_producer_queue_bytes", Kind::Gauge, [], "Bytes in the producer's queue or in flight.";
    KAFKA_MESSAGES = "waypost_kafka_messages_sent_total", Kind::Counter, [], "Records sent to brokers.";
    KAFKA_MESSAGE_BYTES = "waypost_kafka_messages_sent_bytes_total", Kind::Counter, [], "Bytes of the records sent, before compression.";
    KAFKA_REQUESTS = "waypost_kafka_requests_total", Kind::Counter, [], "Requests sent to brokers.";
    KAFKA_REQUEST_BYTES = "waypost_kafka_requests_bytes_total", Kind::Counter, [], "Bytes sent to brokers, after compression.";
    KAFKA_RETRIES = "waypost_kafka_request_retries_total", Kind::Counter, [], "Requests sent again.";
    KAFKA_TIMEOUTS = "waypost_kafka_request_timeouts_total", Kind::Counter, [], "Requests that no broker answered in time.";
    KAFKA_DISCONNECTS = "waypost_kafka_disconnects_total", Kind::Counter, [], "Connections to brokers that ended.";
    KAFKA_BROKERS_UP = "waypost_kafka_brokers_up", Kind::Gauge, [], "Brokers connected to.";
    KAFKA_ROUND_TRIP_SECONDS = "waypost_kafka_round_trip_seconds", Kind::Gauge, [], "99th percentile of a request's round trip, the slowest broker's.";
    KAFKA_SEND_WAIT_SECONDS = "waypost_kafka_send_wait_seconds", Kind::Gauge, [], "99th percentile of a request's wait before it is sent, the slowest broker's.";
    KAFKA_THROTTLE_SECONDS = "waypost_kafka_throttle_seconds", Kind::Gauge, [], "Mean time a broker's quota held requests back, the worst broker's.";
    KAFKA_BATCH_CLICKS = "waypost_kafka_batch_clicks", Kind::Gauge, [], "Mean clicks in a batch.";
    KAFKA_TOPIC_REPLICATION = "waypost_kafka_topic_replication", Kind::Gauge, ["topic"], "Copies of the topic's least copied partition, as last seen.";
    KAFKA_TOPIC_MIN_INSYNC = "waypost_kafka_topic_min_insync_replicas", Kind::Gauge, ["topic"], "The topic's min.insync.replicas as last seen, 0 if it may not be read.";
    KAFKA_TOPIC_ALARM = "waypost_kafka_topic_alarm", Kind::Gauge, ["topic", "reason"], "1 while a topic is missing, may not be seen, or keeps too few copies.";
}

/// A handle on a counter; starts it at zero. `labels` are the values of its label names, in order.
pub fn counter(metric: &Metric, labels: &[&str]) -> Counter {
    let handle = recorder_counter(metric, labels);
    handle.increment(0);
    handle
}

/// A handle on a gauge. `labels` are the values of its label names, in order.
pub fn gauge(metric: &Metric, labels: &[&str]) -> Gauge {
    metrics::with_recorder(|recorder| recorder.register_gauge(&key(metric, labels), &METADATA))
}

/// A handle on a histogram. `labels` are the values of its label names, in order.
pub fn histogram(metric: &Metric, labels: &[&str]) -> Histogram {
    metrics::with_recorder(|recorder| recorder.register_histogram(&key(metric, labels), &METADATA))
}

fn recorder_counter(metric: &Metric, labels: &[&str]) -> Counter {
    metrics::with_recorder(|recorder| recorder.register_counter(&key(metric, labels), &METADATA))
}

static METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new("waypost", metrics::Level::INFO, Some(module_path!()));

fn key(metric: &Metric, values: &[&str]) -> metrics::Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}: one value a label", metric.name);
    let labels: Vec<Label> =
        metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    metrics::Key::from_parts(metric.name, labels)
}

/// Gives the recorder every metric's help text; called once by whoever installs it.
pub fn describe_all() {
    metrics::with_recorder(|recorder| {
        for metric in ALL {
            let unit = if metric.name.contains("_seconds") {
                Some(Unit::Seconds)
            } else if metric.name.contains("_bytes") {
                Some(Unit::Bytes)
            } else {
                None
            };
            let name = metric.name.into();
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(name, unit, metric.help.into()),
                Kind::Histogram(_) => recorder.describe_histogram(name, unit, metric.help.into()),
            }
        }
    });
}
