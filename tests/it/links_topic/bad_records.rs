//! Records that break a rule are skipped, counted and listed; the good link before them stays.

use std::collections::BTreeSet;

use serde_json::Value;

use super::site::{
    OtherProgram, api_edge, edge, next_offset, plain, set_up, wait_until_fingerprints_agree, wait_until_leads_to,
};
use crate::{dsl::until, kafka::broker::Broker};

#[test]
fn rubbish_is_skipped_with_its_reason_and_what_follows_is_served() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.rubbish";
    let program = OtherProgram::new(&broker, topic);
    // A broker takes a record without a key only before the topic is compacted.
    broker.create_topic(topic, 1, &[("cleanup.policy", "delete")]);
    program.write(&[(None, Some("{}"))]);
    set_up(&broker, topic);
    let site = api_edge(&broker, topic);
    program.write_links(&[plain("tea", "https://shop.example.com/tea")]);
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/tea");
    let tea = plain("tea", "https://shop.example.com/other").to_string();
    let mut thief = plain("tea", "https://shop.example.com/thief");
    thief["creator"] = "c_2".into();
    let long = format!("{}{}", " ".repeat(20_000), tea);
    program.write(&[
        (Some("tea"), Some(&tea)),
        (Some("l/*/tea"), Some("{\"code\":")),
        (Some("l/*/tea"), Some(&tea.replace("\"kind\"", "\"kin\""))),
        (Some("l/*/cup"), Some(&tea)),
        (Some("l/*/tea"), Some(&long)),
        (Some("l/*/tea"), Some(&thief.to_string())),
        (Some("l/*/tea"), Some(&tea.replace("https", "javascript"))),
        (Some("d/Go.example.com"), Some("{}")),
        (Some("a/generation"), None),
    ]);
    program.write_links(&[plain("last", "https://shop.example.com/last")]);
    wait_until_leads_to(&site.site, "last", "https://shop.example.com/last");
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/tea");
    let expected = [
        ("null_key", 1.0),
        ("bad_key", 2.0),
        ("not_json", 1.0),
        ("not_a_record", 1.0),
        ("key_differs", 1.0),
        ("too_large", 1.0),
        ("unchangeable", 1.0),
        ("invalid", 1.0),
    ];
    for (reason, count) in expected {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(site.site.metric("waypost_links_topic_rejected_total", &label), count, "{reason}");
    }
    assert_eq!(site.site.metric("waypost_links_topic_records_total", "kind=\"skipped\""), 1.0);
    site.site.wait_for_fault("links_topic_rejected", "bounded", "links-topic-rejected");
    let rejected = site.get_json("/v1/rejected");
    let reasons: BTreeSet<&str> =
        rejected["items"].as_array().unwrap().iter().map(|item| item["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, expected.iter().map(|(reason, _)| *reason).collect());
    // A good record of the key follows.
    program.write_links(&[plain("tea", "https://shop.example.com/pot")]);
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/pot");
    let rejected = site.get_json("/v1/rejected");
    let of_tea = |item: &&Value| item["key"] == "l/*/tea";
    assert_eq!(rejected["items"].as_array().unwrap().iter().filter(of_tea).count(), 0, "{rejected}");
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&site.site, &fresh);
}

#[test]
fn a_record_of_a_domain_that_is_configured_later_is_served_then() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.domain.later";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    let mut tea = plain("tea", "https://shop.example.com/tea");
    tea["domain"] = "go.example.com".into();
    program.write(&[(Some("l/go.example.com/tea"), Some(&tea.to_string()))]);
    program.write_links(&[plain("cup", "https://shop.example.com/cup")]);
    let mut site = edge(&broker, topic).config("").start();
    assert_eq!(site.metric("waypost_links_topic_rejected_records", ""), 1.0);
    assert_eq!(site.metric("waypost_links_topic_rejected_total", "reason=\"domain_unknown\""), 1.0);
    assert_eq!(site.metric("waypost_links", ""), 1.0);
    site.stop();
    site.write("waypost.toml", "[domains.\"go.example.com\"]\n");
    site.restart();
    until("both links", || (site.metric("waypost_links", "") == 2.0).then_some(()));
    assert_eq!(site.metric("waypost_links_topic_rereads_total", "reason=\"rules_changed\""), 1.0);
    until("no rejected record", || (site.metric("waypost_links_topic_rejected_records", "") == 0.0).then_some(()));
    site.stop();
    site.restart();
    assert_eq!(site.metric("waypost_links_topic_rereads_total", ""), 0.0, "once is enough");
}

#[test]
fn a_bad_newest_record_is_seen_by_the_fingerprints_of_an_old_and_a_fresh_edge() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.differs";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[plain("tea", "https://shop.example.com/tea"), plain("cup", "https://shop.example.com/cup")]);
    let old = edge(&broker, topic).start();
    // What compaction leaves for a fresh edge: the newest record of a key, which is bad.
    let compacted = "links.differs.compacted";
    set_up(&broker, compacted);
    program.write(&[(Some("l/*/tea"), Some("{"))]);
    let other = OtherProgram::new(&broker, compacted);
    // At the offsets of the first topic: 1 is the record that is gone.
    other.write(&[(Some("s/creator/nobody"), None)]);
    other.write_links(&[plain("cup", "https://shop.example.com/cup")]);
    other.write(&[(Some("l/*/tea"), Some("{"))]);
    let mut fresh = edge(&broker, compacted).start();
    until("both to have read it", || (next_offset(&old) == next_offset(&fresh)).then_some(()));
    assert_eq!((old.get("/tea", &[]).status, fresh.get("/tea", &[]).status), (302, 404));
    let fingerprint = |site| crate::dsl::Site::metric(site, "waypost_links_topic_fingerprint", "");
    assert_ne!(fingerprint(&old), fingerprint(&fresh));
    assert_eq!(fresh.metric("waypost_links_topic_rejected_records", ""), 1.0);
    fresh.stop();
    fresh.restart();
    assert_eq!(fresh.metric("waypost_links_topic_rejected_records", ""), 1.0, "a restart forgets none");
    program.write_links(&[plain("tea", "https://shop.example.com/tea")]);
    other.write_links(&[plain("tea", "https://shop.example.com/tea")]);
    wait_until_fingerprints_agree(&old, &fresh);
}
