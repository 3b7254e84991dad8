//! What an operator sees of the process: readiness, metrics, the log, the first steps on a terminal, the clicks.

use std::{
    collections::HashSet,
    io::Read,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use waypost::metrics::{ALL, MetricKind};

use crate::{
    dsl::{Connection, Site, link, request, until},
    need::needed_in_ci_as_root,
};

fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// An address where nothing listens.
fn unused_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A site whose links file is a FIFO without a writer: it does not finish loading.
fn site_that_loads_forever() -> Site {
    let site = Site::new(&[]);
    let links = site.path("links.jsonl");
    std::fs::remove_file(&links).unwrap();
    assert!(Command::new("mkfifo").arg(&links).status().unwrap().success());
    site
}

#[test]
fn readyz_and_healthcheck_name_what_is_missing_while_links_load() {
    let mut site = site_that_loads_forever();
    site.start_listening();
    let answer = site.admin("/readyz").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (503, "missing: links loaded\n"));
    assert_eq!(site.admin("/livez").unwrap().status, 200, "alive all the while");
    assert_eq!(site.metric("waypost_ready", ""), 0.0);
    let admin = site.admin_address().to_string();
    let (code, said) = output(site.command(&["healthcheck", "--admin", &admin]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("503") && said.contains("missing: links loaded"), "{said}");
    assert_eq!(output(site.command(&["healthcheck", "--live", "--admin", &admin])).0, Some(0));
    let (code, said) = output(site.command(&["healthcheck", "--admin", "nowhere"]));
    assert_eq!(code, Some(64), "{said}");
    site.signal("-TERM");
    let (code, log) = site.wait_for_exit();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped before it was ready"), "{log}");
}

/// Metrics without a sample before their event happened or a broker answered.
const WITHOUT_EARLY_SAMPLE: [&str; 3] =
    ["waypost_kafka_topic_replication", "waypost_kafka_topic_min_insync_replicas", "waypost_kafka_topic_alarm"];

#[test]
fn every_metric_has_a_sample_from_the_start() {
    let files = Site::with_codes(&["live"]);
    let kafka = Site::new(&[link("live")]).arg("--kafka").arg(&unused_address()).start();
    let mut topic = Site::without_links_file().arg("--kafka").arg(&unused_address());
    topic = topic.env("WAYPOST__LINKS__TOPIC", "links.v1");
    topic.start_listening();
    topic.wait_for_log("links_topic_away");
    let text = [&files, &kafka, &topic].map(|site| site.admin("/metrics").unwrap().text()).join("\n");
    let families: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let samples: HashSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    let mut absent = Vec::new();
    for metric in ALL.iter().filter(|metric| !WITHOUT_EARLY_SAMPLE.contains(&metric.name)) {
        let (kind, sample) = match metric.kind {
            MetricKind::Counter => ("counter", metric.name.to_owned()),
            MetricKind::Gauge => ("gauge", metric.name.to_owned()),
            MetricKind::Histogram(_) => ("histogram", format!("{}_bucket", metric.name)),
        };
        let typed = text.contains(&format!("# TYPE {} {kind}\n", metric.name));
        if !(families.contains(metric.name) && typed && samples.contains(&*sample)) {
            absent.push(metric.name);
        }
    }
    assert!(absent.is_empty(), "absent: {absent:#?}");
    for process in ["process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes", "process_threads"]
    {
        assert!(samples.contains(process), "{process}");
    }
    // Every counter begins at zero, except those that the start itself increments.
    let counters: Vec<&str> =
        ALL.iter().filter(|metric| matches!(metric.kind, MetricKind::Counter)).map(|metric| metric.name).collect();
    for line in text.lines().filter(|line| counters.iter().any(|name| line.starts_with(name))) {
        let started = ["waypost_admin_requests_total", "waypost_kafka_", "waypost_journal_spilled_bytes_total"];
        assert!(line.ends_with(" 0") || started.iter().any(|name| line.starts_with(name)), "{line}");
    }
}

#[test]
fn log_lines_off_a_terminal_are_objects_with_time_level_and_message() {
    let mut site = Site::with_codes(&["live"]);
    site.get("/live", &[]);
    site.signal("-HUP");
    site.wait_for_log("SIGHUP");
    let (code, log) = site.stop();
    assert_eq!(code, Some(0));
    assert!(log.lines().count() >= 4, "{log}");
    site.write("links.jsonl", "no link\n");
    let site = site.arg("--require-file");
    let (code, refused) = site.run_refused_start();
    assert_eq!(code, Some(1));
    assert!(refused.lines().last().unwrap().contains("links.jsonl"), "{refused}");
    for line in log.lines().chain(refused.lines()) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()));
        assert!(!line["message"].as_str().unwrap().is_empty());
    }
    assert!(!log.contains("/live"), "no line a request");
}

#[test]
fn on_a_terminal_the_load_is_shown_and_the_commands_to_try_work() {
    // The file has a few blocks, so that the progress bar moves.
    let more = (0..20_000).map(|number| link(&format!("more{number}")));
    let site = Site::new(&std::iter::once(link("live")).chain(more).collect::<Vec<_>>());
    let (links, data, pid) = (site.path("links.jsonl"), site.data(), site.path("pid"));
    let line = format!(
        "echo $$ > {}; exec {} serve --links {} --data-dir {} --listen 127.0.0.1:0 --admin 127.0.0.1:0",
        pid.display(),
        env!("CARGO_BIN_EXE_waypost"),
        links.display(),
        data.display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("WAYPOST__EDGE__WORKERS", "1");
    script.env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB").env("NO_COLOR", "1");
    let Some(mut terminal) =
        needed_in_ci_as_root("script", script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
    else {
        return;
    };
    let shown = Arc::new(Mutex::new(String::new()));
    let (screen, mut out) = (shown.clone(), terminal.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = out.read(&mut bytes) {
            screen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    let screen = until("the commands to try", || {
        Some(shown.lock().unwrap().clone()).filter(|text| text.contains("Ctrl-C stops"))
    });
    let process = std::fs::read_to_string(&pid).unwrap();
    let after = |start: &str, end: &str| -> String {
        let rest = screen.split(start).nth(1).unwrap_or_else(|| panic!("{start} is not in\n{screen}"));
        rest.split(end).next().unwrap().trim().to_owned()
    };
    let listen = after("curl -si http://", "/live");
    let admin = after("curl -s http://", "/metrics | grep waypost_");
    let clicks = after("Clicks go to ", "\r\n");
    assert_eq!(clicks, data.join("clicks/clicks-*.jsonl").display().to_string());
    assert!(!screen.contains("{\"timestamp\""), "for people: {screen}");
    assert!(screen.contains("links █") && screen.contains(" MiB/"), "the progress bar: {screen}");
    assert_eq!(Connection::to(listen.parse().unwrap()).send(&request("GET", "/live", &[])).status, 302);
    let scrape = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    assert_eq!(Connection::to(admin.parse().unwrap()).send(&scrape).status, 200);
    until("the click in its file", || (!site.events("clicks").is_empty()).then_some(()));
    assert!(Command::new("kill").args(["-INT", process.trim()]).status().unwrap().success());
    assert!(terminal.wait().unwrap().success());
    assert!(shown.lock().unwrap().contains("stopped: 1 clicks delivered"), "{}", shown.lock().unwrap());
}

#[test]
fn clicks_tail_and_stats_read_the_files_beside_a_server_that_writes() {
    let other = link("other").replace("c_1", "c_2");
    let site = Site::new(&[link("live"), other]).start();
    let agent =
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Instagram 334.0";
    for path in ["/live", "/live", "/other", "/nobody"] {
        site.get(path, &[agent]);
    }
    let (live, orphan) = (site.wait_for_events("clicks", 3), site.wait_for_events("clicks.orphan", 1));
    let data = site.data().display().to_string();
    let clicks = |args: &[&str]| {
        let (code, said) = output(site.command(&[&["clicks", "--data-dir", &data][..], args].concat()));
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let tail: Vec<Value> =
        clicks(&["tail", "--json", "-n", "2"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tail.len(), 2, "the latest of both topics");
    assert!(tail.contains(&orphan[0]) && tail.contains(&live[2]), "{tail:#?}");
    let text = clicks(&["tail", "--topic", "clicks", "-n", "1"]);
    assert!(text.contains("other") && text.contains("instagram") && text.contains("test_link"), "{text}");
    let rows: Vec<Value> = clicks(&["stats", "--json", "--by", "creator,source"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |creator: &str| rows.iter().find(|row| row["creator"] == creator).unwrap_or_else(|| panic!("{rows:#?}"));
    assert_eq!((&of("c_1")["clicks"], &of("c_2")["clicks"]), (&2.into(), &1.into()));
    assert_eq!(of("c_1")["source"], "instagram");
    let today = clicks(&["stats"]);
    assert!(today.contains("c_1") && today.contains("instagram") && today.contains("2"), "{today}");
    let none = clicks(&["stats", "--json", "--to", "2000-01-01"]);
    assert_eq!(none, "");
}

#[test]
fn commands_find_the_data_directory_of_the_environment() {
    let site = Site::with_codes(&["live"]);
    let token = site.get("/live", &["Sec-Fetch-Mode: navigate"]).token().unwrap();
    let of_the_site = |args: &[&str]| {
        let mut command = site.command(args);
        command.env("WAYPOST__SERVER__DATA_DIR", site.data());
        output(command)
    };
    for args in [&["keys", "list"][..], &["journal", "verify"], &["clicks", "tail"], &["token", "verify", &token]] {
        let (code, said) = of_the_site(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    let mut elsewhere = site.command(&["keys", "list"]);
    elsewhere.env("WAYPOST__SERVER__DATA_DIR", site.data()).env("WAYPOST__ATTRIBUTION__KEYS", "elsewhere.json");
    let (code, said) = output(elsewhere);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert!(said.contains("elsewhere.json"), "{said}");
}

#[test]
fn one_line_of_the_log_names_version_and_effective_settings() {
    let site = Site::with_codes(&["live", "other"]);
    let line: Value = serde_json::from_str(&site.wait_for_log("\"event\":\"started\"")).unwrap();
    let data = site.data().display().to_string();
    let edge = std::fs::read_to_string(site.data().join("edge.id")).unwrap();
    let settings = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "edge": edge.trim(),
        "listen": site.listen().to_string(),
        "admin": site.admin_address().to_string(),
        "data_dir": data,
        "ring_dir": data,
        "ring_bytes": 4 << 20,
        "workers": 1,
        "on_full": "unrecorded",
        "links_file": site.path("links.jsonl").display().to_string(),
        "links": 2,
        "sink": format!("files {data}/clicks"),
        "topics": "clicks,clicks.orphan",
    });
    for (field, value) in settings.as_object().unwrap() {
        assert_eq!(&line[field], value, "{field}: {line}");
    }
    assert!(line["commit"].is_string(), "{line}");
}

#[test]
fn clicks_stats_refuses_a_first_day_after_the_last_one() {
    let site = Site::with_codes(&["live"]);
    let data = site.data().display().to_string();
    let stats = |from: &str, to: &str| {
        output(site.command(&["clicks", "stats", "--data-dir", &data, "--from", from, "--to", to]))
    };
    let (code, said) = stats("2026-12-01", "2026-11-30");
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("--from: 2026-12-01 is after --to 2026-11-30"), "{said}");
    assert_eq!(stats("2026-11-30", "2026-11-30").0, Some(0));
}

#[test]
fn cpu_seconds_are_fractions() {
    let site = Site::with_codes(&["live"]);
    let text = site.admin("/metrics").unwrap().text();
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
    // Until the process has used a whole second, a whole number would be 0.
    until("a fraction of a second", || (site.metric("process_cpu_seconds_total", "").fract() > 0.0).then_some(()));
}
