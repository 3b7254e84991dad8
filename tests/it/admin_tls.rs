//! The admin listener over TLS: who is answered, what a change of its files does, and the programs that ask it.

use std::{
    io::{Read, Write},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig,
    version::{TLS12, TLS13},
};

use crate::{
    dsl::{Site, Wire, link, request, until},
    pairs::{Authority, Pem, Tls, dial, made_until, showing},
    prometheus::Prometheus,
};

const HANDSHAKES: &str = "waypost_admin_handshakes_total";

fn write(site: &Site, (cert, key): &Pem) {
    site.write("admin.key", key);
    site.write("admin.crt", cert);
}

/// A site whose admin listener shows `pair`; with `clients`, to their authority's clients alone.
fn site(pair: &Pem, clients: Option<&Authority>) -> Site {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__ADMIN__TLS__CERT", "admin.crt")
        .env("WAYPOST__ADMIN__TLS__KEY", "admin.key");
    write(&site, pair);
    let Some(clients) = clients else { return site };
    site.write("clients.pem", &clients.pem);
    site.env("WAYPOST__ADMIN__TLS__CLIENT_CA", "clients.pem")
}

/// Starts it and waits until it is ready, as `client` hears.
fn started(mut site: Site, client: &Arc<ClientConfig>) -> Site {
    site.boot();
    until("readiness", || get(&site, client, "/readyz").ok().filter(|answer| answer.starts_with("HTTP/1.1 200 ")));
    site
}

fn ask(tls: &mut Tls, path: &str, more: &str) -> std::io::Result<()> {
    tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes())
}

/// One answer on a connection of its own. A refusal of TLS 1.3 comes after the client's own end of the handshake.
fn get(site: &Site, client: &Arc<ClientConfig>, path: &str) -> std::io::Result<String> {
    let mut tls = dial(client, site.admin_address(), "localhost")?;
    ask(&mut tls, path, "Connection: close\r\n")?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).map(|_| answer)
}

fn metric(site: &Site, client: &Arc<ClientConfig>, name: &str, labels: &str) -> f64 {
    let text = get(site, client, "/metrics").unwrap();
    let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn output(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn healthcheck(site: &Site, more: &[&str]) -> (Option<i32>, String) {
    let admin = site.admin_address().to_string();
    output(site.command(&[&["healthcheck", "--admin", &admin][..], more].concat()))
}

#[test]
fn with_a_pair_it_speaks_https_alone() {
    let ca = Authority::new("ca");
    let client = showing(&ca, None, &[&TLS13, &TLS12]);
    let site = started(site(&ca.server(&["localhost"]), None), &client);
    assert!(get(&site, &client, "/livez").unwrap().ends_with("\r\n\r\nalive\n"));
    let ends = metric(&site, &client, "waypost_tls_cert_not_after_seconds", "listener=\"admin\",name=\"localhost\"");
    assert_eq!(ends, 67_090_118_400.0);
    let mut plain = Wire::to(site.admin_address());
    plain.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    // A fatal alert: no TLS record begins so.
    assert_eq!(plain.closed_with(), [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(metric(&site, &client, HANDSHAKES, "\"failed\""), 1.0);
}

#[test]
fn only_clients_whose_certificate_leads_to_the_authority_are_answered() {
    let (ca, namesake, other) = (Authority::new("ca"), Authority::new("ca"), Authority::new("other"));
    let pair = ca.server(&["localhost"]);
    let good = ca.client(4096);
    let both = [&TLS13, &TLS12];
    let site = started(site(&pair, Some(&ca)), &showing(&ca, Some(&good), &both));
    let counted = || metric(&site, &showing(&ca, Some(&good), &both), HANDSHAKES, "\"client\"");
    let before = counted();
    let cases: [(&str, Option<Pem>, &str); 5] = [
        ("none", None, "CertificateRequired"),
        ("another authority's", Some(other.client(4096)), "UnknownCA"),
        ("another authority's of the same name", Some(namesake.client(4096)), "DecryptError"),
        ("expired", Some(ca.client(2001)), "CertificateExpired"),
        ("a server's", Some(ca.server(&["localhost"])), "UnsupportedCertificate"),
    ];
    for version in both {
        for (what, own, alert) in &cases {
            let refused = get(&site, &showing(&ca, own.as_ref(), &[version]), "/metrics").unwrap_err().to_string();
            assert!(refused.contains(alert), "{version:?}, {what}: {refused}");
        }
        let answer = get(&site, &showing(&ca, Some(&good), &[version]), "/livez").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // Who holds the listener's own key could answer in its name.
        assert!(get(&site, &showing(&ca, Some(&pair), &[version]), "/livez").is_ok());
    }
    assert_eq!(counted() - before, 2.0 * cases.len() as f64);
}

#[test]
fn the_authorities_are_read_again_and_whoever_is_connected_is_looked_at_anew() {
    let (ca, next) = (Authority::new("ca"), Authority::new("next"));
    let site = site(&ca.server(&["localhost"]), Some(&ca));
    let of = |authority: &Authority| showing(&ca, Some(&authority.client(4096)), &[&TLS13]);
    let (old, new) = (of(&ca), of(&next));
    let site = started(site, &old);
    let mut kept = dial(&old, site.admin_address(), "localhost").unwrap();
    ask(&mut kept, "/livez", "").unwrap();
    assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
    // What cannot be read takes nothing away.
    for (bad, why) in
        [("", "no certificate in PEM"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged")]
    {
        site.write("clients.pem", bad);
        site.signal("-HUP");
        let line = site.logged(why);
        assert!(line.contains("admin.tls: clients.pem: ") && line.contains("certificate_refused"), "{line}");
    }
    assert!(metric(&site, &old, "waypost_tls_reloads_total", "\"refused\"") >= 2.0);
    let mut end = Vec::new();
    site.write("clients.pem", &next.pem);
    until("the new one's clients are answered", || get(&site, &new, "/livez").ok());
    kept.read_to_end(&mut end).unwrap();
    assert!(end.is_empty(), "closed in order between two answers");
    assert!(get(&site, &old, "/livez").unwrap_err().to_string().contains("UnknownCA"));
    site.write("clients.pem", &(ca.pem.clone() + &next.pem));
    site.signal("-HUP");
    until("both are", || (get(&site, &old, "/livez").is_ok() && get(&site, &new, "/livez").is_ok()).then_some(()));
}

#[test]
fn its_pair_changes_while_it_serves_and_a_bad_one_keeps_the_old() {
    let (ca, next) = (Authority::new("ca"), Authority::new("next"));
    let (pair, renewed) = (ca.server(&["localhost"]), next.server(&["localhost"]));
    let (old, new) = (showing(&ca, None, &[&TLS13]), showing(&next, None, &[&TLS13]));
    let site = started(site(&pair, None), &old);
    write(&site, &(renewed.0.clone(), pair.1.clone()));
    site.signal("-HUP");
    let line = site.logged("not the key of");
    assert!(line.contains("admin.tls: admin.key: ") && line.contains("certificate_refused"), "{line}");
    assert!(get(&site, &old, "/livez").is_ok());
    write(&site, &renewed);
    until("the new one is shown", || get(&site, &new, "/livez").ok());
    assert!(metric(&site, &new, "waypost_tls_reloads_total", "\"taken\"") >= 1.0);
}

#[test]
fn clients_that_stall_hold_places_for_a_few_seconds_and_no_click() {
    let ca = Authority::new("ca");
    let client = showing(&ca, Some(&ca.client(4096)), &[&TLS13]);
    let site = started(site(&ca.server(&["localhost"]), Some(&ca)), &client);
    let stall = || {
        let mut wire = Wire::to(site.admin_address());
        wire.write_bytes(&[22, 3, 1, 2, 0, 1]);
        wire
    };
    let mut stalled: Vec<Wire> = (0..63).map(|_| stall()).collect();
    let begun = Instant::now();
    assert!(get(&site, &client, "/livez").is_ok());
    assert!(begun.elapsed() < Duration::from_secs(4), "63 of 64 places");
    stalled.extend((0..64).map(|_| stall()));
    assert_eq!(site.wire().send(&request("GET", "/live", &[])).status, 302);
    let waited = Instant::now();
    assert!(get(&site, &client, "/livez").is_ok(), "once the places are free again");
    assert!(waited.elapsed() < Duration::from_secs(15));
    until("they are counted", || (metric(&site, &client, HANDSHAKES, "\"timeout\"") == 127.0).then_some(()));
    assert!(stalled.iter_mut().all(Wire::closed));
}

#[test]
fn a_start_and_a_check_name_every_file_that_does_not_do() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let pair = ca.server(&["localhost"]);
    let good = site(&pair, Some(&ca));
    let check = |site: &Site| output(site.command(&["check", "--links", "links.jsonl"]));
    let (code, said) = check(&good);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("admin certificate: good, localhost, clients of 1 authorities"), "{said}");
    let bad = site(&(pair.0.clone(), other.server(&["localhost"]).1), Some(&ca));
    bad.write("clients.pem", "nothing");
    for (code, said) in [check(&bad), bad.refused()] {
        assert_ne!(code, Some(0), "{said}");
        for part in ["admin.tls: admin.key: not the key of admin.crt", "admin.tls: clients.pem: no certificate in PEM"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    for (file, mistake) in [
        ("[admin.tls]\ncert = \"a\"\n", "admin.tls.key: none, and there is tls.cert; set both"),
        ("[admin.tls]\nkey = \"a\"\n", "admin.tls.cert: none, and there is tls.key; set both"),
        ("[admin.tls]\nclient_ca = \"a\"\n", "admin.tls.client_ca: clients show certificates over TLS alone"),
        ("[admin.tls]\ncert = \"\"\nkey = \"k\"\n", "admin.tls.cert: an empty path"),
    ] {
        let (code, said) = Site::new(&[link("live")]).config(file).refused();
        assert!(code == Some(64) && said.contains(mistake), "{mistake}: {said}");
    }
}

#[test]
fn healthcheck_asks_it_with_the_same_configuration() {
    let ca = Authority::new("ca");
    let client = showing(&ca, Some(&ca.client(4096)), &[&TLS13]);
    // No name of the certificate is 127.0.0.1, and it is a server's alone.
    for clients in [None, Some(&ca)] {
        let mut site = started(site(&ca.server(&["localhost"]), clients), &client);
        assert_eq!(healthcheck(&site, &[]), (Some(0), "ready\n".to_owned()));
        assert_eq!(healthcheck(&site, &["--live"]), (Some(0), "alive\n".to_owned()));
        let address = site.admin_address().to_string();
        let mut unaware = site.command(&["healthcheck", "--admin", &address]);
        for key in ["CERT", "KEY", "CLIENT_CA"] {
            unaware.env_remove(format!("WAYPOST__ADMIN__TLS__{key}"));
        }
        let (code, said) = output(unaware);
        assert!(code == Some(1) && said.contains("speaks TLS; give healthcheck the configuration"), "{said}");
        site.stop();
        assert_eq!(output(site.command(&["healthcheck", "--live", "--admin", &address])).0, Some(1));
    }
    // It tells what serves from what does not, and expired is no reason to start an edge anew.
    let expired = made_until(&["localhost"], 2001);
    let mut expired = site(&expired, Some(&ca));
    expired.boot();
    expired.tells("certificate_refused", "bounded", "certificate-ends");
    until("readiness", || (healthcheck(&expired, &[]) == (Some(0), "ready\n".to_owned())).then_some(()));
    // A pair that does not fit was not taken; the server lives, and says no more to whom it does not know.
    let site = started(site(&ca.server(&["localhost"]), Some(&ca)), &client);
    site.write("admin.key", &ca.server(&["localhost"]).1);
    let (code, said) = healthcheck(&site, &[]);
    assert!(code == Some(1) && said.contains("CertificateRequired"), "{said}");
    let (code, said) = healthcheck(&site, &["--live"]);
    assert!(code == Some(0) && said.starts_with("alive, but it did not take the certificate"), "{said}");
}

#[test]
fn curl_is_answered_with_a_certificate_and_refused_without() {
    if !Path::new("/usr/bin/curl").exists() {
        return;
    }
    let ca = Authority::new("ca");
    let (good, expired) = (ca.client(4096), ca.client(2001));
    let site = started(site(&ca.server(&["localhost"]), Some(&ca)), &showing(&ca, Some(&good), &[&TLS13]));
    let curl = |own: Option<&Pem>| {
        let mut curl = Command::new("curl");
        let to = format!("localhost:{}:127.0.0.1", site.admin_address().port());
        curl.args(["-sS", "--noproxy", "*", "--resolve", &to, "--cacert"]).arg(site.path("clients.pem"));
        if let Some((cert, key)) = own {
            site.write("own.pem", &(cert.clone() + key));
            curl.arg("--cert").arg(site.path("own.pem"));
        }
        curl.arg(format!("https://localhost:{}/livez", site.admin_address().port()));
        output(curl)
    };
    assert_eq!(curl(Some(&good)), (Some(0), "alive\n".to_owned()));
    for own in [None, Some(&expired)] {
        let (code, said) = curl(own);
        assert!(code != Some(0) && said.contains("alert"), "{said}");
    }
}

#[test]
fn prometheus_scrapes_it_as_the_snippet_in_deploy_says() {
    let ca = Authority::new("ca");
    let (own, expired) = (ca.client(4096), ca.client(2001));
    let pair = ca.server(&["localhost", "waypost-1.internal"]);
    let site = started(site(&pair, Some(&ca)), &showing(&ca, Some(&own), &[&TLS13]));
    for (file, text) in [("prometheus.crt", &own.0), ("prometheus.key", &own.1), ("ca.crt", &ca.pem)] {
        site.write(file, text);
    }
    let snippet = include_str!("../../deploy/prometheus/scrape-tls.yml");
    let snippet = snippet
        .replace("/etc/prometheus/waypost/", &format!("{}/", site.path("").display()))
        .replace("waypost-1.internal:9100", &site.admin_address().to_string());
    let config = format!("global: {{ scrape_interval: 1s }}\nscrape_configs:\n{snippet}");
    let Some(prometheus) = Prometheus::start(&site.path(""), &config) else { return };
    prometheus.says("targets", "\"health\":\"up\"");
    // Read at each handshake: a renewed certificate needs no restart of Prometheus, and neither does an expired one.
    site.write("prometheus.key", &expired.1);
    site.write("prometheus.crt", &expired.0);
    site.signal("-HUP");
    prometheus.says("targets", "tls: expired certificate");
}
