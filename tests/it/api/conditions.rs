//! Two clients at once, and one client twice.

use serde_json::json;

use super::client::{ApiSite, body, plain};

#[test]
fn of_two_changes_of_one_version_one_wins() {
    let api = ApiSite::start();
    api.put_link("mug", plain("https://shop.example.com/0"));
    for round in 0..10 {
        let version = api.get("/v1/links/*/mug").header("etag").unwrap().to_owned();
        let statuses = std::thread::scope(|scope| {
            let change = |at: usize| {
                let record = plain(&format!("https://shop.example.com/{round}/{at}"));
                let request = api.request("PUT", "/v1/links/*/mug").header(&format!("If-Match: {version}"));
                scope.spawn(move || request.json(&record).send().status)
            };
            let mut statuses: Vec<u16> =
                [0, 1, 2, 3].map(change).into_iter().map(|thread| thread.join().unwrap()).collect();
            statuses.sort_unstable();
            statuses
        });
        assert_eq!(statuses, [200, 412, 412, 412]);
    }
}

#[test]
fn a_request_that_is_sent_again_is_carried_out_once_and_after_a_restart_too() {
    let mut api = ApiSite::start();
    let post = |api: &ApiSite, key: &str, url: &str| {
        let request = api.request("POST", "/v1/links").header(&format!("Idempotency-Key: {key}"));
        request.json(&json!({"url":url,"kind":"plain"})).send()
    };
    let url = "https://shop.example.com/mug";
    let first = post(&api, "\"8e03978e-40d5\"", url);
    assert_eq!(first.status, 201);
    let facts = |answer: &crate::dsl::Answer| {
        (answer.status, answer.header("etag").map(str::to_owned), answer.header("location").map(str::to_owned))
    };
    for key in ["\"8e03978e-40d5\"", "8e03978e-40d5"] {
        let again = post(&api, key, url);
        assert_eq!((facts(&again), &again.body), (facts(&first), &first.body), "{key}");
    }
    let other = post(&api, "\"8e03978e-40d5\"", "https://shop.example.com/cup");
    assert_eq!((other.status, &body(&other)["type"]), (422, &json!("urn:waypost:problem:idempotency-key-reused")));
    assert_eq!(post(&api, "\"open", url).status, 400);
    // The link changes; the answer is still that of the first request.
    let path = first.header("location").unwrap().to_owned();
    let patch = api.request("PATCH", &path).typed("application/merge-patch+json", br#"{"title":"x"}"#.to_vec());
    assert_eq!(patch.send().status, 200);
    api.site.kill();
    api.site.restart();
    let again = post(&api, "8e03978e-40d5", url);
    assert_eq!((facts(&again), &again.body), (facts(&first), &first.body));
    assert_eq!(api.get_json("/v1/status")["links"], 1);
}

#[test]
fn a_request_whose_first_one_is_not_answered_yet_is_told_so() {
    let api = ApiSite::start();
    let record = json!({"url":"https://shop.example.com/mug","kind":"plain"}).to_string();
    let request = api.request("POST", "/v1/links").header("Idempotency-Key: \"k\"");
    let request = request.typed("application/json", record.clone().into_bytes());
    let mut first = request.open(record.len());
    first.write(&record[..10]);
    // A body that is no record: it makes nothing, should it come before the first one.
    let other =
        api.request("POST", "/v1/links").header("Idempotency-Key: \"k\"").typed("application/json", b"{".to_vec());
    crate::dsl::until("the first one is in flight", || Some(other.send()).filter(|answer| answer.status == 409));
    assert_eq!(request.send().status, 409);
    first.write(&record[10..]);
    let first = request.read_answer(&mut first).unwrap();
    assert_eq!(first.status, 201);
    assert_eq!(request.send().body, first.body);
}
