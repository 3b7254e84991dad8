//! What a test needs of its machine: a Kafka, a user who may mount and trace, somebody else's program. Where that is not to be had, a
//! test says so in one line and is not run, unless `CI=true`: there it fails.

use std::{fmt::Display, process::Command};

/// The thing, or `None` where it is not to be had and need not be.
pub(crate) fn needed<T>(what: &str, had: Result<T, impl Display>) -> Option<T> {
    match had {
        Ok(had) => Some(had),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{what} is needed for this test: {why}"),
        Err(why) => {
            eprintln!("not run, {what} is not to be had here: {why}");
            None
        }
    }
}

/// Whether a program can be started; called with what does nothing, such as `--version`.
pub(crate) fn program(name: &str, harmless: &str) -> bool {
    needed(name, Command::new(name).arg(harmless).output()).is_some()
}
