//! A wall clock that is set by hours while Waypost serves, and between two runs.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::{
    clock::{Clock, HOUR},
    dsl::{Site, link, request},
};

/// A link that expires three hours from now by the machine's clock.
fn link_that_expires_in_three_hours() -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(3);
    link("dated").replacen('{', &format!("{{\"expires_at\":\"{at:.0}\","), 1)
}

/// Clicks `count` times; returns whether the link is live. An expired link passes the buyer on without a cookie.
fn click_and_check_live(site: &Site, code: &str, count: usize) -> bool {
    let mut wire = site.connect();
    let answers = (0..count).map(|_| {
        let answer = wire.send(&request("GET", &format!("/{code}"), &[]));
        assert_eq!(answer.status, 302);
        answer.header("set-cookie").is_some()
    });
    let live = answers.filter(|live| *live).count();
    assert!(live == 0 || live == count, "{live} of {count}");
    live > 0
}

/// Asserts that within a lane and epoch numbers have no gap and ids rise with them, that no id comes twice, and that
/// epochs rise with the runs, in whose order `events` are.
fn assert_ordered(events: &[Value]) {
    let ids: HashSet<&str> = events.iter().map(|event| event["click_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "an id twice");
    let mut lanes: BTreeMap<(u64, u64), Vec<(u64, &str)>> = BTreeMap::new();
    for event in events {
        let number = |name: &str| event[name].as_u64().unwrap();
        let place = (number("lane"), number("epoch"));
        lanes.entry(place).or_default().push((number("seq"), event["click_id"].as_str().unwrap()));
    }
    for (place, mut clicks) in lanes {
        clicks.sort_unstable();
        assert!(clicks.iter().map(|(seq, _)| *seq).eq(0..clicks.len() as u64), "{place:?}: a gap");
        // The text of an id sorts as its bytes do, and these begin with the time.
        let times: Vec<&str> = clicks.iter().map(|(_, id)| &id[..13]).collect();
        assert!(times.is_sorted(), "{place:?}: ids out of order: {times:?}");
    }
}

#[test]
fn a_clock_stepped_by_hours_keeps_ids_in_order_and_links_expire_by_it() {
    let Some(clock) = Clock::ahead_by(0) else { return };
    let mut site = clock.on(Site::new(&[link("live"), link_that_expires_in_three_hours()])).start();
    assert!(click_and_check_live(&site, "dated", 20));
    clock.set(5 * HOUR);
    assert!(!click_and_check_live(&site, "dated", 5), "expired by the clock");
    assert!(click_and_check_live(&site, "live", 20));
    clock.set(-5 * HOUR);
    assert!(click_and_check_live(&site, "dated", 20), "not expired by the clock");
    let events = site.wait_for_events("clicks", 60);
    assert_ordered(&events);
    assert_eq!(site.wait_for_events("clicks.orphan", 5).len(), 5);
    let times: Vec<i64> = events.iter().map(|event| event["clicked_at_ms"].as_i64().unwrap()).collect();
    assert!(times[59] < times[0] - 4 * HOUR, "the event's time is the wall's");
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_clock_set_back_between_two_runs_keeps_epochs_rising_and_ids_unique() {
    let Some(clock) = Clock::ahead_by(5 * HOUR) else { return };
    let mut site = clock.on(Site::new(&[link("live"), link_that_expires_in_three_hours()])).start();
    assert!(!click_and_check_live(&site, "dated", 5));
    assert!(click_and_check_live(&site, "live", 30));
    let before = site.wait_for_events("clicks", 30);
    for (kill, offset, count) in [(true, -5 * HOUR, 60), (false, 0, 90), (true, 9 * HOUR, 120)] {
        if kill {
            site.kill();
        } else {
            assert_eq!(site.stop().0, Some(0));
        }
        clock.set(offset);
        site.restart();
        assert_eq!(click_and_check_live(&site, "dated", 1), offset < 3 * HOUR, "expired at {offset}");
        assert!(click_and_check_live(&site, "live", 30));
        let dated = if offset < 3 * HOUR { 1 } else { 0 };
        site.wait_for_events("clicks", count + dated);
    }
    let events = site.events("clicks");
    assert_ordered(&events);
    let epochs: Vec<u64> = events.iter().map(|event| event["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    assert_eq!(epochs.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(epochs[0], before[0]["epoch"].as_u64().unwrap());
}

#[test]
fn a_clock_that_jumped_ahead_and_came_back_leaves_no_token_ahead_and_no_budget_used_up() {
    let Some(clock) = Clock::ahead_by(0) else { return };
    let site =
        clock.on(Site::new(&[link("live")])).env("WAYPOST__EDGE__LIMITS__MAX_UNKNOWN_CODES_PER_ADDRESS", "3").start();
    assert!(click_and_check_live(&site, "live", 1));
    clock.set(30 * HOUR);
    assert!(click_and_check_live(&site, "live", 1));
    clock.set(0);
    let token = site.get("/live", &[]).token().unwrap();
    let verdict = std::process::Command::new(env!("CARGO_BIN_EXE_waypost"))
        .args(["token", "verify", "--json", "--data-dir"])
        .arg(site.data())
        .arg(&token)
        .output()
        .unwrap();
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert_eq!(verdict["verdict"], "valid", "{verdict}");
    let line = site.wait_for_fault("clock_went_back", "bounded", "edge-not-ready");
    assert!(line["lead_seconds"].as_u64().unwrap() >= 29 * 3600, "{line}");
    // A minute of the wall clock that comes again must not give the budget anew, and none that is ahead must hold it.
    for hours in [30, 0, 30, 0] {
        clock.set(hours * HOUR);
        for _ in 0..3 {
            assert_eq!(site.get("/nobody", &[]).status, 404);
        }
    }
    crate::dsl::until("the rest is counted", || {
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"rate_limited\"") >= 6.0).then_some(())
    });
}
