//! What librdkafka says: its log lines and errors into ours, rate-limited, and its statistics into metrics.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::ProducerContext,
};
use serde::Deserialize;

use super::Refusal;
use crate::{
    faults::{self, say},
    metrics as table,
};

/// At most one line in this time about the same thing: with every broker away each of them would write ten a second.
const QUIET: Duration = Duration::from_secs(30);
/// Things told apart for [`QUIET`]; beyond them everything shares one.
const THINGS: usize = 64;
/// An error reaches a producer's context twice, by the client and by the producer; the second within this time is the echo.
const ECHO: Duration = Duration::from_millis(100);

/// Listens to one client. The shipper's own context embeds one and forwards [`Observer::log`], [`Observer::stats_raw`] and
/// [`Observer::error`]; a tool uses it as it is.
pub struct Observer {
    numbers: Option<Numbers>,
    heard: Mutex<Heard>,
    /// Whether lines below an error go to our log; a short-lived tool only keeps the last error for its message.
    aloud: bool,
}

#[derive(Default)]
struct Heard {
    lines: HashMap<String, Line>,
    last_error: Option<(String, Instant)>,
    totals: Totals,
}

struct Line {
    said: Instant,
    kept_back: u64,
}

impl Observer {
    /// For a producer that lives as long as the process, or until it is rebuilt: logs and exports statistics.
    pub fn new() -> Observer {
        Observer { numbers: Some(Numbers::new()), heard: Mutex::default(), aloud: true }
    }

    /// For a client that lives for one question: keeps the last error for the answer's message.
    pub fn silent() -> Observer {
        Observer { numbers: None, heard: Mutex::default(), aloud: false }
    }

    /// The last error that the client met, as librdkafka words it (it names the broker).
    pub fn last_error(&self) -> Option<String> {
        self.heard().last_error.as_ref().map(|(reason, _)| reason.clone())
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to say something about `thing` now: `Some` with how often it was kept back since it was said last.
    fn may_say(&self, thing: &str) -> Option<u64> {
        let now = Instant::now();
        let mut heard = self.heard();
        let thing = if heard.lines.len() < THINGS || heard.lines.contains_key(thing) { thing } else { "" };
        match heard.lines.get_mut(thing) {
            Some(line) if now.duration_since(line.said) < QUIET => {
                line.kept_back += 1;
                None
            }
            Some(line) => {
                line.said = now;
                Some(std::mem::take(&mut line.kept_back))
            }
            None => {
                heard.lines.insert(thing.to_owned(), Line { said: now, kept_back: 0 });
                Some(0)
            }
        }
    }
}

impl Default for Observer {
    fn default() -> Observer {
        Observer::new()
    }
}

impl ClientContext for Observer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // CONFWARN: a setting meant for another kind of client. The user cannot do better.
        if !self.aloud || facility == "CONFWARN" {
            return tracing::debug!(target: "librdkafka", facility, "{line}");
        }
        if matches!(level, RDKafkaLogLevel::Debug) {
            return tracing::debug!(target: "librdkafka", facility, "{line}");
        }
        let Some(kept_back) = self.may_say(facility) else { return };
        match level {
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, kept_back, "{line}");
            }
            // A broker that is away is no failure of this process: clicks wait. What it means is said by the shipper.
            _ => tracing::warn!(target: "librdkafka", facility, kept_back, "{line}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some(numbers) = &self.numbers else { return };
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(now) => {
                let before = std::mem::replace(&mut self.heard().totals, now.totals());
                numbers.export(&now, &before);
            }
            Err(why) => tracing::debug!("librdkafka's statistics are not as expected: {why}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let now = Instant::now();
        let summary = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        // librdkafka leaves out brokers that it never met: "0/1 brokers are down".
        let reason = if summary { "no broker can be reached" } else { reason };
        let echo = {
            let mut heard = self.heard();
            // That all brokers are down says less than why one is.
            let before = if summary && heard.last_error.is_some() {
                None
            } else {
                heard.last_error.replace((reason.to_owned(), now))
            };
            before.is_some_and(|(before, at)| before == reason && now.duration_since(at) < ECHO)
        };
        if echo {
            return;
        }
        let class = Refusal::of(&error);
        if let Some(numbers) = &self.numbers {
            numbers.error(class);
        }
        if self.aloud
            && let Some(kept_back) = self.may_say(class.as_str())
        {
            say!(warn, faults::KAFKA_ERROR, class = class.as_str(), kept_back, "kafka: {reason}");
        }
    }
}

/// For a producer that is only asked for metadata; the shipper has its own.
impl ConsumerContext for Observer {}

impl ProducerContext for Observer {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, _: ()) {}
}

/// The part of librdkafka's statistics that is exported (STATISTICS.md).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Statistics {
    msg_cnt: u64,
    msg_size: u64,
    txmsgs: u64,
    txmsg_bytes: u64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodeid: i64,
    state: String,
    tx: u64,
    txbytes: u64,
    txretries: u64,
    req_timeouts: u64,
    disconnects: u64,
    rtt: Window,
    outbuf_latency: Window,
    throttle: Window,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Topic {
    batchcnt: Window,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Window {
    avg: i64,
    p99: i64,
}

/// What only grows while a client lives.
#[derive(Clone, Copy, Default)]
struct Totals {
    messages: u64,
    message_bytes: u64,
    requests: u64,
    bytes: u64,
    retries: u64,
    timeouts: u64,
    disconnects: u64,
}

impl Statistics {
    fn totals(&self) -> Totals {
        let sum = |of: fn(&Broker) -> u64| self.brokers.values().map(of).sum();
        Totals {
            messages: self.txmsgs,
            message_bytes: self.txmsg_bytes,
            requests: sum(|broker| broker.tx),
            bytes: sum(|broker| broker.txbytes),
            retries: sum(|broker| broker.txretries),
            timeouts: sum(|broker| broker.req_timeouts),
            disconnects: sum(|broker| broker.disconnects),
        }
    }
}

/// The metric handles. Counters go on from where an earlier client of this process left them.
struct Numbers {
    queue_messages: Gauge,
    queue_bytes: Gauge,
    brokers_up: Gauge,
    round_trip: Gauge,
    waiting: Gauge,
    throttled: Gauge,
    batch: Gauge,
    messages: Counter,
    message_bytes: Counter,
    requests: Counter,
    bytes: Counter,
    retries: Counter,
    timeouts: Counter,
    disconnects: Counter,
    errors: [Counter; Refusal::ALL.len()],
}

impl Numbers {
    fn new() -> Numbers {
        Numbers {
            queue_messages: table::gauge(&table::KAFKA_QUEUE_MESSAGES, &[]),
            queue_bytes: table::gauge(&table::KAFKA_QUEUE_BYTES, &[]),
            brokers_up: table::gauge(&table::KAFKA_BROKERS_UP, &[]),
            round_trip: table::gauge(&table::KAFKA_ROUND_TRIP_SECONDS, &[]),
            waiting: table::gauge(&table::KAFKA_SEND_WAIT_SECONDS, &[]),
            throttled: table::gauge(&table::KAFKA_THROTTLE_SECONDS, &[]),
            batch: table::gauge(&table::KAFKA_BATCH_CLICKS, &[]),
            messages: table::counter(&table::KAFKA_MESSAGES, &[]),
            message_bytes: table::counter(&table::KAFKA_MESSAGE_BYTES, &[]),
            requests: table::counter(&table::KAFKA_REQUESTS, &[]),
            bytes: table::counter(&table::KAFKA_REQUEST_BYTES, &[]),
            retries: table::counter(&table::KAFKA_RETRIES, &[]),
            timeouts: table::counter(&table::KAFKA_TIMEOUTS, &[]),
            disconnects: table::counter(&table::KAFKA_DISCONNECTS, &[]),
            errors: Refusal::ALL.map(|class| table::counter(&table::KAFKA_ERRORS, &[class.as_str()])),
        }
    }

    fn error(&self, class: Refusal) {
        if let Some(at) = Refusal::ALL.iter().position(|other| *other == class) {
            self.errors[at].increment(1);
        }
    }

    fn export(&self, now: &Statistics, before: &Totals) {
        let totals = now.totals();
        let worst = |of: fn(&Broker) -> i64| now.brokers.values().map(of).max().unwrap_or(0).max(0) as f64;
        self.queue_messages.set(now.msg_cnt as f64);
        self.queue_bytes.set(now.msg_size as f64);
        // Bootstrap entries and the group coordinator's have negative ids and stand for brokers listed again.
        let up = now.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count();
        self.brokers_up.set(up as f64);
        self.round_trip.set(worst(|broker| broker.rtt.p99) / 1e6);
        self.waiting.set(worst(|broker| broker.outbuf_latency.p99) / 1e6);
        self.throttled.set(worst(|broker| broker.throttle.avg) / 1e3);
        self.batch.set(now.topics.values().map(|topic| topic.batchcnt.avg).max().unwrap_or(0).max(0) as f64);
        for (counter, now, before) in [
            (&self.messages, totals.messages, before.messages),
            (&self.message_bytes, totals.message_bytes, before.message_bytes),
            (&self.requests, totals.requests, before.requests),
            (&self.bytes, totals.bytes, before.bytes),
            (&self.retries, totals.retries, before.retries),
            (&self.timeouts, totals.timeouts, before.timeouts),
            (&self.disconnects, totals.disconnects, before.disconnects),
        ] {
            counter.increment(now.saturating_sub(before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_said_once_and_then_counted() {
        let observer = Observer::silent();
        assert_eq!(observer.may_say("FAIL"), Some(0));
        assert_eq!(observer.may_say("FAIL"), None);
        assert_eq!(observer.may_say("FAIL"), None);
        assert_eq!(observer.may_say("OTHER"), Some(0));
        let earlier = Instant::now().checked_sub(QUIET).unwrap();
        observer.heard().lines.get_mut("FAIL").unwrap().said = earlier;
        assert_eq!(observer.may_say("FAIL"), Some(2));
    }

    #[test]
    fn brokers_that_were_never_met_are_not_counted() {
        let observer = Observer::silent();
        observer.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "0/1 brokers are down");
        assert_eq!(observer.last_error().unwrap(), "no broker can be reached");
    }

    #[test]
    fn things_told_apart_are_bounded() {
        let observer = Observer::silent();
        for thing in 0..10 * THINGS {
            observer.may_say(&format!("thing {thing}"));
        }
        assert!(observer.heard().lines.len() <= THINGS + 1);
    }

    #[test]
    fn statistics_are_read_where_fields_are_missing_and_totals_are_summed() {
        let json = br#"{"msg_cnt":7,"txmsgs":3,"brokers":{"a":{"nodeid":1,"state":"UP","tx":5,"disconnects":1},
            "b":{"nodeid":-1,"state":"UP","tx":2}},"topics":{},"unknown":{}}"#;
        let statistics: Statistics = serde_json::from_slice(json).unwrap();
        let totals = statistics.totals();
        assert_eq!((statistics.msg_cnt, totals.messages, totals.requests, totals.disconnects), (7, 3, 7, 1));
    }
}
