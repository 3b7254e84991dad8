//! The broker is there and refuses: a topic is missing, we may not write, a record is too large. Clicks are kept, it is
//! said aloud, and what was put right heals by itself.

use rdkafka::types::RDKafkaRespErr;

use crate::{
    dsl::{Site, TIMEOUT, link, numbered_tap, request, until},
    kafka::{
        broker::{Broker, Kind},
        install::PASSWORD,
        mock::Mock,
        site::{
            assert_each_once, backlog_clicks, count_clicks, orphan_topic, send_clicks, site_with_kafka,
            site_with_own_lanes_topic, wait_until_counts_add_up, wait_until_delivered,
        },
    },
};

/// Waits until an alarm about a topic stands at a value.
pub(crate) fn wait_for_topic_alarm(site: &Site, topic: &str, reason: &str, value: f64) {
    let label = format!("topic=\"{topic}\",reason=\"{reason}\"");
    until(&format!("{label} at {value}"), || (site.metric("waypost_kafka_topic_alarm", &label) == value).then_some(()));
}

/// Waits until so many clicks wait; the journal's gauges are set ten times a second.
pub(crate) fn wait_for_backlog(site: &Site, clicks: f64) {
    until(&format!("{clicks} clicks wait"), || (backlog_clicks(site) == clicks).then_some(()));
}

fn wait_until_refused(site: &Site, code: &str) {
    let label = format!("code=\"{code}\"");
    until(&format!("clicks came back as {code}"), || {
        (site.metric("waypost_clicks_delivery_failed_total", &label) > 0.0).then_some(())
    });
}

/// With the smallest budgets, a topic of orphans that takes nothing, and more paid clicks than all rings and segments
/// of the edge hold.
fn assert_stuck_orphans_cost_no_paid_click(broker: &Broker, site: Site, topic: &str) {
    const PAID: u64 = 12_000;
    let site = site
        .env("WAYPOST__EDGE__LIMITS__MAX_REQUESTS", "1000000")
        .env("WAYPOST__EDGE__WORKERS", "1")
        .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__MAX_DISK_BYTES", "4 MiB")
        .start();
    for number in 0..5 {
        assert_eq!(site.send(&numbered_tap("nobody", number)).status, 404);
    }
    let waiting = |topic: &str| site.metric("waypost_journal_backlog_clicks", &format!("topic=\"{topic}\""));
    until("orphans wait", || (waiting("clicks.orphan") == 5.0).then_some(()));
    send_clicks(&site, 0..PAID);
    wait_until_delivered(&site, "clicks", PAID);
    until("no paid click waits", || (waiting("clicks") == 0.0).then_some(()));
    until("the journal of paid clicks lets go of what is delivered", || {
        (site.metric("waypost_journal_disk_used_bytes", "topic=\"clicks\"") < 2.0 * 1024.0 * 1024.0).then_some(())
    });
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", ""), 0.0, "no click is without a record");
    assert_eq!(waiting("clicks.orphan"), 5.0, "the orphans wait on");
    let (found, _) = count_clicks(&broker.read(&[topic], PAID as usize, TIMEOUT));
    assert_each_once(&found, 0..PAID);
}

#[test]
fn a_topic_of_orphans_that_is_missing_costs_no_paid_click() {
    let Some(broker) = Broker::start_or_share() else { return };
    for name in ["unpaid", "unpaid.lanes"] {
        broker.create_topic(name, 1, &[]);
    }
    let site = site_with_own_lanes_topic(&broker.address(), "unpaid");
    assert_stuck_orphans_cost_no_paid_click(&broker, site, "unpaid");
}

#[test]
fn a_topic_of_orphans_that_refuses_every_record_and_its_stub_costs_no_paid_click() {
    let Some(broker) = Broker::start_or_share() else { return };
    for name in ["small", "small.lanes"] {
        broker.create_topic(name, 1, &[]);
    }
    broker.create_topic(&orphan_topic("small"), 1, &[("max.message.bytes", "200")]);
    let site = site_with_own_lanes_topic(&broker.address(), "small");
    assert_stuck_orphans_cost_no_paid_click(&broker, site, "small");
}

#[test]
fn a_topic_of_orphans_that_is_forbidden_costs_no_paid_click() {
    let Some(broker) = Broker::start(Kind::Acls) else { return };
    broker.create_click_topics("clicks", 1, &[]);
    for granted in ["clicks", "clicks.lanes"] {
        broker.grant_write(granted);
    }
    let site = site_with_sasl_ssl(&broker, "SCRAM-SHA-256");
    let file = password_file(&site);
    let site = site.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &file);
    assert_stuck_orphans_cost_no_paid_click(&broker, site, "clicks");
}

#[test]
fn a_missing_topic_is_named_holds_up_no_other_and_heals_once_setup_made_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let (address, late) = (broker.address(), orphan_topic("late"));
    broker.create_topic(&late, 1, &[]);
    let site = site_with_kafka(&address, "late")
        // A topic that was made a moment ago may not be known yet: by default librdkafka believes in it for 30 s.
        .env("WAYPOST__KAFKA__PROPERTIES__TOPIC_METADATA_PROPAGATION_MAX_MS", "500")
        .start();
    send_clicks(&site, 0..60);
    for number in 0..20 {
        assert_eq!(site.send(&numbered_tap("nobody", number)).status, 404);
    }
    wait_until_delivered(&site, "clicks.orphan", 20);
    wait_until_refused(&site, "topic_missing");
    wait_for_topic_alarm(&site, "late", "missing", 1.0);
    wait_for_topic_alarm(&site, &late, "missing", 0.0);
    site.wait_for_fault("topic_missing", "bounded", "topic-unusable");
    let line = site.wait_for_log("topic `late` does not exist");
    assert!(line.contains("ERROR") && line.contains("waypost kafka setup --apply"), "{line}");
    wait_for_backlog(&site, 60.0);
    assert_eq!(site.metric("waypost_clicks_delivered_total", "topic=\"clicks\""), 0.0);
    send_clicks(&site, 60..80);
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "it serves all the same");

    let setup = ["kafka", "setup", "--kafka", &address, "--apply", "--partitions", "4", "--replication", "1"];
    let made = site.command(&setup).output().unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success() && said.contains("late: create with 4 partitions"), "{said}");
    wait_until_delivered(&site, "clicks", 80);
    wait_for_topic_alarm(&site, "late", "missing", 0.0);
    wait_until_counts_add_up(&site);
    let (found, repeated) = count_clicks(&broker.read(&["late"], 80, TIMEOUT));
    assert_each_once(&found, 0..80);
    assert_eq!(repeated, 0);
}

/// A redirected click with this number that no topic of less than 2000 bytes takes: it does not compress.
pub(crate) fn send_large_click(site: &Site, number: u64) {
    let noise =
        |from: u32| (from..from + 60).map(|n| format!("{:08x}", crc32c::crc32c(&n.to_le_bytes()))).collect::<String>();
    let (sub, agent) = (noise(0), noise(1000));
    let large = request("GET", &format!("/live?sub1={number}&sub2={sub}"), &[&format!("User-Agent: {agent}")]);
    assert_eq!(site.send(&large).status, 302);
}

/// Every line of the dead-letter files.
fn dead_letters(site: &Site) -> Vec<serde_json::Value> {
    let Ok(files) = std::fs::read_dir(site.data().join("dead-letters")) else { return Vec::new() };
    let texts: Vec<String> = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn of_clicks_in_a_batch_only_the_one_too_large_is_dead_lettered_and_its_stub_takes_its_place() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("narrow", 1, &[("max.message.bytes", "1800")]);
    broker.create_topic("narrow.orphan", 1, &[]);
    let site = site_with_kafka(&broker.address(), "narrow").start();
    send_clicks(&site, 0..10);
    send_large_click(&site, 10);
    send_clicks(&site, 11..30);
    wait_until_refused(&site, "too_large");
    wait_until_delivered(&site, "clicks", 29);
    let label = "topic=\"clicks\",reason=\"too_large\"";
    until("it is dead-lettered", || (site.metric("waypost_clicks_dead_lettered_total", label) == 1.0).then_some(()));
    wait_until_counts_add_up(&site);
    wait_for_backlog(&site, 0.0);
    assert_eq!(site.metric("waypost_clicks_delivered_total", "topic=\"clicks\""), 29.0);
    let line = site.wait_for_fault("dead_lettered", "bounded", "clicks-dead-lettered").to_string();
    assert!(line.contains("max.message.bytes of `narrow`") && line.contains("too_large"), "{line}");

    let (stubs, clicks): (Vec<_>, Vec<_>) =
        broker.read(&["narrow"], 30, TIMEOUT).into_iter().partition(|record| record.json()["type"] == "dead_lettered");
    let (found, repeated) = count_clicks(&clicks);
    assert_each_once(&found, (0..30).filter(|number| *number != 10));
    assert_eq!((repeated, stubs.len()), (0, 1));
    let letters = dead_letters(&site);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let (letter, stub) = (&letters[0], stubs[0].json());
    assert_eq!(letter["event"]["sub1"], "10");
    assert_eq!((&letter["topic"], &letter["reason"]), (&"narrow".into(), &"too_large".into()));
    for key in ["click_id", "clicked_at_ms", "edge", "lane", "epoch", "seq"] {
        assert_eq!(stub[key], letter["event"][key], "{key}");
    }
    assert_eq!(stub["reason"], "too_large");
    assert_eq!(stubs[0].key.as_deref(), letter["event"]["visitor_id"].as_str());
    let places = clicks.iter().map(crate::kafka::reader::Record::json).chain([stub]);
    let mut places: Vec<(u64, u64)> =
        places.map(|event| (event["lane"].as_u64().unwrap(), event["seq"].as_u64().unwrap())).collect();
    places.sort_unstable();
    let gapless = places.iter().scan(None, |last: &mut Option<(u64, u64)>, place| {
        let expected = last.filter(|last| last.0 == place.0).map_or(0, |last| last.1 + 1);
        *last = Some(*place);
        Some(place.1 == expected)
    });
    assert!(gapless.into_iter().all(|follows| follows), "{places:?}");

    let stats = site.command(&["clicks", "--kafka", &broker.address(), "stats", "--json", "--by", "creator"]);
    let output = { stats }.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"clicks\":29"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_click_too_large_is_kept_in_the_reserve_while_no_dead_letter_file_can_be_written() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("held", 1, &[("max.message.bytes", "1800")]);
    broker.create_topic("held.orphan", 1, &[]);
    let site = site_with_kafka(&broker.address(), "held");
    std::fs::create_dir_all(site.data()).unwrap();
    let in_the_way = site.data().join("dead-letters");
    std::fs::write(&in_the_way, "").unwrap();
    let mut site = site.start();
    send_clicks(&site, 0..5);
    send_large_click(&site, 5);
    send_clicks(&site, 6..10);
    until("it is dead-lettered", || (site.metric("waypost_clicks_dead_lettered_total", "") == 1.0).then_some(()));
    site.wait_for_fault("dead_letter_file_failed", "bounded", "clicks-dead-lettered");
    assert!(site.metric("waypost_dead_letter_files_errors_total", "operation=\"open\"") >= 1.0);
    wait_until_delivered(&site, "clicks", 9);
    wait_for_backlog(&site, 0.0);
    wait_until_counts_add_up(&site);
    let reserve = site.data().join("dead-letters.clicks.reserve");
    let lines = || std::fs::read_to_string(&reserve).unwrap().matches("\"sub1\":\"5\"").count();
    assert_eq!(lines(), 1);

    // A start moves the line to a file, once one can be written.
    site.kill();
    std::fs::remove_file(&in_the_way).unwrap();
    site.restart();
    until("the reserve is empty", || (lines() == 0).then_some(()));
    let [letter] = &dead_letters(&site)[..] else { panic!("{:?}", dead_letters(&site)) };
    assert_eq!((&letter["event"]["sub1"], &letter["reason"]), (&"5".into(), &"too_large".into()));
}

#[test]
fn errors_that_pass_are_waited_for_and_every_click_is_delivered() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_INVALID_RECORD as INVALID_RECORD, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as MOVED,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as FORBIDDEN,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN,
    };
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = site_with_kafka(&mock.address(), "clicks").start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    let mut sent = 10;
    for (error, times) in
        [(TOO_FEW, 5), (MOVED, 3), (TIMED_OUT, 3), (TOO_LARGE, 2), (INVALID_RECORD, 1), (FORBIDDEN, 1), (UNKNOWN, 2)]
    {
        mock.refuse_requests(error, times);
        send_clicks(&site, sent..sent + 20);
        sent += 20;
        wait_until_delivered(&site, "clicks", sent);
        mock.stop_refusing();
    }
    wait_until_counts_add_up(&site);
    assert_eq!(site.metric("waypost_clicks_blocked", ""), 0.0, "nothing is held against a click");
}

#[test]
fn who_may_not_write_keeps_the_clicks_and_delivers_them_once_allowed() {
    let Some(broker) = Broker::start(Kind::Acls) else { return };
    broker.create_topic("clicks", 3, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    let site = site_with_sasl_ssl(&broker, "SCRAM-SHA-256");
    let file = password_file(&site);
    let site = site.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &file).start();
    send_clicks(&site, 0..40);
    wait_for_topic_alarm(&site, "clicks", "not_authorized", 1.0);
    site.wait_for_fault("topic_not_authorized", "bounded", "topic-unusable");
    let line = site.wait_for_log("does not let us write to `clicks`");
    assert!(line.contains("ERROR") && line.contains("WRITE"), "{line}");
    send_clicks(&site, 40..50);
    wait_for_backlog(&site, 50.0);
    broker.grant_write("clicks");
    wait_until_delivered(&site, "clicks", 50);
    // The other topic is still forbidden.
    assert_eq!(site.send(&numbered_tap("nobody", 0)).status, 404);
    send_clicks(&site, 50..60);
    wait_until_delivered(&site, "clicks", 60);
    wait_for_topic_alarm(&site, "clicks", "not_authorized", 0.0);
    wait_for_topic_alarm(&site, "clicks.orphan", "not_authorized", 1.0);
    wait_for_backlog(&site, 1.0);
    broker.grant_write("clicks.orphan");
    wait_until_delivered(&site, "clicks.orphan", 1);
    wait_until_counts_add_up(&site);
    let (found, _) = count_clicks(&broker.read(&["clicks"], 60, TIMEOUT));
    assert_each_once(&found, 0..60);
}

/// A site for a broker with SASL_SSL, by its configuration file, which holds no password.
pub(crate) fn site_with_sasl_ssl(broker: &Broker, mechanism: &str) -> Site {
    let site = Site::new(&[link("live")]).env("WAYPOST__KAFKA__PROPERTIES__RECONNECT_BACKOFF_MAX_MS", "500");
    site.write("password", &format!("{PASSWORD}\n"));
    let mut config = format!("[kafka]\nbrokers = \"{}\"\n[kafka.properties]\n", broker.address());
    for (key, value) in broker.properties(mechanism).iter().filter(|(key, _)| key != "sasl.password") {
        config += &format!("{key} = \"{value}\"\n");
    }
    site.config(&config)
}

/// Where [`site_with_sasl_ssl`] left the password.
pub(crate) fn password_file(site: &Site) -> String {
    site.path("password").display().to_string()
}

#[test]
fn clicks_go_through_sasl_ssl_with_the_password_from_a_file_named_in_the_configuration_or_the_environment() {
    let Some(broker) = Broker::start(Kind::SaslSsl) else { return };
    broker.create_topic("clicks", 3, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    let by_file = site_with_sasl_ssl(&broker, "SCRAM-SHA-512");
    let config = std::fs::read_to_string(by_file.path("waypost.toml")).unwrap();
    by_file.write("waypost.toml", &format!("{config}sasl.password_file = \"{}\"\n", password_file(&by_file)));
    let by_file = by_file.start();
    let by_variable = site_with_sasl_ssl(&broker, "SCRAM-SHA-256");
    let file = password_file(&by_variable);
    let by_variable = by_variable.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &file).start();
    send_clicks(&by_file, 0..50);
    send_clicks(&by_variable, 50..100);
    wait_until_delivered(&by_file, "clicks", 50);
    wait_until_delivered(&by_variable, "clicks", 50);
    let (found, _) = count_clicks(&broker.read(&["clicks"], 100, TIMEOUT));
    assert_each_once(&found, 0..100);

    for site in [&by_file, &by_variable] {
        assert!(!site.log().contains(PASSWORD), "a password in the log");
        let stats = site.command(&["clicks", "--config", "waypost.toml", "stats", "--json", "--by", "creator"]);
        let output = { stats }.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"clicks\":100"), "the tools come in the same way");
    }
}

#[test]
fn a_wrong_password_is_said_and_keeps_the_clicks() {
    let Some(broker) = Broker::start(Kind::SaslSsl) else { return };
    broker.create_topic("clicks", 1, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    let site = site_with_sasl_ssl(&broker, "SCRAM-SHA-512");
    let file = password_file(&site);
    site.write("password", "wrong");
    let mut site = site.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &file).start();
    send_clicks(&site, 0..10);
    let line = site.wait_for_fault("kafka_error", "bounded", "clicks-not-delivered").to_string();
    assert!(line.contains("not_authorized") && line.contains("SASL authentication error"), "{line}");
    until("it is counted", || {
        (site.metric("waypost_kafka_errors_total", "class=\"not_authorized\"") > 0.0).then_some(())
    });
    wait_for_backlog(&site, 10.0);
    site.write("password", PASSWORD);
    site.kill();
    site.restart();
    wait_until_delivered(&site, "clicks", 10);
}
