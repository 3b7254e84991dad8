//! Countries, networks and data centres from MMDB files that the tests make: where a click ends, what its event says,
//! and what happens to files that are bad.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use self::mmdb_writer::MmdbWriter;
use crate::dsl::{PHONE_BROWSER, Site, StopOnDrop, files_below, link, request, until};

#[path = "../../src/geoip/tests/mmdb_writer.rs"]
mod mmdb_writer;

const CONFIG: &str = "[edge]\ntrusted_proxies = [\"127.0.0.0/8\"]\ncountry_header = \"CF-IPCountry\"\n\
                      region_header = \"CF-Region-Code\"\n[geoip]\ncountry_file = \"country.mmdb\"\n";

/// A link whose targets lead to `https://shop.example.com/0`, `/1` and so on, by these conditions.
fn link_by(code: &str, conditions: &[Value]) -> String {
    let target = |(at, when): (usize, &Value)| json!({"when": when, "url": format!("https://shop.example.com/{at}")});
    let targets: Vec<Value> = conditions.iter().enumerate().map(target).collect();
    let link = json!({"code": code, "url": "https://shop.example.com/own", "kind": "plain", "creator": "c_1",
        "test": true, "append_token": false, "targets": targets});
    link.to_string()
}

/// `198.51.100.0/24` is in this country; `192.0.2.0/24` in California, `2001:db8::/32` in Vietnam.
fn countries(changing: &str) -> Vec<u8> {
    let california = json!({"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "CA"}]});
    let networks = [
        ("192.0.2.0/24", california),
        ("198.51.100.0/24", json!({"country": {"iso_code": changing}})),
        ("2001:db8::/32", json!({"country": {"iso_code": "VN"}})),
    ];
    MmdbWriter::new("Test-City", &networks).to_bytes()
}

/// Replaces a file atomically, by a rename.
fn replace(site: &Site, name: &str, bytes: &[u8]) {
    std::fs::write(site.path("fresh"), bytes).unwrap();
    std::fs::rename(site.path("fresh"), site.path(name)).unwrap();
}

fn site(links: &[String]) -> Site {
    let site = Site::new(links).config(CONFIG);
    replace(&site, "country.mmdb", &countries("KR"));
    site
}

/// The path of the destination of a tap through a proxy, from this address.
fn path_of(site: &Site, target: &str, address: &str, headers: &[&str]) -> String {
    let forwarded = format!("X-Forwarded-For: {address}");
    let answer = site.get(target, &[&[&*forwarded], headers].concat());
    assert_eq!(answer.status, 302, "{target} {address}");
    answer.header("location").unwrap().strip_prefix("https://shop.example.com").unwrap().to_owned()
}

#[test]
fn a_country_comes_from_the_file_and_a_proxys_header_goes_before_it() {
    let conditions = [json!({"region": "US-CA"}), json!({"country": ["VN", "US"]}), json!({"not": {"country": "KR"}})];
    let site = site(&[link_by("place", &conditions), link_by("other", &[json!({"os": "ios"})])]).start();
    for (address, headers, expected) in [
        ("192.0.2.7", &[][..], "/0"),
        ("198.51.100.7", &[], "/own"),
        ("2001:db8:7::1", &[], "/1"),
        ("203.0.113.7", &[], "/own"),
        ("203.0.113.7", &["CF-IPCountry: DE"], "/2"),
        ("198.51.100.7", &["CF-IPCountry: VN"], "/1"),
        ("198.51.100.7", &["CF-IPCountry: XX"], "/own"),
        // The file's region is one of its country, which is not the header's.
        ("192.0.2.7", &["CF-IPCountry: VN"], "/1"),
        ("192.0.2.7", &["CF-IPCountry: US"], "/0"),
        ("192.0.2.7", &["CF-IPCountry: US", "CF-Region-Code: NY"], "/1"),
    ] {
        assert_eq!(path_of(&site, "/place", address, headers), expected, "{address} {headers:?}");
    }
    path_of(&site, "/other", "198.51.100.7", &[]);
    let events = site.wait_for_events("clicks", 11);
    let told = |event: &Value| ["target_facts", "country", "region"].map(|key| event[key].as_str().map(str::to_owned));
    let expect = |facts: &str, country: Option<&str>, region: Option<&str>| {
        [Some(facts.to_owned()), country.map(str::to_owned), region.map(str::to_owned)]
    };
    assert_eq!(told(&events[0]), expect("country=US;region=CA", Some("US"), Some("US-CA")));
    assert_eq!(told(&events[1]), expect("country=KR;region=unknown", Some("KR"), None));
    assert_eq!(told(&events[3]), expect("country=unknown;region=unknown", None, None));
    // An event names one country, that of the choice.
    assert_eq!(told(&events[5]), expect("country=VN;region=unknown", Some("VN"), None));
    assert_eq!(told(&events[9]), expect("country=US;region=NY", Some("US"), Some("US-NY")));
    assert_eq!(told(&events[10]), expect("os=other", Some("KR"), None));
}

#[test]
fn without_a_file_no_country_is_known_and_no_event_names_one() {
    let conditions = [json!({"country": "KR"}), json!({"not": {"country": "KR"}})];
    let site = Site::new(&[link_by("place", &conditions)]).config("[edge]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    let site = site.start();
    assert_eq!(path_of(&site, "/place", "198.51.100.7", &[]), "/own");
    let event = &site.wait_for_events("clicks", 1)[0];
    for field in ["country", "region", "asn", "network_name", "data_centre"] {
        assert!(event.get(field).is_none(), "{event}");
    }
}

#[test]
fn labels_follow_as_much_of_the_address_as_the_click_keeps() {
    let hosts = ["full", "truncated", "none"];
    let on = |host: &&str| link("tea").replacen('{', &format!(r#"{{"domain":"{host}.example.com","#), 1);
    let domains = hosts.map(|host| format!("[domains.\"{host}.example.com\"]\nclient_ip = \"{host}\"\n")).concat();
    let files = "network_file = \"network.mmdb\"\ndata_centre_file = \"hosting.mmdb\"\n";
    let site = Site::new(&hosts.iter().map(on).collect::<Vec<_>>()).config(&format!("{CONFIG}{files}{domains}"));
    let network =
        |number: u32, name: &str| json!({"autonomous_system_number": number, "autonomous_system_organization": name});
    let networks = [("192.0.2.0/24", network(64500, "Around")), ("192.0.2.128/25", network(64501, "Upper \"half\""))];
    replace(&site, "country.mmdb", &countries("KR"));
    replace(&site, "network.mmdb", &MmdbWriter::new("ASN", &networks).to_bytes());
    let hosting = [("192.0.2.200/32", json!({"is_hosting_provider": true}))];
    replace(&site, "hosting.mmdb", &MmdbWriter::new("Anonymous", &hosting).to_bytes());
    let site = site.start();
    let tap = |host: &str, target: &str| {
        let forwarded = ["X-Forwarded-For: 192.0.2.200"];
        let text = request("GET", target, &[&forwarded[..], &PHONE_BROWSER].concat());
        site.send(&text.replace("go.example.com", &format!("{host}.example.com")));
    };
    hosts.iter().for_each(|host| tap(host, "/tea"));
    tap("full", "/tea?cons=0");
    let events = site.wait_for_events("clicks", 4);
    let labels = |event: &Value| {
        let fields = ["client_ip", "country", "region", "asn", "network_name", "data_centre"];
        Value::from(fields.map(|key| event[key].clone()).to_vec())
    };
    assert_eq!(labels(&events[0]), json!(["192.0.2.200", "US", "US-CA", 64501, "Upper \"half\"", true]));
    assert_eq!(labels(&events[1]), json!(["192.0.2.0", "US", "US-CA", 64500, "Around", false]));
    assert_eq!(labels(&events[2]), json!([null, null, null, null, null, null]));
    assert_eq!(events[3]["privacy_mode"], "strict");
    assert_eq!(labels(&events[3]), json!(["192.0.2.0", null, null, null, null, null]));
    assert!(events.iter().all(|event| event["class"] == "human"), "labels of the address decide nothing");

    let id = events[0]["click_id"].as_str().unwrap();
    let data = site.data().display().to_string();
    let said = site.command(&["clicks", "why", "--data-dir", &data, id]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("address    US-CA, AS64501 (Upper \"half\"), data centre\n"), "{said}");
}

#[test]
fn under_strict_the_journal_holds_the_country_that_a_target_asked_for_and_nothing_else_of_the_address() {
    let domain = "[domains.\"*\"]\nclient_ip = \"none\"\n";
    let links = [link_by("asks", &[json!({"country": "US"})]), link_by("silent", &[json!({"os": "ios"})])];
    let site = Site::new(&links).config(&format!("{CONFIG}{domain}"));
    replace(&site, "country.mmdb", &countries("KR"));
    let site = site.start();
    assert_eq!(path_of(&site, "/asks?cons=0", "192.0.2.200", &[]), "/0");
    path_of(&site, "/silent?cons=0", "192.0.2.201", &[]);
    let events = site.wait_for_events("clicks", 2);
    assert_eq!((&events[0]["target_facts"], &events[1]["target_facts"]), (&json!("country=US"), &json!("os=other")));
    // The bytes of the journal, and the click file. The catalog beside them holds the links.
    let folders = ["journal", "clicks"].map(|dir| site.data().join(dir)).to_vec();
    let mut seen = 0;
    for (path, bytes) in files_below(folders) {
        seen += memchr::memmem::find_iter(&bytes, b"country=US").count();
        let addresses = [&b"192.0.2.20"[..], &[192, 0, 2, 200], &[192, 0, 2, 201], &[192, 0, 2, 0]];
        for unasked in addresses.into_iter().chain([&b"region="[..], b"\"country\"", b"US-CA"]) {
            assert!(memchr::memmem::find(&bytes, unasked).is_none(), "{unasked:?} in {}", path.display());
        }
    }
    assert!(seen >= 2, "in the journal and in the click file");
}

#[test]
fn in_each_mode_of_addresses_the_journal_holds_the_country_and_as_much_of_the_address_as_the_mode_says() {
    let modes = ["full", "truncated", "none"];
    let domain = |mode: &&str| format!("[domains.\"{mode}.example.com\"]\nclient_ip = \"{mode}\"\n");
    let link = link_by("asks", &[json!({"country": "US"})]);
    let on = |mode: &&str| link.replacen('{', &format!(r#"{{"domain":"{mode}.example.com","#), 1);
    let settings = format!("{CONFIG}{}", modes.iter().map(domain).collect::<String>());
    let site = Site::new(&modes.iter().map(on).collect::<Vec<_>>()).config(&settings);
    replace(&site, "country.mmdb", &countries("KR"));
    let site = site.start();
    for (mode, host) in modes.iter().zip([201, 202, 203]) {
        let tap = request("GET", "/asks", &[&format!("X-Forwarded-For: 192.0.2.{host}")]);
        let answer = site.send(&tap.replace("go.example.com", &format!("{mode}.example.com")));
        assert!(answer.header("location").unwrap().ends_with("/0"), "{mode}: {answer:?}");
    }
    let events = site.wait_for_events("clicks", 3);
    let addresses: Vec<&Value> = events.iter().map(|event| &event["client_ip"]).collect();
    assert_eq!(addresses, [&json!("192.0.2.201"), &json!("192.0.2.0"), &Value::Null]);
    assert!(events.iter().all(|event| event["target_facts"] == "country=US"), "{events:?}");
    // In the journal an address is its bytes. Only the whole one is there.
    let mut found = [0; 3];
    for (_, bytes) in files_below(vec![site.data().join("journal")]) {
        for (found, host) in found.iter_mut().zip([201, 202, 203]) {
            *found += memchr::memmem::find_iter(&bytes, &[192, 0, 2, host]).count();
        }
    }
    assert!(found[0] > 0 && found[1..] == [0, 0], "{found:?}");
}

#[test]
fn a_reload_under_load_changes_the_country_and_a_bad_file_keeps_the_old_one_without_a_failed_click() {
    let site = site(&[link_by("place", &[json!({"country": "KR"}), json!({"country": "VN"})])]).start();
    let (stop, clicks) = (AtomicBool::new(false), AtomicU64::new(0));
    let ask = || path_of(&site, "/place", "198.51.100.7", &[]);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut connection = site.connect();
                while !stop.load(Ordering::Relaxed) {
                    let tap = request("GET", "/place", &["X-Forwarded-For: 198.51.100.7"]);
                    let answer = connection.send(&tap);
                    let location = answer.header("location").unwrap();
                    assert!(
                        answer.status == 302 && (location.ends_with("/0") || location.ends_with("/1")),
                        "{answer:?}"
                    );
                    clicks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        assert_eq!(ask(), "/0");
        replace(&site, "country.mmdb", &countries("VN"));
        until("the new country", || (ask() == "/1").then_some(()));
        assert!(site.metric("waypost_geoip_reloads_total", "database=\"country\",result=\"ok\"") >= 1.0);
        let whole = countries("KR");
        let asn = [("198.51.100.0/24", json!({"autonomous_system_number": 64500}))];
        let refused = || site.metric("waypost_geoip_reloads_total", "database=\"country\",result=\"refused\"");
        for (bad, why) in [
            (whole[..whole.len() / 2].to_vec(), "country.mmdb: is no whole MMDB file"),
            (MmdbWriter::new("Test-ASN", &asn).to_bytes(), "its type is \\\"Test-ASN\\\""),
        ] {
            let before = refused();
            replace(&site, "country.mmdb", &bad);
            until("the refusal", || (refused() > before).then_some(()));
            let line = site.wait_for_log(why);
            assert!(line.contains("geoip.country_file") && line.contains("its last version answers on"), "{line}");
            assert_eq!(ask(), "/1");
        }
        site.wait_for_fault("geoip_refused", "none", "geoip-stale");
        std::fs::remove_file(site.path("country.mmdb")).unwrap();
        site.wait_for_fault("geoip_unreadable", "none", "geoip-stale");
        assert_eq!(ask(), "/1");
        replace(&site, "country.mmdb", &whole);
        until("the country of the good file", || (ask() == "/0").then_some(()));
    });
    assert!(clicks.load(Ordering::Relaxed) > 100, "the load ran");
    assert_eq!(site.metric("waypost_geoip_build_timestamp_seconds", "country"), 1_795_000_000.0);
}

#[test]
fn a_start_and_a_check_name_each_file_that_cannot_be_used() {
    let files = "network_file = \"country.mmdb\"\ndata_centre_file = \"absent.mmdb\"\n";
    let site = Site::new(&[link("tea")]).config(&format!("{CONFIG}{files}"));
    replace(&site, "country.mmdb", &countries("KR")[..200]);
    let expected = [
        "geoip.country_file: country.mmdb: is no whole MMDB file",
        "geoip.network_file: country.mmdb: is no whole MMDB file",
        "geoip.data_centre_file: absent.mmdb: cannot be read: No such file",
    ];
    let (code, said) = site.run_refused_start();
    assert!(code == Some(1) && expected.iter().all(|line| said.contains(line)), "{code:?} {said}");
    let check =
        |site: &Site| site.command(&["check", "--config", "waypost.toml", "--data-dir", "data"]).output().unwrap();
    let checked = check(&site);
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.code() == Some(64) && expected.iter().all(|line| said.contains(line)), "{said}");
    let good = self::site(&[link("tea")]);
    let said = String::from_utf8(check(&good).stdout).unwrap();
    assert!(said.contains("geoip: good, country from Test-City of 2026-11-18T11:06:40Z\n"), "{said}");
}

#[test]
fn explain_tells_the_country_with_who_said_it() {
    let site = site(&[link_by("place", &[json!({"region": "US-CA"})])]);
    let explain = |more: &[&str]| -> Value {
        let url = "http://go.example.com/place";
        let args = ["explain", "--json", "--config", "waypost.toml", "--links", "links.jsonl", url];
        let output = site.command(&[&args[..], more].concat()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let told = |found: &Value, name: &str| {
        let checks = found["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).unwrap()["result"].as_str().unwrap().to_owned()
    };
    let by_file = explain(&["--client", "192.0.2.7"]);
    assert_eq!(told(&by_file, "client_address"), "192.0.2.7 (peer)");
    assert_eq!(told(&by_file, "country"), "US (geoip.country_file)");
    assert_eq!(told(&by_file, "region"), "CA (geoip.country_file)");
    assert_eq!((told(&by_file, "target"), &by_file["event"]["region"]), ("targets/0".to_owned(), &json!("US-CA")));
    let by_header = explain(&["-H", "X-Forwarded-For: 192.0.2.7", "-H", "CF-IPCountry: DE"]);
    assert_eq!(told(&by_header, "country"), "DE (a proxy's header)");
    assert_eq!((told(&by_header, "region"), &by_header["event"]["country"]), ("unknown".to_owned(), &json!("DE")));
    assert_eq!(told(&explain(&[]), "country"), "unknown");
}
