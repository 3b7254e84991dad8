//! Requests as browsers, apps and crawlers send them.

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

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// The browser says that a tab navigates.
    Navigation,
    /// The request does not say: treated as a navigation.
    Unknown,
    /// The browser says that no tab navigates.
    NonNavigation,
    Prefetch,
}

fn counts(facts: &RequestFacts<'_>) -> Counts {
    match facts.navigation {
        _ if facts.is_prefetch => Counts::Prefetch,
        Navigation::Tab => Counts::Navigation,
        Navigation::NoTab => Counts::NonNavigation,
        Navigation::Unknown => Counts::Unknown,
    }
}

type Client = (&'static str, Counts, &'static [(&'static str, &'static str)]);

/// Header sets as each client sends them, taken from documentation and public reports. Values that do not matter here
/// are shortened.
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
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Instagram 340.0.0.24.118 \
                 (iPhone14,2; ko_KR)",
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
                "Mozilla/5.0 (Linux; Android 14; SM-S921N; wv) Chrome/141.0.0.0 Mobile Safari/537.36 Instagram \
                 400.0.0.49.68 Android",
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
                "Mozilla/5.0 (Linux; Android 13; SM-A536N; wv) Chrome/140.0 Mobile Safari/537.36 \
                 [FB_IAB/FB4A;FBAV/530.0.0.48.74;]",
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
                "Mozilla/5.0 (iPhone; CPU iPhone OS 16_1 like Mac OS X) Mobile/15E148 musical_ly_36.1.0 \
                 BytedanceWebview/d8a21c6",
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
                "Mozilla/5.0 (Linux; Android 12; wv) Chrome/120.0 Mobile Safari/537.36 trill_360105 \
                 BytedanceWebview/d8a21c6",
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
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/22B83 Barcelona 358.0.0.21.108 \
                 (iPhone15,3; ko_KR)",
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
fn requests_of_known_clients_count_as_what_they_are() {
    for (client, expected, lines) in CLIENTS {
        assert_eq!(counts(&RequestFacts::read_all_headers(&headers(lines))), *expected, "{client}");
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
    ]);
    let facts = RequestFacts::read_all_headers(&map);
    assert_eq!((facts.user_agent, facts.referer), (&b"ua"[..], &b"https://l.instagram.com/"[..]));
    assert_eq!(facts.accept_language, b"ko");
    assert_eq!(facts.app_package, b"com.instagram.android");
    assert!(facts.has_gpc && facts.navigation == Navigation::Tab);
    assert_eq!(facts.cookie_headers().collect::<Vec<_>>(), [b"a=1", b"b=2", b"c=3"]);
    assert_eq!(facts.write_sec_fetch(&mut [0; 64]), b"navigate/document/?1");
    let map = headers(&[("sec-gpc", "0"), ("cookie", "a=1")]);
    let facts = RequestFacts::read_all_headers(&map);
    assert!(!facts.has_gpc);
    assert_eq!(facts.cookie_headers().count(), 1);
    assert_eq!(facts.write_sec_fetch(&mut [0; 64]), b"");
}

#[test]
fn a_refusal_anywhere_in_the_query_counts_however_it_is_written() {
    for (query, expected) in [
        ("", Consent::None),
        ("cons=1", Consent::Granted),
        ("a=b&cons=0", Consent::Refused),
        ("cons=1&cons=0", Consent::Refused),
        ("cons=0&cons=1", Consent::Refused),
        ("Cons=0", Consent::Refused),
        ("cons=%30", Consent::Refused),
        ("%63ONS=%30", Consent::Refused),
        ("cons=1&amp;cons=0", Consent::Refused),
        ("CONS=%31", Consent::Granted),
        ("cons=", Consent::None),
        ("cons", Consent::None),
        ("cons=01", Consent::None),
        ("xcons=0", Consent::None),
        ("fbclid=cons%3D0&&", Consent::None),
    ] {
        assert_eq!(QueryFacts::read(query.as_bytes(), b"wp").consent, expected, "{query}");
    }
}

#[test]
fn the_tokens_parameter_is_found_however_it_is_written() {
    for (query, expected) in [
        ("wp=v1.x", true),
        ("a=1&WP=x", true),
        ("%77p=x", true),
        ("a=1&amp;wp", true),
        ("wpx=1&xwp=2&w=3", false),
        ("", false),
    ] {
        assert_eq!(QueryFacts::read(query.as_bytes(), b"wp").has_token_param, expected, "{query}");
    }
}

proptest! {
    #[test]
    fn any_header_value_is_read_without_a_panic(value in proptest::collection::vec(0x20u8..=0xff, 0..120)) {
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["sec-fetch-dest", "sec-fetch-mode", "sec-fetch-user", "purpose", "cookie"] {
                map.append(name, value.clone());
            }
        }
        let facts = RequestFacts::read_all_headers(&map);
        prop_assert!(facts.write_sec_fetch(&mut [0; 64]).len() <= 62);
        QueryFacts::read(&value, b"wp");
    }
}
