use super::*;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

#[test]
fn a_host_finds_its_domain_whatever_its_case_port_and_trailing_dot() {
    let domains = Domains::new(&config("[\"Go.Example.com\"]\n[\"bücher.example\"]\n[\"[::1]\"]")).unwrap();
    for host in ["go.example.com", "GO.example.COM:8443", "go.example.com.", "go.example.com.:80"] {
        assert_eq!(&*domains.find_serving_host(host.as_bytes()).unwrap().name, "go.example.com", "{host}");
    }
    assert_eq!(&*domains.find_serving_host(b"xn--bcher-kva.example").unwrap().name, "xn--bcher-kva.example");
    assert_eq!(&*domains.find_by_name("bücher.example").unwrap().name, "xn--bcher-kva.example");
    assert_eq!(&*domains.find_serving_host(b"[::1]:8080").unwrap().name, "[::1]");
    assert_eq!(&*domains.find_serving_host(b"[::1]").unwrap().name, "[::1]");
    for host in ["", "other.example", "127.0.0.1:8080", &"a".repeat(300), "go.example.com:x"] {
        assert_eq!(&*domains.find_serving_host(host.as_bytes()).unwrap().name, "*", "{host}");
    }
    assert_eq!(&*domains.find_by_name("*").unwrap().name, "*");
    assert!(domains.find_by_name("other.example").is_none());
}

#[test]
fn without_configuration_every_host_is_served_by_the_default_domain() {
    let domains = Domains::new(&Config::default()).unwrap();
    let domain = domains.find_serving_host(b"localhost:8080").unwrap();
    assert_eq!((&*domain.name, &*domain.token_param, domain.id.ignores_case()), ("*", "wp", false));
    assert_eq!(domain.referrer_policy, "strict-origin-when-cross-origin");
    assert!(std::ptr::eq(domain, domains.domain(domain.id)));
    assert!(!domain.is_cookie_sent_to_host("localhost"));
}

#[test]
fn the_cookie_reaches_its_domain_and_what_lies_below() {
    let domains = Domains::new(&config("[\"go.shop.example\"]\ncookie_domain = \".Shop.example\"\n[\"go.x.example\"]"));
    let domains = domains.unwrap();
    let domain = domains.find_serving_host(b"go.shop.example").unwrap();
    assert_eq!(domain.cookie_domain.as_deref(), Some("shop.example"));
    assert!(domain.is_cookie_sent_to_host("shop.example") && domain.is_cookie_sent_to_host("www.shop.example"));
    assert!(!domain.is_cookie_sent_to_host("myshop.example") && !domain.is_cookie_sent_to_host("example"));
    let own = domains.find_serving_host(b"go.x.example").unwrap();
    assert!(own.is_cookie_sent_to_host("go.x.example") && !own.is_cookie_sent_to_host("x.example"));
}

#[test]
fn every_error_is_reported_with_its_key() {
    let config = config(
        r#"
        ["go.example.co.uk"]
        cookie_domain = "co.uk"
        token_param = "sub1"
        referrer_policy = "maybe"
        not_found_url = "/relative"
        app_links = {}
        ["GO.example.co.uk"]
        ["*"]
        cookie_domain = "example.com"
        ["go.example.com:8080"]
        ["*.example.com"]
        ["go.other.example"]
        cookie_domain = "example.com"
        shop_url = "https://user@shop.example/"
        "#,
    );
    let errors = config.list_invalid_values();
    let keys: Vec<&str> = errors.iter().map(|value| value.key.as_str()).collect();
    for key in [
        r#""go.example.co.uk".cookie_domain"#,
        r#""go.example.co.uk".token_param"#,
        r#""go.example.co.uk".referrer_policy"#,
        r#""go.example.co.uk".not_found_url"#,
        r#""go.example.co.uk".app_links"#,
        r#""*".cookie_domain"#,
        r#""go.example.com:8080""#,
        r#""*.example.com""#,
        r#""go.other.example".cookie_domain"#,
        r#""go.other.example".shop_url"#,
    ] {
        assert!(keys.contains(&key), "{key} is missing from {errors:?}");
    }
    assert!(errors.iter().any(|value| value.message.contains("the same host")));
    assert_eq!(keys.len(), 11, "{errors:?}");
}

#[test]
fn association_files_exist_only_for_the_apps_that_are_named() {
    let text = "[\"go.example.com\"]\napp_links = { android = [{ package = \"com.shop\", sha256 = [\"AB:CD\"] }] }";
    let domains = Domains::new(&config(text)).unwrap();
    let files = &domains.find_serving_host(b"go.example.com").unwrap().app_association_files;
    assert!(files.apple.is_none());
    let body: serde_json::Value = serde_json::from_slice(files.android.as_ref().unwrap()).unwrap();
    assert_eq!(body[0]["target"]["package_name"], "com.shop");
    assert!(domains.find_serving_host(b"other").unwrap().app_association_files.android.is_none());
}

#[test]
fn an_unknown_setting_is_refused() {
    let error = toml::from_str::<Config>("[\"go.example.com\"]\ncookiedomain = \"x\"").unwrap_err();
    assert!(error.to_string().contains("unknown field `cookiedomain`"));
}

#[test]
fn a_redirect_that_leads_back_to_its_host_is_refused() {
    let errors = config(
        r#"
        ["go.example.com"]
        not_found_url = "https://GO.example.com:443/help"
        root_url = "https://shop.example.com/"
        shop_url = "https://go.example.com/"
        ["a.example"]
        root_url = "https://b.example/"
        ["b.example"]
        fallback_url = "https://c.example/x"
        ["c.example"]
        not_found_url = "http://a.example/"
        ["www.go.example"]
        root_url = "https://go.example/"
        ["go.example"]
        root_url = "https://shop.example/"
        ["*"]
        root_url = "https://go.example/"
        "#,
    )
    .list_invalid_values();
    let found: Vec<(&str, bool)> =
        errors.iter().map(|error| (error.key.as_str(), error.message.contains("this host itself"))).collect();
    assert_eq!(
        found,
        [
            (r#""a.example".root_url"#, false),
            (r#""b.example".fallback_url"#, false),
            (r#""c.example".not_found_url"#, false),
            (r#""go.example.com".not_found_url"#, true),
        ],
        "{errors:?}"
    );
}
