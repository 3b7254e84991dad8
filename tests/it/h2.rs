//! HTTP/2 in raw frames against the real process: what is served, and what a hostile client costs.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    dsl::{PATIENCE, Site, Wire, link, request, until},
    need::program,
};

const CLOSED: &str = "waypost_connections_closed_total";
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    [&len.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A setting for a SETTINGS frame.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A length with a prefix of 7 bits, without Huffman coding (RFC 7541 §5.1).
fn length(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if len < 127 {
        return vec![len as u8];
    }
    bytes.push(127);
    let mut rest = len - 127;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// Header fields, each a literal without indexing (RFC 7541 §6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |(name, value): &(&str, &str)| {
        [&[0], &length(name.len())[..], name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
    };
    fields.iter().flat_map(literal).collect()
}

fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "go.example.com")];
    fields(&[&pseudo[..], more].concat())
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    head("GET", path, &[])
}

/// One HTTP/2 connection.
struct Two {
    stream: TcpStream,
    next: u32,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Two {
    /// Connected, with the preface and these settings. The server is told to keep no table, so that its heads read alike.
    fn with(site: &Site, settings: &[u8]) -> Two {
        let stream = TcpStream::connect(site.listen()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut two = Two { stream, next: 1 };
        let settings = [&setting(1, 0), settings].concat();
        two.write(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat());
        two
    }

    fn to(site: &Site) -> Two {
        Two::with(site, &[])
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// `None` once the connection has ended. Acknowledges what wants it.
    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame_ = Frame { kind: head[3], flags: head[4], stream, payload };
        if matches!(frame_.kind, SETTINGS | PING) && frame_.flags & ACK == 0 {
            let echoed: &[u8] = if frame_.kind == PING { &frame_.payload } else { &[] };
            let _ = self.stream.write_all(&frame(frame_.kind, ACK, 0, echoed));
        }
        Some(frame_)
    }

    /// Opens a stream with this head.
    fn ask(&mut self, head: &[u8], flags: u8) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.write(&frame(HEADERS, END_HEADERS | flags, stream, head));
        stream
    }

    /// The status of a stream's answer, read to its end; 0 if it is reset.
    fn status(&mut self, stream: u32) -> u16 {
        let mut status = 0;
        loop {
            let frame = self.read().expect("an answer");
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = status_of(&frame.payload),
                RESET => return 0,
                _ => {}
            }
            if frame.flags & END_STREAM != 0 {
                return status;
            }
        }
    }

    fn send(&mut self, head: &[u8]) -> u16 {
        let stream = self.ask(head, END_STREAM);
        self.status(stream)
    }

    /// Reads to the end of the connection; what frames came.
    fn rest(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.read().map(|frame| frame.kind)).collect()
    }
}

/// The first field of a head, which is `:status`: a static entry, or three digits in Huffman's code.
pub(crate) fn status_of(block: &[u8]) -> u16 {
    let at = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
    match block[at] {
        0x88 => 200,
        0x89 => 204,
        0x8c => 400,
        0x8d => 404,
        // `:status` by its place in the static table, and a value of its own.
        0x08 | 0x18 | 0x48 => {
            let len = usize::from(block[at + 1] & 0x7f);
            let value = &block[at + 2..][..len];
            if block[at + 1] & 0x80 == 0 {
                return std::str::from_utf8(value).unwrap().parse().unwrap();
            }
            let bits: Vec<u16> =
                value.iter().flat_map(|byte| (0..8).rev().map(move |n| u16::from(byte >> n & 1))).collect();
            let mut bits = bits.into_iter();
            let mut take = |count| bits.by_ref().take(count).fold(0, |value, bit| value * 2 + bit);
            (0..3).fold(0, |status, _| {
                let five = take(5);
                status * 10 + if five < 3 { five } else { five * 2 + take(1) - 0b011001 + 3 }
            })
        }
        other => panic!("{other:#x}"),
    }
}

fn site(limits: &str) -> Site {
    Site::new(&[link("live")]).listening_with("http2 = true", &format!("[edge.limits]\n{limits}\n"))
}

fn closed(site: &Site, reason: &str, times: f64) {
    until(reason, || (site.metric(CLOSED, &format!("\"{reason}\"")) >= times).then_some(()));
}

#[test]
fn both_protocols_are_served_on_one_listener_and_the_click_says_which() {
    let site = site("").start();
    let mut two = Two::to(&site);
    assert_eq!(two.send(&get("/live?sub1=two")), 302);
    assert_eq!(two.send(&get("/nobody")), 404);
    assert_eq!(two.send(&get("/robots.txt")), 200);
    assert_eq!(two.send(&head("HEAD", "/live", &[])), 302);
    assert_eq!(site.get("/live", &[]).status, 302);
    let events = site.events_until("clicks", 3);
    let versions: Vec<&str> = events.iter().map(|event| event["http_version"].as_str().unwrap_or("none")).collect();
    assert_eq!(versions, ["2", "2", "1.1"], "{}", events[0]);
}

#[test]
fn a_listener_that_does_not_speak_it_refuses_its_preface() {
    let site = Site::with_codes(&["live"]);
    let mut two = Two::to(&site);
    two.rest();
    closed(&site, "http2_preface", 1.0);
}

#[test]
fn the_preface_may_come_in_pieces_and_whatever_begins_like_it_is_read_whole() {
    let site = site("header_timeout = \"1s\"").start();
    let mut two = Wire::to(site.listen());
    for byte in PREFACE {
        assert!(two.write_bytes(&[*byte]));
    }
    assert!(two.write_bytes(&[frame(SETTINGS, 0, 0, &[]), frame(HEADERS, 5, 1, &get("/live"))].concat()));
    site.events_until("clicks", 1);
    let mut wire = site.wire();
    wire.write("P");
    wire.write("RI");
    let answer = wire.send("NT /live HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    // Half a preface has the time of a new connection.
    let mut half = site.wire();
    half.write("PRI * HTTP/2");
    assert!(half.closed());
    closed(&site, "header_timeout", 1.0);
}

#[test]
fn an_authority_and_a_host_that_differ_are_refused() {
    let site = site("").start();
    let mut two = Two::to(&site);
    assert_eq!(two.send(&head("GET", "/live", &[("host", "go.example.com")])), 302);
    assert_eq!(two.send(&head("GET", "/live", &[("host", "evil.example.com")])), 400);
    assert_eq!(two.send(&fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/live")])), 400);
    assert_eq!(two.send(&get("/live")), 302, "the connection is kept");
}

#[test]
fn a_body_is_never_read_and_ends_its_own_stream_alone() {
    let site = site("").start();
    let mut two = Two::to(&site);
    let stream = two.ask(&head("POST", "/live", &[("content-length", "100000")]), 0);
    assert_eq!(two.status(stream), 405);
    assert_eq!(two.send(&get("/live")), 302);
    let stream = two.ask(&get("/live"), 0);
    assert_eq!(two.status(stream), 302);
    until("one connection", || (site.metric("waypost_connections_open", "") == 1.0).then_some(()));
    assert_eq!(site.metric(CLOSED, ""), 0.0);
}

#[test]
fn a_target_that_is_too_long_is_414_and_a_head_that_is_too_large_431() {
    let site = site("").start();
    let mut two = Two::to(&site);
    assert_eq!(two.send(&get(&format!("/{}", "a".repeat(5000)))), 414);
    assert_eq!(two.send(&head("GET", "/live", &[("x", &"y".repeat(15_000))])), 302);
    let large = head("GET", "/live", &[("x", &"y".repeat(15_000)), ("z", &"y".repeat(5000))]);
    let (first, second) = large.split_at(16_000);
    let stream = two.next;
    two.next += 2;
    two.write(&frame(HEADERS, END_STREAM, stream, first));
    two.write(&frame(CONTINUATION, END_HEADERS, stream, second));
    assert_eq!(two.status(stream), 431);
    assert_eq!(two.send(&get("/live")), 302);
}

#[test]
fn a_drain_says_goaway_answers_what_is_open_and_ends() {
    let mut site = site("").start();
    let mut two = Two::to(&site);
    assert_eq!(two.send(&get("/live")), 302);
    site.signal("-TERM");
    assert!(two.rest().contains(&GOAWAY));
    let begun = Instant::now();
    assert_eq!(site.wait().0, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "no connection waits for the drain deadline");
}

#[test]
fn a_client_that_does_not_hear_goaway_does_not_hold_a_drain_up() {
    let mut site = site("").start();
    let mut deaf = Two::to(&site);
    assert_eq!(deaf.send(&get("/live")), 302);
    let begun = Instant::now();
    assert_eq!(site.stop().0, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "no connection waits for the drain deadline");
}

#[test]
fn a_head_that_never_ends_has_the_idle_timeout() {
    let site = site("idle_timeout = \"1s\"").start();
    let mut two = Two::to(&site);
    two.write(&frame(HEADERS, END_STREAM, 1, &get("/live")));
    // Not a frame more, no acknowledgement either: between the parts of a head each would be a mistake.
    while matches!(two.stream.read(&mut [0; 1024]), Ok(1..)) {}
    closed(&site, "idle", 1.0);
}

#[test]
fn an_idle_connection_ends_and_so_does_one_whose_windows_let_no_answer_out() {
    let site = site("idle_timeout = \"1s\"").start();
    let mut two = Two::to(&site);
    assert_eq!(two.send(&get("/live")), 302);
    two.rest();
    closed(&site, "idle", 1.0);
    let before = rss(&site);
    // A window of 0 for every stream: 100 answers wait, further streams are refused, and 256 of those are too many.
    let many = |count: u32| {
        let mut two = Two::with(&site, &setting(4, 0));
        let heads = (0..count).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &get("/nobody")));
        // It may be closed before all are sent.
        let _ = two.stream.write_all(&heads.flatten().collect::<Vec<_>>());
        two.rest();
    };
    many(100);
    closed(&site, "idle", 2.0);
    many(1000);
    closed(&site, "flood", 1.0);
    bounded(&site, before);
}

/// Half a minute of silence, then ten seconds for the answer: the PING's own times are nothing that a configuration shortens.
#[test]
fn a_client_that_does_not_answer_a_ping_is_gone_and_one_that_does_stays() {
    let site = site("").start();
    let (mut deaf, mut alive) = (Two::to(&site), Two::to(&site));
    assert_eq!((deaf.send(&get("/live")), alive.send(&get("/live"))), (302, 302));
    std::thread::scope(|scope| {
        let over = alive.stream.try_clone().unwrap();
        for two in [&deaf, &alive] {
            two.stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        }
        // To read a PING is to acknowledge it.
        let alive = scope.spawn(move || alive.rest());
        let begun = Instant::now();
        while matches!(deaf.stream.read(&mut [0; 1024]), Ok(1..)) {}
        assert!(begun.elapsed() > Duration::from_secs(35), "after {:?}", begun.elapsed());
        closed(&site, "unresponsive", 1.0);
        assert_eq!(site.metric("waypost_connections_open", ""), 1.0);
        over.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(alive.join().unwrap().contains(&PING));
    });
    closed(&site, "unresponsive", 1.0);
}

#[test]
fn no_answer_carries_what_only_http_1_knows() {
    let site = site("requests = 3").start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = async {
        let stream = tokio::net::TcpStream::connect(site.listen()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let reading = tokio::spawn(connection);
        // The second announces a body, which ends an HTTP/1.1 connection; so does the last of three.
        for (method, path, body, status) in
            [("GET", "/live", false, 302), ("POST", "/live", true, 405), ("GET", "/nobody", false, 404)]
        {
            let uri = format!("https://go.example.com{path}");
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            let (answer, _body) = client.clone().ready().await.unwrap().send_request(request, !body).unwrap();
            // h2's client refuses most of these by itself.
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status);
            for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
                assert_eq!(answer.headers().get(name), None, "{method} {path}");
            }
        }
        drop(client);
        reading.await.unwrap().unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, ask).await.unwrap() });
    closed(&site, "max_requests", 1.0);
}

#[test]
fn a_connection_that_is_old_or_had_its_requests_says_goaway() {
    let site = site("requests = 3\nmax_age = \"1s\"").start();
    let mut two = Two::to(&site);
    for _ in 0..3 {
        assert_eq!(two.send(&get("/live")), 302);
    }
    assert!(two.rest().contains(&GOAWAY));
    closed(&site, "max_requests", 1.0);
    let mut two = Two::to(&site);
    assert_eq!(two.send(&get("/live")), 302);
    assert!(two.rest().contains(&GOAWAY));
    closed(&site, "max_age", 1.0);
}

fn rss(site: &Site) -> f64 {
    site.metric("process_resident_memory_bytes", "")
}

fn bounded(site: &Site, before: f64) {
    let grown = rss(site) - before;
    assert!(grown < 32e6, "{grown} bytes more");
}

/// The most that a flood may send before its connection is closed.
const FLOOD: usize = 64 << 20;

/// Sends `begin`, then what `more` gives, until the connection is closed, while a good client clicks on.
fn flood(reason: &str, begin: &[u8], mut more: impl FnMut(u32) -> Vec<u8> + Send) {
    let site = site("").start();
    let before = rss(&site);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let mut two = Two::to(&site);
        two.write(begin);
        // A client that reads what it caused, so that nothing stops the server from answering.
        let mut answers = two.stream.try_clone().unwrap();
        scope.spawn(move || while matches!(answers.read(&mut [0; 16 << 10]), Ok(1..)) {});
        let attack = scope.spawn(move || {
            let mut sent = 0;
            for round in 0.. {
                let chunk = more(round);
                sent += chunk.len();
                if two.stream.write_all(&chunk).is_err() || sent > FLOOD {
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
            let _ = two.stream.shutdown(std::net::Shutdown::Both);
            sent
        });
        let mut wire = site.wire();
        loop {
            let begun = Instant::now();
            assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
            assert!(begun.elapsed() < Duration::from_secs(5), "a good client waited {:?}", begun.elapsed());
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        let sent = attack.join().unwrap();
        assert!(sent <= FLOOD, "{sent} bytes and still open");
    });
    closed(&site, reason, 1.0);
    bounded(&site, before);
    assert_eq!(site.get("/live", &[]).status, 302);
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[test]
fn rapid_resets_end_the_connection() {
    let resets = |round: u32| {
        let pair = |n: u32| {
            let stream = 2 * (round * 500 + n) + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/nobody")), frame(RESET, 0, stream, &[0, 0, 0, 8])]
        };
        (0..500).flat_map(pair).flatten().collect()
    };
    flood("flood", &[], resets);
}

#[test]
fn endless_continuations_end_the_connection() {
    let begin = frame(HEADERS, END_STREAM, 1, &get("/live"));
    flood("flood", &begin, |_| frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])).repeat(100));
}

#[test]
fn empty_data_ends_the_connection() {
    let begin = frame(HEADERS, END_HEADERS, 1, &head("POST", "/live", &[]));
    flood("flood", &begin, |_| frame(DATA, 0, 1, &[]).repeat(1000));
}

#[test]
fn floods_of_settings_and_pings_end_the_connection() {
    flood("flood", &[], |_| frame(SETTINGS, 0, 0, &setting(4, 65_535)).repeat(1000));
    flood("flood", &[], |_| frame(PING, 0, 0, &[7; 8]).repeat(1000));
}

#[test]
fn heads_that_grow_when_they_are_unpacked_end_the_connection() {
    // An entry of 4 000 bytes in the table, then 4 000 times its number: 16 MB from one frame of 8 KiB.
    let entry = [&[0x40][..], &length(1), b"x", &length(4000), "y".repeat(4000).as_bytes()].concat();
    let bomb = move |round: u32| {
        let block = [&get("/live")[..], &entry, &[0x80 | 62; 4000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &block)
    };
    flood("flood", &[], bomb);
}

#[test]
fn curls_http2_is_answered_by_prior_knowledge_and_comes_second_by_alpn_and_head_too() {
    if !program("curl", "--version") {
        return;
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(["go.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    let both = "[{ address = \"127.0.0.1:0\", tls = true, http2 = true }, { address = \"127.0.0.1:0\", http2 = true }]";
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls").arg("--listen").arg(both);
    std::fs::create_dir_all(site.path("tls")).unwrap();
    site.write("tls/go.crt", &cert.pem());
    site.write("tls/go.key", &key.serialize_pem());
    let site = site.start();
    let ask = |scheme: &str, port: u16, more: &[&str]| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--noproxy", "*", "--resolve"]);
        curl.arg(format!("go.example.com:{port}:127.0.0.1")).arg("--cacert").arg(site.path("tls/go.crt")).args(more);
        let output = curl.arg(format!("{scheme}://go.example.com:{port}/live")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let (tls, plain) = (site.listens()[0].port(), site.listens()[1].port());
    for more in [&[][..], &["--head"]] {
        // It offers both.
        assert_eq!(ask("https", tls, &[&["--http2"], more].concat()), "302 1.1");
        assert_eq!(ask("https", tls, &[&["--http1.1"], more].concat()), "302 1.1");
        assert_eq!(ask("http", plain, &[&["--http2-prior-knowledge"], more].concat()), "302 2");
        assert_eq!(ask("http", plain, &[&["--http1.1"], more].concat()), "302 1.1");
    }
}
