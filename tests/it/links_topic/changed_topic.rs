//! The topic is made again, is cut, or has settings that lose links.

use super::site::{
    OtherProgram, api_edge, delete_topic, edge, plain, set_up, wait_for_status, wait_until_fingerprints_agree,
    wait_until_leads_to,
};
use crate::{
    dsl::until,
    kafka::broker::{Broker, Kind},
};

fn links(codes: std::ops::Range<u32>, page: &str) -> Vec<serde_json::Value> {
    codes.map(|at| plain(&format!("c{at}"), &format!("https://shop.example.com/{page}"))).collect()
}

#[test]
fn a_topic_that_is_made_again_never_empties_an_edge() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.again";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&links(0..30, "old"));
    let mut site = edge(&broker, topic).start();
    let running = edge(&broker, topic).start();
    site.stop();
    delete_topic(&broker, topic);
    set_up(&broker, topic);
    // One edge starts and one runs: both serve the links of before.
    site.restart();
    for site in [&site, &running] {
        site.wait_for_fault("links_topic_changed", "bounded", "links-topic-changed");
        site.wait_for_fault("links_topic_shrunk", "bounded", "links-topic-changed");
        assert_eq!((site.get("/c3", &[]).status, site.metric("waypost_links", "")), (302, 30.0));
        assert_eq!(site.metric("waypost_links_topic_shrunk", ""), 1.0);
    }
    // As soon as the topic has most links again, it is served: with the link that is new, without the one that is gone.
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&links(0..29, "new"));
    program.write_links(&[plain("other", "https://shop.example.com/other")]);
    for site in [&site, &running] {
        wait_until_leads_to(site, "other", "https://shop.example.com/other");
        wait_until_leads_to(site, "c3", "https://shop.example.com/new");
        wait_for_status(site, "c29", 404);
        assert_eq!(site.metric("waypost_links_topic_shrunk", ""), 0.0);
    }
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&site, &fresh);
    wait_until_fingerprints_agree(&running, &fresh);
}

#[test]
fn a_restart_within_a_reading_from_the_beginning_and_a_cut_topic_keep_the_links() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.cut";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&links(0..30, "old"));
    // Each in a batch of its own, so that a cut takes whole batches.
    for at in 30..33 {
        program.write_links(&links(at..at + 1, "old"));
    }
    let mut site = edge(&broker, topic).start();
    site.stop();
    drop(program);
    broker.kill_and_truncate_log(topic, 0, 300);
    broker.restart();
    site.restart();
    site.wait_for_fault("links_topic_changed", "bounded", "links-topic-changed");
    until("the topic to be served", || {
        (site.metric("waypost_links_topic_rereads_total", "reason=\"truncated\"") == 1.0
            && site.metric("waypost_links", "") < 33.0)
            .then_some(())
    });
    assert_eq!(site.get("/c3", &[]).status, 302);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&links(40..41, "new"));
    wait_until_leads_to(&site, "c40", "https://shop.example.com/new");
    // A fresh edge and this one agree.
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&site, &fresh);
}

#[test]
fn settings_that_can_lose_links_are_told_by_a_running_edge_by_check_and_by_setup() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.settings";
    broker.create_topic(topic, 1, &[("cleanup.policy", "compact,delete"), ("retention.ms", "3600000")]);
    let site = api_edge(&broker, topic);
    site.site.wait_for_fault("topic_removes_links", "bounded", "topic-removes-links");
    let label = format!("topic=\"{topic}\",reason=\"links_unsafe\"");
    assert_eq!(site.site.metric("waypost_kafka_topic_alarm", &label), 1.0);
    let run = |args: &[&str]| {
        let output = site.site.command(&[args, &["--kafka", &broker.address()]].concat()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    };
    let dir = site.site.path("check").display().to_string();
    let check = ["check", "--data-dir", &dir];
    let (code, said) = run(&check);
    assert!(code == 64 && said.contains("a/generation") && said.contains("cleanup.policy"), "{code}: {said}");
    let setup = ["kafka", "setup", "--replication", "1", "--partitions", "1"];
    let (code, said) = run(&setup);
    assert!(code == 0 && said.contains("compact,delete -> compact") && said.contains("a/generation"), "{said}");
    let (code, said) = run(&[&setup[..], &["--apply"]].concat());
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&setup);
    assert!(code == 0 && said.contains("Nothing to do") && said.contains("generation "), "{said}");
    let (code, said) = run(&check);
    assert!(code == 0 && said.contains(&format!("links: topic {topic}")), "{code}: {said}");
    // A server writes nothing by itself: one record, that of setup.
    assert_eq!(broker.count_appended(topic), 1);
}
