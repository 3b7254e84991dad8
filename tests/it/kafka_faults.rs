//! Faults between Waypost and a real Apache Kafka, made for real, under load: what buyers were answered is what the
//! topic holds, and the audit proves it.

use crate::{
    clock::{Clock, HOUR},
    dsl::{Site, TIMEOUT, numbered_tap, until},
    kafka::{
        broker::{Broker, Kind},
        oracle::{assert_records_match_answers, wait_until_audit_is_complete},
        proxy::{Mode, Proxy},
        site::{
            Load, assert_each_once, backlog_clicks, count_clicks, orphan_topic, send_clicks, site_with_own_lanes_topic,
            wait_until_counts_add_up, wait_until_delivered,
        },
    },
    kafka_refused::{password_file, site_with_sasl_ssl},
};

/// Waits until nothing waits any more.
fn wait_until_all_delivered(site: &Site) {
    until("nothing waits", || (backlog_clicks(site) == 0.0).then_some(()));
    wait_until_counts_add_up(site);
}

/// The broker refuses what lies more than an hour ahead of its clock.
#[test]
fn clicks_of_a_clock_that_steps_hours_and_a_day_ahead_of_the_brokers_all_arrive_with_their_own_time() {
    let (Some(broker), Some(clock)) = (Broker::start_or_share(), Clock::ahead_by(0)) else { return };
    broker.create_click_topics("ahead", 3, &[]);
    let site = clock.on(site_with_own_lanes_topic(&broker.address(), "ahead")).start();
    send_clicks(&site, 0..50);
    wait_until_delivered(&site, "clicks", 50);
    let clamped = || site.metric("waypost_clicks_timestamp_shifted_total", "");
    assert_eq!(clamped(), 0.0);
    let steps = [2 * HOUR, 25 * HOUR, -HOUR];
    for (from, ms) in (50..).step_by(300).zip(steps) {
        clock.set(ms);
        let before = clamped();
        send_clicks(&site, from..from + 300);
        wait_until_delivered(&site, "clicks", from + 300);
        // Moved step by step each, they would have to be sent alone, a few dozen a second; the clock that is right
        // again is noticed within half a minute.
        let moved = clamped() - before;
        assert!((299.0..600.0).contains(&moved), "{ms} ms ahead, {moved} sent with a moved time");
        let stated = || site.metric("waypost_lane_statements_total", "result=\"delivered\"");
        let before = stated();
        until("a lane's statement passes too", || (stated() > before).then_some(()));
    }
    assert!(site.metric("waypost_clicks_delivery_failed_total", "code=\"invalid_timestamp\"") > 0.0);
    let line = site.wait_for_fault("clicks_refused", "bounded", "clicks-blocked").to_string();
    assert!(line.contains("check this machine's clock"), "{line}");
    wait_until_counts_add_up(&site);
    assert_eq!(site.metric("waypost_clicks_dead_lettered_total", ""), 0.0, "no click is at fault");

    let records = broker.read(&["ahead"], 950, TIMEOUT);
    let (found, repeated) = count_clicks(&records);
    assert_each_once(&found, 0..950);
    assert_eq!(repeated, 0);
    let now = jiff::Timestamp::now().as_millisecond();
    for record in &records {
        let event = record.json();
        let number: usize = event["sub1"].as_str().unwrap().parse().unwrap();
        let ahead = event["clicked_at_ms"].as_i64().unwrap() - now;
        let step = if number < 50 { 0 } else { steps[(number - 50) / 300] };
        assert!((ahead - step).abs() < 60_000, "the value holds the click's own time: {ahead} for {step}");
        assert!(record.timestamp <= now + HOUR, "the record's is one that the broker takes");
    }
    clock.set(0);
    wait_until_audit_is_complete(&site, &broker.address());
}

/// Less patience with the broker than the default's 30 s, and statistics soon enough to assert on.
fn with_short_timeouts(site: Site) -> Site {
    [
        ("SOCKET_TIMEOUT_MS", "1000"),
        ("SOCKET_CONNECTION_SETUP_TIMEOUT_MS", "2000"),
        ("API_VERSION_REQUEST_TIMEOUT_MS", "1000"),
        ("STATISTICS_INTERVAL_MS", "200"),
    ]
    .into_iter()
    .fold(site, |site, (key, value)| site.env(&format!("WAYPOST__KAFKA__PROPERTIES__{key}"), value))
}

/// Two clients click on a site behind a proxy while `fault` is on and off in turns; everything answered is in the
/// topic, and the audit says so. `moves`: a metric that the fault moves.
fn assert_nothing_lost_under(topic: &str, fault: Mode, rounds: usize, moves: &str) {
    let proxy = Proxy::new();
    let Some(broker) = Broker::start_behind(&proxy) else { return };
    broker.create_click_topics(topic, 3, &[]);
    let site = with_short_timeouts(site_with_own_lanes_topic(&proxy.address(), topic))
        .env("WAYPOST__EDGE__WORKERS", "2")
        .start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    for _ in 0..rounds {
        let before = site.metric(moves, "");
        proxy.set_mode(fault);
        // Answered all the while, and nothing of it is known to be delivered.
        load.wait_for_more_answers(400);
        until("clicks wait", || (backlog_clicks(&site) > 300.0).then_some(()));
        if fault == Mode::SwallowAnswers {
            let delivered = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as i64;
            until("clicks appended and not known to be", || (broker.count_appended(topic) > delivered).then_some(()));
        }
        let line = site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
        assert_eq!(line["class"], "retriable", "{line}");
        until(moves, || (site.metric(moves, "") > before).then_some(()));
        load.wait_for_more_answers(100);
        proxy.set_mode(Mode::Pass);
        let reached = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as u64;
        wait_until_delivered(&site, "clicks", reached + 500);
    }
    let answers = load.stop_and_collect();
    wait_until_all_delivered(&site);
    assert!(site.metric("waypost_kafka_errors_total", "class=\"retriable\"") > 0.0);
    let records = broker.read(&[topic, &orphan_topic(topic)], answers.len(), TIMEOUT);
    let repeats = assert_records_match_answers(&site, &answers, &records);
    wait_until_audit_is_complete(&site, &broker.address());
    println!("{topic}: {} clicks answered in {rounds} rounds of {fault:?}, {repeats} repeats", answers.len());
}

/// The broker has appended and the acknowledgement is lost.
#[test]
fn answers_of_the_broker_that_are_lost_on_their_way_lose_no_click() {
    assert_nothing_lost_under("swallowed", Mode::SwallowAnswers, 2, "waypost_kafka_request_timeouts_total");
}

#[test]
fn a_link_on_which_nothing_moves_loses_no_click() {
    assert_nothing_lost_under("stalled", Mode::Stall, 2, "waypost_kafka_request_timeouts_total");
}

#[test]
fn connections_that_are_reset_in_the_middle_of_batches_lose_no_click() {
    assert_nothing_lost_under("reset", Mode::Reset, 4, "waypost_kafka_disconnects_total");
}

/// The broker has appended, the acknowledgement is lost, and then the process is killed: the next one cannot know.
#[test]
fn a_kill_while_answers_are_lost_repeats_clicks_and_loses_none_and_the_audit_counts_them() {
    let proxy = Proxy::new();
    let Some(broker) = Broker::start_behind(&proxy) else { return };
    broker.create_click_topics("repeated", 3, &[]);
    let mut site = site_with_own_lanes_topic(&proxy.address(), "repeated").start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    proxy.set_mode(Mode::SwallowAnswers);
    load.wait_for_more_answers(300);
    let sent = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as i64;
    until("clicks appended and not known to be", || (broker.count_appended("repeated") > sent).then_some(()));
    let answers = load.stop_and_collect();
    site.kill();
    proxy.set_mode(Mode::Pass);
    site.restart();
    assert!(site.metric("waypost_clicks_recovered_total", "") > 0.0);
    wait_until_all_delivered(&site);
    let repeats = assert_records_match_answers(&site, &answers, &broker.read(&["repeated"], answers.len(), TIMEOUT));
    assert!(repeats > 0, "what was appended and not acknowledged");
    wait_until_audit_is_complete(&site, &broker.address());
    let audit = site.command(&["clicks", "audit", "--json", "--kafka", &broker.address()]).output().unwrap();
    let lanes = String::from_utf8(audit.stdout).unwrap();
    let counted = lanes.lines().map(|lane| serde_json::from_str::<serde_json::Value>(lane).unwrap());
    let counted: u64 =
        counted.filter(|lane| lane["topic"] == "repeated").filter_map(|lane| lane["repeats"].as_u64()).sum();
    assert_eq!(counted, repeats as u64);
    println!("{} clicks answered, {repeats} repeats after a kill while answers were lost", answers.len());
}

#[test]
#[ignore = "long form: 120 rounds of the network's faults, minutes"]
fn many_rounds_of_the_networks_faults_lose_no_click() {
    assert_nothing_lost_under("swallowed", Mode::SwallowAnswers, 30, "waypost_kafka_request_timeouts_total");
    assert_nothing_lost_under("stalled", Mode::Stall, 30, "waypost_kafka_request_timeouts_total");
    assert_nothing_lost_under("reset", Mode::Reset, 60, "waypost_kafka_disconnects_total");
}

/// The only broker goes away under load, cleanly and by kill -9 in turns, for so many clicks each time.
fn assert_nothing_lost_while_broker_is_away(topic: &str, rounds: usize, thousands: usize) {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_click_topics(topic, 3, &[]);
    let site = site_with_own_lanes_topic(&broker.address(), topic).env("WAYPOST__EDGE__WORKERS", "2").start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    for _ in 0..rounds {
        for away in [Broker::stop, Broker::kill] {
            away(&mut broker);
            (0..thousands).for_each(|_| load.wait_for_more_answers(1000));
            until("clicks wait", || (backlog_clicks(&site) >= 900.0 * thousands as f64).then_some(()));
            broker.restart();
            let so_far = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") as u64;
            wait_until_delivered(&site, "clicks", so_far + 1000);
        }
    }
    let answers = load.stop_and_collect();
    site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
    assert!(site.metric("waypost_kafka_errors_total", "class=\"retriable\"") > 0.0);
    wait_until_all_delivered(&site);
    let repeats = assert_records_match_answers(&site, &answers, &broker.read(&[topic], answers.len(), TIMEOUT));
    wait_until_audit_is_complete(&site, &broker.address());
    println!("{} clicks answered while the broker went away {} times, {repeats} repeats", answers.len(), 2 * rounds);
}

#[test]
fn the_only_broker_stopped_and_killed_under_load_loses_no_click() {
    assert_nothing_lost_while_broker_is_away("away", 1, 1);
}

#[test]
#[ignore = "long form: the broker is away for 60 000 clicks, a minute or more, twice"]
fn the_only_broker_away_for_minutes_loses_no_click() {
    assert_nothing_lost_while_broker_is_away("away", 1, 60);
}

#[test]
fn a_right_that_is_taken_away_while_clicks_flow_keeps_them_until_it_is_given_back() {
    let Some(broker) = Broker::start(Kind::Acls) else { return };
    broker.create_click_topics("clicks", 3, &[]);
    for topic in ["clicks", "clicks.orphan", "clicks.lanes"] {
        broker.grant_write(topic);
    }
    let site = site_with_sasl_ssl(&broker, "SCRAM-SHA-256");
    let file = password_file(&site);
    let site = site.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &file).start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 200);
    broker.revoke_write("clicks");
    until("clicks come back", || {
        (site.metric("waypost_clicks_delivery_failed_total", "code=\"not_authorized\"") > 0.0).then_some(())
    });
    let line = site.wait_for_fault("topic_not_authorized", "bounded", "topic-unusable").to_string();
    assert!(line.contains("grant WRITE"), "{line}");
    load.wait_for_more_answers(500);
    until("they wait", || (backlog_clicks(&site) >= 500.0).then_some(()));
    // The other topic is not held up.
    assert_eq!(site.send(&numbered_tap("nobody", 0)).status, 404);
    wait_until_delivered(&site, "clicks.orphan", 1);
    broker.grant_write("clicks");
    let answers = load.stop_and_collect();
    wait_until_all_delivered(&site);
    assert_eq!(site.metric("waypost_clicks_dead_lettered_total", ""), 0.0, "no click is at fault");
    let repeats = assert_records_match_answers(&site, &answers, &broker.read(&["clicks"], answers.len(), TIMEOUT));
    println!("{} clicks answered while a right was taken away, {repeats} repeats", answers.len());
}

#[test]
fn a_queue_that_is_full_before_a_stalled_broker_holds_clicks_in_the_journal_and_goes_on() {
    let proxy = Proxy::new();
    let Some(broker) = Broker::start_behind(&proxy) else { return };
    broker.create_click_topics("queued", 3, &[]);
    let site = with_short_timeouts(site_with_own_lanes_topic(&proxy.address(), "queued"))
        .env("WAYPOST__KAFKA__PROPERTIES__QUEUE_BUFFERING_MAX_MESSAGES", "100")
        .start();
    let load = Load::start(&site, 4);
    wait_until_delivered(&site, "clicks", 200);
    proxy.set_mode(Mode::Stall);
    load.wait_for_more_answers(2000);
    until("clicks wait", || (backlog_clicks(&site) >= 2000.0).then_some(()));
    until("the queue is full", || (site.metric("waypost_kafka_producer_queue_messages", "") == 100.0).then_some(()));
    site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered");
    proxy.set_mode(Mode::Pass);
    load.wait_for_more_answers(500);
    let answers = load.stop_and_collect();
    wait_until_all_delivered(&site);
    let repeats = assert_records_match_answers(&site, &answers, &broker.read(&["queued"], answers.len(), TIMEOUT));
    wait_until_audit_is_complete(&site, &broker.address());
    println!("{} clicks answered before a full queue, {repeats} repeats", answers.len());
}

/// What the broker had acknowledged and then lost is gone: hence three copies. What it had not is sent again by another
/// producer, and the audit names what is missing, and nothing else.
#[test]
fn a_broker_that_forgot_what_it_acknowledged_fails_the_producer_which_is_built_anew_and_the_audit_names_the_loss() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_click_topics("forgot", 1, &[]);
    let site = site_with_own_lanes_topic(&broker.address(), "forgot").start();
    let load = Load::start(&site, 2);
    wait_until_delivered(&site, "clicks", 2000);
    broker.kill_and_truncate_log("forgot", 0, 64 << 10);
    let (before, waits) = (load.answered_clicks(), backlog_clicks(&site));
    load.wait_for_more_answers(300);
    broker.restart();
    until("another producer", || (site.metric("waypost_kafka_producer_rebuilds_total", "") > 0.0).then_some(()));
    site.wait_for_fault("producer_failed", "none", "clicks-not-delivered");
    site.wait_for_fault("producer_rebuilt", "none", "clicks-not-delivered");
    load.wait_for_more_answers(300);
    let mut answers = load.stop_and_collect();
    wait_until_all_delivered(&site);
    assert!(site.metric("waypost_kafka_topic_alarm", "topic=\"forgot\",reason=\"replication\"") == 1.0);

    let records = broker.read(&["forgot"], 1, TIMEOUT);
    let (found, _) = count_clicks(&records);
    let lost: Vec<u64> = answers.keys().copied().filter(|number| !found.contains_key(number)).collect();
    assert!(!lost.is_empty(), "what was acknowledged before the cut");
    assert!(lost.iter().all(|number| *number < before), "nothing else: {lost:?} of {before}, of which {waits} waited");
    lost.iter().for_each(|number| drop(answers.remove(number)));
    let repeats = assert_records_match_answers(&site, &answers, &records);
    let missing = until("an audit that names them", || {
        let audit = site.command(&["clicks", "audit", "--json", "--kafka", &broker.address()]).output().unwrap();
        let said = String::from_utf8(audit.stdout).unwrap();
        let spans: Vec<_> = said
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|lane| lane["topic"] == "forgot")
            .flat_map(|lane| lane["missing"].as_array().cloned().unwrap_or_default())
            .collect();
        (audit.status.code() == Some(1)).then_some(spans)
    });
    let seqs = |span: &serde_json::Value| span["to"].as_u64().unwrap() - span["from"].as_u64().unwrap();
    assert_eq!(missing.iter().map(seqs).sum::<u64>(), lost.len() as u64, "{missing:?}");
    println!("{} clicks found, {} lost by the broker and named, {repeats} repeats", answers.len(), lost.len());
}
