//! Neither disk nor sink takes clicks: the ring fills, a request waits for room up to its deadline, then `on_full`
//! decides.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Site, StopOnDrop, link, request, until},
    kafka::mock::Mock,
};

/// Starts a site whose broker does not answer and whose disk budget is used up at once.
fn start_stuck_site(on_full: &str) -> Site {
    // A port that was free a moment ago: no process answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    stuck_site(&nobody.to_string(), on_full).start()
}

fn stuck_site(broker: &str, on_full: &str) -> Site {
    Site::new(&[link("live")])
        .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__MAX_DISK_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__ORPHAN__MAX_DISK_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__ON_FULL", on_full)
        // The limits of one address come before the journal, and one client fills the ring here.
        .env("WAYPOST__EDGE__LIMITS__MAX_UNKNOWN_CODES_PER_ADDRESS", "1000000")
        .env("WAYPOST__EDGE__LIMITS__MAX_REQUESTS", "1000000")
        .arg("--kafka")
        .arg(broker)
}

/// Clicks until three answers in a row are late or no redirect. One late answer alone can be due to a busy machine.
fn fill_ring(site: &Site) {
    let mut wire = site.connect();
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

fn wait_until_not_ready(site: &Site) -> String {
    until("not ready", || site.admin("/readyz").filter(|answer| answer.status == 503)).text()
}

#[test]
fn a_full_ring_still_redirects_with_a_flagged_token_and_counts() {
    let site = start_stuck_site("unrecorded");
    fill_ring(&site);
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
    assert!(verdict["flags"].to_string().contains("unrecorded"), "{verdict}");
    until("unrecorded clicks are counted", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"no_room\"") >= 1.0).then_some(())
    });
    assert!(wait_until_not_ready(&site).contains("room"));
    let line = site.wait_for_fault("not_ready", "yes", "edge-not-ready");
    assert_eq!(line["missing"], "lane 0 has room");
    let line = site.wait_for_fault("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains("max_disk_bytes"), "{line}");
    assert!(
        site.count_faults_logged("not_ready") < 5 && site.count_faults_logged("spill_stopped") < 5,
        "one line a fault, not one a click"
    );
}

#[test]
fn a_full_ring_refuses_where_that_is_the_policy() {
    let site = start_stuck_site("refuse");
    fill_ring(&site);
    let begun = Instant::now();
    assert_eq!(site.get("/live", &[]).status, 503);
    assert!(begun.elapsed() >= Duration::from_millis(90), "the request waited for room");
    assert_eq!(site.get("/robots.txt", &[]).status, 200, "a request that needs no room does not wait");
    assert!(wait_until_not_ready(&site).contains("room"));
    until("refused clicks are counted", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"refused_no_room\"") >= 1.0).then_some(())
    });
    site.wait_for_fault("not_ready", "yes", "edge-not-ready");
}

#[test]
fn a_request_that_waits_takes_the_room_that_comes_and_is_recorded() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    mock.stop_broker();
    let site = stuck_site(&mock.address(), "unrecorded")
        .env("WAYPOST__JOURNAL__WAIT_FOR_ROOM", "10s")
        .config("[kafka.properties]\n\"reconnect.backoff.max.ms\" = \"200\"\n")
        .start();
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clicking = StopOnDrop(&stop);
        let client = scope.spawn(|| {
            let mut wire = site.connect();
            let click = request("GET", &format!("/live?sub1={}", "x".repeat(1500)), &[]);
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(wire.send(&click).status, 302);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(wait_until_not_ready(&site).contains("room"));
        site.wait_for_fault("not_ready", "yes", "edge-not-ready");
        mock.start_broker();
        let waiting = answered.load(Ordering::Relaxed);
        until("more answers", || (answered.load(Ordering::Relaxed) > waiting + 100).then_some(()));
        drop(clicking);
        client.join().unwrap();
    });
    site.wait_for_log("ready again");
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", ""), 0.0);
    until("every answered click is delivered", || {
        let delivered = site.metric("waypost_clicks_delivered_total", "");
        (delivered == answered.load(Ordering::Relaxed) as f64).then_some(())
    });
}

#[test]
fn a_flood_of_unknown_codes_takes_no_room_of_paid_clicks() {
    assert_flood_leaves_room(&[], 404);
}

#[test]
fn a_flood_of_prefetches_of_unknown_codes_takes_no_room_of_paid_clicks() {
    assert_flood_leaves_room(&["Sec-Purpose: prefetch"], 503);
}

fn assert_flood_leaves_room(headers: &[&str], status: u16) {
    let site = start_stuck_site("unrecorded");
    let mut wire = site.connect();
    let flood = request("GET", &format!("/nobody?{}", "x".repeat(3000)), headers);
    for _ in 0..6000 {
        assert_eq!(wire.send(&flood).status, status);
    }
    until("unknown codes are counted as unrecorded", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"orphan_no_room\"") > 0.0).then_some(())
    });
    assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
    assert_eq!(
        site.metric("waypost_clicks_unrecorded_total", "reason=\"no_room\""),
        0.0,
        "a click on a live link found room"
    );
}

#[test]
fn requests_that_no_person_made_are_given_up_before_peoples_clicks() {
    let site = start_stuck_site("refuse");
    let mut wire = site.connect();
    let pad = format!("/live?{}", "x".repeat(3000));
    for headers in [&[][..], &["Sec-Purpose: prefetch"], &["Sec-Fetch-Dest: image"]] {
        let method = if headers.is_empty() { "HEAD" } else { "GET" };
        let flood = request(method, &pad, headers);
        for _ in 0..2000 {
            assert!([302, 503].contains(&wire.send(&flood).status));
        }
    }
    until("the flood is counted as unrecorded", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"uncountable_no_room\"") > 0.0).then_some(())
    });
    for _ in 0..100 {
        let answer = wire.send(&request("GET", &pad, &[]));
        assert_eq!((answer.status, answer.token().is_some()), (302, true), "a person's click found room");
    }
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", "reason=\"refused_no_room\""), 0.0);
    fill_ring(&site);
    let refused = site.get("/live", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
}
