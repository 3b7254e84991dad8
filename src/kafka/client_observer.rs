//! Receives what a librdkafka client reports: log lines and errors go to our log, rate-limited; statistics go to
//! metrics.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::ProducerContext,
};

use super::{
    Refusal,
    connection_failure::explain_connection_failure,
    statistics::{ClientMetrics, Statistics, Totals},
};
use crate::faults::{self, log_fault};

/// The facility of librdkafka's lines about a connection that failed.
const CONNECTION_FAILED: &str = "FAIL";
/// The time between two log lines about the same subject: while every broker is away, each would cause ten lines a
/// second.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Subjects that are rate-limited on their own; all further ones share one limit.
const MAX_SUBJECTS: usize = 64;
/// An error reaches a producer's context twice, from the client and from the producer: the same error within this time
/// is the echo.
const ECHO_INTERVAL: Duration = Duration::from_millis(100);

/// The context of one client. The producer's context embeds one and forwards [`ClientContext::log`],
/// [`ClientContext::stats_raw`] and [`ClientContext::error`]; commands use it directly.
pub struct ClientObserver {
    /// For log lines; empty for a short-lived client.
    topic: String,
    /// `None` for a short-lived client, which also logs nothing: it keeps the last error for a message.
    metrics: Option<ClientMetrics>,
    state: Mutex<ObserverState>,
}

#[derive(Default)]
struct ObserverState {
    log_limits: HashMap<String, LogLimit>,
    last_error: Option<LastError>,
    /// What the connection that failed last did, in librdkafka's words, and which key to look at.
    last_connection_failure: Option<String>,
    totals: Totals,
}

struct LogLimit {
    logged_at: Instant,
    suppressed: u64,
}

struct LastError {
    reason: String,
    at: Instant,
}

impl ClientObserver {
    /// An observer for the producer of a topic: it logs, and exports statistics under the topic's name.
    pub fn new(topic: &str) -> ClientObserver {
        ClientObserver {
            topic: topic.to_owned(),
            metrics: Some(ClientMetrics::register(topic)),
            state: Mutex::default(),
        }
    }

    /// An observer for a short-lived client: it only keeps the last error, for a message.
    pub fn silent() -> ClientObserver {
        ClientObserver { topic: String::new(), metrics: None, state: Mutex::default() }
    }

    /// The last error of the client in librdkafka's words, which name the broker; else what its last failed connection
    /// did.
    pub fn last_error(&self) -> Option<String> {
        let state = self.state();
        state.last_error.as_ref().map(|error| error.reason.clone()).or_else(|| state.last_connection_failure.clone())
    }

    fn is_silent(&self) -> bool {
        self.metrics.is_none()
    }

    fn state(&self) -> MutexGuard<'_, ObserverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows one log line about `subject` in each interval. Returns the lines suppressed since the last one; `None` if
    /// this line is suppressed too.
    fn try_acquire_log_line_and_return_suppressed_count(&self, subject: &str) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state();
        let limits = &mut state.log_limits;
        let subject = if limits.len() < MAX_SUBJECTS || limits.contains_key(subject) { subject } else { "" };
        match limits.get_mut(subject) {
            Some(limit) if now.duration_since(limit.logged_at) < LOG_INTERVAL => {
                limit.suppressed += 1;
                None
            }
            Some(limit) => {
                limit.logged_at = now;
                Some(std::mem::take(&mut limit.suppressed))
            }
            None => {
                limits.insert(subject.to_owned(), LogLimit { logged_at: now, suppressed: 0 });
                Some(0)
            }
        }
    }

    /// The summary with what the last failed connection did. A broker that ends a connection because it expects another
    /// protocol is no error for librdkafka, so nothing else tells of it.
    fn describe_that_no_broker_can_be_reached(&self) -> String {
        let failure = self.state().last_connection_failure.clone();
        let reason = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
        format!("no broker can be reached{reason}")
    }

    /// Keeps an error for messages. Returns whether it is the echo of the last one.
    fn remember_error_and_return_if_it_repeats_last(&self, reason: &str, is_summary: bool) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        // "Every broker is away" says less than why one is.
        if is_summary && state.last_error.is_some() {
            return false;
        }
        let last = state.last_error.replace(LastError { reason: reason.to_owned(), at: now });
        last.is_some_and(|last| last.reason == reason && now.duration_since(last.at) < ECHO_INTERVAL)
    }
}

impl ClientContext for ClientObserver {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == CONNECTION_FAILED {
            self.state().last_connection_failure = Some(explain_connection_failure(line));
        }
        // CONFWARN: a setting is meant for another kind of client, and the user cannot separate the two.
        let debug = facility == "CONFWARN" || matches!(level, RDKafkaLogLevel::Debug);
        if self.is_silent() || debug {
            return tracing::debug!(target: "librdkafka", facility, "{line}");
        }
        let Some(suppressed) = self.try_acquire_log_line_and_return_suppressed_count(facility) else { return };
        match level {
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, suppressed, "{line}");
            }
            // A broker that is away is no failure of this process: clicks wait. The delivery logs what it means for
            // them.
            _ => tracing::warn!(target: "librdkafka", facility, suppressed, "{line}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some(metrics) = &self.metrics else { return };
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                let before = std::mem::replace(&mut self.state().totals, statistics.sum_counters_over_brokers());
                metrics.set_gauges_and_add_to_counters(&statistics, &before);
            }
            Err(why) => tracing::debug!("librdkafka's statistics cannot be decoded: {why}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let is_summary = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        // librdkafka does not count brokers that it never met: "0/1 brokers are down".
        let reason = &*if is_summary { self.describe_that_no_broker_can_be_reached() } else { reason.to_owned() };
        if self.remember_error_and_return_if_it_repeats_last(reason, is_summary) {
            return;
        }
        let class = Refusal::of(&error);
        let Some(metrics) = &self.metrics else { return };
        metrics.count_error(class);
        if let Some(suppressed) = self.try_acquire_log_line_and_return_suppressed_count(class.as_str()) {
            let topic = self.topic.as_str();
            log_fault!(warn, faults::KAFKA_ERROR, topic, class = class.as_str(), suppressed, "kafka: {reason}");
        }
    }
}

impl ConsumerContext for ClientObserver {}

/// For a producer that is only asked for metadata.
impl ProducerContext for ClientObserver {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, _: ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_logged_once_an_interval_and_suppressed_lines_are_counted() {
        let observer = ClientObserver::silent();
        assert_eq!(observer.try_acquire_log_line_and_return_suppressed_count("FAIL"), Some(0));
        assert_eq!(observer.try_acquire_log_line_and_return_suppressed_count("FAIL"), None);
        assert_eq!(observer.try_acquire_log_line_and_return_suppressed_count("FAIL"), None);
        assert_eq!(observer.try_acquire_log_line_and_return_suppressed_count("OTHER"), Some(0));
        let earlier = Instant::now().checked_sub(LOG_INTERVAL).unwrap();
        observer.state().log_limits.get_mut("FAIL").unwrap().logged_at = earlier;
        assert_eq!(observer.try_acquire_log_line_and_return_suppressed_count("FAIL"), Some(2));
    }

    #[test]
    fn a_summary_names_no_count_of_brokers() {
        let observer = ClientObserver::silent();
        observer.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "0/1 brokers are down");
        assert_eq!(observer.last_error().unwrap(), "no broker can be reached");
    }

    #[test]
    fn a_summary_says_what_the_connection_did_and_which_key_to_look_at() {
        let observer = ClientObserver::silent();
        let line = "[thrd:k:9093/bootstrap]: k:9093/bootstrap: Disconnected: connection closed by peer \
                    (after 8ms in state APIVERSION_QUERY)";
        observer.log(RDKafkaLogLevel::Info, "FAIL", line);
        observer.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let told = observer.last_error().unwrap();
        assert!(
            told.starts_with("no broker can be reached: k:9093/bootstrap: Disconnected: connection closed"),
            "{told}"
        );
        assert!(told.contains("\"security.protocol\" in [kafka.properties]"), "{told}");
    }

    #[test]
    fn rate_limited_subjects_are_bounded() {
        let observer = ClientObserver::silent();
        for number in 0..10 * MAX_SUBJECTS {
            observer.try_acquire_log_line_and_return_suppressed_count(&format!("subject {number}"));
        }
        assert!(observer.state().log_limits.len() == MAX_SUBJECTS + 1);
    }
}
