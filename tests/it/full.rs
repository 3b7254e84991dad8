//! Disk and sink both gone: the ring fills, a request waits for room up to its deadline, then `on_full` decides.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Site, Stop, link, request, until},
    kafka::mock::Mock,
};

/// A site whose broker does not answer and whose disk budget is as good as nothing.
fn stuck(on_full: &str) -> Site {
    // A port that was free a moment ago: nobody answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    stuck_on(&nobody.to_string(), on_full).start()
}

fn stuck_on(broker: &str, on_full: &str) -> Site {
    Site::new(&[link("live")])
        .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__DISK_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__ON_FULL", on_full)
        // What the journal does to a flood comes after what one address may ask for, and one client fills the ring.
        .env("WAYPOST__EDGE__LIMITS__UNKNOWN_PER_ADDRESS", "1000000")
        .env("WAYPOST__EDGE__LIMITS__REQUESTS", "1000000")
        .arg("--kafka")
        .arg(broker)
}

/// Clicks until three answers in a row are other than a plain 302 in time: one alone may be this machine's.
fn fill(site: &Site) {
    let mut wire = site.wire();
    let pad = format!("Referer: https://example.com/{}", "r".repeat(400));
    let mut late = 0;
    for _ in 0..100_000 {
        let begun = Instant::now();
        let answer = wire.send(&request("GET", &format!("/live?sub1={}", "x".repeat(1500)), &[&pad]));
        late = if answer.status != 302 || begun.elapsed() >= Duration::from_millis(90) { late + 1 } else { 0 };
        if late == 3 {
            return;
        }
    }
    panic!("the ring never filled");
}

fn not_ready(site: &Site) -> String {
    until("not ready", || site.admin("/readyz").filter(|answer| answer.status == 503)).text()
}

#[test]
fn a_full_ring_still_redirects_with_a_flagged_token_and_counts() {
    let site = stuck("unrecorded");
    fill(&site);
    let answer = site.get("/live", &[]);
    assert_eq!(answer.status, 302);
    assert!(answer.header("set-cookie").is_some());
    let verdict = site
        .command(&["token", "verify", "--json", "--data-dir"])
        .arg(site.data())
        .arg(answer.token().unwrap())
        .output()
        .unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert!(verdict["flags"].to_string().contains("unjournaled"), "{verdict}");
    until("unrecorded clicks are counted", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"full\"") >= 1.0).then_some(())
    });
    assert!(not_ready(&site).contains("room"));
    let line = site.tells("not_ready", "yes", "edge-not-ready");
    assert_eq!(line["missing"], "lane 0 has room");
    let line = site.tells("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains("disk_bytes"), "{line}");
    assert!(site.told("not_ready") < 5 && site.told("spill_stopped") < 5, "once a fault, not once a click");
}

#[test]
fn a_full_ring_refuses_where_that_is_the_policy() {
    let site = stuck("refuse");
    fill(&site);
    let begun = Instant::now();
    assert_eq!(site.get("/live", &[]).status, 503);
    assert!(begun.elapsed() >= Duration::from_millis(90), "it waited for room first");
    assert_eq!(site.get("/robots.txt", &[]).status, 200, "what needs no room does not wait");
    assert!(not_ready(&site).contains("room"));
    until("refused clicks are counted", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"refused\"") >= 1.0).then_some(())
    });
    site.tells("not_ready", "yes", "edge-not-ready");
}

#[test]
fn a_request_that_waits_takes_the_room_that_comes_and_is_recorded() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    mock.down();
    let site = stuck_on(&mock.address(), "unrecorded")
        .env("WAYPOST__JOURNAL__WAIT_FOR_ROOM", "10s")
        .config("[kafka.properties]\n\"reconnect.backoff.max.ms\" = \"200\"\n")
        .start();
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clicking = Stop(&stop);
        let client = scope.spawn(|| {
            let mut wire = site.wire();
            let click = request("GET", &format!("/live?sub1={}", "x".repeat(1500)), &[]);
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(wire.send(&click).status, 302);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(not_ready(&site).contains("room"));
        site.tells("not_ready", "yes", "edge-not-ready");
        mock.up();
        let waiting = answered.load(Ordering::Relaxed);
        until("more answers", || (answered.load(Ordering::Relaxed) > waiting + 100).then_some(()));
        drop(clicking);
        client.join().unwrap();
    });
    site.logged("ready again");
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", ""), 0.0);
    until("every answered click is delivered", || {
        let delivered = site.metric("waypost_clicks_delivered_total", "");
        (delivered == answered.load(Ordering::Relaxed) as f64).then_some(())
    });
}

#[test]
fn a_flood_of_unknown_codes_does_not_take_the_last_quarter() {
    spared_from_a_flood(&[], 404);
}

#[test]
fn a_flood_of_unknown_codes_that_calls_itself_a_prefetch_does_not_either() {
    spared_from_a_flood(&["Sec-Purpose: prefetch"], 503);
}

fn spared_from_a_flood(headers: &[&str], status: u16) {
    let site = stuck("unrecorded");
    let mut wire = site.wire();
    let flood = request("GET", &format!("/nobody?{}", "x".repeat(3000)), headers);
    for _ in 0..6000 {
        assert_eq!(wire.send(&flood).status, status);
    }
    until("unknown codes are counted only", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"pressed\"") > 0.0).then_some(())
    });
    assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", "reason=\"full\""), 0.0, "a paid click found room");
}
