//! What a test needs beside the toolchain. What is not to be had is said in one line, and the test is not run.

use std::{fmt::Display, process::Command};

/// What the tests fetch or build by themselves, a Kafka or a Prometheus: with `CI=true` its absence is a failure.
pub(crate) fn needed<T>(what: &str, had: Result<T, impl Display>) -> Option<T> {
    match had {
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{what} is needed for this test: {why}"),
        had => lent(what, had),
    }
}

/// What only the machine can give: a right to mount or to trace, an installed program, IPv6.
pub(crate) fn lent<T>(what: &str, had: Result<T, impl Display>) -> Option<T> {
    had.inspect_err(|why| eprintln!("not run, {what} is not to be had here: {why}")).ok()
}

/// Whether a program can be started; called with what does nothing, such as `--version`.
pub(crate) fn program(name: &str, harmless: &str) -> bool {
    lent(name, Command::new(name).arg(harmless).output()).is_some()
}
