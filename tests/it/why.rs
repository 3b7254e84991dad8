//! `waypost clicks why`: one click's story, from the files, from Kafka, from the journal.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::{
    dsl::{Site, TIMEOUT, link, until},
    kafka::{
        broker::{Broker, Kind},
        site::{orphan_topic, site_with_kafka, wait_until_delivered},
    },
};

/// A phone's browser: a human to the labels.
const PHONE: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/126.0.0.0 Mobile Safari/537.36";
/// What a tap sends besides.
const TAP: [&str; 3] = [PHONE, "Sec-Fetch-Mode: navigate", "Referer: https://l.instagram.com/"];

/// A link that pays.
fn paid(code: &str) -> String {
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    link(code).replace(r#""test":true"#, &format!(r#""created_at":"{day}""#))
}

/// What `clicks why` says with these arguments, and its exit code.
fn why(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let data = site.data().display().to_string();
    let output = site.command(&[&["clicks", "why", "--data-dir", &data][..], args].concat()).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// The story of a click that is there, as an object.
fn story(site: &Site, args: &[&str]) -> Value {
    let (code, said) = why(site, &[args, &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn id(event: &Value) -> &str {
    event["click_id"].as_str().unwrap()
}

#[test]
fn the_story_of_a_click_in_the_files_names_file_line_labels_and_whether_it_counted() {
    let site = Site::new(&[paid("live"), link("trial")]).start();
    let first = site.get("/live", &TAP);
    let cookie = format!("Cookie: {}", first.cookie());
    site.get("/live", &[&TAP[..], &[&cookie]].concat());
    site.get("/trial", &TAP);
    site.get("/live", &["User-Agent: facebookexternalhit/1.1"]);
    site.get("/nobody", &TAP);
    let events = site.wait_for_events("clicks", 4);
    let orphans = site.wait_for_events("clicks.orphan", 1);

    let told = story(&site, &[id(&events[0])]);
    assert_eq!(told["verdict"], "counted");
    assert_eq!((&told["event"], &told["duplicate_decided"]), (&events[0], &true.into()));
    for (index, event) in events.iter().enumerate() {
        let place = &story(&site, &[id(event)])["place"];
        assert_eq!((&place["in"], &place["line"]), (&"file".into(), &(index as u64 + 1).into()), "{place}");
        let text = std::fs::read_to_string(place["path"].as_str().unwrap()).unwrap();
        assert!(text.lines().nth(index).unwrap().contains(id(event)));
    }

    let words = |event: &Value| {
        let (code, said) = why(&site, &[id(event)]);
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let said = words(&events[0]);
    for part in [
        "counted\n",
        "redirected (302) to https://shop.example.com/view/live?creator=c_1&wp={click_token}",
        "browser, cookie set, token placed in the destination",
        "live on any domain",
        "creator c_1",
        "human (by browser)",
        "instagram (by referer)",
        "lane 0, epoch ",
        "seq 0",
        "clicks-000001.jsonl, line 1",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let repeat = format!("not counted: double tap of {} ", id(&events[0]));
    assert!(words(&events[1]).contains(&repeat) && words(&events[1]).contains(" before\n"), "{}", words(&events[1]));
    assert!(words(&events[2]).contains("not counted: the link is a test link"));
    assert!(
        words(&events[3]).contains("not counted: a chat or feed fetched the link to draw a preview"),
        "{}",
        words(&events[3])
    );
    assert!(words(&orphans[0]).contains("not counted: no link has this code"), "{}", words(&orphans[0]));
}

#[test]
fn a_double_tap_without_a_cookie_names_the_tap_it_repeats() {
    let site = Site::new(&[paid("live"), paid("other")]).start();
    for (path, headers) in [("/live", &TAP[..]), ("/other", &TAP), ("/live", &TAP[1..]), ("/live", &TAP)] {
        site.get(path, headers);
    }
    let events = site.wait_for_events("clicks", 4);
    assert_eq!(events[3]["duplicate_basis"], "address_agent");
    let told = story(&site, &[id(&events[3])]);
    let verdict = format!("counted; perhaps a double tap of {} ", id(&events[0]));
    assert!(told["verdict"].as_str().unwrap().starts_with(&verdict), "{told}");
    assert_eq!(told["repeated_tap"]["click_id"], events[0]["click_id"]);
}

#[test]
fn a_click_that_was_delivered_twice_is_told_once_and_its_repeat_is_listed() {
    let site = Site::new(&[paid("live")]).start();
    site.get("/live", &TAP);
    let event = &site.wait_for_events("clicks", 1)[0];
    let dir = site.data().join("clicks");
    std::fs::copy(dir.join("clicks-000001.jsonl"), dir.join("clicks-000002.jsonl")).unwrap();
    let told = story(&site, &[id(event)]);
    assert!(told["place"]["path"].as_str().unwrap().ends_with("clicks-000001.jsonl"), "{told}");
    assert_eq!(told["repeats"].as_array().unwrap().len(), 1, "{told}");
    assert!(told["repeats"][0]["path"].as_str().unwrap().ends_with("clicks-000002.jsonl"), "{told}");
    let (_, said) = why(&site, &[id(event)]);
    assert!(said.contains("again") && said.contains("clicks-000002.jsonl, line 1"), "{said}");
}

#[test]
fn a_token_of_a_destination_or_a_cookie_leads_to_its_click_with_keys_or_without() {
    let site = Site::new(&[paid("live")]).start();
    let answer = site.get("/live", &TAP);
    let cookie = answer.cookie();
    let tokens = [("url", answer.token().unwrap()), ("cookie", cookie.split_once('=').unwrap().1.to_owned())];
    let event = &site.wait_for_events("clicks", 1)[0];
    for (kind, token) in &tokens {
        let told = story(&site, &[token]);
        assert_eq!((&told["click_id"], &told["verdict"]), (&event["click_id"], &"counted".into()));
        assert_eq!((&told["token"]["verdict"], &told["token"]["kind"]), (&"valid".into(), &(*kind).into()));
        let (_, said) = why(&site, &[token]);
        assert!(said.contains("genuine") && !said.contains("warning"), "{said}");
    }
    for (_, token) in &tokens {
        let data = site.data().display().to_string();
        let mut command = site.command(&["clicks", "why", "--data-dir", &data, token]);
        let output = command.env("WAYPOST__ATTRIBUTION__KEYS", site.path("nowhere.json")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("warning: the token was not checked") && said.contains(id(event)), "{said}");
    }
}

#[test]
fn a_forged_token_is_searched_for_all_the_same_with_a_warning() {
    let site = Site::new(&[paid("live")]).start();
    let token = site.get("/live", &TAP).token().unwrap();
    let event = &site.wait_for_events("clicks", 1)[0];
    let (head, mac) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}{}", if mac.starts_with('A') { 'B' } else { 'A' }, &mac[1..]);
    let told = story(&site, &[&forged]);
    assert_eq!((&told["click_id"], &told["token"]["verdict"]), (&event["click_id"], &"bad_mac".into()));
    let (_, said) = why(&site, &[&forged]);
    assert!(said.starts_with("warning: the token is NOT genuine"), "{said}");
}

#[test]
fn a_click_that_is_nowhere_exits_1_and_says_where_it_was_looked_for_and_up_to_when() {
    let site = Site::new(&[paid("live")]).start();
    site.get("/live", &TAP);
    let event = &site.wait_for_events("clicks", 1)[0];
    let last = if id(event).ends_with('0') { "1" } else { "0" };
    let other = format!("{}{last}", &id(event)[..35]);
    let (code, said) = why(&site, &[&other]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was not found"), "{said}");
    let data = site.data().display().to_string();
    for place in
        [format!("searched the journal in {data}, up to 20"), format!("searched the click files in {data}/clicks")]
    {
        assert!(said.contains(&place), "{place}: {said}");
    }
    assert!(said.contains("1 records, none is this click"), "{said}");
    let (code, said) = why(&site, &[&other, "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["found"]), (Some(1), &false.into()));
    assert_eq!(told["looked_in"].as_array().unwrap().len(), 2, "{told}");
}

#[test]
fn what_is_no_click_id_and_no_token_exits_64() {
    let site = Site::new(&[]);
    for wrong in ["nonsense", "v1.nonsense", "0190c000-0000-4000-8000-000000000000", ""] {
        let (code, said) = why(&site, &[wrong]);
        assert_eq!(code, Some(64), "{wrong}: {said}");
    }
    assert_eq!(why(&site, &[]).0, Some(64));
    let data = site.data().display().to_string();
    let mut both = site.command(&["clicks", "stats", "--data-dir", &data, "--kafka", "127.0.0.1:1"]);
    assert_eq!(both.output().unwrap().status.code(), Some(64), "only `why` reads both");
}

#[test]
fn a_click_in_kafka_is_told_with_the_partition_and_offset_that_a_consumer_sees() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("told", 5, &[]);
    broker.create_topic(&orphan_topic("told"), 2, &[]);
    let site = site_with_kafka(&broker.address(), "told");
    site.write("links.jsonl", &paid("live"));
    let site = site.start();
    for _ in 0..20 {
        site.get("/live", &TAP);
    }
    site.get("/nobody", &TAP);
    wait_until_delivered(&site, "clicks", 20);
    wait_until_delivered(&site, "clicks.orphan", 1);

    let records = broker.read(&["told", &orphan_topic("told")], 21, TIMEOUT);
    let ends = [&records[0], &records[10], &records[20]];
    let orphaned = records.iter().find(|record| record.topic == orphan_topic("told")).unwrap();
    for record in ends.into_iter().chain([orphaned]) {
        let event = record.json();
        let told = story(&site, &["--kafka", &broker.address(), id(&event)]);
        let place = &told["place"];
        assert_eq!(place["in"], "kafka", "{told}");
        assert_eq!(place["topic"], *record.topic);
        assert_eq!(
            (place["partition"].as_i64(), place["offset"].as_i64()),
            (Some(record.partition.into()), Some(record.offset))
        );
        assert_eq!((&told["event"], &told["repeats"]), (&event, &Value::Array(Vec::new())));
    }
    let record = &records[0];
    let (code, said) = why(&site, &["--kafka", &broker.address(), id(&record.json())]);
    assert_eq!(code, Some(0), "{said}");
    let place = format!("in Kafka: topic {}, partition {}, offset {}", record.topic, record.partition, record.offset);
    assert!(said.contains(&place), "{said}");

    // Two hours on, nothing of the topic is read: the search begins an hour before the click.
    let at_ms = jiff::Timestamp::now().as_millisecond() as u64 + 2 * 3_600_000;
    let later = uuid::Builder::from_unix_timestamp_millis(at_ms, &[7; 10]).into_uuid();
    let (code, said) = why(&site, &["--kafka", &broker.address(), "--json", &later.to_string()]);
    let told: Value = serde_json::from_str(&said).unwrap();
    let topics = told["looked_in"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((code, &topics["records"]), (Some(1), &0.into()), "{told}");
    assert!(topics["place"].as_str().unwrap().contains("told.orphan"), "{told}");
}

#[test]
fn a_click_waits_in_the_journal_while_the_broker_is_away_and_is_in_kafka_once_it_is_back() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    broker.create_topic("clicks", 1, &[]);
    broker.create_topic("clicks.orphan", 1, &[]);
    broker.stop();
    let site = site_with_kafka(&broker.address(), "clicks");
    site.write("links.jsonl", &paid("live"));
    let site = site.start();
    let first = site.get("/live", &TAP);
    let cookie = format!("Cookie: {}", first.cookie());
    let tokens = [first.token().unwrap(), site.get("/live", &[&TAP[..], &[&cookie]].concat()).token().unwrap()];

    let address = broker.address();
    let waiting = story(&site, &["--kafka", &address, &tokens[0]]);
    let place = &waiting["place"];
    assert_eq!((&place["in"], &place["lane"], &place["delivered"]), (&"journal".into(), &0.into(), &false.into()));
    assert_eq!((&place["position"], &waiting["event"]["seq"]), (&0.into(), &0.into()));
    assert_eq!((&waiting["duplicate_decided"], &waiting["event"]["source"]), (&false.into(), &"instagram".into()));
    assert!(waiting["verdict"].as_str().unwrap().contains("decided when it is delivered"), "{waiting}");
    let (code, said) = why(&site, &["--kafka", &address, &tokens[1]]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not counted: double tap of "), "the cookie decides it at once: {said}");
    assert!(said.contains("waits for delivery") && said.contains("lane 0, position "), "{said}");
    assert!(said.contains("not searched to the end: the topics clicks and clicks.orphan"), "{said}");

    let mut asking = site.command(&["clicks", "why", "--data-dir", &site.data().display().to_string()]);
    let mut asking = asking.args(["--kafka", &address, &tokens[0]]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(asking.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("waits for delivery")));
    let asks_kafka_still = asking.try_wait().unwrap().is_none();
    let rest: Vec<String> = lines.collect();
    assert!(asking.wait().unwrap().success());
    assert!(asks_kafka_still, "what the journal holds is told before Kafka was given up");
    assert_eq!(rest.len(), 1, "and then only that Kafka is away: {rest:?}");
    assert!(rest[0].starts_with("not searched to the end: the topics clicks and clicks.orphan"), "{rest:?}");

    broker.restart();
    wait_until_delivered(&site, "clicks", 2);
    let told = until("the story as it is in Kafka", || {
        Some(story(&site, &["--kafka", &address, &tokens[0]])).filter(|told| told["place"]["in"] == "kafka")
    });
    assert_eq!((&told["verdict"], &told["duplicate_decided"]), (&"counted".into(), &true.into()));
    for key in ["click_id", "seq", "epoch", "lane", "edge", "class", "source", "destination", "outcome"] {
        assert_eq!(told["event"][key], waiting["event"][key], "{key}: as it was foreseen");
    }
}

#[test]
fn a_click_that_was_sent_again_in_a_transaction_is_told_once_and_the_markers_behind_it_are_no_hindrance() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("again", 1, &[]);
    broker.create_topic(&orphan_topic("again"), 1, &[]);
    let site = site_with_kafka(&broker.address(), "again");
    site.write("links.jsonl", &paid("live"));
    let site = site.start();
    for _ in 0..3 {
        site.get("/live", &TAP);
    }
    wait_until_delivered(&site, "clicks", 3);
    let records = broker.read(&["again"], 3, TIMEOUT);
    let value = records[1].value.as_ref().unwrap();
    let mut settings = rdkafka::ClientConfig::new();
    settings.set("bootstrap.servers", broker.address()).set("transactional.id", "again");
    let producer: BaseProducer = settings.create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    for commit in [true, false] {
        producer.begin_transaction().unwrap();
        let record: BaseRecord<'_, (), String> = BaseRecord::to("again").payload(value).partition(0);
        producer.send(record).map_err(|(why, _)| why).unwrap();
        producer.flush(TIMEOUT).unwrap();
        let ended = if commit { producer.commit_transaction(TIMEOUT) } else { producer.abort_transaction(TIMEOUT) };
        ended.unwrap();
    }
    let told = story(&site, &["--kafka", &broker.address(), id(&records[1].json())]);
    assert_eq!(told["place"]["offset"], records[1].offset);
    let repeats = told["repeats"].as_array().unwrap();
    assert_eq!((repeats.len(), &repeats[0]["offset"]), (1, &3.into()), "what was aborted never was: {told}");
    let topics = told["looked_in"].as_array().unwrap().last().unwrap();
    assert!(topics.get("failed").is_none(), "{topics}");
}
