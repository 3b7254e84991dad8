//! An edge reads the topic once more, and finds what a bad newest record hides from an edge that starts anew.

use std::time::{Duration, Instant};

use serde_json::json;

use super::site::{OtherProgram, api_edge, edge, plain, set_up, wait_until_fingerprints_agree, wait_until_leads_to};
use crate::{api::client::ApiSite, dsl::Site, kafka::broker::Broker};

/// How long compaction may take: the segment has to be closed, and the cleaner to come by.
const COMPACTION: Duration = Duration::from_secs(90);

fn diverged(site: &Site, kind: &str) -> f64 {
    site.metric("waypost_links_topic_diverged_links", &format!("kind=\"{kind}\""))
}

/// Writes to the topic, so that segments are closed, until a condition holds.
fn write_until(program: &OtherProgram, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + COMPACTION;
    let mut number = 0;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {COMPACTION:?} for: {what}");
        number += 1;
        program.write_links(&[plain("cup", &format!("https://shop.example.com/{number}"))]);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_link_that_compaction_leaves_no_good_record_of_is_told_by_the_edge_that_still_serves_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.reread";
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "1000"),
    ];
    broker.create_topic(topic, 1, &settings);
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[plain("tea", "https://shop.example.com/tea"), plain("cup", "https://shop.example.com/0")]);
    let site = api_edge(&broker, topic);
    // A comparison each second.
    let ApiSite { mut site, key } = site;
    site.stop();
    let mut site = site.env("WAYPOST__LINKS__COMPARE_INTERVAL", "1s");
    site.restart();
    let api = ApiSite { site, key };
    wait_until_leads_to(&api.site, "tea", "https://shop.example.com/tea");
    crate::dsl::until("a comparison that finds nothing", || {
        (api.site.metric("waypost_links_topic_compared_timestamp_seconds", "") > 0.0).then_some(())
    });
    assert_eq!((diverged(&api.site, "only_here"), diverged(&api.site, "not_here")), (0.0, 0.0));
    program.write(&[(Some("l/*/tea"), Some("{"))]);
    write_until(&program, "compaction to hide the good record", || diverged(&api.site, "only_here") == 1.0);
    let line = api.site.wait_for_fault("links_topic_diverged", "bounded", "links-topic-differs");
    assert_eq!((&line["links"], &line["only_here"]), (&json!("*/tea"), &json!(1)), "{line}");
    assert_eq!((api.site.get("/tea", &[]).status, diverged(&api.site, "not_here")), (302, 0.0));
    // It is so: an edge that starts anew lacks the link.
    let fresh = edge(&broker, topic).start();
    assert_eq!(fresh.get("/tea", &[]).status, 404);
    // The link is written again, as the runbook says.
    let record = api.get_json("/v1/links/*/tea");
    program.write_links(&[record]);
    wait_until_leads_to(&fresh, "tea", "https://shop.example.com/tea");
    wait_until_fingerprints_agree(&api.site, &fresh);
    crate::dsl::until("a comparison that finds nothing again", || {
        (diverged(&api.site, "only_here") == 0.0).then_some(())
    });
}
