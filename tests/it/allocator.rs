//! The memory of the process: librdkafka, OpenSSL and SQLite allocate with mimalloc, as Rust does, and a small process
//! is small.

use std::{fmt::Write, fs, ops::Range};

use crate::{
    dsl::{Site, link, until},
    kafka::mock::Mock,
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
    let anonymous = status_of(site.pid(), "RssAnon");
    let kib: u64 = anonymous.trim_end_matches(" kB").parse().unwrap();
    assert!(kib <= MAX_START_KIB, "{anonymous}");
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
