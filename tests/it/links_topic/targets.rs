//! Targets of links that come from the topic, up to the events in Kafka and their replay.

use serde_json::{Value, json};

use super::site::{OtherProgram, api_edge, edge, plain, set_up, wait_until_fingerprints_agree, wait_until_leads_to};
use crate::{
    dsl::{Site, TIMEOUT},
    kafka::{broker::Broker, site::wait_until_delivered},
};

const ANDROID: &str = "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Mobile Safari/537.36";

fn link_with_targets(code: &str) -> Value {
    let mut link = plain(code, "https://shop.example.com/own");
    link["split"] = json!([{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]);
    link["targets"] = json!([
        {"when": {"os": "ios"}, "url": "https://shop.example.com/ios"},
        {"when": {"os": "android", "split": ["a", "b"]}, "url": "https://shop.example.com/android"},
    ]);
    link
}

/// What the events of a topic say of the choice, by click.
fn choices_in(broker: &Broker, topic: &str, count: usize) -> Vec<Value> {
    let mut choices: Vec<Value> = broker
        .read(&[topic], count, TIMEOUT)
        .iter()
        .map(|record| {
            let event = record.json();
            let names = ["click_id", "target_index", "target_facts", "split", "split_bucket", "split_basis"];
            names.iter().map(|name| event[name].clone()).collect()
        })
        .collect();
    choices.sort_by_key(Value::to_string);
    choices
}

fn tap(site: &Site, code: &str) -> String {
    site.get(&format!("/{code}"), &[ANDROID]).header("location").unwrap().to_owned()
}

#[test]
fn targets_written_to_the_topic_decide_on_every_edge_and_a_replay_has_the_same_choice() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.targets";
    set_up(&broker, topic);
    let (one, mut other) = (api_edge(&broker, topic), edge(&broker, topic).start());
    assert_eq!(one.put_link("mug", link_with_targets("mug")).status, 201);
    wait_until_fingerprints_agree(&one.site, &other);
    for site in [&one.site, &other] {
        assert!(tap(site, "mug").starts_with("https://shop.example.com/android"));
        wait_until_delivered(site, "clicks", 1);
    }
    other.stop();
    let clicks = format!("{topic}.clicks");
    let choices = choices_in(&broker, &clicks, 2);
    for choice in &choices {
        assert_eq!((&choice[1], &choice[2], &choice[5]), (&json!(1), &json!("os=android"), &json!("visitor")));
        assert!(choice[4].as_u64().is_some_and(|bucket| bucket < 10_000), "{choice}");
    }
    let args = ["clicks", "replay", "--kafka", &broker.address(), "--into", "links.targets.again"];
    let output = other.command(&args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(choices_in(&broker, "links.targets.again", 2), choices);
}

#[test]
fn a_link_on_the_topic_with_a_bad_target_is_rejected_and_the_link_before_it_stays() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.bad_targets";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[link_with_targets("mug")]);
    let edge = api_edge(&broker, topic);
    let mut bad = link_with_targets("mug");
    bad["targets"][1]["when"]["os"] = json!("symbian");
    program.write_links(&[bad, plain("next", "https://shop.example.com/next")]);
    wait_until_leads_to(&edge.site, "next", "https://shop.example.com/next");
    assert!(tap(&edge.site, "mug").starts_with("https://shop.example.com/android"), "the good version stays");
    let rejected = edge.get_json("/v1/rejected").to_string();
    assert!(rejected.contains("targets/1/when/os") && rejected.contains("symbian"), "{rejected}");
}
