//! The settings of a host, and the order of the rules that decide an answer.

use serde_json::Value;

use crate::dsl::{Answer, Site, link, until};

const SHOP: &str = "https://shop.example.com";

/// A link of the domain `host`, which may be `*`.
fn on(host: &str, link: &str) -> String {
    with(link, &format!(r#""domain":"{host}""#))
}

/// A link with more fields.
fn with(link: &str, fields: &str) -> String {
    format!("{},{fields}}}", &link[..link.len() - 1])
}

fn disabled(code: &str) -> String {
    with(&link(code), r#""enabled":false"#)
}

/// A link that is older than 100 days.
fn expired(code: &str) -> String {
    link(code).replace(r#""test":true"#, r#""created_at":"2020-01-01T00:00:00Z""#)
}

/// A site with one configured host, [`HOST`].
fn site(settings: &str, links: &[String]) -> Site {
    Site::new(links).config(&format!("[domains.\"{HOST}\"]\n{settings}\n")).start()
}

const HOST: &str = "go.shop.example.com";

/// Sends a request, and waits for the answer.
fn send_request(site: &Site, method: &str, host: &str, path: &str, headers: &[&str]) -> Answer {
    let mut lines: Vec<String> = vec![format!("{method} {path} HTTP/1.1"), format!("Host: {host}")];
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    site.send(&(lines.join("\r\n") + "\r\n\r\n"))
}

fn get(site: &Site, path: &str, headers: &[&str]) -> Answer {
    send_request(site, "GET", HOST, path, headers)
}

fn location(answer: &Answer) -> &str {
    answer.header("location").unwrap_or_default()
}

/// Waits for the first event of this code.
fn event(site: &Site, topic: &str, code: &str) -> Value {
    until(&format!("the event of {code}"), || site.events(topic).into_iter().find(|event| event["code"] == code))
}

#[test]
fn a_configured_host_has_its_own_codes_and_all_other_hosts_share_those_of_the_star() {
    let links = [on("*", &link("both")), on(HOST, &link("mine")), on("*", &link("theirs"))];
    let site = site("", &links);
    for (host, code, status) in [
        (HOST, "mine", 302),
        ("GO.Shop.Example.COM.:8443", "mine", 302),
        (HOST, "theirs", 404),
        (HOST, "both", 404),
        ("other.example.com", "theirs", 302),
        ("127.0.0.1:8080", "theirs", 302),
        ("[::1]:8080", "both", 302),
        ("other.example.com", "mine", 404),
    ] {
        assert_eq!(send_request(&site, "GET", host, &format!("/{code}"), &[]).status, status, "{code} on {host}");
    }
    assert_eq!(event(&site, "clicks", "mine")["domain"], HOST);
    assert_eq!(event(&site, "clicks", "theirs")["domain"], "*");
}

#[test]
fn an_unknown_code_goes_to_the_hosts_not_found_url_else_to_its_root_url() {
    let settings = format!("not_found_url = \"{SHOP}/404\"\nroot_url = \"{SHOP}/home\"");
    let one = site(&settings, &[link("live")]);
    let answer = get(&one, "/nobody", &[]);
    assert_eq!((answer.status, location(&answer)), (302, "https://shop.example.com/404"));
    assert!(answer.header("set-cookie").is_none());
    assert_eq!(event(&one, "clicks.orphan", "nobody")["outcome"], "not_found");
    let root = get(&one, "/", &[]);
    assert_eq!((root.status, location(&root)), (302, "https://shop.example.com/home"));
    assert_eq!(send_request(&one, "GET", "other.example.com", "/nobody", &[]).status, 404, "nothing is inherited");
    let two = site(&format!("root_url = \"{SHOP}/home\""), &[link("live")]);
    assert_eq!(location(&get(&two, "/nobody", &[])), "https://shop.example.com/home");
}

#[test]
fn a_link_that_is_not_live_goes_to_its_own_fallback_before_the_hosts() {
    let own = with(&disabled("own"), r#""fallback_url":"https://shop.example.com/own""#);
    let links = [on(HOST, &disabled("off")), on(HOST, &expired("old")), on(HOST, &own)];
    let site = site(&format!("fallback_url = \"{SHOP}/host\"\non_expired = \"gone\""), &links);
    for (code, to) in [("off", "/host"), ("old", "/host"), ("own", "/own")] {
        let answer = get(&site, &format!("/{code}"), &[]);
        assert_eq!((answer.status, location(&answer)), (302, &*format!("{SHOP}{to}")), "{code}");
        assert_eq!(event(&site, "clicks.orphan", code)["outcome"], "fallback");
    }
}

#[test]
fn small_pages_show_the_way_to_the_shop_with_nothing_to_escape_by() {
    let links = [on(HOST, &disabled("off"))];
    let site = site(&format!("shop_url = \"{SHOP}/?a=1&b=%22\""), &links);
    for (path, status) in [("/nobody", 404), ("/off", 410), ("/", 200)] {
        let answer = get(&site, path, &[]);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains("href=\"https://shop.example.com/?a=1&amp;b=%22\""), "{}", answer.text());
        let plain = send_request(&site, "GET", "other.example.com", path, &[]);
        assert!(!plain.text().contains("href"), "{path}: {}", plain.text());
    }
}

#[test]
fn an_expired_link_is_passed_on_or_gone_as_the_host_says() {
    for (policy, status, outcome) in [("pass", 302, "passed"), ("gone", 410, "expired")] {
        let site = site(&format!("on_expired = \"{policy}\""), &[on(HOST, &expired("old"))]);
        let answer = get(&site, "/old", &[]);
        assert_eq!(answer.status, status, "{policy}");
        assert!(answer.header("set-cookie").is_none() && answer.token().is_none());
        assert_eq!(event(&site, "clicks.orphan", "old")["outcome"], outcome);
    }
}

#[test]
fn a_prefetch_is_redirected_bare_where_the_host_says_so_even_for_an_app() {
    let site = site("prefetch = \"redirect\"\napp_resolves = true", &[on(HOST, &link("live")), on(HOST, &link("app"))]);
    for (code, headers) in [
        ("live", &["Sec-Purpose: prefetch;prerender"][..]),
        ("app", &["Purpose: prefetch", "Accept: application/vnd.waypost.click+json"]),
    ] {
        let answer = get(&site, &format!("/{code}"), headers);
        assert_eq!(answer.status, 302, "{code}");
        assert!(answer.header("set-cookie").is_none() && answer.token().is_none(), "{answer:?}");
        let event = event(&site, "clicks", code);
        assert_eq!((&event["class"], &event["countable"]), (&"prefetch".into(), &false.into()));
    }
}

#[test]
fn gpc_takes_what_the_host_says_and_refused_consent_is_never_ignored() {
    for (policy, cookie, token, mode) in
        [("strict", false, false, "strict"), ("unlinked", false, true, "unlinked"), ("ignore", true, true, "")]
    {
        let site = site(&format!("gpc = \"{policy}\""), &[on(HOST, &link("a")), on(HOST, &link("b"))]);
        let answer = get(&site, "/a", &["Sec-GPC: 1"]);
        assert_eq!(answer.header("set-cookie").is_some(), cookie, "{policy}");
        assert_eq!(answer.token().is_some(), token, "{policy}");
        let noted = event(&site, "clicks", "a");
        assert_eq!(noted["privacy_mode"].as_str().unwrap_or_default(), mode);
        assert_eq!(noted["gpc"], true);
        assert_eq!(noted.get("visitor_id").is_some(), cookie);
        let refused = get(&site, "/b?cons=0", &["Sec-GPC: 1"]);
        assert!(refused.header("set-cookie").is_none() && refused.token().is_none(), "{policy}");
        assert_eq!(event(&site, "clicks", "b")["privacy_mode"], "strict");
    }
}

#[test]
fn a_shared_cookie_has_its_domain_and_destinations_inside_it_get_no_token() {
    let outside = link("outside").replace("shop.example.com", "shop.example.org");
    let asked = link("asked").replace("/view/asked?creator=c_1", "/view/asked?t={click_token}");
    let links = [on(HOST, &link("inside")), on(HOST, &outside), on(HOST, &asked), on("*", &link("star"))];
    let site = site("cookie_domain = \"example.com\"", &links);
    let answer = get(&site, "/inside", &[]);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("wp=v1."), "{cookie}");
    assert!(
        cookie.ends_with("; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax; Domain=example.com"),
        "{cookie}"
    );
    assert_eq!(location(&answer), "https://shop.example.com/view/inside?creator=c_1", "the cookie reaches the shop");
    assert!(get(&site, "/outside", &[]).token().is_some());
    assert!(location(&get(&site, "/asked", &[])).contains("?t=v1."), "a template that asks for it gets it");
    let returning = get(&site, "/inside", &[&format!("Cookie: {}; __Host-wp=x", answer.cookie()), "Sec-GPC: 1"]);
    assert_eq!(
        returning.header("set-cookie"),
        Some("wp=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax; Domain=example.com")
    );
    let star = send_request(&site, "GET", "other.example.com", "/star", &[]);
    assert!(star.header("set-cookie").unwrap().starts_with("__Host-wp="), "the star keeps its own");
}

#[test]
fn a_destination_inside_the_cookies_domain_gets_the_token_whenever_the_answer_sets_no_cookie() {
    let site = site("cookie_domain = \"example.com\"", &[on(HOST, &link("inside"))]);
    let inside = "https://shop.example.com/view/inside?creator=c_1";
    let earlier = get(&site, "/inside", &[]);
    assert_eq!((location(&earlier), earlier.header("set-cookie").is_some()), (inside, true));
    let cookie = format!("Cookie: {}", earlier.cookie());
    for headers in [&["Sec-GPC: 1"][..], &["Sec-GPC: 1", &cookie]] {
        let answer = get(&site, "/inside", headers);
        assert!(location(&answer).starts_with(&format!("{inside}&wp=v1.")), "{answer:?}");
        let set = answer.header("set-cookie").unwrap_or("wp=; Max-Age=0");
        assert!(set.starts_with("wp=; Max-Age=0"), "{set}");
    }
    let refused = get(&site, "/inside?cons=0", &[]);
    assert_eq!((location(&refused), refused.header("set-cookie")), (inside, None), "strict takes the token too");
    let events = site.wait_for_events("clicks", 4);
    let placed: Vec<bool> = events.iter().map(|event| event["token_placed"].as_bool().unwrap()).collect();
    assert_eq!(placed, [false, true, true, false]);
}

#[test]
fn codes_ignore_case_only_where_the_host_says_so() {
    let site = site("case_insensitive = true", &[on(HOST, &link("MixedCase")), on("*", &link("MixedCase"))]);
    for code in ["MixedCase", "mixedcase", "MIXEDCASE"] {
        assert_eq!(get(&site, &format!("/{code}"), &[]).status, 302, "{code}");
    }
    assert_eq!(send_request(&site, "GET", "other.example.com", "/MixedCase", &[]).status, 302);
    assert_eq!(send_request(&site, "GET", "other.example.com", "/mixedcase", &[]).status, 404);
}

/// Event, cookie and token have the code in lower case for any spelling, and a second tap is a duplicate.
#[test]
fn a_code_that_ignores_case_is_recorded_in_lower_case() {
    let paid = link("MixedCase").replace(r#""test":true"#, &format!(r#""created_at":"{}""#, jiff::Timestamp::now()));
    let site = site("case_insensitive = true", &[on(HOST, &paid)]);
    let agent = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) \
                 Version/18.6 Mobile/15E148 Safari/604.1";
    let first = get(&site, "/MIXEDCASE", &[agent]);
    let cookie = format!("Cookie: {}", first.cookie());
    get(&site, "/MixedCase", &[agent, &cookie]);
    get(&site, "/mIXEDcASE", &[agent]);
    let events = site.wait_for_events("clicks", 3);
    assert!(events.iter().all(|event| event["code"] == "mixedcase"), "{events:#?}");
    assert_eq!(events[1]["previous_code"], "mixedcase");
    let reasons: Vec<&str> = events.iter().filter_map(|event| event["countable_reason"].as_str()).collect();
    assert_eq!(reasons, ["human", "duplicate", "human"], "{events:#?}");
    assert_eq!(events[2]["duplicate_basis"], "address_agent");
    let data = site.data().display().to_string();
    let token = first.token().unwrap();
    let verdict = site.command(&["token", "verify", "--json", "--data-dir", &data, &token]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&verdict.stdout).unwrap()["code"], "mixedcase");
}

#[test]
fn the_host_decides_the_referrer_policy_and_the_name_of_the_tokens_parameter() {
    let links = [on(HOST, &with(&link("live"), r#""query":"incoming-wins""#))];
    let site = site("referrer_policy = \"no-referrer\"\ntoken_param = \"ref_id\"", &links);
    let answer = get(&site, "/live?ref_id=forged&wp=kept", &[]);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let to = url::Url::parse(location(&answer)).unwrap();
    let named = |wanted: &str| -> Vec<String> {
        to.query_pairs().filter(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(named("ref_id").len(), 1, "{to}");
    assert!(named("ref_id")[0].starts_with("v1."), "{to}");
    assert!(named("wp").iter().all(|value| !value.starts_with("v1.")), "{to}");
}

#[test]
fn a_click_keeps_as_much_of_the_address_as_the_host_says() {
    for (mode, kept) in [("full", Some("127.0.0.1")), ("truncated", Some("127.0.0.0")), ("none", None)] {
        let site = site(&format!("client_ip = \"{mode}\""), &[on(HOST, &link("live"))]);
        get(&site, "/live", &[]);
        let event = event(&site, "clicks", "live");
        assert_eq!(event.get("client_ip").and_then(Value::as_str), kept, "{mode}");
        assert_eq!(event["client_ip_mode"], mode);
    }
}

#[test]
fn settings_of_apps_that_contradict_each_other_are_refused() {
    let apps = "app_links = { apple = [\"TEAM.com.shop\"] }";
    for (settings, why) in [
        ("app_origins = [\"https://m.shop.example.com\"]".to_owned(), "needs app_resolves = true"),
        ("app_resolves = true\napp_origins = [\"https://m.shop.example.com/\"]".to_owned(), "allowed are origins"),
        ("app_resolves = true\napp_origins = [\"null\"]".to_owned(), "allowed are origins"),
        (format!("app_resolves = false\n{apps}"), "app_links names an app"),
    ] {
        let site = Site::new(&[link("live")]).config(&format!("[domains.\"{HOST}\"]\n{settings}\n"));
        let config = site.path("waypost.toml").display().to_string();
        let output = site.command(&["check", "--config", &config]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(64), "{settings}: {said}");
        assert!(said.contains(why), "{settings}: {said}");
    }
}

#[test]
fn app_association_files_are_served_only_for_the_apps_a_host_names() {
    let apps =
        "app_links = { apple = [\"TEAM.com.shop\"], android = [{ package = \"com.shop\", sha256 = [\"AB:CD\"] }] }";
    let site = site(apps, &[on(HOST, &link("live"))]);
    for (path, holds) in [("apple-app-site-association", "TEAM.com.shop"), ("assetlinks.json", "com.shop")] {
        let path = format!("/.well-known/{path}");
        let answer = get(&site, &path, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
        assert!(serde_json::from_slice::<Value>(&answer.body).unwrap().to_string().contains(holds));
        assert_eq!(send_request(&site, "GET", "other.example.com", &path, &[]).status, 404, "{path}");
    }
    assert_eq!(get(&site, "/.well-known/security.txt", &[]).status, 404);
}

/// One request out of all combinations of signals.
#[derive(Clone, Copy, Debug)]
struct Case {
    method: &'static str,
    good_host: bool,
    long: bool,
    path: &'static str,
    prefetch: bool,
    app: bool,
    non_navigation: bool,
    gpc: bool,
    refused: bool,
    cookie: bool,
}

/// The expected answer, before GPC and consent take something away.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    status: u16,
    outcome: &'static str,
    sets_cookie: bool,
    token: bool,
}

/// An expected answer without cookie and token.
const fn row(status: u16, outcome: &'static str) -> Row {
    Row { status, outcome, sets_cookie: false, token: false }
}

/// Whether a rule applies to a request.
type Applies = fn(&Case) -> bool;

/// The rules in their order: the first one that applies decides.
const ROWS: [(Applies, Row); 14] = [
    (|case| case.method == "POST", row(405, "")),
    (|case| !case.good_host, row(400, "")),
    (|case| case.long, row(414, "")),
    (|case| case.path == "/robots.txt", row(200, "")),
    (|case| case.prefetch, row(503, "refused_prefetch")),
    (|case| case.path == "/nobody", row(404, "not_found")),
    (|case| case.app && case.path == "/old", row(410, "passed")),
    (|case| case.path == "/old", row(302, "passed")),
    (|case| case.path == "/off", row(410, "disabled")),
    (|case| case.app && case.method == "HEAD", row(200, "redirected")),
    (|case| case.method == "HEAD", row(302, "redirected")),
    (|case| case.app, Row { status: 200, outcome: "redirected", sets_cookie: false, token: true }),
    (|case| case.non_navigation, row(302, "redirected")),
    (|_| true, Row { status: 302, outcome: "redirected", sets_cookie: true, token: true }),
];

impl Case {
    /// Every combination of every signal.
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for method in ["GET", "HEAD", "POST"] {
            for path in ["/live", "/nobody", "/old", "/off", "/robots.txt"] {
                for bits in 0..256u32 {
                    let bit = |n: u32| bits >> n & 1 == 1;
                    cases.push(Case {
                        method,
                        path,
                        good_host: !bit(7),
                        long: bit(6),
                        prefetch: bit(5),
                        app: bit(4),
                        non_navigation: bit(3),
                        gpc: bit(2),
                        refused: bit(1),
                        cookie: bit(0),
                    });
                }
            }
        }
        cases
    }

    fn raw(&self, number: usize, cookie: &str) -> String {
        let pad = if self.long { "x".repeat(4097) } else { String::new() };
        let consent = if self.refused { "&cons=0" } else { "" };
        let mut raw = format!("{} {}?sub1={number}{consent}{pad} HTTP/1.1\r\n", self.method, self.path);
        let host = if self.good_host { "Host: other.example.com" } else { "Host: a b" };
        let lines = [
            (true, host),
            (self.prefetch, "Sec-Purpose: prefetch"),
            (self.app, "Accept: application/vnd.waypost.click+json"),
            (self.non_navigation, "Sec-Fetch-Dest: image"),
            (self.gpc, "Sec-GPC: 1"),
            (self.cookie, cookie),
        ];
        for (_, line) in lines.iter().filter(|(there, _)| *there) {
            raw += line;
            raw += "\r\n";
        }
        raw + "\r\n"
    }

    fn expected(&self) -> Row {
        ROWS.iter().find(|(applies, _)| applies(self)).expect("the last rule always applies").1
    }

    /// Checks the answer's status and headers.
    fn check_answer(&self, answer: &Answer) {
        let row = self.expected();
        assert_eq!(answer.status, row.status, "{self:?}");
        assert_eq!(answer.header("allow").is_some(), row.status == 405, "{self:?}");
        let no_store = if row.status == 302 { "private, no-store" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(no_store), "{self:?}");
        let unlinked = self.gpc || self.refused;
        let token = match answer.status {
            200 if row.token => {
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                body["click_token"].is_string()
            }
            _ => answer.token().is_some(),
        };
        assert_eq!(token, row.token && !self.refused, "{self:?}");
        let cookie = answer.header("set-cookie").map(|cookie| cookie.contains("Max-Age=0"));
        let expected = match (row.sets_cookie, unlinked) {
            (true, false) => Some(false),
            (true, true) if self.cookie => Some(true),
            _ => None,
        };
        assert_eq!(cookie, expected, "{self:?}");
    }
}

/// All 3840 combinations of signals, in the answer and in the event.
#[test]
fn the_first_rule_that_applies_decides_the_answer() {
    let site = Site::new(&[link("live"), expired("old"), disabled("off")])
        .config("[domains.\"*\"]\napp_resolves = true\n")
        .start();
    let cookie = format!("Cookie: {}", site.get("/live", &[]).cookie());
    let cases = Case::all();
    let mut wire = site.connect();
    for (number, case) in cases.iter().enumerate() {
        let answer = wire.send(&case.raw(number, &cookie));
        case.check_answer(&answer);
        if answer.header("connection") == Some("close") {
            wire = site.connect();
        }
    }
    let clicks: Vec<(usize, &Case)> =
        cases.iter().enumerate().filter(|(_, case)| !case.expected().outcome.is_empty()).collect();
    let recorded = until("every click's event", || {
        let all: Vec<Value> = site.events("clicks").into_iter().chain(site.events("clicks.orphan")).collect();
        (all.len() > clicks.len()).then_some(all)
    });
    assert_eq!(recorded.len(), clicks.len() + 1, "refused requests and fixed paths leave no event");
    let by_number: std::collections::HashMap<&str, &Value> =
        recorded.iter().filter_map(|event| Some((event["sub1"].as_str()?, event))).collect();
    for (number, case) in clicks {
        let event = by_number[&*number.to_string()];
        assert_eq!(event["outcome"], case.expected().outcome, "{case:?}");
        assert_eq!(event["status"], case.expected().status, "{case:?}");
        assert_eq!(event["countable"], false, "every link here is a test: {case:?}");
        let linked = event.get("visitor_id").is_some() || event.get("previous_click_id").is_some();
        assert!(!(linked && (case.gpc || case.refused)), "{case:?}");
        assert_eq!(event["client_ip"], if case.gpc || case.refused { "127.0.0.0" } else { "127.0.0.1" }, "{case:?}");
    }
}

#[test]
fn the_length_of_a_target_is_bounded_to_the_byte() {
    let site = Site::with_codes(&["live"]);
    for (target, long) in
        [(format!("/live?{}", "x".repeat(4090)), false), (format!("/live?{}", "x".repeat(4091)), true)]
    {
        assert_eq!(target.len() > 4096, long);
        assert_eq!(site.get(&target, &[]).status, if long { 414 } else { 302 });
    }
}

#[test]
fn a_url_of_the_host_gets_the_code_inside_a_segment_or_a_value() {
    let settings = format!(
        "not_found_url = \"{SHOP}/404/{{code}}?c={{code}}\"\nfallback_url = \"{SHOP}/gone?c={{code}}&x=1\"\n\
         root_url = \"{SHOP}/home/{{code}}\""
    );
    let site = site(&settings, &[on(HOST, &disabled("off"))]);
    for (path, expected) in [
        ("/nobody", "/404/nobody?c=nobody"),
        ("/a%2Fb%3Fc=d%26e%23f", "/404/a%2Fb%3Fc%3Dd%26e%23f?c=a%2Fb%3Fc%3Dd%26e%23f"),
        ("/%2E%2E", "/404/?c=.."),
        ("/https:%2F%2Fevil.example", "/404/https%3A%2F%2Fevil.example?c=https%3A%2F%2Fevil.example"),
        ("/off", "/gone?c=off&x=1"),
        ("/", "/home/"),
    ] {
        let answer = get(&site, path, &[]);
        assert_eq!((answer.status, location(&answer)), (302, &*format!("{SHOP}{expected}")), "{path}");
    }
    assert_eq!(event(&site, "clicks.orphan", "off")["destination"], format!("{SHOP}/gone?c=off&x=1"));
    for url in [
        "https://{code}.example.com/".to_owned(),
        format!("{SHOP}/?{{code}}=1"),
        format!("{SHOP}/#{{code}}"),
        format!("{SHOP}/{{sub1}}"),
    ] {
        let refused = Site::new(&[link("live")]).config(&format!("[domains.\"{HOST}\"]\nroot_url = \"{url}\"\n"));
        let (code, error) = refused.run_refused_start();
        assert!(code == Some(64) && error.contains("root_url") && error.contains("{code}"), "{url}: {error}");
    }
}

#[test]
fn a_host_that_is_not_configured_is_served_or_refused_as_the_star_says() {
    let links = [on(HOST, &link("mine")), link("theirs")];
    let with_star = |settings: &str| {
        Site::new(&links).config(&format!("[domains.\"{HOST}\"]\n[domains.\"*\"]\n{settings}\n")).start()
    };
    let serving = with_star("");
    assert_eq!(send_request(&serving, "GET", "other.example.com", "/theirs", &[]).status, 302);
    let refusing = with_star("unknown_hosts = \"refuse\"");
    for path in ["/theirs", "/nobody", "/", "/robots.txt", "/.well-known/assetlinks.json"] {
        let answer = send_request(&refusing, "GET", "other.example.com", path, &[]);
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.header("location").is_none() && answer.header("set-cookie").is_none(), "{path}");
    }
    assert_eq!(send_request(&refusing, "GET", HOST, "/mine", &[]).status, 302);
    until("the refused requests are counted", || {
        let refused = refusing.metric("waypost_requests_refused_total", "reason=\"unknown_host\"");
        (refused == 5.0).then_some(())
    });
    let output = refusing.command(&["check", "--links", "links.jsonl", "--config", "waypost.toml"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("links.jsonl:2:") && shown.contains("is reached by no request"), "{shown}");
    let (code, error) =
        Site::new(&links).config(&format!("[domains.\"{HOST}\"]\nunknown_hosts = \"refuse\"\n")).run_refused_start();
    assert!(code == Some(64) && error.contains("unknown_hosts"), "{error}");
}

#[test]
fn a_plus_behind_the_code_shows_where_the_link_leads_and_is_no_click() {
    let site = site("", &[on(HOST, &link("live")), on(HOST, &expired("old")), on(HOST, &disabled("off"))]);
    let answer = get(&site, "/live+", &[]);
    assert_eq!((answer.status, answer.header("location"), answer.header("set-cookie")), (200, None, None));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = answer.text();
    for part in [
        "https://<b>shop.example.com</b>/",
        "Works until",
        "c_1",
        "name=\"robots\" content=\"noindex\"",
        "href=\"/live\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("wp="), "{page}");
    assert_eq!(send_request(&site, "HEAD", HOST, "/live+", &[]).status, 200);
    for (path, state) in [("/old+", "It has ended."), ("/off+", "It is switched off.")] {
        let page = get(&site, path, &[]).text();
        assert!(page.contains(state) && !page.contains("href"), "{page}");
    }
    // A code that no link has is looked for as ever, and so is each of them where the host has no such page.
    assert_eq!(get(&site, "/nobody+", &[]).status, 404);
    assert_eq!(get(&site, "/live", &[]).status, 302);
    assert_eq!(event(&site, "clicks", "live")["code"], "live");
    assert_eq!(site.events("clicks").len(), 1);

    let without = self::site("info_page = false", &[on(HOST, &link("live"))]);
    assert_eq!(get(&without, "/live+", &[]).status, 302);
    assert_eq!(event(&without, "clicks", "live")["repaired"], true);
}
