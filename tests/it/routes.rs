//! Old URLs of other trackers: the code and the sub ids that they lead to, and where they do not lead.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::dsl::{Answer, Site, link};

const CONFIG: &str = include_str!("../fixtures/routes/routes.toml");
const CASES: &str = include_str!("../fixtures/routes/tracker-urls.json");

/// A request to another tracker's host, and what it must lead to.
#[derive(Deserialize)]
struct Case {
    domain: String,
    request: String,
    route: Option<String>,
    code: Option<String>,
    #[serde(default)]
    sub: BTreeMap<String, String>,
    result: Option<String>,
}

/// A link of a host, with one more field.
fn link_on(host: &str, code: &str) -> String {
    link(code).replacen('{', &format!(r#"{{"domain":"{host}","#), 1)
}

fn get(site: &Site, host: &str, target: &str) -> Answer {
    site.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn subs_of(event: &Value) -> BTreeMap<String, String> {
    let subs = (1..=5).map(|number| format!("sub{number}"));
    subs.filter_map(|name| Some((name.clone(), event.get(&name)?.as_str()?.to_owned()))).collect()
}

#[test]
fn every_old_url_leads_to_its_code_and_subs_or_nowhere() {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() >= 42);
    let codes: BTreeSet<(&str, &str)> =
        cases.iter().filter_map(|case| Some((&*case.domain, case.code.as_deref()?))).collect();
    let links: Vec<String> = codes.iter().map(|(host, code)| link_on(host, code)).collect();
    let site = Site::new(&links).config(CONFIG).start();
    let (mut clicks, mut orphans) = (0, 0);
    for case in &cases {
        let shown = format!("{}{}", case.domain, case.request);
        let answer = get(&site, &case.domain, &case.request);
        assert!(!answer.header("location").unwrap_or_default().contains("evil.example"), "{shown}: {answer:?}");
        match &case.code {
            Some(code) => {
                clicks += 1;
                let event = site.wait_for_events("clicks", clicks).pop().unwrap();
                assert_eq!(answer.status, 302, "{shown}");
                assert_eq!(event["code"], **code, "{shown}: {event}");
                assert_eq!(event.get("route").and_then(Value::as_str), case.route.as_deref(), "{shown}: {event}");
                assert_eq!(subs_of(&event), case.sub, "{shown}: {event}");
            }
            None if case.result.as_deref() == Some("root") => assert_eq!(answer.status, 200, "{shown}"),
            None => {
                orphans += 1;
                let event = site.wait_for_events("clicks.orphan", orphans).pop().unwrap();
                assert_eq!((answer.status, &event["outcome"]), (404, &Value::from("not_found")), "{shown}");
                assert_eq!(event.get("route"), None, "{shown}");
            }
        }
    }
}

#[test]
fn a_route_whose_code_no_link_has_names_route_and_code_in_the_event() {
    let site = Site::new(&[link_on("tune.example.com", "1-2")]).config(CONFIG).start();
    let answer = get(&site, "tune.example.com", "/aff_c?offer_id=7&aff_id=8&aff_sub=reel");
    assert_eq!(answer.status, 404);
    let event = site.wait_for_events("clicks.orphan", 1).pop().unwrap();
    assert_eq!((&event["code"], &event["route"], &event["sub1"]), (&"7-8".into(), &"tune".into(), &"reel".into()));
    assert_eq!(event["query"], "sub1=reel&offer_id=7&aff_id=8&aff_sub=reel");
}

#[test]
fn a_route_never_takes_a_request_from_a_link_and_is_tried_after_the_repair() {
    let config =
        "[[routes]]\ndomain = \"go.example.com\"\nname = \"two\"\npath = \"/{a}/{b}\"\ncode = \"{path:a}-{path:b}\"\n";
    let links = ["one", "one-two"].map(|code| link_on("go.example.com", code));
    let site = Site::new(&links).config(config).start();
    for (target, code, how) in [
        ("/one", "one", ""),
        ("/one/", "one", "repaired"),
        ("/one/)", "one", "repaired"),
        ("/one/two", "one-two", "route"),
        ("/one-two", "one-two", ""),
    ] {
        let count = site.events("clicks").len() + 1;
        assert_eq!(get(&site, "go.example.com", target).status, 302, "{target}");
        let event = site.wait_for_events("clicks", count).pop().unwrap();
        assert_eq!(event["code"], code, "{target}");
        for field in ["repaired", "route"] {
            assert_eq!(event.get(field).is_some(), field == how, "{target}: {event}");
        }
    }
}

#[test]
fn a_destination_in_the_request_is_not_followed_and_not_forwarded() {
    let hosts = [
        ("tune.example.com", "1-2", "/aff_r?offer_id=1&aff_id=2"),
        ("cj.example.com", "click-1-2", "/click-1-2?sid=a"),
    ];
    let links = hosts.map(|(host, code, _)| {
        link_on(host, code)
            .replace("?creator=c_1", "?creator=c_1&s={sub1}")
            .replace("\"test\":true", "\"test\":true,\"query\":\"incoming-wins\"")
    });
    let site = Site::new(&links).config(CONFIG).start();
    for (host, _, target) in hosts {
        for name in [
            "url",
            "u",
            "ued",
            "p",
            "murl",
            "urllink",
            "destination",
            "redirect",
            "x",
            "utm_source",
            "creator",
            "amp;url",
        ] {
            for value in [
                "https://evil.example/p",
                "https%3A%2F%2Fevil.example%2Fp",
                "https%253A%252F%252Fevil.example",
                "%2F%2Fevil.example",
                "%5C%5Cevil.example",
                "http:%2f%2fevil.example",
            ] {
                let answer = get(&site, host, &format!("{target}&{name}={value}"));
                let location = answer.header("location").unwrap_or_default();
                assert!(answer.status == 302 && location.starts_with("https://shop.example.com/view/"), "{answer:?}");
                assert!(!location.contains("evil"), "{host} {name}={value}: {location}");
            }
        }
    }
    for schemeless in ["url", "u", "ued", "murl", "urllink", "destination"] {
        for (host, _, target) in hosts {
            let answer = get(&site, host, &format!("{target}&{schemeless}=evil.example"));
            assert!(!answer.header("location").unwrap().contains("evil"), "{host} {schemeless}");
        }
    }
}

#[test]
fn a_host_with_sub_names_has_sub_ids_by_these_names_and_forwards_the_rest() {
    let config = "[domains.\"old.example.com\"]\nsub_names = [\"sid\", \"pub\"]\n";
    let site = Site::new(&[link_on("old.example.com", "a").replace("?creator=c_1", "?s={sub1}-{sub3}")])
        .config(config)
        .start();
    let answer = get(&site, "old.example.com", "/a)?SID=x%20y&sub1=no&sub3=z&pub=&pub=q&colour=red");
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("https://shop.example.com/view/a?s=x%20y-z&colour=red&wp="), "{location}");
    let event = site.wait_for_events("clicks", 1).pop().unwrap();
    assert_eq!((&event["sub1"], &event["sub2"], &event["sub3"]), (&"x y".into(), &"q".into(), &"z".into()));
    assert_eq!(event["repaired"], true);
}

#[test]
fn a_route_that_a_code_takes_is_refused_with_the_code_and_the_route() {
    let site = Site::new(&[link_on("tune.example.com", "1-2"), link_on("tune.example.com", "aff_c")]).config(CONFIG);
    let (code, error) = site.run_refused_start();
    assert_ne!(code, Some(0));
    assert!(error.contains("links.jsonl:2:") && error.contains("aff_c") && error.contains("\\\"tune\\\""), "{error}");
    let any = "[[routes]]\nname = \"any\"\npath = \"/{code}\"\ncode = \"x-{path:code}\"\n";
    let (code, error) = Site::new(&[link("a")]).config(any).run_refused_start();
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains("waypost.toml:3: routes.1.path: looks like a code"), "{error}");
}

#[test]
fn every_error_of_the_routes_is_told_at_once_with_key_and_line() {
    let config = "[[routes]]\ndomain = \"a b\"\nname = \"one\"\npath = \"c\"\ncode = \"{query:a}\"\n\n\
                  [[routes]]\nname = \"two\"\npath = \"/c/x\"\ncode = \"{query:a}{query:b}\"\nsubs = []\n\n\
                  [[routes]]\nname = \"two\"\npath = 7\ncode = \"{query:a}\"\n\
                  [domains.\"d.example\"]\nsub_names = [\"cons\"]\n";
    let site = Site::new(&[link("a")]).config(config);
    let output = site.command(&["check", "--config", "waypost.toml", "--links", "links.jsonl"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{error}");
    for expected in [
        "waypost.toml:2: routes.1.domain: \"a b\" is not a host name",
        "waypost.toml:4: routes.1.path: is \"c\"; a path starts with /",
        "waypost.toml:10: routes.2.code: ",
        "waypost.toml:11: routes.2.subs: unknown key `subs`",
        "waypost.toml:15: routes.3.path: found `7`; allowed: a text",
        "waypost.toml:18: domains.\"d.example\".sub_names: has \"cons\"",
    ] {
        assert!(error.contains(expected), "{expected:?} is missing in\n{error}");
    }
}

#[test]
fn routes_are_shown_as_a_configuration_and_variables_can_set_them() {
    let site = Site::new(&[link("a")]).config(CONFIG);
    let show = || {
        let mut command = site.command(&["config", "show", "--config", "waypost.toml"]);
        command.env("WAYPOST__ROUTES__1__NAME", "renamed").env("WAYPOST__ROUTES__40__NAME", "added");
        command.env("WAYPOST__ROUTES__40__PATH", "/x/{a}").env("WAYPOST__ROUTES__40__CODE", "{path:a}");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show();
    assert!(shown.contains("[routes.9.translate]\n\".\" = \"_\""), "{shown}");
    assert!(shown.contains("name = \"renamed\"") && shown.contains("name = \"added\""), "{shown}");
    site.write("waypost.toml", &shown);
    assert_eq!(show().lines().count(), shown.lines().count());
}
