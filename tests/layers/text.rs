//! The form of the text: the length of lines, and names of files that do not exist.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::tree::{repository_root, rust_files_below};

/// `max_width` of rustfmt.toml, which leaves comments and long strings alone.
const MAX_COLUMNS: usize = 120;

/// The folders of the repository that hold Rust files.
const FOLDERS: &[&str] = &["src", "tests", "benches", "loadtest"];

fn rust_files() -> Vec<(PathBuf, String)> {
    let paths = FOLDERS.iter().flat_map(|folder| rust_files_below(folder));
    paths.map(|path| (path.clone(), fs::read_to_string(repository_root().join(path)).unwrap())).collect()
}

#[test]
fn no_line_is_longer_than_rustfmt_allows() {
    let rustfmt = fs::read_to_string(repository_root().join("rustfmt.toml")).unwrap();
    assert!(rustfmt.contains(&format!("max_width = {MAX_COLUMNS}\n")), "{rustfmt}");
    let mut long = Vec::new();
    for (path, text) in &rust_files() {
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > MAX_COLUMNS);
        long.extend(lines.map(|(index, _)| format!("{}:{}", path.display(), index + 1)));
    }
    assert!(long.is_empty(), "longer than {MAX_COLUMNS} columns: {long:#?}");
}

/// Paths from the root of the repository, as prose names them: `deploy/runbook.md`.
fn named_files(text: &str) -> BTreeSet<&str> {
    const TOP: &[&str] = &["src/", "tests/", "benches/", "loadtest/", "deploy/", "docs/", ".ci/"];
    const EXTENSIONS: &[&str] =
        &["rs", "md", "sh", "py", "c", "h", "toml", "yml", "yaml", "json", "jsonl", "txt", "svg"];
    let is_of_path = |sign: char| sign.is_ascii_alphanumeric() || "/._-".contains(sign);
    let words = text.split(|sign: char| !is_of_path(sign)).map(|word| word.trim_end_matches('.'));
    let in_tree = words.filter(|word| TOP.iter().any(|top| word.starts_with(top)));
    in_tree.filter(|word| word.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))).collect()
}

#[test]
fn no_comment_names_a_document_that_is_not_in_the_tree() {
    let mut wrong = Vec::new();
    for (path, text) in &rust_files() {
        for (index, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let missing = named_files(line).into_iter().filter(|name| !repository_root().join(name).exists());
            let outside = [concat!("design", " §"), concat!("style", " §"), concat!("house", "-style")];
            let outside = outside.into_iter().filter(|words| line.contains(words));
            let named = missing.filter(|_| is_comment).chain(outside);
            wrong.extend(named.map(|name| format!("{}:{}: {name}", path.display(), index + 1)));
        }
    }
    assert!(wrong.is_empty(), "named, but not in the tree: {wrong:#?}");
}

#[test]
fn names_of_files_are_found_in_prose() {
    let text = "See `deploy/runbook.md`, tests/fuzz/run.sh. Or src/x, a/src/b.rs and http://docs/a.md";
    assert_eq!(named_files(text), BTreeSet::from(["deploy/runbook.md", "tests/fuzz/run.sh"]));
}

#[test]
fn the_map_of_the_integration_tests_lists_each_of_their_files_and_no_other() {
    let text = fs::read_to_string(repository_root().join("tests/it/main.rs")).unwrap();
    let (map, code) = text.split_once("#![allow").unwrap();
    let entries = map.lines().filter_map(|line| line.strip_prefix("//! - ")?.split(": ").next());
    let listed: BTreeSet<&str> =
        entries.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect();
    let declared = code.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert_eq!(listed, declared);
}
