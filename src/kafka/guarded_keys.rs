//! The keys of librdkafka on which a guarantee rests, and the values that would break it.

/// The names of settings that librdkafka knows by several names; the canonical name first.
const ALIASES: &[&[&str]] = &[
    &["acks", "request.required.acks"],
    &["message.timeout.ms", "delivery.timeout.ms"],
    &["max.in.flight.requests.per.connection", "max.in.flight"],
    &["message.send.max.retries", "retries"],
    &["linger.ms", "queue.buffering.max.ms"],
    &["compression.type", "compression.codec"],
    &["bootstrap.servers", "metadata.broker.list"],
];

/// The name of a setting that librdkafka knows by several names.
pub(super) fn canonical_key(key: &str) -> &str {
    ALIASES.iter().find(|names| names.contains(&key)).map_or(key, |names| names[0])
}

/// The producer's settings, about which a consumer or an admin client would warn.
pub(super) const PRODUCER_ONLY: &[&str] = &[
    "acks",
    "enable.idempotence",
    "message.timeout.ms",
    "request.timeout.ms",
    "linger.ms",
    "batch.num.messages",
    "batch.size",
    "compression.type",
    "compression.level",
    "partitioner",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.backpressure.threshold",
    "enable.gapless.guarantee",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "statistics.interval.ms",
];

/// Refuses a value that would break a guarantee; the error names the reason.
pub(super) fn validate_value_keeps_guarantees(key: &str, value: &str) -> Result<(), String> {
    let value = value.trim().to_ascii_lowercase();
    let one_of = |allowed: &[&str], reason: &str| {
        if allowed.contains(&value.as_str()) { Ok(()) } else { Err(format!("`{value}`: {reason}; leave it out")) }
    };
    match canonical_key(key) {
        "bootstrap.servers" => Err("name the brokers in `kafka.brokers` or by --kafka".to_owned()),
        "acks" => one_of(&["all", "-1"], "a click is delivered only when every in-sync replica has it"),
        "enable.idempotence" => one_of(&["true"], "without it a retry would write clicks twice"),
        "message.timeout.ms" => one_of(&["0"], "a click never expires in the queue, however long the broker is away"),
        "message.send.max.retries" => one_of(&["2147483647"], "a click is tried until it is delivered"),
        "max.in.flight.requests.per.connection" => {
            one_of(&["1", "2", "3", "4", "5"], "idempotence allows 1 to 5 requests in flight")
        }
        "partitioner" => {
            one_of(&["murmur2_random"], "keys must go to the partitions that the Java client would choose")
        }
        "allow.auto.create.topics" => {
            one_of(&["false"], "topics are created by `waypost kafka setup`, with three replicas")
        }
        "delivery.report.only.error" => one_of(&["false"], "a click leaves the journal only by its delivery report"),
        "queuing.strategy" => one_of(&["fifo"], "clicks are sent oldest first"),
        "transactional.id" => Err(
            "it is the edge's name where kafka.delivery is \"exactly-once\", and is not set elsewhere; leave it out"
                .to_owned(),
        ),
        "isolation.level" => one_of(&["read_committed"], "records that are not committed must not be read"),
        mock if mock.starts_with("test.mock.") => {
            Err("clicks would go to librdkafka's mock cluster and be lost; leave it out".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_break_a_guarantee_is_refused_under_each_name_of_its_key() {
        for (key, value) in [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("delivery.timeout.ms", "120000"),
            ("retries", "3"),
            ("max.in.flight", "6"),
            ("partitioner", "consistent_random"),
            ("allow.auto.create.topics", "true"),
            ("delivery.report.only.error", "true"),
            ("transactional.id", "x"),
            ("metadata.broker.list", "h:1"),
            ("test.mock.num.brokers", "3"),
        ] {
            assert!(validate_value_keeps_guarantees(key, value).is_err(), "{key}={value}");
        }
        for (key, value) in [("acks", "-1"), ("acks", "ALL"), ("max.in.flight", "1"), ("linger.ms", "50")] {
            assert_eq!(validate_value_keeps_guarantees(key, value), Ok(()), "{key}={value}");
        }
    }
}
