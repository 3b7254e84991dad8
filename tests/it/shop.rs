//! The programs of `deploy/shop`: those that verify tokens, against the golden tokens with the keys that
//! `waypost keys export` writes; and the shop itself, in a browser.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{dsl::Site, need};

/// The click time of the golden tokens.
const CLICK_MS: u64 = 1_794_697_200_000;
const DAY_MS: u64 = 86_400_000;

/// A site with the golden ring, and the exported keys of each audience of the golden tokens.
fn site_with_exported_keys() -> Site {
    let site = Site::new(&[]);
    site.write("ring.json", include_str!("../fixtures/token_ring.json"));
    fs::set_permissions(site.path("ring.json"), fs::Permissions::from_mode(0o600)).unwrap();
    for (flag, name, file) in
        [("--seller", "s_311", "seller"), ("--partner", "tap_7", "partner"), ("--domain", "go.brand.example", "domain")]
    {
        let export = ["keys", "--keys", "ring.json", "export", flag, name, "--out", file];
        assert!(site.command(&export).status().unwrap().success());
    }
    site
}

fn golden_url_tokens() -> Vec<Value> {
    let lines = include_str!("../fixtures/token_golden.jsonl").lines();
    let tokens = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    tokens.filter(|token| token["kind"] == "url").collect()
}

/// What a shop's program says of tokens, and whether it exits 0.
fn verify(site: &Site, program: &[&str], keys: &str, now_ms: u64, tokens: &[&str]) -> (Vec<Value>, bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/shop");
    let mut command = Command::new(program[0]);
    command.args(&program[1..program.len() - 1]).arg(folder.join(program[program.len() - 1]));
    command.arg("--keys").arg(site.path(keys)).args(["--now-ms", &now_ms.to_string()]).args(tokens);
    // No compiled files beside the sources.
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output.status.success())
}

fn check_program(program: &[&str]) {
    let site = site_with_exported_keys();
    let tokens = golden_url_tokens();
    assert_eq!(tokens.len(), 3);
    for token in &tokens {
        let text = token["token"].as_str().unwrap();
        let keys = token["audience_kind"].as_str().unwrap();
        let (verdicts, is_success) = verify(&site, program, keys, CLICK_MS + 14 * DAY_MS - 1, &[text]);
        let verdict = &verdicts[0];
        assert!(is_success && verdict["verdict"] == "valid", "{verdict}");
        for field in ["kind", "audience_kind", "audience", "domain", "code"] {
            assert_eq!(verdict[field], token[field], "{field} of {text}");
        }
        assert_eq!(verdict["click_id"].as_str().unwrap().replace('-', ""), token["click_id"], "{text}");
        assert_eq!((&verdict["clicked_at_ms"], &verdict["key_id"]), (&json!(CLICK_MS), &token["signed_by"]));
        let names = [(1, "navigation"), (2, "gpc"), (4, "unrecorded")];
        let flags = token["flags"].as_u64().unwrap();
        let names: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
        assert_eq!(verdict["flags"], json!(names));
        for (now_ms, expected) in
            [(CLICK_MS + 14 * DAY_MS, "expired"), (CLICK_MS - DAY_MS, "valid"), (CLICK_MS - DAY_MS - 1, "expired")]
        {
            assert_eq!(verify(&site, program, keys, now_ms, &[text]).0[0]["verdict"], expected);
        }
    }
    let good = tokens[0]["token"].as_str().unwrap();
    let (head, mac) = good.rsplit_once('.').unwrap();
    let damaged_mac = format!("{head}.A{}", &mac[1..]);
    // The last character of a MAC carries two bits; another one is not how its bytes are written.
    let not_canonical = format!("{}R", &good[..good.len() - 1]);
    let unknown_key = good.replace("FiHrAYZq", "AAAAAAAA");
    let other_audience = tokens[1]["token"].as_str().unwrap();
    let no_payload = format!("v1.FiHrAYZq..{mac}");
    let bad = [&damaged_mac, other_audience, &unknown_key, &not_canonical, &no_payload, "v1.", "", "v2.a.b.c"];
    let (verdicts, is_success) = verify(&site, program, "seller", CLICK_MS, &bad);
    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap()).collect();
    let expected =
        ["bad_mac", "bad_mac", "unknown_key", "malformed", "malformed", "malformed", "malformed", "malformed"];
    assert!(!is_success);
    assert_eq!(words, expected);
    assert!(verdicts.iter().all(|verdict| verdict.as_object().unwrap().len() == 1), "no claims of what is not genuine");
}

#[test]
fn the_python_program_of_a_shop_verifies_the_golden_tokens() {
    if need::has_program("python3", "--version") {
        check_program(&["python3", "verify_token.py"]);
    }
}

#[test]
fn the_typescript_program_of_a_shop_verifies_the_golden_tokens() {
    const STRIP: &str = "--experimental-strip-types";
    let started = Command::new("node").args([STRIP, "-e", "0"]).output().map_err(|error| error.to_string());
    let runs = started.and_then(|output| match output.status.success() {
        true => Ok(()),
        false => Err(format!("node does not know {STRIP}; it needs 22.6 or later")),
    });
    if need::optional("TypeScript", runs).is_some() {
        check_program(&["node", "--no-warnings", STRIP, "verify_token.ts"]);
    }
}

#[test]
fn a_buyer_in_a_browser_earns_a_creator_commission_after_13_days_and_none_after_15() {
    let programs = [("chromium", "--version"), ("chromedriver", "--version"), ("certutil", "-H"), ("gcc", "--version")];
    if !programs.iter().all(|(name, harmless)| need::has_program(name, harmless)) {
        return;
    }
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/shop_browser.sh"));
    let output = script.env("WAYPOST_BIN", env!("CARGO_BIN_EXE_waypost")).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.lines().filter(|line| line.starts_with("yes ")).count(), 14, "{said}");
}
