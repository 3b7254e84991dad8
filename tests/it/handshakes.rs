//! TLS handshakes that flood, stall, break off, meet a stop, or follow a PROXY header; certificates as certbot lays them.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    dsl::{PATIENCE, Site, Wire, link, request, until},
    h2,
    pairs::{Pem, Tls, ask, client, dial, listening, made, made_until, site, write_pair},
};

const CLOSED: &str = "waypost_connections_closed_total";
const HANDSHAKES: &str = "waypost_tls_handshakes_total";
const NAME: &str = "go.example.com";

fn counted(site: &Site, name: &str, label: &str, times: f64) {
    until(&format!("{name} {label} {times}"), || (site.metric(name, &format!("\"{label}\"")) == times).then_some(()));
}

/// A handshake whose first flight is sent and answered, and which waits there.
fn begun(config: &Arc<ClientConfig>, to: SocketAddr) -> Tls {
    let mut tls = hello(config, to);
    assert!(tls.sock.peek(&mut [0]).unwrap() > 0);
    tls.sock.flush().unwrap();
    tls
}

/// A connection that has sent its first flight.
fn hello(config: &Arc<ClientConfig>, to: SocketAddr) -> Tls {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut session = ClientConnection::new(config.clone(), ServerName::try_from(NAME).unwrap()).unwrap();
    session.write_tls(&mut stream).unwrap();
    StreamOwned::new(session, stream)
}

/// One click on a kept connection.
fn click(tls: &mut Tls) {
    tls.write_all(request("GET", "/live", &[]).as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(tls.read(&mut byte).unwrap(), 1);
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 302 Found\r\n"));
}

/// Sends SIGTERM and waits until nothing is accepted any more.
fn stop(site: &Site) {
    site.signal("-TERM");
    until("no more is accepted", || TcpStream::connect(site.listens()[1]).err());
}

#[test]
fn a_flood_of_handshakes_is_shed_and_neither_kept_nor_plain_connections_feel_it() {
    let pair = made(&[NAME]);
    let site = site(&[("a", &pair)])
        .env("WAYPOST__EDGE__WORKERS", "1")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKES", "2")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "2s")
        .start();
    let config = Arc::new(client(&[&pair]));
    let mut kept = dial(&config, site.listen(), NAME).unwrap();
    let mut plain = Wire::to(site.listens()[1]);
    // Silence takes no place.
    let mut silent: Vec<Wire> = (0..3).map(|_| site.wire()).collect();
    (0..20).for_each(|_| drop(dial(&config, site.listen(), NAME).unwrap()));
    let shed = |reason: &str| site.metric(CLOSED, &format!("\"{reason}\""));
    assert_eq!(shed("handshake_busy"), 0.0);
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(begun(&config, site.listen()));
        click(&mut kept);
        assert_eq!(plain.send(&request("GET", "/live", &[])).status, 302);
    }
    click(&mut dial(&config, site.listen(), NAME).unwrap());
    // The last of the flood, and those that never said a word.
    counted(&site, CLOSED, "handshake_timeout", 4.0);
    counted(&site, CLOSED, "handshake_busy", 19.0);
    assert_eq!(site.metric(HANDSHAKES, "\"busy\""), 19.0);
    assert!(flood.iter_mut().all(|tls| ask(tls, "/live").is_err()));
    assert!(silent.iter_mut().all(Wire::closed));
}

#[test]
fn where_every_place_is_taken_the_oldest_handshake_gives_way_and_a_buyer_is_served() {
    let pair = made(&[NAME]);
    let site = site(&[("a", &pair)])
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKES", "3")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "1m")
        .env("WAYPOST__EDGE__WORKERS", "1")
        .start();
    // Each in the middle of a record, for as long as it may.
    let mut silent: Vec<Wire> = (0..3).map(|_| site.wire()).collect();
    for wire in &mut silent {
        wire.write_bytes(&[22, 3, 1, 1, 0, 1]);
    }
    let mut buyers = 0;
    let busy = || site.metric(HANDSHAKES, "\"busy\"");
    until("a silent one has given way", || {
        let mut tls = dial(&Arc::new(client(&[&pair])), site.listen(), NAME).unwrap();
        assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
        buyers += 1;
        (busy() == 1.0).then_some(())
    });
    assert!(silent.remove(0).closed_with().is_empty());
    // Two places are taken, one is free: nobody else has to go.
    for _ in 0..8 {
        let mut tls = dial(&Arc::new(client(&[&pair])), site.listen(), NAME).unwrap();
        assert!(ask(&mut tls, "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    }
    until("all are counted", || {
        let done = site.metric(HANDSHAKES, "\"done\"");
        (done == f64::from(buyers + 8)).then_some(())
    });
    assert_eq!(busy(), 1.0);
}

#[test]
fn a_ticket_does_not_wait_for_a_request_that_is_not_there_yet() {
    let pair = made(&[NAME]);
    let site = site(&[("a", &pair)]).start();
    let mut tls = dial(&Arc::new(client(&[&pair])), site.listen(), NAME).unwrap();
    while tls.conn.tls13_tickets_received() == 0 {
        tls.conn.read_tls(&mut tls.sock).unwrap();
        tls.conn.process_new_packets().unwrap();
    }
    click(&mut tls);
}

#[test]
fn a_handshake_under_way_at_the_stop_is_finished_and_its_click_answered() {
    let pair = made(&[NAME]);
    let mut site = site(&[("a", &pair)]).start();
    let config = Arc::new(client(&[&pair]));
    let mut half = begun(&config, site.listen());
    // Its request is on its way.
    let mut fresh = dial(&config, site.listen(), NAME).unwrap();
    stop(&site);
    for tls in [&mut half, &mut fresh] {
        // `ask` reads to the end: one without close_notify is an error.
        let answer = ask(tls, "/live").unwrap();
        assert!(answer.starts_with("HTTP/1.1 302 Found\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(site.wait().0, Some(0));
    assert_eq!(site.events("clicks").len(), 2);
}

/// Reads HTTP/2 to the end; gives the status of stream 1. `hears`: answers what wants an answer.
fn rest(tls: &mut Tls, hears: bool) -> (Option<u16>, std::io::Result<()>) {
    let mut status = None;
    loop {
        let mut head = [0; 9];
        if let Err(error) = tls.read_exact(&mut head) {
            // Between two frames, an end that is meant.
            let meant = error.kind() == ErrorKind::UnexpectedEof
                && error.get_ref().is_none_or(|why| !why.to_string().contains("close_notify"));
            return (status, if meant { Ok(()) } else { Err(error) });
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        tls.read_exact(&mut payload).unwrap();
        match (head[3], head[4]) {
            (h2::HEADERS, _) => status = Some(h2::status_of(&payload)),
            (kind @ (h2::PING | h2::SETTINGS), 0) if hears => {
                let back = if kind == h2::PING { &payload[..] } else { &[] };
                // It may have ended already.
                let _ = tls.write_all(&h2::frame(kind, h2::ACK, 0, back));
            }
            _ => {}
        }
    }
}

#[test]
fn over_http2_it_is_finished_too_and_a_client_that_does_not_hear_goaway_holds_nothing_up() {
    let pair = made(&[NAME]);
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    write_pair(&site, "a", &pair);
    let listen = "[{ address = \"127.0.0.1:0\", tls = true, http2 = true }, { address = \"127.0.0.1:0\" }]";
    let mut site = site.arg("--listen").arg(listen).start();
    let mut config = client(&[&pair]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let mut both = [begun(&config, site.listen()), begun(&config, site.listen())];
    stop(&site);
    let asked = [
        h2::PREFACE,
        &h2::frame(h2::SETTINGS, 0, 0, &h2::setting(1, 0)),
        &h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, 1, &h2::get("/live")),
    ];
    both.iter_mut().for_each(|tls| tls.write_all(&asked.concat()).unwrap());
    let [hears, deaf] = &mut both;
    let (status, end) = rest(hears, true);
    assert_eq!(status, Some(302));
    end.unwrap();
    assert_eq!(rest(deaf, false).0, Some(302));
    let (code, log) = site.wait();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn silence_takes_no_place_for_handshakes_and_holds_no_stop_up() {
    let pair = made(&[NAME]);
    let mut site = site(&[("a", &pair)])
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKES", "1")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "60s")
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "60s")
        .start();
    let mut silent: Vec<Wire> = (0..8).map(|_| site.wire()).collect();
    click(&mut dial(&Arc::new(client(&[&pair])), site.listen(), NAME).unwrap());
    stop(&site);
    assert!(silent.iter_mut().all(|wire| wire.closed_with().is_empty()));
    let (code, log) = site.wait();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn kept_and_silent_connections_are_closed_in_order_at_the_stop() {
    let pair = made(&[NAME]);
    let mut site = site(&[("a", &pair)]).start();
    let config = Arc::new(client(&[&pair]));
    let mut kept = dial(&config, site.listen(), NAME).unwrap();
    click(&mut kept);
    let mut silent = dial(&config, site.listen(), NAME).unwrap();
    let mut raw = site.wire();
    stop(&site);
    for tls in [&mut kept, &mut silent] {
        assert_eq!(tls.read(&mut [0]).unwrap(), 0, "close_notify");
    }
    assert!(raw.closed_with().is_empty());
    let (code, log) = site.wait();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn a_connection_that_idles_too_long_is_closed_in_order() {
    let pair = made(&[NAME]);
    let site = site(&[("a", &pair)]).env("WAYPOST__EDGE__LIMITS__IDLE_TIMEOUT", "300ms").start();
    let mut kept = dial(&Arc::new(client(&[&pair])), site.listen(), NAME).unwrap();
    click(&mut kept);
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "close_notify");
    counted(&site, CLOSED, "idle", 1.0);
}

#[test]
fn a_proxys_header_and_the_handshake_have_one_deadline_together() {
    let pair = made(&[NAME]);
    let site = Site::new(&[link("live")])
        .env("WAYPOST__TLS__DIRECTORY", "tls")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .env("WAYPOST__EDGE__LIMITS__HANDSHAKE_TIMEOUT", "1s");
    write_pair(&site, "a", &pair);
    let site = site.listening_with("tls = true, proxy_protocol = \"required\"", "").start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
    // Nothing, half a header, a header, and a header with the beginning of a handshake.
    let begun = Instant::now();
    let mut wires = ["", &header[..20], header, &(header.to_owned() + "\x16\x03\x01")].map(|sent| {
        let mut wire = site.wire();
        wire.write(sent);
        wire
    });
    assert!(wires.iter_mut().all(|wire| wire.closed_with().is_empty()));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(990) && took < Duration::from_secs(5), "{took:?}");
    counted(&site, CLOSED, "handshake_timeout", 4.0);
    counted(&site, HANDSHAKES, "timeout", 4.0);

    let mut stream = TcpStream::connect(site.listen()).unwrap();
    stream.write_all(header.as_bytes()).unwrap();
    let session = ClientConnection::new(Arc::new(client(&[&pair])), ServerName::try_from(NAME).unwrap()).unwrap();
    assert!(ask(&mut StreamOwned::new(session, stream), "/live").unwrap().starts_with("HTTP/1.1 302 Found\r\n"));
    assert_eq!(site.events_until("clicks", 1)[0]["client_ip"], "203.0.113.7");
}

#[test]
fn whoever_leaves_or_refuses_during_the_handshake_is_counted_by_how() {
    let (pair, other) = (made(&[NAME]), made(&[NAME]));
    let site = site(&[("a", &pair)]).start();
    let config = Arc::new(client(&[&pair]));
    // As a balancer looks after our health; in the middle of a record; before its last flight.
    drop(TcpStream::connect(site.listen()).unwrap());
    counted(&site, HANDSHAKES, "left", 1.0);
    site.wire().write_bytes(&[22, 3, 1, 2, 0, 1]);
    counted(&site, HANDSHAKES, "left", 2.0);
    drop(begun(&config, site.listen()));
    counted(&site, HANDSHAKES, "left", 3.0);
    let refused = dial(&Arc::new(client(&[&other])), site.listen(), NAME).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
    counted(&site, HANDSHAKES, "alert", 1.0);
    counted(&site, CLOSED, "handshake", 4.0);
    assert!(ask(&mut dial(&config, site.listen(), NAME).unwrap(), "/live").unwrap().starts_with("HTTP/1.1 302 "));
}

#[test]
fn what_is_no_tls_has_one_answer_an_alert_and_the_end() {
    let pair = made(&[NAME]);
    let site = site(&[("a", &pair)]).start();
    let head = "GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let cases: [&[u8]; 6] = [
        head.as_bytes(),
        preface.as_bytes(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n",
        b"SSH-2.0-x\r\n",
        &[0; 64],
        // A record of handshake that holds none.
        &[22, 3, 1, 0, 4, 99, 0, 0, 0],
    ];
    for (number, junk) in cases.iter().enumerate() {
        let mut wire = site.wire();
        wire.write_bytes(junk);
        let said = wire.closed_with();
        // Fatal: decode_error, or unexpected_message.
        assert!(
            [[21, 3, 3, 0, 2, 2, 50], [21, 3, 3, 0, 2, 2, 10]].iter().any(|alert| said == alert),
            "{number}: {said:?}"
        );
        counted(&site, HANDSHAKES, "junk", (number + 1) as f64);
    }
    counted(&site, CLOSED, "handshake", 6.0);
    assert_eq!(site.metric("waypost_clicks_total", ""), 0.0);
}

/// As certbot lays a name: `live/NAME` has links to the files of one issue.
fn issue(site: &Site, name: &str, number: u32, (cert, key): &Pem) {
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
fn names_as_certbot_lays_them_are_all_served_renewed_added_and_taken_away() {
    let (go, own) = (made(&[NAME]), made(&["own.example"]));
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "live");
    issue(&site, NAME, 1, &go);
    issue(&site, "own.example", 1, &own);
    // What else lies there is no pair.
    std::fs::write(site.path("live/README"), "of certbot").unwrap();
    std::fs::create_dir_all(site.path("live/..data")).unwrap();
    std::fs::create_dir_all(site.path("live/empty")).unwrap();
    let site = listening(site, "").start();
    let shows = |name: &str, pair: &Pem| dial(&Arc::new(client(&[pair])), site.listen(), name).is_ok();
    assert!(shows(NAME, &go) && shows("own.example", &own));
    let (renewed, added) = (made(&[NAME]), made(&["new.example"]));
    issue(&site, NAME, 2, &renewed);
    issue(&site, "new.example", 1, &added);
    until("both are served", || (shows(NAME, &renewed) && shows("new.example", &added)).then_some(()));
    assert!(shows("own.example", &own) && !shows(NAME, &go));
    std::fs::remove_dir_all(site.path("live/own.example")).unwrap();
    let ends = |name: &str| site.metric("waypost_tls_cert_not_after_seconds", &format!("name=\"{name}\""));
    until("it is served no more", || (ends("own.example") == 0.0).then_some(()));
    assert!(ends(NAME) > 0.0 && !shows("own.example", &own));
    assert_eq!(site.told("certificate_refused"), 0);
}

#[test]
fn a_pair_that_has_expired_is_served_at_the_start_and_told() {
    let (expired, good) = (made_until(&[NAME], 2001), made(&["own.example"]));
    let site = site(&[("a", &expired), ("b", &good)]);
    let check = site.command(&["check", "--links", "links.jsonl"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success() && said.contains("tls/a.crt: the certificate has expired"), "{said}");
    let site = site.start();
    let line = site.tells("certificate_refused", "bounded", "certificate-ends");
    assert!(line["message"].as_str().unwrap().contains("tls/a.crt: the certificate has expired"), "{line}");
    // Who looks at the days refuses it; the other name is none the worse.
    let refused = dial(&Arc::new(client(&[&expired])), site.listen(), NAME).unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    assert!(dial(&Arc::new(client(&[&good])), site.listen(), "own.example").is_ok());
    counted(&site, HANDSHAKES, "alert", 1.0);
    assert_eq!(site.metric("waypost_tls_cert_not_after_seconds", "name=\"go.example.com\""), 978_307_200.0);
}
