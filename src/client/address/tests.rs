//! Addresses as proxies forward them.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
fn addresses_are_truncated_to_24_and_48_bits() {
    for (address, mode, expected) in [
        ("203.0.113.77", AddressMode::Full, Some("203.0.113.77")),
        ("203.0.113.77", AddressMode::Truncated, Some("203.0.113.0")),
        ("::ffff:203.0.113.77", AddressMode::Truncated, Some("203.0.113.0")),
        ("2001:db8:1234:5678::9", AddressMode::Truncated, Some("2001:db8:1234::")),
        ("2001:db8:1234:5678::9", AddressMode::None, None),
    ] {
        assert_eq!(
            truncate_address(address.parse().unwrap(), mode),
            expected.map(|expected| expected.parse().unwrap()),
            "{address}"
        );
    }
}

fn proxies(header: AddressHeader) -> TrustedProxies {
    let networks = TrustedNetworks::parse(&["10.0.0.0/8", "2001:db8:aaaa::/48", "192.0.2.1"]).unwrap();
    TrustedProxies { networks, header, ..TrustedProxies::default() }
}

fn client_address(header: AddressHeader, peer: &str, lines: &[(&'static str, &str)]) -> (String, AddressSource) {
    let client = proxies(header).client_address(&headers(lines), Peer::from_network(peer.parse().unwrap()));
    (client.address.to_string(), client.source)
}

#[test]
fn the_rightmost_untrusted_hop_is_the_client() {
    use AddressSource::{Peer, Xff};
    let long = format!("198.51.100.1{}", ", 10.0.0.1".repeat(100));
    for (peer, lines, want) in [
        ("198.51.100.9", &[("x-forwarded-for", "1.2.3.4")][..], ("198.51.100.9", Peer)),
        ("10.0.0.1", &[], ("10.0.0.1", Peer)),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4")], ("1.2.3.4", Xff)),
        ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:1.2.3.4")], ("1.2.3.4", Xff)),
        ("192.0.2.1", &[("x-forwarded-for", "6.6.6.6, 1.2.3.4")], ("1.2.3.4", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.9.9.9")], ("1.2.3.4", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4 ,10.9.9.9")], ("1.2.3.4", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "10.1.1.1,10.2.2.2")], ("10.1.1.1", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4:5678")], ("1.2.3.4", Xff)),
        ("2001:db8:aaaa::1", &[("x-forwarded-for", "[2001:db8::5]:443")], ("2001:db8::5", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "2001:db8::5")], ("2001:db8::5", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, unknown")], ("10.0.0.1", Peer)),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, garbage, 10.2.2.2")], ("10.2.2.2", Xff)),
        ("10.0.0.1", &[("x-forwarded-for", "")], ("10.0.0.1", Peer)),
        ("10.0.0.1", &[("forwarded", "for=1.2.3.4"), ("x-forwarded-host", "evil")], ("10.0.0.1", Peer)),
        ("10.0.0.1", &[("x-forwarded-for", &long)], ("10.0.0.1", Xff)),
    ] {
        assert_eq!(
            client_address(AddressHeader::XForwardedFor, peer, lines),
            (want.0.to_owned(), want.1),
            "{peer} {lines:?}"
        );
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    use AddressSource::{Forwarded, Peer};
    for (line, want) in [
        ("for=1.2.3.4", ("1.2.3.4", Forwarded)),
        ("For=\"[2001:db8:cafe::17]:4711\"", ("2001:db8:cafe::17", Forwarded)),
        ("for=6.6.6.6, for=1.2.3.4;proto=https;by=10.0.0.3", ("1.2.3.4", Forwarded)),
        ("for=6.6.6.6, proto=https; FOR=\"1.2.3.4:80\", for=10.0.0.9", ("1.2.3.4", Forwarded)),
        // A client's open quote must not swallow what the proxy added.
        ("for=\"6.6.6.6, for=1.2.3.4", ("1.2.3.4", Forwarded)),
        ("for=1.2.3.4, for=unknown", ("10.0.0.1", Peer)),
        ("for=_hidden;for=6.6.6.6", ("10.0.0.1", Peer)),
        ("proto=https", ("10.0.0.1", Peer)),
    ] {
        let lines = [("forwarded", line), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(client_address(AddressHeader::Forwarded, "10.0.0.1", &lines), (want.0.to_owned(), want.1), "{line}");
    }
}

#[test]
fn a_bad_network_is_named() {
    let error = TrustedNetworks::parse(&["10.0.0.0/8", "10.0.0.0/99"]).unwrap_err();
    assert!(error.contains("`10.0.0.0/99`") && error.contains("10.0.0.0/8 or"), "{error}");
}

proptest! {
    #[test]
    fn any_header_value_is_read_without_a_panic(value in proptest::collection::vec(0x20u8..=0xff, 0..120)) {
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["x-forwarded-for", "forwarded", "x-forwarded-proto"] {
                map.append(name, value.clone());
            }
        }
        let peer = Peer::from_network("10.0.0.1".parse().unwrap());
        for header in [AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
            proxies(header).client_address(&map, peer);
            proxies(header).is_client_https(&map, peer);
        }
    }

    /// Whatever a client sends ahead of it, the hop that the proxy appended is the client.
    #[test]
    fn a_client_cannot_forge_its_address(sent in "[ -~]{0,80}") {
        let line = format!("{sent},1.2.3.4");
        let address = client_address(AddressHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", &line)]).0;
        prop_assert_eq!(address, "1.2.3.4");
        let line = format!("{sent},for=1.2.3.4");
        prop_assert_eq!(client_address(AddressHeader::Forwarded, "10.0.0.1", &[("forwarded", &line)]).0, "1.2.3.4");
    }
}

#[test]
fn after_a_proxy_protocol_header_the_forwarded_one_is_read_only_from_a_trusted_address() {
    let lines = headers(&[("x-forwarded-for", "1.2.3.4")]);
    let client_address = |address: &str, source| {
        let peer = Peer { address: address.parse().unwrap(), source, ..Peer::UNIX };
        let client = proxies(AddressHeader::XForwardedFor).client_address(&lines, peer);
        (client.address.to_string(), client.source)
    };
    assert_eq!(
        client_address("198.51.100.9", PeerAddressSource::ProxyProtocol),
        ("198.51.100.9".to_owned(), AddressSource::Proxy)
    );
    assert_eq!(
        client_address("10.0.0.1", PeerAddressSource::ProxyProtocol),
        ("1.2.3.4".to_owned(), AddressSource::Xff)
    );
    // Who may open the file of a Unix socket is believed.
    assert_eq!(client_address("127.0.0.1", PeerAddressSource::Unix), ("1.2.3.4".to_owned(), AddressSource::Xff));
    assert_eq!(client_address("127.0.0.1", PeerAddressSource::Network), ("127.0.0.1".to_owned(), AddressSource::Peer));
}

#[test]
fn https_is_believed_by_the_same_rule_as_the_address() {
    let is_https = |header, peer: &str, lines: &[(&'static str, &str)]| {
        proxies(header).is_client_https(&headers(lines), Peer::from_network(peer.parse().unwrap()))
    };
    use AddressHeader::{Forwarded, XForwardedFor};
    for (header, peer, lines, want) in [
        (XForwardedFor, "10.0.0.1", &[("x-forwarded-proto", "https")][..], true),
        (XForwardedFor, "10.0.0.1", &[("x-forwarded-proto", "HTTPS"), ("x-forwarded-for", "1.2.3.4")], true),
        (XForwardedFor, "10.0.0.1", &[("x-forwarded-proto", "http")], false),
        (XForwardedFor, "10.0.0.1", &[], false),
        (XForwardedFor, "198.51.100.9", &[("x-forwarded-proto", "https")], false),
        // The client's own word stands on the left.
        (
            XForwardedFor,
            "10.0.0.1",
            &[("x-forwarded-proto", "https, http"), ("x-forwarded-for", "6.6.6.6, 1.2.3.4")],
            false,
        ),
        // Two proxies: the outer one took TLS off.
        (
            XForwardedFor,
            "10.0.0.1",
            &[("x-forwarded-proto", "https, http"), ("x-forwarded-for", "1.2.3.4, 10.0.0.2")],
            true,
        ),
        (XForwardedFor, "10.0.0.1", &[("x-forwarded-proto", "https"), ("x-forwarded-for", "1.2.3.4, 10.0.0.2")], true),
        (XForwardedFor, "10.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https")], false),
        (XForwardedFor, "10.0.0.1", &[("x_forwarded_proto", "https")], false),
        (Forwarded, "10.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https")], true),
        (Forwarded, "10.0.0.1", &[("forwarded", "proto=\"https\"")], true),
        (Forwarded, "10.0.0.1", &[("forwarded", "for=6.6.6.6;proto=https, for=1.2.3.4;proto=http")], false),
        (Forwarded, "10.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https, for=10.0.0.2;proto=http")], true),
        (Forwarded, "10.0.0.1", &[("x-forwarded-proto", "https")], false),
    ] {
        assert_eq!(is_https(header, peer, lines), want, "{peer} {lines:?}");
    }
    let peer = Peer { tls: true, ..Peer::from_network("198.51.100.9".parse().unwrap()) };
    assert!(proxies(XForwardedFor).is_client_https(&headers(&[("x-forwarded-proto", "http")]), peer));
}
