//! What no browser sends: each gets its status or a close, is counted by reason, and costs the others nothing.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::dsl::{PATIENCE, Site, Wire, request, until};

const CLOSED: &str = "waypost_connections_closed_total";
const REFUSED: &str = "waypost_requests_refused_total";

fn site() -> Site {
    Site::with_codes(&["live"])
}

/// Waits until a counter has this value, and it then stays the same.
fn counted(site: &Site, name: &str, reason: &str, times: f64) {
    until(&format!("{times} {reason}"), || (site.metric(name, &format!("\"{reason}\"")) == times).then_some(()));
}

fn unharmed(site: &Site) {
    assert_eq!(site.get("/live", &[]).status, 302, "the site still serves");
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

/// `GET /live` with these lines after the request line.
fn head(lines: &str) -> Vec<u8> {
    format!("GET /live HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

#[test]
fn a_head_that_is_no_http_gets_its_status_and_ends_the_connection() {
    let many = |count: usize| {
        let lines: String = (1..count).map(|n| format!("X-{n}: y\r\n")).collect();
        head(&format!("Host: a\r\n{lines}"))
    };
    // A ClientHello as it begins: record, version, length, handshake.
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[0x5a; 64], b"\r\n\r\n"].concat();
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("a header without a colon", head("Host: a\r\nnonsense\r\n"), 400, "malformed"),
        ("a space before the colon", head("Host: a\r\nX : y\r\n"), 400, "malformed"),
        ("an empty name", head("Host: a\r\n: y\r\n"), 400, "malformed"),
        ("a folded header", head("Host: a\r\nX: y\r\n z\r\n"), 400, "malformed"),
        ("NUL in a value", head("Host: a\r\nX: \0\r\n"), 400, "malformed"),
        ("NUL in a name", head("Host: a\r\nX\0: y\r\n"), 400, "malformed"),
        ("NUL in the target", b"GET /li\0ve HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400, "malformed"),
        ("a carriage return alone", head("Host: a\r\nX: a\rb\r\n"), 400, "malformed"),
        ("two lengths", head("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n"), 400, "malformed"),
        ("a length below zero", head("Host: a\r\nContent-Length: -1\r\n"), 400, "malformed"),
        ("a length beyond all", head("Host: a\r\nContent-Length: 99999999999999999999\r\n"), 400, "malformed"),
        ("an unknown coding", head("Host: a\r\nTransfer-Encoding: chunked, gzip\r\n"), 400, "malformed"),
        ("no method", b" /live HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400, "malformed"),
        ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400, "malformed"),
        ("another version", b"GET /live HTTP/3.0\r\nHost: a\r\n\r\n".to_vec(), 400, "malformed"),
        ("another protocol", b"EHLO mail.example.com\r\n\r\n".to_vec(), 400, "malformed"),
        ("TLS", hello, 400, "malformed"),
        ("101 headers", many(101), 431, "too_large"),
        ("a head of 17 KiB", head(&format!("Host: a\r\nX: {}\r\n", "x".repeat(17 << 10))), 431, "too_large"),
        ("a line without an end", vec![b'A'; 17 << 10], 431, "too_large"),
    ];
    let site = site();
    let (mut malformed, mut too_large) = (0.0, 0.0);
    for (what, raw, status, reason) in cases {
        let mut wire = site.wire();
        wire.write_bytes(&raw);
        let answer = wire.read(false).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}");
        assert!(answer.body.is_empty() && answer.header("server").is_none(), "{what}: {answer:?}");
        assert!(wire.closed(), "{what}");
        *(if reason == "malformed" { &mut malformed } else { &mut too_large }) += 1.0;
    }
    counted(&site, CLOSED, "malformed", malformed);
    counted(&site, CLOSED, "too_large", too_large);
    let mut just = site.wire();
    just.write_bytes(&many(100));
    assert_eq!(just.read(false).unwrap().status, 302, "a hundred headers are allowed");
    unharmed(&site);
}

#[test]
fn what_is_http_but_not_for_us_is_refused_and_keeps_the_connection() {
    let long = format!("/{}", "a".repeat(4096));
    let cases: Vec<(String, u16, &str)> = vec![
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405, "method"),
        ("DELETE /live HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405, "method"),
        ("BREW /live HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405, "method"),
        ("GET /live HTTP/1.1\r\n\r\n".into(), 400, "host"),
        ("GET /live HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "host"),
        ("GET /live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400, "host"),
        ("GET /live HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400, "host"),
        ("GET live HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "form"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "form"),
        (format!("GET {long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "uri"),
        (format!("GET /live?{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "uri"),
    ];
    let site = site();
    let mut wire = site.wire();
    for (raw, status, _) in &cases {
        assert_eq!(wire.send(raw).status, *status, "{raw:?}");
    }
    assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302, "the same connection");
    for reason in ["method", "host", "uri", "form"] {
        let times = cases.iter().filter(|(_, _, counted)| *counted == reason).count();
        counted(&site, REFUSED, reason, times as f64);
    }
    assert_eq!(site.metric("waypost_connections_total", ""), 1.0);
    assert_eq!(site.events_until("clicks", 1).len(), 1, "no refusal is a click");
}

#[test]
fn an_http2_preface_is_closed_and_counted() {
    let site = site();
    let mut wire = site.wire();
    wire.write_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    assert!(wire.closed());
    counted(&site, CLOSED, "http2_preface", 1.0);
    unharmed(&site);
}

/// RFC 9112 §2.2 lets a recipient take a bare LF for a line's end; what it may not do is see another request in it.
#[test]
fn a_bare_line_feed_ends_a_line_and_never_hides_a_request() {
    let site = site();
    let mut wire = site.wire();
    wire.write_bytes(b"GET /live HTTP/1.1\nHost: go.example.com\n\n");
    assert_eq!(wire.read(false).unwrap().status, 302);
    assert_eq!(wire.send(&request("GET", "/nobody", &[])).status, 404);
    assert_eq!(site.events_until("clicks", 1).len(), 1);
}

#[test]
fn a_head_must_come_whole_in_time_however_steadily_it_drips() {
    let site = Site::new(&[crate::dsl::link("live")]).env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "400ms").start();
    let begun = Instant::now();
    let (mut silent, mut half, mut again) = (site.wire(), site.wire(), site.wire());
    half.write("GET /live HTTP/1.1\r\nHost: go.exam");
    assert_eq!(again.send(&request("GET", "/live", &[])).status, 302);
    again.write("GET /li");
    let mut dripping = site.wire();
    // A byte each 20 ms; the write fails once the other side is gone.
    let cut = request("GET", &format!("/live?{}", "x".repeat(400)), &[]).bytes().any(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        !dripping.write_bytes(&[byte])
    });
    assert!(cut, "a byte more never extends the deadline");
    assert!(silent.closed() && half.closed() && again.closed());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    counted(&site, CLOSED, "header_timeout", 4.0);
    unharmed(&site);
}

#[test]
fn a_client_that_asks_and_never_reads_is_cut_and_holds_little() {
    let site = Site::new(&[crate::dsl::link("live")])
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "1s")
        .env("WAYPOST__EDGE__LIMITS__IDLE_TIMEOUT", "1s")
        .env("WAYPOST__EDGE__LIMITS__REQUESTS", "1000000")
        .start();
    let before = site.metric("process_resident_memory_bytes", "");
    let stream = TcpStream::connect(site.listen()).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire::over(stream);
    // Until what the kernel holds is full both ways, nothing is taken any more, and the deadline has passed.
    let batch = request("GET", "/nobody", &[]).repeat(1000);
    while wire.write_bytes(batch.as_bytes()) {}
    let grown = site.metric("process_resident_memory_bytes", "") - before;
    assert!(grown < 32e6, "{grown} bytes more");
    until("its end is counted", || {
        let ended = ["idle", "header_timeout"].map(|reason| site.metric(CLOSED, &format!("\"{reason}\"")));
        (ended.iter().sum::<f64>() == 1.0).then_some(())
    });
    unharmed(&site);
}

#[test]
fn a_client_that_leaves_in_the_middle_is_counted_and_no_click() {
    let site = site();
    for _ in 0..5 {
        let mut wire = site.wire();
        wire.write("GET /live HTTP/1.1\r\nHo");
        drop(wire);
    }
    drop(site.wire());
    counted(&site, CLOSED, "incomplete", 5.0);
    until("no connection open", || (site.metric("waypost_connections_open", "") == 0.0).then_some(()));
    unharmed(&site);
    assert_eq!(site.events_until("clicks", 1).len(), 1);
}

#[test]
fn an_announced_body_ends_the_connection_and_hides_no_second_request() {
    let smuggled = request("GET", "/nobody", &[]);
    for (method, announced) in [
        ("GET", format!("Content-Length: {}", smuggled.len())),
        ("GET", "Transfer-Encoding: chunked".to_owned()),
        ("POST", format!("Content-Length: {}", smuggled.len())),
        ("POST", "Content-Length: 9999999999".to_owned()),
        ("GET", format!("Content-Length: {}\r\nTransfer-Encoding: chunked", smuggled.len())),
    ] {
        let site = site();
        let mut wire = site.wire();
        wire.write(&(request(method, "/live", &[&announced]) + &smuggled));
        let answer = wire.read(false).unwrap();
        assert_eq!(answer.status, if method == "GET" { 302 } else { 405 }, "{announced}");
        assert_eq!(answer.header("connection"), Some("close"), "{announced}");
        assert!(wire.read(false).is_none(), "the body is no request: {announced}");
        unharmed(&site);
        assert!(site.events("clicks.orphan").is_empty(), "{announced}");
    }
    let site = site();
    let mut wire = site.wire();
    assert_eq!(wire.send(&request("GET", "/live", &["Content-Length: 0"])).status, 302);
    assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302, "no body, no close");
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() {
    let site = site();
    let mut wire = site.wire();
    let answer = wire.send("GET /live HTTP/1.0\r\nHost: go.example.com\r\n\r\n");
    assert_eq!(answer.status, 302);
    assert!(wire.closed());
    let mut kept = site.wire();
    for _ in 0..2 {
        let answer = kept.send("GET /live HTTP/1.0\r\nHost: go.example.com\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.status, answer.header("connection")), (302, Some("keep-alive")));
    }
    assert_eq!(site.send("GET /live HTTP/1.0\r\n\r\n").status, 400, "which host, then?");
    let events = site.events_until("clicks", 3);
    assert!(events.iter().all(|event| event["http_version"] == "1.0"), "{events:?}");
    let mut asked = site.wire();
    assert_eq!(asked.send(&request("GET", "/live", &["Connection: close"])).header("connection"), Some("close"));
    assert!(asked.closed());
}

#[test]
fn pipelined_requests_are_answered_in_order_with_bad_ones_among_them() {
    let site = site();
    let mut wire = site.wire();
    let asked = [("/live", 302), ("/nobody", 404), ("/robots.txt", 200), ("/live?x=1", 302)];
    let mut raw: String = asked.iter().map(|(path, _)| request("GET", path, &[])).collect();
    raw += "POST /live HTTP/1.1\r\nHost: a\r\n\r\n";
    raw += "broken\r\n\r\n";
    raw += &request("GET", "/live", &[]);
    wire.write(&raw);
    for (path, status) in asked {
        assert_eq!(wire.read(false).unwrap().status, status, "{path}");
    }
    assert_eq!(wire.read(false).unwrap().status, 405);
    assert_eq!(wire.read(false).unwrap().status, 400);
    assert!(wire.read(false).is_none(), "nothing is believed after what was broken");
    assert_eq!(site.events_until("clicks", 2).len(), 2);
}

#[test]
fn a_hundred_pipelined_clicks_at_once_are_a_hundred_events() {
    let site = site();
    let mut wire = site.wire();
    wire.write(&request("GET", "/live", &[]).repeat(100));
    for _ in 0..100 {
        assert_eq!(wire.read(false).unwrap().status, 302);
    }
    assert_eq!(site.events_until("clicks", 100).len(), 100);
}

#[test]
fn a_flood_of_garbage_ends_counted_and_leaves_nothing_behind() {
    const FLOOD: usize = 300;
    let site = site();
    let before = site.metric("process_resident_memory_bytes", "");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..FLOOD {
        let mut bytes: Vec<u8> = (0..random() % 6000).map(|_| random() as u8).collect();
        if number % 3 == 0 {
            // Nearly right: a good head with some bytes turned.
            bytes = request("GET", "/live", &["Cookie: a=b", "X: y"]).into_bytes();
            for _ in 0..3 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
        }
        let mut wire: Wire = site.wire();
        wire.write_bytes(&bytes);
    }
    until("every connection ended", || {
        let closed = site.metric(CLOSED, "");
        (closed == FLOOD as f64 && site.metric("waypost_connections_open", "") == 0.0).then_some(())
    });
    assert_eq!(site.metric(CLOSED, "reason=\"other\""), 0.0, "hyper's classes are known");
    let grown = site.metric("process_resident_memory_bytes", "") - before;
    assert!(grown < 32e6, "{grown} bytes more");
    unharmed(&site);
}
