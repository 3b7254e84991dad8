//! The table of all metrics: name, kind, labels, help and buckets. `clippy.toml` forbids the macros of the `metrics`
//! crate elsewhere.
//!
//! A module gets a handle for a row of the table once, at the start ([`counter`], [`gauge`], [`histogram`]). Workers
//! count in [`LocalCounter`]s and flush them ten times a second.

use std::cell::Cell;

use metrics::{Counter, Gauge, Histogram, Label, Unit};

/// The type of a metric.
#[derive(Clone, Copy, Debug)]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// One row of the table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The full name, `waypost_…`.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// The names of its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it measures.
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($(
        $(#[$group:meta])*
        $id:ident = $name:literal, $kind:ident $(($bounds:ident))?, [$($label:literal),*], $help:literal;
    )*) => {
        $($(#[$group])* #[doc = $help] pub const $id: Metric =
            Metric { name: $name, kind: MetricKind::$kind $(($bounds))?, labels: &[$($label),*], help: $help };)*
        /// Every metric of this process apart from `process_*`.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

/// Buckets from 0.1 ms to 10 s.
const SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Buckets from 10 µs to 2.5 s.
const FINE_SECONDS: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

metrics_table! {
    // net
    CONNECTIONS = "waypost_connections_total", Counter, [],
        "Accepted connections.";
    CONNECTIONS_OPEN = "waypost_connections_open", Gauge, [],
        "Open connections.";
    CONNECTIONS_CLOSED = "waypost_connections_closed_total", Counter, ["reason"],
        "Closed connections, by the reason of the close.";
    ACCEPT_ERRORS = "waypost_accept_errors_total", Counter, ["reason"],
        "Failed accepts, by reason. After no_descriptors and no_memory the worker pauses for 100 ms.";
    TLS_HANDSHAKES = "waypost_tls_handshakes_total", Counter, ["result"],
        "Ended TLS handshakes, by result: done; timeout; busy (the worker had no time for it, or its place went \
         to a newer handshake); junk (no TLS); incompatible (no common version, cipher or protocol); alert (the \
         client refused); left (the client closed); other.";
    TLS_SESSIONS = "waypost_tls_sessions_total", Counter, ["version", "resumed"],
        "Completed TLS handshakes, by version and by whether a session ticket made a signature unnecessary.";
    TLS_CERTIFICATE_EXPIRY = "waypost_tls_certificate_expiry_timestamp_seconds", Gauge, ["listener", "name"],
        "Expiry of the served certificate, in seconds since the epoch; 0 once it is no longer served. `name` is \
         the first name of the certificate, `listener` is edge or admin.";
    TLS_RELOADS = "waypost_tls_reloads_total", Counter, ["result"],
        "Changes of certificate files of both listeners: ok, or refused, which keeps the certificates that were \
         served before.";
    REQUEST_SECONDS = "waypost_request_duration_seconds", Histogram(FINE_SECONDS), [],
        "Time from the first byte read of a request to its answer handed to the socket; one request of 64 is \
         measured.";
    // admin
    ADMIN_REQUESTS = "waypost_admin_requests_total", Counter, ["path"],
        "Requests to the admin listener, by path.";
    API_REQUESTS = "waypost_api_requests_total", Counter, ["route", "status"],
        "Requests to the API, by route and by class of the status code.";
    ADMIN_HANDSHAKES = "waypost_admin_handshakes_total", Counter, ["result"],
        "TLS handshakes of the admin listener: done; client (no certificate issued by client_ca); timeout; \
         failed.";
    // server
    BUILD_INFO = "waypost_build_info", Gauge, ["version", "commit"],
        "Always 1; the labels name the build.";
    EDGE_INFO = "waypost_edge_info", Gauge, ["edge"],
        "Always 1; the label names this edge, as its clicks do.";
    READY = "waypost_ready", Gauge, [],
        "1 while /readyz answers 200, else 0.";
    WORKERS = "waypost_workers", Gauge, [],
        "Worker threads.";
    LOG_LINES_DROPPED = "waypost_log_lines_dropped_total", Counter, [],
        "Lines of the log that were dropped because its reader was too slow.";
    // the edge
    CLICKS = "waypost_clicks_total", Counter, ["outcome"],
        "Answered requests for a code, by outcome.";
    CLICKS_UNRECORDED = "waypost_clicks_unrecorded_total", Counter, ["reason"],
        "Requests for a code without a record: no_room (answered), refused_no_room (503, by on_full), an \
         unknown, ended or disabled code for which the lane of orphans had no room (orphan_no_room), a HEAD, \
         prefetch or non-navigation while the lane of clicks was three quarters full (uncountable_no_room), or an \
         unknown code beyond its address's rate (rate_limited).";
    COOKIES = "waypost_cookies_total", Counter, ["state"],
        "Requests for a code, by the state of the attribution cookie they carried.";
    REQUESTS_REFUSED = "waypost_requests_refused_total", Counter, ["reason"],
        "Requests refused before their code was read, by reason.";
    REQUESTS_FIXED = "waypost_requests_fixed_total", Counter, [],
        "Requests for the fixed paths of a host, such as /robots.txt, and preflights of listed app_origins.";
    REQUESTS_UPGRADED = "waypost_requests_upgraded_total", Counter, [],
        "Requests redirected from http to https. Their click is recorded when they return by https.";
    // attribution
    KEYRING_FINGERPRINT = "waypost_keyring_fingerprint", Gauge, [],
        "48 bits of a hash over the ids and times of all keys. Edges with the same key ring have the same value.";
    KEYRING_KEYS = "waypost_keyring_keys", Gauge, ["role"],
        "Keys of the key ring, by their present role.";
    KEYRING_RELOADS = "waypost_keyring_reloads_total", Counter, ["result"],
        "Changes of the key ring file, by result: ok; refused or failed, which keep the old key ring.";
    // geoip
    GEOIP_RELOADS = "waypost_geoip_reloads_total", Counter, ["database", "result"],
        "Changes of the MMDB files (country, network, data_centre), by result: ok, or refused, which keeps the version \
         before.";
    GEOIP_BUILD_TIME = "waypost_geoip_build_timestamp_seconds", Gauge, ["database"],
        "When the MMDB file in use was built, in seconds since the epoch; 0 if none is configured.";
    // links
    LINKS = "waypost_links", Gauge, [],
        "Links in the served table.";
    LINKS_RELOADS = "waypost_links_reloads_total", Counter, ["result"],
        "Loads of the links file after the first, by result: ok; refused (invalid content); failed (cannot be \
         read).";
    LINKS_LAST_RELOAD_SUCCESS = "waypost_links_last_reload_success_timestamp_seconds", Gauge, [],
        "When the served links were loaded, in seconds since the epoch.";
    LINKS_LOAD_SECONDS = "waypost_links_load_duration_seconds", Histogram(SECONDS), [],
        "Time to read and check a links file and to build its table; refused files count too.";
    CATALOG_WRITE_ERRORS = "waypost_catalog_write_errors_total", Counter, [],
        "Writes that the catalog's file did not take.";
    LINKS_TOPIC_RECORDS = "waypost_links_topic_records_total", Counter, ["kind"],
        "Records of the topic of links that were read, by what became of them.";
    LINKS_TOPIC_REJECTED = "waypost_links_topic_rejected_total", Counter, ["reason"],
        "Records of the topic of links that break a rule and were skipped, by reason.";
    LINKS_TOPIC_REJECTED_KEPT = "waypost_links_topic_rejected_records", Gauge, [],
        "Skipped records of the topic of links whose keys have no good record since; GET /v1/rejected lists them.";
    LINKS_TOPIC_AT_END = "waypost_links_topic_at_end_timestamp_seconds", Gauge, [],
        "When the end of the topic of links was reached last, in seconds since the epoch; 0 if never. The links are \
         as old as that.";
    LINKS_TOPIC_OFFSET = "waypost_links_topic_next_offset", Gauge, [],
        "The offset up to which the topic of links is read and served.";
    LINKS_TOPIC_FINGERPRINT = "waypost_links_topic_fingerprint", Gauge, [],
        "48 bits of a sum of hashes over all links and their versions. Edges that serve the same links of a topic have \
         the same value.";
    LINKS_TOPIC_PROPAGATION_SECONDS = "waypost_links_topic_propagation_seconds", Histogram(SECONDS), [],
        "Time from the timestamp of a record of the topic of links to the moment at which this edge serves it, by the \
         clocks of both machines.";
    LINKS_TOPIC_REREADS = "waypost_links_topic_rereads_total", Counter, ["reason"],
        "Readings of the topic of links from its beginning, by reason.";
    LINKS_TOPIC_DIVERGED = "waypost_links_topic_diverged_links", Gauge, ["kind"],
        "Links that an edge would have otherwise that starts anew, as of the last time at which the topic of links was \
         read once more. only_here: served, without a good record in the topic. not_here: in the topic, not served.";
    LINKS_TOPIC_COMPARED = "waypost_links_topic_compared_timestamp_seconds", Gauge, [],
        "When the topic of links was read once more and compared with the links that are served, in seconds since the \
         epoch; 0 if never.";
    LINKS_TOPIC_SHRUNK = "waypost_links_topic_shrunk", Gauge, [],
        "1 while the topic of links lacks more than a tenth of the live links, which are served on; else 0.";
    LINKS_TOPIC_WRITES = "waypost_links_topic_writes_total", Counter, ["result"],
        "Transactions of this edge on the topic of links, by result: committed; fenced (another edge writes); failed.";
    // the journal
    CLICKS_JOURNALED = "waypost_clicks_journaled_total", Counter, ["topic", "lane"],
        "Clicks appended to the lane since the start.";
    CLICKS_RECOVERED = "waypost_clicks_recovered_total", Counter, ["topic", "lane"],
        "Undelivered clicks found in the lane at the start, damaged ones included.";
    CLICKS_QUARANTINED = "waypost_clicks_quarantined_total", Counter, ["topic", "lane"],
        "Clicks that are lost: their bytes are damaged, gone, or no click. The files are kept.";
    JOURNAL_BACKLOG_CLICKS = "waypost_journal_backlog_clicks", Gauge, ["topic", "lane"],
        "Clicks that are not delivered yet.";
    JOURNAL_BACKLOG_BYTES = "waypost_journal_backlog_bytes", Gauge, ["topic", "lane"],
        "Bytes from the first undelivered click to the last.";
    JOURNAL_OLDEST_UNDURABLE = "waypost_journal_oldest_undurable_age_seconds", Gauge, ["topic"],
        "Age of the oldest click that is neither delivered nor synced: the time span of clicks that a power loss \
         would cost. The time between two runs counts too.";
    JOURNAL_RING = "waypost_journal_ring_bytes", Gauge, ["topic", "lane"],
        "Bytes of the ring.";
    JOURNAL_RING_FREE = "waypost_journal_ring_free_bytes", Gauge, ["topic", "lane"],
        "Bytes of the ring that the worker may write.";
    JOURNAL_RING_CAPACITY = "waypost_journal_ring_capacity_seconds", Gauge, ["topic", "lane"],
        "Time in which the present click rate fills an empty ring: how long sink and disk may both fail.";
    JOURNAL_SPILLED_BYTES = "waypost_journal_spilled_bytes_total", Counter, ["topic"],
        "Bytes written to segments and synced.";
    JOURNAL_SPILL_ERRORS = "waypost_journal_spill_errors_total", Counter, ["topic", "reason"],
        "Failed rounds of spilling, by reason: disk (an I/O error); budget (max_disk_bytes is used up); stalled (the \
         disk has not answered for seconds).";
    JOURNAL_SPILL_STOPPED = "waypost_journal_spill_stopped", Gauge, ["topic"],
        "1 while a lane cannot be spilled or the disk does not answer. Until then only the ring and the sink hold \
         its clicks.";
    JOURNAL_RING_GONE = "waypost_journal_ring_gone", Gauge, ["topic"],
        "1 while a ring's file is removed or replaced. A kill of the process then loses the clicks that only the \
         ring holds.";
    JOURNAL_CORRUPT_FRAMES = "waypost_journal_corrupt_frames_total", Counter, ["topic", "lane"],
        "Damaged places found in rings and segments.";
    JOURNAL_DISK_USED = "waypost_journal_disk_used_bytes", Gauge, ["topic"],
        "Bytes of all segments.";
    JOURNAL_DISK_BUDGET = "waypost_journal_disk_budget_bytes", Gauge, ["topic"],
        "Bytes that all segments may take (journal.max_disk_bytes, journal.orphan.max_disk_bytes).";
    JOURNAL_DISK_FREE = "waypost_journal_disk_free_bytes", Gauge, ["topic"],
        "Bytes that segments can still take: the rest of the budget, or of the file system if that is less.";
    JOURNAL_DISK_TIME_LEFT = "waypost_journal_disk_time_left_seconds", Gauge, ["topic"],
        "Time until that space is used up at the present click rate if nothing is delivered.";
    JOURNAL_SYNC_SECONDS = "waypost_journal_sync_duration_seconds", Histogram(SECONDS), ["topic"],
        "Time of one fdatasync of a segment.";
    // delivery
    CLICKS_DELIVERED = "waypost_clicks_delivered_total", Counter, ["topic"],
        "Clicks acknowledged by Kafka, or synced in a click file.";
    CLICKS_DELIVERY_FAILED = "waypost_clicks_delivery_failed_total", Counter, ["topic", "code"],
        "Failed deliveries of a click, by the class of Kafka's error, or file_error. Each click is sent again.";
    CLICKS_DEAD_LETTERED = "waypost_clicks_dead_lettered_total", Counter, ["topic", "reason"],
        "Clicks that the broker refuses even alone. Each is kept whole in a dead-letter file, and a stub takes \
         its place in the topic. Not counted as delivered.";
    CLICKS_IN_FLIGHT = "waypost_clicks_in_flight", Gauge, ["topic"],
        "Clicks handed to the sink and not acknowledged yet.";
    CLICKS_BLOCKED = "waypost_clicks_blocked", Gauge, ["topic"],
        "Clicks that the broker refuses even alone and whose dead letter or stub cannot be written. They wait, \
         and the journal keeps everything behind them.";
    CLICKS_DELIVERY_SECONDS = "waypost_clicks_delivery_duration_seconds", Histogram(SECONDS), ["topic"],
        "Time from a click to its delivery, for the oldest click of each batch.";
    CLICKS_OLDEST_UNDELIVERED_SECONDS = "waypost_clicks_oldest_undelivered_age_seconds", Gauge, ["topic"],
        "Age of the oldest click that the delivery thread has read and not delivered.";
    CLICKS_LABELLED = "waypost_clicks_labelled_total", Counter, ["class"],
        "Clicks, by the class of their client.";
    CLICKS_DUPLICATE = "waypost_clicks_duplicate_total", Counter, ["basis"],
        "Clicks labelled as a repeated tap, by the basis of the label.";
    CLICKS_ALREADY_DELIVERED = "waypost_clicks_already_delivered_total", Counter, [],
        "Clicks that the last run had written to files, or committed to Kafka, without a note of it in the \
         journal. They are not sent again.";
    CLICKS_UNREADABLE = "waypost_clicks_unreadable_total", Counter, ["topic"],
        "Clicks in the format of a newer version. They wait for a version that reads them.";
    CLICKS_TIMESTAMP_SHIFTED = "waypost_clicks_timestamp_shifted_total", Counter, [],
        "Records sent with a shifted timestamp because the broker refused the click's own. The value has the true \
         time.";
    JOURNAL_READ_ERRORS = "waypost_journal_read_errors_total", Counter, ["topic"],
        "Failed reads of a segment by the delivery thread. Each is tried again.";
    LANE_STATEMENTS = "waypost_lane_statements_total", Counter, ["result"],
        "Lane statements sent to the topic of lanes, by result.";
    DELIVERY_STOPPED = "waypost_delivery_stopped", Gauge, ["topic", "reason"],
        "1 if delivery has stopped until somebody acts: another process delivers as this edge, or Kafka's \
         checkpoint and the journal contradict each other.";
    KAFKA_TRANSACTIONS = "waypost_kafka_transactions_total", Counter, ["result"],
        "Ended transactions under exactly-once, by result.";
    KAFKA_COMMIT_SECONDS = "waypost_kafka_commit_duration_seconds", Histogram(SECONDS), [],
        "Time of one commit, from its last record on.";
    KAFKA_PRODUCER_REBUILDS = "waypost_kafka_producer_rebuilds_total", Counter, [],
        "New producers created after a fatal error of the old one.";
    CLICK_FILES_ERRORS = "waypost_click_files_errors_total", Counter, ["topic", "operation"],
        "Errors with click files, by the operation that failed.";
    CLICK_FILES_WRITTEN_BYTES = "waypost_click_files_written_bytes_total", Counter, ["topic"],
        "Bytes synced in click files.";
    CLICK_FILES_DELETED = "waypost_click_files_deleted_total", Counter, ["topic"],
        "Click files deleted by delivery.files.keep_bytes or keep_age.";
    CLICK_FILES_SYNC_SECONDS = "waypost_click_files_sync_duration_seconds", Histogram(SECONDS), [],
        "Time of one fdatasync of a click file.";
    CLICK_FILES_FREE_BYTES = "waypost_click_files_free_bytes", Gauge, [],
        "Free bytes of the file system of the click files.";
    DEAD_LETTER_FILES_ERRORS = "waypost_dead_letter_files_errors_total", Counter, ["operation"],
        "Errors with dead-letter files, by the operation that failed; the reserve takes the dead letter.";
    DEAD_LETTER_FILES_WRITTEN_BYTES = "waypost_dead_letter_files_written_bytes_total", Counter, [],
        "Bytes synced in dead-letter files.";
    DEAD_LETTER_FILES_SYNC_SECONDS = "waypost_dead_letter_files_sync_duration_seconds", Histogram(SECONDS), [],
        "Time of one fdatasync of a dead-letter file.";
    CLICK_FILES_LOW_SPACE = "waypost_click_files_low_space", Gauge, [],
        "1 while the file system of the click files has less than 1 GiB or a twentieth of its size left.";
    // kafka
    KAFKA_ERRORS = "waypost_kafka_errors_total", Counter, ["class"],
        "Errors of the Kafka client, by class.";
    KAFKA_QUEUE_MESSAGES = "waypost_kafka_producer_queue_messages", Gauge, ["topic"],
        "Clicks in the producer's queue or in flight.";
    KAFKA_QUEUE_BYTES = "waypost_kafka_producer_queue_bytes", Gauge, ["topic"],
        "Bytes in the producer's queue or in flight.";
    KAFKA_MESSAGES = "waypost_kafka_messages_sent_total", Counter, [],
        "Records sent to brokers.";
    KAFKA_MESSAGE_BYTES = "waypost_kafka_message_bytes_total", Counter, [],
        "Bytes of the records sent, before compression.";
    KAFKA_REQUESTS = "waypost_kafka_requests_total", Counter, [],
        "Requests sent to brokers.";
    KAFKA_REQUEST_BYTES = "waypost_kafka_request_bytes_total", Counter, [],
        "Bytes sent to brokers, after compression.";
    KAFKA_RETRIES = "waypost_kafka_request_retries_total", Counter, [],
        "Requests sent again.";
    KAFKA_TIMEOUTS = "waypost_kafka_request_timeouts_total", Counter, [],
        "Requests that no broker answered in time.";
    KAFKA_DISCONNECTS = "waypost_kafka_disconnects_total", Counter, [],
        "Connections to brokers that ended.";
    KAFKA_BROKERS_UP = "waypost_kafka_brokers_up", Gauge, ["topic"],
        "Brokers with an open connection.";
    KAFKA_ROUND_TRIP_P99 = "waypost_kafka_round_trip_p99_seconds", Gauge, ["topic"],
        "99th percentile of the round trip of a request, for the slowest broker.";
    KAFKA_SEND_WAIT_P99 = "waypost_kafka_send_wait_p99_seconds", Gauge, ["topic"],
        "99th percentile of a request's wait before it is sent, for the slowest broker.";
    KAFKA_THROTTLE_MEAN = "waypost_kafka_throttle_mean_seconds", Gauge, ["topic"],
        "Mean time for which a broker's quota delayed requests, for the worst broker.";
    KAFKA_BATCH_MEAN_CLICKS = "waypost_kafka_batch_mean_clicks", Gauge, ["topic"],
        "Mean number of clicks in a batch.";
    KAFKA_TOPIC_REPLICATION = "waypost_kafka_topic_replication", Gauge, ["topic"],
        "Replicas of the partition of the topic that has the fewest, as last seen.";
    KAFKA_TOPIC_MIN_INSYNC = "waypost_kafka_topic_min_insync_replicas", Gauge, ["topic"],
        "min.insync.replicas of the topic as last seen; 0 if it may not be read.";
    KAFKA_TOPIC_ALARM = "waypost_kafka_topic_alarm", Gauge, ["topic", "reason"],
        "1 while the topic is missing, not authorized, has too few replicas, removes records too early, or \
         can lose links (links_unsafe), by reason.";
}

/// A handle on a counter, which is exported from now on, first as zero. `labels` are the values of its label names, in
/// order.
pub fn counter(metric: &Metric, labels: &[&str]) -> Counter {
    let handle = recorder_counter(metric, labels);
    handle.increment(0);
    handle
}

/// A handle on a gauge. `labels` are the values of its label names, in order.
pub fn gauge(metric: &Metric, labels: &[&str]) -> Gauge {
    metrics::with_recorder(|recorder| recorder.register_gauge(&metric_key(metric, labels), &METADATA))
}

/// A handle on a histogram. `labels` are the values of its label names, in order.
pub fn histogram(metric: &Metric, labels: &[&str]) -> Histogram {
    metrics::with_recorder(|recorder| recorder.register_histogram(&metric_key(metric, labels), &METADATA))
}

fn recorder_counter(metric: &Metric, labels: &[&str]) -> Counter {
    metrics::with_recorder(|recorder| recorder.register_counter(&metric_key(metric, labels), &METADATA))
}

static METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new("waypost", metrics::Level::INFO, Some(module_path!()));

fn metric_key(metric: &Metric, label_values: &[&str]) -> metrics::Key {
    debug_assert_eq!(metric.labels.len(), label_values.len(), "{}: one value a label", metric.name);
    let labels: Vec<Label> =
        metric.labels.iter().zip(label_values).map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    metrics::Key::from_parts(metric.name, labels)
}

/// A counter of one thread in front of a shared counter. An increment needs no atomic operation; the thread flushes the
/// sum from time to time.
pub struct LocalCounter {
    pending: Cell<u64>,
    shared: Counter,
}

impl LocalCounter {
    /// A counter at zero in front of `shared`.
    pub fn new(shared: Counter) -> LocalCounter {
        LocalCounter { pending: Cell::new(0), shared }
    }

    /// Adds one.
    pub fn increment(&self) {
        self.pending.set(self.pending.get() + 1);
    }

    /// Adds what was counted since the last flush to the shared counter, and returns that number.
    pub fn flush_and_return_added_count(&self) -> u64 {
        let count = self.pending.take();
        if count > 0 {
            self.shared.increment(count);
        }
        count
    }
}

/// Registers the help text and the unit of every metric. To be called once, when the recorder is installed.
pub fn describe_all_metrics() {
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
                MetricKind::Counter => recorder.describe_counter(name, unit, metric.help.into()),
                MetricKind::Gauge => recorder.describe_gauge(name, unit, metric.help.into()),
                MetricKind::Histogram(_) => recorder.describe_histogram(name, unit, metric.help.into()),
            }
        }
    });
}
