//! The broker goes away: redirects do not notice, and what was answered is delivered once it is back, oldest first.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    dsl::{Site, TIMEOUT, numbered_tap, request, until},
    kafka::{
        broker::{Broker, Kind},
        mock::Mock,
        site::{
            Load, assert_each_once, backlog_clicks, count_clicks, send_clicks, site_with_kafka,
            wait_until_counts_add_up, wait_until_delivered,
        },
    },
};

/// A broker that has these topics and is down again.
fn stopped_broker_with_topics(topics: &[(&str, i32)]) -> Option<Broker> {
    let mut broker = Broker::start(Kind::Plain)?;
    for (topic, partitions) in topics {
        broker.create_topic(topic, *partitions, &[]);
    }
    broker.stop();
    Some(broker)
}

/// Delivered and remaining as the last line of a stopped process says.
fn parse_stop_summary(log: &str) -> (u64, u64) {
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    assert_eq!(fields["event"], "stopped", "{line}");
    (fields["delivered"].as_u64().unwrap(), fields["remain"].as_u64().unwrap())
}

#[test]
fn a_broker_killed_under_load_loses_no_click_and_no_redirect() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic("clicks", 3, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    let site = site_with_kafka(&broker.address(), "clicks").env("WAYPOST__EDGE__WORKERS", "2").start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    for _ in 0..2 {
        broker.kill();
        load.wait_for_more_answers(500);
        until("clicks wait", || (backlog_clicks(&site) > 0.0).then_some(()));
        broker.restart();
        let before = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as u64;
        wait_until_delivered(&site, "clicks", before + 500);
    }
    let answered = load.stop_and_collect();
    wait_until_delivered(&site, "clicks", answered.len() as u64);
    wait_until_counts_add_up(&site);
    let records = broker.read(&["clicks"], answered.len(), TIMEOUT);
    let (found, repeated) = count_clicks(&records);
    assert_each_once(&found, answered.into_keys());
    println!("{} clicks over two kills of the broker, {repeated} of them repeated", found.len());
}

/// One partition and one lane, so that the order in which clicks come is the order of the topic.
#[test]
fn clicks_of_a_broker_that_was_never_there_pile_up_outlive_a_kill_and_come_oldest_first() {
    let Some(mut broker) = stopped_broker_with_topics(&[("clicks", 1), ("clicks.orphan", 1)]) else { return };
    let mut site = site_with_kafka(&broker.address(), "clicks").start();
    // More than the ring's 4 MiB, so that what came first has to be read from segments.
    let pad = "x".repeat(1800);
    let mut wire = site.connect();
    for number in 0..3000 {
        assert_eq!(wire.send(&request("GET", &format!("/live?sub1={number}&sub2={pad}"), &[])).status, 302);
    }
    until("clicks in segments", || {
        (site.metric("waypost_journal_spilled_bytes_total", "") > 4_500_000.0).then_some(())
    });
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "it serves all the same");
    site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
    assert!(site.metric("waypost_kafka_errors_total", "class=\"retriable\"") > 0.0);
    site.kill();
    site.restart();
    until("what was answered is recovered", || (backlog_clicks(&site) == 3000.0).then_some(()));
    send_clicks(&site, 3000..3100);
    assert_eq!(site.metric("waypost_clicks_delivered_total", ""), 0.0);

    broker.restart();
    wait_until_delivered(&site, "clicks", 3100);
    until("no backlog", || (backlog_clicks(&site) == 0.0).then_some(()));
    wait_until_counts_add_up(&site);
    let records = broker.read(&["clicks"], 3100, TIMEOUT);
    let (found, repeated) = count_clicks(&records);
    assert_each_once(&found, 0..3100);
    assert_eq!(repeated, 0, "the broker never died");
    let order: Vec<(u64, u64)> = records
        .iter()
        .map(|record| {
            let event = record.json();
            (event["epoch"].as_u64().unwrap(), event["seq"].as_u64().unwrap())
        })
        .collect();
    assert!(order.is_sorted(), "oldest first");
}

#[test]
fn a_stop_while_the_broker_is_away_says_what_stays_and_the_next_start_delivers_it() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic("clicks", 3, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    let mut site = site_with_kafka(&broker.address(), "clicks").env("WAYPOST__DELIVERY__DRAIN_DEADLINE", "1s").start();
    send_clicks(&site, 0..50);
    wait_until_delivered(&site, "clicks", 50);
    broker.stop();
    send_clicks(&site, 50..150);
    for number in 0..7 {
        assert_eq!(site.send(&numbered_tap("nobody", number)).status, 404);
    }
    let begun = Instant::now();
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(8), "it does not wait for a broker: {:?}", begun.elapsed());
    assert_eq!(parse_stop_summary(&log), (50, 107));

    // Again without a broker: nothing is lost and nothing is counted twice.
    site.restart();
    until("what stayed is recovered", || (backlog_clicks(&site) == 107.0).then_some(()));
    let (_, log) = site.stop();
    assert_eq!(parse_stop_summary(&log), (0, 107));

    broker.restart();
    site.restart();
    wait_until_delivered(&site, "clicks", 100);
    wait_until_delivered(&site, "clicks.orphan", 7);
    wait_until_counts_add_up(&site);
    let (_, log) = site.stop();
    assert_eq!(parse_stop_summary(&log), (107, 0));
    let (found, _) = count_clicks(&broker.read(&["clicks"], 150, TIMEOUT));
    assert_each_once(&found, 0..150);
    let (found, _) = count_clicks(&broker.read(&["clicks.orphan"], 7, TIMEOUT));
    assert_each_once(&found, 0..7);
}

/// The time that each redirect took, sorted.
fn time_redirects(site: &Site, clicks: u64) -> Vec<Duration> {
    let mut wire = site.connect();
    let mut took: Vec<Duration> = (0..clicks)
        .map(|number| {
            let begun = Instant::now();
            assert_eq!(wire.send(&numbered_tap("live", number)).status, 302);
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

#[test]
fn a_slow_broker_slows_no_redirect() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = site_with_kafka(&mock.address(), "clicks").start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    let slow = Duration::from_millis(800);
    mock.set_latency(slow);
    let took = time_redirects(&site, 300);
    assert!(took[150] < slow / 10, "half of them took {:?}", took[150]);
    wait_until_delivered(&site, "clicks", 310);
    wait_until_counts_add_up(&site);
}

#[test]
fn a_queue_that_is_full_holds_clicks_in_the_journal_and_goes_on_when_it_empties() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = site_with_kafka(&mock.address(), "clicks")
        .env("WAYPOST__KAFKA__PROPERTIES__QUEUE_BUFFERING_MAX_MESSAGES", "100")
        .start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    mock.stop_broker();
    time_redirects(&site, 700);
    until("the backlog", || (backlog_clicks(&site) == 700.0).then_some(()));
    site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
    assert!(site.metric("waypost_kafka_errors_total", "class=\"retriable\"") > 0.0);
    // An orphan takes its own way, but the queue is one.
    assert_eq!(site.send(&numbered_tap("nobody", 0)).status, 404);
    mock.start_broker();
    wait_until_delivered(&site, "clicks", 710);
    wait_until_delivered(&site, "clicks.orphan", 1);
    until("no backlog", || (backlog_clicks(&site) == 0.0).then_some(()));
    wait_until_counts_add_up(&site);
}

#[test]
fn a_partition_without_a_leader_holds_its_own_clicks_only() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = site_with_kafka(&mock.address(), "clicks").start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    mock.set_has_leader("clicks", 2, false);
    // Every click is another visitor's, so that they spread over the four partitions.
    for number in 10..210 {
        assert_eq!(site.send(&numbered_tap("live", number)).status, 302);
    }
    // Delivered means the unbroken prefix: what other partitions took counts once the one before it is there.
    let sent = || site.metric("waypost_clicks_in_flight", "topic=\"clicks\"");
    until("only its clicks are in flight", || {
        let waiting = sent();
        (waiting > 0.0 && waiting < 150.0 && backlog_clicks(&site) > 0.0).then_some(())
    });
    mock.set_has_leader("clicks", 2, true);
    wait_until_delivered(&site, "clicks", 210);
    wait_until_counts_add_up(&site);
}
