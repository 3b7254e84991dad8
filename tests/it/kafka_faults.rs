//! Faults between Waypost and a real Apache Kafka, made for real, under load: what buyers were answered is what the topic holds,
//! and the audit proves it.

use std::time::Duration;

use crate::{
    clock::{Clock, HOUR},
    dsl::{PATIENCE, Site, until},
    kafka::{
        broker::Broker,
        oracle::{audit_is_complete, proved},
        proxy::{Mode, Proxy},
        reader::Record,
        site::{Load, audited, backlog, click, delivered, each_once, identity_holds, numbers},
    },
};

/// Waits until nothing waits any more.
fn all_delivered(site: &Site) {
    until("nothing waits", || (backlog(site) == 0.0).then_some(()));
    identity_holds(site);
}

/// The broker refuses what lies more than an hour ahead of its clock.
#[test]
fn clicks_of_a_clock_that_steps_hours_and_a_day_ahead_of_the_brokers_all_arrive_with_their_own_time() {
    let (Some(broker), Some(clock)) = (Broker::shared(), Clock::ahead_by(0)) else { return };
    broker.create_all("ahead", 3, &[]);
    let site = clock.on(audited(&broker.address(), "ahead")).start();
    click(&site, 0..50);
    delivered(&site, "clicks", 50);
    let clamped = || site.metric("waypost_clicks_timestamp_clamped_total", "");
    assert_eq!(clamped(), 0.0);
    let steps = [2 * HOUR, 25 * HOUR, -HOUR];
    for (from, ms) in (50..).step_by(50).zip(steps) {
        clock.set(ms);
        let before = clamped();
        click(&site, from..from + 50);

        delivered(&site, "clicks", from + 50);

        assert_eq!(clamped() - before >= 50.0, ms > HOUR, "{ms} ms ahead");
    }
    assert!(site.metric("waypost_clicks_delivery_failed_total", "code=\"invalid_timestamp\"") >= 100.0);
    let line = site.tells("clicks_refused", "bounded", "clicks-refused").to_string();
    assert!(line.contains("check this machine's clock"), "{line}");
    identity_holds(&site);
    assert_eq!(site.metric("waypost_clicks_dead_lettered_total", ""), 0.0, "no click is at fault");

    let records = broker.read(&["ahead"], 200, PATIENCE);
    let (found, repeated) = numbers(&records);
    each_once(&found, 0..200);
    assert_eq!(repeated, 0);
    let now = jiff::Timestamp::now().as_millisecond();
    for record in &records {
        let event = record.json();
        let number: usize = event["sub1"].as_str().unwrap().parse().unwrap();
        let ahead = event["clicked_at_ms"].as_i64().unwrap() - now;
        let step = if number < 50 { 0 } else { steps[number / 50 - 1] };
        assert!((ahead - step).abs() < 60_000, "the value holds the click's own time: {ahead} for {step}");
        assert!(record.timestamp <= now + HOUR, "the record's is one that the broker takes");
    }
    clock.set(0);
    audit_is_complete(&site, &broker.address());
}
