//! Clicks of the real process on a real Apache Kafka: what its own consumer reads is what was answered.

use std::{
    collections::{HashMap, HashSet},
    process::Output,
};

use serde_json::Value;

use crate::{
    dsl::{Site, TIMEOUT, link, numbered_tap, request, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{
            backlog_clicks, orphan_topic, send_clicks, site_with_kafka, wait_until_counts_add_up, wait_until_delivered,
        },
    },
};

/// A phone's browser: a human to the labels.
const PHONE: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/126.0.0.0 Mobile Safari/537.36";

/// The click ids that the tokens of these answers name.
fn click_ids_of(site: &Site, tokens: &[String]) -> Vec<String> {
    let mut command = site.command(&["token", "verify", "--json", "--data-dir"]);
    let Output { status, stdout, stderr } = command.arg(site.data()).args(tokens).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    json_lines(&stdout).iter().map(|line| line["click_id"].as_str().unwrap().to_owned()).collect()
}

fn json_lines(text: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(text).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command that must succeed and gives its standard output.
fn run_and_get_stdout(site: &Site, args: &[&str]) -> Vec<u8> {
    let Output { status, stdout, stderr } = site.command(args).output().unwrap();
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Asserts that key, timestamp, partition and headers agree with the value.
fn assert_headers_match_value(record: &Record) {
    let event = record.json();
    let key = event.get("visitor_id").unwrap_or(&event["click_id"]);
    assert_eq!(record.key.as_deref(), key.as_str(), "the key is the visitor, else the click");
    assert_eq!(Some(record.partition), record.java_partition, "{:?}", record.key);
    assert_eq!(record.timestamp, event["clicked_at_ms"].as_i64().unwrap());
    assert_eq!(record.timestamp_type, "CreateTime");
    assert_eq!(record.headers.len(), 1, "{:?}", record.headers);
    let shipped: i64 = record.header("wp_shipped_at_ms").unwrap().parse().unwrap();
    assert!(shipped >= record.timestamp - 1000, "shipped after the click: {shipped}");
}

/// Asserts that the seqs of each lane, epoch and topic have no gap, over all partitions.
fn assert_gapless(records: &[Record]) {
    let mut lanes: HashMap<(String, u64, u64), Vec<u64>> = HashMap::new();
    for record in records {
        let event = record.json();
        let number = |key: &str| event[key].as_u64().unwrap();
        lanes.entry((record.topic.clone(), number("lane"), number("epoch"))).or_default().push(number("seq"));
    }
    for (lane, mut seqs) in lanes {
        seqs.sort_unstable();
        let first = seqs[0];
        assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>(), "{lane:?}");
    }
}

#[test]
fn the_java_consumer_reads_the_clicks_that_were_answered() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("answered", 7, &[]);
    broker.create_topic("answered.orphan", 2, &[]);
    let site = site_with_kafka(&broker.address(), "answered").env("WAYPOST__EDGE__WORKERS", "2").start();

    let (mut tokens, mut asked) = (Vec::new(), Vec::new());
    for number in 0..150 {
        let code = if number % 3 == 0 { "other" } else { "live" };
        let gpc = number % 5 == 0;
        let headers: &[&str] = if gpc { &["Sec-GPC: 1", PHONE] } else { &[PHONE] };
        let answer = site.send(&request("GET", &format!("/{code}?sub1={number}"), headers));
        assert_eq!(answer.status, 302);
        tokens.push(answer.token().unwrap());
        asked.push((code, gpc, answer.header("location").unwrap().to_owned()));
    }
    for number in 0..20 {
        assert_eq!(site.send(&numbered_tap("nobody", number)).status, 404);
    }
    wait_until_delivered(&site, "clicks", 150);
    wait_until_delivered(&site, "clicks.orphan", 20);

    let (live, orphans): (Vec<Record>, Vec<Record>) = broker
        .read(&["answered", "answered.orphan"], 170, TIMEOUT)
        .into_iter()
        .partition(|record| record.topic == "answered");
    assert_eq!((live.len(), orphans.len()), (150, 20), "nothing twice without a reason");
    live.iter().chain(&orphans).for_each(assert_headers_match_value);
    assert_gapless(&live);
    assert_gapless(&orphans);

    let by_id: HashMap<String, &Record> =
        live.iter().map(|record| (record.json()["click_id"].as_str().unwrap().to_owned(), record)).collect();
    for (number, id) in click_ids_of(&site, &tokens).iter().enumerate() {
        let record = by_id.get(id).unwrap_or_else(|| panic!("click {number}, {id}, was answered and is not there"));
        let (event, (code, gpc, location)) = (record.json(), &asked[number]);
        assert_eq!(event["sub1"], number.to_string());
        assert_eq!(event["code"], *code);
        assert_eq!((event["outcome"].as_str(), event["status"].as_u64()), (Some("redirected"), Some(302)));
        assert_eq!((event["creator_id"].as_str(), event["rate_bp"].as_u64()), (Some("c_1"), Some(1200)));
        assert_eq!(event["user_agent"], PHONE.split_once(": ").unwrap().1);
        assert_eq!(event.get("visitor_id").is_none(), *gpc, "no visitor where the buyer asks for none");
        let sent = event["destination"].as_str().unwrap();
        assert_eq!(sent.replace("{click_token}", &tokens[number]), *location, "the destination holds no token");
    }
    assert!(live.iter().map(|record| record.partition).collect::<HashSet<_>>().len() > 3, "keys spread");
    for record in &orphans {
        let event = record.json();
        assert_eq!((event["code"].as_str(), event["status"].as_u64()), (Some("nobody"), Some(404)));
        assert!(event.get("visitor_id").is_none() && event.get("creator_id").is_none());
    }
}

/// The latest clicks are told apart by their time: two of one millisecond come in either order.
fn wait_for_next_millisecond() {
    let now = || jiff::Timestamp::now().as_millisecond();
    let before = now();
    until("the next millisecond", || (now() > before).then_some(()));
}

#[test]
fn stats_and_tail_read_the_topics_by_creator_source_and_day() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("counted", 3, &[]);
    broker.create_topic("counted.orphan", 1, &[]);
    let paid = |code: &str, creator: &str| {
        let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
        link(code)
            .replace(r#""test":true"#, &format!(r#""created_at":"{day}""#))
            .replace(r#""creator":"c_1""#, &format!(r#""creator":"{creator}""#))
    };
    let address = broker.address();
    let site = site_with_kafka(&address, "counted");
    site.write("links.jsonl", &[paid("ann", "c_ann"), paid("bob", "c_bob"), link("trial")].join("\n"));
    let site = site.start();
    let tap = |code: &str, headers: &[&str]| {
        wait_for_next_millisecond();
        assert_eq!(site.send(&request("GET", &format!("/{code}"), &[&[PHONE], headers].concat())).status, 302);
    };
    let instagram = "Referer: https://l.instagram.com/";
    for _ in 0..4 {
        tap("ann", &[instagram]);
    }
    let returning = format!("Cookie: {}", site.get("/bob", &[PHONE, "Referer: https://m.youtube.com/"]).cookie());
    tap("bob", &["Referer: https://m.youtube.com/", &returning]);
    tap("trial", &[]);
    wait_for_next_millisecond();
    site.get("/ann", &["User-Agent: facebookexternalhit/1.1", instagram]);
    wait_for_next_millisecond();
    site.get("/nobody", &[PHONE]);
    wait_until_delivered(&site, "clicks", 8);
    wait_until_delivered(&site, "clicks.orphan", 1);

    let rows = json_lines(&run_and_get_stdout(
        &site,
        &["clicks", "--kafka", &address, "stats", "--json", "--by", "creator,source"],
    ));
    let find = |creator: &str, source: &str, what: &str| {
        let row = rows.iter().find(|row| row["creator"] == creator && row["source"] == source);
        row.unwrap_or_else(|| panic!("{creator} {source}: {rows:#?}"))[what].as_u64().unwrap()
    };
    // Without a cookie the second tap of the same address and agent is the same tap.
    assert_eq!(find("c_ann", "instagram", "clicks"), 5, "{rows:#?}");
    assert_eq!(find("c_ann", "instagram", "not_human"), 1);
    assert_eq!(find("c_ann", "instagram", "countable") + find("c_ann", "instagram", "duplicate"), 4);
    assert_eq!(find("c_bob", "youtube", "clicks"), 2);
    assert_eq!((find("c_bob", "youtube", "countable"), find("c_bob", "youtube", "duplicate")), (1, 1));
    let sum = |what: &str| rows.iter().map(|row| row[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("clicks"), sum("orphan")), (9, 1));
    assert_eq!(
        rows.iter().filter(|row| row["creator"] == "c_1").map(|row| row["countable"].as_u64().unwrap()).sum::<u64>(),
        0
    );

    let days =
        json_lines(&run_and_get_stdout(&site, &["clicks", "--kafka", &address, "stats", "--json", "--by", "day"]));
    assert_eq!(days.iter().map(|row| row["clicks"].as_u64().unwrap()).sum::<u64>(), 9, "{days:?}");
    assert!(days.iter().all(|row| row["day"].as_str().unwrap().len() == 10));
    let none = run_and_get_stdout(&site, &["clicks", "--kafka", &address, "stats", "--json", "--to", "2020-01-01"]);
    assert!(none.is_empty(), "no click is that old");
    let table = String::from_utf8(run_and_get_stdout(&site, &["clicks", "--kafka", &address, "stats"])).unwrap();
    assert!(table.contains("creator") && table.contains("c_ann") && table.contains("total"), "{table}");

    let tail = json_lines(&run_and_get_stdout(&site, &["clicks", "--kafka", &address, "tail", "-n", "3", "--json"]));
    assert_eq!(
        tail.iter().map(|event| event["code"].as_str().unwrap()).collect::<Vec<_>>(),
        ["trial", "ann", "nobody"]
    );
    let words =
        String::from_utf8(run_and_get_stdout(&site, &["clicks", "--kafka", &address, "tail", "--topic", "orphan"]))
            .unwrap();
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains("nobody"), "{words}");
}

#[test]
fn stats_of_a_missing_topic_name_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let site = site_with_kafka(&broker.address(), "never.made");
    let output = site.command(&["clicks", "--kafka", &broker.address(), "stats"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`never.made`") && said.contains("waypost kafka setup"), "{said}");
}

/// Clicks, kills, recovers; the numbers of each life add up.
fn assert_counts_add_up_over_kills(mut site: Site) {
    site.restart();
    send_clicks(&site, 0..120);
    for number in 0..30 {
        site.send(&numbered_tap("nobody", number));
    }
    until("everything delivered", || (backlog_clicks(&site) == 0.0).then_some(()));
    wait_until_delivered(&site, "clicks", 120);
    wait_until_delivered(&site, "clicks.orphan", 30);
    wait_until_counts_add_up(&site);
    for round in 0..3 {
        send_clicks(&site, 0..40 + round * 30);
        site.kill();
        site.restart();
        send_clicks(&site, 0..10);
        until("everything delivered", || (backlog_clicks(&site) == 0.0).then_some(()));
        wait_until_counts_add_up(&site);
    }
}

#[test]
fn recovered_and_journaled_are_delivered_or_wait_with_files() {
    assert_counts_add_up_over_kills(Site::new(&[link("live")]));
}

#[test]
fn recovered_and_journaled_are_delivered_or_wait_with_kafka() {
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("identity", 3, &[]);
    broker.create_topic(&orphan_topic("identity"), 1, &[]);
    assert_counts_add_up_over_kills(site_with_kafka(&broker.address(), "identity"));
}
