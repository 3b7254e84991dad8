//! What README.md names is there: metrics, files, tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks, blocks of code apart.
fn quoted(text: &str) -> BTreeSet<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// All sources under a folder, one behind the other.
fn sources(folder: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => text += &fs::read_to_string(path).unwrap(),
                _ => {}
            }
        }
    }
    text
}

#[test]
fn every_metric_named_is_one_of_the_table() {
    let (readme, table) = (read("README.md"), read("src/metrics.rs"));
    let names: BTreeSet<&str> = quoted(&readme)
        .into_iter()
        .filter(|text| text.starts_with("waypost_"))
        .filter_map(|text| text.split('{').next())
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(table.contains(&format!("\"{name}\"")), "{name} is in README.md, but no metric");
    }
}

#[test]
fn every_file_named_exists() {
    let readme = read("README.md");
    let folders = ["src/", "deploy/", "loadtest/", "benches/", "tests/", ".ci/"];
    let paths = quoted(&readme).into_iter().filter(|text| folders.iter().any(|folder| text.starts_with(folder)));
    let paths: BTreeSet<&str> = paths.filter_map(|text| text.split(' ').next()).collect();
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path} is in README.md, but no file");
    }
}

#[test]
fn every_test_named_exists() {
    let readme = read("README.md");
    let tests = sources("src") + &sources("tests");
    let cited = quoted(&readme).into_iter().filter(|text| text.contains("::") && !text.contains(' '));
    let names: BTreeSet<&str> = cited.filter_map(|path| path.rsplit("::").next()).collect();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        // A module of tests, a test, or the start of its name.
        let name = name.trim_end_matches('…');
        let there = [format!("mod {name};"), format!("mod {name} {{"), format!("fn {name}")];
        assert!(there.iter().any(|text| tests.contains(text)), "{name} is in README.md, but no test");
    }
}
