//! The catalog of links over restarts: with a links file, without one, and by `waypost links`.

use std::{fs, process::Output};

use serde_json::Value;

use crate::dsl::{PHONE_BROWSER, Site, link, until};

/// Runs `waypost links` on the site's data directory. Returns the exit code, and what was printed.
fn links(site: &Site, args: &[&str]) -> (i32, String, String) {
    let data = site.data().display().to_string();
    let Output { status, stdout, stderr } =
        site.command(&[&["links", "--data-dir", &data], args].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs a command that must end well.
fn run_links(site: &Site, args: &[&str]) -> String {
    let (code, stdout, stderr) = links(site, args);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    stdout
}

/// A site without a links file and with these codes in its catalog, not started.
fn site_with_catalog(codes: &[&str]) -> Site {
    let site = Site::without_links_file();
    site.write("records.jsonl", &codes.iter().map(|code| link(code) + "\n").collect::<String>());
    let records = site.path("records.jsonl").display().to_string();
    assert_eq!(run_links(&site, &["add", &records]).lines().count(), codes.len());
    site
}

fn wait_until_kept(site: &Site, code: &str) {
    let kept = format!("SELECT 1 FROM link WHERE code = '{code}'");
    until("the catalog to keep the link", || {
        let database = site.data().join("catalog.db");
        let connection = rusqlite::Connection::open(database).ok()?;
        connection.prepare(&kept).ok()?.exists([]).ok()?.then_some(())
    });
}

#[test]
fn links_that_commands_make_are_served_without_a_links_file() {
    let mut site = site_with_catalog(&["tea"]).start();
    assert_eq!(site.get("/tea", &[]).status, 302);
    let (code, _, stderr) = links(&site, &["list"]);
    assert!(code == 1 && stderr.contains("another waypost runs"), "a server runs: {stderr}");
    site.stop();
    run_links(&site, &["set", "tea", "url=https://shop.example.com/other", "--reason", "it moved"]);
    site.restart();
    assert!(site.get("/tea", &[]).header("location").unwrap().starts_with("https://shop.example.com/other"));
    site.stop();
    let history: Vec<Value> =
        run_links(&site, &["history", "tea"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((history.len(), &history[0]["reason"]), (2, &Value::from("it moved")));
    assert_eq!(history[0]["before"]["url"], "https://shop.example.com/view/tea?creator=c_1");
}

#[test]
fn a_start_with_a_bad_or_missing_file_serves_the_last_good_links_with_an_alarm() {
    let mut site = Site::with_codes(&["tea", "cup"]);
    wait_until_kept(&site, "cup");
    for bad in [Some("{"), Some(""), None] {
        site.stop();
        match bad {
            Some(text) => site.write("links.jsonl", text),
            None => fs::remove_file(site.path("links.jsonl")).unwrap(),
        }
        site.restart();
        assert_eq!(site.get("/cup", &[]).status, 302, "{bad:?}");
        let event = if bad.is_some() { "links_refused" } else { "links_unreadable" };
        site.wait_for_fault(event, "bounded", "links-stale");
    }
    site.stop();
    let site = site.arg("--require-file");
    let (code, said) = site.run_refused_start();
    assert!(code == Some(1) && said.contains("links.jsonl"), "{said}");
}

#[test]
fn what_never_changes_and_reserved_codes_are_known_behind_a_restart_with_a_file() {
    let mut site = Site::new(&(0..20).map(|at| link(&format!("c{at}"))).collect::<Vec<_>>()).start();
    wait_until_kept(&site, "c19");
    let lines = |change: &dyn Fn(String) -> String| {
        (0..20).map(|at| change(link(&format!("c{at}"))) + "\n").collect::<String>()
    };
    site.stop();
    site.write("links.jsonl", &lines(&|line| line.replace(r#""creator":"c_1""#, r#""creator":"thief""#)));
    site.restart();
    site.wait_for_log("creator: never changes and was c_1");
    site.stop();
    // A link is removed, and its code given to another one behind the next restart.
    site.write("links.jsonl", &lines(&|line| if line.contains("\"c7\"") { String::new() } else { line }));
    site.restart();
    assert_eq!(site.get("/c7", &[]).status, 404);
    until("the code to be reserved", || {
        let connection = rusqlite::Connection::open(site.data().join("catalog.db")).ok()?;
        connection.prepare("SELECT 1 FROM gone WHERE code = 'c7'").ok()?.exists([]).ok()?.then_some(())
    });
    site.stop();
    let takes_code = |line: String| {
        if line.contains("\"c7\"") { line.replace(r#""creator":"c_1""#, r#""creator":"thief""#) } else { line }
    };
    site.write("links.jsonl", &lines(&takes_code));
    site.restart();
    site.wait_for_log("when it was removed, and a code is free again after 114 days");
    assert_eq!(site.get("/c7", &[]).status, 404);
}

#[test]
fn a_suspension_switches_all_links_of_a_creator_off_and_leaves_each_as_it_was() {
    let mut site = site_with_catalog(&["tea", "cup"]);
    run_links(&site, &["disable", "cup", "--reason", "sold out"]);
    run_links(
        &site,
        &["disable", "--creator", "c_1", "--reason", "fraud", "--fallback-url", "https://shop.example.com/"],
    );
    let mut site = {
        site.restart();
        site
    };
    let answer = site.get("/tea", &PHONE_BROWSER);
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://shop.example.com/")));
    assert_eq!(answer.header("set-cookie"), None);
    let event = &site.wait_for_events("clicks.orphan", 1)[0];
    assert_eq!((&event["suspended_by"], &event["outcome"]), (&"creator:c_1".into(), &"fallback".into()));
    site.stop();
    assert!(run_links(&site, &["suspensions"]).contains("creator c_1 since"));
    run_links(&site, &["enable", "--creator", "c_1"]);
    site.restart();
    assert_eq!(site.get("/tea", &PHONE_BROWSER).status, 302);
    assert_eq!(site.get("/cup", &PHONE_BROWSER).status, 410, "it was disabled by hand");
}

#[test]
fn many_links_are_patched_under_one_act_and_undone_where_nobody_changed_them_since() {
    let site = site_with_catalog(&["a1", "a2", "a3", "b1"]);
    let preview =
        run_links(&site, &["patch", "--where", "code_prefix=a", "--set", "host=new.example.com", "--dry-run"]);
    assert!(preview.contains("would change 3 links"), "{preview}");
    let said = run_links(&site, &["patch", "--where", "code_prefix=a", "--set", "host=new.example.com"]);
    let act = said.lines().last().unwrap().split_whitespace().nth(1).unwrap().trim_end_matches(';').to_owned();
    let urls = || run_links(&site, &["list", "--where", "host=new.example.com"]).lines().count();
    assert_eq!(urls(), 3);
    run_links(&site, &["set", "a2", "title=mine"]);
    let (code, stdout, stderr) = links(&site, &["undo", &act]);
    assert_eq!((code, urls()), (2, 1), "{stdout}{stderr}");
    assert!(stderr.contains("*/a2: refused: the link was changed meanwhile"), "{stderr}");
    let said = run_links(&site, &["rollback", "--to", "4", "--dry-run"]);
    assert!(said.contains("would change 1 links"), "{said}");
    run_links(&site, &["freeze", "--reason", "closing the month"]);
    let (code, _, stderr) = links(&site, &["rollback", "--to", "4"]);
    assert!(code == 1 && stderr.contains("closing the month"), "{stderr}");
    run_links(&site, &["unfreeze"]);
    run_links(&site, &["rollback", "--to", "4"]);
    assert_eq!(urls(), 0);
    assert!(run_links(&site, &["verify"]).contains("sound"));
}

#[test]
fn an_export_is_a_links_file_and_round_trips_byte_for_byte() {
    let site = site_with_catalog(&["a1", "a2"]);
    let exported = run_links(&site, &["export"]);
    let other = Site::without_links_file();
    other.write("records.jsonl", &exported);
    let records = other.path("records.jsonl").display().to_string();
    run_links(&other, &["add", &records]);
    assert_eq!(run_links(&other, &["export"]), exported);
    other.write("links.jsonl", &exported);
    let check = other.command(&["check", "--links", "links.jsonl"]).output().unwrap();
    assert!(check.status.success());
    let backup = site.path("copy.db").display().to_string();
    run_links(&site, &["backup", &backup]);
    fs::create_dir_all(other.data()).unwrap();
    fs::remove_file(other.data().join("catalog.db")).unwrap();
    fs::rename(backup, other.data().join("catalog.db")).unwrap();
    assert_eq!(run_links(&other, &["export"]), exported);
}

#[test]
fn a_frozen_catalog_takes_no_change_of_the_links_file_until_it_is_unfrozen() {
    let mut site = Site::with_codes(&["tea", "cup"]);
    wait_until_kept(&site, "cup");
    site.stop();
    run_links(&site, &["freeze", "--reason", "closing the month"]);
    site.write("links.jsonl", &[link("tea"), link("cup"), link("new")].map(|line| line + "\n").concat());
    site.restart();
    site.wait_for_log("links are frozen");
    site.signal("-HUP");
    site.wait_for_log("SIGHUP");
    assert_eq!([site.get("/cup", &[]).status, site.get("/new", &[]).status], [302, 404]);
    site.stop();
    run_links(&site, &["unfreeze"]);
    site.restart();
    assert_eq!(site.get("/new", &[]).status, 302);
}

#[test]
fn an_empty_value_suspends_nothing() {
    let site = site_with_catalog(&["tea"]);
    let (code, _, stderr) = links(&site, &["disable", "--partner", "", "--reason", "a variable that is not set"]);
    assert!(code == 1 && stderr.contains("--partner is empty"), "{stderr}");
    assert_eq!(run_links(&site, &["suspensions"]), "");
}
