//! What a failed connection to a broker means, and which key an operator should look at.

/// Parts of librdkafka's line, and what they mean. The first row that fits counts.
const MEANINGS: &[(&[&str], &str)] = &[
    (
        &["PLAINTEXT broker listener"],
        "this port speaks no TLS; look at \"security.protocol\" in [kafka.properties], and at the port in \
         kafka.brokers",
    ),
    (
        &["certificate verify failed", "self-signed", "self signed", "unable to get local issuer"],
        "the broker's certificate is not trusted; look at \"ssl.ca.location\" in [kafka.properties]",
    ),
    (
        &["SSL handshake failed"],
        "the TLS handshake failed; look at \"ssl.*\" and \"security.protocol\" in [kafka.properties]",
    ),
    (
        &["APIVERSION_QUERY", "ApiVersion"],
        "the broker ended the connection before it answered, as a port does that speaks TLS or expects a login; look \
         at \"security.protocol\" in [kafka.properties], and at the port in kafka.brokers",
    ),
    (&["SASL", "uthentication", "AUTH_"], "the login failed; look at \"sasl.*\" in [kafka.properties]"),
    (
        &["Failed to resolve", "Connection refused", "Connection setup timed out", "timed out"],
        "look at kafka.brokers, and at the names that the brokers advertise (advertised.listeners)",
    ),
];

/// The line of a failed connection without its thread's name, with what it means.
pub(super) fn explain_connection_failure(line: &str) -> String {
    let text = match line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, text)) => text,
        None => line,
    };
    let meaning = MEANINGS.iter().find(|(parts, _)| parts.iter().any(|part| text.contains(part)));
    meaning.map_or_else(|| text.to_owned(), |(_, meaning)| format!("{text}; {meaning}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_broker_what_happened_and_the_key() {
        for (line, key) in [
            (
                "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN \
                 (after 8ms in state APIVERSION_QUERY)",
                "security.protocol",
            ),
            (
                "ssl://h:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
                "speaks no TLS",
            ),
            ("ssl://h:1/0: SSL handshake failed: error:0A000086: certificate verify failed", "ssl.ca.location"),
            ("h:1/bootstrap: Failed to resolve 'h:1': Name or service not known", "advertised.listeners"),
            ("sasl_ssl://h:1/0: SASL authentication error: Authentication failed", "sasl.*"),
            ("h:1/0: Connect to ipv4#127.0.0.1:1 failed: Connection refused", "kafka.brokers"),
        ] {
            let told = explain_connection_failure(line);
            assert!(told.contains("h:1") && told.contains(key) && !told.contains("thrd"), "{told}");
        }
        assert_eq!(explain_connection_failure("h:1/0: something new"), "h:1/0: something new");
    }
}
