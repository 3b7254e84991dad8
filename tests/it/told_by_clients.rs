//! What clients say about themselves, true or not, and where it leads on links with targets: collected user agents,
//! hints that lie, and bytes that no browser sends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    dsl::{Site, request},
    http2_get::get_over_http2,
};

/// An agent of the corpus of `src/client/device.rs`.
#[derive(serde::Deserialize)]
struct CollectedAgent {
    agent: String,
    kind: String,
    in_app: Option<String>,
    package: Option<String>,
}

/// The whole corpus, where it lies beside the checkout; else the part whose licences allow a copy.
fn collected_agents() -> Vec<CollectedAgent> {
    const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent_corpus/agents.jsonl");
    const WHOLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora/agents.jsonl");
    let corpus = std::fs::read_to_string(WHOLE).or_else(|_| std::fs::read_to_string(COPY)).unwrap();
    corpus.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Header lines of a tap with this agent, as the corpus says that it comes.
fn header_lines(collected: &CollectedAgent) -> Vec<String> {
    let package = collected.package.iter().map(|package| format!("X-Requested-With: {package}"));
    [format!("User-Agent: {}", collected.agent)].into_iter().chain(package).collect()
}

/// A test link whose URL tells what the placeholders say, with these targets.
fn link(code: &str, targets: &Value) -> String {
    let link = json!({"code": code, "url": told_in("none"), "kind": "plain", "creator": "c_1", "test": true,
        "append_token": false, "query": "drop", "targets": targets});
    link.to_string()
}

/// A destination whose path tells system, class and source of the click, and that it ended here.
fn told_in(place: &str) -> String {
    format!("https://shop.example.com/{{os}}/{{device}}/{{source}}/{place}")
}

#[test]
fn collected_agents_end_at_the_target_of_their_app_and_of_their_kind_of_device() {
    let agents = collected_agents();
    let mut apps: Vec<&str> = agents.iter().filter_map(|agent| agent.in_app.as_deref()).collect();
    apps.sort_unstable();
    apps.dedup();
    let by_app = apps.iter().map(|app| json!({"when": {"in_app": app}, "url": told_in(app)}));
    let unknown_app = json!({"when": {"in_app": true}, "url": told_in("unknown")});
    let site = Site::new(&[link("who", &by_app.chain([unknown_app]).collect())]).start();
    let mut connection = None;
    // Of each app and of each kind of device: those that ended where they should, and all.
    let mut scores: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for collected in &agents {
        let lines = header_lines(collected);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let kept = connection.get_or_insert_with(|| site.connect());
        let answer = kept.send(&request("GET", "/who", &lines));
        if answer.header("connection") == Some("close") {
            connection = None;
        }
        assert_eq!(answer.status, 302, "{}", collected.agent);
        let location = answer.header("location").unwrap().strip_prefix("https://shop.example.com/").unwrap();
        let told: Vec<&str> = location.split('/').collect();
        let [_, device, source, place] = told[..] else { panic!("{location}: {}", collected.agent) };
        assert!(!source.is_empty() && source != "none", "{location}: {}", collected.agent);
        let mut count = |what: &str, is_right: bool| {
            let [right, all] = scores.entry(what.to_owned()).or_default();
            (*right, *all) = (*right + usize::from(is_right), *all + 1);
        };
        if let Some(app) = &collected.in_app {
            count("in an app", place == app);
        } else if collected.kind == "desktop" {
            count("in no app", place == "none");
        }
        if ["phone", "tablet", "desktop", "tv"].contains(&&*collected.kind) {
            count(&format!("a {}", collected.kind), device == collected.kind);
        }
    }
    let least =
        [("in an app", 97), ("in no app", 98), ("a phone", 97), ("a desktop", 95), ("a tablet", 75), ("a tv", 20)];
    for (what, least_percent) in least {
        // The copy has agents of desktops alone.
        let [right, all] = scores.get(what).copied().unwrap_or_default();
        println!("{what}: {right} of {all}");
        assert!(right * 100 >= all * least_percent, "{what}: {right} of {all}");
    }
    assert!(scores.contains_key("a desktop"));
}

#[test]
fn the_targets_and_the_labels_of_the_event_agree_on_app_and_source_of_collected_agents() {
    // A target that holds for nobody asks for all four.
    let when = json!({"os": "other", "device": "tv", "in_app": "zalo", "source": "baidu"});
    let site = Site::new(&[link("who", &json!([{"when": when, "url": told_in("never")}]))]).start();
    let agents: Vec<CollectedAgent> = collected_agents().into_iter().step_by(15).collect();
    for collected in &agents {
        let lines = header_lines(collected);
        site.get("/who", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for (event, collected) in site.wait_for_events("clicks", agents.len()).iter().zip(&agents) {
        let facts = event["target_facts"].as_str().unwrap();
        let saw = |name: &str| {
            let of_name = facts.split(';').find_map(|fact| fact.strip_prefix(name)?.strip_prefix('='));
            of_name.unwrap_or_else(|| panic!("{name} of {facts}"))
        };
        let app = match (event["in_app"].as_bool(), event["in_app_name"].as_str()) {
            (Some(true), name) => name.unwrap_or("unknown"),
            _ => "no",
        };
        assert_eq!((saw("in_app"), Some(saw("source"))), (app, event["source"].as_str()), "{}", collected.agent);
    }
}

const IPHONE: &[u8] = b"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15";
const WINDOWS: &[u8] = b"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0.0.0 Safari/537.36";

/// The answer over HTTP/1.1 to a GET with header lines of any bytes, on a connection of its own.
fn get_over_http1(site: &Site, target: &str, header_lines: &[&[u8]]) -> crate::dsl::Answer {
    let lines = header_lines.iter().flat_map(|line| [*line, b"\r\n"].concat());
    let head = format!("GET {target} HTTP/1.1\r\nHost: go.example.com\r\n").into_bytes();
    let mut connection = site.connect();
    connection.write_bytes(&head.into_iter().chain(lines).chain(*b"\r\n").collect::<Vec<u8>>());
    connection.read(false).expect("an answer")
}

#[test]
fn a_hint_or_a_header_that_is_no_value_leads_to_the_next_target_over_both_versions_of_http() {
    let targets = json!([
        {"when": {"os": "android"}, "url": told_in("0")},
        {"when": {"language": "vi"}, "url": told_in("1")},
        {"when": {"in_app": true}, "url": told_in("2")},
        {"when": {"not": {"country": "KR"}}, "url": told_in("3")},
    ]);
    let proxies = "trusted_proxies = [\"127.0.0.0/8\"]\ncountry_header = \"CF-IPCountry\"\n";
    let site = Site::new(&[link("lie", &targets)]).listening_with("http2 = true", proxies).start();
    let long_tag = [b"Accept-Language: ".to_vec(), b"v".repeat(16 << 10)].concat();
    let many_tags = [b"Accept-Language: ".to_vec(), b"vi-VN;q=0,".repeat(1638)].concat();
    let late_tag = [b"Accept-Language: ".to_vec(), b"de;q=0.1,".repeat(1800), b"vi".to_vec()].concat();
    let long_hint = [b"Sec-CH-UA-Platform: \"Android".to_vec(), b"d".repeat(8 << 10), b"\"".to_vec()].concat();
    for (header_lines, expected) in [
        // Two hints of one phone; a phone whose hint says that it is another one.
        (&[WINDOWS, b"Sec-CH-UA-Platform: \"Android\"", b"Sec-CH-UA-Mobile: ?1"][..], "android/phone/direct/0"),
        (&[IPHONE, b"Sec-CH-UA-Platform: \"Windows\"", b"Sec-CH-UA-Mobile: ?0"], "windows/desktop/direct/none"),
        (&[IPHONE, b"Sec-CH-UA-Platform: \"Andr\xffid\"", b"Sec-CH-UA-Mobile: ?1\x80"], "ios/phone/direct/none"),
        (&[IPHONE, b"Sec-CH-UA-Platform: ", b"Sec-CH-UA-Mobile: \"?1\""], "ios/phone/direct/none"),
        (&[IPHONE, &long_hint], "ios/phone/direct/none"),
        (&[WINDOWS, b"Accept-Language: \xff\xfe, vi\xc3\xa9;q=1, vi;q=0.001"], "windows/desktop/direct/1"),
        (&[WINDOWS, b"Accept-Language: vi;q=high, vi;q=-1, vi;q=1.0000"], "windows/desktop/direct/none"),
        (&[WINDOWS, &long_tag], "windows/desktop/direct/none"),
        (&[WINDOWS, &many_tags], "windows/desktop/direct/none"),
        (&[WINDOWS, &late_tag], "windows/desktop/direct/none"),
        (
            &[WINDOWS, b"X-Requested-With: com.\xf0\x9f\x92\xa9.app", b"CF-IPCountry: \xe4\xe4"],
            "windows/desktop/direct/2",
        ),
        (&[WINDOWS, b"CF-IPCountry: DE, KR"], "windows/desktop/direct/none"),
        (&[b"User-Agent: \x80\x81 Android Mobile \xff", b"Referer: \xff://\xff"], "android/phone/web/0"),
    ] {
        for (version, get) in [("1.1", get_over_http1 as fn(&Site, &str, &[&[u8]]) -> _), ("2", get_over_http2)] {
            let answer = get(&site, "/lie", header_lines);
            let shown = || header_lines.iter().map(|line| line[..line.len().min(80)].escape_ascii().to_string());
            let expected = format!("https://shop.example.com/{expected}");
            let found = (answer.status, answer.header("location"));
            assert_eq!(found, (302, Some(&*expected)), "HTTP/{version} {:?}", shown().collect::<Vec<_>>());
        }
    }
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

/// A deterministic generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    /// A value of a header: pieces that mean something and bytes that mean nothing.
    fn header_value(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 24] = [
            b"Android",
            b"iPhone; CPU iPhone OS 99999_",
            b"Instagram 1",
            b"musical_ly_",
            b"[FBAN/FBIOS;",
            b"wv",
            b"TV",
            b"\"Android\"",
            b"?1",
            b"?0",
            b"vi",
            b";q=",
            b"0.5",
            b"1.0001",
            b",",
            b"*",
            b"VN",
            b"https://t.co/",
            b"\"",
            b"zh-Hant",
            b"com.zhiliaoapp.musically",
            b"\xff\xfe",
            b"%00",
            b" ",
        ];
        let len = 1 << self.below(8);
        let mut value: Vec<u8> = (0..len).flat_map(|_| PIECES[self.below(PIECES.len())].to_vec()).collect();
        value.truncate(12 << 10);
        while value.len() < 3 || self.below(3) == 0 {
            value.push([0x80 | self.below(0x80) as u8, 0x21 + self.below(0x5e) as u8][self.below(2)]);
        }
        value
    }
}

/// The headers that say something about a client, beside its agent.
const NAMES: [&str; 7] = [
    "Accept-Language",
    "Sec-CH-UA-Platform",
    "Sec-CH-UA-Mobile",
    "X-Requested-With",
    "Referer",
    "CF-IPCountry",
    "Cookie",
];
const TIKTOK: &[u8] =
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                        Mobile/15E148 musical_ly_34.5.0 BytedanceWebview/d8a21c6";

#[test]
fn no_header_and_no_query_makes_a_page_or_a_target_fail() {
    let targets = json!([
        {"when": {"os": "ios", "in_app": ["tiktok", "instagram"]},
            "url": "exampleshop://open/{language}/{source}?c={country}"},
        {"when": {"not": {"query": {"a": true}}, "device": "tablet"}, "url": "https://a.example/{language}/{query:b}"},
        {"when": {"language": ["vi", "zh"], "country": "VN", "split": "b", "visitor": "new"},
            "url": told_in("{query:a}")},
    ]);
    let mut odd: Value = serde_json::from_str(&link("odd", &targets)).unwrap();
    odd["split"] = json!([{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]);
    let settings = "trusted_proxies = [\"127.0.0.0/8\"]\ncountry_header = \"CF-IPCountry\"\n\
                    [links]\napp_schemes = [\"exampleshop\"]\n[domains.\"*\"]\nin_app = \"open_outside\"\n";
    let site = Site::new(&[odd.to_string()]).listening_with("http2 = true", settings).start();
    let script = "?a=%22%3E%3Cscript%3E&b=%22%3E%3Cscript%3E";
    let queries = ["", "?a", "?a=%", "?a=%ff&a=1", "?&&==&a=%00%0d%0a", script, "?a=..%2f..&sub1=%C3"];
    let (mut random, mut counts) = (Random(16), BTreeMap::new());
    for number in 0..600 {
        // A third of them come from a browser of an app, for whom there is a page.
        let agent = [TIKTOK, &random.header_value()[..]][usize::from(number % 3 > 0)].to_vec();
        let line = |name: &str, value: &[u8]| [name.as_bytes(), b": ", value].concat();
        let others = &NAMES[random.below(NAMES.len() + 1)..];
        let asked: Vec<Vec<u8>> = others.iter().map(|name| line(name, &random.header_value())).collect();
        let agent = line("User-Agent", &agent);
        let asked: Vec<&[u8]> = [&*agent].into_iter().chain(asked.iter().map(Vec::as_slice)).collect();
        let target = format!("/odd{}", queries[random.below(queries.len())]);
        let is_http2 = number % 4 == 0;
        let answer =
            if is_http2 { get_over_http2(&site, &target, &asked) } else { get_over_http1(&site, &target, &asked) };
        let shown = asked.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>();
        // 431: the headers together are longer than `max_header_bytes`.
        assert!([200, 302, 431].contains(&answer.status), "{} {target} {shown:?}", answer.status);
        *counts.entry(answer.status).or_insert(0) += 1;
        assert!(!answer.text().contains("\"><script"), "{}", answer.text());
    }
    println!("{counts:?}");
    assert!(counts[&200] > 20 && counts[&302] > 100, "{counts:?}");
    assert!(!site.log().contains("panicked"), "{}", site.log());
}
