//! `Prefer: wait=N`: a client that does not wait for the end of its change is told which act to ask for.

use serde_json::{Value, json};

use super::client::{ApiSite, body, plain};
use crate::dsl::{Answer, until};

fn end_of(api: &ApiSite, accepted: &Answer) -> Value {
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(accepted.header("preference-applied"), Some("wait=0"));
    let path = accepted.header("location").unwrap().to_owned();
    until("the end of the change", || {
        let progress = api.get_json(&path)["progress"].clone();
        (progress["state"] != "running").then_some(progress)
    })
}

#[test]
fn a_client_that_does_not_wait_asks_for_the_act_and_one_that_waits_long_enough_gets_the_answer() {
    let api = ApiSite::start();
    let put = |code: &str, wait: &str| {
        let request = api.request("PUT", &format!("/v1/links/*/{code}")).header(&format!("Prefer: {wait}"));
        request.json(&plain("https://shop.example.com/mug")).send()
    };
    let accepted = put("mug", "wait=0");
    let end = end_of(&api, &accepted);
    assert_eq!((&end["state"], &end["report"]["changed"]), (&json!("done"), &json!(1)), "{end}");
    let act = api.get_json(accepted.header("location").unwrap());
    assert_eq!((&act["items"][0]["link"], &act["id"]), (&json!("/v1/links/*/mug"), &body(&accepted)["act"]));
    assert_eq!(api.site.get("/mug", &[]).status, 302);
    assert_eq!(put("cup", "respond-async, wait=30").status, 201);
    assert_eq!(put("pot", "return=minimal").status, 201);
    // What is refused behind the answer is told by the act, too.
    let create = api.request("POST", "/v1/links").header("Prefer: wait=0");
    let mut record = plain("https://shop.example.com/other");
    record["code"] = json!("mug");
    let end = end_of(&api, &create.json(&record).send());
    assert_eq!((&end["report"]["changed"], &end["report"]["refused"]), (&json!(0), &json!(1)), "{end}");
    assert_eq!(end["report"]["refused_links"][0]["problem"]["type"], "urn:waypost:problem:exists");
    // A request that is sent again within the wait is not carried out twice.
    let once = api.request("POST", "/v1/links").header("Prefer: wait=0").header("Idempotency-Key: \"k\"");
    let once = once.json(&json!({"url": "https://shop.example.com/once", "kind": "plain"}));
    let links = |api: &ApiSite| api.get_json("/v1/status")["links"].as_u64().unwrap();
    let before = links(&api);
    end_of(&api, &once.send());
    until("the first one to be over", || Some(once.send()).filter(|again| again.status != 409));
    assert_eq!(links(&api), before + 1);
}
