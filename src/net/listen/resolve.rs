//! Addresses with a name in place of a number, such as `localhost:9100`.

use std::net::{SocketAddr, ToSocketAddrs};

/// Parses `ADDRESS:PORT`, and resolves `NAME:PORT` once. Of several addresses the first of IPv4 is taken, else the
/// first: one that clients of both kinds usually reach.
///
/// # Errors
/// What is wrong, and what is allowed.
pub fn parse_or_resolve_socket_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let allowed = "allowed: ADDRESS:PORT or NAME:PORT, such as 127.0.0.1:8080, [::]:8080 or localhost:8080";
    let Some((name, port)) = text.rsplit_once(':') else {
        let missing = if text.bytes().all(|byte| byte.is_ascii_digit()) { "address" } else { "port" };
        return Err(format!("`{text}` has no {missing}; {allowed}"));
    };
    if port.parse::<u16>().is_err() {
        return Err(format!("`{text}`: `{port}` is no port, a number up to 65535; {allowed}"));
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if !is_name(name) {
        return Err(format!("`{text}`: `{name}` is neither an address nor a name; {allowed}"));
    }
    let resolved = text.to_socket_addrs().map_err(|error| format!("the name `{name}` cannot be resolved: {error}"))?;
    let addresses: Vec<SocketAddr> = resolved.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| format!("the name `{name}` has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_and_names_are_resolved() {
        for (text, address) in
            [("127.0.0.1:9100", "127.0.0.1:9100"), (" [::1]:80 ", "[::1]:80"), ("localhost:9100", "127.0.0.1:9100")]
        {
            assert_eq!(parse_or_resolve_socket_address(text), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_is_allowed() {
        for (text, why) in [
            ("9100", "`9100` has no address; allowed: ADDRESS:PORT or NAME:PORT"),
            ("localhost", "`localhost` has no port; allowed"),
            ("127.0.0.1:", "`` is no port"),
            ("127.0.0.1:99999", "`99999` is no port, a number up to 65535"),
            (":9100", "`` is neither an address nor a name"),
            ("http://localhost:9100", "`http://localhost` is neither an address nor a name"),
            ("no-such-host.invalid:1", "the name `no-such-host.invalid` cannot be resolved"),
        ] {
            let error = parse_or_resolve_socket_address(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
