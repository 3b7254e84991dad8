//! `deploy/schemas/asyncapi.json` is whole: every reference leads somewhere, every topic of the product and of the
//! pipeline is in it, with key, partitions, retention and headers. `deploy/validate.sh` asks AsyncAPI's own parser.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use waypost::kafka::TopicNames;

use crate::description::{FOLDER, read, root};

fn document() -> Value {
    serde_json::from_str(&read(&root().join(FOLDER).join("asyncapi.json"))).unwrap()
}

/// The members of an object that must be there.
fn members<'d>(document: &'d Value, pointer: &str) -> &'d serde_json::Map<String, Value> {
    let object = document.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("no {pointer}"));
    assert!(!object.is_empty(), "{pointer} is empty");
    object
}

/// Every text of a key `$ref`, wherever it stands.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The channels by the name of their topic.
fn channels(document: &Value) -> BTreeMap<&str, &Value> {
    let channels = members(document, "/channels").values();
    channels.map(|channel| (channel["address"].as_str().unwrap(), channel)).collect()
}

#[test]
fn every_reference_leads_to_a_part_of_the_document_or_to_a_file() {
    let document = document();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let references = references(&document);
    assert!(references.len() > 40, "{}", references.len());
    for reference in references {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(root().join(FOLDER).join(reference).is_file(), "{reference}"),
        }
    }
}

#[test]
fn every_topic_says_its_partitions_retention_messages_and_who_writes_or_reads_it() {
    let document = document();
    let used: BTreeSet<&str> = members(&document, "/operations")
        .values()
        .map(|operation| {
            assert!(["send", "receive"].contains(&operation["action"].as_str().unwrap()), "{operation}");
            operation["channel"]["$ref"].as_str().unwrap()
        })
        .collect();
    for (id, channel) in members(&document, "/channels") {
        assert!(used.contains(&*format!("#/channels/{id}")), "{id}: nobody sends or receives");
        assert!(channel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{id}: no description");
        let kafka = &channel["bindings"]["kafka"];
        assert!(kafka["partitions"].as_u64() >= Some(1) && kafka["replicas"] == 3, "{id}: {kafka}");
        let settings = &kafka["topicConfiguration"];
        match settings["cleanup.policy"][0].as_str() {
            Some("delete") => assert!(settings["retention.ms"].as_u64() > Some(0), "{id}: no retention"),
            Some("compact") => {
                assert!(settings.get("retention.ms").is_none(), "{id}: a compacted topic keeps all keys")
            }
            other => panic!("{id}: cleanup.policy is {other:?}"),
        }
        for (name, message) in members(channel, "/messages") {
            assert_eq!(message["$ref"], format!("#/components/messages/{name}"), "{id}");
        }
    }
}

#[test]
fn every_message_has_a_payload_a_key_and_a_media_type_and_an_edge_has_its_headers() {
    let document = document();
    for (name, message) in members(&document, "/components/messages") {
        assert_eq!(message["name"], **name);
        assert!(message["payload"].is_object() && message["contentType"].is_string(), "{name}");
        let has_key = message["bindings"]["kafka"]["key"]["description"].is_string();
        assert!(has_key || name == "refused_order", "{name} has no key");
    }
    for name in ["click", "click_protobuf"] {
        let headers = &document["components"]["messages"][name]["headers"]["$ref"];
        assert_eq!(headers, "#/components/schemas/click_headers", "{name}");
    }
    let required = &document["components"]["schemas"]["click_headers"]["required"];
    assert_eq!(required, &serde_json::json!(["wp_shipped_at_ms"]));
    let protobuf = &document["components"]["messages"]["click_protobuf"]["x-protobuf"];
    let file = read(&root().join(FOLDER).join(protobuf["file"].as_str().unwrap()));
    let (package, message) = protobuf["message"].as_str().unwrap().rsplit_once('.').unwrap();
    assert!(file.contains(&format!("package {package};")) && file.contains(&format!("message {message} {{")));
}

#[test]
fn every_topic_of_the_configuration_and_of_the_pipeline_is_in_the_document() {
    let document = document();
    let channels = channels(&document);
    let TopicNames { clicks, orphan, lanes, checkpoints } = TopicNames::default();
    let mut topics = vec![clicks, orphan, lanes, checkpoints, "links.v1".to_owned(), "links.v1.audit".to_owned()];
    topics.push("receipts".to_owned());
    let settings = read(&root().join("deploy/flink/settings.properties"));
    let of_pipeline = settings.lines().filter(|line| line.starts_with("TOPIC_"));
    topics.extend(of_pipeline.map(|line| line.split_once('=').unwrap().1.to_owned()));
    assert!(topics.len() > 15, "{topics:?}");
    let known: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let described: BTreeSet<&str> = channels.keys().copied().collect();
    assert_eq!(described, known);
}

#[test]
fn partitions_and_retention_are_those_of_the_set_up_commands() {
    let document = document();
    let channels = channels(&document);
    let help = Command::new(env!("CARGO_BIN_EXE_waypost")).args(["kafka", "setup", "--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let default_of = |flag: &str| -> u64 {
        let (_, behind) = help.split_once(flag).unwrap_or_else(|| panic!("{flag}: {help}"));
        let (_, value) = behind.split_once("[default: ").unwrap();
        value.split_once(']').unwrap().0.parse().unwrap()
    };
    let kafka = |topic: &str| &channels[topic]["bindings"]["kafka"];
    let retention_ms = default_of("--retention-days") * 86_400_000;
    for topic in ["clicks", "clicks.orphan", "clicks.lanes"] {
        assert_eq!(kafka(topic)["partitions"], default_of("--partitions"), "{topic}");
        assert_eq!(kafka(topic)["replicas"], default_of("--replication"), "{topic}");
        assert_eq!(kafka(topic)["topicConfiguration"]["retention.ms"], retention_ms, "{topic}");
    }
    // One partition each: a reader looks in one place, and changes have one order.
    for topic in ["clicks.checkpoints", "links.v1", "links.v1.audit", "commission_ticks"] {
        assert_eq!(kafka(topic)["partitions"], 1, "{topic}");
    }
    let java = read(&root().join("deploy/flink/java/waypost/flink/Topics.java"));
    let compacted = java.split_once("PRODUCT_SETS").unwrap().1.split_once(')').unwrap().0;
    for (constant, topic) in [("COMMISSIONS", "commissions"), ("LINKS", "links"), ("WINNERS", "commission_winners")] {
        assert!(compacted.contains(&format!("\"{constant}\"")), "{compacted}");
        assert_eq!(kafka(topic)["topicConfiguration"]["cleanup.policy"][0], "compact", "{topic}");
    }
    assert!(java.contains("RETENTION_MS = Long.toString(180L * 86_400_000)"));
    for topic in ["orders", "late_orders", "refused_orders"] {
        assert_eq!(kafka(topic)["topicConfiguration"]["retention.ms"], retention_ms, "{topic}");
    }
}
