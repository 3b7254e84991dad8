//! Recorded user agents and header sets, sent to the real process: only a person's tap is countable.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::dsl::{Connection, PHONE_BROWSER, Site, link, until};

/// One recorded request, and the labels that its click must have.
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

/// A live link that is no test link, so that its clicks can be countable.
fn payable_link(code: &str) -> String {
    link(code).replace(r#""test":true"#, &format!(r#""created_at":"{}""#, jiff::Timestamp::now()))
}

/// The bytes of a request.
fn raw(method: &str, code: &str, headers: &BTreeMap<String, String>) -> String {
    let method = if method.is_empty() { "GET" } else { method };
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} /{code} HTTP/1.1\r\nHost: go.example.com\r\n{lines}\r\n")
}

/// Waits for the events, and returns them by their code.
fn events_by_code(site: &Site, count: usize) -> HashMap<String, Value> {
    let events = site.wait_for_events("clicks", count);
    assert_eq!(events.len(), count);
    events.into_iter().map(|event| (event["code"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn each_recorded_request_gets_its_class_and_only_a_human_is_countable() {
    let corpus = corpus();
    let codes: Vec<String> = (0..corpus.len()).map(|number| format!("r{number}")).collect();
    let site = Site::new(&codes.iter().map(|code| payable_link(code)).collect::<Vec<_>>())
        .config("[domains.\"*\"]\napp_resolves = true\n")
        .start();
    let mut wire: Connection = site.connect();
    for (recorded, code) in corpus.iter().zip(&codes) {
        let app = recorded.headers.get("accept").is_some_and(|accept| accept.contains("vnd.waypost.click+json"));
        let status = match &*recorded.class {
            "prefetch" => 503,
            _ if app => 200,
            _ => 302,
        };
        let answer = wire.send(&raw(&recorded.method, code, &recorded.headers));
        assert_eq!(answer.status, status, "{:?}", recorded.headers);
        let bare = ["prefetch", "head", "non_navigation", "preview"].contains(&&*recorded.class);
        if bare {
            assert!(answer.header("set-cookie").is_none() && answer.token().is_none(), "{:?}", recorded.headers);
        }
    }
    let events = events_by_code(&site, corpus.len());
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

/// Requests with a person's user agent, and another sign that nobody tapped.
#[test]
fn a_browser_request_that_is_no_tap_is_not_countable() {
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
    let links: Vec<String> = pairs.iter().map(|(person, sign)| payable_link(&code(*person, *sign))).collect();
    let site = Site::new(&links).config("[domains.\"*\"]\napp_resolves = true\n").start();
    let mut wire = site.connect();
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
    let events = events_by_code(&site, pairs.len());
    for (person, sign) in &pairs {
        let event = &events[&code(*person, *sign)];
        let expected = (Value::from(signs[*sign].3), Value::from(false));
        assert_eq!((&event["class"], &event["countable"]), (&expected.0, &expected.1), "{event}");
    }
}

#[test]
fn a_double_tap_with_a_cookie_counts_once_and_without_one_it_is_marked_and_counts() {
    let corpus = corpus();
    let person = corpus.iter().find(|recorded| recorded.class == "human").unwrap();
    let site = Site::new(&[payable_link("kept"), payable_link("bare"), payable_link("other")]).start();
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
    for (code, times) in [("kept", 1), ("bare", 4), ("other", 1)] {
        let counting =
            events.iter().filter(|event| event["code"] == code && event["countable"] == true).collect::<Vec<_>>();
        assert_eq!(counting.len(), times, "{code}: {events:#?}");
    }
    let count = |field: &str, value: Value| events.iter().filter(|event| event[field] == value).count();
    assert_eq!(count("countable_reason", "duplicate".into()), 3, "{events:#?}");
    assert_eq!(count("duplicate_basis", "address_agent".into()), 3, "two people can share address and agent");
}

/// A network that keeps the final URL of a preview would hand the fetcher's click to every buyer.
#[test]
fn a_preview_fetcher_is_redirected_without_cookie_and_token_and_a_person_in_the_networks_app_with_both() {
    let fetchers = [
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "meta-externalfetcher/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "WhatsApp/2.23.20.0",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "TelegramBot (like TwitterBot)",
        "Twitterbot/1.0",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "facebookexternalhit/1.1;line-poker/1.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 \
         Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    ];
    let android = "Mozilla/5.0 (Linux; Android 14; SM-S921N; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 \
                   Chrome/126.0.6478.122 Mobile Safari/537.36";
    let people = ["[FB_IAB/FB4A;FBAV/471.0.0.32.109;]", "[WA4A/2.24.12.78;]", "Telegram-Android/11.4.3 (Samsung)"]
        .map(|app| format!("{android} {app}"));
    let site = Site::new(&[payable_link("shared")]).start();
    let mut wire = site.connect();
    let request = |agent: &str| format!("GET /shared HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: {agent}\r\n\r\n");
    // The second round finds the worker's memory filled.
    for _ in 0..2 {
        for agent in fetchers {
            let answer = wire.send(&request(agent));
            assert_eq!(answer.status, 302, "{agent}");
            assert!(answer.header("location").is_some(), "{agent}");
            assert_eq!((answer.header("set-cookie"), answer.token()), (None, None), "{agent}");
        }
        for agent in &people {
            let answer = wire.send(&request(agent));
            assert!(answer.header("set-cookie").is_some() && answer.token().is_some(), "{agent}");
        }
    }
    let events = site.wait_for_events("clicks", 2 * (fetchers.len() + people.len()));
    for event in &events {
        let is_fetcher = fetchers.contains(&event["user_agent"].as_str().unwrap());
        let expected = if is_fetcher { "preview" } else { "human" };
        assert_eq!((&event["class"], &event["outcome"]), (&expected.into(), &"redirected".into()), "{event}");
        assert_eq!(event["countable"], !is_fetcher, "{event}");
    }
}

#[test]
fn with_device_labels_every_event_names_device_system_browser_and_versions() {
    let asks = r#"{"code":"asks","url":"https://shop.example.com/","kind":"plain","creator":"c_1","test":true,
        "targets":[{"when":{"os":"android"},"url":"https://shop.example.com/a"}]}"#;
    let links = [link("tea"), asks.replace('\n', "")];
    let site = Site::new(&links).config("[delivery]\ndevice_labels = true\n").start();
    let windows = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                   Chrome/126.0.0.0 Safari/537.36";
    site.get("/tea", &PHONE_BROWSER);
    site.get("/tea", &[windows]);
    // The hint is seen by the target alone, and the event names one system.
    site.get("/asks", &[windows, "Sec-CH-UA-Platform: \"Android\""]);
    site.get("/tea", &[]);
    let events = site.wait_for_events("clicks", 4);
    let fields = ["device", "os", "os_version", "browser", "browser_version"];
    let labels = |event: &Value| Value::from(fields.map(|field| event[field].clone()).to_vec());
    assert_eq!(labels(&events[0]), json!(["phone", "ios", "17.6", "Mobile Safari", "17.6"]));
    assert_eq!(labels(&events[1]), json!(["desktop", "windows", "10", "Chrome", "126.0.0.0"]));
    assert_eq!(labels(&events[2]), json!(["desktop", "android", null, "Chrome", "126.0.0.0"]));
    assert_eq!(labels(&events[3]), json!(["other", "other", null, null, null]));
    let without = Site::with_codes(&["tea"]);
    without.get("/tea", &PHONE_BROWSER);
    let event = &without.wait_for_events("clicks", 1)[0];
    assert!(fields.iter().all(|field| event.get(*field).is_none()), "{event}");
}
