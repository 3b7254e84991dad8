//! What one connection and one address may take: each limit is counted, and none touches a click on a link.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Site, Wire, link, request, until},
    need::lent,
};

const CLOSED: &str = "waypost_connections_closed_total";

fn site(limits: &[(&str, &str)]) -> Site {
    let site = Site::new(&[link("live")]);
    limits.iter().fold(site, |site, (key, value)| site.env(&format!("WAYPOST__EDGE__LIMITS__{key}"), value)).start()
}

fn closed(site: &Site, reason: &str, times: f64) {
    until(reason, || (site.metric(CLOSED, &format!("\"{reason}\"")) == times).then_some(()));
}

#[test]
fn a_connections_last_answer_says_that_it_is_the_last() {
    let site = site(&[("REQUESTS", "3")]);
    let mut wire = site.wire();
    for more in [true, true, false] {
        let answer = wire.send(&request("GET", "/live", &[]));
        assert_eq!((answer.status, answer.header("connection").is_none()), (302, more));
    }
    assert!(wire.closed());
    closed(&site, "max_requests", 1.0);
}

#[test]
fn an_old_connection_is_answered_once_more_and_ends() {
    let site = site(&[("MAX_AGE", "500ms")]);
    let mut wire = site.wire();
    let begun = Instant::now();
    let last = until("the last answer", || {
        let answer = wire.send(&request("GET", "/live", &[]));
        assert_eq!(answer.status, 302);
        answer.header("connection").map(str::to_owned)
    });
    assert_eq!(last, "close");
    assert!(begun.elapsed() >= Duration::from_millis(400), "a tenth less, and one tick of the worker's clock");
    assert!(wire.closed());
    closed(&site, "max_age", 1.0);
}

#[test]
fn a_client_that_never_reads_its_answers_leaves_nothing_in_the_kernel() {
    let site = site(&[("IDLE_TIMEOUT", "1s")]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&site.listen().into()).unwrap();
    let mut deaf = std::net::TcpStream::from(socket);
    // Some ten times what its buffer holds.
    deaf.write_all(request("GET", "/live", &[]).repeat(50).as_bytes()).unwrap();
    closed(&site, "idle", 1.0);
    let ports = format!(":{:04X} 0100007F:{:04X} ", site.listen().port(), deaf.local_addr().unwrap().port());
    until("the kernel gives up what was not read", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        (!table.contains(&ports)).then_some(())
    });
}

#[test]
fn one_address_has_so_many_connections_and_a_place_that_is_left_is_free_again() {
    let site = site(&[("CONNECTIONS_PER_ADDRESS", "2")]);
    let click = request("GET", "/live", &[]);
    let mut kept = [site.wire(), site.wire()];
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302);
    }
    assert!(site.wire().closed());
    closed(&site, "per_address", 1.0);
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302, "what was accepted is served");
    }
    let [first, _second] = kept;
    drop(first);
    until("a free place", || site.wire().try_send(&click).filter(|answer| answer.status == 302));
}

#[test]
fn an_ipv6_network_of_64_bits_has_the_connections_of_one_address_and_a_mapped_address_those_of_its_own() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__CONNECTIONS_PER_ADDRESS", "2")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1")
        .listening_with("proxy_protocol = \"required\"", "")
        .start();
    let click = request("GET", "/live", &[]);
    // One machine has one address of a /64, so the addresses are a proxy's word; the sockets are real.
    let from = |family: &str, address: &str, own: &str| {
        let mut wire = site.wire();
        let answer = wire.try_send(&format!("PROXY {family} {address} {own} 4711 443\r\n{click}"));
        answer.map(|answer| (answer.status, wire))
    };
    let v6 = |address| from("TCP6", address, "2001:db8:ffff::1");
    let kept = ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"].map(|address| v6(address).expect("a seat"));
    assert!(v6("2001:db8:1:2:aaaa::7").is_none(), "the third of its /64");
    closed(&site, "per_address", 1.0);
    let _beside = ["2001:db8:1:3::1", "2001:db8:1:1:ffff::1"].map(|address| v6(address).expect("another /64"));
    let _mapped = [v6("::ffff:192.0.2.1").expect("a seat"), from("TCP4", "192.0.2.1", "198.51.100.1").expect("a seat")];
    assert!(v6("::ffff:192.0.2.1").is_none(), "a mapped address is the IPv4 address");
    closed(&site, "per_address", 2.0);
    assert!(v6("::ffff:192.0.2.2").is_some(), "and not its /64");
    drop(kept);
    until("a free place", || v6("2001:db8:1:2:aaaa::7"));
}

#[test]
fn a_listener_of_ipv6_counts_what_it_accepts() {
    if lent("::1", std::net::TcpListener::bind("[::1]:0")).is_none() {
        return;
    }
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__CONNECTIONS_PER_ADDRESS", "1")
        .listening("[\"[::1]:0\", \"127.0.0.1:0\"]")
        .start();
    let click = request("GET", "/live", &[]);
    let [six, four] = site.listens()[..] else { panic!("two listeners") };
    let mut kept = [Wire::to(six), Wire::to(four)];
    for wire in &mut kept {
        assert_eq!(wire.send(&click).status, 302, "two addresses");
    }
    assert!(Wire::to(six).closed());
    closed(&site, "per_address", 1.0);
}

#[test]
fn a_proxy_that_is_trusted_has_any_number_of_connections() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__CONNECTIONS_PER_ADDRESS", "1")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let mut wires: Vec<_> = (0..5).map(|_| site.wire()).collect();
    for wire in &mut wires {
        assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
    }
}

#[test]
fn unknown_codes_beyond_an_addresss_budget_are_answered_and_counted_and_a_link_is_always_recorded() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__LIMITS__UNKNOWN_PER_ADDRESS", "5")
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let of = |address: &str, path: &str| site.get(path, &[&format!("X-Forwarded-For: {address}")]);
    let first = of("192.0.2.1", "/nobody");
    // So many that a minute which ends meanwhile does not matter.
    for _ in 0..29 {
        let answer = of("192.0.2.1", "/nobody");
        assert_eq!((answer.status, &answer.body), (404, &first.body));
        assert_eq!(of("192.0.2.1", "/live").status, 302);
    }
    let counted_only = || site.metric("waypost_clicks_unrecorded_total", "reason=\"budget\"");
    let asked = || site.metric("waypost_clicks_total", "outcome=\"not_found\"");
    until("every count", || (asked() == 30.0).then_some(()));
    assert!(counted_only() >= 20.0, "{}", counted_only());
    assert_eq!(site.events_until("clicks", 29).len(), 29, "a link's click is recorded, whoever asks");
    let recorded = 30 - counted_only() as usize;
    assert_eq!(site.events_until("clicks.orphan", recorded).len(), recorded);
}
