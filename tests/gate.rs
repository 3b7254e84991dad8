//! The gate on instruction counts, `benches/compare.sh`: it finds a regression that is planted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, process::Command};

const BASELINE: &str = "# rustc 1.95.0 (59807616e 2026-04-14)\n# machine: x86-64-v3, glibc 2.36, cc 12.2.0\n\
    answer/whole.first 10000\nevent/json.first 20000\n";

/// Compares these counts with [`BASELINE`]: the exit code, and what was printed.
fn compare(counts: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let (baseline_file, counts_file) = (dir.path().join("baseline"), dir.path().join("counts"));
    fs::write(&baseline_file, BASELINE).unwrap();
    fs::write(&counts_file, counts).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare.sh");
    let output = Command::new(script).arg(baseline_file).arg(counts_file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn counts_within_one_percent_pass() {
    for counts in [BASELINE.to_owned(), BASELINE.replace("10000", "10100").replace("20000", "19800")] {
        let (code, text) = compare(&counts);
        assert_eq!((code, text.as_str()), (Some(0), "2 steps, each within 1 % of its baseline\n"));
    }
}

#[test]
fn a_step_that_costs_more_is_named_with_the_way_to_move_the_baseline() {
    let (code, text) = compare(&BASELINE.replace("10000", "10101"));
    assert_eq!(code, Some(1));
    assert!(text.contains("answer/whole.first: 10101 instructions, +1.0 % of the baseline, 10000"), "{text}");
    assert!(!text.contains("event/json.first") && text.contains("benches/run.sh move"), "{text}");
}

#[test]
fn a_step_that_costs_less_is_new_or_is_gone_moves_the_baseline_too() {
    for (counts, told) in [
        (BASELINE.replace("20000", "19799"), "event/json.first: 19799 instructions, -1.0 %"),
        (BASELINE.replace("event/json.first 20000\n", ""), "event/json.first: in the baseline, and not counted"),
        (format!("{BASELINE}read/decode.first 5\n"), "read/decode.first: 5 instructions, not in the baseline"),
    ] {
        let (code, text) = compare(&counts);
        assert!(code == Some(1) && text.contains(told), "{text}");
    }
}

#[test]
fn counts_of_another_compiler_are_not_compared() {
    let (code, text) = compare(&BASELINE.replace("1.95.0", "1.96.0"));
    assert!(code == Some(3) && text.contains("After a change of the toolchain"), "{text}");
}

#[test]
fn counts_of_another_kind_of_machine_are_not_compared_and_that_is_said() {
    for other in [BASELINE.replace("x86-64-v3", "aarch64"), BASELINE.replace("glibc 2.36", "glibc 2.41")] {
        let (code, text) = compare(&other.replace("10000", "99999"));
        assert!(code == Some(4) && text.contains("NOT COMPARED") && text.contains("x86-64-v3, glibc 2.36"), "{text}");
    }
}
