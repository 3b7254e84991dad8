//! Programs, rights and servers that a test needs beside the toolchain. Where one cannot be had, the test prints one
//! line, "not run", and ends. With `CI=true` that is a failure, so that a run of the CI has run every test.

use std::{fmt::Display, process::Command};

/// What the tests fetch or build by themselves: a Kafka, a Prometheus, a library. With `CI=true` a failure is the
/// test's failure.
pub(crate) fn needed_in_ci<T>(what: &str, result: Result<T, impl Display>) -> Option<T> {
    or_not_run(what, result, is_ci())
}

/// What root can have: a mount, a frozen file system, a tracer, a program that `.ci/run` installs. With `CI=true` a
/// failure is the test's failure if root runs it.
pub(crate) fn needed_in_ci_as_root<T>(what: &str, result: Result<T, impl Display>) -> Option<T> {
    or_not_run(what, result, is_ci() && rustix::process::geteuid().is_root())
}

/// What even root in a container may be without, such as IPv6.
pub(crate) fn optional<T>(what: &str, result: Result<T, impl Display>) -> Option<T> {
    or_not_run(what, result, false)
}

/// Whether a program can be started, with an argument that does nothing, such as `--version`. With `CI=true` root needs
/// it.
pub(crate) fn has_program(name: &str, harmless: &str) -> bool {
    needed_in_ci_as_root(name, Command::new(name).arg(harmless).output()).is_some()
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

fn or_not_run<T>(what: &str, result: Result<T, impl Display>, is_failure: bool) -> Option<T> {
    match result {
        Err(why) if is_failure => panic!("{what} is needed for this test: {why}"),
        Err(why) => {
            eprintln!("not run: {what} is not available: {why}");
            None
        }
        Ok(value) => Some(value),
    }
}
