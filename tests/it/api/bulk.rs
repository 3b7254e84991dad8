//! Many rows in one request.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::client::{ApiSite, plain};
use crate::dsl::until;

fn row(code: &str, url: &str) -> String {
    let mut record = plain(url);
    record["code"] = json!(code);
    record.to_string()
}

fn good(code: &str) -> String {
    row(code, "https://shop.example.com/mug")
}

/// The lines and the statuses of refused rows, then the summary.
fn refused(lines: &[Value]) -> (Vec<(u64, u64)>, &Value) {
    let (summary, refused) = lines.split_last().unwrap();
    let refused = refused.iter().map(|line| (line["line"].as_u64().unwrap(), line["status"].as_u64().unwrap()));
    (refused.collect(), &summary["summary"])
}

#[test]
fn atomic_writes_all_or_nothing_and_tells_every_mistake_in_order() {
    let api = ApiSite::start();
    let mistakes = [
        good("a"),
        "{".to_owned(),
        row("b", "no url"),
        String::new(),
        good("c"),
        json!({"op":"delete","code":"nothing"}).to_string(),
        format!("{{\"code\":\"d\",\"title\":\"{}\"}}", "x".repeat(16 << 10)),
    ];
    let (status, lines) = api.bulk("mode=atomic", &mistakes);
    let (rows, summary) = refused(&lines);
    assert_eq!((status, rows), (422, vec![(2, 400), (3, 422), (6, 404), (7, 413)]));
    assert_eq!((&summary["applied"], &summary["rows"], &summary["refused"]), (&json!(false), &json!(6), &json!(4)));
    assert_eq!(api.get_json("/v1/status")["links"], 0);
    let (status, lines) = api.bulk("mode=atomic&dry_run", &[good("a"), good("b")]);
    let (_, summary) = refused(&lines);
    assert_eq!((status, &summary["applied"], &summary["created"]), (200, &json!(false), &json!(2)));
    assert_eq!(api.get_json("/v1/status")["links"], 0);
    let (status, lines) = api.bulk("", &[good("a"), good("b"), good("a")]);
    let (_, summary) = refused(&lines);
    assert_eq!((status, &summary["created"], &summary["unchanged"]), (200, &json!(2), &json!(1)));
    let act = api.get_json(&format!("/v1/acts/{}", summary["act"].as_str().unwrap()));
    assert_eq!(act["items"].as_array().unwrap().len(), 2);
    let many: Vec<String> = (0..100_001).map(|at| good(&format!("m{at}"))).collect();
    let request = api.request("POST", "/v1/bulk").typed("application/x-ndjson", many.join("\n").into_bytes());
    assert_eq!(request.send().status, 413);
    assert_eq!(api.get_json("/v1/status")["links"], 2);
}

#[test]
fn each_writes_what_is_right_and_conditions_hold() {
    let api = ApiSite::start();
    api.bulk("", &[good("a"), good("b"), good("c")]);
    let put = |version: u64| {
        let record: Value = serde_json::from_str(&row("a", "https://shop.example.com/cup")).unwrap();
        json!({"op":"put","record":record,"version":version}).to_string()
    };
    let rows = [
        put(7),
        put(1),
        json!({"op":"patch","code":"b","patch":{"enabled":false}}).to_string(),
        json!({"op":"delete","domain":"*","code":"c","version":3}).to_string(),
        json!({"op":"delete","domain":"*","code":"c"}).to_string(),
        json!({"url":"https://shop.example.com/minted","kind":"plain"}).to_string(),
    ];
    let (status, lines) = api.bulk("mode=each&reason=a%20test", &rows);
    let (refused_rows, summary) = refused(&lines);
    assert_eq!((status, refused_rows), (200, vec![(1, 412), (5, 404)]));
    for (field, count) in [("rows", 6), ("created", 1), ("updated", 2), ("deleted", 1), ("refused", 2)] {
        assert_eq!(summary[field], count, "{field}: {summary}");
    }
    assert_eq!(api.get("/v1/links/*/c").status, 404);
    assert_eq!(api.request("POST", "/v1/bulk").json(&json!({})).send().status, 415);
    assert_eq!(api.bulk("mode=each", &[]).1.len(), 1);
    let request = api.request("POST", "/v1/bulk?mode=all").typed("application/x-ndjson", Vec::new());
    assert_eq!(request.send().status, 400);
}

#[test]
fn a_long_request_is_streamed_and_every_refused_row_is_told() {
    let api = ApiSite::start();
    let rows: Vec<String> =
        (0..5_500).map(|at| if at % 1000 == 500 { "{".to_owned() } else { good(&format!("s{at}")) }).collect();
    let (status, lines) = api.bulk("mode=each", &rows);
    let (refused_rows, summary) = refused(&lines);
    let expected: Vec<(u64, u64)> = (0..6).map(|at| (at * 1000 + 501, 400)).take(5).collect();
    assert_eq!((status, &refused_rows[..5]), (200, &*expected));
    assert_eq!((&summary["created"], &summary["applied"]), (&json!(5_500 - refused_rows.len()), &json!(true)));
}

/// A line about a refused row says that every row before it is decided.
#[test]
fn what_was_acknowledged_before_a_kill_is_there_and_no_row_is_half_written() {
    let mut api = ApiSite::start();
    for round in 0..3 {
        let row_of = |at: usize| if at % 1000 == 999 { "{".to_owned() } else { good(&format!("r{round}-{at}")) };
        let request = api.request("POST", "/v1/bulk?mode=each").typed("application/x-ndjson", Vec::new());
        let mut connection = request.open(1 << 30);
        let (mut sent, mut acknowledged) = (0, 0);
        let started = Instant::now();
        let stream = connection.stream();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut answer = Vec::new();
        while acknowledged < 3_000 + round * 1_000 {
            assert!(started.elapsed() < Duration::from_secs(30), "{}", String::from_utf8_lossy(&answer));
            let rows: String = (sent..sent + 500).map(|at| row_of(at) + "\n").collect();
            stream.write_all(rows.as_bytes()).unwrap();
            sent += 500;
            let mut buffer = [0; 4096];
            if let Ok(read) = std::io::Read::read(stream, &mut buffer) {
                answer.extend_from_slice(&buffer[..read]);
            }
            let text = String::from_utf8_lossy(&answer);
            let told = text
                .match_indices("\"line\":")
                .filter_map(|(at, start)| text[at + start.len()..].split(',').next()?.parse::<usize>().ok());
            acknowledged = told.max().unwrap_or(0);
        }
        api.site.kill();
        api.site.restart();
        let export = api.get("/v1/export").text();
        let mut codes: Vec<usize> = Vec::new();
        for line in export.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let code = record["code"].as_str().unwrap();
            if let Some(at) = code.strip_prefix(&format!("r{round}-")) {
                codes.push(at.parse().unwrap());
            }
        }
        codes.sort_unstable();
        let expected: Vec<usize> = (0..acknowledged).filter(|at| at % 1000 != 999).collect();
        assert!(codes.starts_with(&expected), "{acknowledged} rows were acknowledged, {} are there", codes.len());
        let chunks = codes.len() + codes.len() / 999;
        assert_eq!(chunks % 1000, 0, "a chunk is there as a whole, or not at all: {}", codes.len());
        let links = api.get_json("/v1/status")["links"].as_u64().unwrap();
        assert_eq!(links as usize, export.lines().count());
        until("each link redirects", || (api.site.get(&format!("/r{round}-0"), &[]).status == 302).then_some(()));
    }
}

#[test]
fn an_atomic_request_of_very_many_rows_is_checked_whole_then_written_and_is_sent_again_with_its_act() {
    const ROWS: u64 = 10_400;
    let mut api = ApiSite::start();
    let rows: Vec<String> = (0..ROWS).map(|at| good(&format!("c{at}"))).collect();
    let mut bad = rows.clone();
    bad.push(rows[3].replace("shop", "other"));
    bad.push(r#"{"url":"https://shop.example.com/minted","kind":"plain"}"#.to_owned());
    // On top of each other: the link of line 4 is there already, as row 10 401 sees it; a code is needed.
    let (status, lines) = api.bulk("mode=atomic&existing=refuse", &bad);
    let numbers: Vec<&Value> = lines[..lines.len() - 1].iter().map(|line| &line["line"]).collect();
    assert_eq!((status, numbers), (422, vec![&json!(10_401), &json!(10_402)]), "{:?}", lines.last());
    assert_eq!(api.get_json("/v1/status")["links"], 0);
    let act = "01a22d5b-e0e6-720c-911a-685ab55cddcc";
    let parameters = format!("mode=atomic&existing=refuse&act={act}");
    let target = format!("/v1/bulk?{parameters}");
    let request = api.request("POST", &target).typed("application/x-ndjson", rows.join("\n").into_bytes());
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| request.try_send());
        until("the first chunks to be written", || (api.site.metric("waypost_links", "") >= 1_000.0).then_some(()));
        api.site.signal("-KILL");
        let _ = sent.join();
    });
    api.site.kill();
    api.site.restart();
    let by_the_kill = api.get_json("/v1/status")["links"].as_u64().unwrap();
    println!("killed behind {by_the_kill} of {ROWS} rows");
    let (status, lines) = api.bulk(&parameters, &rows);
    let summary = &lines.last().unwrap()["summary"];
    let count = |field: &str| summary[field].as_u64().unwrap();
    assert_eq!((status, count("refused"), count("unchanged")), (200, 0, by_the_kill), "{summary}");
    assert_eq!(count("created"), ROWS - by_the_kill);
    // Without the act the rows are refused: somebody else has made the links, for all that is known.
    let (status, lines) = api.bulk("mode=atomic&existing=refuse", &rows[..2]);
    assert_eq!((status, &lines[0]["type"]), (422, &json!("urn:waypost:problem:exists")));
    let undone = api.request("POST", &format!("/v1/acts/{act}/undo")).send();
    assert_eq!(undone.status, 202);
    until("all links to be gone again", || (api.site.metric("waypost_links", "") == 0.0).then_some(()));
}
