//! Recorded agents and header sets, sent to the real process: what is no person's tap never counts.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::dsl::{Site, Wire, link, until};

#[derive(Deserialize)]
struct Recorded {
    class: String,
    source: String,
    #[serde(default)]
    in_app_name: String,
    #[serde(default)]
    method: String,
    headers: BTreeMap<String, String>,
}

fn corpus() -> Vec<Recorded> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agents.jsonl");
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A live link that is no test: its clicks can count.
fn paid(code: &str) -> String {
    link(code).replace(r#""test":true"#, &format!(r#""created_at":"{}""#, jiff::Timestamp::now()))
}

fn raw(method: &str, code: &str, headers: &BTreeMap<String, String>) -> String {
    let method = if method.is_empty() { "GET" } else { method };
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} /{code} HTTP/1.1\r\nHost: go.example.com\r\n{lines}\r\n")
}

/// Every event by its code.
fn by_code(site: &Site, count: usize) -> HashMap<String, Value> {
    let events = site.events_until("clicks", count);
    assert_eq!(events.len(), count);
    events.into_iter().map(|event| (event["code"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn every_recorded_header_set_has_its_class_on_the_wire_and_only_people_count() {
    let corpus = corpus();
    let codes: Vec<String> = (0..corpus.len()).map(|number| format!("r{number}")).collect();
    let site = Site::new(&codes.iter().map(|code| paid(code)).collect::<Vec<_>>()).start();
    let mut wire: Wire = site.wire();
    for (recorded, code) in corpus.iter().zip(&codes) {
        let app = recorded.headers.get("accept").is_some_and(|accept| accept.contains("vnd.waypost.click+json"));
        let status = match &*recorded.class {
            "prefetch" => 503,
            _ if app => 200,
            _ => 302,
        };
        let answer = wire.send(&raw(&recorded.method, code, &recorded.headers));
        assert_eq!(answer.status, status, "{:?}", recorded.headers);
        let bare = ["prefetch", "head", "non_navigation"].contains(&&*recorded.class);
        if bare {
            assert!(answer.header("set-cookie").is_none() && answer.token().is_none(), "{:?}", recorded.headers);
        }
    }
    let events = by_code(&site, corpus.len());
    for (recorded, code) in corpus.iter().zip(&codes) {
        let event = &events[code];
        assert_eq!(event["class"], *recorded.class, "{:?}", recorded.headers);
        assert_eq!(event["source"], *recorded.source, "{:?}", recorded.headers);
        assert_eq!(event["in_app_name"].as_str().unwrap_or_default(), recorded.in_app_name, "{:?}", recorded.headers);
        assert_eq!(event["countable"], recorded.class == "human", "{:?}\n{event}", recorded.headers);
        let reason = event["countable_reason"].as_str().unwrap();
        assert_eq!(reason, recorded.class, "{:?}", recorded.headers);
    }
}

/// The same agent as a person's, but no tap: whatever a browser sends besides its name.
#[test]
fn no_browser_counts_by_a_request_that_is_no_tap() {
    let corpus = corpus();
    let people: Vec<&Recorded> = corpus.iter().filter(|recorded| recorded.class == "human").step_by(4).collect();
    let signs: [(&str, &str, &str, &str); 9] = [
        ("HEAD", "", "", "head"),
        ("", "sec-purpose", "prefetch", "prefetch"),
        ("", "sec-purpose", "prefetch;prerender", "prefetch"),
        ("", "purpose", "prefetch", "prefetch"),
        ("", "x-purpose", "preview", "prefetch"),
        ("", "x-moz", "prefetch", "prefetch"),
        ("", "sec-fetch-dest", "image", "non_navigation"),
        ("", "sec-fetch-dest", "iframe", "non_navigation"),
        ("", "sec-fetch-dest", "empty", "non_navigation"),
    ];
    let code = |person: usize, sign: usize| format!("p{person}-{sign}");
    let pairs: Vec<(usize, usize)> =
        (0..people.len()).flat_map(|person| (0..signs.len()).map(move |sign| (person, sign))).collect();
    let links: Vec<String> = pairs.iter().map(|(person, sign)| paid(&code(*person, *sign))).collect();
    let site = Site::new(&links).start();
    let mut wire = site.wire();
    for (person, sign) in &pairs {
        let (method, name, value, _) = signs[*sign];
        let mut headers = people[*person].headers.clone();
        if !name.is_empty() {
            headers.insert(name.to_owned(), value.to_owned());
        }
        if name == "sec-fetch-dest" {
            headers.insert("sec-fetch-mode".to_owned(), "no-cors".to_owned());
        }
        wire.send(&raw(method, &code(*person, *sign), &headers));
    }
    let events = by_code(&site, pairs.len());
    for (person, sign) in &pairs {
        let event = &events[&code(*person, *sign)];
        let expected = (Value::from(signs[*sign].3), Value::from(false));
        assert_eq!((&event["class"], &event["countable"]), (&expected.0, &expected.1), "{event}");
    }
}

#[test]
fn a_double_tap_counts_once_with_and_without_a_cookie() {
    let corpus = corpus();
    let person = corpus.iter().find(|recorded| recorded.class == "human").unwrap();
    let site = Site::new(&[paid("kept"), paid("bare"), paid("other")]).start();
    let first = site.send(&raw("", "kept", &person.headers));
    let mut returning = person.headers.clone();
    returning.insert("cookie".to_owned(), first.cookie());
    for _ in 0..3 {
        site.send(&raw("", "kept", &returning));
    }
    for _ in 0..4 {
        site.send(&raw("", "bare", &person.headers));
    }
    site.send(&raw("", "other", &returning));
    let events = until("all nine events", || Some(site.events("clicks")).filter(|events| events.len() == 9));
    for (code, times) in [("kept", 1), ("bare", 1), ("other", 1)] {
        let counting =
            events.iter().filter(|event| event["code"] == code && event["countable"] == true).collect::<Vec<_>>();
        assert_eq!(counting.len(), times, "{code}: {events:#?}");
    }
    let repeats = events.iter().filter(|event| event["countable_reason"] == "duplicate").count();
    assert_eq!(repeats, 6, "{events:#?}");
}
