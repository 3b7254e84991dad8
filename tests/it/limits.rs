//! The limits of one connection and of one address. Each is counted, and none affects a click on a link.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Connection, Site, link, request, until},
    need::optional,
};

const CLOSED: &str = "waypost_connections_closed_total";

/// A started site with these keys of `[edge.limits]`.
fn site_with_limits(limits: &[(&str, &str)]) -> Site {
    let site = Site::new(&[link("live")]);
    limits.iter().fold(site, |site, (key, value)| site.env(&format!("WAYPOST__EDGE__LIMITS__{key}"), value)).start()
}

/// Waits until so many connections have ended for this reason.
fn until_closed(site: &Site, reason: &str, times: f64) {
    until(reason, || (site.metric(CLOSED, &format!("\"{reason}\"")) == times).then_some(()));
}

#[test]
fn the_answer_to_the_last_allowed_request_says_that_the_connection_closes() {
    let site = site_with_limits(&[("MAX_REQUESTS", "3")]);
    let mut wire = site.connect();
    for more in [true, true, false] {
        let answer = wire.send(&request("GET", "/live", &[]));
        assert_eq!((answer.status, answer.header("connection").is_none()), (302, more));
    }
    assert!(wire.is_closed());
    until_closed(&site, "max_requests", 1.0);
}

#[test]
fn a_connection_at_its_maximal_age_is_answered_once_more_and_ends() {
    let site = site_with_limits(&[("MAX_CONNECTION_AGE", "3s")]);
    let mut wire = site.connect();
    let start = Instant::now();
    let last = until("the last answer", || {
        let answer = wire.send(&request("GET", "/live", &[]));
        assert_eq!(answer.status, 302);
        answer.header("connection").map(str::to_owned)
    });
    assert_eq!(last, "close");
    // A tenth less by chance, and what the worker's clock was behind at the accept.
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(wire.is_closed());
    until_closed(&site, "max_age", 1.0);
}

#[test]
fn a_client_that_never_reads_its_answers_leaves_nothing_in_the_kernel() {
    let site = site_with_limits(&[("IDLE_TIMEOUT", "1s")]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&site.listen().into()).unwrap();
    let mut not_reading = std::net::TcpStream::from(socket);
    // About ten times what its receive buffer holds.
    not_reading.write_all(request("GET", "/live", &[]).repeat(50).as_bytes()).unwrap();
    // `idle` by the worker, or `reset` by the kernel: both have the same timeout.
    until("its end is counted", || {
        let ended = ["idle", "reset"].map(|reason| site.metric(CLOSED, &format!("\"{reason}\"")));
        (ended.iter().sum::<f64>() == 1.0).then_some(())
    });
    let ports = format!(":{:04X} 0100007F:{:04X} ", site.listen().port(), not_reading.local_addr().unwrap().port());
    until("the kernel drops the unread answers", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        (!table.contains(&ports)).then_some(())
    });
}

#[test]
fn the_connections_of_an_address_are_limited_and_a_closed_one_makes_room() {
    let site = site_with_limits(&[("MAX_CONNECTIONS_PER_ADDRESS", "2")]);
    let click = request("GET", "/live", &[]);
    let mut kept = [site.connect(), site.connect()];
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302);
    }
    assert!(site.connect().is_closed());
    until_closed(&site, "per_address", 1.0);
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302, "accepted connections are served");
    }
    let [first, _second] = kept;
    drop(first);
    until("room for another connection", || site.connect().try_send(&click).filter(|answer| answer.status == 302));
}

#[test]
fn a_full_table_closes_the_idle_connection_and_a_new_one_takes_its_place() {
    let site = site_with_limits(&[("MAX_CONNECTIONS", "2"), ("IDLE_TIMEOUT", "1h")]);
    let click = request("GET", "/live", &[]);
    let [mut busy, mut idle, mut new] = [site.connect(), site.connect(), site.connect()];
    assert_eq!((busy.send(&click).status, idle.send(&click).status), (302, 302));
    new.write(&click);
    until("the idle connection makes room", || {
        assert_eq!(busy.send(&click).status, 302, "it is never idle for long");
        (site.metric(CLOSED, "\"made_room\"") == 1.0).then_some(())
    });
    assert_eq!(new.read(false).expect("an answer").status, 302);
    assert!(idle.is_closed());
    assert_eq!(busy.send(&click).status, 302);
}

#[test]
fn an_ipv6_network_of_64_bits_has_the_limit_of_one_address_and_a_mapped_address_that_of_its_ipv4_address() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "2")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1")
        .listening_with("proxy_protocol = \"required\"", "")
        .start();
    let click = request("GET", "/live", &[]);
    // This machine has one address of a /64, so the addresses come in PROXY headers. The sockets are real.
    let from = |family: &str, address: &str, own: &str| {
        let mut wire = site.connect();
        let answer = wire.try_send(&format!("PROXY {family} {address} {own} 4711 443\r\n{click}"));
        answer.map(|answer| (answer.status, wire))
    };
    let v6 = |address| from("TCP6", address, "2001:db8:ffff::1");
    let kept = ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"].map(|address| v6(address).expect("a permit"));
    assert!(v6("2001:db8:1:2:aaaa::7").is_none(), "the third of its /64");
    until_closed(&site, "per_address", 1.0);
    let _beside = ["2001:db8:1:3::1", "2001:db8:1:1:ffff::1"].map(|address| v6(address).expect("another /64"));
    let _mapped =
        [v6("::ffff:192.0.2.1").expect("a permit"), from("TCP4", "192.0.2.1", "198.51.100.1").expect("a permit")];
    assert!(v6("::ffff:192.0.2.1").is_none(), "a mapped address is the IPv4 address");
    until_closed(&site, "per_address", 2.0);
    assert!(v6("::ffff:192.0.2.2").is_some(), "and not its /64");
    drop(kept);
    until("room for another connection", || v6("2001:db8:1:2:aaaa::7"));
}

#[test]
fn the_limit_by_address_holds_on_an_ipv6_listener() {
    if optional("::1", std::net::TcpListener::bind("[::1]:0")).is_none() {
        return;
    }
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "1")
        .listening("[\"[::1]:0\", \"127.0.0.1:0\"]")
        .start();
    let click = request("GET", "/live", &[]);
    let [six, four] = site.listens()[..] else { panic!("two listeners") };
    let mut kept = [Connection::to(six), Connection::to(four)];
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302, "two addresses");
    }
    assert!(Connection::to(six).is_closed());
    until_closed(&site, "per_address", 1.0);
}

#[test]
fn a_trusted_proxy_has_any_number_of_connections() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "1")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let mut wires: Vec<_> = (0..5).map(|_| site.connect()).collect();
    for wire in &mut wires {
        assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
    }
}

#[test]
fn unknown_codes_above_the_rate_limit_are_answered_and_only_counted_and_a_click_on_a_link_is_always_recorded() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__MAX_UNKNOWN_CODES_PER_ADDRESS", "5")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let of = |address: &str, path: &str| site.get(path, &[&format!("X-Forwarded-For: {address}")]);
    let first = of("192.0.2.1", "/nobody");
    // So many that the end of a minute meanwhile does not matter.
    for _ in 0..29 {
        let answer = of("192.0.2.1", "/nobody");
        assert_eq!((answer.status, &answer.body), (404, &first.body));
        assert_eq!(of("192.0.2.1", "/live").status, 302);
    }
    let counted_only = || site.metric("waypost_clicks_unrecorded_total", "reason=\"rate_limited\"");
    let asked = || site.metric("waypost_clicks_total", "outcome=\"not_found\"");
    until("every count", || (asked() == 30.0).then_some(()));
    assert!(counted_only() >= 20.0, "{}", counted_only());
    assert_eq!(site.wait_for_events("clicks", 29).len(), 29, "every click on a link is recorded");
    let recorded = 30 - counted_only() as usize;
    assert_eq!(site.wait_for_events("clicks.orphan", recorded).len(), recorded);
}
