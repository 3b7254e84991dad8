//! The alert rules: each fires and stays quiet where it should, takes only what a running process says, and has its page.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use waypost::{
    faults,
    metrics::{ALL, Metric},
};

use crate::{
    dsl::{Site, link, until},
    kafka::{install::output, mock::Mock},
    need::needed,
};

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> String {
    read("deploy/prometheus/waypost.rules.yml")
}

/// The program, found or fetched at the first call; `None` where it cannot be had and need not be.
fn promtool() -> Option<&'static Path> {
    static PROMTOOL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    needed("promtool (Debian's package prometheus has it)", PROMTOOL.get_or_init(fetched).as_ref())
        .map(PathBuf::as_path)
}

/// Unpacked beside the build, not installed: the package would start its server.
fn fetched() -> Result<PathBuf, String> {
    if Command::new("promtool").arg("--version").output().is_ok_and(|done| done.status.success()) {
        return Ok("promtool".into());
    }
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool");
    fs::create_dir_all(&base).map_err(|why| format!("{}: {why}", base.display()))?;
    // Test runs go side by side; the lock goes with the file.
    let lock = fs::File::create(base.join("lock")).map_err(|why| format!("lock file: {why}"))?;
    lock.lock().map_err(|why| format!("lock file: {why}"))?;
    let program = base.join("usr/bin/promtool");
    if !program.exists() {
        let download = || output(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(&base));
        if download().is_err() {
            output(Command::new("apt-get").args(["-qq", "update"]))?;
            download()?;
        }
        let files = fs::read_dir(&base).map_err(|why| why.to_string())?.map_while(Result::ok);
        let package = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|kind| kind == "deb"));
        let package = package.ok_or("apt-get downloaded no package")?;
        output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&base))?;
    }
    Ok(program)
}

fn runs(promtool: &Path, args: &[&str], file: &Path) {
    output(Command::new(promtool).args(args).arg(file)).unwrap_or_else(|said| panic!("{said}"));
}

/// The values of a key, one an alert.
fn values<'a>(rules: &'a str, key: &str) -> Vec<&'a str> {
    rules.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)).map(str::trim).collect()
}

/// What the rules ask for: names, each with what stands in braces behind it.
fn asked(rules: &str) -> BTreeSet<(&str, &str)> {
    let exprs = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut found = BTreeSet::new();
    for line in exprs {
        for (at, _) in line.match_indices("waypost_") {
            let name = &line[at..];
            let end = name.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(name.len());
            let labels = name[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            found.insert((&name[..end], labels));
        }
    }
    found
}

fn row(name: &str) -> &'static Metric {
    ALL.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is in the rules, but no metric"))
}

#[test]
fn every_alert_fires_and_stays_quiet_as_its_tests_say() {
    let Some(promtool) = promtool() else { return };
    runs(promtool, &["check", "rules"], &in_tree("deploy/prometheus/waypost.rules.yml"));
    runs(promtool, &["test", "rules"], &in_tree("deploy/prometheus/waypost.rules.test.yml"));
}

#[test]
fn every_alert_names_its_edge_and_has_a_page_and_both_tests() {
    let (rules, page, tests) = (rules(), read("deploy/runbook.md"), read("deploy/prometheus/waypost.rules.test.yml"));
    let alerts = values(&rules, "alert:");
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        for kind in ["fires", "is quiet"] {
            assert!(tests.contains(&format!("- name: {alert} {kind}\n")), "{alert}: no test that it {kind}");
        }
    }
    let summaries = values(&rules, "summary:");
    assert_eq!(summaries.len(), alerts.len());
    assert!(summaries.iter().all(|summary| summary.contains("{{ $labels.edge }}")), "{summaries:#?}");
    let severities = values(&rules, "severity:");
    assert_eq!(severities.len(), alerts.len());
    assert!(severities.iter().all(|severity| ["critical", "warning"].contains(severity)));
    assert_eq!(values(&rules, "description:").len(), alerts.len());
    let pages: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let linked = values(&rules, "runbook:");
    assert_eq!(linked.len(), alerts.len());
    for link in &linked {
        let anchor = link.strip_prefix("deploy/runbook.md#").unwrap_or_else(|| panic!("{link}"));
        assert!(pages.contains(&anchor), "{anchor} is no heading of deploy/runbook.md");
    }
    for page in &pages {
        assert!(linked.iter().any(|link| link.ends_with(&format!("#{page}"))), "no alert links to {page}");
    }
}

#[test]
fn every_fault_that_is_logged_has_a_page_and_a_name_of_its_own() {
    let page = read("deploy/runbook.md");
    let mut events = BTreeSet::new();
    for fault in faults::ALL {
        assert!(events.insert(fault.event), "{} twice", fault.event);
        assert!(fault.event.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", fault.event);
        assert!(["none", "bounded", "yes"].contains(&fault.money_at_risk.as_str()));
        assert!(
            page.contains(&format!("\n## {}\n", fault.runbook)),
            "{}: {} is no heading",
            fault.event,
            fault.runbook
        );
    }
    // What the page says to look for in the log is there to be found.
    let words = page.split('`').skip(1).step_by(2).filter(|word| word.contains('_'));
    for word in
        words.filter(|word| !word.starts_with("waypost_") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    {
        let known = ["money_at_risk", "on_full", "keep_age"].contains(&word) || events.contains(word);
        assert!(known, "deploy/runbook.md names `{word}`");
    }
    for name in page.split('`').skip(1).step_by(2).filter(|word| word.starts_with("waypost_")) {
        row(name);
    }
}

#[test]
fn the_rules_take_only_metrics_and_labels_that_a_running_process_has_and_a_healthy_one_raises_nothing() {
    let rules = rules();
    let asked = asked(&rules);
    assert!(asked.len() > 15, "{asked:?}");
    for (name, labels) in &asked {
        for label in labels.split(',').filter_map(|part| part.split(['=', '!']).next()).filter(|part| !part.is_empty())
        {
            assert!(row(name).labels.contains(&label), "{name} has no label {label}");
        }
    }
    let files = Site::with_codes(&["live"]);
    files.get("/live", &[]);
    files.events_until("clicks", 1);
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let kafka = Site::new(&[link("live")]).arg("--kafka").arg(&mock.address()).start();
    let names: BTreeSet<&str> = asked.iter().map(|(name, _)| *name).collect();
    let sampled = |site: &Site, name: &str| {
        let text = site.admin("/metrics").unwrap().text();
        text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    for name in &names {
        row(name);
        until(&format!("a sample of {name}"), || (sampled(&files, name) || sampled(&kafka, name)).then_some(()));
    }

    let Some(promtool) = promtool() else { return };
    let mut test = format!(
        "rule_files: ['{}']\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n",
        in_tree("deploy/prometheus/waypost.rules.yml").display()
    );
    let scrape = files.admin("/metrics").unwrap().text();
    for line in scrape.lines().filter(|line| names.contains(line.split(['{', ' ']).next().unwrap())) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        test +=
            &format!("      - series: '{name}{{job=\"w\",instance=\"a\",{labels}'\n        values: '{value}x120'\n");
    }
    // The room for click files is this machine's.
    test += "    promql_expr_test:\n      - expr: ALERTS{alertname!=\"WaypostClickFilesRoomLow\"}\n        eval_time: 25m\n        exp_samples: []\n";
    test += "      - expr: count(waypost_edge_info)\n        eval_time: 25m\n        exp_samples: [{value: 1, labels: '{}'}]\n";
    files.write("healthy.test.yml", &test);
    runs(promtool, &["test", "rules"], &files.path("healthy.test.yml"));
}
