//! Pages in place of a redirect: out of an app's own browser, and to an app with a way to the web.

use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    dsl::{Answer, Site, until},
    http2_get::get_over_http2,
    need,
};

const ANDROID: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Mobile Safari/537.36";
const IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                      like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const FACEBOOK_ANDROID: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) \
                                AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile \
                                Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.35.107;]";
const TIKTOK_IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                             (KHTML, like Gecko) Mobile/15E148 musical_ly_34.5.0 BytedanceWebview/d8a21c6";
const INSTAGRAM_IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) \
                                AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 330.0.0.26.103";

/// A live link whose clicks count.
fn link(code: &str) -> Value {
    let created = jiff::Timestamp::now().strftime("%Y-%m-%dT00:00:00Z").to_string();
    json!({"code": code, "url": format!("https://shop.example.com/{code}?a=1&b=2"), "kind": "plain", "creator": "c_1",
        "created_at": created})
}

fn site(settings: &str, links: &[Value]) -> Site {
    let links: Vec<String> = links.iter().map(Value::to_string).collect();
    Site::new(&links).config(settings).start()
}

const OPEN_OUTSIDE: &str = "[domains.\"*\"]\nin_app = \"open_outside\"\n";

/// The URL of the link with this id in a page; `None`: the page has no such link.
fn url_of_link(answer: &Answer, id: &str) -> Option<String> {
    let page = answer.text();
    let tag = page.split_once(&format!("<a id=\"{id}\""))?.1.split_once('>')?.0.to_owned();
    let url = tag.split_once("href=\"")?.1.split_once('"')?.0.to_owned();
    Some(url.replace("&amp;", "&"))
}

/// The click token in a URL.
fn token_of(url: &str) -> String {
    let behind = url.split_once("wp=").unwrap_or_else(|| panic!("{url} has no token")).1;
    behind.split(['&', '#', ';']).next().unwrap().to_owned()
}

/// The newest event of a code.
fn event_of(site: &Site, code: &str) -> Value {
    until("the event", || site.events("clicks").into_iter().rfind(|event| event["code"] == code))
}

#[test]
fn a_buyer_in_an_apps_own_browser_gets_a_page_that_leaves_it_as_the_app_and_the_system_allow() {
    let site = site(OPEN_OUTSIDE, &[link("mug")]);
    let wechat = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                  Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.50";
    let kakao = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Mobile/15E148 KAKAOTALK 10.4.5";
    let old = TIKTOK_IPHONE.replace("OS 17_5", "OS 16_6");
    for (headers, way_out, start) in [
        (vec![FACEBOOK_ANDROID], "intent", Some("intent://shop.example.com/mug?a=1&b=2&wp=v1.")),
        (vec![ANDROID, "X-Requested-With: com.instagram.android"], "intent", Some("intent://shop.example.com/mug?")),
        (vec![TIKTOK_IPHONE], "safari", Some("x-safari-https://shop.example.com/mug?a=1&b=2&wp=v1.")),
        (vec![INSTAGRAM_IPHONE], "app", Some("instagram://extbrowser/?url=https%3A%2F%2Fshop.example.com%2Fmug%3F")),
        (vec![kakao], "app", Some("kakaotalk://web/openExternal?url=https%3A%2F%2Fshop.example.com%2Fmug%3F")),
        (vec![wechat], "page", None),
        (vec![&*old], "page", None),
        (vec![ANDROID, "X-Requested-With: com.example.unknown"], "page", None),
    ] {
        let before = site.events("clicks").len();
        let answer = site.get("/mug", &headers);
        assert_eq!((answer.status, answer.header("location")), (200, None), "{headers:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let web = url_of_link(&answer, "web").unwrap();
        assert!(web.starts_with("https://shop.example.com/mug?a=1&b=2&wp=v1."), "{web}");
        let open = url_of_link(&answer, "open");
        assert_eq!(open.is_some(), start.is_some(), "{headers:?}");
        if let (Some(open), Some(start)) = (open, start) {
            assert!(open.starts_with(start), "{open}");
            assert_eq!(open.matches(&token_of(&web)).count(), if way_out == "intent" { 2 } else { 1 }, "{open}");
        }
        let events = site.wait_for_events("clicks", before + 1);
        let event = events.last().unwrap();
        assert_eq!((&event["opened_outside"], &event["status"]), (&json!(way_out), &json!(200)), "{event}");
        assert_eq!((&event["outcome"], &event["in_app"]), (&json!("redirected"), &json!(true)));
        assert_eq!(event["destination"], "https://shop.example.com/mug?a=1&b=2&wp={click_token}");
        assert_eq!((&event["token_placed"], &event["cookie_set"]), (&json!(true), &json!(true)));
        assert!(event["target_facts"].as_str().unwrap().contains("in_app="), "{event}");
    }
}

#[test]
fn a_page_is_one_click_that_counts_once_and_comes_back_with_the_cookie() {
    let site = site(OPEN_OUTSIDE, &[link("mug")]);
    let first = site.get("/mug", &[FACEBOOK_ANDROID]);
    let event = event_of(&site, "mug");
    assert_eq!((&event["countable"], &event["class"]), (&json!(true), &json!("human")));
    let token = token_of(&url_of_link(&first, "web").unwrap());
    let data = site.data().display().to_string();
    let output = site.command(&["token", "verify", "--data-dir", &data, &token]).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains(event["click_id"].as_str().unwrap()), "{said}");
    // A buyer who goes back opens the page again.
    site.get("/mug", &[FACEBOOK_ANDROID, &format!("Cookie: {}", first.cookie())]);
    let events = site.wait_for_events("clicks", 2);
    assert_eq!((&events[1]["countable"], &events[1]["countable_reason"]), (&json!(false), &json!("duplicate")));
}

#[test]
fn previews_machines_and_requests_without_a_tap_are_redirected_as_ever() {
    let settings = format!("{OPEN_OUTSIDE}prefetch = \"redirect\"\napp_resolves = true\n");
    let site = site(&settings, &[link("mug")]);
    for headers in [
        vec![ANDROID],
        vec![IPHONE],
        vec!["User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Instagram"],
        vec!["User-Agent: facebookexternalhit/1.1"],
        vec!["User-Agent: WhatsApp/2.23.20.0 A"],
        vec!["User-Agent: Mozilla/5.0 (Linux; Android 14; wv) Googlebot/2.1"],
        vec![FACEBOOK_ANDROID, "Sec-Purpose: prefetch"],
        vec![FACEBOOK_ANDROID, "Sec-Fetch-Dest: image"],
        vec![FACEBOOK_ANDROID, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Mode: navigate"],
    ] {
        let answer = site.get("/mug", &headers);
        assert_eq!(answer.status, 302, "{headers:?}: {}", answer.text());
        assert!(answer.header("location").unwrap().starts_with("https://shop.example.com/mug?a=1&b=2"));
    }
    let head = format!("HEAD /mug HTTP/1.1\r\nHost: go.example.com\r\n{FACEBOOK_ANDROID}\r\n\r\n");
    assert_eq!(site.send(&head).status, 302);
    let app = site.get("/mug", &[FACEBOOK_ANDROID, "Accept: application/vnd.waypost.click+json"]);
    let json: Value = serde_json::from_slice(&app.body).unwrap();
    assert_eq!((app.status, json["location"].as_str().is_some()), (200, true));
    for event in site.wait_for_events("clicks", 11) {
        assert_eq!(event["opened_outside"], Value::Null, "{event}");
    }
    // Without the setting, an app's browser is one as any other.
    let plain = self::site("[domains.\"*\"]\n", &[link("mug")]);
    assert_eq!(plain.get("/mug", &[FACEBOOK_ANDROID]).status, 302);
    assert_eq!(event_of(&plain, "mug")["target_facts"], Value::Null);
}

#[test]
fn a_target_that_asks_for_the_app_decides_about_its_buyers_and_the_others_leave() {
    let mut mug = link("mug");
    mug["targets"] = json!([
        {"when": {"in_app": "tiktok"}, "url": "https://shop.example.com/tiktok"},
        {"when": {"os": "android"}, "url": "https://shop.example.com/android"},
    ]);
    let site = site(OPEN_OUTSIDE, &[mug]);
    let decided = site.get("/mug", &[TIKTOK_IPHONE]);
    assert!(decided.header("location").unwrap().starts_with("https://shop.example.com/tiktok?wp="));
    assert_eq!(event_of(&site, "mug")["opened_outside"], Value::Null);
    let android = site.get("/mug", &[FACEBOOK_ANDROID]);
    assert!(url_of_link(&android, "open").unwrap().starts_with("intent://shop.example.com/android?wp=v1."));
    let event = until("the second event", || site.events("clicks").get(1).cloned());
    assert_eq!((&event["target_index"], &event["opened_outside"]), (&json!(1), &json!("intent")));
    assert_eq!(event["target_facts"], "os=android;in_app=facebook");
    let data = site.data().display().to_string();
    let why = site.command(&["clicks", "why", "--data-dir", &data, event["click_id"].as_str().unwrap()]);
    let output = { why }.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("leaving the app's own browser: intent"), "{said}");
}

#[test]
fn the_other_browser_gets_the_token_where_the_cookie_reaches_the_shop_and_no_one_who_refuses_it() {
    let settings = "[domains.\"go.example.com\"]\nin_app = \"open_outside\"\ncookie_domain = \"example.com\"\n\
                    gpc = \"strict\"\n";
    let mut mug = link("mug");
    mug["domain"] = json!("go.example.com");
    let site = site(settings, &[mug]);
    let redirected = site.get("/mug", &[ANDROID]);
    assert_eq!(redirected.token(), None, "the cookie reaches the shop");
    let page = site.get("/mug", &[FACEBOOK_ANDROID]);
    assert!(page.header("set-cookie").is_some());
    assert!(token_of(&url_of_link(&page, "web").unwrap()).starts_with("v1."));
    for headers in [&[FACEBOOK_ANDROID, "Sec-GPC: 1"][..], &[FACEBOOK_ANDROID]] {
        let path = if headers.len() == 1 { "/mug?cons=0" } else { "/mug" };
        let page = site.get(path, headers);
        assert_eq!((page.status, page.header("set-cookie")), (200, None));
        assert!(!page.text().contains("wp="), "{}", page.text());
    }
}

#[test]
fn a_destination_of_another_scheme_is_tried_by_a_page_that_goes_to_the_web() {
    let mut mug = link("mug");
    mug["targets"] = json!([{"when": {"os": ["android", "ios"]}, "url": "exampleshop://product/mug?ref={code}"}]);
    let mut old = mug.clone();
    (old["code"], old["expires_at"]) = (json!("old"), json!("2026-01-01T00:00:00Z"));
    old["created_at"] = json!("2025-12-01T00:00:00Z");
    let site = site("[links]\napp_schemes = [\"exampleshop\"]\n", &[mug, old]);
    let page = site.get("/mug?sub1=x&c=3", &[IPHONE, "Accept-Language: vi-VN"]);
    assert_eq!((page.status, page.header("location")), (200, None));
    assert!(page.header("set-cookie").is_some());
    let text = page.text();
    assert!(text.contains("<html lang=\"vi\" dir=\"ltr\">") && text.contains("Mở ứng dụng"), "{text}");
    let (open, web) = (url_of_link(&page, "open").unwrap(), url_of_link(&page, "web").unwrap());
    assert!(open.starts_with("exampleshop://product/mug?ref=mug&c=3&wp=v1."), "{open}");
    assert!(web.starts_with("https://shop.example.com/mug?a=1&b=2&c=3&wp=v1."), "{web}");
    assert_eq!(token_of(&open), token_of(&web), "one click");
    let event = event_of(&site, "mug");
    assert_eq!(event["destination"], "exampleshop://product/mug?ref=mug&c=3&wp={click_token}");
    assert_eq!(
        (&event["status"], &event["target_index"], &event["token_placed"]),
        (&json!(200), &json!(0), &json!(true))
    );
    // Of an expired link it carries no token.
    let page = site.get("/old", &[IPHONE]);
    assert_eq!((page.status, page.header("set-cookie")), (200, None));
    assert!(url_of_link(&page, "open").unwrap().ends_with("ref=old"), "{}", page.text());
    // Whoever opens no tab is led to the app's URL as ever.
    for headers in [&[IPHONE, "Sec-Fetch-Dest: image"][..], &["User-Agent: curl/8.7.1 (Android)"]] {
        let answer = site.get("/mug", headers);
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("exampleshop://product/mug?ref=mug"), "{location}");
    }
}

#[test]
fn the_policy_of_a_page_allows_its_own_style_and_script_alone() {
    let site = site(&format!("{OPEN_OUTSIDE}referrer_policy = \"no-referrer\"\n"), &[link("mug")]);
    let page = site.get("/mug", &[FACEBOOK_ANDROID, "Accept-Language: ar"]);
    let text = page.text();
    let hash_of = |tag: &str| {
        let inner = text.split_once(&format!("<{tag}>")).unwrap().1.split_once(&format!("</{tag}>")).unwrap().0;
        STANDARD.encode(Sha256::digest(inner))
    };
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash_of("style"),
        hash_of("script")
    );
    assert_eq!(page.header("content-security-policy"), Some(&*expected));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(text.contains("<html lang=\"ar\" dir=\"rtl\">"), "{text}");
    assert!(text.contains("<meta name=\"referrer\" content=\"no-referrer\">"), "{text}");
    assert!(text.contains("<meta name=\"robots\" content=\"noindex\">"), "{text}");
    for asset in ["src=", "@import", "url(", "<link", "<img", "style=", "onclick"] {
        assert!(!text.contains(asset), "{asset}: {text}");
    }
}

#[test]
fn each_row_of_the_table_is_answered_alike_over_both_versions_of_http() {
    let mut app = link("app");
    app["targets"] = json!([{"when": {"os": "ios"}, "url": "exampleshop://app"}]);
    let mut store = link("store");
    store["targets"] = json!([{"when": {"os": "android"}, "url": "intent://a#Intent;scheme=https;\
        S.browser_fallback_url=https%3A%2F%2Fshop.example.com%2F;end"}]);
    let links: Vec<String> = [link("mug"), app, store].iter().map(Value::to_string).collect();
    let settings = format!("[links]\napp_schemes = [\"exampleshop\", \"intent\"]\n{OPEN_OUTSIDE}");
    let site = Site::new(&links).listening_with("http2 = true", &settings).start();
    let (page, redirect) = (["cache-control", "content-security-policy", "set-cookie"], ["location", "set-cookie", ""]);
    for (target, headers, status, present, said) in [
        ("/mug", &[FACEBOOK_ANDROID][..], 200, page, "intent://shop.example.com/mug?"),
        ("/mug", &[TIKTOK_IPHONE], 200, page, "x-safari-https://shop.example.com/mug?"),
        ("/app", &[IPHONE, "Accept-Language: th"], 200, page, "เปิดแอป"),
        ("/store", &[ANDROID], 302, redirect, ""),
        ("/mug", &[ANDROID], 302, redirect, ""),
        ("/mug", &[FACEBOOK_ANDROID, "Sec-Fetch-Dest: image"], 302, ["location", "", ""], ""),
        ("/mug", &[FACEBOOK_ANDROID, "Sec-Purpose: prefetch"], 503, ["cache-control", "", ""], ""),
        ("/mug+", &[FACEBOOK_ANDROID], 200, ["content-security-policy", "cache-control", ""], "Follow the link"),
        ("/nobody+", &[FACEBOOK_ANDROID], 404, ["cache-control", "", ""], "Link not found"),
    ] {
        let lines: Vec<&[u8]> = headers.iter().map(|line| line.as_bytes()).collect();
        let mut versions = [site.get(target, headers), get_over_http2(&site, target, &lines)];
        for answer in &mut versions {
            assert_eq!(answer.status, status, "{target} {headers:?}: {}", answer.text());
            for name in ["location", "set-cookie", "content-security-policy", "cache-control"] {
                let is_present = answer.header(name).is_some();
                assert!(is_present || !present.contains(&name), "{target} {headers:?} has no {name}: {answer:?}");
            }
            assert_eq!(answer.header("set-cookie").is_some(), present.contains(&"set-cookie"), "{target} {headers:?}");
            assert_eq!(answer.header("location").is_some(), present.contains(&"location"), "{target} {headers:?}");
            assert!(answer.text().contains(said), "{target} {headers:?}: {}", answer.text());
            // HTTP/2 has its own way to end a body.
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        }
        let names = versions.each_ref().map(|answer| answer.header_names().join(" ").to_ascii_lowercase());
        assert_eq!(names[0], names[1], "{target} {headers:?}");
    }
}

#[test]
fn explain_tells_the_page_and_what_it_leaves() {
    let mut app = link("app");
    app["targets"] = json!([{"when": {"os": "ios"}, "url": "exampleshop://app"}]);
    let settings = format!("{OPEN_OUTSIDE}[links]\napp_schemes = [\"exampleshop\"]\n");
    let site = site(&settings, &[link("mug"), app]);
    let links = site.path("links.jsonl").display().to_string();
    for (code, agent, expected) in [
        ("mug", FACEBOOK_ANDROID, ["facebook on android", "leaves the app's own browser: intent"]),
        ("app", TIKTOK_IPHONE, ["tiktok on ios 17", "tries the app, then goes to the link's own url"]),
    ] {
        let url = format!("http://go.example.com/{code}");
        let args = ["explain", "--config", "waypost.toml", "--json", "--links", &links, &url, "-H", agent];
        let output = site.command(&args).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (check, expected) in ["app_browser", "page"].into_iter().zip(expected) {
            let checks = found["checks"].as_array().unwrap();
            let result = checks.iter().find(|found| found["check"] == check).unwrap();
            assert_eq!(result["result"], expected, "{found}");
        }
        assert_eq!(found["answer"]["status"], 200);
        assert!(!found["answer"]["body"].as_str().unwrap().contains("v1."), "no token is told: {found}");
    }
}

#[test]
fn an_unknown_word_of_in_app_is_refused_at_the_start() {
    let (code, said) = Site::new(&[]).config("[domains.\"*\"]\nin_app = \"outside\"\n").run_refused_start();
    assert!(code == Some(64) && said.contains("in_app"), "{said}");
}

#[test]
fn a_browser_on_a_phone_and_on_a_desktop_goes_on_with_script_and_without() {
    let programs = [("chromium", "--version"), ("chromedriver", "--version")];
    if !programs.iter().all(|(name, harmless)| need::has_program(name, harmless)) {
        return;
    }
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/landing_pages.sh"));
    let output = script.env("WAYPOST_BIN", env!("CARGO_BIN_EXE_waypost")).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.lines().filter(|line| line.starts_with("yes ")).count(), 20, "{said}");
}
