//! Links and keys change while the site serves. Bad content never replaces good content, and a file system that hangs
//! stops nothing but reloads.

use std::{
    fs::OpenOptions,
    os::unix::{fs::OpenOptionsExt, net::UnixDatagram},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::dsl::{PHONE_BROWSER, Site, StopOnDrop, TIMEOUT, link, request, until};

fn links(codes: &[&str]) -> String {
    codes.iter().map(|code| link(code) + "\n").collect()
}

/// Enough links that one more or less is below a tenth.
const TWENTY: [&str; 20] = [
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8",
    "b9",
];

fn refused(site: &Site) -> f64 {
    site.metric("waypost_links_reloads_total", "result=\"refused\"")
}

#[test]
fn a_changed_file_is_loaded_without_a_signal() {
    let site = Site::with_codes(&TWENTY);
    assert_eq!(site.get("/new", &[]).status, 404);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["new"]].concat()));
    until("the new link", || (site.get("/new", &[]).status == 302).then_some(()));
}

#[test]
fn a_bad_file_keeps_the_old_links_and_names_line_and_column() {
    let site = Site::with_codes(&TWENTY);
    site.write("links.jsonl", &(links(&TWENTY) + "{\"code\":\"new\",\"url\":17}\n"));
    let line = site.wait_for_log("links.jsonl:21:");
    assert!(line.contains("url: invalid type: integer `17`, expected a string"), "{line}");
    assert_eq!(refused(&site), 1.0);
    site.wait_for_fault("links_refused", "bounded", "links-stale");
    assert_eq!(site.get("/a0", &[]).status, 302);
    assert_eq!(site.get("/new", &[]).status, 404);
}

#[test]
fn a_file_that_is_empty_or_loses_a_tenth_is_refused_unless_allowed() {
    for (args, kept) in [(&[][..], true), (&["--allow-shrink"], false)] {
        let site = args.iter().fold(Site::new(&TWENTY.map(link)), |site, arg| site.arg(arg));
        let site = site.start();
        site.write("links.jsonl", &links(&TWENTY[..10]));
        if kept {
            site.wait_for_log("allow-shrink");
            assert_eq!(refused(&site), 1.0);
            assert_eq!(site.get("/b0", &[]).status, 302);
            site.write("links.jsonl", "");
            until("a second refusal", || (refused(&site) == 2.0).then_some(()));
            assert_eq!(site.get("/b0", &[]).status, 302);
        } else {
            until("the link to be gone", || (site.get("/b0", &[]).status == 404).then_some(()));
        }
    }
}

#[test]
fn a_changed_created_at_is_refused_by_its_line() {
    let dated = |at: &str| {
        format!(r#"{{"code":"x","url":"https://a.example/","kind":"plain","creator":"c_1","created_at":"{at}"}}"#)
    };
    let mut lines = TWENTY.map(link).to_vec();
    lines.push(dated("2026-01-01T00:00:00Z"));
    let site = Site::new(&lines).start();
    lines[20] = dated("2026-11-01T00:00:00Z");
    site.write("links.jsonl", &(lines.join("\n") + "\n"));
    let line = site.wait_for_log("links.jsonl:21");
    assert!(line.contains("created_at"), "a renewed created_at is money: {line}");
    assert_eq!(refused(&site), 1.0);
}

#[test]
fn a_link_is_not_renewed_by_removing_it_first() {
    let dated = |at: &str| link("x").replace(r#""test":true"#, &format!(r#""created_at":"{at}""#)) + "\n";
    let site = Site::new(&TWENTY.map(link)).start();
    for (version, status) in [(links(&TWENTY) + &dated("2026-01-01T00:00:00Z"), 302), (links(&TWENTY), 404)] {
        site.write("links.jsonl", &version);
        until("the version", || (site.get("/x", &[]).status == status).then_some(()));
    }
    site.write("links.jsonl", &(links(&TWENTY) + &dated("2026-11-01T00:00:00Z")));
    let line = site.wait_for_log("links.jsonl:21:");
    assert!(line.contains("created_at: never changes and was 2026-01-01T00:00:00Z when it was removed"), "{line}");
    assert_eq!(site.get("/x", &[]).status, 404);
    site.write("links.jsonl", &(links(&TWENTY) + &dated("2026-01-01T00:00:00Z")));
    until("the link as it was", || (site.get("/x", &[]).status == 302).then_some(()));
}

#[test]
fn sighup_reloads_at_once() {
    let site = Site::with_codes(&TWENTY);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["hup"]].concat()));
    site.signal("-HUP");
    until("the new link", || (site.get("/hup", &[]).status == 302).then_some(()));
}

/// Good versions and bad ones alternate under clicks.
#[test]
fn links_are_reloaded_under_load_without_a_failed_click() {
    const RELOADS: u32 = 12;
    let site = Site::new(&TWENTY.map(link)).env("WAYPOST__EDGE__WORKERS", "2").start();
    let stop = AtomicBool::new(false);
    let clicks: usize = thread::scope(|scope| {
        let load = |first: usize| {
            let (site, stop) = (&site, &stop);
            move || {
                let mut wire = site.connect();
                let mut clicks = 0;
                while !stop.load(Ordering::Relaxed) {
                    let code = TWENTY[(first + clicks) % TWENTY.len()];
                    let answer = wire.send(&request("GET", &format!("/{code}"), &PHONE_BROWSER));
                    let to = answer.header("location").unwrap_or_default();
                    assert!(answer.status == 302 && to.contains(&format!("/view/{code}?")), "{answer:?}");
                    clicks += 1;
                }
                clicks
            }
        };
        let loaded = StopOnDrop(&stop);
        let clients: Vec<_> = (0..4).map(|first| scope.spawn(load(first * 5))).collect();
        for version in 1..=RELOADS {
            let fresh = format!("v{version}");
            site.write("links.jsonl", &links(&[&TWENTY[..], &[&fresh]].concat()));
            site.signal("-HUP");
            until(&fresh, || (site.get(&format!("/{fresh}"), &[]).status == 302).then_some(()));
            let before = refused(&site);
            site.write("links.jsonl", &(links(&TWENTY) + "{"));
            site.signal("-HUP");
            until("a refusal", || (refused(&site) > before).then_some(()));
        }
        drop(loaded);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(clicks > TWENTY.len(), "{clicks}");
    assert!(site.metric("waypost_links_reloads_total", "result=\"ok\"") >= f64::from(RELOADS));
    let events = site.wait_for_events("clicks", clicks + RELOADS as usize);
    assert_eq!(events.len(), clicks + RELOADS as usize, "each answered click is recorded");
}

#[test]
fn a_start_without_usable_links_is_refused_with_line_and_column() {
    let site = Site::new(&["{\"code\":\"a b\"}".to_owned()]);
    let (code, log) = site.run_refused_start();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("links.jsonl:1:"), "{log}");
    let why: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(why.iter().any(|line| line["level"] == "ERROR" && line["event"] == "failed"), "{log}");
}

#[test]
fn a_missing_file_is_logged_and_counted_once() {
    let site = Site::with_codes(&TWENTY);
    std::fs::remove_file(site.path("links.jsonl")).unwrap();
    let failed = || site.metric("waypost_links_reloads_total", "result=\"failed\"");
    until("a failed load", || (failed() == 1.0).then_some(()));
    site.wait_for_log("the links cannot be read");
    site.wait_for_fault("links_unreadable", "bounded", "links-stale");
    assert_eq!(site.get("/a0", &[]).status, 302);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["back"]].concat()));
    until("the new link", || (site.get("/back", &[]).status == 302).then_some(()));
    assert_eq!(failed(), 1.0);
}

/// Puts a FIFO without a writer in place of a file: it blocks the thread that opens it, as a file system that hangs
/// does.
fn replace_by_fifo(path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap().success());
}

/// Lets the thread that hangs in opening the FIFO go on.
fn release(fifo: &Path) {
    const O_NONBLOCK: i32 = 0o4000;
    // Opening for writing without blocking succeeds only while a reader is there.
    until("a thread that hangs in the FIFO", || {
        OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(fifo).ok().map(drop)
    });
}

/// A site with a service manager that expects signs of life. Starts it, waits for `READY=1`, and hangs the reload of
/// one of its files.
fn with_hanging_reload(file: &str) -> (Site, UnixDatagram) {
    let site = Site::new(&TWENTY.map(link));
    let manager = UnixDatagram::bind(site.path("notify.sock")).unwrap();
    manager.set_read_timeout(Some(TIMEOUT)).unwrap();
    let socket = site.path("notify.sock").display().to_string();
    let site = site.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "30000000").start();
    until("READY=1", || (notification(&manager) == "READY=1").then_some(()));
    replace_by_fifo(&site.path(file));
    site.signal("-HUP");
    until("RELOADING=1", || notification(&manager).starts_with("RELOADING=1").then_some(()));
    (site, manager)
}

fn notification(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let len = manager.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn a_file_that_hangs_stops_no_click_no_delivery_no_livez_and_no_watchdog() {
    for file in ["links.jsonl", "data/keys.json"] {
        let (site, manager) = with_hanging_reload(file);
        for round in 1..=3 {
            // The reload does not end meanwhile: that would be READY=1.
            assert_eq!(notification(&manager), "WATCHDOG=1", "{file}");
            assert_eq!(site.admin("/livez").unwrap().status, 200);
            assert_eq!(site.admin("/readyz").unwrap().status, 200);
            assert_eq!(site.get("/a0", &[]).status, 302);
            site.wait_for_events("clicks", round);
        }
        release(&site.path(file));
        until("the end of the reload", || (notification(&manager) == "READY=1").then_some(()));
        site.write("links.jsonl", &links(&[&TWENTY[..], &["new"]].concat()));
        until("the new link", || (site.get("/new", &[]).status == 302).then_some(()));
    }
}

#[test]
fn a_process_whose_reload_hangs_drains_and_stops_in_order() {
    let (mut site, _manager) = with_hanging_reload("links.jsonl");
    assert_eq!(site.get("/a0", &[]).status, 302);
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped: 1 clicks delivered, nothing stays in the journal"), "{log}");
}
