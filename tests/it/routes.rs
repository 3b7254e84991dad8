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
