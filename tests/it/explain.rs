//! `waypost explain`: the answer to a request, with its reasons, and nothing recorded.

use serde_json::Value;

use crate::dsl::{Answer, PHONE_BROWSER, Site, link, request};

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
