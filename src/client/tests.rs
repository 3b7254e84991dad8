//! Requests as browsers, apps, crawlers and proxies send them.

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

/// How a request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// The browser says that a tab navigates.
    Navigation,
    /// It says nothing: treated as a navigation.
    Unknown,
    /// It says that it is none.
    NonNavigation,
    Prefetch,
}

fn counts(facts: &Facts<'_>) -> Counts {
    match facts {
        facts if facts.prefetch => Counts::Prefetch,
        facts if facts.navigation => Counts::Navigation,
        facts if facts.non_navigation => Counts::NonNavigation,
        _ => Counts::Unknown,
    }
}

type Client = (&'static str, Counts, &'static [(&'static str, &'static str)]);

/// Header sets in the form in which each client sends them, put together from their documentation and public reports;
/// values that do not matter here are shortened.
const CLIENTS: &[Client] = &[
    (
        "Chrome on Android, a tap",
        Counts::Navigation,
        &[
            ("sec-ch-ua", "\"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\""),
            ("sec-ch-ua-mobile", "?1"),
            ("upgrade-insecure-requests", "1"),
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/142.0.0.0 Mobile Safari/537.36",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("sec-fetch-dest", "document"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("accept-language", "ko-KR,ko;q=0.9"),
        ],
    ),
    (
        "Chrome, speculation rules prefetch",
        Counts::Prefetch,
        &[
            ("sec-purpose", "prefetch"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-speculation-tags", "null"),
        ],
    ),
    (
        "Chrome, prerender",
        Counts::Prefetch,
        &[("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("sec-fetch-dest", "document")],
    ),
    (
        "Chrome, private prefetch proxy",
        Counts::Prefetch,
        &[
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    (
        "Chrome, link rel=prefetch of a subresource",
        Counts::Prefetch,
        &[("sec-purpose", "prefetch"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")],
    ),
    (
        "Safari 17 on iPhone, a tap",
        Counts::Navigation,
        &[
            ("sec-fetch-dest", "document"),
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari/604.1",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
            ("accept-language", "ko-KR,ko;q=0.9"),
            ("accept-encoding", "gzip, deflate, br"),
        ],
    ),
    (
        "Safari 15 on iPhone, which knows no Sec-Fetch",
        Counts::Unknown,
        &[
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 15_6 like Mac OS X) Version/15.6 Mobile/15E148 Safari/604.1",
            ),
        ],
    ),
    (
        "Safari, top sites",
        Counts::Prefetch,
        &[("x-purpose", "preview"), ("user-agent", "Mozilla/5.0 (Macintosh) Safari/533")],
    ),
    ("Safari, top sites, with its odd colon", Counts::Prefetch, &[("x-purpose", ": preview")]),
    (
        "Firefox on Android, a tap",
        Counts::Navigation,
        &[
            ("user-agent", "Mozilla/5.0 (Android 14; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0"),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("sec-gpc", "1"),
            ("upgrade-insecure-requests", "1"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-user", "?1"),
            ("priority", "u=0, i"),
        ],
    ),
    (
        "Firefox, link prefetch",
        Counts::Prefetch,
        &[("x-moz", "prefetch"), ("sec-fetch-dest", "empty"), ("sec-fetch-mode", "no-cors")],
    ),
    (
        "Instagram on iPhone",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Instagram 340.0.0.24.118 (iPhone14,2; ko_KR)",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "cross-site"),
            ("referer", "https://l.instagram.com/"),
        ],
    ),
    (
        "Instagram on Android",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 14; SM-S921N; wv) Chrome/141.0.0.0 Mobile Safari/537.36 Instagram 400.0.0.49.68 Android",
            ),
            ("x-requested-with", "com.instagram.android"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    (
        "Facebook on Android",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 13; SM-A536N; wv) Chrome/140.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/530.0.0.48.74;]",
            ),
            ("x-requested-with", "com.facebook.katana"),
            ("referer", "http://m.facebook.com/"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    (
        "Facebook on Android, fetching a page ahead of the tap",
        Counts::Prefetch,
        &[("x-purpose", "preview"), ("x-fb-http-engine", "Liger"), ("user-agent", "[FBAN/FB4A;FBAV/530.0.0.48.74]")],
    ),
    (
        "TikTok on iPhone",
        Counts::Unknown,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 16_1 like Mac OS X) Mobile/15E148 musical_ly_36.1.0 BytedanceWebview/d8a21c6",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ],
    ),
    (
        "TikTok on Android",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 12; wv) Chrome/120.0 Mobile Safari/537.36 trill_360105 BytedanceWebview/d8a21c6",
            ),
            ("x-requested-with", "com.ss.android.ugc.trill"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    (
        "YouTube on Android, which opens a custom tab",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/142.0.0.0 Mobile Safari/537.36",
            ),
            ("referer", "android-app://com.google.android.youtube/"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    (
        "Threads on iPhone",
        Counts::Navigation,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/22B83 Barcelona 358.0.0.21.108 (iPhone15,3; ko_KR)",
            ),
            ("referer", "https://l.threads.com/"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
        ],
    ),
    (
        "an image that stuffs a cookie",
        Counts::NonNavigation,
        &[("sec-fetch-dest", "image"), ("sec-fetch-mode", "no-cors")],
    ),
    ("a hidden frame", Counts::NonNavigation, &[("sec-fetch-dest", "iframe"), ("sec-fetch-mode", "navigate")]),
    ("a fenced frame", Counts::NonNavigation, &[("sec-fetch-dest", "fencedframe"), ("sec-fetch-mode", "navigate")]),
    ("an embedded object", Counts::NonNavigation, &[("sec-fetch-dest", "object"), ("sec-fetch-mode", "navigate")]),
    ("a script", Counts::NonNavigation, &[("sec-fetch-dest", "script"), ("sec-fetch-mode", "no-cors")]),
    ("fetch of a page's script", Counts::NonNavigation, &[("sec-fetch-dest", "empty"), ("sec-fetch-mode", "cors")]),
    ("a beacon", Counts::NonNavigation, &[("sec-fetch-dest", "empty"), ("sec-fetch-mode", "no-cors")]),
    (
        "a tab's navigation passed on by a service worker",
        Counts::Unknown,
        &[("sec-fetch-dest", "empty"), ("sec-fetch-mode", "navigate")],
    ),
    (
        "a destination not known yet, of a navigation",
        Counts::Unknown,
        &[("sec-fetch-dest", "holodeck"), ("sec-fetch-mode", "navigate")],
    ),
    (
        "a destination not known yet",
        Counts::NonNavigation,
        &[("sec-fetch-dest", "holodeck"), ("sec-fetch-mode", "no-cors")],
    ),
    ("a destination alone", Counts::NonNavigation, &[("sec-fetch-dest", "style")]),
    ("curl", Counts::Unknown, &[("user-agent", "curl/8.5.0"), ("accept", "*/*")]),
    ("a purpose that means nothing here", Counts::Unknown, &[("purpose", "prefetched-not"), ("x-moz", "")]),
];

#[test]
fn requests_count_as_what_their_senders_do() {
    for (who, want, lines) in CLIENTS {
        assert_eq!(counts(&Facts::read(&headers(lines))), *want, "{who}");
    }
}

#[test]
fn every_header_that_counts_is_read_once_and_the_first_of_two_wins() {
    let map = headers(&[
        ("user-agent", "ua"),
        ("user-agent", "second"),
        ("referer", "https://l.instagram.com/"),
        ("accept", "*/*"),
        ("accept-language", "ko"),
        ("x-requested-with", "com.instagram.android"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
        ("sec-gpc", "1"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("cookie", "c=3"),
        ("content-length", "5"),
    ]);
    let facts = Facts::read(&map);
    assert_eq!((facts.user_agent, facts.referer), (&b"ua"[..], &b"https://l.instagram.com/"[..]));
    assert_eq!((facts.accept, facts.accept_language), (&b"*/*"[..], &b"ko"[..]));
    assert_eq!(facts.app_package, b"com.instagram.android");
    assert!(facts.gpc && facts.body && facts.navigation);
    assert_eq!(facts.cookies().collect::<Vec<_>>(), [b"a=1", b"b=2", b"c=3"]);
    assert_eq!(facts.sec_fetch(&mut [0; 64]), b"navigate/document/?1");
    let map = headers(&[("sec-gpc", "0"), ("content-length", "0"), ("cookie", "a=1")]);
    let facts = Facts::read(&map);
    assert!(!facts.gpc && !facts.body);
    assert_eq!(facts.cookies().count(), 1);
    assert_eq!(facts.sec_fetch(&mut [0; 64]), b"");
}

#[test]
fn a_refusal_anywhere_in_the_query_counts() {
    for (query, want) in [
        ("", Consent::None),
        ("cons=1", Consent::Granted),
        ("a=b&cons=0", Consent::Refused),
        ("cons=1&cons=0", Consent::Refused),
        ("cons=0&cons=1", Consent::Refused),
        ("cons=", Consent::None),
        ("cons=01", Consent::None),
        ("xcons=0", Consent::None),
        ("fbclid=cons%3D0&&", Consent::None),
    ] {
        assert_eq!(consent(query.as_bytes()), want, "{query}");
    }
}

#[test]
fn addresses_are_coarsened_to_24_and_48_bits() {
    for (address, mode, want) in [
        ("203.0.113.77", AddressMode::Full, Some("203.0.113.77")),
        ("203.0.113.77", AddressMode::Truncated, Some("203.0.113.0")),
        ("::ffff:203.0.113.77", AddressMode::Truncated, Some("203.0.113.0")),
        ("2001:db8:1234:5678::9", AddressMode::Truncated, Some("2001:db8:1234::")),
        ("2001:db8:1234:5678::9", AddressMode::None, None),
    ] {
        assert_eq!(coarsen(address.parse().unwrap(), mode), want.map(|want| want.parse().unwrap()), "{address}");
    }
}

fn trusted(header: AddressHeader) -> Trusted {
    let proxies = Networks::parse(&["10.0.0.0/8", "2001:db8:aaaa::/48", "192.0.2.1"]).unwrap();
    Trusted { proxies, header }
}

fn told(header: AddressHeader, peer: &str, lines: &[(&'static str, &str)]) -> (String, AddressFrom) {
    let (address, from) = trusted(header).address(&headers(lines), Peer::at(peer.parse().unwrap()));
    (address.to_string(), from)
}

#[test]
fn the_rightmost_untrusted_hop_is_the_client() {
    use AddressFrom::{Peer, Xff};
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
        assert_eq!(told(AddressHeader::XForwardedFor, peer, lines), (want.0.to_owned(), want.1), "{peer} {lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    use AddressFrom::{Forwarded, Peer};
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
        assert_eq!(told(AddressHeader::Forwarded, "10.0.0.1", &lines), (want.0.to_owned(), want.1), "{line}");
    }
}

#[test]
fn a_bad_network_is_named() {
    let error = Networks::parse(&["10.0.0.0/8", "10.0.0.0/99"]).unwrap_err();
    assert!(error.contains("\"10.0.0.0/99\"") && error.contains("10.0.0.0/8 or"), "{error}");
}

proptest! {
    #[test]
    fn any_header_value_is_read_without_a_panic(value in proptest::collection::vec(0x20u8..=0xff, 0..120)) {
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["x-forwarded-for", "forwarded", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-user", "purpose", "cookie"] {
                map.append(name, value.clone());
            }
        }
        let facts = Facts::read(&map);
        prop_assert!(facts.sec_fetch(&mut [0; 64]).len() <= 62);
        for header in [AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
            trusted(header).address(&map, Peer::at("10.0.0.1".parse().unwrap()));
        }
        consent(&value);
    }

    /// Whatever a client sends ahead of it, the hop that the proxy appended is the client.
    #[test]
    fn a_client_cannot_forge_its_address(sent in "[ -~]{0,80}") {
        let line = format!("{sent},1.2.3.4");
        prop_assert_eq!(told(AddressHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", &line)]).0, "1.2.3.4");
        let line = format!("{sent},for=1.2.3.4");
        prop_assert_eq!(told(AddressHeader::Forwarded, "10.0.0.1", &[("forwarded", &line)]).0, "1.2.3.4");
    }
}

#[test]
fn after_a_proxy_header_the_forwarded_one_is_walked_only_from_a_trusted_address() {
    let lines = headers(&[("x-forwarded-for", "1.2.3.4")]);
    let told = |address: &str, source| {
        let peer = Peer { address: address.parse().unwrap(), source, ..Peer::LOCAL };
        let (address, from) = trusted(AddressHeader::XForwardedFor).address(&lines, peer);
        (address.to_string(), from)
    };
    assert_eq!(told("198.51.100.9", Source::ProxyProtocol), ("198.51.100.9".to_owned(), AddressFrom::Proxy));
    assert_eq!(told("10.0.0.1", Source::ProxyProtocol), ("1.2.3.4".to_owned(), AddressFrom::Xff));
    // Who may open the file of a Unix socket is believed.
    assert_eq!(told("127.0.0.1", Source::Unix), ("1.2.3.4".to_owned(), AddressFrom::Xff));
    assert_eq!(told("127.0.0.1", Source::Network), ("127.0.0.1".to_owned(), AddressFrom::Peer));
}

#[test]
fn https_is_believed_by_the_rule_of_the_address() {
    let said = |header, peer: &str, lines: &[(&'static str, &str)]| {
        trusted(header).https(&headers(lines), Peer::at(peer.parse().unwrap()))
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
        assert_eq!(said(header, peer, lines), want, "{peer} {lines:?}");
    }
    let peer = Peer { tls: true, ..Peer::at("198.51.100.9".parse().unwrap()) };
    assert!(trusted(XForwardedFor).https(&headers(&[("x-forwarded-proto", "http")]), peer));
}
