//! Several edges write to the topic.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, producer::BaseProducer};
use serde_json::{Value, json};

use super::site::{api_edge, edge, plain, set_up, wait_until_fingerprints_agree, wait_until_leads_to};
use crate::{
    api::client::{ApiSite, body},
    dsl::{StopOnDrop, until},
    kafka::broker::Broker,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// Takes the place of the writer, as an edge does that writes.
fn take_place_of_writer(broker: &Broker, topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", format!("{topic}-writer"))
        .create()
        .unwrap();
    // An error: another one has taken it meanwhile.
    let _ = producer.init_transactions(PATIENCE);
}

#[test]
fn of_two_edges_that_write_one_code_at_once_one_wins_and_the_other_is_told() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.concurrent";
    set_up(&broker, topic);
    let (one, other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    for round in 0..3 {
        let code = format!("c{round}");
        let create = |site: &ApiSite, url: &str| {
            let mut record = plain(&code, url);
            record["code"] = code.as_str().into();
            site.post_link(record).status
        };
        let statuses = std::thread::scope(|scope| {
            let first = scope.spawn(|| create(&one, "https://shop.example.com/one"));
            let second = scope.spawn(|| create(&other, "https://shop.example.com/other"));
            let mut statuses = [first.join().unwrap(), second.join().unwrap()];
            statuses.sort_unstable();
            statuses
        });
        assert_eq!(statuses, [201, 409], "round {round}");
        // Both change the version that they know.
        let etag = one.get(&format!("/v1/links/*/{code}")).header("etag").unwrap().to_owned();
        wait_until_fingerprints_agree(&one.site, &other.site);
        let change = |site: &ApiSite, url: &str| {
            let request = site.request("PUT", &format!("/v1/links/*/{code}")).header(&format!("If-Match: {etag}"));
            request.json(&plain(&code, url)).send().status
        };
        let statuses = std::thread::scope(|scope| {
            let first = scope.spawn(|| change(&one, "https://shop.example.com/three"));
            let second = scope.spawn(|| change(&other, "https://shop.example.com/four"));
            let mut statuses = [first.join().unwrap(), second.join().unwrap()];
            statuses.sort_unstable();
            statuses
        });
        assert_eq!(statuses, [200, 412], "round {round}");
    }
    wait_until_fingerprints_agree(&one.site, &other.site);
}

#[test]
fn a_writer_that_is_fenced_takes_its_place_again() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.fenced";
    set_up(&broker, topic);
    let one = api_edge(&broker, topic);
    assert_eq!(one.put_link("tea", plain("tea", "https://shop.example.com/tea")).status, 201);
    take_place_of_writer(&broker, topic);
    assert_eq!(one.put_link("cup", plain("cup", "https://shop.example.com/cup")).status, 201);
    assert_eq!(one.site.metric("waypost_links_topic_writes_total", "result=\"fenced\""), 1.0);
    assert_eq!(one.site.metric("waypost_links_topic_writes_total", "result=\"committed\""), 2.0);
}

/// The edge of the bulk gives way at its next transaction. What that takes is measured by `loadtest/links.sh fleet`;
/// here the deadline is the five seconds for which a single change is tried.
#[test]
fn a_suspension_by_one_edge_does_not_wait_for_the_bulk_of_another() {
    const ROWS: u32 = 5_000;
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.suspended.beside.bulk";
    set_up(&broker, topic);
    let (one, other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    assert_eq!(one.put_link("tea", plain("tea", "https://shop.example.com/tea")).status, 201);
    let rows: Vec<String> =
        (0..ROWS).map(|at| plain(&format!("c{at}"), "https://shop.example.com/").to_string()).collect();
    std::thread::scope(|scope| {
        let bulk = scope.spawn(|| one.bulk("mode=each", &rows));
        until("the first rows to be written", || (one.site.metric("waypost_links", "") > 1_000.0).then_some(()));
        let mut took = Vec::new();
        while !bulk.is_finished() && took.len() < 4 {
            let began = Instant::now();
            let suspension = json!({"reason": "case 12"});
            let answer = other.request("PUT", &format!("/v1/suspensions/creator/c_{}", took.len() + 7));
            assert!(answer.json(&suspension).send().status < 300);
            took.push(began.elapsed());
        }
        println!("suspensions beside a bulk took {took:?}");
        assert!(!took.is_empty() && took.iter().all(|took| *took < Duration::from_secs(5)), "{took:?}");
        let (status, lines) = bulk.join().unwrap();
        let summary = &lines.last().unwrap()["summary"];
        assert_eq!((status, &summary["created"]), (200, &json!(ROWS)), "{summary}");
    });
    wait_until_fingerprints_agree(&one.site, &other.site);
}

#[test]
fn a_writer_that_is_fenced_all_the_time_says_so_and_writes_nothing() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.fenced.often";
    set_up(&broker, topic);
    let one = api_edge(&broker, topic);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    take_place_of_writer(&broker, topic);
                }
            });
        }
        let mut number = 0;
        until("a write that is fenced all the time", || {
            number += 1;
            let answer = one.put_link(&format!("c{number}"), plain(&format!("c{number}"), "https://shop.example.com/"));
            let is_fenced = answer.status == 503 && body(&answer)["type"] == "urn:waypost:problem:writer-fenced";
            is_fenced.then_some(())
        });
        assert_eq!(one.get(&format!("/v1/links/*/c{number}")).status, 404);
    });
    one.site.wait_for_fault("links_topic_fenced", "none", "links-topic-writer-fenced");
}

#[test]
fn an_atomic_request_of_many_rows_is_written_whole_or_not_at_all() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.bulk";
    set_up(&broker, topic);
    let one = api_edge(&broker, topic);
    let rows = |count: u32| -> Vec<String> {
        (0..count).map(|at| plain(&format!("c{at}"), "https://shop.example.com/").to_string()).collect()
    };
    let (status, lines) = one.bulk("mode=atomic", &rows(2_500));
    assert_eq!((status, &lines.last().unwrap()["summary"]["created"]), (200, &json!(2_500)), "{lines:?}");
    let mut bad = rows(3);
    bad[2] = bad[2].replace("c_1", "c_2");
    bad[1] = bad[1].replace("shop", "other");
    let (status, _) = one.bulk("mode=atomic", &bad);
    assert_eq!(status, 422);
    let fresh = edge(&broker, topic).start();
    assert_eq!(fresh.metric("waypost_links", ""), 2_500.0);
    wait_until_leads_to(&fresh, "c1", "https://shop.example.com/");
    let (status, lines) = one.bulk("mode=each", &bad);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!((status, &summary["updated"], &summary["refused"]), (200, &json!(1), &json!(1)), "{lines:?}");
    wait_until_fingerprints_agree(&one.site, &fresh);
}

#[test]
fn many_links_are_patched_and_undone_and_a_request_is_carried_out_once_on_every_edge() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.many";
    set_up(&broker, topic);
    let (one, other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    let create = |site: &ApiSite| {
        let request = site.request("POST", "/v1/links").header("Idempotency-Key: \"k1\"");
        request.json(&json!({"url": "https://shop.example.com/a", "kind": "plain", "creator": "c_1"})).send()
    };
    let (first, again) = (create(&one), create(&one));
    assert_eq!((first.status, again.status, first.text()), (201, 201, again.text()));
    let code = body(&first)["code"].as_str().unwrap().to_owned();
    let patch = json!({"filter": {"creator": "c_1"}, "patch": {"host": "new.example.com"}, "reason": "moved"});
    let started = one.request("POST", "/v1/patches").json(&patch).send();
    assert_eq!(started.status, 202, "{}", started.text());
    wait_until_leads_to(&other.site, &code, "https://new.example.com/a");
    let act = body(&started)["act"].as_str().unwrap().to_owned();
    // The act is known on the other edge, which undoes it.
    let undone = other.request("POST", &format!("/v1/acts/{act}/undo")).send();
    assert_eq!(undone.status, 202, "{}", undone.text());
    wait_until_leads_to(&one.site, &code, "https://shop.example.com/a");
    wait_until_fingerprints_agree(&one.site, &other.site);
    assert_eq!(one.get_json("/v1/rejected")["items"], Value::Array(Vec::new()));
}

#[test]
fn an_atomic_request_of_more_rows_than_a_transaction_has_is_checked_whole_and_goes_on_where_a_kill_stopped_it() {
    const ROWS: u64 = 11_000;
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.large";
    set_up(&broker, topic);
    let mut one = api_edge(&broker, topic);
    let rows: Vec<String> =
        (0..ROWS).map(|at| plain(&format!("c{at}"), "https://shop.example.com/").to_string()).collect();
    let mut bad = rows.clone();
    bad[10_500] = bad[10_500].replace("https", "javascript");
    let (status, lines) = one.bulk("mode=atomic", &bad);
    assert_eq!((status, &lines[0]["line"], lines.len()), (422, &json!(10_501), 2), "{:?}", lines.first());
    assert_eq!(one.get_json("/v1/status")["links"], 0);
    let act = "01a22d5b-e0e6-720c-911a-685ab55cddcb";
    let target = format!("/v1/bulk?mode=atomic&existing=refuse&act={act}");
    let request = one.request("POST", &target).typed("application/x-ndjson", rows.join("\n").into_bytes());
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| request.try_send());
        until("the first chunks to be written", || (one.site.metric("waypost_links", "") >= 1_000.0).then_some(()));
        one.site.signal("-KILL");
        let _ = sent.join();
    });
    one.site.kill();
    one.site.restart();
    let by_the_kill = one.get_json("/v1/status")["links"].as_u64().unwrap();
    println!("killed behind {by_the_kill} of {ROWS} rows");
    assert!(by_the_kill >= 1_000);
    let (status, lines) = one.bulk(target.split_once('?').unwrap().1, &rows);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!((status, &summary["refused"], &summary["applied"]), (200, &json!(0), &json!(true)), "{summary}");
    assert_eq!(summary["created"].as_u64().unwrap() + summary["unchanged"].as_u64().unwrap(), ROWS, "{summary}");
    let connection = rusqlite::Connection::open(one.site.data().join("catalog.db")).unwrap();
    let sql = "SELECT count(*), count(DISTINCT code) FROM audit WHERE act = ?1";
    let audited = connection.query_row(sql, [act], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))).unwrap();
    assert_eq!(audited, (ROWS, ROWS), "each link once, under one act");
    let in_topic = broker.read(&[&format!("{topic}.audit")], ROWS as usize, Duration::from_secs(30));
    assert_eq!(in_topic.len() as u64, ROWS, "and so in the topic of the audit");
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&one.site, &fresh);
}
