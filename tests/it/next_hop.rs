//! The next hop that the URL of a click names: when a click is led on to it, and when never.

use serde_json::{Value, json};

use crate::{
    api::client::{ApiSite, body, new_key},
    dsl::{Site, request, until},
    http2_get::get_over_http2,
};

const IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                      like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const OWN: &str = "https://shop.example.com/own";

/// A link that lists two hosts, with these changes.
fn link(code: &str, changes: Value) -> String {
    let mut link = json!({"code": code, "url": OWN, "kind": "plain", "creator": "c_1", "test": true,
        "append_token": false, "next_hop_hosts": ["Shop.example.com", "*.example.org"]});
    link.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    link.to_string()
}

fn encoded(url: &str) -> String {
    url.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn location_of(site: &Site, target: &str, headers: &[&str]) -> String {
    let answer = site.get(target, headers);
    assert_eq!(answer.status, 302, "{target}");
    answer.header("location").unwrap().to_owned()
}

/// The newest event of a code.
fn event_of(site: &Site, code: &str) -> Value {
    until("the event", || site.events("clicks").into_iter().rfind(|event| event["code"] == code))
}

#[test]
fn a_click_is_led_on_to_a_listed_host_over_both_versions_of_http() {
    let site = Site::new(&[link("mug", json!({}))]).listening_with("http2 = true", "").start();
    for (target, expected) in [
        ("/mug?url=https%3A%2F%2Fshop.example.com%2Fmug%3Fa%3Db%26c%3D%257B", "https://shop.example.com/mug?a=b&c=%7B"),
        ("/mug?url=https://shop.example.com", "https://shop.example.com/"),
        ("/mug?%55RL=HTTPS%3A%2F%2FSHOP.EXAMPLE.COM%3A443%2Fx", "https://shop.example.com/x"),
        (
            "/mug?gclid=G&url=https%3A%2F%2Fde.example.org%2F%3Fa%23top&sub1=s&k=1",
            "https://de.example.org/?a&gclid=G&k=1#top",
        ),
        ("/mug?url=https%3A%2F%2Fa.b.example.org%2F%7Bclick_id%7D", "https://a.b.example.org/%7Bclick_id%7D"),
        ("/mug?url=&k=1", "https://shop.example.com/own?url=&k=1"),
        ("/mug?k=1", "https://shop.example.com/own?k=1"),
    ] {
        assert_eq!(location_of(&site, target, &[]), expected, "{target}");
        assert_eq!(get_over_http2(&site, target, &[]).header("location"), Some(expected), "{target}");
    }
    let page = site.get("/mug+", &[]).text();
    assert!(page.contains("shop.example.com, *.example.org that the link's address names"), "{page}");
    let told: Vec<Value> = site.wait_for_events("clicks", 14).iter().map(|event| event["next_hop"].clone()).collect();
    let listed = json!("listed");
    let expected = [vec![listed; 10], vec![Value::Null; 4]].concat();
    assert_eq!(told, expected);
    let events = site.wait_for_events("clicks", 14);
    assert_eq!(events[0]["destination"], "https://shop.example.com/mug?a=b&c=%7B");
    assert_eq!((&events[6]["sub1"], &events[6]["outcome"]), (&json!("s"), &json!("redirected")));
}

#[test]
fn whatever_else_the_url_names_the_click_ends_at_the_links_own_url() {
    let domains = "[domains.\"go.example.com\"]\n[domains.\"own.example.org\"]\n";
    let bare = json!({"code": "bare", "domain": "go.example.com", "url": OWN, "kind": "plain", "test": true,
        "append_token": false});
    let site = Site::new(&[link("mug", json!({"domain": "go.example.com"})), bare.to_string()]).config(domains).start();
    for url in [
        "https://evil.example/",
        "https://shop.example.com.evil.example/",
        "https://shop.example.com@evil.example/",
        "https://evil.example/shop.example.com",
        "https://evil.example\\@shop.example.com/",
        "https://shop.example.com:8443/",
        "https://example.org/",
        "https://evilexample.org/",
        "http://shop.example.com/",
        "//shop.example.com/",
        "/mug",
        "javascript:alert(1)//shop.example.com",
        "data:text/html,x",
        "intent://shop.example.com/#Intent;S.browser_fallback_url=https://shop.example.com;end",
        "https://own.example.org/mug",
        "https://go.example.com/mug",
        "https://shop.example.com/\u{7f}\r\nSet-Cookie: a=b",
        " https://shop.example.com/",
        "https://shop.example.com/?wp=v1.x",
        "https://sh%6Fp.evil.example/",
        "https%3A%2F%2Fshop.example.com",
        "https:shop.example.com",
        "https:///shop.example.com",
        "x",
    ] {
        let location = location_of(&site, &format!("/mug?k=1&url={}", encoded(url)), &[]);
        assert_eq!(location, format!("{OWN}?k=1"), "{url}");
    }
    let good = encoded("https://shop.example.com/x");
    for query in [
        format!("url={good}&url={good}"),
        "url=https://shop.example.com/%FF".to_owned(),
        format!("url={}&url_sig=AAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA", encoded("https://evil.example/")),
    ] {
        assert_eq!(location_of(&site, &format!("/mug?{query}"), &[]), OWN, "{query}");
    }
    let events = site.wait_for_events("clicks", 27);
    assert!(events.iter().all(|event| event["next_hop"] == "refused"), "{events:?}");
    // A link that lists no hosts has no such parameter: it is one of the shop's.
    let location = location_of(&site, &format!("/bare?url={good}"), &[]);
    assert_eq!(location, format!("{OWN}?url={good}"));
    assert_eq!(event_of(&site, "bare")["next_hop"], Value::Null);
}

#[test]
fn a_host_that_the_default_domain_serves_is_no_next_hop_of_itself_however_it_is_written() {
    let site = Site::new(&[link("mug", json!({"next_hop_hosts": ["go.example.com"]}))]).start();
    let next_hop = encoded("https://go.example.com/mug");
    for host in ["go.example.com", "GO.Example.com", "go.example.com.:80"] {
        let tap =
            request("GET", &format!("/mug?url={next_hop}"), &[]).replace("go.example.com\r", &format!("{host}\r"));
        let answer = site.send(&tap);
        assert_eq!((answer.status, answer.header("location")), (302, Some(OWN)), "{host}");
    }
    let elsewhere = request("GET", &format!("/mug?url={next_hop}"), &[]).replace("go.example.com\r", "b.example.com\r");
    assert_eq!(site.send(&elsewhere).header("location"), Some("https://go.example.com/mug"));
}

#[test]
fn a_link_that_is_not_live_leads_to_no_next_hop() {
    let past = "2026-01-01T00:00:00Z";
    let links = [
        link("off", json!({"enabled": false})),
        link("ended", json!({"created_at": past, "expires_at": "2026-01-02T00:00:00Z"})),
        link("later", json!({"starts_at": "2099-01-01T00:00:00Z"})),
        link("fallback", json!({"enabled": false, "fallback_url": "https://shop.example.com/fallback"})),
    ];
    let site = Site::new(&links).start();
    let next_hop = encoded("https://shop.example.com/next");
    for (code, status, location) in [
        ("off", 410, None),
        ("ended", 302, Some("https://shop.example.com/own?url=https%3A%2F%2Fshop.example.com%2Fnext")),
        ("later", 410, None),
        ("fallback", 302, Some("https://shop.example.com/fallback")),
        ("nothing", 404, None),
    ] {
        let answer = site.get(&format!("/{code}?url={next_hop}"), &[]);
        assert_eq!((answer.status, answer.header("location")), (status, location), "{code}");
    }
    let events = site.wait_for_events("clicks.orphan", 5);
    assert!(events.iter().all(|event| event["next_hop"].is_null()), "{events:?}");
}

#[test]
fn a_next_hop_goes_before_the_targets_and_a_refused_one_leaves_them_to_decide() {
    let targets = json!({"targets": [{"when": {"os": "ios"}, "url": "https://app.example.com/"}]});
    let site = Site::new(&[link("mug", targets)]).start();
    let next_hop = encoded("https://shop.example.com/next");
    assert_eq!(location_of(&site, &format!("/mug?url={next_hop}"), &[IPHONE]), "https://shop.example.com/next");
    let event = event_of(&site, "mug");
    assert_eq!(
        (&event["next_hop"], &event["target_index"], &event["target_facts"]),
        (&json!("listed"), &Value::Null, &Value::Null)
    );
    assert_eq!(location_of(&site, "/mug?url=https://evil.example", &[IPHONE]), "https://app.example.com/");
    let event = until("the second event", || site.events("clicks").get(1).cloned());
    assert_eq!((&event["next_hop"], &event["target_index"]), (&json!("refused"), &json!(0)));
}

#[test]
fn the_token_and_the_cookie_go_with_the_next_hop_and_strict_privacy_records_no_click_ids_of_it() {
    let site =
        Site::new(&[link("mug", json!({"append_token": true}))]).config("[domains.\"*\"]\ngpc = \"strict\"\n").start();
    let next_hop = encoded("https://shop.example.com/next?gclid=SECRET");
    let answer = site.get(&format!("/mug?url={next_hop}"), &[]);
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("https://shop.example.com/next?gclid=SECRET&wp=v1."), "{location}");
    assert!(answer.cookie().contains("v1."));
    let location = location_of(&site, &format!("/mug?url={next_hop}&k=1"), &["Sec-GPC: 1"]);
    assert_eq!(location, "https://shop.example.com/next?gclid=SECRET&k=1");
    let event = until("the second event", || site.events("clicks").get(1).cloned());
    assert_eq!((&event["query"], &event["next_hop"]), (&json!("url=&k=1"), &json!("listed")));
    assert!(!event.to_string().contains("SECRET"), "{event}");
}

#[test]
fn wrong_hosts_of_next_hops_are_refused_with_their_place() {
    let config = "[links]\nallowed_hosts = [\"shop.example.com\", \"*.example.org\"]\n[domains.\"own.example.org\"]\n";
    for (hosts, expected) in [
        (json!(["*"]), "next_hop_hosts/0: \"*\" is no host of a shop"),
        (json!(["shop.example.com", "https://a.example"]), "next_hop_hosts/1: \"https://a.example\" is no host"),
        (json!(["*.co.uk"]), "\"*.co.uk\" is no host of a shop"),
        (json!(["127.0.0.1"]), "\"127.0.0.1\" is no host of a shop"),
        (json!(["own.example.org"]), "\"own.example.org\" is a host that this server answers itself"),
        (json!(["other.example.com"]), "\"other.example.com\" is a host that links.allowed_hosts does not list"),
        (json!(["*.shop.example.com"]), "\"*.shop.example.com\" is a host that links.allowed_hosts does not list"),
        (json!(vec!["shop.example.com"; 17]), "next_hop_hosts: are 17, allowed are 16"),
    ] {
        let site = Site::new(&[link("mug", json!({"next_hop_hosts": hosts}))]).config(config);
        let links = site.path("links.jsonl").display().to_string();
        let output = site.command(&["check", "--config", "waypost.toml", "--links", &links]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(expected), "{expected}: {said}");
    }
    for (setting, expected) in [
        ("next_hop_param = \"a b\"", "next_hop_param: is \"a b\""),
        ("next_hop_param = \"Sub1\"", "next_hop_param: is \"Sub1\", which has its own meaning"),
        ("next_hop_param = \"t\"\ntoken_param = \"t\"", "next_hop_param: is \"t\", which has its own meaning"),
    ] {
        let (code, said) = Site::new(&[]).config(&format!("[domains.\"*\"]\n{setting}\n")).run_refused_start();
        assert!(code == Some(64) && said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_signed_next_hop_is_followed_for_its_own_link_alone_and_not_to_a_suspended_host() {
    let domains =
        "[domains.\"go.example.com\"]\nnext_hop_signed = true\nnext_hop_param = \"to\"\n[domains.\"b.example.com\"]\n";
    let site = Site::without_links_file().config(domains);
    let suspender = format!("Bearer {}", new_key(&site, &["--name", "suspender", "--scope", "suspend"]));
    let api = ApiSite::start_of(site);
    let on = |code: &str, domain: &str, more: Value| {
        let mut record = json!({"code": code, "domain": domain, "url": OWN, "kind": "plain", "test": true,
            "append_token": false});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(api.post_link(record).status, 201);
    };
    on("mug", "go.example.com", json!({}));
    on("cup", "go.example.com", json!({"next_hop_hosts": ["listed.example.com"]}));
    on("pot", "b.example.com", json!({}));
    let ask =
        |path: &str, url: &str| api.request("GET", &format!("/v1/links/{path}/next-hop?url={}", encoded(url))).send();
    let written = |path: &str, url: &str| {
        let answer = body(&ask(path, url));
        (answer["url"].as_str().unwrap().to_owned(), answer["allowed_by"].as_str().unwrap().to_owned())
    };
    let next = "https://any.example.net/a?b=c#d";
    let (url, by) = written("go.example.com/mug", next);
    assert_eq!(by, "signed");
    let target = url.strip_prefix("https://go.example.com").unwrap();
    assert!(target.starts_with("/mug?to=https%3A%2F%2Fany.example.net%2Fa%3Fb%3Dc%23d&to_sig="), "{target}");
    assert_eq!(location_of(&api.site, target, &[]), next);
    assert_eq!(event_of(&api.site, "mug")["next_hop"], "signed");
    assert_eq!(location_of(&api.site, &target.replace("/mug", "/cup"), &[]), OWN, "of another link");
    assert_eq!(location_of(&api.site, &target.replace("any.", "evil."), &[]), OWN, "of another URL");
    assert_eq!(location_of(&api.site, target.split("&to_sig").next().unwrap(), &[]), OWN, "without a signature");
    // The command signs as the server does.
    let data = api.site.data().display().to_string();
    let sign = ["keys", "--data-dir", &data, "sign-next-hop", "mug", next, "--host", "go.example.com", "--param", "to"];
    let printed = api.site.command(&sign).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim_end(), url, "{printed:?}");
    // A listed host needs none, and a wrong one does not harm it.
    let (url, by) = written("go.example.com/cup", "https://listed.example.com/");
    assert_eq!(
        (url.as_str(), by.as_str()),
        ("https://go.example.com/cup?to=https%3A%2F%2Flisted.example.com%2F", "listed")
    );
    assert_eq!(
        location_of(&api.site, "/cup?to=https://listed.example.com&to_sig=x", &[]),
        "https://listed.example.com/"
    );
    for (path, url, status, expected) in [
        ("b.example.com/pot", next, 400, "the link lists no hosts, and the URL is not signed"),
        ("go.example.com/mug", "http://any.example.net/", 400, "the URL is not one of https"),
        ("go.example.com/mug", "https://b.example.com/pot", 400, "this server answers the host of the URL itself"),
        ("go.example.com/none", next, 404, ""),
    ] {
        let answer = ask(path, url);
        assert!(answer.status == status && answer.text().contains(expected), "{path} {url}: {}", answer.text());
    }
    let put = api
        .request("PUT", "/v1/suspensions/host/any.example.net")
        .authorization(Some(&suspender))
        .json(&json!({"reason": "broken in"}))
        .send();
    assert!(put.status < 300, "{}", put.text());
    until("the suspension", || (location_of(&api.site, target, &[]) == OWN).then_some(()));
    assert!(ask("go.example.com/mug", next).text().contains("the host of the URL is suspended"));
    let asked =
        api.request("POST", "/v1/explain").json(&json!({"url": format!("https://go.example.com{target}")})).send();
    let checks = body(&asked)["checks"].clone();
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "next_hop").unwrap();
    assert_eq!(check["result"], "refused: the host of the URL is suspended");
}
