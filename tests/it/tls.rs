//! TLS on the wire: certificates by name, versions, resumption, reloads under load, and `https` redirects.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{HandshakeKind, ProtocolVersion};

use crate::{
    dsl::{Connection, Site, StopOnDrop, link, until},
    tls_client::{
        client_trusting, client_trusting_with_versions, connect_tls, get_and_close, self_signed, self_signed_until,
        tls_site, with_tls_listener, write_certificate,
    },
};

#[test]
fn the_certificate_is_chosen_by_server_name_and_the_first_is_the_default() {
    let (first, go, wild) =
        (self_signed(&["first.example"]), self_signed(&["go.example.com"]), self_signed(&["*.shop.example"]));
    let site = tls_site(&[("a", &first), ("b", &go), ("c", &wild)]).start();
    for (name, pair) in
        [("go.example.com", &go), ("GO.example.com", &go), ("x.shop.example", &wild), ("first.example", &first)]
    {
        let mut tls = connect_tls(&Arc::new(client_trusting(&[pair])), site.listen(), name).unwrap();
        assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"), "{name}");
    }
    // A wildcard stands for one label. No certificate has this name, so the client gets the first one.
    let shown =
        connect_tls(&Arc::new(client_trusting(&[&first, &go, &wild])), site.listen(), "a.b.shop.example").unwrap_err();
    assert!(shown.to_string().contains("not valid for name"), "{shown}");
    assert_eq!(
        site.metric("waypost_tls_certificate_expiry_timestamp_seconds", "name=\"*.shop.example\""),
        67_090_118_400.0
    );
}

#[test]
fn tls_1_3_and_1_2_are_accepted_and_1_1_is_not() {
    let pair = self_signed(&["go.example.com"]);
    let site = tls_site(&[("a", &pair)]).start();
    for (version, said) in
        [(&rustls::version::TLS13, ProtocolVersion::TLSv1_3), (&rustls::version::TLS12, ProtocolVersion::TLSv1_2)]
    {
        let mut tls = connect_tls(
            &Arc::new(client_trusting_with_versions(&[&pair], &[version])),
            site.listen(),
            "go.example.com",
        )
        .unwrap();
        assert_eq!(tls.conn.protocol_version(), Some(said));
        assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    }
    assert_eq!(site.metric("waypost_tls_sessions_total", "version=\"1.2\""), 1.0);
    // A hello of TLS 1.1, byte by byte: record, handshake, version 3.2, random, no session, one cipher, no compression.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut wire = site.connect();
    assert!(wire.write_bytes(&hello));
    // A fatal alert, handshake_failure: it names no signature that TLS 1.2 knows.
    assert_eq!(wire.read_until_closed(), [21, 3, 3, 0, 2, 2, 40]);
    until("the old version is counted", || {
        (site.metric("waypost_tls_handshakes_total", "result=\"incompatible\"") == 1.0).then_some(())
    });
}

#[test]
fn a_client_resumes_at_any_worker_and_without_early_data() {
    let pair = self_signed(&["go.example.com"]);
    let site = tls_site(&[("a", &pair)]).env("WAYPOST__EDGE__WORKERS", "3").start();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = client_trusting_with_versions(&[&pair], &[version]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        for round in 0..24 {
            let mut tls = connect_tls(&config, site.listen(), "go.example.com").unwrap();
            assert!(!tls.conn.is_early_data_accepted());
            assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
            let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, round > 0, "{version:?}, connection {round}");
        }
    }
    assert_eq!(site.metric("waypost_tls_sessions_total", "resumed=\"yes\""), 46.0);
}

#[test]
fn input_that_is_no_tls_and_handshakes_that_do_not_end_are_closed_and_counted() {
    let pair = self_signed(&["go.example.com"]);
    let site = tls_site(&[("a", &pair)]).env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "3s").start();
    for junk in ["GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n", "\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n"] {
        let mut wire = site.connect();
        wire.write(junk);
        assert!(wire.read_until_closed().len() <= 7, "no more than an alert");
    }
    until("junk is counted", || (site.metric("waypost_tls_handshakes_total", "result=\"junk\"") == 3.0).then_some(()));
    until("their ends are counted", || {
        (site.metric("waypost_connections_closed_total", "reason=\"handshake\"") == 3.0).then_some(())
    });
    // One is silent, one stops within a record.
    let start = Instant::now();
    let (mut silent, mut half) = (site.connect(), site.connect());
    half.write_bytes(&[22, 3, 1, 1, 0, 1]);
    assert!(silent.read_until_closed().is_empty() && half.read_until_closed().is_empty());
    assert!(start.elapsed() >= Duration::from_secs(3));
    until("both are counted", || {
        (site.metric("waypost_connections_closed_total", "reason=\"handshake_timeout\"") == 2.0).then_some(())
    });
    assert_eq!(site.metric("waypost_clicks_total", ""), 0.0);
}

#[test]
fn no_click_fails_while_certificates_change_under_load() {
    let (old, new) = (self_signed(&["go.example.com"]), self_signed(&["go.example.com"]));
    let site = tls_site(&[("a", &old)]).start();
    let both = Arc::new(client_trusting(&[&old, &new]));
    let mut kept = connect_tls(&both, site.listen(), "go.example.com").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let clicks = scope.spawn(|| {
            let mut clicks = 0;
            while !stop.load(Ordering::Relaxed) {
                // Without the tickets of earlier connections, so that every handshake uses a certificate.
                let fresh = Arc::new(client_trusting(&[&old, &new]));
                let mut tls = connect_tls(&fresh, site.listen(), "go.example.com").unwrap();
                assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
                clicks += 1;
            }
            clicks
        });
        write_certificate(&site, "a", &new);
        until("the new one is served", || {
            connect_tls(&Arc::new(client_trusting(&[&new])), site.listen(), "go.example.com").ok()
        });
        write_certificate(&site, "a", &old);
        site.signal("-HUP");
        until("the old one is served again", || {
            connect_tls(&Arc::new(client_trusting(&[&old])), site.listen(), "go.example.com").ok()
        });
        stop.store(true, Ordering::Relaxed);
        assert!(clicks.join().unwrap() > 0);
    });
    assert!(
        get_and_close(&mut kept, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"),
        "a connection from before"
    );
    assert!(site.metric("waypost_tls_reloads_total", "result=\"ok\"") >= 2.0);
}

#[test]
fn a_bad_new_certificate_keeps_the_old_one_and_the_cause_is_logged() {
    let (old, other) = (self_signed(&["go.example.com"]), self_signed(&["other.example"]));
    let expired = self_signed_until(&["go.example.com"], 2001);
    let site = tls_site(&[("a", &old), ("b", &other)]).start();
    let trusting = Arc::new(client_trusting(&[&old]));
    let cases = [
        (expired.0.as_str(), expired.1.as_str(), "has expired"),
        (old.0.as_str(), other.1.as_str(), "not the key of"),
        ("no PEM at all", old.1.as_str(), "no certificate in PEM"),
        (old.0.as_str(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not the key of"),
    ];
    for (number, (cert, key, why)) in cases.iter().enumerate() {
        write_certificate(&site, "a", &((*cert).to_owned(), (*key).to_owned()));
        site.signal("-HUP");
        site.wait_for_log(why);
        until("it is counted", || {
            (site.metric("waypost_tls_reloads_total", "result=\"refused\"") > number as f64).then_some(())
        });
        let mut tls = connect_tls(&trusting, site.listen(), "go.example.com").unwrap();
        assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"), "{why}");
    }
    site.wait_for_fault("certificate_refused", "bounded", "certificate-ends");
    // The other certificate is still renewed.
    let renewed = self_signed(&["other.example"]);
    write_certificate(&site, "b", &renewed);
    until("the other one is renewed", || {
        connect_tls(&Arc::new(client_trusting(&[&renewed])), site.listen(), "other.example").ok()
    });
}

#[test]
fn a_start_with_a_bad_certificate_is_refused_with_the_file_and_advice() {
    let (one, two) = (self_signed(&["one.example"]), self_signed(&["two.example"]));
    let mixed = tls_site(&[("a", &(one.0.clone(), two.1.clone())), ("b", &("x".to_owned(), two.1.clone()))]);
    let (code, output) = mixed.run_refused_start();
    assert_ne!(code, Some(0));
    for part in ["tls/a.key: not the key of tls/a.crt", "tls/b.crt: no certificate in PEM", "give the key that"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let none = with_tls_listener(Site::new(&[link("live")]), "");
    let (code, output) = none.run_refused_start();
    assert!(code == Some(64) && output.contains("tls.certificates: not set, and a listener"), "{output}");
}

#[test]
fn curl_and_openssl_connect_and_curl_gets_the_redirect() {
    let pair = self_signed(&["go.example.com"]);
    let site = tls_site(&[("a", &pair)]).start();
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
fn a_plain_listener_redirects_to_https_for_hosts_with_a_certificate_and_answers_for_others() {
    let pair = self_signed(&["go.example.com"]);
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    write_certificate(&site, "a", &pair);
    let site = with_tls_listener(site, ", redirect_to_https = true").start();
    let plain = |host: &str, path: &str| {
        Connection::to(site.listens()[1]).send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for path in ["/live?a=%2F%2f&b&&=", "//evil.example/x", "/", "/robots.txt?", "/nobody"] {
        let answer = plain("go.example.com:8080", path);
        assert_eq!((answer.status, answer.header("location")), (302, Some(&*format!("https://go.example.com{path}"))));
        assert!(answer.header("cache-control").unwrap().contains("no-store") && answer.header("set-cookie").is_none());
    }
    let other = plain("evil.example", "/live");
    assert!(other.header("location").unwrap().starts_with("https://shop.example.com/view/live"));
    until("they are counted", || (site.metric("waypost_requests_upgraded_total", "") == 5.0).then_some(()));
    assert_eq!(site.metric("waypost_clicks_total", ""), 1.0, "the click for the host without a certificate");
}

#[test]
fn hsts_is_sent_over_tls_alone_and_a_domain_can_have_its_own() {
    let pair = self_signed(&["go.example.com", "own.example"]);
    let site = Site::new(&[link("live")])
        .env("WAYPOST__TLS__DIRECTORY", "tls")
        .env("WAYPOST__TLS__HSTS", "max-age=600")
        .env("WAYPOST__DOMAINS__OWN_EXAMPLE__HSTS", "max-age=0; includeSubDomains");
    write_certificate(&site, "a", &pair);
    let site = with_tls_listener(site, "").start();
    let config = Arc::new(client_trusting(&[&pair]));
    for (host, said) in [("go.example.com", "max-age=600"), ("own.example", "max-age=0; includeSubDomains")] {
        for path in ["/live", "/", "/nobody"] {
            let mut tls = connect_tls(&config, site.listen(), host).unwrap();
            tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
                .unwrap();
            let mut answer = String::new();
            tls.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(&format!("\r\nstrict-transport-security: {said}\r\n")), "{host}{path}: {answer}");
        }
    }
    let plain = Connection::to(site.listens()[1]).send("GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n");
    assert!(plain.status == 302 && plain.header("strict-transport-security").is_none());
    let (code, output) = Site::new(&[]).env("WAYPOST__TLS__HSTS", "always").run_refused_start();
    assert!(code == Some(64) && output.contains("tls.hsts: \"always\"; allowed: max-age=SECONDS"), "{output}");
}

#[test]
fn acme_challenges_are_served_from_their_directory_and_no_other_file_is() {
    let pair = self_signed(&["go.example.com"]);
    let site =
        Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls").env("WAYPOST__TLS__ACME_CHALLENGES", "acme");
    write_certificate(&site, "a", &pair);
    std::fs::create_dir(site.path("acme")).unwrap();
    let site = with_tls_listener(site, ", redirect_to_https = true").start();
    let get = |name: &str| {
        let path = format!("/.well-known/acme-challenge/{name}");
        Connection::to(site.listens()[1]).send(&format!("GET {path} HTTP/1.1\r\nHost: new.example\r\n\r\n"))
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
