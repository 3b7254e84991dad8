//! librdkafka's statistics as metrics.

use std::collections::HashMap;

use metrics::{Counter, Gauge};
use serde::Deserialize;

use super::Refusal;
use crate::metrics as table;

/// The part of librdkafka's statistics that is exported; its STATISTICS.md describes each field.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Statistics {
    msg_cnt: u64,
    msg_size: u64,
    txmsgs: u64,
    txmsg_bytes: u64,
    brokers: HashMap<String, BrokerStatistics>,
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BrokerStatistics {
    nodeid: i64,
    state: String,
    tx: u64,
    txbytes: u64,
    txretries: u64,
    req_timeouts: u64,
    disconnects: u64,
    rtt: WindowStatistics,
    outbuf_latency: WindowStatistics,
    throttle: WindowStatistics,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TopicStatistics {
    batchcnt: WindowStatistics,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WindowStatistics {
    avg: i64,
    p99: i64,
}

/// The sums that only grow while a client lives.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    messages: u64,
    message_bytes: u64,
    requests: u64,
    bytes: u64,
    retries: u64,
    timeouts: u64,
    disconnects: u64,
}

impl Statistics {
    pub(super) fn sum_counters_over_brokers(&self) -> Totals {
        let sum = |of: fn(&BrokerStatistics) -> u64| self.brokers.values().map(of).sum();
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

/// The metric handles of one client. Counters go on from where an earlier client of this process left them.
pub(super) struct ClientMetrics {
    queue_messages: Gauge,
    queue_bytes: Gauge,
    brokers_up: Gauge,
    round_trip_p99: Gauge,
    send_wait_p99: Gauge,
    throttle_mean: Gauge,
    batch_mean_clicks: Gauge,
    messages: Counter,
    message_bytes: Counter,
    requests: Counter,
    bytes: Counter,
    retries: Counter,
    timeouts: Counter,
    disconnects: Counter,
    errors: [Counter; Refusal::ALL.len()],
}

impl ClientMetrics {
    pub(super) fn register(topic: &str) -> ClientMetrics {
        ClientMetrics {
            queue_messages: table::gauge(&table::KAFKA_QUEUE_MESSAGES, &[topic]),
            queue_bytes: table::gauge(&table::KAFKA_QUEUE_BYTES, &[topic]),
            brokers_up: table::gauge(&table::KAFKA_BROKERS_UP, &[topic]),
            round_trip_p99: table::gauge(&table::KAFKA_ROUND_TRIP_P99, &[topic]),
            send_wait_p99: table::gauge(&table::KAFKA_SEND_WAIT_P99, &[topic]),
            throttle_mean: table::gauge(&table::KAFKA_THROTTLE_MEAN, &[topic]),
            batch_mean_clicks: table::gauge(&table::KAFKA_BATCH_MEAN_CLICKS, &[topic]),
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

    /// Counts an error of the client.
    pub(super) fn count_error(&self, class: Refusal) {
        if let Some(at) = Refusal::ALL.iter().position(|other| *other == class) {
            self.errors[at].increment(1);
        }
    }

    /// Sets the gauges, and adds to the counters what came since the `before` totals.
    pub(super) fn set_gauges_and_add_to_counters(&self, statistics: &Statistics, before: &Totals) {
        let totals = statistics.sum_counters_over_brokers();
        let worst =
            |of: fn(&BrokerStatistics) -> i64| statistics.brokers.values().map(of).max().unwrap_or(0).max(0) as f64;
        self.queue_messages.set(statistics.msg_cnt as f64);
        self.queue_bytes.set(statistics.msg_size as f64);
        // Entries of bootstrap addresses and of the group coordinator have negative ids: their brokers are listed
        // again.
        let up = statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count();
        self.brokers_up.set(up as f64);
        self.round_trip_p99.set(worst(|broker| broker.rtt.p99) / 1e6);
        self.send_wait_p99.set(worst(|broker| broker.outbuf_latency.p99) / 1e6);
        self.throttle_mean.set(worst(|broker| broker.throttle.avg) / 1e3);
        self.batch_mean_clicks
            .set(statistics.topics.values().map(|topic| topic.batchcnt.avg).max().unwrap_or(0).max(0) as f64);
        for (counter, total, before) in [
            (&self.messages, totals.messages, before.messages),
            (&self.message_bytes, totals.message_bytes, before.message_bytes),
            (&self.requests, totals.requests, before.requests),
            (&self.bytes, totals.bytes, before.bytes),
            (&self.retries, totals.retries, before.retries),
            (&self.timeouts, totals.timeouts, before.timeouts),
            (&self.disconnects, totals.disconnects, before.disconnects),
        ] {
            counter.increment(total.saturating_sub(before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_are_zero_and_totals_are_sums_over_brokers() {
        let json = br#"{"msg_cnt":7,"txmsgs":3,"brokers":{"a":{"nodeid":1,"state":"UP","tx":5,"disconnects":1},
            "b":{"nodeid":-1,"state":"UP","tx":2}},"topics":{},"unknown":{}}"#;
        let statistics: Statistics = serde_json::from_slice(json).unwrap();
        let totals = statistics.sum_counters_over_brokers();
        assert_eq!((statistics.msg_cnt, totals.messages, totals.requests, totals.disconnects), (7, 3, 7, 1));
    }
}
