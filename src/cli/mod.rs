//! The commands. Exit codes: 0, 1 on failure, 64 on bad usage or configuration.

mod check;
mod healthcheck;
mod log;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Flags, Mistakes};

/// Bad usage or configuration (sysexits' EX_USAGE).
const USAGE: u8 = 64;

#[derive(Debug, Parser)]
#[command(name = "waypost", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve links and stream their clicks
    Serve(serve::Serve),
    /// Check configuration and links without serving: every mistake at once, with key, file and line
    Check(serve::Serve),
    /// Ask a running server whether it is ready (exit 0) or not (exit 1)
    Healthcheck(healthcheck::Healthcheck),
    /// Print the version
    Version,
}

/// Where the configuration is; for commands that read it.
#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration file (TOML). Every key can also be set as WAYPOST__SECTION__KEY
    #[arg(long, value_name = "FILE", env = "WAYPOST_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads file, environment and these flags.
    fn gather(&self, flags: Flags) -> Result<Config, Mistakes> {
        config::gather(self.config.as_deref(), environment(), flags)
    }
}

/// The environment as far as it is text; a variable of another encoding cannot be one of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

pub mod kafka;
pub mod keys;
pub mod token;

/// Runs the command line and returns the process's exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nowhere to say it if the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(serve) => check::run(&serve),
        Command::Healthcheck(healthcheck) => healthcheck.run(),
        Command::Version => version(),
    };
    result.unwrap_or_else(|error| report(&error))
}

/// Prints a failure and says which exit code it has.
fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    eprintln!("waypost: {error:#}");
    ExitCode::from(if error.is::<Mistakes>() { USAGE } else { 1 })
}

fn version() -> anyhow::Result<ExitCode> {
    use std::io::Write;
    writeln!(std::io::stdout(), "waypost {}", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
