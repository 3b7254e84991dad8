//! What operators do: suspensions, freeze, patches by filter, undo, rollback.

use serde_json::{Value, json};

use super::client::{ApiSite, body, new_key, plain};
use crate::dsl::{Site, until};

pub(super) fn api_with_all_scopes() -> ApiSite {
    let site = Site::without_links_file();
    let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
    let mut api = ApiSite::start_of(site);
    api.key = key;
    api
}

/// Links of two creators.
fn create_links(api: &ApiSite) {
    for (code, creator) in [("a", "c_1"), ("b", "c_1"), ("c", "c_2")] {
        let mut record = plain(&format!("https://shop.example.com/{code}"));
        record["creator"] = json!(creator);
        assert_eq!(api.put_link(code, record).status, 201);
    }
}

/// Waits for the end of a change that is named in an answer, and gives its report.
pub(super) fn report_of(api: &ApiSite, started: &crate::dsl::Answer) -> Value {
    assert_eq!(started.status, 202, "{}", started.text());
    let path = started.header("location").unwrap().to_owned();
    until("the end of the change", || {
        let act = api.get_json(&path);
        assert_ne!(act["progress"]["state"], "failed", "{act}");
        (act["progress"]["state"] == "done").then(|| act["progress"]["report"].clone())
    })
}

#[test]
fn a_suspension_switches_links_off_passes_a_freeze_and_leaves_them_as_they_were() {
    let api = api_with_all_scopes();
    create_links(&api);
    let patch =
        api.request("PATCH", "/v1/links/*/b").typed("application/merge-patch+json", br#"{"enabled":false}"#.to_vec());
    assert_eq!(patch.send().status, 200);
    let freeze = api.request("PUT", "/v1/freeze").json(&json!({"reason":"an incident"})).send();
    assert_eq!(freeze.status, 200);
    let refused = api.put_link("d", plain("https://shop.example.com/d"));
    assert_eq!(refused.status, 423);
    assert!(body(&refused)["detail"].as_str().unwrap().contains("an incident"));
    assert_eq!(api.get_json("/v1/status")["frozen"], "an incident");

    let suspend = api.request("PUT", "/v1/suspensions/creator/c_1");
    let reason = json!({"reason":"fraud","fallback_url":"https://shop.example.com/paused"});
    assert_eq!(suspend.clone().json(&reason).send().status, 201);
    assert_eq!(suspend.clone().json(&reason).send().status, 200);
    let location =
        |code: &str| api.site.get(&format!("/{code}"), &[]).header("location").unwrap_or_default().to_owned();
    assert_eq!(
        (&*location("a"), &*location("b")),
        ("https://shop.example.com/paused", "https://shop.example.com/paused")
    );
    assert!(location("c").contains("/c"));
    let listed = api.get_json("/v1/suspensions");
    assert_eq!((&listed["items"][0]["value"], &listed["items"][0]["reason"]), (&json!("c_1"), &json!("fraud")));
    let end = api.request("DELETE", "/v1/suspensions/creator/c_1");
    assert_eq!((end.send().status, end.send().status), (204, 404));
    assert!(location("a").contains("/a"), "{}", location("a"));
    assert_eq!(api.site.get("/b", &[]).status, 410, "it was switched off by hand");

    assert_eq!(api.request("DELETE", "/v1/freeze").send().status, 204);
    assert_eq!(api.put_link("d", plain("https://shop.example.com/d")).status, 201);
    for (request, field) in [
        (json!({}), "reason"),
        (json!({"reason":"x","until":"soon"}), "until"),
        (json!({"reason":"x","fallback_url":"no url"}), "fallback_url"),
        (json!({"reason":"x","reasons":1}), "reasons"),
    ] {
        let refused = suspend.clone().json(&request).send();
        assert_eq!((refused.status, &body(&refused)["errors"][0]["field"]), (422, &json!(field)));
    }
    let unknown = api.request("PUT", "/v1/suspensions/colour/red").json(&reason).send();
    assert_eq!(unknown.status, 404);
}

#[test]
fn a_key_suspends_what_lies_within_its_bounds_alone() {
    let site = Site::without_links_file();
    let bound = new_key(&site, &["--name", "c_1", "--scope", "read,suspend", "--creator", "c_1"]);
    let api = ApiSite::start_of(site);
    let put = |target: &str, key: &str| {
        let request = api.request("PUT", target).authorization(Some(&format!("Bearer {key}")));
        request.json(&json!({"reason":"x"})).send().status
    };
    assert_eq!(put("/v1/suspensions/creator/c_1", &bound), 201);
    for target in ["/v1/suspensions/creator/c_2", "/v1/suspensions/host/shop.example.com", "/v1/suspensions/domain/*"] {
        assert_eq!(put(target, &bound), 404, "{target}");
    }
    assert_eq!(put("/v1/suspensions/creator/c_1", &api.key), 403, "a scope of its own");
}

#[test]
fn a_patch_by_filter_is_previewed_made_and_undone() {
    let api = api_with_all_scopes();
    create_links(&api);
    let patch = json!({"filter":{"creator":"c_1"},"patch":{"title":"spring"},"reason":"spring"});
    let preview = api.request("POST", "/v1/patches?dry_run=true").json(&patch).send();
    assert_eq!((preview.status, &body(&preview)["changed"]), (200, &json!(2)));
    assert_eq!(body(&api.get("/v1/links/*/a")).get("title"), None);
    let started = api.request("POST", "/v1/patches").json(&patch).send();
    assert_eq!(report_of(&api, &started)["changed"], 2);
    assert_eq!(body(&api.get("/v1/links/*/a"))["title"], "spring");
    let touched =
        api.request("PATCH", "/v1/links/*/b").typed("application/merge-patch+json", br#"{"title":"mine"}"#.to_vec());
    assert_eq!(touched.send().status, 200);
    let act = body(&started)["act"].as_str().unwrap().to_owned();
    let undone = report_of(&api, &api.request("POST", &format!("/v1/acts/{act}/undo?reason=no")).send());
    assert_eq!((&undone["changed"], &undone["refused"]), (&json!(1), &json!(1)), "{undone}");
    assert_eq!(undone["refused_links"][0]["link"], "/v1/links/*/b");
    assert_eq!(body(&api.get("/v1/links/*/a")).get("title"), None);
    for (request, pointer) in [
        (json!({"filter":{},"patch":{"title":"x"},"reason":"x"}), "/filter"),
        (json!({"filter":{"colour":"red"},"patch":{"title":"x"},"reason":"x"}), "/filter/colour"),
        (json!({"filter":{"creator":"c_1"},"patch":{"kynd":1},"reason":"x"}), "/patch/kynd"),
        (json!({"filter":{"creator":"c_1"},"patch":{"title":"x"}}), "/reason"),
    ] {
        let refused = api.request("POST", "/v1/patches").json(&request).send();
        assert_eq!((refused.status, &body(&refused)["errors"][0]["pointer"]), (422, &json!(pointer)), "{request}");
    }
    let unknown = "/v1/acts/01a22d5b-e0e6-720c-911a-685ab55cddca/undo";
    assert_eq!(api.request("POST", unknown).send().status, 404);
}

#[test]
fn a_rollback_is_previewed_and_made() {
    let api = api_with_all_scopes();
    create_links(&api);
    let version = api.get_json("/v1/status")["version"].clone();
    assert_eq!(api.request("DELETE", "/v1/links/*/a").send().status, 204);
    let rollback = json!({"to_version":version,"reason":"a mistake"});
    let preview = api.request("POST", "/v1/rollback?dry_run").json(&rollback).send();
    assert_eq!((preview.status, &body(&preview)["changed"]), (200, &json!(1)));
    assert_eq!(api.get("/v1/links/*/a").status, 404);
    assert_eq!(report_of(&api, &api.request("POST", "/v1/rollback").json(&rollback).send())["changed"], 1);
    assert_eq!(api.get("/v1/links/*/a").status, 200);
    assert_eq!(api.request("POST", "/v1/rollback").json(&json!({"to_version":-1,"reason":"x"})).send().status, 422);
    assert_eq!(api.request("POST", "/v1/rollback").json(&json!({"to_version":99,"reason":"x"})).send().status, 409);
}
