//! Names the commit that is built, for `waypost version` and the start line: `WAYPOST_COMMIT` of the environment, else
//! git's.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=WAYPOST_COMMIT");
    // A commit or a checkout appends to this file. Without it (a source archive) only the environment names the commit.
    let head_log = Path::new(".git/logs/HEAD");
    if head_log.exists() {
        println!("cargo:rerun-if-changed={}", head_log.display());
    } else {
        println!("cargo:rerun-if-changed=build.rs");
    }
    let commit = env::var("WAYPOST_COMMIT").ok().or_else(commit_of_git);
    let version = env!("CARGO_PKG_VERSION");
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => {
            println!("cargo:rustc-env=WAYPOST_COMMIT={commit}");
            println!("cargo:rustc-env=WAYPOST_VERSION_WITH_COMMIT={version} ({commit})");
        }
        None => println!("cargo:rustc-env=WAYPOST_VERSION_WITH_COMMIT={version}"),
    }
}

/// The first 12 digits of the commit that is checked out; `None` outside a checkout or without git.
fn commit_of_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
