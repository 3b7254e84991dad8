//! Which versions may be built with at all: the lowest in which known holes are closed, held over `Cargo.lock` without any tool.
//! `deny.toml` says the same to cargo-deny; this test holds the two together.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, its helpers included")]

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

/// A package, the lowest version that may be in the lock, and why.
const FLOORS: &[(&str, &str, &str)] = &[
    ("aws-lc-sys", "0.39.0", "signatures and certificate chains that were taken and must not be"),
    ("bytes", "1.11.1", "an overflow when a buffer grows"),
    ("crossbeam-channel", "0.5.15", "RUSTSEC-2025-0024: double free on drop"),
    ("h2", "0.4.16", "RUSTSEC-2026-0258: empty DATA frames; RUSTSEC-2024-0332 and 2024-0003 before it"),
    ("maxminddb", "0.27.0", "a memory-mapped database that could be changed under it; not a dependency today"),
    ("memmap2", "0.9.11", "RUSTSEC-2026-0186"),
    ("quinn-proto", "0.11.15", "a peer's bytes that make it panic; not a dependency today"),
    ("rustls", "0.23.18", "RUSTSEC-2024-0399: panic in the acceptor"),
    ("rustls-webpki", "0.103.13", "names and revocation lists that were taken and must not be"),
    ("tokio", "1.44.2", "RUSTSEC-2025-0023: a broadcast that clones without Sync"),
    ("tracing-subscriber", "0.3.20", "RUSTSEC-2025-0055: escape sequences in the log"),
];

fn read(file: &str) -> Table {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap().parse().unwrap()
}

/// A release as numbers; what follows `-` or `+` is let go.
fn numbers(version: &str) -> [u64; 3] {
    let bare = version.split(['-', '+']).next().unwrap();
    let mut parts = bare.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// Every version of every package in a lock.
fn locked(file: &str) -> BTreeMap<String, Vec<String>> {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in read(file)["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        packages.entry(text("name")).or_default().push(text("version"));
    }
    packages
}

#[test]
fn nothing_is_built_with_a_version_below_its_floor() {
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let packages = locked(file);
        for (name, floor, why) in FLOORS {
            for version in packages.get(*name).into_iter().flatten() {
                assert!(numbers(version) >= numbers(floor), "{file}: {name} {version} is below {floor}: {why}");
            }
        }
    }
}

#[test]
fn cargo_deny_is_told_the_same_floors() {
    let deny = read("deny.toml");
    let told: BTreeMap<&str, &str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ban| ban["crate"].as_str()?.split_once(":<"))
        .collect();
    assert_eq!(told, FLOORS.iter().map(|(name, floor, _)| (*name, *floor)).collect());
}

/// What is not maintained any more, and what took its place (deny.toml bans the same).
#[test]
fn no_lock_holds_what_is_banned() {
    let deny = read("deny.toml");
    let bans = deny["bans"]["deny"].as_array().unwrap().iter().filter_map(|ban| ban["crate"].as_str());
    let banned: Vec<&str> = bans.filter(|name| !name.contains(':')).collect();
    assert!(banned.contains(&"rustls-pemfile"), "RUSTSEC-2025-0134: rustls-pki-types reads PEM");
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let packages = locked(file);
        assert!(banned.iter().all(|name| !packages.contains_key(*name)), "{file}: {banned:?}");
    }
}

/// `tests/fuzz/run.sh` builds with `--locked`, and nothing else would notice before it.
#[test]
fn the_fuzz_targets_are_built_of_what_is_shipped() {
    let lock = read("tests/fuzz/Cargo.lock");
    let package =
        lock["package"].as_array().unwrap().iter().find(|package| package["name"].as_str() == Some("waypost"));
    // A package with two versions in the lock is listed as `name version`.
    let listed = package.unwrap()["dependencies"].as_array().unwrap().iter();
    let listed: Vec<&str> = listed.filter_map(|name| name.as_str()?.split(' ').next()).collect();
    let wanted = read("Cargo.toml")["dependencies"].as_table().unwrap().clone();
    let missing: Vec<&String> = wanted.keys().filter(|name| !listed.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}: run `cargo metadata --manifest-path tests/fuzz/Cargo.toml`");
    let (ours, fuzzed) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    for (name, own) in &ours {
        for version in fuzzed.get(name).into_iter().flatten() {
            assert!(own.contains(version), "{name}: {own:?} here, {version} there (cargo update -p {name} --precise)");
        }
    }
}

/// From the registry alone: a build from a branch of somebody's repository cannot be told again.
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
    assert!(numbers("0.4.9") < numbers("0.4.16") && numbers("1.0.0") > numbers("0.103.13"));
    assert_eq!(numbers("300.6.1+3.6.3"), [300, 6, 1]);
}
