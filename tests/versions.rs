//! The lowest version of each dependency without a known vulnerability, checked on `Cargo.lock` without any tool.
//! `deny.toml` has the same list for cargo-deny; a test here compares the two.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, its helpers included")]

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

/// A package, the lowest version that may be in the lock, and why.
const LOWEST_VERSIONS: &[(&str, &str, &str)] = &[
    ("aws-lc-sys", "0.39.0", "accepts invalid signatures and certificate chains"),
    ("bytes", "1.11.1", "an overflow when a buffer grows"),
    ("crossbeam-channel", "0.5.15", "RUSTSEC-2025-0024: double free on drop"),
    ("h2", "0.4.16", "RUSTSEC-2026-0258: empty DATA frames; RUSTSEC-2024-0332 and 2024-0003 before it"),
    ("maxminddb", "0.27.0", "a memory-mapped database may change while it is read"),
    ("memmap2", "0.9.11", "RUSTSEC-2026-0186"),
    ("quinn-proto", "0.11.15", "panics on bytes of a peer; not a dependency today"),
    ("rustls", "0.23.18", "RUSTSEC-2024-0399: panic in the acceptor"),
    ("rustls-webpki", "0.103.13", "accepts invalid names and revocation lists"),
    ("tokio", "1.44.2", "RUSTSEC-2025-0023: a broadcast that clones without Sync"),
    ("tracing-subscriber", "0.3.20", "RUSTSEC-2025-0055: escape sequences in the log"),
];

fn read(file: &str) -> Table {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap().parse().unwrap()
}

/// A release as numbers, without the part after `-` or `+`.
fn release_numbers(version: &str) -> [u64; 3] {
    let bare = version.split(['-', '+']).next().unwrap();
    let mut parts = bare.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// Every version of every package in a lock file.
fn locked_versions(file: &str) -> BTreeMap<String, Vec<String>> {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in read(file)["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        packages.entry(text("name")).or_default().push(text("version"));
    }
    packages
}

#[test]
fn every_locked_version_is_at_least_the_lowest_allowed() {
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let packages = locked_versions(file);
        for (name, lowest, why) in LOWEST_VERSIONS {
            for version in packages.get(*name).into_iter().flatten() {
                assert!(
                    release_numbers(version) >= release_numbers(lowest),
                    "{file}: {name} {version} is below {lowest}: {why}"
                );
            }
        }
    }
}

#[test]
fn deny_toml_has_the_same_lowest_versions() {
    let deny = read("deny.toml");
    let denied: BTreeMap<&str, &str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ban| ban["crate"].as_str()?.split_once(":<"))
        .collect();
    assert_eq!(denied, LOWEST_VERSIONS.iter().map(|(name, lowest, _)| (*name, *lowest)).collect());
}

/// Crates that are not maintained any more; `deny.toml` bans the same.
#[test]
fn no_lock_file_has_a_banned_crate() {
    let deny = read("deny.toml");
    let bans = deny["bans"]["deny"].as_array().unwrap().iter().filter_map(|ban| ban["crate"].as_str());
    let banned: Vec<&str> = bans.filter(|name| !name.contains(':')).collect();
    assert!(banned.contains(&"rustls-pemfile"), "RUSTSEC-2025-0134: rustls-pki-types reads PEM");
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let packages = locked_versions(file);
        assert!(banned.iter().all(|name| !packages.contains_key(*name)), "{file}: {banned:?}");
    }
}

/// `tests/fuzz/run.sh` builds with `--locked` and would fail otherwise.
#[test]
fn the_fuzz_targets_use_the_same_versions_as_the_product() {
    let lock = read("tests/fuzz/Cargo.lock");
    let package =
        lock["package"].as_array().unwrap().iter().find(|package| package["name"].as_str() == Some("waypost"));
    // A package with two versions in the lock is listed as `name version`.
    let listed = package.unwrap()["dependencies"].as_array().unwrap().iter();
    let listed: Vec<&str> = listed.filter_map(|name| name.as_str()?.split(' ').next()).collect();
    let wanted = read("Cargo.toml")["dependencies"].as_table().unwrap().clone();
    let missing: Vec<&String> = wanted.keys().filter(|name| !listed.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}: run `cargo metadata --manifest-path tests/fuzz/Cargo.toml`");
    let (ours, fuzzed) = (locked_versions("Cargo.lock"), locked_versions("tests/fuzz/Cargo.lock"));
    for (name, own) in &ours {
        for version in fuzzed.get(name).into_iter().flatten() {
            assert!(own.contains(version), "{name}: {own:?} here, {version} there (cargo update -p {name} --precise)");
        }
    }
}

/// A dependency on a branch of a repository could not be built again later.
#[test]
fn every_package_comes_from_the_registry_or_this_tree() {
    for package in read("Cargo.lock")["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package.get("source").and_then(Value::as_str) {
            Some(source) => assert!(source.starts_with("registry+"), "{name} comes from {source}"),
            None => assert!(name.starts_with("waypost"), "{name} comes from this tree"),
        }
    }
}

#[test]
fn releases_are_ordered_by_their_numbers() {
    assert!(
        release_numbers("0.4.9") < release_numbers("0.4.16") && release_numbers("1.0.0") > release_numbers("0.103.13")
    );
    assert_eq!(release_numbers("300.6.1+3.6.3"), [300, 6, 1]);
}
