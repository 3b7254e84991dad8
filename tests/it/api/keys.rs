//! Credentials: keys, scopes, bounds, and `waypost api-keys`.

use serde_json::{Value, json};

use super::client::{ApiSite, body, new_key, plain};
use crate::dsl::Site;

#[test]
fn a_key_is_needed_and_only_a_valid_one_opens() {
    let api = ApiSite::start();
    let status = |value: Option<&str>| api.request("GET", "/v1/status").authorization(value).send();
    let none = status(None);
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
    let (id, secret) = api.key.strip_prefix("wpk_").unwrap().split_once('_').unwrap();
    // The first symbol has no padding bits, so another one is another secret.
    let altered = format!("{}{}", if secret.starts_with('A') { 'B' } else { 'A' }, &secret[1..]);
    for refused in [
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {}", api.key),
        format!("Bearer wpk_{id}_{altered}"),
        format!("Bearer wpk_{id}_"),
        format!("Bearer wpk_0000000000000000_{secret}"),
    ] {
        assert_eq!(status(Some(&refused)).status, 401, "{refused}");
    }
    assert_eq!(status(Some(&format!("bearer {}", api.key))).status, 200);
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(api.site.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            stored.extend(std::fs::read(path).unwrap());
        }
    }
    assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "no file has the secret");
}

#[test]
fn a_scope_permits_its_requests_alone() {
    let site = Site::without_links_file();
    let reader = new_key(&site, &["--name", "reader", "--scope", "read"]);
    let api = ApiSite::start_of(site);
    let as_reader = |method: &str, target: &str| {
        let request = api.request(method, target).authorization(Some(&format!("Bearer {reader}")));
        request.json(&plain("https://shop.example.com/mug")).send()
    };
    assert_eq!(as_reader("GET", "/v1/links").status, 200);
    for (method, target) in
        [("POST", "/v1/links"), ("DELETE", "/v1/links/*/mug"), ("POST", "/v1/bulk"), ("GET", "/v1/api-keys")]
    {
        let refused = as_reader(method, target);
        assert_eq!((refused.status, &body(&refused)["type"]), (403, &json!("urn:waypost:problem:scope-missing")));
    }
}

#[test]
fn what_lies_outside_the_bounds_of_a_key_does_not_exist_for_it() {
    let site = Site::without_links_file();
    let bound = new_key(&site, &["--name", "c_1", "--scope", "read,write,admin", "--creator", "c_1"]);
    let api = ApiSite::start_of(site);
    let record = |code: &str, creator: &str| {
        let mut record = plain("https://shop.example.com/mug");
        record["code"] = json!(code);
        record["creator"] = json!(creator);
        record
    };
    for (code, creator) in [("own", "c_1"), ("foreign", "c_2")] {
        assert_eq!(api.post_link(record(code, creator)).status, 201);
    }
    let ask = |method: &str, target: &str| api.request(method, target).authorization(Some(&format!("Bearer {bound}")));
    assert_eq!(ask("GET", "/v1/links/*/own").send().status, 200);
    for (method, target) in
        [("GET", "/v1/links/*/foreign"), ("DELETE", "/v1/links/*/foreign"), ("GET", "/v1/links/*/foreign/history")]
    {
        assert_eq!(ask(method, target).send().status, 404, "{method} {target}");
    }
    assert_eq!(ask("POST", "/v1/links").json(&record("new", "c_2")).send().status, 404);
    assert_eq!(ask("PUT", "/v1/links/*/foreign").json(&record("foreign", "c_1")).send().status, 404);
    let listed = body(&ask("GET", "/v1/links").send());
    let codes: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["record"]["code"]).collect();
    assert_eq!(codes, ["own"]);
    for target in ["/v1/export", "/v1/changes", "/v1/audit"] {
        let text = ask("GET", target).send().text();
        assert!(text.contains("\"own\"") && !text.contains("foreign"), "{target}: {text}");
    }
    let rows = [record("foreign", "c_1"), record("more", "c_2"), json!({"op":"delete","code":"foreign"})];
    let rows = rows.map(|row| row.to_string()).join("\n");
    let answer = ask("POST", "/v1/bulk?mode=each").typed("application/x-ndjson", rows.into()).send();
    let statuses: Vec<Value> = super::client::ndjson(&answer).iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, [json!(404), json!(404), json!(404), Value::Null]);
    assert_eq!(ask("GET", "/v1/api-keys").send().status, 403);
    assert_eq!(api.get("/v1/links/*/foreign").status, 200);
}

#[test]
fn keys_are_made_listed_and_revoked_against_a_server_and_a_directory() {
    let mut api = ApiSite::start();
    let data = api.site.data().display().to_string();
    let server = format!("http://{}", api.site.admin_address());
    let run = |api: &ApiSite, args: &[&str]| {
        let output = api.site.command(args).env("WAYPOST_API_KEY", &api.key).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.trim().to_owned())
    };
    let (code, said) = run(&api, &["api-keys", "list", "--data-dir", &data]);
    assert!(code == Some(1) && said.contains("--server"), "a server holds the directory: {said}");
    let new = ["api-keys", "new", "--server", &server, "--name", "second", "--scope", "read", "--domain", "*"];
    let (code, second) = run(&api, &new);
    assert_eq!(code, Some(0), "{second}");
    let as_second = api.request("GET", "/v1/links").authorization(Some(&format!("Bearer {second}")));
    assert_eq!(as_second.send().status, 200);
    let id = second.split('_').nth(1).unwrap();
    let (_, listed) = run(&api, &["api-keys", "list", "--server", &server]);
    assert!(listed.contains(&format!("{id}  read  second  domains=*")), "{listed}");
    assert_eq!(run(&api, &["api-keys", "revoke", id, "--server", &server]).0, Some(0));
    assert_eq!(as_second.send().status, 401);
    assert_eq!(run(&api, &["api-keys", "revoke", "0", "--server", &server]).0, Some(1));
    let _ = api.site.stop();
    let (code, listed) = run(&api, &["api-keys", "list", "--data-dir", &data, "--json"]);
    assert!(code == Some(0) && listed.lines().count() == 2 && listed.contains("revoked_at\":\"20"), "{listed}");
    assert_eq!(run(&api, &["api-keys", "new", "--data-dir", &data, "--name", "x"]).0, Some(64), "a scope is needed");
}

#[test]
fn a_key_that_is_asked_for_wrongly_is_refused_by_field() {
    let api = ApiSite::start();
    for (request, field) in [
        (json!({"scopes":["read"]}), "name"),
        (json!({"name":"x","scopes":[]}), "scopes"),
        (json!({"name":"x","scopes":["all"]}), "scopes"),
        (json!({"name":"x","scopes":["read"],"domains":[7]}), "domains"),
        (json!({"name":"x","scopes":["read"],"domain":"*"}), "domain"),
    ] {
        let refused = api.request("POST", "/v1/api-keys").json(&request).send();
        assert_eq!((refused.status, &body(&refused)["errors"][0]["field"]), (422, &json!(field)), "{request}");
    }
}
