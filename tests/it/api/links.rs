//! One link: created, read, replaced, patched, removed; and every way to be refused.

use serde_json::json;

use super::client::{ApiSite, body, plain};
use crate::dsl::{Site, link};

#[test]
fn a_link_is_created_served_changed_and_removed() {
    let api = ApiSite::start();
    let created = api.post_link(json!({"url":"https://shop.example.com/mug","kind":"plain"}));
    assert_eq!(created.status, 201, "{}", created.text());
    let code = body(&created)["code"].as_str().unwrap().to_owned();
    let path = format!("/v1/links/*/{code}");
    assert_eq!((code.len(), created.header("location"), created.header("etag")), (8, Some(&*path), Some("\"1\"")));
    assert_eq!(api.site.get(&format!("/{code}"), &[]).status, 302);
    let read = api.get(&path);
    assert_eq!((read.status, &read.body), (200, &created.body));
    assert_eq!(api.request("HEAD", &path).send().status, 200);
    assert_eq!(api.request("GET", &path).header("If-None-Match: \"1\"").send().status, 304);
    assert_eq!(api.request("GET", &path).header("If-None-Match: \"2\"").send().status, 200);

    let patch = json!({"url":"https://shop.example.com/cup","title":"A cup"});
    let patch = api.request("PATCH", &path).typed("application/merge-patch+json", patch.to_string().into());
    let patched = patch.send();
    assert_eq!((patched.status, patched.header("etag")), (200, Some("\"2\"")));
    assert_eq!(patch.send().header("etag"), Some("\"2\""), "the same again changes nothing");
    assert!(api.site.get(&format!("/{code}"), &[]).header("location").unwrap().contains("/cup"));

    let put = api.request("PUT", &path).header("If-Match: \"2\"").json(&body(&patched)).send();
    assert_eq!(put.status, 200);
    assert_eq!(api.request("DELETE", &path).send().status, 204);
    for again in ["GET", "DELETE"] {
        assert_eq!(api.request(again, &path).send().status, 404);
    }
    assert_eq!(api.site.get(&format!("/{code}"), &[]).status, 404);
}

#[test]
fn a_put_creates_then_keeps_and_never_overwrites_unseen() {
    let api = ApiSite::start();
    let first = api.put_link("mug", plain("https://shop.example.com/mug"));
    assert_eq!((first.status, first.header("location")), (201, Some("/v1/links/*/mug")));
    assert_eq!(api.put_link("mug", plain("https://shop.example.com/mug")).status, 200);
    assert_eq!(api.put_link("mug", plain("https://shop.example.com/cup")).status, 428);
    let other = api.request("PUT", "/v1/links/*/mug").json(&plain("https://shop.example.com/cup"));
    assert_eq!(other.clone().header("If-Match: \"7\"").send().status, 412);
    assert_eq!(other.clone().header("If-None-Match: *").send().status, 412);
    assert_eq!(other.clone().header("If-Match: \"1\"").send().status, 200);
    // created_at is that of the stored link.
    let kept = api.request("PUT", "/v1/links/*/mug").header("If-Match: *");
    let kept = kept.json(&json!({"url":"https://shop.example.com/tea","kind":"plain"})).send();
    assert_eq!((kept.status, &body(&kept)["created_at"]), (200, &json!("2026-11-01T00:00:00Z")));
    for (field, value) in [("code", "cup"), ("domain", "other.example.com")] {
        let mut record = plain("https://shop.example.com/mug");
        record[field] = json!(value);
        let refused = api.put_link("mug", record);
        assert_eq!((refused.status, &body(&refused)["errors"][0]["field"]), (422, &json!(field)));
    }
}

#[test]
fn a_code_is_never_given_twice_and_what_never_changes_is_named() {
    let api = ApiSite::start();
    let record = |creator: &str| {
        let mut record = plain("https://shop.example.com/mug");
        record["code"] = json!("mug");
        record["creator"] = json!(creator);
        record
    };
    assert_eq!(api.post_link(record("c_1")).status, 201);
    let exists = api.post_link(record("c_1"));
    assert_eq!((exists.status, &body(&exists)["version"]), (409, &json!(1)));
    let stolen = api.request("PUT", "/v1/links/*/mug").header("If-Match: \"1\"").json(&record("thief")).send();
    assert_eq!((stolen.status, &body(&stolen)["errors"][0]["pointer"]), (409, &json!("/creator")));
    assert_eq!(api.request("DELETE", "/v1/links/*/mug").send().status, 204);
    let reserved = api.post_link(record("thief"));
    assert_eq!(reserved.status, 409);
    assert!(body(&reserved)["reusable_at"].as_str().unwrap().starts_with("2027-"), "{}", reserved.text());
    assert_eq!(api.post_link(record("c_1")).status, 201);
}

#[test]
fn every_mistake_is_told_with_its_field_and_its_place() {
    let api = ApiSite::start();
    let mistakes = |record| {
        let answer = api.post_link(record);
        let errors = body(&answer)["errors"].as_array().unwrap().clone();
        let pointers = errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (answer.status, pointers)
    };
    let product = json!({"code":"a","url":"https://shop.example.com/","kind":"product","seller":"s_1"});
    assert_eq!(mistakes(product), (422, ["/product", "/plan", "/rate_bp"].map(str::to_owned).to_vec()));
    let unknown = json!({"url":"https://shop.example.com/","kind":"plain","kynd":1,"enabled":"yes"});
    assert_eq!(mistakes(unknown), (422, ["/enabled", "/kynd"].map(str::to_owned).to_vec()));
    assert_eq!(mistakes(json!({"url":"no url","kind":"plain"})), (422, vec!["/url".to_owned()]));
    let elsewhere = json!({"url":"https://shop.example.com/","kind":"plain","domain":"unknown.example.com"});
    assert_eq!(mistakes(elsewhere), (409, vec!["/domain".to_owned()]));
    let ahead = json!({"url":"https://shop.example.com/","kind":"plain","created_at":"2199-01-01T00:00:00Z"});
    assert_eq!(mistakes(ahead).0, 409);
    let post = |text: &str| api.request("POST", "/v1/links").typed("application/json", text.into()).send().status;
    let twice = r#"{"url":"https://shop.example.com/","kind":"plain","kind":"plain"}"#;
    assert_eq!((post("{"), post("[]"), post("\"a\""), post(""), post(twice)), (400, 422, 422, 400, 422));
    let patch = |patch: &str| {
        let request = api.request("PATCH", "/v1/links/*/mug");
        request.typed("application/merge-patch+json", patch.into()).send().status
    };
    assert_eq!(patch(r#"{"enabled":false}"#), 404);
    api.put_link("mug", plain("https://shop.example.com/mug"));
    assert_eq!((patch(r#"{"kynd":1}"#), patch("[]"), patch(r#"{"url":null}"#)), (422, 422, 422));
    assert_eq!((patch(r#"{"code":"cup"}"#), patch(r#"{"created_at":"2026-10-01T00:00:00Z"}"#)), (409, 409));
}

#[test]
fn what_is_asked_wrongly_gets_its_status() {
    let api = ApiSite::start();
    api.put_link("mug", plain("https://shop.example.com/mug"));
    let patch = api.request("PATCH", "/v1/links/*/mug").json(&json!({"enabled":false})).send();
    assert_eq!(patch.status, 415, "a merge patch has a type of its own");
    assert_eq!(api.request("POST", "/v1/links").send().status, 415);
    let method = api.request("POST", "/v1/links/*/mug").send();
    assert_eq!((method.status, method.header("allow")), (405, Some("GET, PUT, PATCH, DELETE, HEAD, OPTIONS")));
    let options = api.request("OPTIONS", "/v1/bulk").authorization(None).send();
    assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
    assert_eq!(api.request("GET", "/v1/status").header("Accept: text/html").send().status, 406);
    assert_eq!(api.get("/v1/nothing").status, 404);
    let unknown = api.get("/v1/links?limmit=5");
    assert!(unknown.status == 400 && unknown.text().contains("limmit: is unknown"), "{}", unknown.text());
    assert_eq!(api.request("GET", "/v1/links/*/mug").header("If-None-Match: 17").send().status, 400);
    assert_eq!(api.get("/v1/openapi.json").status, 200);
    assert_eq!(api.get_json("/v1/rejected"), json!({"items":[],"next":null}));
    assert_eq!(api.site.metric("waypost_api_requests_total", r#"route="/v1/bulk",status="2xx""#), 1.0);
    assert_eq!(api.site.metric("waypost_api_requests_total", r#"route="unknown",status="4xx""#), 1.0);
}

#[test]
fn links_of_a_file_are_read_and_not_changed() {
    let api = ApiSite::start_of(Site::new(&[link("tea")]));
    let status = api.get_json("/v1/status");
    assert_eq!((&status["source"], &status["links"]), (&json!("file"), &json!(1)));
    crate::dsl::until("the file is kept", || Some(api.get("/v1/links/*/tea")).filter(|read| read.status == 200));
    let refused = api.post_link(plain("https://shop.example.com/mug"));
    assert_eq!((refused.status, &body(&refused)["type"]), (409, &json!("urn:waypost:problem:source-is-file")));
}

#[test]
fn a_link_with_targets_is_kept_as_it_was_written_and_a_bad_target_is_refused_by_its_pointer() {
    let api = ApiSite::start();
    let mut record = plain("https://shop.example.com/mug");
    record["split"] = json!([{"name":"a","weight":50},{"name":"b","weight":50}]);
    record["targets"] = json!([
        {"when":{"os":"ios","not":{"in_app":true}},"url":"https://app.example.com/{os}"},
        {"when":{"split":["b"],"time":{"zone":"Asia/Seoul","hours":"18:00-24:00"}},"url":"https://shop.example.com/b"},
    ]);
    assert_eq!(api.put_link("mug", record.clone()).status, 201);
    let read = body(&api.get("/v1/links/*/mug"));
    assert_eq!((&read["targets"], &read["split"]), (&record["targets"], &record["split"]));
    let export = api.get("/v1/export");
    let line = export.text().lines().find(|line| line.contains("\"mug\"")).unwrap().to_owned();
    let again = api.request("PUT", "/v1/links/*/mug").typed("application/json", line.clone().into()).send();
    assert_eq!((again.status, again.header("etag")), (200, Some("\"1\"")), "the same text changes nothing: {line}");
    assert_eq!(api.get("/v1/export").text(), export.text());

    record["targets"][0]["when"]["os"] = json!("symbian");
    record["targets"][1]["url"] = json!("shop.example.com");
    let refused = api.request("PUT", "/v1/links/*/cup").json(&record).send();
    let pointers: Vec<String> = body(&refused)["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((refused.status, pointers), (422, vec!["/targets/0/when/os".to_owned()]));
    record["targets"][0]["when"]["os"] = json!("ios");
    let refused = api.request("PUT", "/v1/links/*/cup").json(&record).send();
    assert_eq!(body(&refused)["errors"][0]["pointer"], "/targets/1/url");
}
