//! Bounds: sizes, slow bodies, requests at once.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    client::{ApiSite, plain},
    schema::check_answer,
};
use crate::dsl::until;

#[test]
fn a_record_has_16_kib_at_most() {
    let api = ApiSite::start();
    let of_length = |length: usize| {
        let mut record = plain("https://shop.example.com/");
        record["code"] = json!("long");
        let padding = length - record.to_string().len() - r#","url":"#.len() + r#","url":"#.len();
        record["url"] = json!(format!("https://shop.example.com/{}", "x".repeat(padding)));
        record.to_string()
    };
    let put = |text: String| {
        let request = api.request("PUT", "/v1/links/*/long").typed("application/json", text.into_bytes());
        request.send().status
    };
    // A destination has 8 KiB at most, so that the largest body is refused for another reason.
    assert_eq!(put(of_length(16 << 10)), 422);
    assert_eq!(put(of_length((16 << 10) + 1)), 413);
    assert_eq!(put(of_length(1 << 20)), 413);
    assert_eq!(put(of_length(8_000)), 201);
}

#[test]
fn a_body_that_does_not_come_on_is_cut() {
    let api = ApiSite::start();
    let request = api.request("POST", "/v1/links").typed("application/json", Vec::new());
    let mut connection = request.open(1000);
    connection.write("{");
    connection.stream().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let started = Instant::now();
    let answer = request.read_answer(&mut connection).unwrap();
    check_answer("POST", "/v1/links", &answer);
    assert_eq!(answer.status, 408);
    assert!((29..45).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(connection.is_closed());
}

#[test]
fn the_65th_request_at_once_is_told_to_come_again() {
    let api = ApiSite::start();
    let request = api.request("POST", "/v1/links").typed("application/json", Vec::new());
    let mut open: Vec<_> = (0..64).map(|_| request.open(1000)).collect();
    let busy = until("64 requests wait for their bodies", || {
        Some(api.get("/v1/status")).filter(|answer| answer.status == 503)
    });
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(api.site.admin("/livez").unwrap().status, 200, "probes are answered");
    drop(open.pop());
    until("a place is free", || Some(api.get("/v1/status")).filter(|answer| answer.status == 200));
    drop(open);
}
