//! HTTP/2 in raw frames against the real process: what is served, and the bounds on hostile clients.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    dsl::{Connection, Site, TIMEOUT, link, request, until},
    need::has_program,
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

/// One setting of a SETTINGS frame.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Encodes the length of a string without Huffman coding, an integer with a prefix of 7 bits (RFC 7541 §5.1).
fn string_length(len: usize) -> Vec<u8> {
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

/// Encodes header fields, each as a literal without indexing (RFC 7541 §6.2.2).
fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |(name, value): &(&str, &str)| {
        [&[0], &string_length(name.len())[..], name.as_bytes(), &string_length(value.len()), value.as_bytes()].concat()
    };
    fields.iter().flat_map(literal).collect()
}

/// The header block of a request.
fn request_block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "go.example.com")];
    header_block(&[&pseudo[..], more].concat())
}

/// The header block of a GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    request_block("GET", path, &[])
}

/// A client's HTTP/2 connection.
struct Http2Client {
    stream: TcpStream,
    next_stream: u32,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2Client {
    /// Connects and sends the preface and these settings. Another setting makes the server keep no table of header
    /// fields, so that all its header blocks look alike.
    fn connect_with_settings(site: &Site, settings: &[u8]) -> Http2Client {
        let stream = TcpStream::connect(site.listen()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Http2Client { stream, next_stream: 1 };
        let settings = [&setting(1, 0), settings].concat();
        client.write(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat());
        client
    }

    fn connect(site: &Site) -> Http2Client {
        Http2Client::connect_with_settings(site, &[])
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads a frame, and acknowledges PING and SETTINGS. `None`: the connection has ended.
    fn read_frame(&mut self) -> Option<Frame> {
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

    /// Opens a stream with this header block and returns its number.
    fn open_stream(&mut self, head: &[u8], flags: u8) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.write(&frame(HEADERS, END_HEADERS | flags, stream, head));
        stream
    }

    /// Reads the answer of a stream to its end and returns its status. 0: the stream was reset.
    fn read_status(&mut self, stream: u32) -> u16 {
        let mut status = 0;
        loop {
            let frame = self.read_frame().expect("an answer");
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

    /// Sends a request without a body and returns the status of its answer.
    fn request(&mut self, head: &[u8]) -> u16 {
        let stream = self.open_stream(head, END_STREAM);
        self.read_status(stream)
    }

    /// Reads to the end of the connection and returns the types of the frames that came.
    fn read_to_end(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.read_frame().map(|frame| frame.kind)).collect()
    }
}

/// Decodes the first field of a header block, which is `:status`: a static entry, or three digits in Huffman coding.
pub(crate) fn status_of(block: &[u8]) -> u16 {
    let at = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
    match block[at] {
        0x88 => 200,
        0x89 => 204,
        0x8c => 400,
        0x8d => 404,
        // `:status` as an index of the static table, and a literal value.
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

/// A site that is not started yet, with HTTP/2 and these lines of `[edge.limits]`.
fn http2_site(limits: &str) -> Site {
    Site::new(&[link("live")]).listening_with("http2 = true", &format!("[edge.limits]\n{limits}\n"))
}

/// Waits until at least so many connections have ended for this reason.
fn until_closed(site: &Site, reason: &str, times: f64) {
    until(reason, || (site.metric(CLOSED, &format!("\"{reason}\"")) >= times).then_some(()));
}

#[test]
fn both_protocols_are_served_on_one_listener_and_the_event_names_the_version() {
    let site = http2_site("").start();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&get("/live?sub1=client")), 302);
    assert_eq!(client.request(&get("/nobody")), 404);
    assert_eq!(client.request(&get("/robots.txt")), 200);
    assert_eq!(client.request(&request_block("HEAD", "/live", &[])), 302);
    assert_eq!(site.get("/live", &[]).status, 302);
    let events = site.wait_for_events("clicks", 3);
    let versions: Vec<&str> = events.iter().map(|event| event["http_version"].as_str().unwrap_or("none")).collect();
    assert_eq!(versions, ["2", "2", "1.1"], "{}", events[0]);
}

#[test]
fn a_listener_without_http2_refuses_its_preface() {
    let site = Site::with_codes(&["live"]);
    let mut client = Http2Client::connect(&site);
    client.read_to_end();
    until_closed(&site, "http2_preface", 1.0);
}

#[test]
fn the_preface_may_come_in_pieces_and_a_request_that_begins_like_it_is_not_lost() {
    let site = http2_site("header_timeout = \"4s\"").start();
    let mut client = Connection::to(site.listen());
    for byte in PREFACE {
        assert!(client.write_bytes(&[*byte]));
    }
    assert!(client.write_bytes(&[frame(SETTINGS, 0, 0, &[]), frame(HEADERS, 5, 1, &get("/live"))].concat()));
    site.wait_for_events("clicks", 1);
    let mut wire = site.connect();
    wire.write("P");
    wire.write("RI");
    let answer = wire.send("NT /live HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    // Half a preface has the deadline of a new connection.
    let mut half = site.connect();
    half.write("PRI * HTTP/2");
    assert!(half.is_closed());
    until_closed(&site, "header_timeout", 1.0);
}

#[test]
fn an_authority_and_a_host_that_differ_are_refused() {
    let site = http2_site("").start();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&request_block("GET", "/live", &[("host", "go.example.com")])), 302);
    assert_eq!(client.request(&request_block("GET", "/live", &[("host", "go.example.com:443")])), 302, "the same");
    assert_eq!(client.request(&request_block("GET", "/live", &[("host", "go.example.com:8443")])), 400);
    assert_eq!(client.request(&request_block("GET", "/live", &[("host", "evil.example.com")])), 400);
    assert_eq!(client.request(&header_block(&[(":method", "GET"), (":scheme", "http"), (":path", "/live")])), 400);
    assert_eq!(client.request(&get("/live")), 302, "the connection is kept");
}

#[test]
fn a_body_is_never_read_and_ends_only_its_own_stream() {
    let site = http2_site("").start();
    let mut client = Http2Client::connect(&site);
    let stream = client.open_stream(&request_block("POST", "/live", &[("content-length", "100000")]), 0);
    assert_eq!(client.read_status(stream), 405);
    assert_eq!(client.request(&get("/live")), 302);
    let stream = client.open_stream(&get("/live"), 0);
    assert_eq!(client.read_status(stream), 302);
    until("one connection", || (site.metric("waypost_connections_open", "") == 1.0).then_some(()));
    assert_eq!(site.metric(CLOSED, ""), 0.0);
}

#[test]
fn a_target_that_is_too_long_is_414_and_a_head_that_is_too_large_431() {
    let site = http2_site("").start();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&get(&format!("/{}", "a".repeat(5000)))), 414);
    for (len, status) in [(31_000, 302), (33_000, 431), (60_000, 431)] {
        let large = request_block("GET", "/live", &[("cookie", &"y".repeat(len))]);
        let stream = client.next_stream;
        client.next_stream += 2;
        let parts: Vec<&[u8]> = large.chunks(16_000).collect();
        for (number, part) in parts.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let end_stream = if number == 0 { END_STREAM } else { 0 };
            let end_headers = if number + 1 == parts.len() { END_HEADERS } else { 0 };
            client.write(&frame(kind, end_stream | end_headers, stream, part));
        }
        assert_eq!(client.read_status(stream), status, "{len}");
    }
    assert_eq!(client.request(&get("/live")), 302);
}

/// Each copy of an indexed field is a byte on the wire and some seventy bytes in memory.
#[test]
fn a_request_with_more_than_a_hundred_fields_is_431_and_many_of_them_hold_little_memory() {
    let site = http2_site("").start();
    let entry = [&[0x40][..], &string_length(1), b"x", &[0]].concat();
    let with_copies = |copies: usize| [&get("/live")[..], &entry, &vec![0x80 | 62; copies]].concat();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&with_copies(90)), 302);
    assert_eq!(client.request(&with_copies(495)), 431);
    let before = resident_bytes(&site);
    // Nobody reads these answers.
    let mut clients: Vec<Http2Client> = (0..20).map(|_| Http2Client::connect(&site)).collect();
    for client in &mut clients {
        for _ in 0..90 {
            client.open_stream(&with_copies(495), END_STREAM);
        }
    }
    assert_eq!(client.request(&get("/live")), 302);
    assert_memory_bounded(&site, before);
}

#[test]
fn an_app_gets_the_same_head_for_head_and_get() {
    let site =
        Site::new(&[link("live")]).listening_with("http2 = true", "[domains.\"*\"]\napp_resolves = true\n").start();
    let mut client = Http2Client::connect(&site);
    for method in ["GET", "HEAD"] {
        let app = [("accept", "application/vnd.waypost.click+json")];
        assert_eq!(client.request(&request_block(method, "/live", &app)), 200, "{method}");
    }
}

#[test]
fn a_drain_sends_goaway_and_ends() {
    let mut site = http2_site("").env("WAYPOST__SERVER__DRAIN_DEADLINE", "25s").start();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&get("/live")), 302);
    site.signal("-TERM");
    assert!(client.read_to_end().contains(&GOAWAY));
    let (code, log) = site.wait_for_exit();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn a_client_that_ignores_goaway_does_not_delay_the_drain() {
    let mut site = http2_site("").env("WAYPOST__SERVER__DRAIN_DEADLINE", "25s").start();
    let mut ignoring = Http2Client::connect(&site);
    assert_eq!(ignoring.request(&get("/live")), 302);
    let (code, log) = site.stop();
    assert!(code == Some(0) && !log.contains("cut at the drain deadline"), "{log}");
}

#[test]
fn a_header_block_that_never_ends_has_the_idle_timeout() {
    let site = http2_site("idle_timeout = \"1s\"").start();
    let mut client = Http2Client::connect(&site);
    client.write(&frame(HEADERS, END_STREAM, 1, &get("/live")));
    // No other frame, no acknowledgement either: between the parts of a header block each is an error.
    while matches!(client.stream.read(&mut [0; 1024]), Ok(1..)) {}
    until_closed(&site, "idle", 1.0);
}

#[test]
fn an_idle_connection_ends_and_so_does_one_whose_flow_control_windows_are_shut() {
    // Long enough for the first request on a loaded machine.
    let site = http2_site("idle_timeout = \"3s\"").start();
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&get("/live")), 302);
    client.read_to_end();
    until_closed(&site, "idle", 1.0);
    let before = resident_bytes(&site);
    // With a window of 0 for every stream 100 answers wait. Further streams are refused, and 256 refusals are too many.
    let open_streams_with_shut_windows = |count: u32| {
        let mut client = Http2Client::connect_with_settings(&site, &setting(4, 0));
        let heads = (0..count).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &get("/nobody")));
        // The connection may be closed before all are sent.
        let _ = client.stream.write_all(&heads.flatten().collect::<Vec<_>>());
        client.read_to_end();
    };
    open_streams_with_shut_windows(100);
    until_closed(&site, "idle", 2.0);
    open_streams_with_shut_windows(1000);
    until_closed(&site, "flood", 1.0);
    assert_memory_bounded(&site, before);
}

/// Takes 40 s: a PING after 30 s of silence, then 10 s for the answer. No configuration key shortens these times.
#[test]
fn a_client_that_does_not_answer_a_ping_is_closed_and_one_that_does_is_kept() {
    let site = http2_site("").start();
    let (mut ignoring, mut alive) = (Http2Client::connect(&site), Http2Client::connect(&site));
    assert_eq!((ignoring.request(&get("/live")), alive.request(&get("/live"))), (302, 302));
    std::thread::scope(|scope| {
        let alive_socket = alive.stream.try_clone().unwrap();
        for client in [&ignoring, &alive] {
            client.stream.set_read_timeout(Some(2 * TIMEOUT)).unwrap();
        }
        // Reading acknowledges every PING.
        let alive = scope.spawn(move || alive.read_to_end());
        let start = Instant::now();
        while matches!(ignoring.stream.read(&mut [0; 1024]), Ok(1..)) {}
        assert!(start.elapsed() > Duration::from_secs(35), "after {:?}", start.elapsed());
        until_closed(&site, "unresponsive", 1.0);
        assert_eq!(site.metric("waypost_connections_open", ""), 1.0);
        alive_socket.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(alive.join().unwrap().contains(&PING));
    });
    until_closed(&site, "unresponsive", 1.0);
}

#[test]
fn no_answer_has_a_header_of_http_1_alone() {
    let site = http2_site("max_requests = 3").start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = async {
        let stream = tokio::net::TcpStream::connect(site.listen()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let reading = tokio::spawn(connection);
        // In HTTP/1.1 the second would end the connection, because it announces a body, and so would the last of three.
        for (method, path, body, status) in
            [("GET", "/live", false, 302), ("POST", "/live", true, 405), ("GET", "/nobody", false, 404)]
        {
            let uri = format!("https://go.example.com{path}");
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            let (answer, _body) = client.clone().ready().await.unwrap().send_request(request, !body).unwrap();
            // The client of h2 refuses most of these headers by itself.
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status);
            for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
                assert_eq!(answer.headers().get(name), None, "{method} {path}");
            }
        }
        drop(client);
        reading.await.unwrap().unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(TIMEOUT, ask).await.unwrap() });
    until_closed(&site, "max_requests", 1.0);
}

#[test]
fn a_connection_at_its_maximal_age_or_number_of_requests_sends_goaway() {
    let site = http2_site("max_requests = 3\nmax_connection_age = \"4s\"").start();
    let mut client = Http2Client::connect(&site);
    for _ in 0..3 {
        assert_eq!(client.request(&get("/live")), 302);
    }
    assert!(client.read_to_end().contains(&GOAWAY));
    until_closed(&site, "max_requests", 1.0);
    let mut client = Http2Client::connect(&site);
    assert_eq!(client.request(&get("/live")), 302);
    assert!(client.read_to_end().contains(&GOAWAY));
    until_closed(&site, "max_age", 1.0);
}

fn resident_bytes(site: &Site) -> f64 {
    site.metric("process_resident_memory_bytes", "")
}

fn assert_memory_bounded(site: &Site, before: f64) {
    let grown = resident_bytes(site) - before;
    assert!(grown < 32e6, "{grown} bytes more");
}

/// The most bytes that a flood may send before its connection is closed.
const MAX_FLOOD: usize = 64 << 20;

/// Sends `first`, then the results of `next`, until the connection is closed for `reason`, while another client clicks.
/// The click after the flood has begun, and all later ones, are answered within the tests' patience.
fn check_flood_is_ended(reason: &str, first: &[u8], mut next: impl FnMut(u32) -> Vec<u8> + Send) {
    let site = http2_site("").start();
    let before = resident_bytes(&site);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let mut client = Http2Client::connect(&site);
        client.write(first);
        // The client reads all answers, so that nothing stops the server from answering.
        let mut answers = client.stream.try_clone().unwrap();
        scope.spawn(move || while matches!(answers.read(&mut [0; 16 << 10]), Ok(1..)) {});
        let attack = scope.spawn(move || {
            let mut sent = 0;
            for round in 0.. {
                let chunk = next(round);
                sent += chunk.len();
                if client.stream.write_all(&chunk).is_err() || sent > MAX_FLOOD {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            let _ = client.stream.shutdown(std::net::Shutdown::Both);
            sent
        });
        let mut wire = site.connect();
        loop {
            assert_eq!(wire.send(&request("GET", "/live", &[])).status, 302);
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        let sent = attack.join().unwrap();
        assert!(sent <= MAX_FLOOD, "{sent} bytes and still open");
    });
    until_closed(&site, reason, 1.0);
    assert_memory_bounded(&site, before);
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
    check_flood_is_ended("flood", &[], resets);
}

#[test]
fn endless_continuations_end_the_connection() {
    let first = frame(HEADERS, END_STREAM, 1, &get("/live"));
    check_flood_is_ended("flood", &first, |_| frame(CONTINUATION, 0, 1, &header_block(&[("x", "y")])).repeat(100));
}

#[test]
fn empty_data_ends_the_connection() {
    let first = frame(HEADERS, END_HEADERS, 1, &request_block("POST", "/live", &[]));
    check_flood_is_ended("flood", &first, |_| frame(DATA, 0, 1, &[]).repeat(1000));
}

#[test]
fn floods_of_settings_and_pings_end_the_connection() {
    check_flood_is_ended("flood", &[], |_| frame(SETTINGS, 0, 0, &setting(4, 65_535)).repeat(1000));
    check_flood_is_ended("flood", &[], |_| frame(PING, 0, 0, &[7; 8]).repeat(1000));
}

#[test]
fn header_blocks_that_grow_when_decoded_end_the_connection() {
    // A table entry of 4 000 bytes, then 4 000 times its index: 16 MB from one frame of 8 KiB.
    let entry = [&[0x40][..], &string_length(1), b"x", &string_length(4000), "y".repeat(4000).as_bytes()].concat();
    let bomb = move |round: u32| {
        let block = [&get("/live")[..], &entry, &[0x80 | 62; 4000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &block)
    };
    check_flood_is_ended("flood", &[], bomb);
}

#[test]
fn curl_gets_http2_by_prior_knowledge_and_http_1_by_alpn() {
    if !has_program("curl", "--version") {
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
        // curl offers both versions, and the server prefers HTTP/1.1.
        assert_eq!(ask("https", tls, &[&["--http2"], more].concat()), "302 1.1");
        assert_eq!(ask("https", tls, &[&["--http1.1"], more].concat()), "302 1.1");
        assert_eq!(ask("http", plain, &[&["--http2-prior-knowledge"], more].concat()), "302 2");
        assert_eq!(ask("http", plain, &[&["--http1.1"], more].concat()), "302 1.1");
    }
}
