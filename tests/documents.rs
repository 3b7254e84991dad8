//! What the pages name exists: links, files, tests, metrics, configuration keys and commands.
//! `tests/it/documents.rs` runs the pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use waypost::metrics;

/// Folders whose files pages name.
const FOLDERS: [&str; 7] = ["src/", "deploy/", "docs/", "loadtest/", "benches/", "tests/", ".ci/"];

/// The sections of the configuration.
const SECTIONS: [&str; 12] = [
    "server",
    "edge",
    "admin",
    "tls",
    "journal",
    "links",
    "domains",
    "routes",
    "delivery",
    "attribution",
    "geoip",
    "kafka",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Counts what was checked, and gathers every problem.
#[derive(Default)]
struct Checks {
    count: usize,
    problems: BTreeSet<String>,
}

impl Checks {
    fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        self.count += 1;
        if !holds {
            self.problems.insert(problem());
        }
    }

    /// Fails with all problems at once, or if fewer than `at_least` things were found to check.
    fn finish(self, at_least: usize) {
        let problems: Vec<String> = self.problems.into_iter().collect();
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
        assert!(self.count >= at_least, "only {} things were checked", self.count);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page for readers, by its path from the root.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/runbook.md", "deploy/schemas/completeness.md"]
            .map(str::to_owned)
            .to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    assert!(pages.len() > 12, "{pages:?}");
    pages
}

/// The lines of a page that are not in a fenced block, and the fenced blocks as (language, text).
fn split_page(text: &str) -> (Vec<&str>, Vec<(&str, String)>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut block: Option<(&str, String)> = None;
    for line in text.lines() {
        match (&mut block, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => block = Some((language.trim(), String::new())),
            (Some(_), Some(_)) => blocks.extend(block.take()),
            (Some((_, text)), None) => *text += &format!("{}\n", line.trim_start()),
            (None, None) => prose.push(line),
        }
    }
    assert!(block.is_none(), "a fenced block does not end");
    (prose, blocks)
}

/// What stands between backticks in the prose of a page.
fn code_spans(text: &str) -> Vec<String> {
    let prose = split_page(text).0.join("\n");
    prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// The targets of the links and pictures in the prose of a page. Code spans hold none.
fn link_targets(text: &str) -> Vec<String> {
    let prose = split_page(text).0.join("\n");
    let outside_of_code = prose.split('`').step_by(2).collect::<Vec<_>>().join("code");
    let targets = outside_of_code.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor_of(heading: &str) -> String {
    let kept =
        heading.trim().to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

fn has_anchor(page: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(page).unwrap();
    split_page(&text)
        .0
        .iter()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor_of(line.trim_start_matches('#')) == anchor)
}

/// Every `.rs` file below `folder`, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

/// The module path of a source file, such as `["journal", "tests", "crash"]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.strip_prefix(root()).unwrap().iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let last = parts.pop().unwrap();
    if last != "mod.rs" {
        parts.push(last.trim_end_matches(".rs").to_owned());
    }
    parts
}

#[test]
fn the_readme_has_at_most_900_words() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 900, "README.md has {words} words");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut checks = Checks::default();
    for page in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for target in link_targets(&read(&page)) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { root().join(&page) } else { folder.join(path) };
            checks.check(file.exists(), || format!("{page} links to {target}, but there is no such file"));
            if file.exists() && !anchor.is_empty() {
                checks.check(has_anchor(&file, anchor), || {
                    format!("{page} links to {target}, but there is no such heading")
                });
            }
        }
    }
    checks.finish(60);
}

#[test]
fn every_file_named_exists() {
    let mut checks = Checks::default();
    for page in pages() {
        let text = read(&page);
        let (_, blocks) = split_page(&text);
        let spans = code_spans(&text)
            .into_iter()
            .chain(blocks.into_iter().filter(|block| block.0 == "sh").map(|block| block.1));
        for span in spans {
            let words = span.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';', '(', ')']));
            for path in words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
                if !path.contains(['*', '…', '$']) {
                    checks.check(root().join(path).exists(), || {
                        format!("{page} names {path}, but there is no such file")
                    });
                }
            }
        }
    }
    checks.finish(60);
}

#[test]
fn every_metric_named_exists_and_has_the_labels_named() {
    let mut checks = Checks::default();
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("waypost_") {
            let rest = &text[at..];
            let end =
                rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).unwrap_or(rest.len());
            let (name, labels) = rest.split_at(end);
            // The start of a name in a `grep`.
            if name.ends_with('_') {
                continue;
            }
            let metric = metrics::ALL.iter().find(|metric| metric.name == name);
            checks.check(metric.is_some(), || format!("{page} names {name}, but there is no such metric"));
            let Some(metric) = metric else { continue };
            if let Some((label, _)) = labels.strip_prefix('{').and_then(|labels| labels.split_once('=')) {
                checks.check(metric.labels.contains(&label), || format!("{page}: {name} has no label {label}"));
            }
        }
    }
    checks.finish(30);
}

/// A test, a module of tests, or the start of a test's name that `…` ends.
#[test]
fn every_test_named_exists() {
    let files: Vec<(Vec<String>, String)> =
        sources("src").into_iter().chain(sources("tests")).map(|(path, text)| (module_of(&path), text)).collect();
    let exists = |path: &str| {
        let parts: Vec<&str> = path.trim_end_matches('…').split("::").collect();
        let (last, modules) = parts.split_last().unwrap();
        let ends_with = |module: &[String], parts: &[&str]| {
            module.len() >= parts.len() && module[module.len() - parts.len()..].iter().eq(parts.iter())
        };
        let is_module = files.iter().any(|(module, _)| ends_with(module, &parts));
        let function = format!("fn {last}");
        let is_function = files.iter().any(|(module, text)| ends_with(module, modules) && text.contains(&function));
        is_module || !modules.is_empty() && is_function
    };
    let mut checks = Checks::default();
    for page in pages() {
        let text = read(&page);
        let mut names: BTreeSet<String> =
            code_spans(&text).into_iter().filter(|span| span.contains("::") && !span.contains(' ')).collect();
        if page == "docs/guarantees.md" {
            let cells = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
            names.extend(
                cells
                    .flat_map(|cell| cell.split('`').skip(1).step_by(2))
                    .filter(|name| !name.contains(['/', ' ']))
                    .map(str::to_owned),
            );
        }
        for name in names {
            checks.check(exists(&name), || format!("{page} names {name}, but there is no such test"));
        }
    }
    checks.finish(40);
}

/// The commands in a line of shell: what stands between separators and begins with `waypost`.
fn waypost_commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().replace("cargo run --release --", "waypost");
    let line = line.replace("target/release/waypost", "waypost");
    let parts = line.split(['|', ';', '&', '(', ')', '>', '`']);
    let words =
        parts.map(|part| part.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect());
    words.filter(|words: &Vec<String>| words.first().is_some_and(|first| first == "waypost")).collect()
}

/// `--help` behind a command makes the parser accept or refuse what stands before it, and nothing is run.
#[test]
fn every_command_is_accepted_by_the_command_line() {
    let mut checks = Checks::default();
    let mut seen = BTreeSet::new();
    for page in pages() {
        let text = read(&page);
        let (_, blocks) = split_page(&text);
        let lines =
            blocks.iter().filter(|block| ["sh", "console"].contains(&block.0)).flat_map(|block| block.1.lines());
        let lines: Vec<String> =
            lines.map(|line| line.trim_start_matches("$ ").to_owned()).chain(code_spans(&text)).collect();
        for words in lines.iter().flat_map(|line| waypost_commands(line)) {
            // `waypost keys …`, `waypost clicks tail|stats`
            let words: Vec<&String> = words[1..].iter().take_while(|word| !word.contains(['…', '$'])).collect();
            if words.is_empty() || !seen.insert(words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ")) {
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_waypost")).args(&words).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            // A placeholder such as TIME is no time; its flag exists.
            let accepted = output.status.success() || said.contains("invalid value");
            checks.check(accepted, || format!("{page}: waypost {words:?} is not accepted: {said}"));
        }
    }
    checks.finish(25);
}

/// Every key of the example configuration, commented out or not, as `section.key`.
fn known_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = String::new();
    for line in read("deploy/waypost.example.toml").lines() {
        let line = line.trim_start_matches('#').trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.trim_start_matches('[').split(']').next()) {
            section = name.split(".\"").next().unwrap().to_owned();
            keys.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

#[test]
fn every_configuration_key_named_is_in_the_example() {
    let keys = known_keys();
    assert!(keys.len() > 60 && keys.contains("journal.ring_dir"), "{keys:?}");
    let mut checks = Checks::default();
    for page in pages() {
        let text = read(&page);
        for span in code_spans(&text) {
            let key = span.split(" = ").next().unwrap().trim_matches(['[', ']']);
            let is_key = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b));
            let section = key.split('.').next().unwrap();
            let is_file =
                [".json", ".toml", ".jsonl", ".sock", ".id"].iter().any(|end| key.ends_with(end)) && key != "edge.id";
            if is_key && key.contains('.') && SECTIONS.contains(&section) && !is_file {
                checks.check(keys.contains(key), || {
                    format!("{page} names the key {key}, which deploy/waypost.example.toml does not have")
                });
            }
        }
        for (_, block) in split_page(&text).1.iter().filter(|block| block.0 == "toml") {
            for key in keys_of(&block.parse::<toml::Table>().unwrap(), "") {
                checks.check(keys.contains(&key), || {
                    format!("{page} sets the key {key}, which deploy/waypost.example.toml does not have")
                });
            }
        }
    }
    checks.finish(50);
}

/// The keys of a table as `section.key`; a host's name is left out, a listener's settings belong to `edge`.
fn keys_of(table: &toml::Table, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        let key = if prefix == "domains" {
            prefix.to_owned()
        } else {
            [prefix, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        };
        match value {
            toml::Value::Table(table) => keys.extend(keys_of(table, &key)),
            toml::Value::Array(list) => {
                let tables = list.iter().filter_map(toml::Value::as_table);
                // A list of tables at the top is a section.
                let prefix = if prefix.is_empty() { &key } else { prefix };
                keys.push(key.clone());
                keys.extend(tables.flat_map(|table| keys_of(table, prefix)).filter(|key| !key.ends_with(".address")));
            }
            _ => keys.push(key),
        }
    }
    keys
}
