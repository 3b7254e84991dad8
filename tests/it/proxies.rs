//! Whose word about the buyer's address is taken, and what the event says of it.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::dsl::{Site, Wire, link, request, until};

/// A site that trusts these networks. Each case has a link of its own, by which its event is found.
fn site(trusted: &str, cases: usize) -> Site {
    let links: Vec<String> = (0..cases).map(|case| link(&format!("c{case}"))).collect();
    Site::new(&links).env("WAYPOST__EDGE__TRUSTED_PROXIES", trusted)
}

/// A connection whose peer address is `from`: all of 127/8 is this machine.
fn wire_from(site: &Site, from: &str) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&site.listen().into()).unwrap();
    Wire::over(TcpStream::from(socket))
}

/// Sends one request for each case and compares address and origin with the event's.
fn check(site: &Site, cases: &[(&str, &[&str], &str, &str)]) {
    for (number, (peer, headers, ..)) in cases.iter().enumerate() {
        let answer = wire_from(site, peer).send(&request("GET", &format!("/c{number}"), headers));
        assert_eq!(answer.status, 302);
    }
    let events = site.events_until("clicks", cases.len());
    for (number, (peer, headers, address, from)) in cases.iter().enumerate() {
        let event: &Value = events.iter().find(|event| event["code"] == format!("c{number}")).unwrap();
        assert_eq!(
            (&event["client_ip"], &event["client_ip_from"]),
            (&(*address).into(), &(*from).into()),
            "{peer} {headers:?}"
        );
    }
}

#[test]
fn the_rightmost_address_that_is_no_trusted_proxy_is_the_buyers() {
    let cases: [(&str, &[&str], &str, &str); 12] = [
        ("127.0.0.1", &[], "127.0.0.1", "peer"),
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7"], "203.0.113.7", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: 198.51.100.9, 203.0.113.7"], "203.0.113.7", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7, 10.1.2.3,10.9.9.9"], "203.0.113.7", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7:5123"], "203.0.113.7", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: 2001:db8::7, fd00::1"], "2001:db8::7", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: ::ffff:203.0.113.7"], "203.0.113.7", "xff"),
        // Two lines are one list.
        ("127.0.0.1", &["X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 203.0.113.7"], "203.0.113.7", "xff"),
        // Whoever wrote what is no address saw no further.
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: unknown"], "127.0.0.1", "peer"),
        // The other header is not believed, for a proxy may pass it on as the client sent it.
        ("127.0.0.1", &["Forwarded: for=203.0.113.7"], "127.0.0.1", "peer"),
        ("127.0.0.1", &["X-Real-IP: 203.0.113.7", "CF-Connecting-IP: 203.0.113.8"], "127.0.0.1", "peer"),
    ];
    check(&site("127.0.0.1, 10.0.0.0/8, fd00::/8", cases.len()).start(), &cases);
}

#[test]
fn a_peer_that_is_not_listed_is_not_believed() {
    let cases: [(&str, &[&str], &str, &str); 3] = [
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.1", "peer"),
        ("127.0.0.9", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.9", "peer"),
        ("127.0.7.1", &["X-Forwarded-For: 203.0.113.7"], "203.0.113.7", "xff"),
    ];
    check(&site("127.0.7.0/24", cases.len()).start(), &cases);
    // Nobody is trusted unless the configuration says so.
    let cases = [cases[0]];
    check(&Site::new(&[link("c0")]).start(), &cases);
}

#[test]
fn forwarded_is_read_where_the_proxies_write_that() {
    let cases: [(&str, &[&str], &str, &str); 4] = [
        ("127.0.0.1", &["Forwarded: for=198.51.100.9, for=203.0.113.7;proto=https"], "203.0.113.7", "forwarded"),
        ("127.0.0.1", &["Forwarded: for=\"[2001:db8::7]:4711\""], "2001:db8::7", "forwarded"),
        ("127.0.0.1", &["Forwarded: for=_hidden"], "127.0.0.1", "peer"),
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.1", "peer"),
    ];
    check(&site("127.0.0.0/8", cases.len()).env("WAYPOST__EDGE__ADDRESS_HEADER", "forwarded").start(), &cases);
}

#[test]
fn the_host_is_never_taken_from_a_forwarded_header() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .config("[domains.\"inside.example.com\"]\nroot_url = \"https://inside.example.com/\"\n")
        .start();
    for header in
        ["X-Forwarded-Host: inside.example.com", "Forwarded: host=inside.example.com", "X-Host: inside.example.com"]
    {
        assert_eq!(site.get("/live", &[header]).status, 302, "{header}: the star's link");
        assert_eq!(site.get("/", &[header]).status, 200, "{header}: the star's root");
    }
    let events = site.events_until("clicks", 3);
    assert!(events.iter().all(|event| event["domain"] == "*"));
}

#[test]
fn a_very_long_chain_costs_a_bounded_walk_and_is_still_answered() {
    let site = site("127.0.0.0/8, 10.0.0.0/8", 1).start();
    let chain = format!("X-Forwarded-For: 203.0.113.7{}", ",10.0.0.1".repeat(1000));
    assert_eq!(site.get("/c0", &[&chain]).status, 302);
    let event = until("the event", || site.events("clicks").pop());
    assert_eq!((&event["client_ip"], &event["client_ip_from"]), (&"10.0.0.1".into(), &"xff".into()));
}
