//! Lists and feeds: filters, cursors while links change, history, acts, changes, and the export.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::client::{ApiSite, body, ndjson, plain};
use crate::dsl::{Site, StopOnDrop, link, until};

/// The rows of plain links.
fn rows(codes: impl Iterator<Item = String>) -> Vec<String> {
    let row = |code: String| {
        let mut record = plain("https://shop.example.com/mug");
        record["code"] = json!(code);
        record.to_string()
    };
    codes.map(row).collect()
}

fn codes(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["record"]["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_filter_filters() {
    let api = ApiSite::start();
    let mut first = json!({"code":"one","url":"https://shop.example.com/1","kind":"product","creator":"c_1",
        "partner":"p_1","seller":"s_1","product":"i_1","plan":"open","rate_bp":1200,"tags":["spring","mug"],
        "created_at":"2026-11-10T00:00:00Z"});
    assert_eq!(api.post_link(first.clone()).status, 201);
    first["code"] = json!("two");
    first["enabled"] = json!(false);
    first["creator"] = json!("c_2");
    first["url"] = json!("https://other.example.com/2");
    first["created_at"] = json!("2026-11-01T00:00:00Z");
    assert_eq!(api.post_link(first).status, 201);
    for (query, expected) in [
        ("", vec!["one", "two"]),
        ("creator=c_1", vec!["one"]),
        ("creator=c_1&partner=p_1&seller=s_1&product=i_1", vec!["one"]),
        ("campaign=k_1", vec![]),
        ("host=SHOP.example.com", vec!["one"]),
        ("tag=spring", vec!["one", "two"]),
        ("tag=spr", vec![]),
        ("code_prefix=tw", vec!["two"]),
        ("state=live", vec!["one"]),
        ("state=disabled", vec!["two"]),
        ("created_after=2026-11-05T00:00:00Z", vec!["one"]),
        ("domain=*", vec!["one", "two"]),
        ("domain=unknown.example.com", vec![]),
    ] {
        assert_eq!(codes(&api.get_json(&format!("/v1/links?{query}"))), expected, "{query}");
    }
    for refused in ["limit=0", "limit=1001", "limit=x", "state=gone", "created_after=yesterday", "limit=1&limit=2"] {
        assert_eq!(api.get(&format!("/v1/links?{refused}")).status, 400, "{refused}");
    }
}

#[test]
fn pages_have_every_link_that_stayed_once_while_others_come_and_go() {
    let mut api = ApiSite::start();
    let (status, _) = api.bulk("mode=each", &rows((0..300).map(|at| format!("stay{at:03}"))));
    assert_eq!(status, 200);
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                let (code, changes) =
                    (format!("stay{:03}x{round}", round * 7 % 300), format!("stay{:03}", round % 300));
                api.bulk("mode=each", &rows([code.clone()].into_iter()));
                let patch = json!({"op":"patch","code":changes,"patch":{"title":round.to_string()}});
                api.bulk("mode=each", &[patch.to_string(), json!({"op":"delete","code":code}).to_string()]);
                round += 1;
            }
        });
        let mut seen: Vec<String> = Vec::new();
        let mut target = "/v1/links?limit=7".to_owned();
        loop {
            let page = api.get_json(&target);
            seen.extend(codes(&page));
            let Some(next) = page["next"].as_str() else { break };
            target = format!("/v1/links?limit=7&cursor={next}");
        }
        seen
    });
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "none twice: {seen:?}");
    let stayed = seen.iter().filter(|code| code.len() == 7).count();
    assert_eq!(stayed, 300);

    let cursor = api.get_json("/v1/links?limit=7")["next"].as_str().unwrap().to_owned();
    for altered in [format!("{cursor}A"), cursor[1..].to_owned(), "x".to_owned(), String::new()] {
        assert_eq!(api.get(&format!("/v1/links?limit=7&cursor={altered}")).status, 400, "{altered}");
    }
    assert_eq!(api.get(&format!("/v1/links?creator=c_1&cursor={cursor}")).status, 400, "of another filter");
    let _ = api.site.stop();
    api.site.restart();
    assert_eq!(api.get(&format!("/v1/links?limit=7&cursor={cursor}")).status, 200, "a cursor outlives a restart");
}

#[test]
fn every_change_says_who_what_why_before_and_after() {
    let api = ApiSite::start();
    let post = api.request("POST", "/v1/links?reason=spring%20sale").json(&plain("https://shop.example.com/1")).send();
    let path = post.header("location").unwrap().to_owned();
    let patch = api.request("PATCH", &path).typed("application/merge-patch+json", br#"{"title":"x"}"#.to_vec());
    assert_eq!(patch.send().status, 200);
    assert_eq!(api.request("DELETE", &format!("{path}?reason=over")).send().status, 204);
    let history = api.get_json(&format!("{path}/history"));
    let lines = history["items"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| &line["version"]).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((&lines[0]["reason"], &lines[0]["after"]), (&json!("over"), &Value::Null));
    assert_eq!((&lines[2]["reason"], &lines[2]["before"]), (&json!("spring sale"), &Value::Null));
    assert_eq!(lines[1]["after"], lines[0]["before"]);
    assert!(lines[0]["actor"].as_str().unwrap().ends_with(" (test)"));
    let act = api.get_json(&format!("/v1/acts/{}", lines[2]["act"].as_str().unwrap()));
    assert_eq!((&act["reason"], &act["items"][0]), (&json!("spring sale"), &lines[2]));
    assert_eq!(api.get("/v1/acts/01a22d5b-e0e6-720c-911a-685ab55cddca").status, 404);
    let first = api.get_json("/v1/audit?limit=2");
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    assert_eq!(api.get_json("/v1/audit?after=2")["items"], json!([lines[0]]));
    let long = "x".repeat(257);
    assert_eq!(api.request("DELETE", &format!("{path}?reason={long}")).send().status, 400);
    assert_eq!(api.get("/v1/links/*/nothing/history").status, 404);
}

#[test]
fn the_feed_waits_for_the_first_change() {
    let api = ApiSite::start();
    assert_eq!(ndjson(&api.get("/v1/changes?after=0")), [json!({"next": 0})]);
    let lines = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ndjson(&api.get("/v1/changes?after=0&wait=30")));
        // The feed waits or has not begun to: the change is there either way.
        std::thread::yield_now();
        let started = Instant::now();
        api.put_link("mug", plain("https://shop.example.com/mug"));
        let lines = waiting.join().unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
        lines
    });
    assert_eq!((&lines[0]["link"], &lines[1]), (&json!("/v1/links/*/mug"), &json!({"next": 1})));
    let started = Instant::now();
    assert_eq!(ndjson(&api.get("/v1/changes?after=1&wait=1")), [json!({"next": 1})]);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(api.get("/v1/changes?wait=61").status, 400);
}

#[test]
fn an_export_as_a_links_file_exports_the_same() {
    let api = ApiSite::start();
    let mut lines = rows((0..1500).map(|at| format!("code{at:04}")));
    lines.push(json!({"url":"https://shop.example.com/minted","kind":"plain","tags":["ö"]}).to_string());
    lines.push(link("product"));
    lines.push(r#"{ "code":"as-written", "kind":"plain", "url":"https://shop.example.com/", "test":true }"#.to_owned());
    let (status, answer) = api.bulk("mode=atomic", &lines);
    assert_eq!((status, &answer.last().unwrap()["summary"]["created"]), (200, &json!(1503)));
    let export = api.get("/v1/export").text();
    assert_eq!(export.lines().count(), 1503);
    let written: BTreeSet<&str> = export.lines().collect();
    assert!(written.contains(lines[0].as_str()) && written.contains(lines.last().unwrap().as_str()));
    let again = Site::new(&export.lines().map(str::to_owned).collect::<Vec<_>>());
    let again = ApiSite::start_of(again);
    until("the file is kept", || Some(again.get_json("/v1/status")).filter(|status| status["position"] == 1503));
    assert_eq!(again.get("/v1/export").text(), export);
    let body = body(&again.get("/v1/links/*/as-written"));
    assert_eq!(body["test"], true);
}
