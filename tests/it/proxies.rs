//! The buyer's address: which headers of which peers are trusted, and what the event says.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::{
    dsl::{Connection, Site, link, request, until},
    need::needed_in_ci_as_root,
};

/// A site that trusts these networks. Each case has a link of its own, by which the test finds its event.
fn site(trusted: &str, cases: usize) -> Site {
    let links: Vec<String> = (0..cases).map(|case| link(&format!("c{case}"))).collect();
    Site::new(&links).env("WAYPOST__EDGE__TRUSTED_PROXIES", trusted)
}

/// A connection to the first listener, from this address of 127/8.
fn wire_from(site: &Site, from: &str) -> Connection {
    wire_to(site.listen(), from)
}

/// Sends one request for each case, and compares the address and its origin with those of the event.
fn check_events(site: &Site, cases: &[(&str, &[&str], &str, &str)]) {
    for (number, (peer, headers, ..)) in cases.iter().enumerate() {
        let answer = wire_from(site, peer).send(&request("GET", &format!("/c{number}"), headers));
        assert_eq!(answer.status, 302);
    }
    let events = site.wait_for_events("clicks", cases.len());
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
fn the_rightmost_address_that_is_no_trusted_proxy_is_that_of_the_buyer() {
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
        // The proxy that wrote no address knows of none before it.
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3", "xff"),
        ("127.0.0.1", &["X-Forwarded-For: unknown"], "127.0.0.1", "peer"),
        // The other header is not trusted: a proxy may forward it as the client sent it.
        ("127.0.0.1", &["Forwarded: for=203.0.113.7"], "127.0.0.1", "peer"),
        // Some servers turn hyphens into underscores. With underscores it is another header.
        ("127.0.0.1", &["X_Forwarded_For: 203.0.113.7"], "127.0.0.1", "peer"),
        ("127.0.0.1", &["X-Real-IP: 203.0.113.7", "CF-Connecting-IP: 203.0.113.8"], "127.0.0.1", "peer"),
    ];
    check_events(&site("127.0.0.1, 10.0.0.0/8, fd00::/8", cases.len()).start(), &cases);
}

#[test]
fn headers_of_a_peer_that_is_not_trusted_are_ignored() {
    let cases: [(&str, &[&str], &str, &str); 3] = [
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.1", "peer"),
        ("127.0.0.9", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.9", "peer"),
        ("127.0.7.1", &["X-Forwarded-For: 203.0.113.7"], "203.0.113.7", "xff"),
    ];
    check_events(&site("127.0.7.0/24", cases.len()).start(), &cases);
    // By default no peer is trusted.
    let cases = [cases[0]];
    check_events(&Site::new(&[link("c0")]).start(), &cases);
}

#[test]
fn the_forwarded_header_is_read_if_it_is_configured() {
    let cases: [(&str, &[&str], &str, &str); 4] = [
        ("127.0.0.1", &["Forwarded: for=198.51.100.9, for=203.0.113.7;proto=https"], "203.0.113.7", "forwarded"),
        ("127.0.0.1", &["Forwarded: for=\"[2001:db8::7]:4711\""], "2001:db8::7", "forwarded"),
        ("127.0.0.1", &["Forwarded: for=_hidden"], "127.0.0.1", "peer"),
        ("127.0.0.1", &["X-Forwarded-For: 203.0.113.7"], "127.0.0.1", "peer"),
    ];
    check_events(&site("127.0.0.0/8", cases.len()).env("WAYPOST__EDGE__ADDRESS_HEADER", "forwarded").start(), &cases);
}

#[test]
fn the_host_is_never_taken_from_a_header_of_a_proxy() {
    let site = Site::new(&[link("live")])
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/8")
        .config("[domains.\"inside.example.com\"]\nroot_url = \"https://shop.example.com/inside\"\n")
        .start();
    for header in
        ["X-Forwarded-Host: inside.example.com", "Forwarded: host=inside.example.com", "X-Host: inside.example.com"]
    {
        assert_eq!(site.get("/live", &[header]).status, 302, "{header}: the link of the default domain");
        assert_eq!(site.get("/", &[header]).status, 200, "{header}: the root of the default domain");
    }
    let events = site.wait_for_events("clicks", 3);
    assert!(events.iter().all(|event| event["domain"] == "*"));
}

#[test]
fn a_very_long_chain_of_proxies_is_read_up_to_a_bound_and_answered() {
    let site = site("127.0.0.0/8, 10.0.0.0/8", 1).start();
    let chain = format!("X-Forwarded-For: 203.0.113.7{}", ",10.0.0.1".repeat(1000));
    assert_eq!(site.get("/c0", &[&chain]).status, 302);
    let event = until("the event", || site.events("clicks").pop());
    assert_eq!((&event["client_ip"], &event["client_ip_from"]), (&"10.0.0.1".into(), &"xff".into()));
}

/// A PROXY header of version 2.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &len, addresses].concat()
}

const V2_TCP4: [u8; 12] = [203, 0, 113, 7, 127, 0, 0, 1, 0xc8, 0x22, 0, 80];

/// A site that trusts 127.0.0.0/24, with a listener for each of these values of `proxy_protocol`.
fn proxied(modes: &[&str], cases: usize) -> Site {
    let links: Vec<String> = (0..cases).map(|case| link(&format!("c{case}"))).collect();
    let listen = modes.iter().map(|mode| format!("{{ address = \"127.0.0.1:0\", proxy_protocol = \"{mode}\" }}"));
    Site::new(&links)
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.0/24, 10.0.0.0/8")
        .listening(&format!("[{}]", listen.collect::<Vec<_>>().join(", ")))
        .start()
}

/// A connection from this address. All of 127/8 is this machine.
fn wire_to(listen: SocketAddr, from: &str) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&listen.into()).unwrap();
    Connection::over(TcpStream::from(socket))
}

#[test]
fn a_proxy_protocol_header_names_the_buyer_in_the_event() {
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
        // The client in the header is no trusted proxy, so its own headers are ignored.
        (v1, xff, "203.0.113.7", "proxy"),
        (inside, xff, "198.51.100.9", "xff"),
        (b"PROXY UNKNOWN\r\n".to_vec(), xff, "198.51.100.9", "xff"),
    ];
    let site = proxied(&["required", "optional"], 2 * cases.len());
    for (at, listen) in site.listens().iter().enumerate() {
        for (number, (header, headers, ..)) in cases.iter().enumerate() {
            let code = format!("/c{}", at * cases.len() + number);
            let mut wire = wire_to(*listen, "127.0.0.1");
            // Header and request in one segment, or split at an unusual place.
            let cut = [header.len(), 1, 5, header.len() - 1][number % 4];
            assert!(wire.write_bytes(&header[..cut]));
            let rest = [&header[cut..], request("GET", &code, headers).as_bytes()].concat();
            assert!(wire.write_bytes(&rest));
            assert_eq!(wire.read(false).expect("an answer").status, 302);
            // The connection is kept like any other.
            assert_eq!(wire.send(&request("GET", "/healthz", &[])).status, 404);
        }
    }
    let events = site.wait_for_events("clicks", 2 * cases.len());
    for (number, (header, headers, address, from)) in cases.iter().chain(&cases).enumerate() {
        let event: &Value = events.iter().find(|event| event["code"] == format!("c{number}")).unwrap();
        let (found, want) = ((&event["client_ip"], &event["client_ip_from"]), (&(*address).into(), &(*from).into()));
        assert_eq!(found, want, "{} {headers:?}", String::from_utf8_lossy(header));
    }
}

#[test]
fn a_proxy_protocol_header_of_an_untrusted_peer_ends_the_connection_and_is_counted() {
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
    // Without a byte sent: an untrusted peer is refused here at once.
    assert!(wire_to(required, "127.0.9.1").is_closed());
    closed("proxy_untrusted", 3.0);
    assert_eq!(wire_to(optional, "127.0.9.1").send(&request("GET", "/c0", &[])).status, 302, "a buyer without a proxy");
    assert_eq!(
        wire_to(optional, "127.0.0.1").send(&request("GET", "/c0", &[])).status,
        302,
        "a proxy without a header"
    );
    assert!(wire_to(required, "127.0.0.1").try_send(&request("GET", "/c0", &[])).is_none());
    closed("proxy_missing", 1.0);
    let long = v2(0x21, 0x11, &[0; 521]);
    for bad in [&b"PROXY TCP4 203.0.113.7\r\n"[..], &v2(0x22, 0x11, &V2_TCP4), &long] {
        let mut wire = wire_to(optional, "127.0.0.1");
        assert!(wire.write_bytes(bad));
        assert!(wire.is_closed());
    }
    closed("proxy_malformed", 3.0);
    // Where it is off, a header is malformed HTTP.
    assert_eq!(wire_to(off, "127.0.0.1").send(&whole).status, 400);
    assert_eq!(site.wait_for_events("clicks", 2).len(), 2);
}

#[test]
fn an_incomplete_proxy_protocol_header_ends_at_the_header_timeout() {
    let listen = "[{ address = \"127.0.0.1:0\", proxy_protocol = \"optional\" }]";
    let site = Site::new(&[link("c0")])
        .env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1")
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "300ms")
        .listening(listen)
        .start();
    let mut wire = site.connect();
    wire.write("PROXY TCP4 203.0.113.7 ");
    assert!(wire.is_closed());
    until("its count", || {
        (site.metric("waypost_connections_closed_total", "reason=\"header_timeout\"") == 1.0).then_some(())
    });
}

/// A running nginx or HAProxy, with the configuration in `deploy`.
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

/// The configuration in `deploy` with this test's addresses. `bind` is its line for its own port; 127.0.0.1:8080 is
/// Waypost.
fn deployed_config(file: &str, bind: &str, listen: SocketAddr, site: &Site) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap();
    assert!(text.contains(bind) && text.contains("127.0.0.1:8080"), "{file}");
    let own = bind.replace(":80", "80").replace("80", &listen.to_string());
    text.replace(bind, &own).replace("127.0.0.1:8080", &site.listen().to_string())
}

/// Starts a proxy, if it is installed, and waits until it listens.
fn start_proxy(program: &str, args: &[&str], listen: SocketAddr) -> Option<Proxy> {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.args(args).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
    let child = needed_in_ci_as_root(program, command.spawn())?;
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

/// Clicks through the proxy from one address, once with a forged header, and checks the addresses in the events.
fn check_clicks_through(proxy: &Proxy, site: &Site, from: &str) {
    let mut wire = wire_to(proxy.listen, "127.0.0.7");
    for (code, header) in [("/c0", "Accept: */*"), ("/c1", "X_Forwarded_For: 203.0.113.9")] {
        assert_eq!(wire.send(&request("GET", code, &[header])).status, 302);
    }
    let events = site.wait_for_events("clicks", 2);
    for event in &events {
        assert_eq!((&event["client_ip"], &event["client_ip_from"]), (&"127.0.0.7".into(), &from.into()), "{event}");
    }
}

/// Starts nginx with the deployed configuration in front of a site.
fn start_nginx(site: &Site) -> Option<Proxy> {
    let listen = free_address();
    let http = deployed_config("nginx/waypost.conf", "listen 80;", listen, site);
    let dir = site.path("").display().to_string();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}{kind};\n"))
        .collect();
    site.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {dir}nginx.pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off;\n{temp}{http}}}\n"
        ),
    );
    let conf = site.path("nginx.conf").display().to_string();
    start_proxy("nginx", &["-p", &dir, "-c", &conf], listen)
}

#[test]
fn behind_nginx_the_event_has_the_buyers_address() {
    let site = Site::new(&[link("c0"), link("c1")]).env("WAYPOST__EDGE__TRUSTED_PROXIES", "127.0.0.1").start();
    let Some(nginx) = start_nginx(&site) else { return };
    check_clicks_through(&nginx, &site, "xff");
}

/// A link with the longest destination: 8 KiB, and as many placeholders as are allowed.
fn link_with_longest_destination(code: &str) -> String {
    let placeholders = "{sub1}".repeat(31) + "{click_token}";
    let path = "p".repeat(8192 - "https://shop.example.com/?s=".len() - placeholders.len());
    link(code).replace(
        &format!("https://shop.example.com/view/{code}?creator=c_1"),
        &format!("https://shop.example.com/{path}?s={placeholders}"),
    )
}

/// A request whose answer is the largest: each byte of its parameters becomes an escape of three.
fn target_with_largest_answer(code: &str) -> String {
    let sub = "%22".repeat(255);
    let utm_content = "|".repeat((4096 - "&utm_content=".len()) / 3);
    format!("/{code}?sub1={sub}&utm_content={utm_content}")
}

/// Asks through a proxy and directly for the largest answer, and for one to a buyer with many cookies.
fn check_largest_head_through(proxy: &Proxy, site: &Site) {
    let target = target_with_largest_answer("c0");
    for mut wire in [wire_to(site.listen(), "127.0.0.7"), wire_to(proxy.listen, "127.0.0.7")] {
        let answer = wire.send(&request("GET", &target, &[]));
        assert_eq!(answer.status, 302, "{}", answer.text());
        let len = answer.header("location").unwrap().len();
        assert!((35_000..48_000).contains(&len), "{len}");
        assert!(answer.header("set-cookie").is_some());
    }
    let cookies = format!("Cookie: shop={}", "c".repeat(14_000));
    assert_eq!(wire_to(proxy.listen, "127.0.0.7").send(&request("GET", "/c1", &[&cookies])).status, 302);
}

#[test]
fn behind_nginx_the_largest_answer_and_a_buyer_with_many_cookies_pass() {
    let site = Site::new(&[link_with_longest_destination("c0"), link("c1")])
        .env("WAYPOST__DOMAINS__DEFAULT__HSTS", "max-age=31536000; includeSubDomains; preload")
        .start();
    let Some(nginx) = start_nginx(&site) else { return };
    check_largest_head_through(&nginx, &site);
}

#[test]
fn behind_haproxy_the_event_has_the_buyers_address() {
    let site = proxied(&["required"], 2);
    let listen = free_address();
    site.write("haproxy.cfg", &deployed_config("haproxy/waypost.cfg", "bind :80", listen, &site));
    let conf = site.path("haproxy.cfg").display().to_string();
    let Some(haproxy) = start_proxy("haproxy", &["-db", "-f", &conf], listen) else { return };
    check_clicks_through(&haproxy, &site, "proxy");
}

/// Every snippet for a proxy that reads HTTP has room for the largest answer; the test above tries nginx's.
#[test]
fn every_proxy_example_that_reads_http_has_buffers_for_the_largest_answer() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for folder in ["nginx", "haproxy"] {
        for file in std::fs::read_dir(deploy.join(folder)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let passes = text.matches("proxy_pass").count();
            assert_eq!(text.matches("proxy_buffer_size 64k;").count(), passes, "{text}");
            assert!(passes > 0 || text.contains("mode tcp"), "{text}");
        }
    }
}
