//! A running server: it dies while it keeps a links file or a long request, and its disk fails.

use serde_json::{Value, json};

use super::state::CatalogState;
use crate::{
    api::client::{ApiSite, body, new_key, plain},
    dsl::{Site, until},
    inject::Injected,
    need::has_program,
};

/// The only thread that writes the catalog.
const WRITER: &str = "wp-catalog";
/// Records of a links file that are kept in two parts.
const TWO_PARTS: usize = 8_100;

/// A record of the code, whose URL and title tell its version.
fn record(code: &str, version: usize) -> Value {
    let mut record = plain(&format!("https://shop.example.com/{code}/{version}"));
    record["code"] = json!(code);
    record["title"] = json!(version.to_string());
    record
}

fn write_links_file(site: &Site, count: usize, version: usize) {
    let lines = (0..count).map(|at| record(&format!("c{at}"), version).to_string() + "\n");
    site.write("links.jsonl", &lines.collect::<String>());
}

/// Starts the site under strace, which kills it once a thread calls `call` the `number`-th time for the catalog's log.
fn die_at_call_for_log(site: Site, call: &str, number: usize) -> Site {
    let log = site.data().join("catalog.db-wal").display().to_string();
    let calls = format!("-P {log} -e trace={call} -e inject={call}:signal=SIGKILL:when={number}");
    let site = site.after_shell(&format!("exec strace -f -qq -o /dev/null -e signal=none {calls} \"$0\" \"$@\""));
    let (code, said) = site.run_refused_start();
    assert!(code.is_none(), "the process is killed: {code:?}: {said}");
    site.after_shell("")
}

fn wait_until_file_is_kept(site: &Site) {
    wait_until_a_row_is_kept(site, "SELECT 1 FROM meta WHERE name = 'file_version'");
}

fn wait_until_a_row_is_kept(site: &Site, sql: &str) {
    let database = site.data().join("catalog.db");
    until("the file to be kept", || {
        let connection = rusqlite::Connection::open(&database).ok()?;
        connection.prepare(sql).ok()?.exists([]).ok()?.then_some(())
    });
}

/// The versions of the file that the links of a state are of, each of them whole.
fn count_by_file_version(state: &CatalogState) -> [usize; 2] {
    let mut counts = [0; 2];
    for (code, (_, text)) in &state.links {
        let whole = [0, 1].map(|version| record(code, version).to_string());
        counts[whole.iter().position(|whole| whole == text).expect(text)] += 1;
    }
    counts
}

#[test]
fn a_server_that_dies_while_it_keeps_a_links_file_has_whole_links_of_both_versions_and_keeps_it_at_the_next_start() {
    if !has_program("strace", "--version") {
        return;
    }
    let site = Site::new(&[]);
    write_links_file(&site, TWO_PARTS, 0);
    // Within the first part; then at the sync of the second part.
    let site = die_at_call_for_log(site, "pwrite64", 1_000);
    assert_eq!(count_by_file_version(&CatalogState::read_and_check(&site.data())), [0, 0]);
    let mut site = die_at_call_for_log(site, "fsync", 2);
    let first = CatalogState::read_and_check(&site.data());
    assert!([8_000, TWO_PARTS].contains(&first.links.len()), "{}", first.links.len());
    site.restart();
    assert_eq!(site.get("/c8099", &[]).status, 302);
    wait_until_file_is_kept(&site);
    site.stop();
    assert_eq!(count_by_file_version(&CatalogState::read_and_check(&site.data())), [TWO_PARTS, 0]);
    // A later version without the last link.
    write_links_file(&site, TWO_PARTS - 1, 1);
    let site = die_at_call_for_log(site, "fsync", 2);
    let [old, new] = count_by_file_version(&CatalogState::read_and_check(&site.data()));
    println!("{} links of the first start; then {old} of the old version and {new} of the new", first.links.len());
    assert!(old + new == TWO_PARTS && [0, 8_000].contains(&new), "{old} {new}");
    // The file is bad: what was kept is served.
    let good = std::fs::read_to_string(site.path("links.jsonl")).unwrap();
    site.write("links.jsonl", "{");
    let mut site = site.start();
    assert_eq!(["/c0", "/c8099"].map(|path| site.get(path, &[]).status), [302; 2]);
    site.stop();
    site.write("links.jsonl", &good);
    site.restart();
    assert_eq!(["/c0", "/c8099"].map(|path| site.get(path, &[]).status), [302, 404]);
    site.stop();
    assert_eq!(count_by_file_version(&CatalogState::read_and_check(&site.data())), [0, TWO_PARTS - 1]);
}

#[test]
fn rows_that_a_server_acknowledged_before_it_died_at_a_write_or_a_sync_are_there() {
    for fault in ["fsync:signal=SIGKILL:when=3", "pwrite64:signal=SIGKILL:when=40"] {
        let mut api = ApiSite::start();
        let Some(injected) = Injected::into(&api.site, WRITER, fault) else { return };
        let mut acknowledged = 0;
        // Each request is one commit of three rows.
        while let Some(answer) = api
            .request("POST", "/v1/bulk?mode=each")
            .typed(
                "application/x-ndjson",
                (0..3).map(|row| rows_of(acknowledged, row)).collect::<String>().into_bytes(),
            )
            .try_send()
            .filter(|answer| answer.text().contains("summary"))
        {
            assert_eq!(answer.status, 200, "{}", answer.text());
            acknowledged += 1;
            assert!(acknowledged < 100, "{fault}: the process lives");
        }
        drop(injected);
        api.site.kill();
        let state = CatalogState::read_and_check(&api.site.data());
        let kept = state.links.len() / 3;
        assert!(
            state.links.len().is_multiple_of(3) && (acknowledged..=acknowledged + 1).contains(&kept),
            "{fault}: {kept}"
        );
        api.site.restart();
        for at in 0..kept {
            assert_eq!(api.site.get(&format!("/b{at}-2"), &[]).status, 302, "{fault}: {at}");
        }
        assert_eq!(api.put_link("b0-0", record("b0-0", 1)).status, 428, "a link that is there needs its version");
        println!("{fault}: {acknowledged} requests acknowledged, {kept} there");
    }
}

fn rows_of(request: usize, row: usize) -> String {
    record(&format!("b{request}-{row}"), 0).to_string() + "\n"
}

/// A fault of the disk, and whether a refused change can be on the disk.
struct DiskFault {
    calls: &'static str,
    can_keep_refused: bool,
}

const DISK_FAULTS: [DiskFault; 2] = [
    DiskFault { calls: "fsync:error=EIO", can_keep_refused: true },
    DiskFault { calls: "pwrite64:error=ENOSPC", can_keep_refused: false },
];

fn start_with_key_of_all_scopes() -> ApiSite {
    let site = Site::without_links_file();
    let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
    ApiSite { key, ..ApiSite::start_of(site) }
}

/// Every sort of change that the API has: each must be refused with 503.
fn send_every_change(api: &ApiSite, code: &str) {
    let suspension = json!({"reason": "case"});
    let key = json!({"name": "more", "scopes": ["read"]});
    let answers = [
        api.put_link(code, record(code, 0)),
        api.request("DELETE", "/v1/links/*/kept").send(),
        api.request("POST", "/v1/bulk?mode=atomic")
            .typed("application/x-ndjson", record("more", 0).to_string().into_bytes())
            .send(),
        api.request("PUT", "/v1/suspensions/creator/c_9").json(&suspension).send(),
        api.request("PUT", "/v1/domains/new.example.com").json(&json!({})).send(),
        api.request("POST", "/v1/api-keys").json(&key).send(),
        api.request("PUT", "/v1/freeze").json(&json!({"reason": "closing"})).send(),
    ];
    for (at, answer) in answers.iter().enumerate() {
        let problem = body(answer);
        assert_eq!(answer.status, 503, "change {at}: {problem}");
        assert!(problem["type"].as_str().unwrap().ends_with("store-failing"), "change {at}: {problem}");
    }
}

#[test]
fn a_failing_disk_refuses_every_change_of_a_server_and_no_click_and_later_changes_succeed_without_a_restart() {
    for DiskFault { calls, can_keep_refused } in DISK_FAULTS {
        let mut api = start_with_key_of_all_scopes();
        assert_eq!(api.put_link("kept", record("kept", 0)).status, 201);
        let errors = || api.site.metric("waypost_catalog_write_errors_total", "");
        assert_eq!(errors(), 0.0);
        let Some(fault) = Injected::into(&api.site, WRITER, calls) else { return };
        send_every_change(&api, "refused");
        assert_eq!(errors(), 7.0, "{calls}");
        assert_eq!(["/kept", "/refused"].map(|path| api.site.get(path, &[]).status), [302, 404], "{calls}");
        api.site.wait_for_fault("catalog_failing", "bounded", "catalog-failing");
        drop(fault);
        assert_eq!(api.put_link("later", record("later", 0)).status, 201, "{calls}");
        assert_eq!(["/later", "/refused"].map(|path| api.site.get(path, &[]).status), [302, 404], "{calls}");
        api.site.kill();
        // The next commit has overwritten what was refused.
        let state = CatalogState::read_and_check(&api.site.data());
        assert_eq!(state.links.keys().collect::<Vec<_>>(), ["kept", "later"], "{calls}");
        api.site.restart();
        let fault = Injected::into(&api.site, WRITER, calls).unwrap();
        assert_eq!(api.put_link("doubtful", record("doubtful", 0)).status, 503, "{calls}");
        drop(fault);
        api.site.kill();
        let state = CatalogState::read_and_check(&api.site.data());
        let is_kept = state.links.contains_key("doubtful");
        println!("{calls}: a change that was refused before a kill is there: {is_kept}");
        assert!(can_keep_refused || !is_kept, "{calls}");
        assert_eq!(state.links.len(), 2 + usize::from(is_kept));
        api.site.restart();
        let status = if is_kept { 302 } else { 404 };
        assert_eq!(api.site.get("/doubtful", &[]).status, status, "{calls}: the change is whole, or not there");
    }
}

#[test]
fn a_links_file_that_a_failing_disk_does_not_take_is_served_and_kept_once_the_disk_works() {
    let site = Site::new(&[]);
    write_links_file(&site, 20, 0);
    let mut site = site.start();
    wait_until_file_is_kept(&site);
    let Some(fault) = Injected::into(&site, WRITER, "fsync:error=EIO") else { return };
    write_links_file(&site, 19, 1);
    site.signal("-HUP");
    let line = site.wait_for_fault("catalog_failing", "bounded", "catalog-failing");
    assert!(line["message"].as_str().unwrap().contains("links.jsonl: its links are served"), "{line}");
    assert!(site.get("/c0", &[]).header("location").unwrap().starts_with("https://shop.example.com/c0/1"));
    assert_eq!(["/c1", "/c19"].map(|path| site.get(path, &[]).status), [302, 404]);
    assert!(site.metric("waypost_catalog_write_errors_total", "") >= 1.0);
    drop(fault);
    wait_until_a_row_is_kept(&site, "SELECT 1 FROM gone WHERE code = 'c19'");
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(count_by_file_version(&CatalogState::read_and_check(&site.data())), [0, 19]);
}
