//! Links, keys and configuration change while the site serves; bad input never loses what was good before.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::dsl::{Site, Stop, link, request, until};

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
fn a_changed_file_is_picked_up_by_itself() {
    let site = Site::with_codes(&TWENTY);
    assert_eq!(site.get("/new", &[]).status, 404);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["new"]].concat()));
    until("the new link", || (site.get("/new", &[]).status == 302).then_some(()));
}

#[test]
fn a_bad_file_keeps_the_old_links_and_says_where() {
    let site = Site::with_codes(&TWENTY);
    site.write("links.jsonl", &(links(&TWENTY) + "{\"code\":\"new\",\"url\":17}\n"));
    let line = site.logged("links.jsonl:21:");
    assert!(line.contains("url: invalid type: integer `17`, expected a string"), "{line}");
    assert_eq!(refused(&site), 1.0);
    site.tells("links_refused", "bounded", "links-stale");
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
            site.logged("allow-shrink");
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
fn what_never_changes_is_held_by_its_line() {
    let dated = |at: &str| {
        format!(r#"{{"code":"x","url":"https://a.example/","kind":"plain","creator":"c_1","created_at":"{at}"}}"#)
    };
    let mut lines = TWENTY.map(link).to_vec();
    lines.push(dated("2026-01-01T00:00:00Z"));
    let site = Site::new(&lines).start();
    lines[20] = dated("2026-11-01T00:00:00Z");
    site.write("links.jsonl", &(lines.join("\n") + "\n"));
    let line = site.logged("links.jsonl:21");
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
    let line = site.logged("links.jsonl:21:");
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

/// Good versions and bad ones come and go under clicks.
#[test]
fn links_are_reloaded_under_load_without_a_failed_click() {
    const RELOADS: u32 = 12;
    let site = Site::new(&TWENTY.map(link)).env("WAYPOST__EDGE__WORKERS", "2").start();
    let stop = AtomicBool::new(false);
    let clicks: usize = thread::scope(|scope| {
        let load = |first: usize| {
            let (site, stop) = (&site, &stop);
            move || {
                let mut wire = site.wire();
                let mut clicks = 0;
                while !stop.load(Ordering::Relaxed) {
                    let code = TWENTY[(first + clicks) % TWENTY.len()];
                    let answer = wire.send(&request("GET", &format!("/{code}"), &[]));
                    let to = answer.header("location").unwrap_or_default();
                    assert!(answer.status == 302 && to.contains(&format!("/view/{code}?")), "{answer:?}");
                    clicks += 1;
                }
                clicks
            }
        };
        let loaded = Stop(&stop);
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
    let events = site.events_until("clicks", clicks + RELOADS as usize);
    assert_eq!(events.len(), clicks + RELOADS as usize, "each answered click is recorded");
}

#[test]
fn a_start_without_usable_links_says_what_to_do() {
    let site = Site::new(&["{\"code\":\"a b\"}".to_owned()]);
    let (code, log) = site.refused();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("links.jsonl:1:"), "{log}");
    let why: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(why.iter().any(|line| line["level"] == "ERROR" && line["event"] == "failed"), "{log}");
}

#[test]
fn a_file_that_is_gone_is_said_and_counted_once() {
    let site = Site::with_codes(&TWENTY);
    std::fs::remove_file(site.path("links.jsonl")).unwrap();
    let failed = || site.metric("waypost_links_reloads_total", "result=\"failed\"");
    until("a failed load", || (failed() == 1.0).then_some(()));
    site.logged("the links cannot be read");
    site.tells("links_unreadable", "bounded", "links-stale");
    assert_eq!(site.get("/a0", &[]).status, 302);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["back"]].concat()));
    until("the new link", || (site.get("/back", &[]).status == 302).then_some(()));
    assert_eq!(failed(), 1.0);
}
