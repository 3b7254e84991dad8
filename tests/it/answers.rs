//! The answer table of the design, row by row, on the wire and in the event.

use serde_json::Value;

use crate::dsl::{Site, link, request, until};

/// Every link state a test here needs.
fn site() -> Site {
    Site::new(&[
        link("live"),
        with(&link("started-later"), r#""starts_at":"2999-01-01T00:00:00Z""#),
        with(&link("off"), r#""enabled":false"#),
        with(&link("off-fallback"), r#""enabled":false,"fallback_url":"https://shop.example.com/instead""#),
        expired("old", ""),
        expired("old-fallback", r#","fallback_url":"https://shop.example.com/instead""#),
        r#"{"code":"plain","url":"https://blog.example.com/x","kind":"plain","creator":"c_1","test":true,"append_token":false}"#.into(),
        r#"{"code":"tpl","url":"https://shop.example.com/{code}?cid={click_id}&t={click_token}&s={sub1}&c={creator}","kind":"plain","creator":"c_1","test":true}"#.into(),
        r#"{"code":"query","url":"https://shop.example.com/p?ref=creator","kind":"plain","creator":"c_1","test":true,"append_token":false,"query":"stored-wins","query_allow":["ref","color"]}"#.into(),
    ])
    .start()
}

fn with(link: &str, field: &str) -> String {
    format!("{},{field}}}", &link[..link.len() - 1])
}

/// A link whose 100 days are over.
fn expired(code: &str, more: &str) -> String {
    format!(
        r#"{{"code":"{code}","url":"https://shop.example.com/old","kind":"product","creator":"c_1","creator_type":"affiliate","seller":"s_1","product":"p_1","plan":"open","rate_bp":1200,"created_at":"2020-01-01T00:00:00Z"{more}}}"#
    )
}

/// The event of the one request that was sent for `code`.
fn event(site: &Site, topic: &str, code: &str) -> Value {
    until(&format!("the event of {code}"), || site.events(topic).into_iter().find(|event| event["code"] == code))
}

const REDIRECT: [&str; 7] =
    ["cache-control", "content-length", "date", "location", "referrer-policy", "set-cookie", "x-robots-tag"];

fn without_cookie() -> Vec<&'static str> {
    REDIRECT.into_iter().filter(|name| *name != "set-cookie").collect()
}

#[test]
fn a_live_link_is_a_302_with_exactly_the_headers_of_the_table() {
    let site = site();
    let answer = site.get("/live", &[]);
    assert_eq!(answer.status, 302);
    assert_eq!(answer.names(), REDIRECT);
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert_eq!(answer.header("content-length"), Some("0"));
    assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    assert_eq!(answer.header("x-robots-tag"), Some("noindex"));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-wp=v1."), "{cookie}");
    assert!(cookie.ends_with("; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("https://shop.example.com/view/live?creator=c_1&wp=v1."), "{location}");

    let event = event(&site, "clicks", "live");
    assert_eq!(event["outcome"], "redirected");
    assert_eq!(event["status"], 302);
    assert_eq!(event["cookie_set"], true);
    assert_eq!(event["token_placed"], true);
    assert_eq!(event["visitor_new"], true);
    assert_eq!(event["destination"], "https://shop.example.com/view/live?creator=c_1&wp={click_token}");
    assert!(!event.to_string().contains(&answer.token().unwrap()), "the record holds no bearer token");
}

#[test]
fn head_is_the_same_without_cookie_and_token() {
    let site = site();
    let answer = site.send(&request("HEAD", "/live", &[]));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/view/live?creator=c_1"));
    assert_eq!(answer.names(), without_cookie());
    assert_eq!(answer.header("content-length"), Some("0"));
    let event = event(&site, "clicks", "live");
    assert_eq!((event["method"].as_str(), event["class"].as_str()), (Some("HEAD"), Some("head")));
    assert_eq!(event["countable"], false);
}

#[test]
fn a_prefetch_is_refused_so_that_the_real_tap_comes_through() {
    for header in ["Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Purpose: preview", "X-Moz: prefetch"] {
        let site = site();
        let answer = site.get("/live", &[header]);
        assert_eq!(answer.status, 503, "{header}");
        assert_eq!(answer.names(), ["cache-control", "content-length", "date"], "{header}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let event = event(&site, "clicks", "live");
        assert_eq!(event["outcome"], "refused_prefetch");
        assert_eq!((event["class"].as_str(), event["countable"].as_bool()), (Some("prefetch"), Some(false)));
    }
}

#[test]
fn a_non_navigation_is_redirected_and_labelled_and_carries_nothing() {
    let site = site();
    let answer = site.get("/live", &["Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"]);
    assert_eq!(answer.status, 302);
    assert_eq!(answer.names(), without_cookie());
    assert_eq!(answer.header("location"), Some("https://shop.example.com/view/live?creator=c_1"));
    let event = event(&site, "clicks", "live");
    assert_eq!(event["class"], "non_navigation");
    assert_eq!(event["sec_fetch"], "no-cors/image/");
}

#[test]
fn gpc_takes_the_visitor_away_and_keeps_the_referral() {
    let site = site();
    let cookie = format!("Cookie: {}", site.get("/plain", &[]).cookie());
    let answer = site.get("/live", &["Sec-GPC: 1", &cookie]);
    assert_eq!(answer.status, 302);
    assert!(answer.header("set-cookie").unwrap().starts_with("__Host-wp=; Max-Age=0"));
    assert!(answer.token().is_some());
    let event = event(&site, "clicks", "live");
    assert_eq!(event["gpc"], true);
    assert!(event.get("visitor_id").is_none() && event.get("previous_click_id").is_none());
    assert_eq!(event["client_ip"], "127.0.0.0");
    assert_eq!(event["client_ip_mode"], "truncated");
    assert_eq!(event["privacy_mode"], "unlinked");
}

#[test]
fn gpc_without_a_cookie_sets_none() {
    let answer = site().get("/live", &["Sec-GPC: 1"]);
    assert_eq!(answer.names(), without_cookie());
}

#[test]
fn refused_consent_takes_the_token_too() {
    let site = site();
    let answer = site.get("/live?cons=0", &[]);
    assert_eq!(answer.names(), without_cookie());
    assert!(answer.token().is_none());
    let event = event(&site, "clicks", "live");
    assert_eq!(event["consent"], "refused");
    assert!(event.get("token_placed").is_none() || event["token_placed"] == false);
}

#[test]
fn an_app_resolves_a_link_to_json() {
    let site = site();
    let answer = site.get("/live", &["Accept: application/vnd.waypost.click+json"]);
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").is_none());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let event = event(&site, "clicks", "live");
    assert_eq!(body["click_id"], event["click_id"]);
    assert!(body["location"].as_str().unwrap().contains(body["click_token"].as_str().unwrap()));
    assert_eq!(body["expires_at_ms"].as_u64().unwrap() - event["clicked_at_ms"].as_u64().unwrap(), 1_209_600_000);
    assert_eq!(event["carrier"], "app");
}

#[test]
fn an_unknown_code_is_a_small_404_and_an_orphan() {
    let site = site();
    let answer = site.get("/nobody", &[]);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.names(), ["cache-control", "content-length", "content-type", "date"]);
    assert!(answer.body.len() < 1024);
    assert_eq!(event(&site, "clicks.orphan", "nobody")["outcome"], "not_found");
}

#[test]
fn an_expired_link_passes_the_buyer_on_without_cookie_and_token() {
    let site = site();
    let answer = site.get("/old", &[]);
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://shop.example.com/old")));
    assert_eq!(answer.names(), without_cookie());
    assert_eq!(event(&site, "clicks.orphan", "old")["outcome"], "passed");
    let answer = site.get("/old-fallback", &[]);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/instead"));
    assert_eq!(event(&site, "clicks.orphan", "old-fallback")["outcome"], "fallback");
}

#[test]
fn a_link_not_started_or_disabled_is_gone_unless_it_has_a_fallback() {
    let site = site();
    for (code, outcome) in [("started-later", "not_started"), ("off", "disabled")] {
        let answer = site.get(&format!("/{code}"), &[]);
        assert_eq!(answer.status, 410);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "a cached 410 would swallow later taps");
        assert_eq!(event(&site, "clicks.orphan", code)["outcome"], outcome);
    }
    assert_eq!(site.get("/off-fallback", &[]).header("location"), Some("https://shop.example.com/instead"));
}

#[test]
fn an_orphan_neither_sets_nor_refreshes_nor_clears_a_cookie() {
    let site = site();
    let cookie = format!("Cookie: {}", site.get("/live", &[]).cookie());
    for path in ["/nobody", "/old", "/off", "/started-later", "/old-fallback"] {
        for headers in [&[&cookie[..]][..], &[&cookie, "Sec-GPC: 1"], &[]] {
            assert!(site.get(path, headers).header("set-cookie").is_none(), "{path}");
        }
    }
}

#[test]
fn a_returning_buyer_keeps_the_visitor_and_displaces_the_last_click() {
    let site = site();
    let first = site.get("/plain", &[]);
    let answer = site.get("/live", &[&format!("Cookie: a=b; {}; c=d", first.cookie())]);
    assert_ne!(answer.cookie(), first.cookie(), "last click wins");
    let (was, is) = (event(&site, "clicks", "plain"), event(&site, "clicks", "live"));
    assert_eq!(is["visitor_id"], was["visitor_id"]);
    assert_eq!(is["previous_click_id"], was["click_id"]);
    assert_eq!(is["previous_code"], "plain");
    assert_eq!(is["cookie_state"], "valid");
    assert!(is["seq"].as_u64() > was["seq"].as_u64());
}

#[test]
fn a_bad_cookie_is_as_good_as_none_and_is_counted() {
    let site = site();
    let good = site.get("/live", &[]).cookie();
    let forged = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { "Q" } else { "A" });
    for (cookie, state) in [
        (forged.clone(), "bad_mac"),
        (good[..good.len() - 5].to_owned(), "malformed"),
        (good.replacen("v1.", "v9.", 1), "malformed"),
        (format!("{good}; {good}"), "duplicate"),
        ("__Host-wp=".to_owned(), "malformed"),
        (format!("__Host-wp={}", "a".repeat(600)), "malformed"),
    ] {
        let answer = site.get("/live", &[&format!("Cookie: {cookie}")]);
        assert_eq!(answer.status, 302, "{state}");
        assert!(answer.header("set-cookie").is_some(), "{state}");
        until(&format!("a cookie counted as {state}: {cookie}"), || {
            (site.metric("waypost_cookies_total", &format!("state=\"{state}\"")) > 0.0).then_some(())
        });
    }
    let unknown = good.split('.').enumerate().map(|(i, part)| if i == 1 { "AAAAAAAA" } else { part });
    let unknown = unknown.collect::<Vec<_>>().join(".");
    site.get("/live", &[&format!("Cookie: {unknown}")]);
    until("an unknown key", || (site.metric("waypost_cookies_total", "state=\"unknown_key\"") > 0.0).then_some(()));
}

#[test]
fn templates_are_filled_percent_encoded_and_carry_the_token_once() {
    let site = site();
    let answer = site.get("/tpl?sub1=a%20b%26c&wp=forged", &[]);
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let pairs: Vec<(String, String)> = location.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    let event = event(&site, "clicks", "tpl");
    assert_eq!(location.path(), "/tpl");
    assert_eq!(pairs[0], ("cid".into(), event["click_id"].as_str().unwrap().into()));
    assert!(pairs[1].1.starts_with("v1."));
    assert_eq!(pairs[2], ("s".into(), "a b&c".into()));
    assert_eq!(pairs[3], ("c".into(), "c_1".into()));
    assert_eq!(pairs.len(), 4, "neither a second token nor one from outside");
    assert_eq!(event["sub1"], "a b&c");
}

#[test]
fn stored_parameters_win_over_a_blog_engine() {
    let site = site();
    let answer = site.get("/query?ref=ghost&color=red&sub2=x&fbclid=f", &[]);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/p?ref=creator&color=red"));
    let event = event(&site, "clicks", "query");
    assert_eq!(event["sub2"], "x");
    assert_eq!((event["ad_click_id_name"].as_str(), event["ad_click_id"].as_str()), (Some("fbclid"), Some("f")));
}

#[test]
fn fixed_paths_are_answered_without_a_click() {
    let site = site();
    for (path, status) in
        [("/", 200), ("/robots.txt", 200), ("/favicon.ico", 204), ("/.well-known/assetlinks.json", 404)]
    {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let head = site.send(&request("HEAD", path, &[]));
        assert_eq!(head.status, status, "{path}");
        let length = (status != 204).then(|| answer.body.len().to_string());
        assert_eq!(head.header("content-length"), length.as_deref(), "{path}: a GET's, and none with a 204");
        assert_eq!(head.names(), answer.names(), "{path}");
    }
    site.get("/nobody", &[]);
    let orphan = event(&site, "clicks.orphan", "nobody");
    assert_eq!(orphan["seq"].as_u64(), site.events("clicks.orphan")[0]["seq"].as_u64(), "it is the first");
}

/// Method, path and header lines.
type Sent<'a> = (&'a str, &'a str, &'a [&'a str]);

/// Beside `Date`, which hyper writes on each, and `Content-Length`, which each but a 204 has.
#[test]
fn every_answer_has_exactly_the_headers_of_its_row() {
    const REDIRECTED: &[&str] = &["cache-control", "location", "referrer-policy", "x-robots-tag"];
    const BODY: &[&str] = &["cache-control", "content-type"];
    let site = site();
    let long = format!("/{}", "a".repeat(4096));
    let app = "Accept: application/vnd.waypost.click+json";
    let cookie = format!("Cookie: {}", site.get("/live", &[]).cookie());
    let rows: [(Sent<'_>, u16, &[&str]); 16] = [
        (("GET", "/live?cons=0", &[]), 302, REDIRECTED),
        (("GET", "/live?cons=0", &[&cookie]), 302, &[REDIRECTED, &["set-cookie"]].concat()),
        (("GET", "/live", &["Sec-Fetch-Dest: iframe"]), 302, REDIRECTED),
        (("GET", "/live", &[app]), 200, BODY),
        (("GET", "/live", &[app, "Sec-GPC: 1", &cookie]), 200, BODY),
        (("GET", "/live", &["Purpose: prefetch", &cookie]), 503, &["cache-control"]),
        (("GET", "/nobody", &[&cookie]), 404, BODY),
        (("GET", "/old", &[&cookie]), 302, REDIRECTED),
        (("GET", "/old-fallback", &[&cookie]), 302, REDIRECTED),
        (("GET", "/off", &[&cookie]), 410, BODY),
        (("GET", "/started-later", &[&cookie]), 410, BODY),
        (("GET", "/", &[&cookie]), 200, BODY),
        (("GET", "/robots.txt", &[&cookie]), 200, BODY),
        (("GET", "/.well-known/assetlinks.json", &[&cookie]), 404, &["cache-control"]),
        (("PUT", "/live", &[&cookie]), 405, &["allow", "cache-control", "content-type"]),
        (("GET", &long, &[&cookie]), 414, BODY),
    ];
    for ((method, path, headers), status, names) in rows {
        let answer = site.send(&request(method, path, headers));
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        let mut expected = [names, &["content-length", "date"]].concat();
        expected.sort_unstable();
        assert_eq!(answer.names(), expected, "{method} {path} {headers:?}");
    }
    let icon = site.get("/favicon.ico", &[]);
    assert_eq!((icon.status, icon.names()), (204, vec!["cache-control", "date"]));
    let no_host = site.send("GET /live HTTP/1.1\r\n\r\n");
    assert_eq!(
        (no_host.status, no_host.names()),
        (400, vec!["cache-control", "content-length", "content-type", "date"])
    );
}
