//! `/v1/domains`: settings of domains while the server answers, and over restarts.

use serde_json::{Value, json};

use super::client::{ApiSite, body, new_key, plain};
use crate::dsl::{Answer, Site};

/// The configuration names one host.
const CONFIG: &str = "[domains.\"fixed.example.com\"]\nroot_url = \"https://shop.example.com/fixed\"\n";

fn put(api: &ApiSite, host: &str, settings: &Value) -> Answer {
    api.request("PUT", &format!("/v1/domains/{host}")).json(settings).send()
}

/// The answer of the edge to a path of a host.
fn click(api: &ApiSite, host: &str, path: &str) -> Answer {
    api.site.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn location(answer: &Answer) -> &str {
    answer.header("location").unwrap_or_default()
}

fn sources(api: &ApiSite) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = api.get_json("/v1/domains")["items"].as_array().unwrap().clone();
    items.iter().map(|domain| (text(&domain["host"]), text(&domain["source"]))).collect()
}

#[test]
fn a_domain_is_served_at_once_with_its_settings_and_links_and_over_a_restart() {
    let mut api = ApiSite::start_of(Site::without_links_file().config(CONFIG));
    let mut link = plain("https://shop.example.com/mug");
    link["domain"] = json!("go.example.com");
    link["code"] = json!("mug");
    assert_eq!(api.post_link(link.clone()).status, 409, "the domain is not known yet");
    assert_eq!(click(&api, "go.example.com", "/").status, 200, "* serves the host");
    let settings = json!({"root_url": "https://shop.example.com/go", "on_expired": "gone"});
    let created = put(&api, "Go.Example.com", &settings);
    assert_eq!((created.status, &body(&created)["source"]), (201, &json!("catalog")), "{}", created.text());
    assert_eq!(location(&click(&api, "go.example.com", "/")), "https://shop.example.com/go");
    assert_eq!(api.post_link(link).status, 201);
    assert!(location(&click(&api, "go.example.com", "/mug")).starts_with("https://shop.example.com/mug"));
    assert_eq!(click(&api, "other.example", "/mug").status, 404);
    let changed = put(&api, "go.example.com", &json!({"root_url": "https://shop.example.com/new"}));
    assert_eq!((changed.status, &body(&changed)["settings"]["on_expired"]), (200, &json!("pass")));
    assert_eq!(location(&click(&api, "go.example.com", "/")), "https://shop.example.com/new");
    assert_eq!(put(&api, "bücher.example".replace('ü', "%C3%BC").as_str(), &json!({})).status, 201);
    let expected = [
        ("*", "default"),
        ("fixed.example.com", "configuration"),
        ("go.example.com", "catalog"),
        ("xn--bcher-kva.example", "catalog"),
    ];
    assert_eq!(sources(&api), expected.map(|(host, source)| (host.to_owned(), source.to_owned())));
    api.site.stop();
    api.site.restart();
    assert_eq!(location(&click(&api, "go.example.com", "/")), "https://shop.example.com/new");
    assert!(location(&click(&api, "go.example.com", "/mug")).starts_with("https://shop.example.com/mug"));
    assert_eq!(sources(&api).len(), 4);
    let delete = |host: &str| api.request("DELETE", &format!("/v1/domains/{host}?reason=done")).send();
    assert_eq!((delete("go.example.com").status, api.get("/v1/links/go.example.com/mug").status), (409, 200));
    assert_eq!(api.request("DELETE", "/v1/links/go.example.com/mug").send().status, 204);
    assert_eq!((delete("go.example.com").status, delete("go.example.com").status), (204, 404));
    assert_eq!(click(&api, "go.example.com", "/").status, 200, "* serves the host again");
    assert_eq!(api.get("/v1/domains/go.example.com").status, 404);
    let database = rusqlite::Connection::open(api.site.data().join("catalog.db")).unwrap();
    let acts: i64 = database
        .query_row(
            "SELECT count(*) FROM act WHERE action IN ('put_domain', 'delete_domain') AND detail LIKE '%go.ex%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(acts, 3, "every change is in the audit");
}

#[test]
fn the_settings_of_every_host_without_a_name_are_changed_and_reset() {
    let api = ApiSite::start();
    assert_eq!(api.put_link("mug", plain("https://shop.example.com/mug")).status, 201);
    assert_eq!(put(&api, "*", &json!({"not_found_url": "https://shop.example.com/none/{code}"})).status, 201);
    assert_eq!(location(&click(&api, "any.example", "/nobody")), "https://shop.example.com/none/nobody");
    assert!(location(&click(&api, "any.example", "/mug")).starts_with("https://shop.example.com/mug"));
    assert_eq!(put(&api, "*", &json!({"unknown_hosts": "refuse"})).status, 200);
    assert_eq!(click(&api, "any.example", "/mug").status, 421);
    assert_eq!(api.request("DELETE", "/v1/domains/*").send().status, 204);
    assert_eq!(click(&api, "any.example", "/mug").status, 302);
    assert_eq!(click(&api, "any.example", "/nobody").status, 404);
}

#[test]
fn what_the_configuration_defines_and_what_links_depend_on_is_not_changed() {
    let site = Site::without_links_file().config(CONFIG);
    let bound = new_key(&site, &["--name", "b", "--scope", "read,admin", "--domain", "go.example.com"]);
    let api = ApiSite::start_of(site);
    for answer in [
        put(&api, "fixed.example.com", &json!({"root_url": "https://shop.example.com/other"})),
        api.request("DELETE", "/v1/domains/fixed.example.com").send(),
    ] {
        assert_eq!(
            (answer.status, &body(&answer)["type"]),
            (409, &json!("urn:waypost:problem:source-is-configuration"))
        );
    }
    assert_eq!(location(&click(&api, "fixed.example.com", "/")), "https://shop.example.com/fixed");
    assert_eq!(put(&api, "go.example.com", &json!({"token_param": "tk"})).status, 201);
    let mut link = plain("https://shop.example.com/mug");
    link["domain"] = json!("go.example.com");
    assert_eq!(api.request("PUT", "/v1/links/go.example.com/mug").json(&link).send().status, 201);
    for settings in [
        json!({}),
        json!({"token_param": "tk", "case_insensitive": true}),
        json!({"token_param": "tk", "cookie_domain": "example.com"}),
    ] {
        assert_eq!(put(&api, "go.example.com", &settings).status, 409, "{settings}");
    }
    let same = put(&api, "go.example.com", &json!({"token_param": "tk", "gpc": "strict"}));
    assert_eq!(same.status, 200, "{}", same.text());
    let refused = put(&api, "shop.example.com", &json!({}));
    assert!(
        refused.status == 409 && refused.text().contains("go.example.com/mug"),
        "a link leads there: {}",
        refused.text()
    );
    for (settings, field) in [
        (json!({"root_url": "no url"}), "root_url"),
        (json!({"root_url": "https://go2.example.com/"}), "root_url"),
        (json!({"prefetch": "maybe"}), "prefetch"),
        (json!({"colour": 1}), "colour"),
        (json!({"token_param": "sub1"}), "token_param"),
    ] {
        let refused = put(&api, "go2.example.com", &settings);
        assert_eq!((refused.status, &body(&refused)["errors"][0]["field"]), (422, &json!(field)), "{settings}");
    }
    assert_eq!(put(&api, "a%20b", &json!({})).status, 400);
    let as_bound = |method: &str, target: &str| {
        api.request(method, target).authorization(Some(&format!("Bearer {bound}"))).json(&json!({})).send()
    };
    assert_eq!(body(&as_bound("GET", "/v1/domains"))["items"].as_array().unwrap().len(), 1);
    assert_eq!(as_bound("GET", "/v1/domains/fixed.example.com").status, 404);
    assert_eq!(as_bound("PUT", "/v1/domains/go.example.com").status, 403);
    let freeze = api.request("PUT", "/v1/freeze").json(&json!({"reason": "closing"})).send();
    assert_eq!((freeze.status, put(&api, "go3.example.com", &json!({})).status), (200, 423));
}

#[test]
fn a_links_file_may_name_a_domain_that_the_api_made() {
    let site = Site::new(&[crate::dsl::link("tea")]);
    let key = new_key(&site, &["--name", "a", "--scope", "read,admin"]);
    let mut api = ApiSite { site: site.start(), key };
    assert_eq!(put(&api, "go.example.com", &json!({})).status, 201);
    let named = crate::dsl::link("mug").replacen('{', r#"{"domain":"go.example.com","#, 1);
    api.site.write("links.jsonl", &format!("{}\n{named}\n", crate::dsl::link("tea")));
    api.site.signal("-HUP");
    crate::dsl::until("the links of the new domain", || {
        (click(&api, "go.example.com", "/mug").status == 302).then_some(())
    });
    assert_eq!(click(&api, "go.example.com", "/tea").status, 404);
    api.site.stop();
    api.site.restart();
    assert_eq!((click(&api, "go.example.com", "/mug").status, click(&api, "x.example", "/tea").status), (302, 302));
}
