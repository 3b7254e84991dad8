//! The commands.

pub mod keys;
pub mod token;

/// Runs the command line and returns the process's exit code.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
