//! The configuration as an operator meets it: all errors at once, and which source wins.

use std::{os::unix::ffi::OsStrExt, process::Command};

use crate::dsl::{Site, link, until};

fn output(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// `check` or `serve` with this file and nothing else.
fn with_file(site: &Site, command: &str, more: &[&str]) -> (Option<i32>, String) {
    let file = site.path("waypost.toml").display().to_string();
    output(site.command(&[&[command, "--config", &file][..], more].concat()))
}

const BAD: &str = r#"[server]
log = "loud"
drain_deadline = "a while"

[edge]
workers = 0
id = "Seoul 1"
trusted_proxies = ["10.0.0.0/33"]
lissen = "127.0.0.1:1"

[edge.limits]
max_header_bytes = "1 GiB"

[journal]
on_full = "panic"
ring_bytes = "1 KiB"

[domains."go.example.com"]
prefetch = "maybe"
cookie_domain = "other.example.org"

[kafka.topics]
clicks = "same"
orphan = "same"

[kafka.properties]
acks = 1

[delivery.files]
rotate_bytes = 1

[colour]
red = 1
"#;

/// Every mistake of [`BAD`] and of the variables beside it: where, which key, and a part of what is said.
const FOUND: [(&str, &str, &str); 17] = [
    ("waypost.toml:2: ", "server.log: ", "`json`"),
    ("waypost.toml:3: ", "server.drain_deadline: ", ""),
    ("waypost.toml:6: ", "edge.workers: ", "1 to 512"),
    ("waypost.toml:7: ", "edge.id: ", "1 to 63 characters of a-z, 0-9 and -"),
    ("waypost.toml:8: ", "edge.trusted_proxies: ", "10.0.0.0/33"),
    ("waypost.toml:9: ", "edge.lissen: ", "`listen`"),
    ("waypost.toml:12: ", "edge.limits.max_header_bytes: ", "8 KiB to 256 KiB"),
    ("waypost.toml:15: ", "journal.on_full: ", "`refuse`"),
    ("waypost.toml:16: ", "journal.ring_bytes: ", ""),
    ("waypost.toml:19: ", "domains.\"go.example.com\".prefetch: ", "`redirect`"),
    ("waypost.toml:20: ", "domains.\"go.example.com\".cookie_domain: ", "does not cover"),
    ("waypost.toml:24: ", "kafka.topics.orphan: ", ""),
    ("waypost.toml:27: ", "kafka.properties.acks: ", ""),
    ("waypost.toml:30: ", "delivery.files.rotate_bytes: ", "64 KiB"),
    ("waypost.toml:32: ", "colour: ", "server, edge, admin"),
    ("WAYPOST__ADMIN__LISTEN: ", "admin.listen: ", ""),
    ("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE: ", "sasl.password_file", "/nowhere/secret"),
];

#[test]
fn check_and_serve_tell_every_mistake_at_once_with_key_and_place() {
    let site = Site::new(&[link("live")])
        .config(BAD)
        .env("WAYPOST__ADMIN__LISTEN", "nowhere")
        .env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", "/nowhere/secret");
    // The site's own variables would hide mistakes of the file.
    let site = site.without_env("WAYPOST__EDGE__WORKERS").without_env("WAYPOST__JOURNAL__RING_BYTES");
    for command in ["check", "serve"] {
        let (code, said) = with_file(&site, command, &[]);
        assert_eq!(code, Some(64), "{said}");
        for (place, key, holds) in FOUND {
            let told = said.lines().any(|line| line.contains(place) && line.contains(key) && line.contains(holds));
            assert!(told, "{command}: {place}{key} … {holds}\n{said}");
        }
        assert!(said.contains(&format!("{} errors in the configuration", FOUND.len())), "{command}\n{said}");
        assert!(!site.path("waypost-data").exists(), "{command} touched nothing");
    }
}

#[test]
fn an_unknown_key_is_told_which_ones_there_are() {
    let site = Site::new(&[link("live")])
        .config("[server]\ndata_dirr = \"x\"\n[domains.\"go.example.com\"]\nprefech = \"refuse\"\n")
        .env("WAYPOST__JOURNAL__RING_BITES", "4 MiB");
    let (code, said) = with_file(&site, "check", &["--links", "links.jsonl"]);
    assert_eq!(code, Some(64), "{said}");
    for (place, allowed) in [
        (":2: server.data_dirr: unknown key", ["`data_dir`", "`log_level`"]),
        (":4: domains.\"go.example.com\".prefech: unknown key", ["`prefetch`", "`cookie_domain`"]),
        ("WAYPOST__JOURNAL__RING_BITES: journal.ring_bites: unknown key", ["`ring_bytes`", "`on_full`"]),
    ] {
        let line = said.lines().find(|line| line.contains(place));
        let line = line.unwrap_or_else(|| panic!("{place}\n{said}"));
        assert!(allowed.iter().all(|key| line.contains(key)), "{line}");
    }
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let mut site = Site::new(&[link("live")]);
    let dir_of = |site: &Site, more: &[&str]| {
        site.write("waypost.toml", "[server]\ndata_dir = \"from-the-file\"\n");
        let (code, said) = match more {
            ["nothing"] => output(site.command(&["check", "--links", "links.jsonl"])),
            more => with_file(site, "check", &[&["--links", "links.jsonl"], more].concat()),
        };
        assert_eq!(code, Some(0), "{said}");
        let created = said.lines().find(|line| line.contains("the first start creates it in")).unwrap();
        created.rsplit(' ').next().unwrap().split('/').next().unwrap().to_owned()
    };
    assert_eq!(dir_of(&site, &["nothing"]), "waypost-data");
    assert_eq!(dir_of(&site, &[]), "from-the-file");
    site = site.env("WAYPOST__SERVER__DATA_DIR", "from-the-environment");
    assert_eq!(dir_of(&site, &[]), "from-the-environment");
    assert_eq!(dir_of(&site, &["--data-dir", "from-the-flag"]), "from-the-flag");
}

#[test]
fn the_winner_is_in_force_and_not_only_checked() {
    let site = Site::new(&[link("live")])
        .config("[edge]\nworkers = 3\nid = \"file\"\n[server]\nlog = \"text\"\nlog_level = \"warn\"\n")
        .env("WAYPOST__EDGE__WORKERS", "2")
        .env("WAYPOST__SERVER__LOG", "json")
        .env("WAYPOST__SERVER__LOG_LEVEL", "info")
        .start();
    assert_eq!(site.metric("waypost_workers", ""), 2.0, "the environment's");
    assert_eq!(site.metric("waypost_edge_info", "edge=\"file\""), 1.0, "the file's");
    assert!(site.data().exists(), "the flag's");
}

#[test]
fn a_secret_lies_in_a_file_that_a_variable_names_and_is_never_shown() {
    let variable = "WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE";
    let site = Site::new(&[link("live")]).config("[kafka]\nbrokers = \"127.0.0.1:1\"\n");
    site.write("secret", "hunter2-hunter2\n");
    let path = site.path("secret").display().to_string();
    let site = site.env(variable, &path);
    let (code, said) = with_file(&site, "check", &["--links", "links.jsonl"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let site = site.env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter3-hunter3");
    let (_, said) = with_file(&site, "check", &["--links", "links.jsonl"]);
    assert!(!said.contains("hunter"), "{said}");
    let site = site.without_env("WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD").env(variable, "/nowhere/secret");
    let (code, said) = with_file(&site, "check", &["--links", "links.jsonl"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains(variable) && said.contains("/nowhere/secret"), "{said}");
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_exit_64_with_its_name_and_line() {
    let site = Site::new(&[link("live")]).config("[edge\nworkers = = 1\n[admin]\nlisten = 7\n");
    let (code, said) = with_file(&site, "check", &["--links", "links.jsonl"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("waypost.toml:1: ") && said.contains("waypost.toml:2: "), "{said}");
    assert!(said.contains("waypost.toml:4: admin.listen: "), "what could be read is still checked: {said}");
    let (code, said) = output(site.command(&["serve", "--config", "nowhere.toml", "--links", "links.jsonl"]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("nowhere.toml: cannot be read"), "{said}");
}

#[test]
fn every_mistake_of_the_links_is_told_with_line_and_column() {
    let site = Site::new(&[link("live")]);
    let lines = [
        link("good"),
        r#"{"code":"a b","url":"https://a.example/","kind":"plain","creator":"c_1","test":true}"#.into(),
        link("good"),
        link("ftp").replace("https://shop", "ftp://shop"),
        link("rate").replace("1200", "\"much\""),
        "nonsense".into(),
    ];
    site.write("links.jsonl", &(lines.join("\n") + "\n"));
    let (code, said) = output(site.command(&["check", "--links", "links.jsonl"]));
    assert_eq!(code, Some(64), "{said}");
    for line in [2, 3, 4, 5, 6] {
        assert!(said.contains(&format!("links.jsonl:{line}:")), "line {line}\n{said}");
    }
    assert!(!said.contains("links.jsonl:1:"), "{said}");
}

/// What `check` says with these variables, with nothing of the site's own.
fn check_with(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let site = Site::new(&[link("live")]);
    let mut command = site.command(&["check", "--links", "links.jsonl"]);
    command.envs(variables.iter().copied());
    output(command)
}

#[test]
fn an_unknown_log_level_is_refused_and_an_empty_one_is_unset() {
    for (variable, bad) in [
        ("WAYPOST__SERVER__LOG_LEVEL", "WARNING"),
        ("WAYPOST__SERVER__LOG_LEVEL", "inof"),
        ("RUST_LOG", "WARNING"),
        ("RUST_LOG", "waypost=loud"),
    ] {
        let (code, said) = check_with(&[(variable, bad)]);
        assert_eq!(code, Some(64), "{said}");
        let level = bad.rsplit('=').next().unwrap();
        let told = format!("`{level}` is no level; allowed: off, error, warn, info, debug, trace");
        assert!(said.contains(variable) && said.contains(&told), "{said}");
    }
    // Both errors are told at once.
    let (_, said) = check_with(&[("RUST_LOG", "x"), ("WAYPOST__EDGE__WORKERS", "0")]);
    assert!(said.contains("RUST_LOG: ") && said.contains("edge.workers: "), "{said}");
    for (variables, is_logged) in [
        (&[("RUST_LOG", "")][..], true),
        (&[("WAYPOST__SERVER__LOG_LEVEL", "")], true),
        (&[("WAYPOST__SERVER__LOG_LEVEL", "waypost::delivery=debug")], true),
        (&[("RUST_LOG", "off")], false),
    ] {
        // A start that is refused after the log began.
        let mut site = Site::new(&[]);
        for (name, value) in variables {
            site = site.env(name, value);
        }
        let (code, output) = site.run_refused_start();
        assert_eq!(code, Some(1), "{output}");
        assert_eq!(output.contains("\"event\":\"listening\""), is_logged, "{variables:?}: {output}");
    }
}

#[test]
fn a_health_check_reads_the_admin_section_alone() {
    let site = Site::new(&[link("live")]).start();
    let admin = site.admin_address();
    site.write("typo.toml", &format!("[egde]\n[edge]\nworkers = \"many\"\n= 3\n[admin]\nlisten = \"{admin}\"\n"));
    let file = site.path("typo.toml").display().to_string();
    let mut command = site.command(&["healthcheck", "--config", &file]);
    command.env("WAYPOST_EDGE_WORKERS", "2");
    let (code, said) = output(command);
    assert_eq!((code, said.as_str()), (Some(0), "ready\n"));
    site.write("typo.toml", "[admin]\nlissen = \"x\"\n");
    let (code, said) = output(site.command(&["healthcheck", "--config", &file]));
    assert!(code == Some(64) && said.contains("typo.toml:2: admin.lissen: unknown key"), "{said}");
    let (code, said) = output(site.command(&["healthcheck", "--config", "nowhere.toml"]));
    assert!(code == Some(64) && said.contains("nowhere.toml: cannot be read"), "{said}");
}

#[test]
fn a_variable_that_is_meant_for_waypost_and_sets_nothing_is_refused() {
    for (name, meant) in [
        ("WAYPOST_EDGE_WORKERS", "WAYPOST__EDGE__WORKERS"),
        ("waypost__edge__workers", "WAYPOST__EDGE__WORKERS"),
        ("WAYPOST_TLS_HTTPS_PORT", "WAYPOST__TLS__HTTPS_PORT"),
    ] {
        let (code, said) = check_with(&[(name, "2")]);
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&format!("{name}: sets nothing;")) && said.contains(meant), "{said}");
    }
    let site = Site::new(&[link("live")]);
    let mut command = site.command(&["check", "--links", "links.jsonl"]);
    command.env("WAYPOST__EDGE__ID", std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let (code, said) = output(command);
    assert!(code == Some(64) && said.contains("WAYPOST__EDGE__ID: is not UTF-8"), "{said}");
    let links_of_kubernetes = [
        ("WAYPOST_SERVICE_HOST", "10.0.0.1"),
        ("WAYPOST_SERVICE_PORT", "80"),
        ("WAYPOST_SERVICE_PORT_HTTP", "80"),
        ("WAYPOST_PORT", "tcp://10.0.0.1:80"),
        ("WAYPOST_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("WAYPOST_PORT_80_TCP_PROTO", "tcp"),
        ("WAYPOST_PORT_80_TCP_PORT", "80"),
        ("WAYPOST_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    let (code, said) = check_with(&links_of_kubernetes);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_refusal_says_what_is_allowed() {
    for (name, value, expected) in [
        ("WAYPOST__ADMIN__LISTEN", "9100", "`9100` has no address; allowed: ADDRESS:PORT or NAME:PORT"),
        ("WAYPOST__ADMIN__LISTEN", "no-such-host.invalid:1", "the name `no-such-host.invalid` cannot be resolved"),
        ("WAYPOST__JOURNAL__SYNC_INTERVAL", "50", "allowed: a number with its unit, such as 50ms, 10s, 5m or 1h"),
        ("WAYPOST__EDGE__TRUSTED_PROXIES", "*", "`*` is no network; allowed: networks such as 10.0.0.0/8"),
        ("WAYPOST__EDGE__WORKERS", "many", "allowed: a whole number"),
        ("WAYPOST__TLS__HTTPS_PORT", "99999", "allowed: a whole number from 0 to 65535"),
        ("WAYPOST__LINKS__ALLOW_SHRINK", "yes", "allowed: true or false"),
        ("WAYPOST__SERVER__LOG", "xml", "`json`"),
        ("WAYPOST__EDGE__LISTEN", "127.0.0.1:9100", "127.0.0.1:9100 is the port of 127.0.0.1:9100 in edge.listen too"),
        ("WAYPOST__EDGE__LISTEN", "127.0.0.1:1,127.0.0.1:1", "127.0.0.1:1 is listed already"),
    ] {
        let (code, said) = check_with(&[(name, value)]);
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(expected), "{name}={value}: {expected} is not in:\n{said}");
        assert!(!said.contains(", expected "), "{name}={value}: {said}");
    }
    let (code, said) = check_with(&[("WAYPOST__SERVER__DATA_DIR", "links.jsonl/data")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("server.data_dir: links.jsonl/data cannot be made: links.jsonl is no directory"), "{said}");
}

#[test]
fn names_are_resolved_where_an_address_is_asked() {
    let site = Site::new(&[link("live")]).arg("--listen").arg("localhost:0").start();
    assert_eq!(site.get("/live", &[]).status, 302);
    let admin = format!("localhost:{}", site.admin_address().port());
    let (code, said) = output(site.command(&["healthcheck", "--admin", &admin]));
    assert_eq!((code, said.as_str()), (Some(0), "ready\n"));
}

#[test]
fn a_key_that_is_overridden_is_logged_with_what_overrides_it_and_a_changed_file_at_sighup() {
    let site = Site::new(&[link("live")])
        .config("[edge]\nworkers = 3\n[server]\ndata_dir = \"elsewhere\"\n[links]\nfile = \"example.jsonl\"\n")
        .start();
    for expected in [
        "waypost.toml:2: edge.workers is overridden by WAYPOST__EDGE__WORKERS",
        "waypost.toml:4: server.data_dir is overridden by --data-dir",
        "waypost.toml:6: links.file is overridden by --links",
    ] {
        site.wait_for_log(expected);
    }
    site.signal("-HUP");
    // The key ring is read behind the configuration: this reload has found the file as it was.
    until("the key ring is read again", || site.log().contains("key ring read").then_some(()));
    site.write("waypost.toml", "[edge]\nworkers = 4\n");
    site.signal("-HUP");
    let line = site.wait_for_log("waypost.toml: changed since the start, and is not read now");
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
    assert_eq!(site.log().matches("changed since the start").count(), 1);
}
