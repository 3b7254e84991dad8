//! A wall clock that is stepped by hours while Waypost serves, and between two of its lives.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::{
    clock::{Clock, HOUR},
    dsl::{Site, link, request},
};

/// A link that expires three hours from now by the machine's clock.
fn expiring() -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(3);
    link("dated").replacen('{', &format!("{{\"expires_at\":\"{at:.0}\","), 1)
}

/// Clicks so often; whether the link was live: an expired one passes the buyer on without a cookie.
fn live(site: &Site, code: &str, count: usize) -> bool {
    let mut wire = site.wire();
    let answers = (0..count).map(|_| {
        let answer = wire.send(&request("GET", &format!("/{code}"), &[]));
        assert_eq!(answer.status, 302);
        answer.header("set-cookie").is_some()
    });
    let live = answers.filter(|live| *live).count();
    assert!(live == 0 || live == count, "{live} of {count}");
    live > 0
}

/// Within a lane and epoch, numbers without a gap and ids that rise with them; over all, no id twice, and epochs that rise with
/// the lives, in whose order `events` are.
fn ordered(events: &[Value]) {
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
    let mut site = clock.on(Site::new(&[link("live"), expiring()])).start();
    assert!(live(&site, "dated", 20));
    clock.set(5 * HOUR);
    assert!(!live(&site, "dated", 5), "expired by the clock as it is now");
    assert!(live(&site, "live", 20));
    clock.set(-5 * HOUR);
    assert!(live(&site, "dated", 20), "not expired by the clock as it is now");
    let events = site.events_until("clicks", 60);
    ordered(&events);
    assert_eq!(site.events_until("clicks.orphan", 5).len(), 5);
    let times: Vec<i64> = events.iter().map(|event| event["clicked_at_ms"].as_i64().unwrap()).collect();
    assert!(times[59] < times[0] - 4 * HOUR, "the event's time is the wall's");
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_clock_stepped_back_between_two_lives_keeps_epochs_rising_and_ids_unique() {
    let Some(clock) = Clock::ahead_by(5 * HOUR) else { return };
    let mut site = clock.on(Site::new(&[link("live"), expiring()])).start();
    assert!(!live(&site, "dated", 5));
    assert!(live(&site, "live", 30));
    let before = site.events_until("clicks", 30);
    for (kill, offset, count) in [(true, -5 * HOUR, 60), (false, 0, 90), (true, 9 * HOUR, 120)] {
        if kill {
            site.kill();
        } else {
            assert_eq!(site.stop().0, Some(0));
        }
        clock.set(offset);
        site.restart();
        assert_eq!(live(&site, "dated", 1), offset < 3 * HOUR, "expired at {offset}");
        assert!(live(&site, "live", 30));
        let dated = if offset < 3 * HOUR { 1 } else { 0 };
        site.events_until("clicks", count + dated);
    }
    let events = site.events("clicks");
    ordered(&events);
    let epochs: Vec<u64> = events.iter().map(|event| event["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    assert_eq!(epochs.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(epochs[0], before[0]["epoch"].as_u64().unwrap());
}
