//! The list of brokers, `HOST:PORT` with commas.

use crate::uri::host::find_valid_host_of_authority;

/// Checks a list of brokers.
///
/// # Errors
/// The first entry that is no broker, why, and what is allowed.
pub(super) fn validate_broker_list(brokers: &str) -> Result<(), String> {
    brokers.split(',').map(str::trim).try_for_each(|broker| {
        validate_broker(broker).map_err(|why| {
            format!("`{broker}` {why}; allowed: HOST:PORT, several with commas between them: HOST:PORT,HOST:PORT")
        })
    })
}

fn validate_broker(broker: &str) -> Result<(), String> {
    if let Some((scheme, _)) = broker.split_once("://") {
        let protocol = scheme.to_ascii_lowercase();
        return Err(match protocol.as_str() {
            "plaintext" | "ssl" | "sasl_ssl" | "sasl_plaintext" => format!(
                "has the scheme {scheme}://, which does not choose the protocol; set \"security.protocol\" = \
                 \"{protocol}\" in [kafka.properties], and write the broker without it"
            ),
            _ => format!("has the scheme {scheme}://; Kafka has none"),
        });
    }
    if broker.contains([';', ' ', '|']) {
        return Err("has brokers with something else than a comma between them".to_owned());
    }
    let port = broker.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match (find_valid_host_of_authority(broker.as_bytes()), port) {
        (Some(host), Some(port)) if port != 0 && host.len() < broker.len() => Ok(()),
        (None, _) if broker.matches(':').count() > 1 => {
            Err("is no host with a port; an IPv6 address stands in brackets, [::1]:9092".to_owned())
        }
        _ => Err("is not HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_lists_are_host_and_port_with_commas() {
        for good in ["h:9092", "a:1,b:2", "kafka-0.kafka:9092", "[::1]:9092", "a:1, b:2", "10.0.0.1:9092"] {
            assert_eq!(validate_broker_list(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "`` is not HOST:PORT"),
            ("h", "is not HOST:PORT"),
            ("h:", "is not HOST:PORT"),
            (":1", "is not HOST:PORT"),
            ("h:0", "is not HOST:PORT"),
            ("h:99999", "is not HOST:PORT"),
            ("a:1,,b:2", "`` is not HOST:PORT"),
            ("a/b:1", "is not HOST:PORT"),
            ("a:1;b:2", "something else than a comma between them; allowed: HOST:PORT, several with commas"),
            ("a:1 b:2", "something else than a comma"),
            ("::1:9092", "an IPv6 address stands in brackets"),
            ("SASL_SSL://h:9093", "set \"security.protocol\" = \"sasl_ssl\" in [kafka.properties]"),
            ("http://h:9092", "has the scheme http://; Kafka has none"),
            ("a:1,kafka://b:2", "`kafka://b:2` has the scheme kafka://"),
        ] {
            let error = validate_broker_list(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
