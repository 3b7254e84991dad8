//! The alert rules: each fires and stays quiet where it should, takes only what a running process says, and has its
//! page.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use waypost::{
    faults,
    metrics::{ALL, Metric},
};

use crate::{
    dsl::{Site, link, until},
    kafka::{install::output, mock::Mock},
    prometheus,
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

/// `None`: not available, and not needed (`need.rs`).
fn promtool() -> Option<&'static Path> {
    prometheus::program("promtool")
}

fn run_promtool(promtool: &Path, args: &[&str], file: &Path) {
    output(Command::new(promtool).args(args).arg(file)).unwrap_or_else(|said| panic!("{said}"));
}

/// The values of a key, one for each alert.
fn values<'a>(rules: &'a str, key: &str) -> Vec<&'a str> {
    rules.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)).map(str::trim).collect()
}

/// The metrics that the rules use: each name with the text in its braces.
fn metrics_used(rules: &str) -> BTreeSet<(&str, &str)> {
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

fn metric_named(name: &str) -> &'static Metric {
    ALL.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is in the rules, but no metric"))
}

#[test]
fn every_alert_fires_and_stays_quiet_as_its_tests_say() {
    let Some(promtool) = promtool() else { return };
    run_promtool(promtool, &["check", "rules"], &in_tree("deploy/prometheus/waypost.rules.yml"));
    run_promtool(promtool, &["test", "rules"], &in_tree("deploy/prometheus/waypost.rules.test.yml"));
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
    // Every log event that the page names exists.
    let words = page.split('`').skip(1).step_by(2).filter(|word| word.contains('_'));
    for word in
        words.filter(|word| !word.starts_with("waypost_") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    {
        let known = ["money_at_risk", "on_full", "keep_age"].contains(&word) || events.contains(word);
        assert!(known, "deploy/runbook.md names `{word}`");
    }
    for name in page.split('`').skip(1).step_by(2).filter(|word| word.starts_with("waypost_")) {
        metric_named(name);
    }
}

#[test]
fn the_rules_take_only_metrics_and_labels_that_a_running_process_has_and_a_healthy_one_raises_nothing() {
    let rules = rules();
    let used = metrics_used(&rules);
    assert!(used.len() > 15, "{used:?}");
    for (name, labels) in &used {
        for label in labels.split(',').filter_map(|part| part.split(['=', '!']).next()).filter(|part| !part.is_empty())
        {
            assert!(metric_named(name).labels.contains(&label), "{name} has no label {label}");
        }
    }
    let files = Site::with_codes(&["live"]);
    files.get("/live", &[]);
    files.wait_for_events("clicks", 1);
    let mock = Mock::start(&["clicks", "clicks.orphan", "links.v1"]);
    let kafka = Site::new(&[link("live")]).arg("--kafka").arg(&mock.address()).start();
    let names: BTreeSet<&str> = used.iter().map(|(name, _)| *name).collect();
    let sampled = |site: &Site, name: &str| {
        let text = site.admin("/metrics").unwrap().text();
        text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    let topic = Site::without_links_file().arg("--kafka").arg(&mock.address()).env("WAYPOST__LINKS__TOPIC", "links.v1");
    let topic = topic.start();
    let sites = [&files, &kafka, &topic];
    for name in &names {
        metric_named(name);
        until(&format!("a sample of {name}"), || sites.iter().any(|site| sampled(site, name)).then_some(()));
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
    // The free space of this machine is not under test.
    test += "    promql_expr_test:\n";
    for (expression, samples) in [
        (r#"ALERTS{alertname!="WaypostClickFilesLowSpace"}"#, "[]"),
        ("count(waypost_edge_info)", "[{value: 1, labels: '{}'}]"),
    ] {
        test += &format!("      - expr: {expression}\n        eval_time: 25m\n        exp_samples: {samples}\n");
    }
    files.write("healthy.test.yml", &test);
    run_promtool(promtool, &["test", "rules"], &files.path("healthy.test.yml"));
}
