//! Patches that take effect at a time, and changes of many links that the end of a process interrupts.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    client::{ApiSite, body, plain},
    operator::{api_with_all_scopes, report_of},
};
use crate::dsl::{Answer, until};

fn put_links(api: &ApiSite, count: usize) {
    let row = |at: usize| {
        let mut record = plain(&format!("https://old.example.com/{at}"));
        record["code"] = json!(format!("c{at:05}"));
        record.to_string()
    };
    let (status, lines) = api.bulk("mode=each", &(0..count).map(row).collect::<Vec<_>>());
    assert_eq!((status, &lines.last().unwrap()["summary"]["created"]), (200, &json!(count)));
}

fn in_time(time: Duration) -> Timestamp {
    Timestamp::now().checked_add(jiff::SignedDuration::try_from(time).unwrap()).unwrap()
}

/// Asks for the links of one host to lead to another at a time.
fn move_host_at(api: &ApiSite, time: Option<Timestamp>) -> Answer {
    let patch = json!({
        "filter": {"host": "old.example.com"},
        "patch": {"host": "new.example.com"},
        "reason": "the shop moves",
        "effective_at": time.map(|time| time.to_string()),
    });
    let answer = api.request("POST", "/v1/patches").json(&patch).send();
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer
}

fn act_of(answer: &Answer) -> String {
    body(answer)["act"].as_str().unwrap().to_owned()
}

fn host_of(api: &ApiSite, code: &str) -> String {
    let url = api.get_json(&format!("/v1/links/*/{code}"))["url"].as_str().unwrap().to_owned();
    url.split('/').nth(2).unwrap().to_owned()
}

fn progress(api: &ApiSite, act: &str) -> Value {
    api.get_json(&format!("/v1/acts/{act}?limit=1"))["progress"].clone()
}

fn wait_for_state(api: &ApiSite, act: &str, state: &str) -> Value {
    until(&format!("the change to be {state}"), || Some(progress(api, act)).filter(|found| found["state"] == state))
}

#[test]
fn a_patch_for_later_waits_over_a_restart_is_seen_as_an_act_takes_effect_and_is_undone() {
    let mut api = api_with_all_scopes();
    put_links(&api, 3);
    let time = in_time(Duration::from_secs(8));
    let started = move_host_at(&api, Some(time));
    let act = act_of(&started);
    let waiting = api.get_json("/v1/acts?state=scheduled");
    assert_eq!((&waiting["items"][0]["id"], &waiting["items"][0]["reason"]), (&json!(act), &json!("the shop moves")));
    assert_eq!(waiting["items"][0]["change"]["filter"], json!({"host": "old.example.com"}));
    let seen = api.get_json(&format!("/v1/acts/{act}"));
    assert_eq!((&seen["action"], &seen["progress"]["state"]), (&json!("patch"), &json!("scheduled")), "{seen}");
    assert_eq!(seen["detail"]["patch"], json!({"host": "new.example.com"}));
    api.site.stop();
    api.site.restart();
    // A restart on a busy machine can take longer than the time.
    let host = host_of(&api, "c00000");
    assert!(host == "old.example.com" || Timestamp::now() >= time, "{host} before its time");
    // A link that is made meanwhile matches when the time has come.
    let mut late = plain("https://old.example.com/late");
    late["code"] = json!("late");
    let is_in_time = api.post_link(late).status == 201 && Timestamp::now() < time;
    let done = wait_for_state(&api, &act, "done");
    assert!(Timestamp::now() >= time);
    let changed = done["report"]["changed"].as_u64().unwrap();
    assert!(changed == 4 || !is_in_time && changed == 3, "{done}");
    assert_eq!(host_of(&api, "c00000"), "new.example.com");
    assert!(api.site.get("/c00001", &[]).header("location").unwrap().starts_with("https://new.example.com/1"));
    let lines = api.get_json(&format!("/v1/acts/{act}"));
    assert_eq!(lines["items"].as_array().unwrap().len() as u64, changed);
    assert_eq!(api.get_json("/v1/acts?state=scheduled")["items"], json!([]));
    let undone = report_of(&api, &api.request("POST", &format!("/v1/acts/{act}/undo")).send());
    assert_eq!(undone["changed"], changed);
    assert_eq!(host_of(&api, "c00000"), "old.example.com");
}

#[test]
fn a_patch_for_later_is_cancelled_and_one_whose_time_passed_without_a_server_is_made_at_the_start() {
    let mut api = api_with_all_scopes();
    put_links(&api, 2);
    let act = act_of(&move_host_at(&api, Some(in_time(Duration::from_secs(3600)))));
    let cancel = |act: &str| api.request("POST", &format!("/v1/acts/{act}/cancel?reason=too%20early")).send();
    assert_eq!(cancel(&act).status, 204);
    assert_eq!(progress(&api, &act)["state"], "cancelled");
    let again = cancel(&act);
    assert_eq!((again.status, &body(&again)["type"]), (409, &json!("urn:waypost:problem:act-ended")));
    assert_eq!(cancel("01a22d5b-e0e6-720c-911a-685ab55cddca").status, 404);
    let time = in_time(Duration::from_secs(1));
    let act = act_of(&move_host_at(&api, Some(time)));
    let (code, _) = api.site.stop();
    assert_eq!(code, Some(0));
    until("the time to pass", || (Timestamp::now() > time).then_some(()));
    api.site.restart();
    assert_eq!(wait_for_state(&api, &act, "done")["report"]["changed"], 2);
    assert_eq!(host_of(&api, "c00001"), "new.example.com");
    for wrong in [json!("tomorrow"), json!(5)] {
        let patch = json!({"filter": {"host": "x"}, "patch": {"title": "x"}, "reason": "x", "effective_at": wrong});
        let refused = api.request("POST", "/v1/patches").json(&patch).send();
        assert_eq!((refused.status, &body(&refused)["errors"][0]["pointer"]), (422, &json!("/effective_at")));
    }
}

#[test]
fn a_patch_whose_time_comes_within_a_freeze_waits_for_the_end_of_it() {
    let api = api_with_all_scopes();
    put_links(&api, 1);
    let act = act_of(&move_host_at(&api, Some(in_time(Duration::from_secs(2)))));
    assert_eq!(api.request("PUT", "/v1/freeze").json(&json!({"reason": "closing"})).send().status, 200);
    let waiting =
        until("the change to meet the freeze", || Some(progress(&api, &act)).filter(|at| !at["error"].is_null()));
    assert_eq!(waiting["state"], "scheduled");
    assert!(waiting["error"].as_str().unwrap().contains("closing"), "{waiting}");
    assert_eq!(host_of(&api, "c00000"), "old.example.com");
    assert_eq!(api.request("DELETE", "/v1/freeze").send().status, 204);
    let done = wait_for_state(&api, &act, "done");
    assert_eq!((&done["report"]["changed"], &done["error"]), (&json!(1), &Value::Null));
}

#[test]
fn a_patch_that_a_kill_interrupts_goes_on_behind_the_restart_under_its_act() {
    const LINKS: usize = 3_000;
    let mut api = api_with_all_scopes();
    put_links(&api, LINKS);
    let before = api.get_json("/v1/status")["position"].as_u64().unwrap();
    let act = act_of(&move_host_at(&api, None));
    until("the first chunks to be changed", || {
        (api.get_json("/v1/status")["position"].as_u64().unwrap() >= before + 1_000).then_some(())
    });
    api.site.kill();
    let changed = |api: &ApiSite| -> (u64, u64) {
        let connection = rusqlite::Connection::open(api.site.data().join("catalog.db")).unwrap();
        let sql = "SELECT count(*), count(DISTINCT code) FROM audit WHERE act = ?1";
        connection.query_row(sql, [&act], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let by_the_kill = changed(&api).0;
    assert!((1_000..=LINKS as u64).contains(&by_the_kill), "{by_the_kill}");
    println!("killed behind {by_the_kill} of {LINKS} links");
    api.site.restart();
    wait_for_state(&api, &act, "done");
    assert_eq!(changed(&api), (LINKS as u64, LINKS as u64), "each link once, under one act");
    let old = api.get_json("/v1/links?host=old.example.com&limit=1");
    assert_eq!(old["items"], json!([]));
    let undone = report_of(&api, &api.request("POST", &format!("/v1/acts/{act}/undo")).send());
    assert_eq!((&undone["changed"], &undone["refused"]), (&json!(LINKS), &json!(0)));
}
