//! The admin listener over TLS: which clients are answered, changes of its files, and the programs that use it.

use std::{
    io::{Read, Write},
    path::Path,
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig,
    version::{TLS12, TLS13},
};

use crate::{
    dsl::{Connection, Site, link, request, until},
    prometheus::Prometheus,
    tls_client::{Authority, Pem, TlsConnection, client_with_certificate, connect_tls, self_signed_until},
};

const HANDSHAKES: &str = "waypost_admin_handshakes_total";

fn write_admin_certificate(site: &Site, (cert, key): &Pem) {
    site.write("admin.key", key);
    site.write("admin.crt", cert);
}

/// A site that is not started yet, with this certificate on its admin listener. With `client_ca`, only clients of that
/// authority are answered.
fn site_with_admin_tls(pair: &Pem, client_ca: Option<&Authority>) -> Site {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__ADMIN__TLS__CERT", "admin.crt")
        .env("WAYPOST__ADMIN__TLS__KEY", "admin.key");
    write_admin_certificate(&site, pair);
    let Some(client_ca) = client_ca else { return site };
    site.write("clients.pem", &client_ca.pem);
    site.env("WAYPOST__ADMIN__TLS__CLIENT_CA", "clients.pem")
}

/// Starts the site and waits until it is ready, by requests of `client`.
fn start_and_wait_ready(mut site: Site, client: &Arc<ClientConfig>) -> Site {
    site.start_listening();
    until("readiness", || get(&site, client, "/readyz").ok().filter(|answer| answer.starts_with("HTTP/1.1 200 ")));
    site
}

fn send_get(tls: &mut TlsConnection, path: &str, more: &str) -> std::io::Result<()> {
    tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes())
}

/// Sends one request on a new connection and returns the answer. In TLS 1.3 a refusal comes only after the client's end
/// of the handshake, so that it may be an error of the read.
fn get(site: &Site, client: &Arc<ClientConfig>, path: &str) -> std::io::Result<String> {
    let mut tls = connect_tls(client, site.admin_address(), "localhost")?;
    send_get(&mut tls, path, "Connection: close\r\n")?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).map(|_| answer)
}

fn metric(site: &Site, client: &Arc<ClientConfig>, name: &str, labels: &str) -> f64 {
    let text = get(site, client, "/metrics").unwrap();
    let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn run_command(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn healthcheck(site: &Site, more: &[&str]) -> (Option<i32>, String) {
    let admin = site.admin_address().to_string();
    run_command(site.command(&[&["healthcheck", "--admin", &admin][..], more].concat()))
}

#[test]
fn with_a_certificate_the_admin_listener_speaks_https_alone() {
    let ca = Authority::new("ca");
    let client = client_with_certificate(&ca, None, &[&TLS13, &TLS12]);
    let site = start_and_wait_ready(site_with_admin_tls(&ca.issue_server(&["localhost"]), None), &client);
    assert!(get(&site, &client, "/livez").unwrap().ends_with("\r\n\r\nalive\n"));
    let ends = metric(
        &site,
        &client,
        "waypost_tls_certificate_expiry_timestamp_seconds",
        "listener=\"admin\",name=\"localhost\"",
    );
    assert_eq!(ends, 67_090_118_400.0);
    let mut plain = Connection::to(site.admin_address());
    plain.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    // A fatal alert: decode_error.
    assert_eq!(plain.read_until_closed(), [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(metric(&site, &client, HANDSHAKES, "\"failed\""), 1.0);
}

#[test]
fn only_clients_whose_certificate_leads_to_the_authority_are_answered() {
    let (ca, namesake, other) = (Authority::new("ca"), Authority::new("ca"), Authority::new("other"));
    let pair = ca.issue_server(&["localhost"]);
    let good = ca.issue_client(4096);
    let both = [&TLS13, &TLS12];
    let site =
        start_and_wait_ready(site_with_admin_tls(&pair, Some(&ca)), &client_with_certificate(&ca, Some(&good), &both));
    let counted = || metric(&site, &client_with_certificate(&ca, Some(&good), &both), HANDSHAKES, "\"client\"");
    let before = counted();
    let cases: [(&str, Option<Pem>, &str); 5] = [
        ("none", None, "CertificateRequired"),
        ("another authority's", Some(other.issue_client(4096)), "UnknownCA"),
        ("another authority's of the same name", Some(namesake.issue_client(4096)), "DecryptError"),
        ("expired", Some(ca.issue_client(2001)), "CertificateExpired"),
        ("a server's", Some(ca.issue_server(&["localhost"])), "UnsupportedCertificate"),
    ];
    for version in both {
        for (what, own, alert) in &cases {
            let refused = get(&site, &client_with_certificate(&ca, own.as_ref(), &[version]), "/metrics")
                .unwrap_err()
                .to_string();
            assert!(refused.contains(alert), "{version:?}, {what}: {refused}");
        }
        let answer = get(&site, &client_with_certificate(&ca, Some(&good), &[version]), "/livez").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // The listener's own certificate is accepted: a holder of its key could answer in its name.
        assert!(get(&site, &client_with_certificate(&ca, Some(&pair), &[version]), "/livez").is_ok());
    }
    assert_eq!(counted() - before, 2.0 * cases.len() as f64);
}

#[test]
fn changed_authorities_are_read_again_and_open_connections_end() {
    let (ca, next) = (Authority::new("ca"), Authority::new("next"));
    let site = site_with_admin_tls(&ca.issue_server(&["localhost"]), Some(&ca));
    let of = |authority: &Authority| client_with_certificate(&ca, Some(&authority.issue_client(4096)), &[&TLS13]);
    let (old, new) = (of(&ca), of(&next));
    let site = start_and_wait_ready(site, &old);
    let mut kept = connect_tls(&old, site.admin_address(), "localhost").unwrap();
    send_get(&mut kept, "/livez", "").unwrap();
    assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
    // A file that cannot be read changes nothing.
    for (bad, why) in
        [("", "no certificate in PEM"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged")]
    {
        site.write("clients.pem", bad);
        site.signal("-HUP");
        let line = site.wait_for_log(why);
        assert!(line.contains("admin.tls: clients.pem: ") && line.contains("certificate_refused"), "{line}");
    }
    assert!(metric(&site, &old, "waypost_tls_reloads_total", "\"refused\"") >= 2.0);
    let mut end = Vec::new();
    site.write("clients.pem", &next.pem);
    until("clients of the new authority are answered", || get(&site, &new, "/livez").ok());
    kept.read_to_end(&mut end).unwrap();
    assert!(end.is_empty(), "closed with close_notify, between two answers");
    assert!(get(&site, &old, "/livez").unwrap_err().to_string().contains("UnknownCA"));
    site.write("clients.pem", &(ca.pem.clone() + &next.pem));
    site.signal("-HUP");
    until("clients of both authorities are answered", || {
        (get(&site, &old, "/livez").is_ok() && get(&site, &new, "/livez").is_ok()).then_some(())
    });
}

#[test]
fn a_changed_certificate_is_served_and_a_bad_one_keeps_the_old_one() {
    let (ca, next) = (Authority::new("ca"), Authority::new("next"));
    let (pair, renewed) = (ca.issue_server(&["localhost"]), next.issue_server(&["localhost"]));
    let (old, new) = (client_with_certificate(&ca, None, &[&TLS13]), client_with_certificate(&next, None, &[&TLS13]));
    let site = start_and_wait_ready(site_with_admin_tls(&pair, None), &old);
    write_admin_certificate(&site, &(renewed.0.clone(), pair.1.clone()));
    site.signal("-HUP");
    let line = site.wait_for_log("not the key of");
    assert!(line.contains("admin.tls: admin.key: ") && line.contains("certificate_refused"), "{line}");
    assert!(get(&site, &old, "/livez").is_ok());
    write_admin_certificate(&site, &renewed);
    until("the new one is served", || get(&site, &new, "/livez").ok());
    assert!(metric(&site, &new, "waypost_tls_reloads_total", "\"ok\"") >= 1.0);
}

#[test]
fn stalled_clients_hold_places_until_the_handshake_timeout_and_delay_no_click() {
    let ca = Authority::new("ca");
    let client = client_with_certificate(&ca, Some(&ca.issue_client(4096)), &[&TLS13]);
    let site = start_and_wait_ready(site_with_admin_tls(&ca.issue_server(&["localhost"]), Some(&ca)), &client);
    let stall = || {
        let mut wire = Connection::to(site.admin_address());
        wire.write_bytes(&[22, 3, 1, 2, 0, 1]);
        wire
    };
    // An answer while 63 clients hold 63 of 64 places. If one of them has timed out, the proof is repeated with new
    // ones.
    let timeouts = || metric(&site, &client, HANDSHAKES, "\"timeout\"");
    let (mut stalled, timeouts_before) = until("an answer while 63 clients stall", || {
        let before = timeouts();
        let stalled: Vec<Connection> = (0..63).map(|_| stall()).collect();
        assert!(get(&site, &client, "/livez").is_ok());
        (timeouts() == before).then_some((stalled, before))
    });
    stalled.extend((0..64).map(|_| stall()));
    assert_eq!(site.connect().send(&request("GET", "/live", &[])).status, 302);
    assert!(get(&site, &client, "/livez").is_ok(), "once places are free again");
    until("they are counted", || (timeouts() - timeouts_before == 127.0).then_some(()));
    assert!(stalled.iter_mut().all(Connection::is_closed));
}

#[test]
fn a_start_and_a_check_name_every_bad_file() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let pair = ca.issue_server(&["localhost"]);
    let good = site_with_admin_tls(&pair, Some(&ca));
    let check = |site: &Site| run_command(site.command(&["check", "--links", "links.jsonl"]));
    let (code, output) = check(&good);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("admin certificate: good, localhost, clients of 1 authorities"), "{output}");
    let bad = site_with_admin_tls(&(pair.0.clone(), other.issue_server(&["localhost"]).1), Some(&ca));
    bad.write("clients.pem", "nothing");
    for (code, output) in [check(&bad), bad.run_refused_start()] {
        assert_ne!(code, Some(0), "{output}");
        for part in ["admin.tls: admin.key: not the key of admin.crt", "admin.tls: clients.pem: no certificate in PEM"]
        {
            assert!(output.contains(part), "{part}: {output}");
        }
    }
    for (file, mistake) in [
        ("[admin.tls]\ncert = \"a\"\n", "admin.tls.key: none, and there is tls.cert; set both"),
        ("[admin.tls]\nkey = \"a\"\n", "admin.tls.cert: none, and there is tls.key; set both"),
        ("[admin.tls]\nclient_ca = \"a\"\n", "admin.tls.client_ca: clients show certificates over TLS alone"),
        ("[admin.tls]\ncert = \"\"\nkey = \"k\"\n", "admin.tls.cert: an empty path"),
    ] {
        let (code, output) = Site::new(&[link("live")]).config(file).run_refused_start();
        assert!(code == Some(64) && output.contains(mistake), "{mistake}: {output}");
    }
}

#[test]
fn healthcheck_uses_the_same_configuration() {
    let ca = Authority::new("ca");
    let client = client_with_certificate(&ca, Some(&ca.issue_client(4096)), &[&TLS13]);
    // The certificate has no name 127.0.0.1, and its purpose is that of a server alone.
    for clients in [None, Some(&ca)] {
        let mut site = start_and_wait_ready(site_with_admin_tls(&ca.issue_server(&["localhost"]), clients), &client);
        assert_eq!(healthcheck(&site, &[]), (Some(0), "ready\n".to_owned()));
        assert_eq!(healthcheck(&site, &["--live"]), (Some(0), "alive\n".to_owned()));
        let address = site.admin_address().to_string();
        let mut unaware = site.command(&["healthcheck", "--admin", &address]);
        for key in ["CERT", "KEY", "CLIENT_CA"] {
            unaware.env_remove(format!("WAYPOST__ADMIN__TLS__{key}"));
        }
        let (code, output) = run_command(unaware);
        assert!(code == Some(1) && output.contains("speaks TLS; give healthcheck the configuration"), "{output}");
        site.stop();
        assert_eq!(run_command(site.command(&["healthcheck", "--live", "--admin", &address])).0, Some(1));
    }
    // An edge with an expired certificate serves, so healthcheck reports no failure.
    let expired = self_signed_until(&["localhost"], 2001);
    let mut expired = site_with_admin_tls(&expired, Some(&ca));
    expired.start_listening();
    expired.wait_for_fault("certificate_refused", "bounded", "certificate-ends");
    until("readiness", || (healthcheck(&expired, &[]) == (Some(0), "ready\n".to_owned())).then_some(()));
    // The key does not fit, so healthcheck has no certificate to authenticate with. The server refuses it, and is
    // alive.
    let site = start_and_wait_ready(site_with_admin_tls(&ca.issue_server(&["localhost"]), Some(&ca)), &client);
    site.write("admin.key", &ca.issue_server(&["localhost"]).1);
    let (code, output) = healthcheck(&site, &[]);
    assert!(code == Some(1) && output.contains("CertificateRequired"), "{output}");
    let (code, output) = healthcheck(&site, &["--live"]);
    assert!(code == Some(0) && output.starts_with("alive, but it refused the certificate"), "{output}");
}

#[test]
fn curl_is_answered_with_a_client_certificate_and_refused_without() {
    if !Path::new("/usr/bin/curl").exists() {
        return;
    }
    let ca = Authority::new("ca");
    let (good, expired) = (ca.issue_client(4096), ca.issue_client(2001));
    let site = start_and_wait_ready(
        site_with_admin_tls(&ca.issue_server(&["localhost"]), Some(&ca)),
        &client_with_certificate(&ca, Some(&good), &[&TLS13]),
    );
    let curl = |own: Option<&Pem>| {
        let mut curl = Command::new("curl");
        let to = format!("localhost:{}:127.0.0.1", site.admin_address().port());
        curl.args(["-sS", "--noproxy", "*", "--resolve", &to, "--cacert"]).arg(site.path("clients.pem"));
        if let Some((cert, key)) = own {
            site.write("own.pem", &(cert.clone() + key));
            curl.arg("--cert").arg(site.path("own.pem"));
        }
        curl.arg(format!("https://localhost:{}/livez", site.admin_address().port()));
        run_command(curl)
    };
    assert_eq!(curl(Some(&good)), (Some(0), "alive\n".to_owned()));
    for own in [None, Some(&expired)] {
        let (code, output) = curl(own);
        assert!(code != Some(0) && output.contains("alert"), "{output}");
    }
}

#[test]
fn prometheus_scrapes_with_the_configuration_in_deploy() {
    let ca = Authority::new("ca");
    let (own, expired) = (ca.issue_client(4096), ca.issue_client(2001));
    let pair = ca.issue_server(&["localhost", "waypost-1.internal"]);
    let site = start_and_wait_ready(
        site_with_admin_tls(&pair, Some(&ca)),
        &client_with_certificate(&ca, Some(&own), &[&TLS13]),
    );
    for (file, text) in [("prometheus.crt", &own.0), ("prometheus.key", &own.1), ("ca.crt", &ca.pem)] {
        site.write(file, text);
    }
    let snippet = include_str!("../../deploy/prometheus/scrape-tls.yml");
    let snippet = snippet
        .replace("/etc/prometheus/waypost/", &format!("{}/", site.path("").display()))
        .replace("waypost-1.internal:9100", &site.admin_address().to_string());
    let config = format!("global: {{ scrape_interval: 1s }}\nscrape_configs:\n{snippet}");
    let Some(prometheus) = Prometheus::start(&site.path(""), &config) else { return };
    prometheus.wait_for_text("targets", "\"health\":\"up\"");
    // Prometheus reads its certificate at each handshake, and the reload ends the kept connection.
    site.write("prometheus.key", &expired.1);
    site.write("prometheus.crt", &expired.0);
    site.signal("-HUP");
    prometheus.wait_for_text("targets", "tls: expired certificate");
}
