//! `waypost explain`: the answer to a request, with its reasons, and nothing recorded.

use serde_json::{Value, json};

use crate::{
    api::client::{ApiSite, body, new_key},
    dsl::{Answer, PHONE_BROWSER, Site, link, request},
};

const CONFIG: &str = include_str!("../fixtures/routes/routes.toml");

fn explain(site: &Site, args: &[&str]) -> Value {
    let fixed = ["explain", "--json", "--links", "links.jsonl", "--config", "waypost.toml"];
    let output = site.command(&[&fixed, args].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn result<'a>(explanation: &'a Value, check: &str) -> Vec<&'a str> {
    let checks = explanation["checks"].as_array().unwrap().iter();
    checks.filter(|found| found["check"] == check).map(|found| found["result"].as_str().unwrap()).collect()
}

fn site() -> Site {
    let tune = link("1-2").replacen('{', r#"{"domain":"tune.example.com","#, 1);
    let ended = link("old").replace(r#""test":true"#, r#""created_at":"2020-01-01T00:00:00Z""#);
    Site::new(&[tune, link("tea"), ended]).config(CONFIG)
}

#[test]
fn each_check_the_route_and_the_event_are_shown_and_nothing_is_recorded() {
    let site = site();
    let url = "https://tune.example.com/aff_c?offer_id=1&aff_id=2&aff_sub=reel";
    let found = explain(&site, &[url, "-H", "User-Agent: curl/8", "-H", "Sec-GPC: 1"]);
    assert_eq!(found["domain"], "tune.example.com");
    assert_eq!(found["link"]["code"], "1-2");
    assert_eq!(result(&found, "link_of_path"), ["aff_c: no link has this code"]);
    assert_eq!(result(&found, "repair"), ["no"]);
    assert_eq!(result(&found, "route"), ["tune: makes the code 1-2"]);
    assert_eq!(result(&found, "link_of_route"), ["1-2: found"]);
    assert_eq!((result(&found, "gpc"), result(&found, "privacy")), (vec!["yes"], vec!["unlinked"]));
    assert_eq!((&found["answer"]["status"], &found["topic"]), (&302.into(), &"clicks".into()));
    let event = &found["event"];
    assert_eq!((&event["route"], &event["sub1"], &event["class"]), (&"tune".into(), &"reel".into(), &"bot".into()));
    for unrecorded in ["click_id", "edge", "lane", "epoch", "seq", "safe", "visitor_id"] {
        assert!(event.get(unrecorded).is_none(), "{unrecorded}: {event}");
    }
    assert!(!found.to_string().contains("v1."), "a token would be worth money: {found}");
    assert!(!site.path("waypost-data").exists(), "nothing is created");
}

#[test]
fn mismatches_of_routes_repairs_rejections_and_fixed_paths_are_shown() {
    let site = site();
    let awin = explain(&site, &["https://awin.example.com/awclick.php?mid=1&awinaffid=2"]);
    let expected = ["awin-cread: unknown", "awin-click: incomplete", "awin-click-link: makes the code 1-2"];
    assert_eq!(result(&awin, "route"), expected);
    assert_eq!((result(&awin, "outcome"), &awin["answer"]["status"]), (vec!["not_found"], &404.into()));
    let repaired = explain(&site, &["http://other.example/tea)"]);
    assert_eq!(result(&repaired, "repair"), ["the path holds the code tea"]);
    let post = explain(&site, &["http://other.example/tea", "--method", "POST"]);
    assert_eq!((result(&post, "method").len(), &post["answer"]["status"], post.get("event")), (1, &405.into(), None));
    let long = format!("http://other.example/{}", "a".repeat(4200));
    for (args, check, status) in
        [(&["http://other.example/tea", "-H", "Host: a b"][..], "host", 400), (&[&long], "target_length", 414)]
    {
        let found = explain(&site, args);
        let last = found["checks"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["check"], &found["answer"]["status"]), (&check.into(), &status.into()), "{found}");
    }
    let root = explain(&site, &["http://lt.example.com/?CID=12"]);
    assert_eq!((result(&root, "fixed_path"), result(&root, "route")), (vec!["/"], vec!["linktrust: incomplete"]));
    let robots = explain(&site, &["http://other.example/robots.txt"]);
    assert_eq!((result(&robots, "fixed_path"), robots.get("topic")), (vec!["/robots.txt"], None));
}

#[test]
fn a_time_in_the_past_shows_the_link_as_it_was() {
    let site = site();
    let url = "https://other.example/old";
    assert_eq!(result(&explain(&site, &[url]), "link_state"), ["expired"]);
    let then = explain(&site, &[url, "--at", "2020-02-01T00:00:00Z"]);
    assert_eq!((result(&then, "link_state"), result(&then, "cookie")), (vec!["live"], vec!["set"]));
}

/// The headers of an answer, without dates and what is another for each click.
fn comparable(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = headers
        .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| {
            let cut = value.find("v1.").or(value.find("{click_token}")).unwrap_or(value.len());
            (name, value[..cut].to_owned())
        })
        .collect();
    headers.sort();
    headers
}

#[test]
fn an_explanation_agrees_with_the_answer_of_the_server() {
    let site = site().start();
    let asked: [&[&str]; 5] = [
        &PHONE_BROWSER,
        &["Sec-Purpose: prefetch"],
        &["Sec-GPC: 1"],
        &["Sec-Fetch-Dest: image"],
        &["User-Agent: WhatsApp/2"],
    ];
    for path in ["/tea", "/tea?cons=0&sub1=a", "/tea)", "/old", "/nobody", "/", "/robots.txt"] {
        for headers in asked {
            let answer: Answer = site.send(&request("GET", path, headers));
            let url = format!("http://go.example.com{path}");
            let mut args = vec![url.as_str()];
            headers.iter().for_each(|header| args.extend(["-H", *header]));
            let found = explain(&site, &args);
            assert_eq!(found["answer"]["status"], answer.status, "{path} {headers:?}");
            let explained = found["answer"]["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()));
            let sent = answer.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
            assert_eq!(comparable(explained), comparable(sent), "{path} {headers:?}");
        }
    }
}

#[test]
fn text_is_for_people_and_bad_usage_is_64() {
    let site = site();
    let run = |args: &[&str]| {
        site.command(&[&["explain", "--links", "links.jsonl", "--config", "waypost.toml"], args].concat())
            .output()
            .unwrap()
    };
    let output = run(&["https://go.example.com/tea"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "link_state        live\n",
        "status            302\n",
        "topic             clicks\n",
        "link              tea of *, version ",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    for bad in [&["tea"][..], &["ftp://x/tea"], &["https://go.example.com/tea", "-H", "nothing"], &[]] {
        assert_eq!(run(bad).status.code(), Some(64), "{bad:?}");
    }
}

/// A running site whose links are in its catalog, and its records as a links file.
fn api_with_links() -> ApiSite {
    let api = ApiSite::start_of(Site::without_links_file().config(CONFIG));
    let tune = link("1-2").replacen('{', r#"{"domain":"tune.example.com","#, 1);
    let ended = link("old").replace(r#""test":true"#, r#""created_at":"2020-01-01T00:00:00Z""#);
    let lines = [tune, link("tea"), ended];
    assert_eq!(api.bulk("mode=atomic", &lines).0, 200);
    api
}

/// Runs `waypost explain --json` with these flags in the site's directory.
fn explain_by(api: &ApiSite, place: &[&str], args: &[&str]) -> String {
    let mut command = api.site.command(&[&["explain", "--json"], place, args].concat());
    let output = command.env("WAYPOST_API_KEY", &api.key).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_server_and_its_catalog_explain_the_same_as_the_command_on_a_file() {
    let api = api_with_links();
    api.site.write("explain.toml", CONFIG);
    let server = format!("http://{}", api.site.admin_address());
    let data = api.site.data().display().to_string();
    let at = ["--at", "2026-12-01T00:00:00Z"];
    for asked in [
        &["https://tune.example.com/aff_c?offer_id=1&aff_id=2&aff_sub=reel", "-H", "Sec-GPC: 1"][..],
        &["http://other.example/tea", "-H", "User-Agent: curl/8", "-H", "X-Forwarded-For: 1.2.3.4"],
        &["http://other.example/old"],
        &["http://other.example/nobody"],
        &["http://other.example/tea", "--method", "POST"],
        &["http://other.example/"],
    ] {
        let asked = [asked, &at].concat();
        let by_server = explain_by(&api, &["--server", &server], &asked);
        // Beside the running server, which holds the directory.
        let by_catalog = explain_by(&api, &["--config", "explain.toml", "--data-dir", &data], &asked);
        assert_eq!(by_server, by_catalog, "{asked:?}");
        assert!(!by_server.contains("v1."), "a token would be worth money: {by_server}");
    }
    let text = |place: &[&str]| {
        let args = [&["explain", "http://other.example/tea"], place, &at].concat();
        let output = api.site.command(&args).env("WAYPOST_API_KEY", &api.key).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(text(&["--server", &server]), text(&["--config", "explain.toml", "--data-dir", &data]));
    let suspended = json!({"reason": "x"});
    let operator = new_key_with_all_scopes(&api);
    let put = api.request("PUT", "/v1/suspensions/creator/c_1").authorization(Some(&format!("Bearer {operator}")));
    assert_eq!(put.json(&suspended).send().status, 201);
    for place in [&["--server", &server][..], &["--config", "explain.toml", "--data-dir", &data]] {
        let found: Value = serde_json::from_str(&explain_by(&api, place, &["http://other.example/tea"])).unwrap();
        assert_eq!((result(&found, "suspension"), &found["answer"]["status"]), (vec!["creator:c_1"], &json!(410)));
    }
}

fn new_key_with_all_scopes(api: &ApiSite) -> String {
    let server = format!("http://{}", api.site.admin_address());
    let new = ["api-keys", "new", "--server", &server, "--name", "o", "--scope", "read,suspend"];
    let output = api.site.command(&new).env("WAYPOST_API_KEY", &api.key).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_api_explains_what_a_key_reaches_and_refuses_a_bad_description_by_field() {
    let site = Site::without_links_file().config(CONFIG);
    let bound = new_key(&site, &["--name", "c_2", "--scope", "read", "--creator", "c_2"]);
    let api = ApiSite::start_of(site);
    assert_eq!(api.bulk("mode=atomic", &[link("tea")]).0, 200);
    let ask = |request: &Value| api.request("POST", "/v1/explain").json(request);
    let tea = json!({"url": "https://go.example.com/tea", "headers": [["User-Agent", "curl/8"]]});
    let found = body(&ask(&tea).send());
    assert_eq!((&found["link"]["code"], &found["event"]["class"]), (&json!("tea"), &json!("bot")));
    for url in ["https://go.example.com/tea", "https://go.example.com/nobody"] {
        let asked = ask(&json!({ "url": url })).authorization(Some(&format!("Bearer {bound}")));
        assert_eq!(asked.send().status, 404, "{url} lies outside the key's bounds");
    }
    for (request, field) in [
        (json!({}), "url"),
        (json!({"url": "tea"}), "url"),
        (json!({"url": "https://go.example.com/tea", "method": "G T"}), "method"),
        (json!({"url": "https://go.example.com/tea", "headers": {"a": "b"}}), "headers"),
        (json!({"url": "https://go.example.com/tea", "headers": [["a b", "c"]]}), "headers"),
        (json!({"url": "https://go.example.com/tea", "at": "soon"}), "at"),
        (json!({"url": "https://go.example.com/tea", "time": "soon"}), "time"),
    ] {
        let refused = ask(&request).send();
        assert_eq!((refused.status, &body(&refused)["errors"][0]["field"]), (422, &json!(field)), "{request}");
    }
}
