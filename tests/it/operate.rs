//! The operation of an edge: refused starts, readiness, metrics, limits, stops.

use std::{
    collections::HashSet,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{
    dsl::{Answer, Connection, Site, link, request, until},
    need::needed_in_ci_as_root,
};

fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn site() -> Site {
    Site::new(&[link("live")])
}

/// Waits until a counter is at least `least`; workers flush their counts ten times a second.
fn wait_for_count(site: &Site, name: &str, labels: &str, least: f64) {
    until(&format!("{name}{{{labels}}} >= {least}"), || (site.metric(name, labels) >= least).then_some(()));
}

#[test]
fn a_start_reports_all_configuration_errors_at_once_with_exit_64() {
    let site = site()
        .config(
            "[edge]\nlissen = \"x\"\naddress_header = \"via\"\n\n[journal]\nsync_interval = \"1h\"\n[shop]\nx = 1\n",
        )
        .env("WAYPOST__ADMIN__LISTEN", "nowhere");
    // Flags would hide the mistake in the variable.
    let file = site.path("waypost.toml").display().to_string();
    for command in ["serve", "check"] {
        let (code, said) = output(site.command(&[command, "--config", &file]));
        assert_eq!(code, Some(64), "{said}");
        for expected in [
            ":2: edge.lissen: unknown key",
            ":3: edge.address_header: ",
            ":6: journal.sync_interval: ",
            ":7: shop: unknown section",
            "WAYPOST__ADMIN__LISTEN: admin.listen: ",
            "errors in the configuration",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }
}

#[test]
fn check_reads_configuration_links_and_keys_and_changes_nothing() {
    let site = site();
    let check = |file: &str| {
        let (links, data) = (site.path(file).display().to_string(), site.data().display().to_string());
        output(site.command(&["check", "--links", &links, "--data-dir", &data]))
    };
    let (code, said) = check("links.jsonl");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("links: good, 1 in "), "{said}");
    assert!(!site.data().exists());
    site.write("bad.jsonl", "{\"code\":\"a b\"}\n{\n");
    let (code, said) = check("bad.jsonl");
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("bad.jsonl:1:") && said.contains("bad.jsonl:2:"), "{said}");
}

#[test]
fn bad_usage_is_exit_64_and_help_is_0() {
    let site = site();
    assert_eq!(output(site.command(&["frobnicate"])).0, Some(64));
    assert_eq!(output(site.command(&["serve", "--frobnicate"])).0, Some(64));
    assert_eq!(output(site.command(&["serve", "--help"])).0, Some(0));
}

#[test]
fn version_names_the_version_and_the_commit_it_was_built_from() {
    let site = site();
    let (code, text) = output(site.command(&["version"]));
    assert!(code == Some(0) && text.starts_with(concat!("waypost ", env!("CARGO_PKG_VERSION"))), "{text}");
    let (code, json) = output(site.command(&["version", "--json"]));
    assert_eq!(code, Some(0), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let is_checkout = git.is_ok_and(|git| git.status.success());
    assert_eq!(json["commit"].is_string(), is_checkout, "{json}");
    if let Some(commit) = json["commit"].as_str() {
        assert!(commit.len() == 12 && text.contains(commit), "{json} {text}");
    }
}

#[test]
fn a_completion_script_of_every_shell_names_the_commands() {
    let site = site();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, script) = output(site.command(&["completions", shell]));
        assert_eq!(code, Some(0), "{shell}: {script}");
        assert!(script.contains("waypost") && script.contains("healthcheck"), "{shell}: {script}");
    }
    assert_eq!(output(site.command(&["completions", "tcsh"])).0, Some(64));
}

#[test]
fn config_show_names_each_value_and_its_source_and_no_secret() {
    let site = site()
        .config("[kafka.properties]\n\"sasl.password\" = \"hunter2\"\n[edge.limits]\nmax_requests = 7\n")
        .env("WAYPOST__LINKS__ALLOW_SHRINK", "true");
    let file = site.path("waypost.toml").display().to_string();
    let (code, shown) = output(site.command(&["config", "show", "--config", &file]));
    assert_eq!(code, Some(0), "{shown}");
    let source_of = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {shown}"));
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    assert_eq!(source_of("max_requests = 7 "), format!("{file}:4"));
    assert_eq!(source_of("allow_shrink = true "), "WAYPOST__LINKS__ALLOW_SHRINK");
    assert_eq!(source_of("max_header_bytes = \"32 KiB\" "), "default");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_port_in_use_is_refused_although_it_could_be_shared() {
    let one = site().start();
    let two = site().arg("--listen").arg(&one.listen().to_string());
    let listen = one.listen().to_string();
    let (links, data) = (two.path("links.jsonl").display().to_string(), two.data().display().to_string());
    let admin = ["--admin", "127.0.0.1:0"];
    let args = [&["serve", "--links", &links, "--data-dir", &data, "--listen", &listen][..], &admin].concat();
    let (code, said) = output(two.command(&args));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&listen) && said.contains("another process"), "{said}");
    assert!(!two.data().exists(), "nothing was touched");
}

#[test]
fn the_name_of_an_edge_is_created_once_and_another_one_is_refused() {
    let mut site = site().start();
    let name = std::fs::read_to_string(site.data().join("edge.id")).unwrap();
    assert_eq!(site.metric("waypost_edge_info", name.trim()), 1.0);
    site.get("/live", &[]);
    assert_eq!(site.wait_for_events("clicks", 1)[0]["edge"], name.trim());
    site.stop();
    site.restart();
    assert_eq!(site.metric("waypost_edge_info", name.trim()), 1.0);
    site.stop();
    let site = site.env("WAYPOST__EDGE__ID", "seoul-1");
    let (code, said) = site.run_refused_start();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(name.trim()) && said.contains("seoul-1"), "{said}");
}

#[test]
fn healthcheck_distinguishes_a_ready_server_from_a_stopped_one() {
    let mut site = site().start();
    let ask = |site: &Site, admin: &str, more: &[&str]| {
        output(site.command(&[&["healthcheck", "--admin", admin][..], more].concat()))
    };
    let admin = site.admin_address().to_string();
    assert_eq!(ask(&site, &admin, &[]), (Some(0), "ready\n".to_owned()));
    assert_eq!(ask(&site, &admin, &["--live"]), (Some(0), "alive\n".to_owned()));
    site.stop();
    assert_eq!(ask(&site, &admin, &[]).0, Some(1));
}

#[test]
fn every_metric_is_described_and_known_counters_start_at_zero() {
    let site = site().start();
    let text = site.admin("/metrics").unwrap().text();
    let described: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = described.contains(name) || family.is_some_and(|family| described.contains(family));
        assert!(known, "not described: {line}");
        // A quantile would mean a histogram without buckets.
        assert!(!line.contains("quantile="), "{line}");
    }
    for counter in [
        "waypost_clicks_total{outcome=\"redirected\"}",
        "waypost_clicks_unrecorded_total{reason=\"no_room\"}",
        "waypost_connections_closed_total{reason=\"header_timeout\"}",
        "waypost_accept_errors_total{reason=\"no_descriptors\"}",
        "waypost_links_reloads_total{result=\"refused\"}",
        "waypost_clicks_delivered_total{topic=\"clicks\"}",
        "waypost_clicks_dead_lettered_total{topic=\"clicks\",reason=\"too_large\"}",
        "waypost_clicks_quarantined_total{topic=\"clicks\",lane=\"0\"}",
    ] {
        assert!(text.lines().any(|line| line == format!("{counter} 0")), "{counter}\n{text}");
    }
    assert_eq!(site.metric("waypost_ready", ""), 1.0);
    assert!(site.metric("process_resident_memory_bytes", "") > 1e6);
    assert_eq!(site.admin("/nothing").unwrap().status, 404);
    assert_eq!(site.admin("/livez").unwrap().text(), "alive\n");
}

#[test]
fn recovered_and_journaled_clicks_are_delivered_or_in_the_backlog() {
    let mut site = site().start();
    for _ in 0..20 {
        site.get("/live", &[]);
        site.get("/none", &[]);
    }
    site.kill();
    site.restart();
    for _ in 0..20 {
        site.get("/live", &[]);
    }
    until("the identity of the clicks", || {
        let sum = |name: &str| site.metric(name, "");
        let came = sum("waypost_clicks_recovered_total") + sum("waypost_clicks_journaled_total");
        let went = sum("waypost_clicks_delivered_total") + sum("waypost_clicks_quarantined_total");
        let backlog = sum("waypost_journal_backlog_clicks");
        (came == went + backlog && backlog == 0.0 && came >= 20.0).then_some(())
    });
    assert_eq!(site.events("clicks").len(), 40);
}

#[test]
fn a_draining_server_is_not_ready_but_serves_until_its_delay_is_over() {
    let mut site = site().env("WAYPOST__SERVER__PRE_STOP_DELAY", "1s").start();
    site.signal("-TERM");
    let answer = until("not ready", || site.admin("/readyz").filter(|answer| answer.status == 503));
    assert_eq!(answer.text(), "missing: not draining\n");
    assert_eq!(site.get("/live", &[]).status, 302);
    let (code, log) = site.wait_for_exit();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped: 1 clicks delivered, nothing stays in the journal"), "{log}");
    assert_eq!(site.events("clicks").len(), 1);
}

#[test]
fn a_request_in_progress_at_the_stop_signal_is_answered_and_recorded() {
    let mut site = site().start();
    let (head, tail) = ("GET /live HTTP/1.1\r\nHost: go.example", ".com\r\n\r\n");
    let mut wire = site.connect();
    wire.write(head);
    wait_for_count(&site, "waypost_connections_total", "", 1.0);
    let mut idle = site.connect();
    idle.send(&request("GET", "/live", &[]));
    site.signal("-TERM");
    assert!(idle.is_closed(), "an idle connection ends at once");
    assert_eq!(wire.send(tail).status, 302);
    let (code, log) = site.wait_for_exit();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(site.events("clicks").len(), 2);
}

#[test]
fn a_connection_that_does_not_end_is_cut_at_the_drain_deadline() {
    let mut site = site().env("WAYPOST__SERVER__DRAIN_DEADLINE", "1s").start();
    let mut wire = site.connect();
    wire.write("GET /live HT");
    wait_for_count(&site, "waypost_connections_total", "", 1.0);
    let start = Instant::now();
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(log.contains("connections cut at the drain deadline"), "{log}");
    assert!(wire.is_closed());
}

#[test]
fn a_second_signal_exits_now_and_loses_nothing() {
    let mut site = site().env("WAYPOST__SERVER__PRE_STOP_DELAY", "5m").start();
    for _ in 0..5 {
        site.get("/live", &[]);
    }
    site.signal("-TERM");
    site.wait_for_log("draining");
    let start = Instant::now();
    site.signal("-INT");
    let (code, log) = site.wait_for_exit();
    assert_eq!(code, Some(1), "{log}");
    assert!(start.elapsed() < Duration::from_secs(5), "{log}");
    let mut site = site.env("WAYPOST__SERVER__PRE_STOP_DELAY", "0s");
    site.restart();
    site.stop();
    assert_eq!(site.events("clicks").len(), 5);
}

#[test]
fn slow_and_silent_clients_are_closed_and_counted_by_reason() {
    let site = site()
        .env("WAYPOST__EDGE__LIMITS__HEADER_TIMEOUT", "300ms")
        .env("WAYPOST__EDGE__LIMITS__IDLE_TIMEOUT", "600ms")
        .start();
    let (mut silent, mut half, mut idle) = (site.connect(), site.connect(), site.connect());
    half.write("GET /live HTTP/1.1\r\nHo");
    assert_eq!(idle.send(&request("GET", "/live", &[])).status, 302);
    assert!(silent.is_closed() && half.is_closed() && idle.is_closed());
    let closed = "waypost_connections_closed_total";
    wait_for_count(&site, closed, "header_timeout", 2.0);
    wait_for_count(&site, closed, "idle", 1.0);
    until("no connection open", || (site.metric("waypost_connections_open", "") == 0.0).then_some(()));
}

#[test]
fn malformed_requests_get_a_status_where_possible_and_are_counted_by_reason() {
    let site = site().start();
    let closed = "waypost_connections_closed_total";
    let big = format!("GET /live HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(site.send(&big).status, 431);
    wait_for_count(&site, closed, "too_large", 1.0);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(site.send(&format!("GET /live HTTP/1.1\r\nHost: a\r\n{many}\r\n")).status, 431);
    for nonsense in [
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /live HTTP/9.9\r\n\r\n",
        "GET /live HTTP/1.1\r\nA B: c\r\n\r\n",
    ] {
        assert_eq!(site.send(nonsense).status, 400, "{nonsense:?}");
    }
    wait_for_count(&site, closed, "malformed", 4.0);
    assert!(site.connect().try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_none());
    wait_for_count(&site, closed, "http2_preface", 1.0);
    assert_eq!(site.get("/live", &[]).status, 302);
}

#[test]
fn a_request_body_is_not_read_and_ends_the_connection() {
    let site = site().start();
    let mut wire = site.connect();
    let answer = wire.send(&format!("POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{}", "x".repeat(10)));
    assert_eq!((answer.status, answer.header("connection")), (405, Some("close")));
    assert!(wire.is_closed());
}

#[test]
fn connections_beyond_the_bound_wait_for_room() {
    let site = site().env("WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS", "2").start();
    let ask = request("GET", "/live", &[]);
    let mut held: Vec<Connection> = (0..2).map(|_| site.connect()).collect();
    assert!(held.iter_mut().all(|wire| wire.send(&ask).status == 302));
    let mut waiting = site.connect();
    waiting.write(&ask);
    wait_for_count(&site, "waypost_connections_open", "", 2.0);
    assert_eq!(site.metric("waypost_connections_total", ""), 2.0);
    held.pop();
    assert_eq!(waiting.read(false).map(|answer: Answer| answer.status), Some(302));
}

#[test]
fn the_limit_of_open_files_is_raised_at_the_start_and_logged() {
    let site = site().after_shell("ulimit -Sn 300; ulimit -Hn 2000").start();
    let told = |text: &str| serde_json::from_str::<serde_json::Value>(&site.wait_for_log(text)).unwrap();
    let files = told("\"event\":\"open_files\"");
    assert_eq!((&files["started_with"], &files["limit"]), (&300.into(), &2000.into()), "{files}");
    assert_eq!(site.metric("process_max_fds", ""), 2000.0);
    // 512 are for what is no connection; the default asks for more than is left.
    assert_eq!(told("LimitNOFILE=")["connections"], 1488);
}

#[test]
fn a_process_out_of_descriptors_pauses_and_serves_again() {
    let site = site().start();
    // What is open before stays: a client, and a scrape.
    let (mut kept, mut admin) = (site.connect(), Connection::to(site.admin_address()));
    assert_eq!(kept.send(&request("GET", "/live", &[])).status, 302);
    let mut failures = || {
        let text = admin.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").text();
        let row = "waypost_accept_errors_total{reason=\"no_descriptors\"} ";
        text.lines().find_map(|line| line.strip_prefix(row)?.parse::<u32>().ok()).unwrap()
    };
    assert_eq!(failures(), 0);
    let pid = site.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = |files: usize| {
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status();
        status.map_err(|why| why.to_string()).and_then(|done| done.success().then_some(()).ok_or(done.to_string()))
    };
    if needed_in_ci_as_root("prlimit", limit(open + 4)).is_none() {
        return;
    }
    let begun = Instant::now();
    let crowd: Vec<Connection> = (0..16).map(|_| site.connect()).collect();
    let failed = until("three failures", || Some(failures()).filter(|failed| *failed >= 3));
    let pauses = begun.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(failed) <= pauses, "{failed} in {pauses} pauses of 100 ms");
    assert_eq!(kept.send(&request("GET", "/live", &[])).status, 302, "an accepted connection is served");
    drop(crowd);
    assert_eq!(site.get("/live", &[]).status, 302);
}

#[test]
fn the_content_of_the_journal_is_shown_while_the_edge_runs_and_afterwards() {
    // No broker answers, so everything stays.
    let mut site = site().arg("--kafka").arg("127.0.0.1:9").env("WAYPOST__DELIVERY__DRAIN_DEADLINE", "0s").start();
    for path in ["/live?sub1=x", "/live", "/none"] {
        site.get(path, &["User-Agent: probe/1"]);
    }
    let data = site.data().display().to_string();
    let journal =
        |site: &Site, args: &[&str]| output(site.command(&[&["journal", "--data-dir", &data], args].concat()));
    let dumped = |site: &Site| -> Vec<serde_json::Value> {
        let (code, lines) = journal(site, &["dump"]);
        assert_eq!(code, Some(0), "{lines}");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let while_running = dumped(&site);
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped: 0 clicks delivered, 3 stay in the journal"), "{log}");
    let lines = dumped(&site);
    assert_eq!(lines, while_running);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["click"]["link"]["creator"], "c_1");
    assert_eq!(lines[0]["click"]["query"], "sub1=x");
    assert_eq!(lines[0]["click"]["user_agent"], "probe/1");
    assert_eq!((&lines[2]["topic"], &lines[2]["click"]["outcome"]), (&"clicks.orphan".into(), &"not_found".into()));
    let (code, said) = journal(&site, &["verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 undelivered") && said.contains("1 undelivered"), "{said}");
    assert_eq!(said.matches(": sound").count(), 2, "{said}");
    let (code, said) = journal(&site, &["inspect"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("lane 0") && said.contains("closed cleanly"), "{said}");
    assert_eq!(said.matches("\n  delivered to epoch 0 before 0\n").count(), 2, "{said}");
    let (code, said) = output(site.command(&["journal", "inspect", "--data-dir", "/nowhere"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere holds no journal"), "{said}");
}

#[test]
fn sigusr1_and_sigusr2_are_ignored_and_sigquit_drains_as_sigterm() {
    let mut site = site().start();
    for signal in ["USR1", "USR2"] {
        site.signal(&format!("-{signal}"));
        site.wait_for_log(&format!("\"signal\":\"SIG{signal}\""));
        assert_eq!(site.get("/live", &[]).status, 302, "it serves on");
    }
    site.signal("-QUIT");
    let (code, log) = site.wait_for_exit();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped: 2 clicks delivered, nothing stays in the journal"), "{log}");
}

#[test]
fn silent_connections_to_the_admin_listener_starve_neither_probe_nor_scraper() {
    let site = site().start();
    let mut scraper = Connection::to(site.admin_address());
    assert_eq!(scraper.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    let silent: Vec<Connection> = (0..200).map(|_| Connection::to(site.admin_address())).collect();
    let start = Instant::now();
    assert_eq!(site.admin("/livez").unwrap().status, 200);
    assert!(start.elapsed() < Duration::from_secs(10), "the silent ones have half a minute: {:?}", start.elapsed());
    assert_eq!(scraper.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200, "kept, it had asked");
    drop(silent);
}

#[test]
fn a_request_to_the_admin_listener_with_a_foreign_host_is_refused() {
    let site = site().env("WAYPOST__ADMIN__HOSTS", "edge-1.example.com").start();
    let ask = |host: &str| {
        let mut wire = Connection::to(site.admin_address());
        wire.send(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for own in ["127.0.0.1:9100", "[::1]", "localhost:9100", "waypost:9100", "edge-1.example.com:9100", "a.internal"] {
        assert_eq!(ask(own).status, 200, "{own}");
    }
    for foreign in ["evil.example", "evil.example:9100", "127.0.0.1.nip.io"] {
        let answer = ask(foreign);
        assert_eq!(answer.status, 421, "{foreign}");
        assert!(answer.text().contains("admin.hosts") && !answer.text().contains("waypost_"), "{foreign}");
    }
}
