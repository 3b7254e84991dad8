//! Targets of links: which one a click is led to, over HTTP/1.1 and HTTP/2, and what its event says.

use serde_json::{Value, json};

use crate::{
    dsl::{Site, files_below, until},
    http2_get::get_over_http2,
};

const IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                      like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const ANDROID: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Mobile Safari/537.36";
const DESKTOP: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Safari/537.36";
const INSTAGRAM: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                         (KHTML, like Gecko) Mobile/15E148 Instagram 330.0.0.26.103";

/// A link whose targets lead to `https://shop.example.com/0`, `/1` and so on, by these conditions.
fn link(code: &str, conditions: &[Value]) -> Value {
    let target = |(at, when): (usize, &Value)| json!({"when": when, "url": format!("https://shop.example.com/{at}")});
    json!({"code": code, "url": "https://shop.example.com/own", "kind": "plain", "creator": "c_1", "test": true,
        "append_token": false, "targets": conditions.iter().enumerate().map(target).collect::<Vec<_>>()})
}

fn site(links: &[Value]) -> Site {
    let links: Vec<String> = links.iter().map(Value::to_string).collect();
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]\ncountry_header = \"CF-IPCountry\"\n\
                   region_header = \"CF-Region-Code\"\n";
    Site::new(&links).listening_with("http2 = true", trusted).start()
}

/// The path of the destination over HTTP/1.1.
fn path_of(site: &Site, target: &str, headers: &[&str]) -> String {
    let answer = site.get(target, headers);
    assert_eq!(answer.status, 302, "{target} {headers:?}");
    answer.header("location").unwrap().strip_prefix("https://shop.example.com").unwrap().to_owned()
}

/// The path of the destination over HTTP/2.
fn path_of_http2(site: &Site, target: &str, headers: &[&str]) -> String {
    let lines: Vec<&[u8]> = headers.iter().map(|line| line.as_bytes()).collect();
    let answer = get_over_http2(site, target, &lines);
    let location = answer.header("location").unwrap();
    location.strip_prefix("https://shop.example.com").unwrap().to_owned()
}

/// The newest event of a code.
fn event_of(site: &Site, code: &str) -> Value {
    until("the event", || site.events("clicks").into_iter().rfind(|event| event["code"] == code))
}

#[test]
fn an_iphone_and_an_android_phone_end_where_the_first_target_that_holds_leads() {
    let site = site(&[link("os", &[json!({"os": "ios"}), json!({"os": ["android", "chromeos"]})])]);
    for ask in [path_of, path_of_http2] {
        assert_eq!(ask(&site, "/os", &[IPHONE]), "/0");
        assert_eq!(ask(&site, "/os", &[ANDROID]), "/1");
        assert_eq!(ask(&site, "/os", &[DESKTOP]), "/own");
    }
    let events = site.wait_for_events("clicks", 6);
    let told: Vec<(&Value, &Value)> =
        events.iter().map(|event| (&event["target_index"], &event["target_facts"])).collect();
    let expected = [(json!(0), json!("os=ios")), (json!(1), json!("os=android")), (Value::Null, json!("os=windows"))];
    assert_eq!(told, expected.iter().chain(&expected).map(|(index, facts)| (index, facts)).collect::<Vec<_>>());
}

#[test]
fn each_kind_of_condition_decides_over_both_versions_of_http() {
    let links = [
        link("device", &[json!({"device": "phone"}), json!({"not": {"device": "tablet"}})]),
        link("app", &[json!({"in_app": "tiktok"}), json!({"in_app": true})]),
        link("source", &[json!({"source": "youtube"}), json!({"not": {"source": "direct"}})]),
        link("language", &[json!({"language": ["vi", "th"]}), json!({"not": {"language": "en"}})]),
        link("query", &[json!({"query": {"color": ["red", "dark blue"]}}), json!({"query": {"color": true}})]),
        link("both", &[json!({"os": "ios", "query": {"a": "1"}}), json!({"os": "ios"})]),
        link("past", &[json!({"time": {"zone": "Asia/Seoul", "until": "2026-01-01T00:00"}})]),
        link("future", &[json!({"time": {"zone": "Asia/Seoul", "from": "2099-01-01T00:00"}})]),
        link("open", &[json!({"time": {"zone": "Asia/Seoul", "from": "2026-01-01T00:00", "hours": "00:00-24:00"}})]),
    ];
    let site = site(&links);
    let hints = ["Sec-CH-UA-Platform: \"Android\"", "Sec-CH-UA-Mobile: ?1"];
    let long_language = format!("Accept-Language: {}", "de-DE,".repeat(2000));
    for (target, headers, expected) in [
        ("/device", vec![IPHONE], "/0"),
        ("/device", vec![DESKTOP], "/1"),
        ("/device", [&[DESKTOP][..], &hints].concat(), "/0"),
        ("/app", vec![INSTAGRAM], "/1"),
        ("/app", vec![IPHONE], "/own"),
        ("/app", vec![ANDROID, "X-Requested-With: com.zhiliaoapp.musically"], "/0"),
        ("/source", vec![DESKTOP, "Referer: https://www.youtube.com/watch"], "/0"),
        ("/source", vec![INSTAGRAM], "/1"),
        ("/source", vec![DESKTOP], "/own"),
        ("/language", vec!["Accept-Language: en;q=0.4, vi-VN;q=0.9"], "/0"),
        ("/language", vec!["Accept-Language: ko-KR"], "/1"),
        ("/language", vec!["Accept-Language: en-US,vi;q=0.9"], "/own"),
        ("/language", vec![], "/1"),
        ("/language", vec![&*long_language], "/1"),
        ("/query?Color=dark%20blue", vec![], "/0?Color=dark%20blue"),
        ("/query?color=green", vec![], "/1?color=green"),
        ("/query?colour=red", vec![], "/own?colour=red"),
        ("/both?a=1", vec![IPHONE], "/0?a=1"),
        ("/both?a=2", vec![IPHONE], "/1?a=2"),
        ("/both?a=1", vec![ANDROID], "/own?a=1"),
        ("/past", vec![], "/own"),
        ("/future", vec![], "/own"),
        ("/open", vec![], "/0"),
    ] {
        assert_eq!(path_of(&site, target, &headers), expected, "{target} {headers:?}");
        assert_eq!(path_of_http2(&site, target, &headers), expected, "{target} {headers:?}");
    }
}

#[test]
fn a_country_is_believed_from_a_trusted_proxy_alone() {
    let conditions =
        [json!({"region": ["US-CA"]}), json!({"country": ["VN", "US"]}), json!({"not": {"country": "KR"}})];
    let site = site(&[link("place", &conditions)]);
    for (headers, expected) in [
        (vec!["CF-IPCountry: VN"], "/1"),
        (vec!["CF-IPCountry: us", "CF-Region-Code: CA"], "/0"),
        (vec!["CF-IPCountry: US", "CF-Region-Code: NY"], "/1"),
        (vec!["CF-IPCountry: DE"], "/2"),
        (vec!["CF-IPCountry: KR"], "/own"),
        (vec!["CF-IPCountry: XX"], "/own"),
        (vec!["CF-IPCountry: T1"], "/own"),
        (vec!["CF-IPCountry: VN", "CF-IPCountry: DE"], "/own"),
        (vec![], "/own"),
    ] {
        assert_eq!(path_of(&site, "/place", &headers), expected, "{headers:?}");
    }
    let untrusted =
        Site::new(&[link("place", &conditions).to_string()]).config("[edge]\ncountry_header = \"CF-IPCountry\"\n");
    assert_eq!(path_of(&untrusted.start(), "/place", &["CF-IPCountry: VN"]), "/own");
    let wrong = Site::new(&[]).config("[edge]\ncountry_header = \"CF IPCountry\"\n");
    let (code, said) = wrong.run_refused_start();
    assert!(code == Some(64) && said.contains("edge.country_header: \"CF IPCountry\" is no header's name"), "{said}");
}

#[test]
fn a_visitor_stays_in_a_variant_and_a_click_without_a_cookie_says_so() {
    let mut split = link("split", &[json!({"visitor": "returning", "split": "b"}), json!({"split": "b"})]);
    split["split"] = json!([{"name": "a", "weight": 1}, {"name": "b", "weight": 99}]);
    let site = site(&[split]);
    // One visitor in a hundred belongs to the other variant.
    let first = (0..50)
        .map(|_| site.get("/split", &[IPHONE]))
        .find(|answer| answer.header("location").is_some_and(|location| location.ends_with("/1")));
    let cookie = format!("Cookie: {}", first.unwrap().cookie());
    for _ in 0..20 {
        assert_eq!(path_of(&site, "/split", &[IPHONE, &cookie]), "/0");
    }
    let event = until("the event with the cookie", || {
        site.events("clicks").into_iter().find(|event| event["visitor_new"] == false)
    });
    assert_eq!((&event["split"], &event["split_basis"]), (&json!("b"), &json!("visitor")));
    assert_eq!(event["target_facts"], "visitor=returning");
    site.get("/split", &[IPHONE, &cookie, "Sec-GPC: 1"]);
    let unlinked =
        until("the event without a visitor", || site.events("clicks").into_iter().find(|event| event["gpc"] == true));
    assert_eq!((&unlinked["split_basis"], &unlinked["target_facts"]), (&json!("click"), &json!("visitor=new")));
    assert!(unlinked["split_bucket"].as_u64().unwrap() < 10_000);
}

#[test]
fn the_journal_the_event_and_clicks_why_tell_the_same_choice() {
    let site = site(&[link("why", &[json!({"os": "android"}), json!({"language": "vi", "query": {"sub1": "reel"}})])]);
    site.get("/why?sub1=reel", &[IPHONE, "Accept-Language: vi-VN"]);
    let event = event_of(&site, "why");
    let facts = "os=ios;language=vi;query.sub1=reel";
    assert_eq!((&event["target_index"], &event["target_facts"]), (&json!(1), &json!(facts)));
    let id = event["click_id"].as_str().unwrap();
    let data = site.data().display().to_string();
    let output = site.command(&["clicks", "why", "--data-dir", &data, id]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("target     targets/1, saw {facts}")), "{said}");
}

#[test]
fn under_strict_only_what_the_targets_asked_for_is_recorded() {
    let conditions = [json!({"query": {"gclid": true, "color": ["red"]}}), json!({"os": "android"})];
    let site = site(&[link("strict", &conditions)]);
    site.get("/strict?cons=0&gclid=SECRET&color=PURPLE", &[INSTAGRAM, "Accept-Language: vi", "CF-IPCountry: VN"]);
    let event = event_of(&site, "strict");
    assert_eq!(event["privacy_mode"], "strict");
    assert_eq!(event["target_facts"], "os=ios;query.color=present;query.gclid=present");
    // The journal's own bytes: a ring, and segments.
    let mut seen = 0;
    for (path, bytes) in files_below(vec![site.data()]) {
        seen += memchr::memmem::find_iter(&bytes, b"query.gclid=present").count();
        for secret in [&b"SECRET"[..], b"in_app=instagram", b"country=", b"device="] {
            assert!(memchr::memmem::find(&bytes, secret).is_none(), "{}", path.display());
        }
    }
    assert!(seen >= 2, "in the journal and in the click file");
}

#[test]
fn placeholders_are_filled_and_encoded_for_their_place() {
    let nested = "https%3A%2F%2Fshop.example.com%2F%3Fq%3D{query:q}%26s%3D{sub1}";
    let url = format!(
        "https://shop.example.com/{{country}}/{{query:q}}/{{os}}?d={{device}}&l={{language}}&c={{country}}\
         &q={{query:q}}&n={nested}&h={{domain}}&t={{click_ms}}#{{source}}"
    );
    let link =
        json!({"code": "fill", "url": url, "kind": "plain", "test": true, "append_token": false, "query": "drop"});
    let site = site(&[link]);
    let full = path_of(&site, "/fill?q=a%26b%2F&sub1=c%26", &[IPHONE, "CF-IPCountry: VN", "Accept-Language: vi"]);
    let (before, behind) = full.split_once("&t=").unwrap();
    let once = "a%26b%2F";
    let twice = "https%3A%2F%2Fshop.example.com%2F%3Fq%3Da%2526b%252F%26s%3Dc%2526";
    assert_eq!(before, format!("/VN/{once}/ios?d=phone&l=vi&c=VN&q={once}&n={twice}&h=%2A"));
    let (time, fragment) = behind.split_once('#').unwrap();
    assert!(time.len() == 13 && time.parse::<u64>().is_ok() && fragment == "direct", "{behind}");
    let empty = path_of(&site, "/fill?q=..", &["Accept-Language: *"]);
    assert!(empty.starts_with("/none/none/other?d=other&l=&c=&q=..&n="), "{empty}");
}

#[test]
fn an_intent_carries_the_token_to_the_app_and_to_the_fallback() {
    let intent = "intent://shop.example.com/mug?wp={click_token}#Intent;scheme=https;package=com.example.shop;\
                  S.browser_fallback_url=https%3A%2F%2Fshop.example.com%2Fmug%3Fwp%3D{click_token};end";
    let mut mug = link("mug", &[json!({"os": "android"})]);
    mug["targets"][0]["url"] = json!(intent);
    let site = Site::new(&[mug.to_string()]).config("[links]\napp_schemes = [\"intent\"]\n").start();
    let answer = site.get("/mug", &[ANDROID]);
    let location = answer.header("location").unwrap();
    let token = location.split_once("wp=").unwrap().1.split('#').next().unwrap();
    assert!(token.starts_with("v1."), "{location}");
    let fallback = format!("S.browser_fallback_url=https%3A%2F%2Fshop.example.com%2Fmug%3Fwp%3D{token};end");
    assert!(location.ends_with(&fallback), "{location}");
    mug["targets"][0]["url"] = json!("intent://shop.example.com/mug#Intent;scheme=https;end");
    site.write("bad.jsonl", &mug.to_string());
    let bad = site.path("bad.jsonl").display().to_string();
    let args = ["check", "--config", "waypost.toml", "--links", &bad, "--data-dir", "other"];
    let output = site.command(&args).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("targets/0/url: is an intent: URL without S.browser_fallback_url="), "{said}");
}

#[test]
fn explain_tells_each_condition_with_the_value_it_saw() {
    let mut told = link("told", &[json!({"os": "ios", "not": {"country": "VN"}}), json!({"split": "a"})]);
    told["split"] = json!([{"name": "a", "weight": 99}, {"name": "b", "weight": 1}]);
    let site = site(&[told]);
    let links = site.path("links.jsonl").display().to_string();
    let args =
        ["explain", "--json", "--links", &links, "http://go.example.com/told", "-H", ANDROID, "-H", "Sec-GPC: 1"];
    let output = site.command(&args).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    let results = |name: &str| -> Vec<&str> {
        checks.iter().filter(|check| check["check"] == name).map(|check| check["result"].as_str().unwrap()).collect()
    };
    let conditions = results("condition");
    assert_eq!(conditions[0], "targets/0: not: country is VN: saw unknown: no, because it is unknown");
    assert_eq!(conditions[1], "targets/0: os is ios: saw android: no");
    assert!(conditions[2].starts_with("targets/1: split is a: saw "), "{conditions:?}");
    assert!(results("split")[0].ends_with("by the click's id, which differs each time"), "{checks:?}");
    assert_eq!(results("target").len(), 1);
}

#[test]
fn a_suspended_host_switches_off_a_link_whose_target_leads_there() {
    let mut site = Site::without_links_file();
    let mut mug = link("mug", &[json!({"os": "ios"})]);
    mug["targets"][0]["url"] = "https://app.example.com/mug".into();
    site.write("links.jsonl", &format!("{mug}\n{}\n", link("cup", &[json!({"os": "ios"})])));
    let run = |site: &Site, args: &[&str]| {
        let data = site.data().display().to_string();
        let output = site.command(&[&["links"], args, &["--data-dir", &data]].concat()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&site, &["add", "links.jsonl"]);
    run(&site, &["disable", "--host", "App.example.com", "--reason", "broken in"]);
    site = site.start();
    for agent in [IPHONE, DESKTOP] {
        assert_eq!(site.get("/mug", &[agent]).status, 410, "{agent}");
    }
    assert_eq!(path_of(&site, "/cup", &[IPHONE]), "/0", "no destination of this link is on the host");
    site.stop();
    run(&site, &["enable", "--host", "app.example.com"]);
    site.restart();
    assert_eq!(site.get("/mug", &[IPHONE]).header("location"), Some("https://app.example.com/mug"));
}

#[test]
fn the_targets_of_a_domain_serve_its_links_that_have_none() {
    let domain = "[links]\napp_schemes = [\"exampleshop\"]\n[domains.\"go.example.com\"]\n\
                  split = [{ name = \"a\", weight = 1 }, { name = \"b\", weight = 99 }]\ntargets = [\n\
                  { when = { os = \"ios\" }, url = \"https://app.example.com/{code}/x?c={code}\" },\n\
                  { when = { os = \"android\" }, url = \"exampleshop://open/{code}\" },\n\
                  { when = { split = \"b\", language = \"vi\" }, url = \"https://shop.example.vn/\" },\n]\n";
    let plain = |code: &str, more: Value| {
        let mut link = json!({"code": code, "url": "https://shop.example.com/own", "kind": "plain", "test": true});
        link["domain"] = json!("go.example.com");
        link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        link.to_string()
    };
    let own = json!([{"when": {"os": "windows"}, "url": "https://shop.example.com/windows"}]);
    let links = [
        plain("plain", json!({})),
        plain("bare", json!({"append_token": false, "query": "drop"})),
        plain("own", json!({"targets": own})),
        json!({"code": "star", "url": "https://shop.example.com/own", "kind": "plain", "test": true}).to_string(),
    ];
    let site = Site::new(&links).config(domain).start();
    let location = |target: &str, headers: &[&str]| {
        site.get(target, headers).header("location").map(|location| location.split("wp=").next().unwrap().to_owned())
    };
    let answered = |target: &str, headers: &[&str]| location(target, headers).unwrap();
    assert_eq!(answered("/plain?k=1", &[IPHONE]), "https://app.example.com/plain/x?c=plain&k=1&");
    assert_eq!(answered("/bare?k=1", &[IPHONE]), "https://app.example.com/bare/x?c=bare", "the link's own rules");
    assert_eq!(answered("/plain", &[DESKTOP]), "https://shop.example.com/own?");
    assert_eq!(answered("/own", &[IPHONE]), "https://shop.example.com/own?", "a link with targets has its own alone");
    assert_eq!(answered("/own", &[DESKTOP]), "https://shop.example.com/windows?");
    assert_eq!(location("/plain", &[ANDROID]), None, "the page of an app's destination");
    assert!(site.get("/plain", &[ANDROID]).text().contains("href=\"exampleshop://open/plain?wp=v1."));
    let page = site.get("/plain+", &[]).text();
    assert!(page.contains("to another page"), "{page}");
    let event = until("the event of an iPhone", || {
        site.events("clicks").into_iter().find(|event| event["target_index"] == 0 && event["code"] == "plain")
    });
    assert_eq!((&event["targets_of"], &event["target_facts"]), (&json!("domain"), &json!("os=ios")));
    let event = until("the event of an own target", || {
        site.events("clicks").into_iter().find(|event| event["target_index"] == 0 && event["code"] == "own")
    });
    assert_eq!(event["targets_of"], Value::Null);
    // A visitor has one variant on all links of the domain.
    let vietnamese = [DESKTOP, "Accept-Language: vi"];
    let first = site.get("/plain", &vietnamese);
    let cookie = format!("Cookie: {}", first.cookie());
    let again = answered("/plain", &[DESKTOP, "Accept-Language: vi", &cookie]);
    let other = answered("/bare", &[DESKTOP, "Accept-Language: vi", &cookie]);
    assert_eq!(again.contains("example.vn"), other.contains("example.vn"));
}

#[test]
fn wrong_targets_of_a_domain_are_refused_with_their_place() {
    for (targets, expected) in [
        (
            "[{ when = { os = \"symbian\" }, url = \"https://a.example/\" }]",
            "targets/0/when/os: \"symbian\" is unknown",
        ),
        ("[{ when = { os = \"ios\" }, url = \"https://a.example/{creator}\" }]", "targets/0/url: has {creator}"),
        ("[{ when = { os = \"ios\" }, url = \"shopapp://a\" }]", "targets/0/url: has the scheme \"shopapp\""),
        ("[{ when = { os = \"ios\" }, url = \"https://b.example/x\" }]", "names the host b.example"),
        ("[{ when = {}, url = \"https://a.example/\" }]", "targets/0/when: has no condition"),
    ] {
        let settings = format!("[domains.\"go.example.com\"]\ntargets = {targets}\n[domains.\"b.example\"]\n");
        let (code, said) = Site::new(&[]).config(&settings).run_refused_start();
        assert!(code == Some(64) && said.contains(expected), "{expected}: {said}");
    }
}
