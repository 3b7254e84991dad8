//! TLS on the wire: which certificate, which version, resumption, reload under load, and everything that is no handshake.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rustls::{HandshakeKind, ProtocolVersion};

use crate::{
    dsl::{Site, Stop, Wire, link, until},
    pairs::{ask, client, client_of, dial, listening, made, made_until, site, write_pair},
};

#[test]
fn the_certificate_is_chosen_by_the_name_the_client_asks_for_and_the_first_is_the_default() {
    let (first, go, wild) = (made(&["first.example"]), made(&["go.example.com"]), made(&["*.shop.example"]));
    let site = site(&[("a", &first), ("b", &go), ("c", &wild)]).start();
    for (name, pair) in
        [("go.example.com", &go), ("GO.example.com", &go), ("x.shop.example", &wild), ("first.example", &first)]
    {
        let mut tls = dial(&Arc::new(client(&[pair])), site.listen(), name).unwrap();
        assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"), "{name}");
    }
    // A wildcard stands for one label; nobody has this name, so the first is shown, which is not its own.
    let shown = dial(&Arc::new(client(&[&first, &go, &wild])), site.listen(), "a.b.shop.example").unwrap_err();
    assert!(shown.to_string().contains("not valid for name"), "{shown}");
    assert_eq!(site.metric("waypost_tls_cert_not_after_seconds", "name=\"*.shop.example\""), 67_090_118_400.0);
}

#[test]
fn tls_1_3_and_1_2_are_spoken_and_1_1_is_not() {
    let pair = made(&["go.example.com"]);
    let site = site(&[("a", &pair)]).start();
    for (version, said) in
        [(&rustls::version::TLS13, ProtocolVersion::TLSv1_3), (&rustls::version::TLS12, ProtocolVersion::TLSv1_2)]
    {
        let mut tls = dial(&Arc::new(client_of(&[&pair], &[version])), site.listen(), "go.example.com").unwrap();
        assert_eq!(tls.conn.protocol_version(), Some(said));
        assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    }
    assert_eq!(site.metric("waypost_tls_sessions_total", "version=\"1.2\""), 1.0);
    // A hello of TLS 1.1, byte by byte: record, handshake, version 3.2, random, no session, one cipher, no compression.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut wire = site.wire();
    assert!(wire.write_bytes(&hello));
    // A fatal alert, handshake_failure: it names no signature that TLS 1.2 knows.
    assert_eq!(wire.closed_with(), [21, 3, 3, 0, 2, 2, 40]);
    until("the old version is counted", || {
        (site.metric("waypost_tls_handshakes_total", "result=\"incompatible\"") == 1.0).then_some(())
    });
}

#[test]
fn a_client_resumes_at_any_worker_and_without_early_data() {
    let pair = made(&["go.example.com"]);
    let site = site(&[("a", &pair)]).env("WAYPOST__EDGE__WORKERS", "3").start();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = client_of(&[&pair], &[version]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        for round in 0..24 {
            let mut tls = dial(&config, site.listen(), "go.example.com").unwrap();
            assert!(!tls.conn.is_early_data_accepted());
            assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
            let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, round > 0, "{version:?}, connection {round}");
        }
    }
    assert_eq!(site.metric("waypost_tls_sessions_total", "resumed=\"yes\""), 46.0);
}

#[test]
fn what_is_no_tls_is_closed_and_counted_and_so_is_a_handshake_that_does_not_end() {
    let pair = made(&["go.example.com"]);
    let site = site(&[("a", &pair)]).env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "300ms").start();
    for junk in ["GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n", "\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n"] {
        let mut wire = site.wire();
        wire.write(junk);
        assert!(wire.closed_with().len() <= 7, "an alert at most");
    }
    until("junk is counted", || (site.metric("waypost_tls_handshakes_total", "result=\"junk\"") == 3.0).then_some(()));
    until("their ends are counted", || {
        (site.metric("waypost_connections_closed_total", "reason=\"handshake\"") == 3.0).then_some(())
    });
    // Silent, and in the middle of a record.
    let begun = Instant::now();
    let (mut silent, mut half) = (site.wire(), site.wire());
    half.write_bytes(&[22, 3, 1, 1, 0, 1]);
    assert!(silent.closed_with().is_empty() && half.closed_with().is_empty());
    assert!(begun.elapsed().as_millis() >= 290);
    until("both are counted", || {
        (site.metric("waypost_connections_closed_total", "reason=\"handshake_timeout\"") == 2.0).then_some(())
    });
    assert_eq!(site.metric("waypost_clicks_total", ""), 0.0);
}

#[test]
fn certificates_change_under_load_and_no_click_fails() {
    let (old, new) = (made(&["go.example.com"]), made(&["go.example.com"]));
    let site = site(&[("a", &old)]).start();
    let both = Arc::new(client(&[&old, &new]));
    let mut kept = dial(&both, site.listen(), "go.example.com").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let clicks = scope.spawn(|| {
            let mut clicks = 0;
            while !stop.load(Ordering::Relaxed) {
                // No tickets of the last connection: every handshake shows a certificate.
                let fresh = Arc::new(client(&[&old, &new]));
                let mut tls = dial(&fresh, site.listen(), "go.example.com").unwrap();
                assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
                clicks += 1;
            }
            clicks
        });
        write_pair(&site, "a", &new);
        until("only the new one is shown", || dial(&Arc::new(client(&[&new])), site.listen(), "go.example.com").ok());
        write_pair(&site, "a", &old);
        site.signal("-HUP");
        until("the old one is back", || dial(&Arc::new(client(&[&old])), site.listen(), "go.example.com").ok());
        stop.store(true, Ordering::Relaxed);
        assert!(clicks.join().unwrap() > 0);
    });
    assert!(ask(&mut kept, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"), "a connection from before");
    assert!(site.metric("waypost_tls_reloads_total", "result=\"taken\"") >= 2.0);
}

#[test]
fn a_bad_new_pair_keeps_the_old_one_and_says_why() {
    let (old, other) = (made(&["go.example.com"]), made(&["other.example"]));
    let expired = made_until(&["go.example.com"], 2001);
    let site = site(&[("a", &old), ("b", &other)]).start();
    let trusting = Arc::new(client(&[&old]));
    let cases = [
        (expired.0.as_str(), expired.1.as_str(), "has expired"),
        (old.0.as_str(), other.1.as_str(), "not the key of"),
        ("no PEM at all", old.1.as_str(), "no certificate in PEM"),
        (old.0.as_str(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not the key of"),
    ];
    for (number, (cert, key, why)) in cases.iter().enumerate() {
        write_pair(&site, "a", &((*cert).to_owned(), (*key).to_owned()));
        site.signal("-HUP");
        site.logged(why);
        until("it is counted", || {
            (site.metric("waypost_tls_reloads_total", "result=\"refused\"") > number as f64).then_some(())
        });
        let mut tls = dial(&trusting, site.listen(), "go.example.com").unwrap();
        assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"), "{why}");
    }
    site.tells("certificate_refused", "bounded", "certificate-ends");
    // The neighbour is taken all the same.
    let renewed = made(&["other.example"]);
    write_pair(&site, "b", &renewed);
    until("the neighbour is renewed", || dial(&Arc::new(client(&[&renewed])), site.listen(), "other.example").ok());
}

#[test]
fn a_start_with_a_bad_pair_is_refused_with_the_file_and_what_to_do() {
    let (one, two) = (made(&["one.example"]), made(&["two.example"]));
    let mixed = site(&[("a", &(one.0.clone(), two.1.clone())), ("b", &("x".to_owned(), two.1.clone()))]);
    let (code, told) = mixed.refused();
    assert_ne!(code, Some(0));
    for part in ["tls/a.key: not the key of tls/a.crt", "tls/b.crt: no certificate in PEM", "give the key that"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let none = listening(Site::new(&[link("live")]), "");
    let (code, told) = none.refused();
    assert!(code == Some(64) && told.contains("tls.certificates: none, and a listener"), "{told}");
}

#[test]
fn curl_and_openssl_follow_the_same_link() {
    let pair = made(&["go.example.com"]);
    let site = site(&[("a", &pair)]).start();
    let port = site.listen().port();
    if Path::new("/usr/bin/curl").exists() {
        let to = format!("go.example.com:{port}:127.0.0.1");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "--noproxy", "*", "--resolve", &to]);
        curl.arg("--cacert").arg(site.path("tls/a.crt")).arg(format!("https://go.example.com:{port}/live"));
        let output = curl.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("302 https://shop.example.com/view/live"), "{said}");
    }
    if Path::new("/usr/bin/openssl").exists() {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &site.listen().to_string(), "-servername", "go.example.com"]);
        client.args(["-alpn", "http/1.1", "-verify_return_error", "-CAfile"]).arg(site.path("tls/a.crt"));
        let output = client.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: http/1.1"), "{said}");
    }
}

#[test]
fn a_plain_listener_sends_clients_to_https_for_hosts_with_a_certificate_and_answers_others_at_once() {
    let pair = made(&["go.example.com"]);
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    write_pair(&site, "a", &pair);
    let site = listening(site, ", upgrade = true").start();
    let plain = |host: &str, path: &str| {
        Wire::to(site.listens()[1]).send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for path in ["/live?a=%2F%2f&b&&=", "//evil.example/x", "/", "/robots.txt?", "/nobody"] {
        let answer = plain("go.example.com:8080", path);
        assert_eq!((answer.status, answer.header("location")), (302, Some(&*format!("https://go.example.com{path}"))));
        assert!(answer.header("cache-control").unwrap().contains("no-store") && answer.header("set-cookie").is_none());
    }
    let other = plain("evil.example", "/live");
    assert!(other.header("location").unwrap().starts_with("https://shop.example.com/view/live"));
    until("they are counted", || (site.metric("waypost_requests_upgraded_total", "") == 5.0).then_some(()));
    assert_eq!(site.metric("waypost_clicks_total", ""), 1.0, "of the host without a certificate");
}

#[test]
fn hsts_is_said_over_tls_alone_and_a_domain_has_its_own() {
    let pair = made(&["go.example.com", "own.example"]);
    let site = Site::new(&[link("live")])
        .env("WAYPOST__TLS__DIRECTORY", "tls")
        .env("WAYPOST__TLS__HSTS", "max-age=600")
        .env("WAYPOST__DOMAINS__OWN_EXAMPLE__HSTS", "max-age=0; includeSubDomains");
    write_pair(&site, "a", &pair);
    let site = listening(site, "").start();
    let config = Arc::new(client(&[&pair]));
    for (host, said) in [("go.example.com", "max-age=600"), ("own.example", "max-age=0; includeSubDomains")] {
        for path in ["/live", "/", "/nobody"] {
            let mut tls = dial(&config, site.listen(), host).unwrap();
            tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
                .unwrap();
            let mut answer = String::new();
            tls.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(&format!("\r\nstrict-transport-security: {said}\r\n")), "{host}{path}: {answer}");
        }
    }
    let plain = Wire::to(site.listens()[1]).send("GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n");
    assert!(plain.status == 302 && plain.header("strict-transport-security").is_none());
    let (code, told) = Site::new(&[]).env("WAYPOST__TLS__HSTS", "always").refused();
    assert!(code == Some(64) && told.contains("tls.hsts: \"always\"; allowed: max-age=SECONDS"), "{told}");
}

#[test]
fn challenges_of_an_acme_client_are_answered_as_they_are_written_and_nothing_else_of_the_disk() {
    let pair = made(&["go.example.com"]);
    let site =
        Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls").env("WAYPOST__TLS__ACME_CHALLENGES", "acme");
    write_pair(&site, "a", &pair);
    std::fs::create_dir(site.path("acme")).unwrap();
    let site = listening(site, ", upgrade = true").start();
    let get = |name: &str| {
        let path = format!("/.well-known/acme-challenge/{name}");
        Wire::to(site.listens()[1]).send(&format!("GET {path} HTTP/1.1\r\nHost: new.example\r\n\r\n"))
    };
    std::os::unix::fs::symlink(site.path("links.jsonl"), site.path("acme/link")).unwrap();
    std::fs::write(site.path("acme/a.b"), "no token").unwrap();
    std::fs::write(site.path("acme/to-ken_1"), "to-ken_1.thumbprint").unwrap();
    until("the challenge is answered", || (get("to-ken_1").body == b"to-ken_1.thumbprint").then_some(()));
    for other in ["link", "a.b", "", "../links.jsonl", "..%2flinks.jsonl", "to-ken_1/"] {
        assert_eq!(get(other).status, 404, "{other}");
    }
    std::fs::remove_file(site.path("acme/to-ken_1")).unwrap();
    until("it is gone with its file", || (get("to-ken_1").status == 404).then_some(()));
    assert_eq!(site.metric("waypost_clicks_total", ""), 0.0);
}
