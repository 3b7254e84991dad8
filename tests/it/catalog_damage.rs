//! Catalogs that a start finds damaged, locked, missing, of an older or of a newer format; and what holds over a
//! restart whatever the links file is.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    api::client::{ApiSite, body, new_key, plain},
    dsl::{PHONE_BROWSER, Site, link, until},
};

/// A file that the first builds of format 1 wrote: links tea and cup, cup's creator suspended, the code old reserved.
const FORMAT_1: &str = include_str!("../fixtures/catalog/format-1.sql");

fn site_with_links(codes: &[&str]) -> ApiSite {
    let site = Site::without_links_file();
    let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
    let api = ApiSite { site: site.start(), key };
    for code in codes {
        assert_eq!(api.put_link(code, plain(&format!("https://shop.example.com/{code}"))).status, 201);
    }
    api
}

fn catalog_of(site: &Site) -> std::path::PathBuf {
    site.data().join("catalog.db")
}

/// Overwrites the middle of a file; its first page stays.
fn damage_middle(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let from = bytes.len() / 4;
    bytes[from..].fill(7);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_catalog_without_another_home_refuses_the_start_stays_where_it_is_and_a_backup_takes_its_place() {
    let mut api = site_with_links(&["tea", "cup"]);
    let backup = api.site.path("copy.db");
    let run = |site: &Site, args: &[&str]| {
        let data = site.data().display().to_string();
        site.command(&[&["links", "--data-dir", &data], args].concat()).output().unwrap()
    };
    assert!(run(&api.site, &["backup", &backup.display().to_string()]).status.success());
    api.site.stop();
    let catalog = catalog_of(&api.site);
    for damage in ["whole", "middle"] {
        match damage {
            "whole" => fs::write(&catalog, vec![7; 8192]).unwrap(),
            _ => damage_middle(&catalog),
        }
        let damaged = fs::read(&catalog).unwrap();
        let (code, said) = api.site.run_refused_start();
        assert_eq!(code, Some(1), "{damage}: {said}");
        for part in ["catalog.db", "is damaged", "waypost links verify", "waypost links backup"] {
            assert!(said.contains(part), "{damage}: {part}: {said}");
        }
        assert_eq!(fs::read(&catalog).unwrap(), damaged, "{damage}: it is left as it is");
        let (code, _) = api.site.run_refused_start();
        assert_eq!(code, Some(1), "{damage}: the next start does not begin with an empty catalog");
        let listed = run(&api.site, &["list"]);
        assert!(!listed.status.success() && String::from_utf8_lossy(&listed.stderr).contains("is damaged"), "{damage}");
        fs::copy(&backup, &catalog).unwrap();
        for log in ["catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(api.site.data().join(log));
        }
        api.site.restart();
        assert_eq!(["/tea", "/cup"].map(|path| api.site.get(path, &[]).status), [302; 2], "{damage}");
        api.site.stop();
    }
}

#[test]
fn a_damaged_catalog_beside_a_links_file_is_set_aside_and_a_new_one_fills_itself() {
    for damage in ["whole", "middle"] {
        let mut site = Site::new(&(0..40).map(|at| link(&format!("c{at}"))).collect::<Vec<_>>()).start();
        let kept = |site: &Site| {
            let count = || {
                Connection::open(catalog_of(site))
                    .ok()?
                    .query_row("SELECT count(*) FROM link", [], |row| row.get::<_, u64>(0))
                    .ok()
            };
            until("the file to be kept", || count().filter(|count| *count == 40))
        };
        kept(&site);
        site.stop();
        match damage {
            "whole" => fs::write(catalog_of(&site), vec![7; 8192]).unwrap(),
            _ => damage_middle(&catalog_of(&site)),
        }
        let damaged = fs::read(catalog_of(&site)).unwrap();
        site.restart();
        assert_eq!(site.get("/c3", &[]).status, 302, "{damage}");
        site.wait_for_fault("catalog_set_aside", "bounded", "catalog-failing");
        assert_eq!(fs::read(site.data().join("catalog.db.damaged-1")).unwrap(), damaged, "{damage}");
        kept(&site);
    }
}

#[test]
fn a_catalog_that_another_process_has_locked_refuses_the_start_and_names_the_process() {
    let mut api = site_with_links(&["tea"]);
    api.site.stop();
    let other = Connection::open(catalog_of(&api.site)).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM tag").unwrap();
    let (code, said) = api.site.run_refused_start();
    let process = format!("(process {})", std::process::id());
    assert!(code == Some(1) && said.contains("has locked it") && said.contains(&process), "{code:?}: {said}");
    drop(other);
    api.site.restart();
    assert_eq!(api.site.get("/tea", &[]).status, 302);
    // The lock of the data directory names its process, too.
    let holder = format!("(process {})", api.site.pid());
    let data = api.site.data().display().to_string();
    let output = api.site.command(&["links", "--data-dir", &data, "list"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&holder), "{said}");
}

#[test]
fn a_catalog_of_an_older_format_is_copied_then_served_and_one_of_a_newer_format_is_refused() {
    let mut site = Site::without_links_file();
    fs::create_dir_all(site.data()).unwrap();
    Connection::open(catalog_of(&site)).unwrap().execute_batch(FORMAT_1).unwrap();
    // A command that only reads does not need the new tables.
    let check = site.command(&["check", "--data-dir", &site.data().display().to_string()]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    site.restart();
    assert_eq!(site.get("/tea", &PHONE_BROWSER).status, 302);
    assert_eq!(site.get("/cup", &PHONE_BROWSER).status, 410, "its creator is suspended");
    assert_eq!(site.get("/old", &PHONE_BROWSER).status, 404);
    site.wait_for_log("older format");
    site.stop();
    let copy = Connection::open(site.data().join("catalog.db.format-1.copy-1")).unwrap();
    let read = |connection: &Connection, sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((read(&copy, "PRAGMA user_version"), read(&copy, "SELECT count(*) FROM link")), (1, 2));
    let catalog = Connection::open(catalog_of(&site)).unwrap();
    assert_eq!(read(&catalog, "PRAGMA user_version"), 3);
    assert_eq!(read(&catalog, "SELECT count(*) FROM audit"), 5);
    catalog.pragma_update(None, "user_version", 4).unwrap();
    drop(catalog);
    let (code, said) = site.run_refused_start();
    assert!(code == Some(1) && said.contains("has format 4") && said.contains("knows 3"), "{code:?}: {said}");
}

/// Puts links of these codes into the links file.
fn write_file(site: &Site, codes: &[&str]) {
    let padding = (0..30).map(|at| format!("pad{at}"));
    let codes = codes.iter().map(|code| (*code).to_owned()).chain(padding);
    site.write("links.jsonl", &codes.map(|code| link(&code) + "\n").collect::<String>());
}

#[test]
fn with_a_links_file_suspensions_reserved_codes_and_fields_that_never_change_hold_over_bad_and_missing_files() {
    let site = Site::new(&[]);
    write_file(&site, &["tea", "cup"]);
    let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
    let mut api = ApiSite { site: site.start(), key };
    until("the file to be kept", || Some(api.get("/v1/links/*/pad29")).filter(|read| read.status == 200));
    let suspension = json!({"reason": "case"});
    assert_eq!(api.request("PUT", "/v1/suspensions/creator/c_1").json(&suspension).send().status, 201);
    // The link is removed, and its code reserved.
    write_file(&api.site, &["tea"]);
    api.site.signal("-HUP");
    until("the link to be removed", || Some(api.get("/v1/links/*/cup")).filter(|read| read.status == 404));
    let stolen = |code: &str| link(code).replace(r#""creator":"c_1""#, r#""creator":"thief""#);
    let good = fs::read_to_string(api.site.path("links.jsonl")).unwrap();
    for file in [Some("{"), Some(""), None] {
        api.site.stop();
        match file {
            Some(text) => api.site.write("links.jsonl", text),
            None => fs::remove_file(api.site.path("links.jsonl")).unwrap(),
        }
        api.site.restart();
        assert_eq!(api.site.get("/tea", &PHONE_BROWSER).status, 410, "{file:?}: the suspension holds");
        assert_eq!(api.get("/v1/links/*/tea").status, 200, "{file:?}: the last good links are there");
        api.site.stop();
        for (stolen_line, told) in [
            (stolen("cup"), "when it was removed, and a code is free again after 114 days"),
            (stolen("tea"), "creator: never changes and was c_1"),
        ] {
            let lines: String = good
                .lines()
                .filter(|line| !stolen_line.contains("tea") || !line.contains("tea\""))
                .map(|line| line.to_owned() + "\n")
                .collect();
            api.site.write("links.jsonl", &(lines + &stolen_line + "\n"));
            api.site.restart();
            api.site.wait_for_log(told);
            let owner = api.get_json("/v1/links/*/tea")["creator"].clone();
            assert_eq!((owner, api.get("/v1/links/*/cup").status), (Value::from("c_1"), 404), "{file:?}: {told}");
            api.site.stop();
        }
        api.site.write("links.jsonl", &good);
        api.site.restart();
    }
    assert_eq!(api.request("DELETE", "/v1/suspensions/creator/c_1").send().status, 204);
    assert_eq!(api.site.get("/tea", &PHONE_BROWSER).status, 302);
}

#[test]
fn without_a_links_file_suspensions_reserved_codes_and_fields_that_never_change_hold_over_kills() {
    let mut api = site_with_links(&[]);
    let owned = |code: &str, creator: &str| {
        let mut record = plain(&format!("https://shop.example.com/{code}"));
        (record["code"], record["creator"]) = (json!(code), json!(creator));
        record
    };
    for code in ["tea", "cup"] {
        assert_eq!(api.post_link(owned(code, "c_1")).status, 201);
    }
    assert_eq!(api.request("DELETE", "/v1/links/*/cup").send().status, 204);
    let suspension = json!({"reason": "case", "fallback_url": "https://shop.example.com/sorry"});
    assert_eq!(api.request("PUT", "/v1/suspensions/creator/c_1").json(&suspension).send().status, 201);
    for round in 0..2 {
        api.site.kill();
        api.site.restart();
        let answer = api.site.get("/tea", &PHONE_BROWSER);
        assert_eq!(answer.header("location"), Some("https://shop.example.com/sorry"), "round {round}");
        let reserved = api.post_link(owned("cup", "thief"));
        assert_eq!((reserved.status, &body(&reserved)["type"]), (409, &json!("urn:waypost:problem:code-reserved")));
        let patch = api.request("PATCH", "/v1/links/*/tea");
        let patch = patch.typed("application/merge-patch+json", br#"{"creator":"thief"}"#.to_vec()).send();
        assert_eq!((patch.status, &body(&patch)["type"]), (409, &json!("urn:waypost:problem:unchangeable")));
    }
    assert_eq!(api.request("DELETE", "/v1/suspensions/creator/c_1").send().status, 204);
    assert_eq!(api.site.get("/tea", &PHONE_BROWSER).status, 302);
    assert_eq!(api.post_link(owned("cup", "c_1")).status, 201, "the same link may come back");
}
