//! The answer to each kind of request, in the response and in the click's event.

use serde_json::Value;

use crate::dsl::{Site, link, request, until};

/// A site with a link in each state.
fn site_with_every_link_state() -> Site {
    Site::new(&[
        link("live"),
        with(&link("started-later"), r#""starts_at":"2999-01-01T00:00:00Z""#),
        with(&link("off"), r#""enabled":false"#),
        with(&link("off-fallback"), r#""enabled":false,"fallback_url":"https://shop.example.com/instead""#),
        expired("old", ""),
        expired("old-fallback", r#","fallback_url":"https://shop.example.com/instead""#),
        concat!(
            r#"{"code":"plain","url":"https://blog.example.com/x","kind":"plain","creator":"c_1","#,
            r#""test":true,"append_token":false}"#
        )
        .into(),
        concat!(
            r#"{"code":"tpl","url":"https://shop.example.com/{code}?cid={click_id}&t={click_token}&"#,
            r#"s={sub1}&c={creator}","kind":"plain","creator":"c_1","test":true}"#
        )
        .into(),
        concat!(
            r#"{"code":"query","url":"https://shop.example.com/p?ref=creator","kind":"plain","#,
            r#""creator":"c_1","test":true,"append_token":false,"query":"stored-wins","#,
            r#""query_allow":["ref","color"]}"#
        )
        .into(),
    ])
    .config("[domains.\"*\"]\napp_resolves = true\n")
    .start()
}

/// A link with one more field.
fn with(link: &str, field: &str) -> String {
    format!("{},{field}}}", &link[..link.len() - 1])
}

/// A test link of kind `plain` to this URL, with more fields.
fn plain(code: &str, url: &str, more: &str) -> String {
    format!(r#"{{"code":"{code}","url":"{url}","kind":"plain","creator":"c_1","test":true{more}}}"#)
}

/// A link that is older than 100 days.
fn expired(code: &str, more: &str) -> String {
    let facts = r#""creator_type":"affiliate","seller":"s_1","product":"p_1","plan":"open","rate_bp":1200"#;
    let url = "https://shop.example.com/old";
    let start = format!(r#"{{"code":"{code}","url":"{url}","kind":"product","creator":"c_1",{facts}"#);
    format!(r#"{start},"created_at":"2020-01-01T00:00:00Z"{more}}}"#)
}

/// Waits for the event of the only request for `code`.
fn event(site: &Site, topic: &str, code: &str) -> Value {
    until(&format!("the event of {code}"), || site.events(topic).into_iter().find(|event| event["code"] == code))
}

/// The headers of a redirect.
const REDIRECT: [&str; 7] =
    ["cache-control", "content-length", "date", "location", "referrer-policy", "set-cookie", "x-robots-tag"];

fn without_cookie() -> Vec<&'static str> {
    REDIRECT.into_iter().filter(|name| *name != "set-cookie").collect()
}

#[test]
fn a_live_link_is_a_302_with_exactly_these_headers() {
    let site = site_with_every_link_state();
    let answer = site.get("/live", &[]);
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header_names(), REDIRECT);
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
    let site = site_with_every_link_state();
    let answer = site.send(&request("HEAD", "/live", &[]));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/view/live?creator=c_1"));
    assert_eq!(answer.header_names(), without_cookie());
    assert_eq!(answer.header("content-length"), Some("0"));
    let event = event(&site, "clicks", "live");
    assert_eq!((event["method"].as_str(), event["class"].as_str()), (Some("HEAD"), Some("head")));
    assert_eq!(event["countable"], false);
}

#[test]
fn a_prefetch_is_refused_so_that_the_browser_asks_again_at_the_tap() {
    for header in ["Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Purpose: preview", "X-Moz: prefetch"] {
        let site = site_with_every_link_state();
        let answer = site.get("/live", &[header]);
        assert_eq!(answer.status, 503, "{header}");
        assert_eq!(answer.header_names(), ["cache-control", "content-length", "date", "retry-after"], "{header}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let event = event(&site, "clicks", "live");
        assert_eq!(event["outcome"], "refused_prefetch");
        assert_eq!((event["class"].as_str(), event["countable"].as_bool()), (Some("prefetch"), Some(false)));
    }
}

#[test]
fn a_non_navigation_is_redirected_and_labelled_without_cookie_and_token() {
    let site = site_with_every_link_state();
    let answer = site.get("/live", &["Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"]);
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header_names(), without_cookie());
    assert_eq!(answer.header("location"), Some("https://shop.example.com/view/live?creator=c_1"));
    let event = event(&site, "clicks", "live");
    assert_eq!(event["class"], "non_navigation");
    assert_eq!(event["sec_fetch"], "no-cors/image/");
}

#[test]
fn gpc_removes_the_visitor_and_keeps_the_referral() {
    let site = site_with_every_link_state();
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
    let answer = site_with_every_link_state().get("/live", &["Sec-GPC: 1"]);
    assert_eq!(answer.header_names(), without_cookie());
}

#[test]
fn refused_consent_removes_the_token_too() {
    let site = site_with_every_link_state();
    let answer = site.get("/live?cons=0", &[]);
    assert_eq!(answer.header_names(), without_cookie());
    assert!(answer.token().is_none());
    let event = event(&site, "clicks", "live");
    assert_eq!(event["consent"], "refused");
    assert!(event.get("token_placed").is_none() || event["token_placed"] == false);
}

#[test]
fn a_reserved_parameter_is_recorded_filled_in_and_honoured_however_it_is_written() {
    let filled = plain("filled", "https://shop.example.com/p?s={sub1}", "");
    for query in ["sub1=reel", "Sub1=reel", "SUB1=reel", "%73ub1=reel", "a=1&amp;sub1=reel", "amp%3Bsub1=reel"] {
        let site = Site::new(std::slice::from_ref(&filled)).start();
        let location = site.get(&format!("/filled?{query}"), &[]).header("location").unwrap().to_owned();
        let forwarded = if query.starts_with("a=1") { "&a=1" } else { "" };
        assert!(location.starts_with(&format!("https://shop.example.com/p?s=reel{forwarded}&wp=v1.")), "{location}");
        assert_eq!(event(&site, "clicks", "filled")["sub1"], "reel", "{query}");
    }
    for query in ["Cons=0", "cons=%30", "CONS=%30", "%63ons=0", "x=1&amp;cons=0"] {
        let site = site_with_every_link_state();
        let answer = site.get(&format!("/live?{query}"), &[]);
        assert!(answer.header("set-cookie").is_none() && answer.token().is_none(), "{query}");
        assert_eq!(event(&site, "clicks", "live")["consent"], "refused", "{query}");
    }
}

#[test]
fn snapchats_ad_click_id_is_known_in_both_spellings() {
    for query in ["ScCid=abc", "sccid=abc"] {
        let site = site_with_every_link_state();
        site.get(&format!("/live?{query}"), &[]);
        let event = event(&site, "clicks", "live");
        assert_eq!((&event["ad_click_id_name"], &event["ad_click_id"]), (&"ScCid".into(), &"abc".into()));
        assert_eq!(event["source"], "snapchat");
    }
}

#[test]
fn a_stored_parameter_wins_over_every_name_that_php_reads_as_its_own() {
    let url = "https://shop.example.com/p?creator_id=c_1&filter[brand]=x";
    let site = Site::new(&[plain("php", url, r#","append_token":false"#)]).start();
    let location = |query: &str| site.get(&format!("/php?{query}"), &[]).header("location").unwrap().to_owned();
    let stored = location("");
    for thief in ["creator[id=thief", "creator%5Bid=thief", "creator.id=thief", "CREATOR_ID=thief", "filter=thief"] {
        assert_eq!(location(thief), stored, "{thief}");
    }
    assert_eq!(location("filter[size]=9"), format!("{stored}&filter%5Bsize%5D=9"), "another name inside the brackets");
}

#[test]
fn a_sub_is_cut_between_two_characters_in_the_destination_and_in_the_event() {
    let filled = plain("filled", "https://shop.example.com/p?s={sub1}", r#","append_token":false"#);
    let site = Site::new(std::slice::from_ref(&filled)).start();
    // 85 characters of three bytes are 255, and the 86th would end at 258.
    let answer = site.get(&format!("/filled?sub1={}", "%ED%95%9C".repeat(90)), &[]);
    let expected = format!("https://shop.example.com/p?s={}", "%ED%95%9C".repeat(85));
    assert_eq!(answer.header("location"), Some(&*expected));
    let event = event(&site, "clicks", "filled");
    assert_eq!((event["sub1"].as_str(), event["truncated"].as_bool()), (Some(&*"\u{d55c}".repeat(85)), Some(true)));
}

#[test]
fn a_destination_with_the_token_in_its_path_or_twice_is_whole_with_and_without_it() {
    let site = Site::new(&[plain("twice", "https://shop.example.com/t/{click_token}/p?t={click_token}", "")]).start();
    let head = site.send(&request("HEAD", "/twice", &[]));
    assert_eq!(head.header("location"), Some("https://shop.example.com/t/none/p?t="));
    let location = site.get("/twice", &[]).header("location").unwrap().to_owned();
    let token = location.split('/').nth(4).unwrap();
    assert!(token.starts_with("v1.") && location == format!("https://shop.example.com/t/{token}/p?t={token}"));
    let events = site.wait_for_events("clicks", 2);
    assert_eq!(events[1]["destination"], "https://shop.example.com/t/{click_token}/p?t={click_token}");
    assert!(!format!("{events:?}").contains(token), "no token is recorded");
}

#[test]
fn an_app_resolves_a_link_to_json() {
    let site = site_with_every_link_state();
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
fn an_app_is_told_why_a_link_is_dead_and_where_a_browser_would_go() {
    let site = site_with_every_link_state();
    let app = "Accept: text/html;q=0.9, Application/Vnd.Waypost.Click+JSON;q=0.5";
    for (code, status, reason, location) in [
        ("nobody", 404, "not_found", None),
        ("off", 410, "disabled", None),
        ("started-later", 410, "not_started", None),
        ("old", 410, "expired", Some("https://shop.example.com/old")),
        ("old-fallback", 410, "expired", Some("https://shop.example.com/instead")),
        ("off-fallback", 410, "disabled", Some("https://shop.example.com/instead")),
    ] {
        let answer = site.get(&format!("/{code}"), &[app]);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/vnd.waypost.click+json"))
        );
        assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{code}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&body["reason"], &body["status"]), (&reason.into(), &status.into()), "{code}");
        assert_eq!(body.get("location").and_then(Value::as_str), location, "{code}");
        let event = event(&site, "clicks.orphan", code);
        assert_eq!((&event["carrier"], &event["status"]), (&"app".into(), &status.into()), "{code}");
    }
}

#[test]
fn only_a_domain_whose_app_resolves_answers_json_and_the_header_is_read_as_the_standard_says() {
    let app = "Accept: application/vnd.waypost.click+json";
    let plain = Site::with_codes(&["live"]);
    assert_eq!(plain.get("/live", &[app, "User-Agent:"]).status, 302, "one header makes no app");
    assert_eq!(event(&plain, "clicks", "live")["class"], "bot");
    let site = site_with_every_link_state();
    for (headers, status) in [
        (&["Accept: APPLICATION/vnd.waypost.click+json; q=0.001"][..], 200),
        (&["Accept: text/html", app], 200),
        (&["Accept: application/vnd.waypost.click+json;q=0"], 302),
        (&["Accept: application/vnd.waypost.click+json;q=0.000, */*"], 302),
        (&["Accept: application/vnd.waypost.click+jsonx"], 302),
        (&["Accept: */*"], 302),
    ] {
        assert_eq!(site.get("/live", headers).status, status, "{headers:?}");
    }
}

#[test]
fn the_class_of_an_app_follows_its_agent() {
    for (agent, class) in [
        ("okhttp/4.12.0", "human"),
        ("ShopApp/8.2.1 CFNetwork/1496.0.7 Darwin/23.5.0", "human"),
        ("ShopApp/8.2 (iPhone; iOS 18.1)", "human"),
        ("", "bot"),
        ("curl/8.7.1", "bot"),
        ("python-requests/2.32.3", "bot"),
    ] {
        let site = site_with_every_link_state();
        let agent_line = format!("User-Agent: {agent}");
        assert_eq!(site.get("/live", &[&agent_line, "Accept: application/vnd.waypost.click+json"]).status, 200);
        assert_eq!(event(&site, "clicks", "live")["class"], class, "{agent}");
    }
}

#[test]
fn head_of_an_apps_link_answers_as_its_get() {
    let site = site_with_every_link_state();
    let app = ["Accept: application/vnd.waypost.click+json"];
    let (get, head) = (site.get("/live", &app), site.send(&request("HEAD", "/live", &app)));
    assert_eq!((head.status, head.header_names()), (get.status, get.header_names()));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    let events = site.wait_for_events("clicks", 2);
    assert_eq!(events[1]["class"], "head");
}

#[test]
fn a_script_of_a_listed_origin_may_read_the_apps_answer_and_ask_before() {
    let settings = "[domains.\"*\"]\napp_resolves = true\napp_origins = [\"https://m.shop.example.com\"]\n";
    let site = Site::new(&[link("live")]).config(settings).start();
    let (app, origin) = ("Accept: application/vnd.waypost.click+json", "Origin: https://m.shop.example.com");
    for path in ["/live", "/nobody"] {
        let answer = site.get(path, &[app, origin]);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://m.shop.example.com"), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"));
        for headers in [&[app, "Origin: https://evil.example.com"][..], &[app, "Origin: null"], &[app], &[origin]] {
            let answer = site.get(path, headers);
            assert!(answer.header("access-control-allow-origin").is_none(), "{path} {headers:?}");
        }
    }
    let asks = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-shop-app"];
    let preflight = site.send(&request("OPTIONS", "/live", &[&[origin], &asks[..]].concat()));
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://m.shop.example.com"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-shop-app"));
    for headers in [&["Origin: https://evil.example.com", asks[0]][..], &[origin], &asks] {
        let refused = site.send(&request("OPTIONS", "/live", headers));
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, None), "{headers:?}");
    }
}

#[test]
fn a_foreign_cookie_of_our_name_costs_nothing_and_of_several_the_latest_click_counts() {
    let site = site_with_every_link_state();
    let (older, newer) = (site.get("/plain", &[]).cookie(), site.get("/tpl", &[]).cookie());
    for cookies in [
        format!("__Host-wp=1; {newer}"),
        format!("{newer}; __Host-wp=1"),
        format!("{older}; {newer}"),
        format!("{newer}; x=y; {older}; __Host-wp=v1.a.b.c"),
    ] {
        site.get("/live", &[&format!("Cookie: {cookies}")]);
    }
    let events = site.wait_for_events("clicks", 6);
    for event in &events[2..] {
        assert_eq!((&event["cookie_state"], &event["previous_code"]), (&"valid".into(), &"tpl".into()), "{event}");
        assert_eq!(event["visitor_id"], events[1]["visitor_id"]);
    }
}

#[test]
fn the_token_of_a_short_link_before_is_recorded_nowhere() {
    let site = site_with_every_link_state();
    let token = site.get("/live", &[]).token().unwrap();
    let mut count = 1;
    for (query, referer, kept_query, kept_referer) in [
        (format!("a=1&wp={token}&b=2"), String::new(), "a=1&wp=&b=2", None),
        (format!("WP={token}"), String::new(), "WP=", None),
        (format!("ref={token}"), String::new(), "ref=", None),
        ("wp=forged".to_owned(), String::new(), "wp=", None),
        (
            "a=1".to_owned(),
            format!("Referer: https://shop.example.com/p?x=1&wp={token}&y=2"),
            "a=1",
            Some("https://shop.example.com/p?x=1&wp=&y=2"),
        ),
        ("a=1".to_owned(), format!("Referer: https://a.example/t/{token}/"), "a=1", Some("https://a.example/t//")),
        ("a=1".to_owned(), "Referer: https://a.example/?b=v1.x".to_owned(), "a=1", Some("https://a.example/?b=v1.x")),
    ] {
        let headers: &[&str] = if referer.is_empty() { &[] } else { &[&referer] };
        assert_eq!(site.get(&format!("/live?{query}"), headers).status, 302);
        count += 1;
        let event = site.wait_for_events("clicks", count).pop().unwrap();
        assert_eq!(event["query"], kept_query);
        assert_eq!(event.get("referer").and_then(Value::as_str), kept_referer);
        assert!(!event.to_string().contains(&token[12..]), "{event}");
    }
}

#[test]
fn a_strict_click_has_neither_ad_click_id_nor_referer_nor_the_full_agent() {
    let site = site_with_every_link_state();
    let agent = "User-Agent: Mozilla/5.0 (Linux; Android 14; SM-S918N) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.6778.135 Mobile Safari/537.36";
    site.get(
        "/live?cons=0&sub1=reel&fbclid=PAZX1&GCLID=x2&utm_source=ig",
        &[agent, "Referer: https://l.instagram.com/story?fbclid=PAZX1", "Accept-Language: ko"],
    );
    let event = event(&site, "clicks", "live");
    assert_eq!(event["query"], "cons=0&sub1=reel&fbclid=&GCLID=&utm_source=ig");
    assert!(event.get("referer").is_none() && event.get("ad_click_id").is_none(), "{event}");
    assert_eq!(
        event["user_agent"],
        "Mozilla/5 (Linux; Android 14; SM-SN) AppleWebKit/537 (KHTML, like Gecko) Chrome/131 Mobile Safari/537"
    );
    assert_eq!(
        (&event["class"], &event["sub1"], &event["source"]),
        (&"human".into(), &"reel".into(), &"instagram".into())
    );
    for left_out in ["PAZX1", "x2", "6778", "918"] {
        assert!(!event.to_string().contains(left_out), "{left_out}: {event}");
    }
}

#[test]
fn what_is_glued_to_a_code_is_left_out_and_the_event_says_so() {
    let site = site_with_every_link_state();
    let mut count = 0;
    for (path, sub1) in [
        ("/live/", None),
        ("/live)", None),
        ("/live.", None),
        ("/live,", None),
        ("/live!", None),
        ("/live%22", None),
        ("/live%20", None),
        ("/live%0A", None),
        ("/live%E2%80%8B", None),
        ("/%E2%80%8Blive", None),
        ("/%EF%BC%88live%EF%BC%89", None),
        ("/live%EB%A5%BC", None),
        ("//live", None),
        ("/live&sub1=x", Some("x")),
        ("/live%3Fsub1=x", Some("x")),
        ("/live%3Fsub1%3Dx%26a%3Db", Some("x")),
        ("/live;sub1=x", Some("x")),
        ("/live&amp;sub1=x?a=b", Some("x")),
        ("/live/?sub1=x", Some("x")),
    ] {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, 302, "{path}");
        count += 1;
        let event = site.wait_for_events("clicks", count).pop().unwrap();
        assert_eq!((&event["code"], &event["repaired"]), (&"live".into(), &true.into()), "{path}");
        assert_eq!(event.get("sub1").and_then(Value::as_str), sub1, "{path}");
    }
    let data = site.data().display().to_string();
    let token = site.get("/live)", &[]).token().unwrap();
    let verdict = site.command(&["token", "verify", "--json", "--data-dir", &data, &token]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&verdict.stdout).unwrap()["code"], "live");
    for path in ["/live/more", "/live.html", "/x/live", "/../live", "/nobody)"] {
        assert_eq!(site.get(path, &[]).status, 404, "{path}");
    }
    site.get("/live", &[]);
    let last = site.wait_for_events("clicks", count + 2).pop().unwrap();
    assert!(last.get("repaired").is_none(), "{last}");
}

#[test]
fn a_head_with_too_many_cookies_is_answered_with_a_page_that_says_what_to_do() {
    let site = site_with_every_link_state();
    let cookies = |len: usize| format!("Cookie: shop={}", "x".repeat(len));
    assert_eq!(site.get("/live", &[&cookies(30_000)]).status, 302);
    let answer = site.get("/live", &[&cookies(33_000)]);
    assert_eq!((answer.status, answer.header("content-type")), (431, Some("text/html; charset=utf-8")));
    assert_eq!((answer.header("cache-control"), answer.header("connection")), (Some("no-store"), Some("close")));
    assert!(answer.text().contains("Delete the cookies of this site"), "{}", answer.text());
}

#[test]
fn an_unknown_code_is_a_small_404_and_an_orphan() {
    let site = site_with_every_link_state();
    let answer = site.get("/nobody", &[]);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header_names(), ["cache-control", "content-length", "content-type", "date"]);
    assert!(answer.body.len() < 1024);
    assert_eq!(event(&site, "clicks.orphan", "nobody")["outcome"], "not_found");
}

#[test]
fn an_expired_link_passes_the_buyer_on_without_cookie_and_token() {
    let site = site_with_every_link_state();
    let answer = site.get("/old", &[]);
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://shop.example.com/old")));
    assert_eq!(answer.header_names(), without_cookie());
    assert_eq!(event(&site, "clicks.orphan", "old")["outcome"], "passed");
    let answer = site.get("/old-fallback", &[]);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/instead"));
    assert_eq!(event(&site, "clicks.orphan", "old-fallback")["outcome"], "fallback");
}

#[test]
fn a_link_not_started_or_disabled_is_gone_unless_it_has_a_fallback() {
    let site = site_with_every_link_state();
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
    let site = site_with_every_link_state();
    let cookie = format!("Cookie: {}", site.get("/live", &[]).cookie());
    for path in ["/nobody", "/old", "/off", "/started-later", "/old-fallback"] {
        for headers in [&[&cookie[..]][..], &[&cookie, "Sec-GPC: 1"], &[]] {
            assert!(site.get(path, headers).header("set-cookie").is_none(), "{path}");
        }
    }
}

#[test]
fn a_returning_buyer_keeps_the_visitor_id_and_replaces_the_last_click() {
    let site = site_with_every_link_state();
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
fn an_invalid_cookie_is_replaced_and_counted() {
    let site = site_with_every_link_state();
    let good = site.get("/live", &[]).cookie();
    let forged = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { "Q" } else { "A" });
    for (cookie, state) in [
        (forged.clone(), "bad_mac"),
        (good[..good.len() - 5].to_owned(), "malformed"),
        (good.replacen("v1.", "v9.", 1), "malformed"),
        (format!("{forged}; {forged}"), "duplicate"),
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
fn placeholders_are_filled_percent_encoded_and_the_token_is_placed_once() {
    let site = site_with_every_link_state();
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
fn a_stored_parameter_wins_over_an_incoming_one() {
    let site = site_with_every_link_state();
    let answer = site.get("/query?ref=ghost&color=red&sub2=x&fbclid=f", &[]);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/p?ref=creator&color=red"));
    let event = event(&site, "clicks", "query");
    assert_eq!(event["sub2"], "x");
    assert_eq!((event["ad_click_id_name"].as_str(), event["ad_click_id"].as_str()), (Some("fbclid"), Some("f")));
}

#[test]
fn fixed_paths_are_answered_and_make_no_click() {
    let site = site_with_every_link_state();
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
        assert_eq!(head.header_names(), answer.header_names(), "{path}");
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
    let site = site_with_every_link_state();
    let long = format!("/{}", "a".repeat(4096));
    let app = "Accept: application/vnd.waypost.click+json";
    let cookie = format!("Cookie: {}", site.get("/live", &[]).cookie());
    let rows: [(Sent<'_>, u16, &[&str]); 16] = [
        (("GET", "/live?cons=0", &[]), 302, REDIRECTED),
        (("GET", "/live?cons=0", &[&cookie]), 302, &[REDIRECTED, &["set-cookie"]].concat()),
        (("GET", "/live", &["Sec-Fetch-Dest: iframe"]), 302, REDIRECTED),
        (("GET", "/live", &[app]), 200, BODY),
        (("GET", "/live", &[app, "Sec-GPC: 1", &cookie]), 200, BODY),
        (("GET", "/live", &["Purpose: prefetch", &cookie]), 503, &["cache-control", "retry-after"]),
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
        assert_eq!(answer.header_names(), expected, "{method} {path} {headers:?}");
    }
    let icon = site.get("/favicon.ico", &[]);
    assert_eq!((icon.status, icon.header_names()), (204, vec!["cache-control", "date"]));
    let no_host = site.send("GET /live HTTP/1.1\r\n\r\n");
    assert_eq!(
        (no_host.status, no_host.header_names()),
        (400, vec!["cache-control", "content-length", "content-type", "date"])
    );
}
