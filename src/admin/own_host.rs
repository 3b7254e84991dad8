//! The `Host` of requests to the admin listener. A page of a stranger can make a browser inside the network ask this
//! listener (DNS rebinding); its request then names the stranger's host.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Uri, header};

use crate::uri::host::find_valid_host_of_authority;

/// Domains of private networks: nobody can register a name below them (RFC 6761, RFC 6762, RFC 8375, ICANN's
/// `.internal`, and those of Kubernetes).
const PRIVATE_DOMAINS: [&str; 6] = [".localhost", ".local", ".internal", ".home.arpa", ".svc", ".test"];

/// Whether a request names no host that a stranger could have registered: an address, a name without a dot, a name of a
/// private network, or one of `names` (lower case). A request without a host is none of a browser.
pub(super) fn names_no_foreign_host(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let hosts = headers.get_all(header::HOST).iter().map(http::HeaderValue::as_bytes);
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    hosts.chain(target).all(|authority| is_own_host(authority, names))
}

fn is_own_host(authority: &[u8], names: &[String]) -> bool {
    let Some(host) = find_valid_host_of_authority(authority).and_then(|host| str::from_utf8(host).ok()) else {
        return authority.is_empty();
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_address = host.parse::<IpAddr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    is_address
        || !host.contains('.')
        || PRIVATE_DOMAINS.iter().any(|domain| host.ends_with(domain))
        || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_a_stranger_can_register_is_foreign_unless_it_is_listed() {
        let names = ["edge-1.Example.com".to_owned()];
        for own in [
            "127.0.0.1:9100",
            "[::1]:9100",
            "10.0.0.7",
            "localhost:9100",
            "waypost:9100",
            "waypost-1.internal",
            "waypost.waypost.svc.cluster.local:9100",
            "edge.local.",
            "EDGE-1.example.com:9100",
            "",
        ] {
            assert!(is_own_host(own.as_bytes(), &names), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:9100",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "x.svc.evil.example",
            "edge-1.example.com.evil.example",
            "10.0.0.7.nip.io",
            "a b",
            "user@localhost",
        ] {
            assert!(!is_own_host(foreign.as_bytes(), &names), "{foreign}");
        }
    }
}
