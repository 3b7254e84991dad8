//! The keys of librdkafka that a promise rests on, and what breaks it.

/// Spellings of one setting that librdkafka knows by several names; the canonical one first.
const ALIASES: &[&[&str]] = &[
    &["acks", "request.required.acks"],
    &["message.timeout.ms", "delivery.timeout.ms"],
    &["max.in.flight.requests.per.connection", "max.in.flight"],
    &["message.send.max.retries", "retries"],
    &["linger.ms", "queue.buffering.max.ms"],
    &["compression.type", "compression.codec"],
    &["bootstrap.servers", "metadata.broker.list"],
];

/// The name under which a setting is kept.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|names| names.contains(&key)).map_or(key, |names| names[0])
}

/// Settings that a consumer or an admin client would warn about.
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

/// Refuses a value that would break a promise, with the reason and what is allowed.
pub(super) fn check(key: &str, value: &str) -> Result<(), String> {
    let value = value.trim().to_ascii_lowercase();
    let one_of = |allowed: &[&str], reason: &str| {
        if allowed.contains(&value.as_str()) { Ok(()) } else { Err(format!("`{value}`: {reason}; leave it out")) }
    };
    match canonical(key) {
        "bootstrap.servers" => Err("name the brokers in `kafka.brokers` or by --kafka".to_owned()),
        "acks" => one_of(&["all", "-1"], "a click counts as delivered only when every in-sync replica has it"),
        "enable.idempotence" => one_of(&["true"], "without it a retry would write clicks twice"),
        "message.timeout.ms" => one_of(&["0"], "a click never expires in the queue, however long the broker is away"),
        "message.send.max.retries" => one_of(&["2147483647"], "a click is tried until it is delivered"),
        "max.in.flight.requests.per.connection" => {
            one_of(&["1", "2", "3", "4", "5"], "idempotence allows 1 to 5 requests in flight")
        }
        "partitioner" => one_of(&["murmur2_random"], "keys have to fall where the Java client would put them"),
        "allow.auto.create.topics" => {
            one_of(&["false"], "topics are made by `waypost kafka setup`, with three replicas")
        }
        "delivery.report.only.error" => one_of(&["false"], "a click leaves the journal only by its delivery report"),
        "queuing.strategy" => one_of(&["fifo"], "clicks are shipped oldest first"),
        "transactional.id" => Err(
            "it is made of the edge's name where kafka.delivery is \"exactly-once\", and there is none elsewhere; leave it out"
                .to_owned(),
        ),
        "isolation.level" => one_of(&["read_committed"], "what was not committed is not there"),
        mock if mock.starts_with("test.mock.") => {
            Err("clicks would go to librdkafka's mock and be lost; leave it out".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_promise_is_refused_under_each_of_its_names() {
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
            assert!(check(key, value).is_err(), "{key}={value}");
        }
        for (key, value) in [("acks", "-1"), ("acks", "ALL"), ("max.in.flight", "1"), ("linger.ms", "50")] {
            assert_eq!(check(key, value), Ok(()), "{key}={value}");
        }
    }
}
