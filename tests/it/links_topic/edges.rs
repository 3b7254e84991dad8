//! Edges read the topic, start without Kafka, and are ready in time.

use std::time::Duration;

use rdkafka::producer::Producer;

use super::site::{
    OtherProgram, api_edge, edge, edge_at, plain, set_up, wait_for_status, wait_until_fingerprints_agree,
    wait_until_leads_to,
};
use crate::{
    api::client::body,
    dsl::{Site, until},
    kafka::broker::{Broker, Kind},
};

#[test]
fn an_edge_serves_what_another_program_writes_to_the_topic() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.read";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[plain("tea", "https://shop.example.com/tea"), plain("cup", "https://shop.example.com/cup")]);
    let site = edge(&broker, topic).start();
    assert!(site.get("/tea", &[]).header("location").unwrap().starts_with("https://shop.example.com/tea"));
    program.write_links(&[plain("tea", "https://shop.example.com/pot")]);
    wait_until_leads_to(&site, "tea", "https://shop.example.com/pot");
    program.write_tombstone("cup");
    wait_for_status(&site, "cup", 404);
    assert_eq!(site.metric("waypost_links_topic_rejected_total", ""), 0.0);
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&site, &fresh);
    assert_eq!(fresh.metric("waypost_links", ""), 1.0);
}

#[test]
fn a_write_by_the_api_of_one_edge_is_served_by_another_and_by_itself_at_once() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.written";
    set_up(&broker, topic);
    let (one, other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    let created = one.put_link("tea", plain("tea", "https://shop.example.com/tea"));
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(one.site.get("/tea", &[]).status, 302, "the edge has read its own write");
    wait_until_leads_to(&other.site, "tea", "https://shop.example.com/tea");
    let etag = created.header("etag").unwrap().to_owned();
    assert_eq!(other.get("/v1/links/*/tea").header("etag").unwrap(), etag, "the version is the offset");
    let history = other.get_json("/v1/links/*/tea/history");
    assert!(history["items"][0]["actor"].as_str().unwrap().contains("test"), "{history}");
    let deleted = other.request("DELETE", "/v1/links/*/tea").header(&format!("If-Match: {etag}")).send();
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    wait_for_status(&one.site, "tea", 404);
    // The code is reserved on every edge, a fresh one too.
    let fresh = api_edge(&broker, topic);
    let mut stolen = plain("tea", "https://shop.example.com/other");
    stolen["creator"] = "c_2".into();
    for site in [&one, &other, &fresh] {
        let refused = site.put_link("tea", stolen.clone());
        assert_eq!((refused.status, &body(&refused)["type"]), (409, &"urn:waypost:problem:code-reserved".into()));
    }
    assert_eq!(one.get_json("/v1/status")["source"], "topic");
    let audit = broker.read(&[&format!("{topic}.audit")], 2, Duration::from_secs(15));
    let actions: Vec<_> = audit.iter().map(|record| record.json()["after"].is_null()).collect();
    assert_eq!(actions, [false, true]);
}

#[test]
fn an_edge_goes_on_from_its_catalog_while_kafka_is_away_and_reads_on_where_it_was() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.away";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[plain("tea", "https://shop.example.com/tea")]);
    let mut site = edge(&broker, topic).start();
    site.stop();
    program.write_links(&[plain("cup", "https://shop.example.com/cup")]);
    drop(program);
    broker.stop();
    site.restart();
    assert_eq!((site.get("/tea", &[]).status, site.get("/cup", &[]).status), (302, 404));
    site.wait_for_fault("links_topic_away", "bounded", "links-topic-stale");
    let at_end = site.metric("waypost_links_topic_at_end_timestamp_seconds", "");
    assert!(at_end > 1_700_000_000.0, "the links are as old as the last run: {at_end}");
    broker.restart();
    wait_until_leads_to(&site, "cup", "https://shop.example.com/cup");
    assert_eq!(site.metric("waypost_links_topic_rereads_total", ""), 0.0);
}

#[test]
fn an_edge_without_links_is_not_ready_while_kafka_is_away() {
    let mut site = edge_at("127.0.0.1:9", "links.none");
    site.start_listening();
    site.wait_for_fault("links_topic_away", "bounded", "links-topic-stale");
    let answer = site.admin("/readyz").unwrap();
    assert!(answer.status == 503 && answer.text().contains("links topic read"), "{}", answer.text());
}

#[test]
fn an_edge_whose_links_are_too_old_is_not_ready_if_it_is_told_so() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.stale";
    set_up(&broker, topic);
    let stale = |site: Site| site.env("WAYPOST__LINKS__MAX_AGE", "5s").env("WAYPOST__LINKS__WHEN_STALE", "unready");
    let site = stale(edge(&broker, topic)).start();
    broker.stop();
    until("the edge to be unready", || {
        let answer = site.admin("/readyz")?;
        (answer.status == 503 && answer.text().contains("links topic not stale")).then_some(())
    });
    broker.restart();
    until("the edge to be ready", || site.admin("/readyz").filter(|answer| answer.status == 200));
}

#[test]
fn an_aborted_and_a_hung_transaction_do_not_keep_an_edge_from_being_ready() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.hung";
    set_up(&broker, topic);
    let program = OtherProgram::transactional(&broker, topic);
    let in_transaction = |code: &str| {
        program.producer().begin_transaction().unwrap();
        program.write_links(&[plain(code, "https://shop.example.com/")]);
    };
    in_transaction("tea");
    program.producer().commit_transaction(Duration::from_secs(15)).unwrap();
    in_transaction("cup");
    program.producer().abort_transaction(Duration::from_secs(15)).unwrap();
    // Ready behind an aborted tail.
    let site = edge(&broker, topic).start();
    assert_eq!((site.get("/tea", &[]).status, site.get("/cup", &[]).status), (302, 404));
    in_transaction("pot");
    // Ready beside an open transaction.
    let fresh = edge(&broker, topic).start();
    assert_eq!((fresh.get("/tea", &[]).status, fresh.get("/pot", &[]).status), (302, 404));
    let age = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        now - fresh.metric("waypost_links_topic_at_end_timestamp_seconds", "")
    };
    until("the links to grow old while the transaction hangs", || (age() > 4.0).then_some(()));
    program.producer().commit_transaction(Duration::from_secs(15)).unwrap();
    until("the links to be new again", || (age() < 3.0).then_some(()));
    wait_until_leads_to(&fresh, "pot", "https://shop.example.com/");
    wait_until_fingerprints_agree(&site, &fresh);
}
