//! `waypost links … --server`: the same commands, output and exit codes on a running server as on a data directory.

use std::process::{Command, Output};

use serde_json::json;

use crate::{
    api::client::{ApiSite, new_key},
    dsl::{Site, link},
};

/// A running site, and a stopped one, to which commands do the same.
struct Pair {
    running: ApiSite,
    stopped: Site,
}

/// Exit code, standard output and standard error.
type Said = (i32, String, String);

impl Pair {
    fn start() -> Pair {
        let site = Site::without_links_file();
        let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
        let mut running = ApiSite::start_of(site);
        running.key = key;
        Pair { running, stopped: Site::without_links_file() }
    }

    /// Runs a command on both, and checks that both say the same.
    fn run(&self, args: &[&str]) -> Said {
        let (server, directory) = (on_server(&self.running, args), on_directory(&self.stopped, args));
        assert_eq!(without_names(&server), without_names(&directory), "{args:?}: {server:?} {directory:?}");
        server
    }

    /// Runs a command that must end well on both, and gives its output.
    fn succeed(&self, args: &[&str]) -> String {
        let (code, out, error) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {error}");
        out
    }

    fn write(&self, name: &str, text: &str) {
        self.running.site.write(name, text);
        self.stopped.write(name, text);
    }
}

fn on_server(api: &ApiSite, args: &[&str]) -> Said {
    let server = format!("http://{}", api.site.admin_address());
    said(api.site.command(&[&["links", "--server", &server], args].concat()).env("WAYPOST_API_KEY", &api.key))
}

fn on_directory(site: &Site, args: &[&str]) -> Said {
    said(&mut site.command(&[&["links", "--data-dir", &site.data().display().to_string()], args].concat()))
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What was said, without times, ids of acts, and who did it.
fn without_names((code, out, error): &Said) -> Said {
    let clean = |text: &str| text.lines().map(|line| clean_line(line) + "\n").collect::<String>();
    (*code, clean(out), clean(error))
}

fn clean_line(line: &str) -> String {
    if let Ok(mut object) = serde_json::from_str::<serde_json::Value>(line)
        && object.get("actor").is_some()
    {
        ["at", "act", "actor"].into_iter().for_each(|field| object[field] = json!("cleaned"));
        return object.to_string();
    }
    let words = line.split(' ').map(|word| {
        let is_id = word.len() >= 36 && word.matches('-').count() == 4;
        let is_time = word.starts_with("20") && word.contains('T');
        if is_id {
            "ID"
        } else if is_time {
            "TIME"
        } else {
            word
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    // `by ACTOR: REASON`
    match (line.split_once(" by "), line.split_once(": ")) {
        (Some((front, _)), Some((_, reason))) if front.contains(" since ") => format!("{front}: {reason}"),
        _ => line,
    }
}

#[test]
fn commands_say_the_same_of_a_server_as_of_a_data_directory() {
    let pair = Pair::start();
    let records = ["tea", "cup"].map(|code| link(code) + "\n").concat();
    pair.write("records.jsonl", &records);
    let added = pair.succeed(&["add", "records.jsonl", "--reason", "first"]);
    assert_eq!(added, "created */tea at version 1\ncreated */cup at version 2\n");
    let (code, _, error) = pair.run(&["add", "records.jsonl"]);
    assert!(code == 2 && error.contains("records.jsonl:2: refused: there is a link of this code"), "{error}");
    assert_eq!(pair.succeed(&["add", "records.jsonl", "--replace"]), "unchanged */tea\nunchanged */cup\n");
    pair.succeed(&["set", "tea", "url=https://shop.example.com/other", "title=A \"b\"", "--reason", "moved"]);
    let (code, _, error) = pair.run(&["set", "tea", "creator=thief"]);
    assert!(code == 2 && error.contains("tea: refused: creator: never changes and was c_1"), "{error}");
    let (code, _, error) = on_server(&pair.running, &["set", "tea", "kynd=1"]);
    assert!(code == 2 && error.contains("tea: refused: kynd: unknown field"), "{error}");
    let (code, _, error) = pair.run(&["set", "nobody", "enabled=false"]);
    assert!(code == 2 && error.contains("there is no such link"), "{error}");
    assert!(pair.succeed(&["show", "tea"]).contains("https://shop.example.com/other"));
    assert_eq!(pair.run(&["show", "nobody"]).0, 1);
    assert_eq!(pair.succeed(&["list", "--where", "creator=c_1", "--state", "live"]).lines().count(), 2);
    assert_eq!(pair.succeed(&["history", "tea"]).lines().count(), 2);
    assert_eq!(pair.succeed(&["history", "nobody"]), "");
    assert!(pair.succeed(&["export"]).contains(&link("cup")), "a record is kept as it was written");
    pair.succeed(&["export", "--output", "all.jsonl"]);
    assert_eq!(pair.succeed(&["rm", "cup"]), "removed */cup at version 4\n");
    pair.write("thief.jsonl", &link("cup").replace("c_1", "thief"));
    let (code, _, error) = pair.run(&["add", "thief.jsonl"]);
    assert!(code == 2 && error.contains("the code belongs to a removed link until 20"), "{error}");
    assert!(pair.succeed(&["rm", "tea", "--dry-run"]).contains("removed */tea"));
    assert!(pair.succeed(&["show", "tea"]).contains("\"tea\""));
}

#[test]
fn suspensions_and_freezes_of_a_server_are_those_of_a_data_directory() {
    let pair = Pair::start();
    pair.write("records.jsonl", &["tea", "cup"].map(|code| link(code) + "\n").concat());
    pair.succeed(&["add", "records.jsonl"]);
    let fallback = ["--fallback-url", "https://shop.example.com/paused"];
    let disable = ["disable", "--creator", "c_1", "--host", "Shop.Example.com", "--reason", "case 12"];
    let suspended = pair.succeed(&[&disable[..], &fallback].concat());
    assert!(suspended.contains("suspended creator c_1 since") && suspended.contains("host shop.example.com"));
    let answer = pair.running.site.get("/tea", &[]);
    assert_eq!(answer.header("location"), Some("https://shop.example.com/paused"));
    assert_eq!(pair.succeed(&["suspensions"]).lines().count(), 2);
    let bad = ["disable", "--creator", "c_2", "--reason", "x", "--fallback-url", "no url"];
    for (code, _, error) in [on_server(&pair.running, &bad), on_directory(&pair.stopped, &bad)] {
        assert!(code == 1 && error.contains("fallback_url: is not an absolute URL"), "{error}");
    }
    pair.succeed(&["enable", "--creator", "c_1"]);
    assert!(pair.succeed(&["enable", "--host", "SHOP.example.com"]).contains("ended the suspension of host"));
    assert!(pair.run(&["enable", "--creator", "c_1"]).2.contains("creator c_1 is not suspended"));
    pair.succeed(&["disable", "tea", "cup", "--reason", "sold out"]);
    assert_eq!(pair.running.site.get("/tea", &[]).status, 410);
    pair.succeed(&["enable", "tea"]);
    pair.succeed(&["freeze", "--reason", "closing the month"]);
    assert!(pair.succeed(&["suspensions"]).contains("links are frozen: closing the month"));
    let (code, _, error) = on_server(&pair.running, &["set", "tea", "title=x"]);
    assert!(code == 1 && error.contains("answers 423: links are frozen: closing the month"), "{error}");
    pair.succeed(&["unfreeze"]);
    pair.succeed(&["set", "tea", "title=x"]);
}

#[test]
fn many_links_of_a_server_are_patched_undone_and_rolled_back_as_those_of_a_data_directory() {
    let pair = Pair::start();
    pair.write("records.jsonl", &["a1", "a2", "a3", "b1"].map(|code| link(code) + "\n").concat());
    pair.succeed(&["add", "records.jsonl"]);
    let patch = ["patch", "--where", "code_prefix=a", "--set", "host=new.example.com"];
    assert!(pair.succeed(&[&patch[..], &["--dry-run"]].concat()).contains("would change 3 links"));
    let ids = [on_server(&pair.running, &patch), on_directory(&pair.stopped, &patch)].map(|(code, out, error)| {
        assert_eq!(code, 0, "{error}");
        out.split_whitespace().find(|word| word.matches('-').count() == 4).unwrap().trim_end_matches(';').to_owned()
    });
    pair.succeed(&["set", "a2", "title=mine"]);
    let undone = [on_server(&pair.running, &["undo", &ids[0]]), on_directory(&pair.stopped, &["undo", &ids[1]])];
    assert_eq!(without_names(&undone[0]), without_names(&undone[1]));
    assert!(undone[0].0 == 2 && undone[0].2.contains("*/a2: refused: the link was changed meanwhile"), "{undone:?}");
    let (code, _, error) = pair.run(&["undo", "01a22d5b-e0e6-720c-911a-685ab55cddca"]);
    assert!(code == 1 && error.contains("there is no act"), "{error}");
    pair.succeed(&["rollback", "--to", "4", "--dry-run"]);
    assert!(pair.succeed(&["rollback", "--to", "4"]).contains("changed 1 links"));
    assert_eq!(pair.succeed(&["list", "--where", "host=new.example.com"]), "");
    let (code, _, error) = on_server(&pair.running, &["patch", "--set", "title=x"]);
    assert!(code == 1 && error.contains("--all changes every link"), "{error}");
    assert!(pair.succeed(&["patch", "--all", "--set", "title=x"]).contains("changed 4 links"));
}

#[test]
fn many_records_are_one_act_of_a_server_and_minted_codes_are_told() {
    let pair = Pair::start();
    let record =
        |at: usize| json!({"url": format!("https://shop.example.com/{at}"), "kind": "plain"}).to_string() + "\n";
    pair.running.site.write("many.jsonl", &(0..2_500).map(record).collect::<String>());
    let (code, out, error) = on_server(&pair.running, &["add", "many.jsonl", "--reason", "many"]);
    assert_eq!((code, out.lines().count()), (0, 2_500), "{error}");
    let minted = out.lines().last().unwrap().split_whitespace().nth(1).unwrap().strip_prefix("*/").unwrap().to_owned();
    assert_eq!(pair.running.site.get(&format!("/{minted}"), &[]).status, 302);
    let history = on_server(&pair.running, &["history", &minted]).1;
    let change: serde_json::Value = serde_json::from_str(&history).unwrap();
    let act = change["act"].as_str().unwrap();
    assert!(on_server(&pair.running, &["undo", act]).1.contains("changed 2500 links"), "all are one act");
    let foreign = pair.running.request("POST", &format!("/v1/bulk?act={act}"));
    let other = new_key_of_running(&pair.running);
    let refused = foreign.authorization(Some(&format!("Bearer {other}"))).typed("application/x-ndjson", b"{}".to_vec());
    assert_eq!(refused.send().status, 409, "an act of another key");
}

fn new_key_of_running(api: &ApiSite) -> String {
    let server = format!("http://{}", api.site.admin_address());
    let new = ["api-keys", "new", "--server", &server, "--name", "other", "--scope", "write"];
    let (code, out, error) = said(api.site.command(&new).env("WAYPOST_API_KEY", &api.key));
    assert_eq!(code, 0, "{error}");
    out.trim().to_owned()
}

#[test]
fn a_server_that_refuses_says_why_and_what_it_does_not_offer_is_said() {
    let api = ApiSite::start();
    let site = &api.site;
    let server = format!("http://{}", site.admin_address());
    let run = |args: &[&str]| {
        said(site.command(&[&["links", "--server", &server], args].concat()).env_remove("WAYPOST_API_KEY"))
    };
    let (code, _, error) = run(&["list"]);
    assert!(code == 1 && error.contains("WAYPOST_API_KEY is not set"), "{error}");
    site.write("bad-key", "wpk_0000000000000000_none\n");
    let (code, _, error) = run(&["list", "--key-file", "bad-key"]);
    assert!(code == 1 && error.contains("answers 401") && error.contains("api-keys list"), "{error}");
    site.write("key", &format!("{}\n", api.key));
    assert_eq!(run(&["list", "--key-file", "key"]).0, 0);
    let (code, _, error) = run(&["disable", "--creator", "c", "--reason", "x", "--key-file", "key"]);
    assert!(code == 1 && error.contains("answers 403") && error.contains("needs the scope suspend"), "{error}");
    for command in [&["verify"][..], &["backup", "copy.db"]] {
        let (code, _, error) = run(command);
        assert!(code == 1 && error.contains("leave --server out"), "{command:?}: {error}");
    }
    let (code, _, error) = on_directory(site, &["list"]);
    assert!(code == 1 && error.contains("--server URL"), "a server holds the directory: {error}");
    let (code, _, error) =
        said(&mut site.command(&["links", "--server", "http://127.0.0.1:1", "--key-file", "key", "list"]));
    assert!(code == 1 && error.contains("127.0.0.1:1/v1/links"), "{error}");
}
