//! Links, keys and configuration change while the site serves; bad input never loses what was good before.

use crate::dsl::{Site, link, until};

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
fn sighup_reloads_at_once() {
    let site = Site::with_codes(&TWENTY);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["hup"]].concat()));
    site.signal("-HUP");
    until("the new link", || (site.get("/hup", &[]).status == 302).then_some(()));
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
    assert_eq!(site.get("/a0", &[]).status, 302);
    site.write("links.jsonl", &links(&[&TWENTY[..], &["back"]].concat()));
    until("the new link", || (site.get("/back", &[]).status == 302).then_some(()));
    assert_eq!(failed(), 1.0);
}
