//! Exit codes, and how an error is printed before the process exits with one.

use std::process::ExitCode;

use crate::config::ConfigErrors;

/// The exit code of bad usage and of an invalid configuration (`EX_USAGE` of sysexits).
pub(super) const USAGE: u8 = 64;

/// The exit code of a command that ran, and refused some links or rows.
pub(super) const SOME_REFUSED: u8 = 2;

/// Prints an error and returns the exit code that belongs to it.
pub(super) fn print_error_unless_broken_pipe_and_return_exit_code(error: &anyhow::Error) -> ExitCode {
    let mut io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.any(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        // The reader of our output has closed it, as `head` does.
        return ExitCode::SUCCESS;
    }
    if error.is::<ConfigErrors>() {
        eprintln!("{error}");
        return ExitCode::from(USAGE);
    }
    eprintln!("waypost: {}", format_error_chain_without_repeats(error));
    ExitCode::FAILURE
}

/// An error with its causes. A cause whose text is part of an earlier text is left out.
pub(super) fn format_error_chain_without_repeats(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("keys.json: cannot open it: {source}")]
        struct OpenFailed {
            source: std::io::Error,
        }
        let error = anyhow::Error::new(OpenFailed { source: std::io::Error::other("no such file") });
        assert_eq!(super::format_error_chain_without_repeats(&error), "keys.json: cannot open it: no such file");
        let error = anyhow::Error::new(std::io::Error::other("no such file")).context("keys").context("keys.json");
        assert_eq!(super::format_error_chain_without_repeats(&error), "keys.json: keys: no such file");
    }
}
