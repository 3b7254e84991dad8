//! Domains in the topic: what one edge is told holds on every edge, and the links of a domain follow it.

use std::time::Duration;

use serde_json::{Value, json};

use super::site::{OtherProgram, api_edge, edge, plain, set_up, wait_until_fingerprints_agree, wait_until_leads_to};
use crate::{
    api::client::{ApiSite, body, new_key},
    dsl::{Answer, Site, until},
    kafka::broker::{Broker, Kind},
};

const HOST: &str = "go.example.com";

fn put(api: &ApiSite, host: &str, settings: &Value) -> Answer {
    api.request("PUT", &format!("/v1/domains/{host}")).json(settings).send()
}

fn delete(api: &ApiSite, host: &str) -> Answer {
    api.request("DELETE", &format!("/v1/domains/{host}")).send()
}

/// The answer of the edge to a path of a host.
fn click(site: &Site, host: &str, path: &str) -> Answer {
    site.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn wait_until_host_leads_to(site: &Site, host: &str, path: &str, url: &str) {
    until(&format!("{host}{path} to lead to {url}"), || {
        let answer = click(site, host, path);
        answer.header("location").is_some_and(|location| location.starts_with(url)).then_some(())
    });
}

fn root(page: &str) -> Value {
    json!({"root_url": format!("https://shop.example.com/{page}")})
}

/// A link of [`HOST`].
fn link_of_host(code: &str) -> Value {
    let mut link = plain(code, &format!("https://shop.example.com/{code}"));
    link["domain"] = HOST.into();
    link
}

#[test]
fn a_domain_that_one_edge_is_told_answers_on_every_edge_with_its_links_and_over_a_restart_without_kafka() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.domains";
    set_up(&broker, topic);
    let (one, mut other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    let created = put(&one, HOST, &root("go"));
    assert_eq!((created.status, &body(&created)["source"]), (201, &json!("catalog")), "{}", created.text());
    assert_eq!(click(&one.site, HOST, "/").header("location"), Some("https://shop.example.com/go"));
    // The other edge reads to the end before it checks the link.
    let path = format!("/v1/links/{HOST}/mug");
    assert_eq!(other.request("PUT", &path).json(&link_of_host("mug")).send().status, 201);
    wait_until_host_leads_to(&other.site, HOST, "/", "https://shop.example.com/go");
    wait_until_host_leads_to(&one.site, HOST, "/mug", "https://shop.example.com/mug");
    let version = |api: &ApiSite| api.get_json(&format!("/v1/domains/{HOST}"))["version"].clone();
    assert_eq!((version(&other), version(&one)), (body(&created)["version"].clone(), version(&other)));
    // By the rules of the API on every edge.
    assert_eq!(put(&other, HOST, &json!({"token_param": "tk"})).status, 409, "the domain has a link");
    assert_eq!(delete(&other, HOST).status, 409);
    assert_eq!(put(&other, "shop.example.com", &json!({})).status, 409, "a link leads there");
    assert_eq!(put(&other, HOST, &json!({"root_url": "no url"})).status, 422);
    let long = json!({"app_resolves": true, "app_origins": vec!["https://m.shop.example.com"; 1_000]});
    let refused = put(&other, HOST, &long);
    assert_eq!(refused.status, 422, "{}", refused.text());
    let changed = put(&other, HOST, &root("new"));
    assert_eq!(changed.status, 200, "{}", changed.text());
    wait_until_host_leads_to(&one.site, HOST, "/", "https://shop.example.com/new");
    // A fresh edge knows the domain. With the links of the last run it needs no Kafka.
    let fresh = edge(&broker, topic).start();
    assert!(click(&fresh, HOST, "/mug").header("location").is_some());
    wait_until_fingerprints_agree(&one.site, &fresh);
    let audit = broker.read(&[&format!("{topic}.audit")], 3, Duration::from_secs(15));
    let actions: Vec<Value> = audit.iter().map(|record| record.json()["action"].clone()).collect();
    assert_eq!(actions, ["put_domain", "change", "put_domain"]);
    other.site.stop();
    broker.stop();
    other.site.restart();
    assert_eq!(click(&other.site, HOST, "/").header("location"), Some("https://shop.example.com/new"));
    assert!(click(&other.site, HOST, "/mug").header("location").is_some());
    let away = put(&other, HOST, &root("away"));
    assert_eq!((away.status, &body(&away)["type"]), (503, &json!("urn:waypost:problem:topic-unavailable")));
    broker.restart();
    until("the domain to be changed again", || (put(&other, HOST, &root("back")).status == 200).then_some(()));
    wait_until_host_leads_to(&one.site, HOST, "/", "https://shop.example.com/back");
    let removed = |api: &ApiSite| api.request("DELETE", &path).send().status;
    assert_eq!((removed(&one), delete(&one, HOST).status, delete(&one, HOST).status), (204, 204, 404));
    until("the host to be that of *", || (click(&other.site, HOST, "/").status == 200).then_some(()));
}

#[test]
fn a_link_that_lies_before_its_domain_waits_for_it_and_a_bad_record_of_a_domain_is_skipped() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.domains.order";
    set_up(&broker, topic);
    let program = OtherProgram::new(&broker, topic);
    let site = api_edge(&broker, topic);
    let link = |code: &str| link_of_host(code).to_string();
    program.write(&[
        (Some("l/go.example.com/mug"), Some(&link("mug"))),
        (Some("l/go.example.com/pot"), Some(&link("pot"))),
        (Some("l/go.example.com/pot"), None),
        (Some("d/go.example.com"), Some(r#"{"colour":1}"#)),
        (Some("d/go.example.com"), Some(r#"{"root_url":"no url"}"#)),
        (Some("d/go.example.com"), Some("{")),
    ]);
    program.write_links(&[plain("tea", "https://shop.example.com/tea")]);
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/tea");
    for (reason, count) in [("domain_unknown", 2.0), ("not_a_record", 1.0), ("invalid", 1.0), ("not_json", 1.0)] {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(site.site.metric("waypost_links_topic_rejected_total", &label), count, "{reason}");
    }
    let rejected = |api: &ApiSite| api.get_json("/v1/rejected")["items"].as_array().unwrap().clone();
    assert_eq!(rejected(&site).len(), 4, "{:?}", rejected(&site));
    // The domain and one more link in one batch.
    let settings = root("go").to_string();
    program.write(&[
        (Some("d/go.example.com"), Some(&settings)),
        (Some("l/go.example.com/cup"), Some(&link("cup"))),
        (Some("d/go.example.com"), None),
    ]);
    wait_until_host_leads_to(&site.site, HOST, "/cup", "https://shop.example.com/cup");
    wait_until_host_leads_to(&site.site, HOST, "/mug", "https://shop.example.com/mug");
    let unknown = click(&site.site, HOST, "/pot");
    assert_eq!(unknown.header("location"), Some("https://shop.example.com/go"), "the answer to an unknown code");
    until("the tombstone to be skipped: the domain has links", || {
        let rejected = rejected(&site);
        let [only] = &*rejected else { return None };
        (only["key"] == "d/go.example.com" && only["detail"].as_str()?.contains("has links")).then_some(())
    });
    // While links are frozen a domain waits with its links, in their order.
    assert_eq!(site.request("PUT", "/v1/freeze").json(&json!({"reason": "audit"})).send().status, 200);
    assert_eq!(put(&site, HOST, &root("frozen")).status, 423);
    program.write(&[
        (Some("d/other.example.com"), Some(&settings)),
        (Some("l/other.example.com/mug"), Some(&link("mug").replace("go.example", "other.example"))),
    ]);
    let parked = || site.site.metric("waypost_links_topic_records_total", "kind=\"parked\"");
    until("both to wait", || (parked() == 2.0).then_some(()));
    assert_eq!(click(&site.site, "other.example.com", "/mug").status, 404);
    assert_eq!(site.request("DELETE", "/v1/freeze").send().status, 204);
    wait_until_host_leads_to(&site.site, "other.example.com", "/mug", "https://shop.example.com/mug");
}

#[test]
fn the_configuration_of_one_edge_wins_there_for_a_domain_that_it_names() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.domains.configured";
    set_up(&broker, topic);
    let one = api_edge(&broker, topic);
    let config = "[domains.\"go.example.com\"]\nroot_url = \"https://shop.example.com/config\"\n";
    let named = edge(&broker, topic).config(config);
    let key = new_key(&named, &["--name", "test", "--scope", "read,write,admin"]);
    let mut named = ApiSite { site: named.start(), key };
    assert_eq!(put(&one, HOST, &root("topic")).status, 201);
    assert_eq!(one.request("PUT", &format!("/v1/links/{HOST}/mug")).json(&link_of_host("mug")).send().status, 201);
    wait_until_host_leads_to(&named.site, HOST, "/mug", "https://shop.example.com/mug");
    let configured = named.site.metric("waypost_links_topic_records_total", "kind=\"domain_configured\"");
    assert_eq!(configured, 1.0);
    assert_eq!(click(&named.site, HOST, "/").header("location"), Some("https://shop.example.com/config"));
    assert_eq!(named.get_json(&format!("/v1/domains/{HOST}"))["source"], "configuration");
    assert_eq!(put(&named, HOST, &root("api")).status, 409);
    wait_until_fingerprints_agree(&one.site, &named.site);
    // A configuration that does not name it any more leaves it to the topic.
    named.site.stop();
    named.site.write("waypost.toml", "");
    named.site.restart();
    assert_eq!(click(&named.site, HOST, "/").header("location"), Some("https://shop.example.com/topic"));
    assert!(click(&named.site, HOST, "/mug").header("location").is_some());
}
