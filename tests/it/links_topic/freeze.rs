//! Suspensions and freezes by the topic, and what holds over a restart.

use serde_json::json;

use super::site::{
    OtherProgram, api_edge, edge, plain, set_up, wait_for_status, wait_until_fingerprints_agree, wait_until_leads_to,
};
use crate::{api::client::body, dsl::until, kafka::broker::Broker};

#[test]
fn a_suspension_and_a_freeze_hold_on_every_edge_and_records_of_links_wait_for_the_end_of_the_freeze() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.frozen";
    set_up(&broker, topic);
    let (one, mut other) = (api_edge(&broker, topic), api_edge(&broker, topic));
    for code in ["tea", "cup"] {
        assert_eq!(one.put_link(code, plain(code, "https://shop.example.com/old")).status, 201);
    }
    let frozen = one.request("PUT", "/v1/freeze").json(&json!({"reason": "audit"})).send();
    assert_eq!(frozen.status, 200, "{}", frozen.text());
    until("the other edge to be frozen", || (other.get_json("/v1/status")["frozen"] == "audit").then_some(()));
    let refused = other.put_link("pot", plain("pot", "https://shop.example.com/pot"));
    assert_eq!((refused.status, &body(&refused)["type"]), (423, &"urn:waypost:problem:frozen".into()));
    // Another program knows no freeze: its records wait. A suspension does not.
    let program = OtherProgram::new(&broker, topic);
    program
        .write_links(&[plain("tea", "https://shop.example.com/first"), plain("tea", "https://shop.example.com/new")]);
    program.write_tombstone("cup");
    let suspended = one.request("PUT", "/v1/suspensions/creator/c_1").json(&json!({"reason": "fraud"})).send();
    assert_eq!(suspended.status, 201, "{}", suspended.text());
    wait_for_status(&other.site, "tea", 410);
    assert_eq!(other.site.metric("waypost_links_topic_records_total", "kind=\"parked\""), 3.0);
    // All that holds over a restart.
    other.site.stop();
    other.site.restart();
    assert_eq!(other.get_json("/v1/status")["frozen"], "audit");
    wait_for_status(&other.site, "tea", 410);
    let ended = other.request("DELETE", "/v1/suspensions/creator/c_1").send();
    assert_eq!(ended.status, 204, "{}", ended.text());
    for site in [&one, &other] {
        wait_until_leads_to(&site.site, "tea", "https://shop.example.com/old");
        wait_until_leads_to(&site.site, "cup", "https://shop.example.com/old");
    }
    assert_eq!(other.request("DELETE", "/v1/freeze").send().status, 204);
    for site in [&one, &other] {
        wait_until_leads_to(&site.site, "tea", "https://shop.example.com/new");
        wait_for_status(&site.site, "cup", 404);
    }
    assert_eq!(one.put_link("pot", plain("pot", "https://shop.example.com/pot")).status, 201);
    wait_until_fingerprints_agree(&one.site, &other.site);
    let fresh = edge(&broker, topic).start();
    wait_until_fingerprints_agree(&one.site, &fresh);
}

#[test]
fn reserved_codes_and_fields_that_never_change_hold_over_a_restart() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.unchangeable";
    set_up(&broker, topic);
    let mut site = api_edge(&broker, topic);
    for code in ["tea", "cup"] {
        assert_eq!(site.put_link(code, plain(code, "https://shop.example.com/old")).status, 201);
    }
    assert_eq!(site.request("DELETE", "/v1/links/*/cup").send().status, 204);
    site.site.stop();
    site.site.restart();
    let thief = |code: &str| {
        let mut record = plain(code, "https://shop.example.com/thief");
        record["creator"] = "c_2".into();
        record
    };
    let etag = site.get("/v1/links/*/tea").header("etag").unwrap().to_owned();
    let change = site.request("PUT", "/v1/links/*/tea").header(&format!("If-Match: {etag}")).json(&thief("tea")).send();
    assert_eq!((change.status, &body(&change)["type"]), (409, &"urn:waypost:problem:unchangeable".into()));
    let reserved = site.put_link("cup", thief("cup"));
    assert_eq!((reserved.status, &body(&reserved)["type"]), (409, &"urn:waypost:problem:code-reserved".into()));
    // Another program is held to the same rules.
    let program = OtherProgram::new(&broker, topic);
    program.write_links(&[thief("tea"), thief("cup")]);
    for reason in ["unchangeable", "code_reserved"] {
        let label = format!("reason=\"{reason}\"");
        until(reason, || (site.site.metric("waypost_links_topic_rejected_total", &label) == 1.0).then_some(()));
    }
    wait_until_leads_to(&site.site, "tea", "https://shop.example.com/old");
    // The same link may come back.
    assert_eq!(site.put_link("cup", plain("cup", "https://shop.example.com/back")).status, 201);
    // Commands do not write beside the topic.
    site.site.stop();
    let data = site.site.data().display().to_string();
    let output = site.site.command(&["links", "--data-dir", &data, "rm", "tea"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("links.topic"), "{said}");
}
