//! Apache's own console producer as the other program: links, tombstones and rubbish, as a shell script writes them.

use std::{io::Write, process::Stdio};

use super::site::{api_edge, edge, plain, set_up, wait_for_status, wait_until_fingerprints_agree, wait_until_leads_to};
use crate::{dsl::until, kafka::broker::Broker};

/// Writes lines by `kafka-console-producer`. With keys, a line is KEY, a tab, VALUE; `NULL` is no value.
fn produce(broker: &Broker, topic: &str, has_keys: bool, lines: &[String]) -> String {
    let mut java = broker.install().java();
    java.args(["org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", &broker.address(), "--topic", topic]);
    if has_keys {
        for property in ["parse.key=true", "key.separator=\t", "null.marker=NULL", "ignore.error=true"] {
            java.args(["--reader-property", property]);
        }
    }
    let mut child = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    lines.iter().for_each(|line| writeln!(stdin, "{line}").unwrap());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

fn link_line(code: &str, page: &str) -> String {
    format!("l/*/{code}\t{}", plain(code, &format!("https://shop.example.com/{page}")))
}

#[test]
fn what_the_console_producer_of_kafka_writes_is_served_removed_or_skipped_with_its_reason() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.java";
    set_up(&broker, topic);
    let site = api_edge(&broker, topic);
    produce(&broker, topic, true, &[link_line("tea", "tea"), link_line("cup", "cup"), link_line("pot", "pot")]);
    for code in ["tea", "cup", "pot"] {
        wait_until_leads_to(&site.site, code, &format!("https://shop.example.com/{code}"));
    }
    let thief = link_line("tea", "thief").replace("\"c_1\"", "\"c_2\"");
    let lines = [
        // A tombstone; rubbish for a served link; a key of nothing; a suspension; a record of another link's key.
        "l/*/cup\tNULL".to_owned(),
        "l/*/tea\t{\"code\":\"tea\"".to_owned(),
        "l/*/tea\tnot JSON at all \u{1f375}".to_owned(),
        thief,
        "rubbish\t{}".to_owned(),
        link_line("pot", "x").replace("l/*/pot", "l/*/pan"),
        "s/product/p_9\t{\"reason\":\"recalled\"}".to_owned(),
        link_line("last", "last"),
    ];
    produce(&broker, topic, true, &lines);
    wait_until_leads_to(&site.site, "last", "https://shop.example.com/last");
    wait_for_status(&site.site, "cup", 404);
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/tea");
    let rejected = site.get_json("/v1/rejected");
    let reasons: Vec<(&str, &str)> = rejected["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["key"].as_str().unwrap(), item["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        ("l/*/pan", "key_differs"),
        ("rubbish", "bad_key"),
        ("l/*/tea", "unchangeable"),
        ("l/*/tea", "not_json"),
        ("l/*/tea", "not_json"),
    ];
    assert!(expected.iter().all(|expected| reasons.contains(expected)), "{reasons:?}");
    assert_eq!(site.get_json("/v1/suspensions")["items"][0]["reason"], "recalled");
    // The tombstone of another program reserves the code all the same.
    let mut other = plain("cup", "https://shop.example.com/other");
    other["creator"] = "c_2".into();
    assert_eq!(site.post_link(other).status, 409);
    // The broker refuses records without a key, because the topic is compacted; nothing stops.
    let before = broker.count_appended(topic);
    produce(&broker, topic, false, &["{}".to_owned(), "rubbish".to_owned()]);
    assert_eq!(broker.count_appended(topic), before);
    produce(&broker, topic, true, &[link_line("tea", "again")]);
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/again");
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&site.site, &fresh);
    until("the rejected records of the good link are forgotten", || {
        let rejected = site.get_json("/v1/rejected");
        let is_of_tea = |item: &serde_json::Value| item["key"] == "l/*/tea";
        (!rejected["items"].as_array().unwrap().iter().any(is_of_tea)).then_some(())
    });
}
