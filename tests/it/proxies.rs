//! Whose word about the buyer's address is taken, and what the event says of it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::{
    dsl::{Site, Wire, link, request, until},
    need::lent,
};

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
    let cases: [(&str, &[&str], &str, &str); 13] = [
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
        // Some servers make underscores of hyphens: it is another header.
        ("127.0.0.1", &["X_Forwarded_For: 203.0.113.7"], "127.0.0.1", "peer"),
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

/// A version 2 header as a proxy writes it.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &len, addresses].concat()
}

const V2_TCP4: [u8; 12] = [203, 0, 113, 7, 127, 0, 0, 1, 0xc8, 0x22, 0, 80];

/// A site with a listener for each word of `proxy_protocol`, which believes 127.0.0.0/24.
fn proxied(modes: &[&str], cases: usize) -> Site {
    let links: Vec<String> = (0..cases).map(|case| link(&format!("c{case}"))).collect();
    let listen = modes.iter().map(|mode| format!("{{ address = \"127.0.0.1:0\", proxy_protocol = \"{mode}\" }}"));
    Site::new(&links)
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/24, 10.0.0.0/8")
        .listening(&format!("[{}]", listen.collect::<Vec<_>>().join(", ")))
        .start()
}

fn wire_to(listen: SocketAddr, from: &str) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&listen.into()).unwrap();
    Wire::over(TcpStream::from(socket))
}

#[test]
fn a_proxy_protocol_header_names_the_buyer_and_the_event_says_so() {
    let v1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 51234 80\r\n".to_vec();
    let v1_6 = b"PROXY TCP6 2001:db8::7 ::1 51234 80\r\n".to_vec();
    let tlv = [&V2_TCP4[..], &[4, 0, 3, 0, 0, 0]].concat();
    let inside = b"PROXY TCP4 10.0.0.1 127.0.0.1 51234 80\r\n".to_vec();
    let xff: &[&str] = &["X-Forwarded-For: 198.51.100.9"];
    let cases: [(Vec<u8>, &[&str], &str, &str); 9] = [
        (v1.clone(), &[], "203.0.113.7", "proxy"),
        (v1_6, &[], "2001:db8::7", "proxy"),
        (v2(0x21, 0x11, &V2_TCP4), &[], "203.0.113.7", "proxy"),
        (v2(0x21, 0x11, &tlv), &[], "203.0.113.7", "proxy"),
        (v2(0x20, 0, &[]), &[], "127.0.0.1", "peer"),
        (b"PROXY UNKNOWN\r\n".to_vec(), &[], "127.0.0.1", "peer"),
        // The header's client is nobody's proxy: what it says of itself is not believed.
        (v1, xff, "203.0.113.7", "proxy"),
        (inside, xff, "198.51.100.9", "xff"),
        (b"PROXY UNKNOWN\r\n".to_vec(), xff, "198.51.100.9", "xff"),
    ];
    let site = proxied(&["required", "optional"], 2 * cases.len());
    for (at, listen) in site.listens().iter().enumerate() {
        for (number, (header, headers, ..)) in cases.iter().enumerate() {
            let code = format!("/c{}", at * cases.len() + number);
            let mut wire = wire_to(*listen, "127.0.0.1");
            // Header and request in one segment, and cut where nobody would.
            let cut = [header.len(), 1, 5, header.len() - 1][number % 4];
            assert!(wire.write_bytes(&header[..cut]));
            let rest = [&header[cut..], request("GET", &code, headers).as_bytes()].concat();
            assert!(wire.write_bytes(&rest));
            assert_eq!(wire.read(false).expect("an answer").status, 302);
            // The connection is kept as any other.
            assert_eq!(wire.send(&request("GET", "/healthz", &[])).status, 404);
        }
    }
    let events = site.events_until("clicks", 2 * cases.len());
    for (number, (header, headers, address, from)) in cases.iter().chain(&cases).enumerate() {
        let event: &Value = events.iter().find(|event| event["code"] == format!("c{number}")).unwrap();
        let (found, want) = ((&event["client_ip"], &event["client_ip_from"]), (&(*address).into(), &(*from).into()));
        assert_eq!(found, want, "{} {headers:?}", String::from_utf8_lossy(header));
    }
}

#[test]
fn a_proxy_protocol_header_from_a_stranger_ends_the_connection_and_is_counted() {
    let site = proxied(&["required", "optional", "off"], 1);
    let [required, optional, off] = site.listens()[..] else { panic!("three listeners") };
    let closed = |reason: &str, count: f64| {
        until(reason, || {
            let found = site.metric("waypost_connections_closed_total", &format!("reason=\"{reason}\""));
            (found == count).then_some(())
        });
    };
    let header = "PROXY TCP4 203.0.113.7 127.0.0.1 51234 80\r\n";
    let whole = format!("{header}{}", request("GET", "/c0", &[]));
    for listen in [required, optional] {
        assert!(wire_to(listen, "127.0.9.1").try_send(&whole).is_none());
    }
    // Not even a word: there is nothing that it could say.
    assert!(wire_to(required, "127.0.9.1").closed());
    closed("proxy_untrusted", 3.0);
    assert_eq!(
        wire_to(optional, "127.0.9.1").send(&request("GET", "/c0", &[])).status,
        302,
        "a buyer beside the proxy"
    );
    assert_eq!(wire_to(optional, "127.0.0.1").send(&request("GET", "/c0", &[])).status, 302, "a proxy's plain request");
    assert!(wire_to(required, "127.0.0.1").try_send(&request("GET", "/c0", &[])).is_none());
    closed("proxy_missing", 1.0);
    let long = v2(0x21, 0x11, &[0; 521]);
    for bad in [&b"PROXY TCP4 203.0.113.7\r\n"[..], &v2(0x22, 0x11, &V2_TCP4), &long] {
        let mut wire = wire_to(optional, "127.0.0.1");
        assert!(wire.write_bytes(bad));
        assert!(wire.closed());
    }
    closed("proxy_malformed", 3.0);
    // Where it is off, a header is bad HTTP.
    assert_eq!(wire_to(off, "127.0.0.1").send(&whole).status, 400);
    assert_eq!(site.events_until("clicks", 2).len(), 2);
}

#[test]
fn a_proxy_protocol_header_that_does_not_come_to_its_end_is_not_waited_for() {
    let listen = "[{ address = \"127.0.0.1:0\", proxy_protocol = \"optional\" }]";
    let site = Site::new(&[link("c0")])
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1")
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "300ms")
        .listening(listen)
        .start();
    let mut wire = site.wire();
    wire.write("PROXY TCP4 203.0.113.7 ");
    assert!(wire.closed());
    until("its count", || {
        (site.metric("waypost_connections_closed_total", "reason=\"header_timeout\"") == 1.0).then_some(())
    });
}

/// A proxy that somebody else wrote, on the snippet that we ship.
struct Proxy {
    child: Child,
    listen: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shipped snippet with this test's addresses: `bind` is what it says of its own port, 8080 of 127.0.0.1 is Waypost.
fn snippet(file: &str, bind: &str, listen: SocketAddr, site: &Site) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap();
    assert!(text.contains(bind) && text.contains("127.0.0.1:8080"), "{file}");
    let own = bind.replace(":80", "80").replace("80", &listen.to_string());
    text.replace(bind, &own).replace("127.0.0.1:8080", &site.listen().to_string())
}

/// Starts a proxy if it is installed and waits until it listens.
fn proxy(program: &str, args: &[&str], listen: SocketAddr) -> Option<Proxy> {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.args(args).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
    let child = lent(program, command.spawn())?;
    let mut proxy = Proxy { child, listen };
    until(program, || {
        assert!(proxy.child.try_wait().unwrap().is_none(), "{program} ended");
        TcpStream::connect(listen).ok()
    });
    Some(proxy)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Clicks through the proxy from an address of our own, one with a forged header, and looks what the events say.
fn click_through(proxy: &Proxy, site: &Site, from: &str) {
    let mut wire = wire_to(proxy.listen, "127.0.0.7");
    for (code, header) in [("/c0", "Accept: */*"), ("/c1", "X_Forwarded_For: 203.0.113.9")] {
        assert_eq!(wire.send(&request("GET", code, &[header])).status, 302);
    }
    let events = site.events_until("clicks", 2);
    for event in &events {
        assert_eq!((&event["client_ip"], &event["client_ip_from"]), (&"127.0.0.7".into(), &from.into()), "{event}");
    }
}

#[test]
fn behind_the_real_nginx_the_event_has_the_buyers_address() {
    let site = Site::new(&[link("c0"), link("c1")]).env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1").start();
    let listen = free_address();
    let http = snippet("nginx/waypost.conf", "listen 80;", listen, &site);
    let dir = site.path("").display().to_string();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}{kind};\n"))
        .collect();
    site.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {dir}nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{temp}{http}}}\n"
        ),
    );
    let conf = site.path("nginx.conf").display().to_string();
    let Some(nginx) = proxy("nginx", &["-p", &dir, "-c", &conf], listen) else { return };
    click_through(&nginx, &site, "xff");
}

#[test]
fn behind_the_real_haproxy_the_event_has_the_buyers_address() {
    let site = proxied(&["required"], 2);
    let listen = free_address();
    site.write("haproxy.cfg", &snippet("haproxy/waypost.cfg", "bind :80", listen, &site));
    let conf = site.path("haproxy.cfg").display().to_string();
    let Some(haproxy) = proxy("haproxy", &["-db", "-f", &conf], listen) else { return };
    click_through(&haproxy, &site, "proxy");
}
