//! Input that no browser sends. Each gets its status (`conformance.rs`) or a close, is counted by reason, and does not
//! harm other connections.

use std::{net::TcpStream, time::Duration};

use crate::dsl::{Connection, Site, TIMEOUT, request, until};

const CLOSED: &str = "waypost_connections_closed_total";

fn site() -> Site {
    Site::with_codes(&["live"])
}

/// Waits until a counter has this value.
fn until_counted(site: &Site, name: &str, reason: &str, times: f64) {
    until(&format!("{times} {reason}"), || (site.metric(name, &format!("\"{reason}\"")) == times).then_some(()));
}

fn assert_unharmed(site: &Site) {
    assert_eq!(site.get("/live", &[]).status, 302, "the site still serves");
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[test]
fn an_http2_preface_is_closed_and_counted() {
    let site = site();
    let mut wire = site.connect();
    wire.write_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    assert!(wire.is_closed());
    until_counted(&site, CLOSED, "http2_preface", 1.0);
    assert_unharmed(&site);
}

#[test]
fn a_request_head_must_be_complete_in_time_however_steadily_its_bytes_come() {
    // Long enough for a whole request on a loaded machine, much shorter than the dripping takes.
    let site = Site::new(&[crate::dsl::link("live")]).env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "2s").start();
    let (mut silent, mut half, mut again) = (site.connect(), site.connect(), site.connect());
    half.write("GET /live HTTP/1.1\r\nHost: go.exam");
    assert_eq!(again.send(&request("GET", "/live", &[])).status, 302);
    again.write("GET /li");
    let mut dripping = site.connect();
    // A byte each 20 ms, 20 s in all. The write fails once the other side is gone.
    let cut = request("GET", &format!("/live?{}", "x".repeat(1000)), &[]).bytes().any(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        !dripping.write_bytes(&[byte])
    });
    assert!(cut, "a further byte never extends the deadline");
    assert!(silent.is_closed() && half.is_closed() && again.is_closed());
    until_counted(&site, CLOSED, "header_timeout", 4.0);
    assert_unharmed(&site);
}

#[test]
fn a_client_that_sends_requests_and_never_reads_is_cut_and_holds_little() {
    let site = Site::new(&[crate::dsl::link("live")])
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "1s")
        .env("WAYPOST__EDGE__LIMITS__IDLE_TIMEOUT", "1s")
        .env("WAYPOST__EDGE__LIMITS__MAX_REQUESTS", "1000000")
        .start();
    let before = site.metric("process_resident_memory_bytes", "");
    let stream = TcpStream::connect(site.listen()).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let mut wire = Connection::over(stream);
    // The writes fail once the kernel's buffers are full both ways, and the deadline has passed.
    let batch = request("GET", "/nobody", &[]).repeat(1000);
    while wire.write_bytes(batch.as_bytes()) {}
    let grown = site.metric("process_resident_memory_bytes", "") - before;
    assert!(grown < 32e6, "{grown} more bytes");
    // The worker's timeouts, and the kernel's for data that the client does not take (`reset`), have the same length.
    // The first to be noticed ends the connection.
    until("its end is counted", || {
        let ended = ["idle", "header_timeout", "reset"].map(|reason| site.metric(CLOSED, &format!("\"{reason}\"")));
        (ended.iter().sum::<f64>() == 1.0).then_some(())
    });
    assert_unharmed(&site);
}

#[test]
fn a_client_that_leaves_within_a_request_is_counted_and_makes_no_click() {
    let site = site();
    for _ in 0..5 {
        let mut wire = site.connect();
        wire.write("GET /live HTTP/1.1\r\nHo");
        drop(wire);
    }
    drop(site.connect());
    until_counted(&site, CLOSED, "incomplete", 5.0);
    until("no connection open", || (site.metric("waypost_connections_open", "") == 0.0).then_some(()));
    assert_unharmed(&site);
    assert_eq!(site.wait_for_events("clicks", 1).len(), 1);
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_for_keep_alive() {
    let site = site();
    let mut wire = site.connect();
    let answer = wire.send("GET /live HTTP/1.0\r\nHost: go.example.com\r\n\r\n");
    assert_eq!(answer.status, 302);
    assert!(wire.is_closed());
    let mut kept = site.connect();
    for _ in 0..2 {
        let answer = kept.send("GET /live HTTP/1.0\r\nHost: go.example.com\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.status, answer.header("connection")), (302, Some("keep-alive")));
    }
    assert_eq!(site.send("GET /live HTTP/1.0\r\n\r\n").status, 400, "without a host");
    let events = site.wait_for_events("clicks", 3);
    assert!(events.iter().all(|event| event["http_version"] == "1.0"), "{events:?}");
    let mut asked = site.connect();
    assert_eq!(asked.send(&request("GET", "/live", &["Connection: close"])).header("connection"), Some("close"));
    assert!(asked.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order_until_a_malformed_one() {
    let site = site();
    let mut wire = site.connect();
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
    assert!(wire.read(false).is_none(), "nothing behind a malformed request is read");
    assert_eq!(site.wait_for_events("clicks", 2).len(), 2);
}

#[test]
fn a_hundred_pipelined_clicks_at_once_are_a_hundred_events() {
    let site = site();
    let mut wire = site.connect();
    wire.write(&request("GET", "/live", &[]).repeat(100));
    for _ in 0..100 {
        assert_eq!(wire.read(false).unwrap().status, 302);
    }
    assert_eq!(site.wait_for_events("clicks", 100).len(), 100);
}

#[test]
fn every_connection_of_a_flood_of_garbage_ends_counted_and_leaves_nothing_behind() {
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
            // Nearly valid: a valid head with some bytes changed.
            bytes = request("GET", "/live", &["Cookie: a=b", "X: y"]).into_bytes();
            for _ in 0..3 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
        }
        let mut wire: Connection = site.connect();
        wire.write_bytes(&bytes);
    }
    until("every connection ended", || {
        let closed = site.metric(CLOSED, "");
        (closed == FLOOD as f64 && site.metric("waypost_connections_open", "") == 0.0).then_some(())
    });
    assert_eq!(site.metric(CLOSED, "reason=\"other\""), 0.0, "every error of hyper has a reason");
    let grown = site.metric("process_resident_memory_bytes", "") - before;
    assert!(grown < 32e6, "{grown} more bytes");
    assert_unharmed(&site);
}
