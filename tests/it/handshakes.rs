//! TLS handshakes: floods, stalls, failures, the stop of the process, PROXY headers, and certificates as certbot writes
//! them.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    dsl::{Connection, Site, TIMEOUT, link, request, until},
    h2,
    tls_client::{
        Pem, TlsConnection, client_trusting, connect_tls, get_and_close, self_signed, self_signed_until, tls_site,
        with_tls_listener, write_certificate,
    },
};

const CLOSED: &str = "waypost_connections_closed_total";
const HANDSHAKES: &str = "waypost_tls_handshakes_total";
const NAME: &str = "go.example.com";

/// Waits until a counter has this value.
fn until_counted(site: &Site, name: &str, label: &str, times: f64) {
    until(&format!("{name} {label} {times}"), || (site.metric(name, &format!("\"{label}\"")) == times).then_some(()));
}

/// A handshake whose first flight is sent and answered, and which stops there.
fn start_handshake(config: &Arc<ClientConfig>, to: SocketAddr) -> TlsConnection {
    let mut tls = send_client_hello(config, to);
    assert!(tls.sock.peek(&mut [0]).unwrap() > 0);
    tls.sock.flush().unwrap();
    tls
}

/// A connection that has sent its first flight.
fn send_client_hello(config: &Arc<ClientConfig>, to: SocketAddr) -> TlsConnection {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut session = ClientConnection::new(config.clone(), ServerName::try_from(NAME).unwrap()).unwrap();
    session.write_tls(&mut stream).unwrap();
    StreamOwned::new(session, stream)
}

/// One click on a connection that is kept.
fn click_on(tls: &mut TlsConnection) {
    tls.write_all(request("GET", "/live", &[]).as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(tls.read(&mut byte).unwrap(), 1);
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 302 Found\r\n"));
}

/// Sends SIGTERM and waits until no connection is accepted any more.
fn start_stop(site: &Site) {
    site.signal("-TERM");
    until("no more is accepted", || TcpStream::connect(site.listens()[1]).err());
}

#[test]
fn a_flood_of_handshakes_is_bounded_and_does_not_harm_kept_and_plain_connections() {
    let pair = self_signed(&[NAME]);
    let site = tls_site(&[("a", &pair)])
        .env("WAYPOST__EDGE__WORKERS", "1")
        .env("WAYPOST__EDGE__LIMITS__MAX_HANDSHAKES", "2")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "5s")
        .start();
    let config = Arc::new(client_trusting(&[&pair]));
    let mut kept = connect_tls(&config, site.listen(), NAME).unwrap();
    let mut plain = Connection::to(site.listens()[1]);
    // Silent connections do not count as handshakes.
    let mut silent: Vec<Connection> = (0..3).map(|_| site.connect()).collect();
    (0..20).for_each(|_| drop(connect_tls(&config, site.listen(), NAME).unwrap()));
    let shed = |reason: &str| site.metric(CLOSED, &format!("\"{reason}\""));
    assert_eq!(shed("handshake_busy"), 0.0);
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(start_handshake(&config, site.listen()));
        click_on(&mut kept);
        assert_eq!(plain.send(&request("GET", "/live", &[])).status, 302);
    }
    click_on(&mut connect_tls(&config, site.listen(), NAME).unwrap());
    // The last one of the flood, and the silent ones.
    until_counted(&site, CLOSED, "handshake_timeout", 4.0);
    until_counted(&site, CLOSED, "handshake_busy", 19.0);
    assert_eq!(site.metric(HANDSHAKES, "\"busy\""), 19.0);
    assert!(flood.iter_mut().all(|tls| get_and_close(tls, "/live").is_err()));
    assert!(silent.iter_mut().all(Connection::is_closed));
}

#[test]
fn at_the_limit_the_oldest_handshake_is_closed_and_a_buyer_is_served() {
    let pair = self_signed(&[NAME]);
    let site = tls_site(&[("a", &pair)])
        .env("WAYPOST__EDGE__LIMITS__MAX_HANDSHAKES", "3")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "1m")
        .env("WAYPOST__EDGE__WORKERS", "1")
        .start();
    // Each stops within a record.
    let mut stalled: Vec<Connection> = (0..3).map(|_| site.connect()).collect();
    for wire in &mut stalled {
        wire.write_bytes(&[22, 3, 1, 1, 0, 1]);
    }
    let mut buyers = 0;
    let busy = || site.metric(HANDSHAKES, "\"busy\"");
    until("a stalled one is closed", || {
        let mut tls = connect_tls(&Arc::new(client_trusting(&[&pair])), site.listen(), NAME).unwrap();
        assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
        buyers += 1;
        (busy() == 1.0).then_some(())
    });
    assert!(stalled.remove(0).read_until_closed().is_empty());
    // Two are stalled and a third is allowed, so no other one is closed.
    for _ in 0..8 {
        let mut tls = connect_tls(&Arc::new(client_trusting(&[&pair])), site.listen(), NAME).unwrap();
        assert!(get_and_close(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    }
    until("all are counted", || {
        let done = site.metric(HANDSHAKES, "\"done\"");
        (done == f64::from(buyers + 8)).then_some(())
    });
    assert_eq!(busy(), 1.0);
}

#[test]
fn a_session_ticket_comes_without_a_request() {
    let pair = self_signed(&[NAME]);
    let site = tls_site(&[("a", &pair)]).start();
    let mut tls = connect_tls(&Arc::new(client_trusting(&[&pair])), site.listen(), NAME).unwrap();
    while tls.conn.tls13_tickets_received() == 0 {
        tls.conn.read_tls(&mut tls.sock).unwrap();
        tls.conn.process_new_packets().unwrap();
    }
    click_on(&mut tls);
}

#[test]
fn a_handshake_begun_before_the_stop_is_finished_and_its_click_answered() {
    let pair = self_signed(&[NAME]);
    let mut site = tls_site(&[("a", &pair)]).start();
    let config = Arc::new(client_trusting(&[&pair]));
    let mut half = start_handshake(&config, site.listen());
    // Its handshake is done, and its request comes after the stop.
    let mut fresh = connect_tls(&config, site.listen(), NAME).unwrap();
    start_stop(&site);
    for tls in [&mut half, &mut fresh] {
        // `get_and_close` reads to the end and fails without a close_notify.
        let answer = get_and_close(tls, "/live").unwrap();
        assert!(answer.starts_with("HTTP/1.1 302 Found\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(site.wait_for_exit().0, Some(0));
    assert_eq!(site.events("clicks").len(), 2);
}

/// Reads HTTP/2 to the end of the connection. Returns the status of stream 1, and whether the end came between two
/// frames and with close_notify. `acknowledges`: answers PING and SETTINGS.
fn read_http2_to_end(tls: &mut TlsConnection, acknowledges: bool) -> (Option<u16>, std::io::Result<()>) {
    let mut status = None;
    loop {
        let mut head = [0; 9];
        if let Err(error) = tls.read_exact(&mut head) {
            let is_clean = error.kind() == ErrorKind::UnexpectedEof
                && error.get_ref().is_none_or(|why| !why.to_string().contains("close_notify"));
            return (status, if is_clean { Ok(()) } else { Err(error) });
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        tls.read_exact(&mut payload).unwrap();
        match (head[3], head[4]) {
            (h2::HEADERS, _) => status = Some(h2::status_of(&payload)),
            (kind @ (h2::PING | h2::SETTINGS), 0) if acknowledges => {
                let payload = if kind == h2::PING { &payload[..] } else { &[] };
                // The connection may have ended already.
                let _ = tls.write_all(&h2::frame(kind, h2::ACK, 0, payload));
            }
            _ => {}
        }
    }
}

#[test]
fn an_http2_handshake_begun_before_the_stop_is_finished_and_a_client_that_ignores_goaway_delays_nothing() {
    let pair = self_signed(&[NAME]);
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    write_certificate(&site, "a", &pair);
    let listen = "[{ address = \"127.0.0.1:0\", tls = true, http2 = true }, { address = \"127.0.0.1:0\" }]";
    let mut site = site.arg("--listen").arg(listen).start();
    let mut config = client_trusting(&[&pair]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let mut both = [start_handshake(&config, site.listen()), start_handshake(&config, site.listen())];
    start_stop(&site);
    let requests = [
        h2::PREFACE,
        &h2::frame(h2::SETTINGS, 0, 0, &h2::setting(1, 0)),
        &h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, 1, &h2::get("/live")),
    ];
    both.iter_mut().for_each(|tls| tls.write_all(&requests.concat()).unwrap());
    let [acknowledging, ignoring] = &mut both;
    let (status, end) = read_http2_to_end(acknowledging, true);
    assert_eq!(status, Some(302));
    end.unwrap();
    assert_eq!(read_http2_to_end(ignoring, false).0, Some(302));
    let (code, log) = site.wait_for_exit();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn silent_connections_do_not_count_as_handshakes_and_do_not_delay_the_stop() {
    let pair = self_signed(&[NAME]);
    let mut site = tls_site(&[("a", &pair)])
        .env("WAYPOST__EDGE__LIMITS__MAX_HANDSHAKES", "1")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "60s")
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "60s")
        .start();
    let mut silent: Vec<Connection> = (0..8).map(|_| site.connect()).collect();
    click_on(&mut connect_tls(&Arc::new(client_trusting(&[&pair])), site.listen(), NAME).unwrap());
    start_stop(&site);
    assert!(silent.iter_mut().all(|wire| wire.read_until_closed().is_empty()));
    let (code, log) = site.wait_for_exit();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn kept_and_silent_connections_get_close_notify_at_the_stop() {
    let pair = self_signed(&[NAME]);
    let mut site = tls_site(&[("a", &pair)]).start();
    let config = Arc::new(client_trusting(&[&pair]));
    let mut kept = connect_tls(&config, site.listen(), NAME).unwrap();
    click_on(&mut kept);
    let mut silent = connect_tls(&config, site.listen(), NAME).unwrap();
    let mut raw = site.connect();
    start_stop(&site);
    for tls in [&mut kept, &mut silent] {
        assert_eq!(tls.read(&mut [0]).unwrap(), 0, "close_notify");
    }
    assert!(raw.read_until_closed().is_empty());
    let (code, log) = site.wait_for_exit();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn a_connection_gets_close_notify_at_the_idle_timeout() {
    let pair = self_signed(&[NAME]);
    let site = tls_site(&[("a", &pair)]).env("WAYPOST__EDGE__LIMITS__IDLE_TIMEOUT", "300ms").start();
    let mut kept = connect_tls(&Arc::new(client_trusting(&[&pair])), site.listen(), NAME).unwrap();
    click_on(&mut kept);
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "close_notify");
    until_counted(&site, CLOSED, "idle", 1.0);
}

#[test]
fn a_proxy_header_and_the_handshake_share_one_deadline() {
    let pair = self_signed(&[NAME]);
    let site = Site::new(&[link("live")])
        .env("WAYPOST__TLS__DIRECTORY", "tls")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        // So that no other timeout ends a connection.
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "5m")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "3s");
    write_certificate(&site, "a", &pair);
    let site = site.listening_with("tls = true, proxy_protocol = \"required\"", "").start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
    // Nothing, half a header, a header, and a header with the beginning of a handshake.
    let start = Instant::now();
    let mut wires = ["", &header[..20], header, &(header.to_owned() + "\x16\x03\x01")].map(|sent| {
        let mut wire = site.connect();
        wire.write(sent);
        wire
    });
    assert!(wires.iter_mut().all(|wire| wire.read_until_closed().is_empty()));
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    until_counted(&site, CLOSED, "handshake_timeout", 4.0);
    until_counted(&site, HANDSHAKES, "timeout", 4.0);

    let mut stream = TcpStream::connect(site.listen()).unwrap();
    stream.write_all(header.as_bytes()).unwrap();
    let session =
        ClientConnection::new(Arc::new(client_trusting(&[&pair])), ServerName::try_from(NAME).unwrap()).unwrap();
    assert!(
        get_and_close(&mut StreamOwned::new(session, stream), "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n")
    );
    assert_eq!(site.wait_for_events("clicks", 1)[0]["client_ip"], "203.0.113.7");
}

#[test]
fn clients_that_leave_or_refuse_during_the_handshake_are_counted_by_how_they_do() {
    let (pair, other) = (self_signed(&[NAME]), self_signed(&[NAME]));
    let site = tls_site(&[("a", &pair)]).start();
    let config = Arc::new(client_trusting(&[&pair]));
    // Like the health check of a load balancer; within a record; before the last flight.
    drop(TcpStream::connect(site.listen()).unwrap());
    until_counted(&site, HANDSHAKES, "left", 1.0);
    site.connect().write_bytes(&[22, 3, 1, 2, 0, 1]);
    until_counted(&site, HANDSHAKES, "left", 2.0);
    drop(start_handshake(&config, site.listen()));
    until_counted(&site, HANDSHAKES, "left", 3.0);
    let refused = connect_tls(&Arc::new(client_trusting(&[&other])), site.listen(), NAME).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
    until_counted(&site, HANDSHAKES, "alert", 1.0);
    until_counted(&site, CLOSED, "handshake", 4.0);
    assert!(
        get_and_close(&mut connect_tls(&config, site.listen(), NAME).unwrap(), "/live")
            .unwrap()
            .starts_with("HTTP/1.1 302 ")
    );
}

#[test]
fn input_that_is_no_tls_gets_an_alert_and_the_end() {
    let pair = self_signed(&[NAME]);
    let site = tls_site(&[("a", &pair)]).start();
    let head = "GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let cases: [&[u8]; 6] = [
        head.as_bytes(),
        preface.as_bytes(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n",
        b"SSH-2.0-x\r\n",
        &[0; 64],
        // A handshake record with an unknown message.
        &[22, 3, 1, 0, 4, 99, 0, 0, 0],
    ];
    for (number, junk) in cases.iter().enumerate() {
        let mut wire = site.connect();
        wire.write_bytes(junk);
        let said = wire.read_until_closed();
        // Fatal: decode_error, or unexpected_message.
        assert!(
            [[21, 3, 3, 0, 2, 2, 50], [21, 3, 3, 0, 2, 2, 10]].iter().any(|alert| said == alert),
            "{number}: {said:?}"
        );
        until_counted(&site, HANDSHAKES, "junk", (number + 1) as f64);
    }
    until_counted(&site, CLOSED, "handshake", 6.0);
    assert_eq!(site.metric("waypost_clicks_total", ""), 0.0);
}

/// Writes a certificate as certbot does: `live/NAME` has links to the files of one issue.
fn write_as_certbot(site: &Site, name: &str, number: u32, (cert, key): &Pem) {
    let (live, archive) = (site.path(&format!("live/{name}")), site.path(&format!("archive/{name}")));
    std::fs::create_dir_all(&live).unwrap();
    std::fs::create_dir_all(&archive).unwrap();
    for (file, text) in [("fullchain", cert), ("privkey", key)] {
        let target = archive.join(format!("{file}{number}.pem"));
        std::fs::write(&target, text).unwrap();
        let fresh = live.join(format!("{file}.fresh"));
        symlink(&target, &fresh).unwrap();
        std::fs::rename(fresh, live.join(format!("{file}.pem"))).unwrap();
    }
}

#[test]
fn certificates_of_certbot_are_served_renewed_added_and_removed() {
    let (go, own) = (self_signed(&[NAME]), self_signed(&["own.example"]));
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "live");
    write_as_certbot(&site, NAME, 1, &go);
    write_as_certbot(&site, "own.example", 1, &own);
    // Other entries of the directory are no certificates.
    std::fs::write(site.path("live/README"), "of certbot").unwrap();
    std::fs::create_dir_all(site.path("live/..data")).unwrap();
    std::fs::create_dir_all(site.path("live/empty")).unwrap();
    let site = with_tls_listener(site, "").start();
    let shows = |name: &str, pair: &Pem| connect_tls(&Arc::new(client_trusting(&[pair])), site.listen(), name).is_ok();
    assert!(shows(NAME, &go) && shows("own.example", &own));
    let (renewed, added) = (self_signed(&[NAME]), self_signed(&["new.example"]));
    write_as_certbot(&site, NAME, 2, &renewed);
    write_as_certbot(&site, "new.example", 1, &added);
    until("both are served", || (shows(NAME, &renewed) && shows("new.example", &added)).then_some(()));
    assert!(shows("own.example", &own) && !shows(NAME, &go));
    std::fs::remove_dir_all(site.path("live/own.example")).unwrap();
    let ends =
        |name: &str| site.metric("waypost_tls_certificate_expiry_timestamp_seconds", &format!("name=\"{name}\""));
    until("it is not served any more", || (ends("own.example") == 0.0).then_some(()));
    assert!(ends(NAME) > 0.0 && !shows("own.example", &own));
    assert_eq!(site.count_faults_logged("certificate_refused"), 0);
}

#[test]
fn an_expired_certificate_is_served_at_the_start_and_logged() {
    let (expired, good) = (self_signed_until(&[NAME], 2001), self_signed(&["own.example"]));
    let site = tls_site(&[("a", &expired), ("b", &good)]);
    let check = site.command(&["check", "--links", "links.jsonl"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success() && said.contains("tls/a.crt: the certificate has expired"), "{said}");
    let site = site.start();
    let line = site.wait_for_fault("certificate_refused", "bounded", "certificate-ends");
    assert!(line["message"].as_str().unwrap().contains("tls/a.crt: the certificate has expired"), "{line}");
    // A client that checks the validity refuses it. The other name is not affected.
    let refused = connect_tls(&Arc::new(client_trusting(&[&expired])), site.listen(), NAME).unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    assert!(connect_tls(&Arc::new(client_trusting(&[&good])), site.listen(), "own.example").is_ok());
    until_counted(&site, HANDSHAKES, "alert", 1.0);
    assert_eq!(
        site.metric("waypost_tls_certificate_expiry_timestamp_seconds", "name=\"go.example.com\""),
        978_307_200.0
    );
}
