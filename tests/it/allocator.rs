//! The memory of the process: librdkafka, OpenSSL and SQLite allocate with mimalloc, as Rust does, and a small process
//! is small.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    ops::Range,
    sync::Arc,
};

use crate::{
    dsl::{Site, link, until},
    kafka::mock::Mock,
    tls_client::{TlsConnection, client_trusting, connect_tls, self_signed, tls_site},
};

/// glibc maps this much for each thread that allocates, at a multiple of it.
const GLIBC_ARENA_LEN: u64 = 64 << 20;

/// A mapping of the process.
struct Mapping {
    addresses: Range<u64>,
    permissions: String,
    name: String,
}

fn mappings_of(pid: u32) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        Mapping {
            addresses: address(start)..address(end),
            permissions: words.next().unwrap().to_owned(),
            name: words.nth(3).unwrap_or_default().to_owned(),
        }
    };
    maps.lines().map(mapping).collect()
}

/// Whether glibc has made an arena here: memory in use at the front, the rest reserved.
fn is_glibc_arena(used: &Mapping, reserved: &Mapping) -> bool {
    let start = used.addresses.start;
    start.is_multiple_of(GLIBC_ARENA_LEN)
        && used.addresses.end == reserved.addresses.start
        && reserved.permissions.starts_with("---")
        && reserved.addresses.end == start + GLIBC_ARENA_LEN
}

/// A line of `/proc/PID/status`, without its name.
fn status_of(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is not in {status}")).trim().to_owned()
}

/// The most anonymous memory of a started process, KiB.
const MAX_START_KIB: u64 = 30 << 10;

#[test]
fn a_small_process_has_at_most_30_mib_of_its_own_at_its_start() {
    let mock = Mock::start(&["clicks", "clicks.orphan", "clicks.lanes"]);
    let links: Vec<String> = (0..1000).map(|number| link(&format!("link{number}"))).collect();
    let site =
        Site::new(&links).env("WAYPOST__EDGE__WORKERS", "2").env("WAYPOST__KAFKA__BROKERS", &mock.address()).start();
    let kib = anonymous_kib(&site);
    assert!(kib <= MAX_START_KIB, "{kib} KiB");
}

fn anonymous_kib(site: &Site) -> u64 {
    status_of(site.pid(), "RssAnon").trim_end_matches(" kB").parse().unwrap()
}

/// Asks for a link and leaves the connection open.
fn ask_for_live_link(tls: &mut TlsConnection) {
    tls.write_all(b"GET /live HTTP/1.1\r\nHost: go.example.com\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    let read = tls.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 302 Found\r\n"), "{}", answer[..read].escape_ascii());
}

#[test]
fn idle_connections_give_their_buffers_back_and_answer_the_next_request() {
    const CONNECTIONS: u64 = 300;
    /// Of the two buffers of 8 KiB of an idle connection a page each is in use.
    const FREED_KIB_A_CONNECTION: u64 = 6;
    let pair = self_signed(&["go.example.com"]);
    let site = tls_site(&[("a", &pair)]).env("WAYPOST__EDGE__WORKERS", "1").start();
    let client = Arc::new(client_trusting(&[&pair]));
    let connect = |_| connect_tls(&client, site.listen(), "go.example.com").unwrap();
    let mut connections: Vec<TlsConnection> = (0..CONNECTIONS).map(connect).collect();
    connections.iter_mut().for_each(ask_for_live_link);
    let in_use = anonymous_kib(&site);
    until("the memory of the buffers is given back", || {
        // The allocator gives memory back when it is called.
        ask_for_live_link(&mut connect(0));
        (anonymous_kib(&site) + FREED_KIB_A_CONNECTION * CONNECTIONS <= in_use).then_some(())
    });
    connections.iter_mut().for_each(ask_for_live_link);
}

#[test]
fn a_process_uses_huge_pages_for_many_links_alone() {
    let site = Site::with_codes(&["abc"]);
    assert_eq!(status_of(site.pid(), "THP_enabled"), "0");
    let url = format!("https://shop.example.com/{}", "x".repeat(1900));
    let mut lines = String::new();
    for number in 0..4500 {
        writeln!(lines, r#"{{"code":"link{number}","url":"{url}","kind":"plain","test":true}}"#).unwrap();
    }
    let site = Site::new(&lines.lines().map(str::to_owned).collect::<Vec<_>>()).start();
    assert_eq!(status_of(site.pid(), "THP_enabled"), "1");
}

#[test]
fn no_thread_allocates_with_the_malloc_of_glibc() {
    let mock = Mock::start(&["clicks", "clicks.orphan", "clicks.lanes"]);
    let site = Site::new(&[link("abc")]).env("WAYPOST__KAFKA__BROKERS", &mock.address()).start();
    assert_eq!(site.get("/abc", &[]).status, 302);
    until("the click is delivered", || (site.metric("waypost_clicks_delivered_total", "") >= 1.0).then_some(()));
    let mappings = mappings_of(site.pid());
    // The first thread of a process that calls glibc's malloc lets the heap grow; every further one makes an arena.
    assert!(mappings.iter().all(|mapping| mapping.name != "[heap]"), "glibc's malloc is in use");
    let arenas = mappings.windows(2).filter(|pair| is_glibc_arena(&pair[0], &pair[1])).count();
    assert_eq!(arenas, 0, "threads that use glibc's malloc");
}
