//! The commands. Exit codes: 0, 1 on failure, 64 on bad usage or configuration.

mod check;
pub mod clicks;
mod healthcheck;
mod journal;
pub mod kafka;
pub mod keys;
mod log;
mod serve;
pub mod token;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    clock,
    config::{self, Config, Flags, Mistake, Mistakes, Origin},
};

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
    /// The key ring: list, rotate, export, import
    Keys(keys::Args),
    /// Tokens of cookies and destinations: verify
    Token(token::Args),
    /// The journal: inspect, verify, dump, drain
    Journal {
        #[command(subcommand)]
        command: journal::Journal,
    },
    /// The Kafka topics: setup
    Kafka {
        #[command(subcommand)]
        command: Kafka,
    },
    /// The clicks that were delivered: tail, stats, why, audit
    Clicks {
        #[command(flatten)]
        from: ClicksFrom,
        #[command(subcommand)]
        command: Clicks,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
enum Kafka {
    /// Create and correct the topics; says what it would do, and does it with --apply
    Setup(SetupCommand),
}

/// Where delivered clicks are read from: Kafka if a broker is configured, else the files under the data directory.
#[derive(Debug, Args)]
struct ClicksFrom {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "WAYPOST_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Read the topics on these brokers
    #[arg(long, value_name = "HOST:PORT", global = true)]
    kafka: Option<String>,
    /// Read the click files under this data directory; `why` reads its journal too, and takes it together with --kafka
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl ClicksFrom {
    fn source(&self) -> Result<clicks::Source, Mistakes> {
        if let Some(dir) = &self.data_dir {
            if self.kafka.is_some() {
                let what = "is given too; read one or the other".to_owned();
                return Err(Mistakes(vec![Mistake {
                    origin: Origin::Flag("--data-dir"),
                    key: "--kafka".to_owned(),
                    what,
                }]));
            }
            return Ok(clicks::Source::Files(dir.join("clicks")));
        }
        let mut flags = Flags::default();
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        let config = config::gather(self.config.as_deref(), environment(), flags)?;
        Ok(if config.kafka.enabled() {
            clicks::Source::Kafka(Box::new(config.kafka))
        } else {
            clicks::Source::Files(config.server.data_dir.join("clicks"))
        })
    }

    /// Everything that says where a click can be.
    fn config(&self) -> Result<Config, Mistakes> {
        let mut flags = Flags::default();
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        let dir = self.data_dir.as_ref().map(|dir| dir.display().to_string());
        flags.set("--data-dir", &["server", "data_dir"], dir);
        config::gather(self.config.as_deref(), environment(), flags)
    }
}

#[derive(Debug, Subcommand)]
enum Clicks {
    /// Print the latest clicks
    Tail(clicks::Tail),
    /// Count clicks by creator, source and day
    Stats(clicks::Stats),
    /// Prove from the topics that no click is missing (exit 0 complete, 1 missing, 3 not all is proved)
    Audit(clicks::Audit),
    /// Tell one click's story: what was answered, whether it counts and why, and where it lies (exit 1 if nowhere)
    Why(clicks::Why),
}

#[derive(Debug, Args)]
struct SetupCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// The brokers to ask first
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    #[command(flatten)]
    setup: kafka::Setup,
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

    /// The same for whoever serves.
    fn gather_to_serve(&self, flags: Flags) -> Result<Config, Mistakes> {
        config::gather_to_serve(self.config.as_deref(), environment(), flags)
    }
}

/// The environment as far as it is text; a variable of another encoding cannot be one of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

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
    cli.command.run().unwrap_or_else(|error| report(&error))
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        match self {
            Command::Serve(serve) => return serve.run(),
            Command::Check(serve) => return check::run(&serve, &mut out),
            Command::Healthcheck(healthcheck) => return healthcheck.run(&mut out),
            Command::Journal { command } => return command.run(&mut out),
            Command::Keys(args) => keys::run(&args, clock::wall_ms(), &mut out)?,
            Command::Token(args) => {
                let genuine = token::run(&args, clock::wall_ms(), &mut out)?;
                return Ok(if genuine { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Command::Kafka { command: Kafka::Setup(command) } => {
                let mut flags = Flags::default();
                flags.set("--kafka", &["kafka", "brokers"], command.kafka);
                kafka::setup(&command.file.gather(flags)?.kafka, &command.setup, &mut out)?;
            }
            Command::Clicks { from, command } => match command {
                Clicks::Tail(flags) => clicks::tail(&from.source()?, &flags, &mut out)?,
                Clicks::Stats(flags) => clicks::stats(&from.source()?, &flags, &mut out)?,
                Clicks::Audit(flags) => return clicks::audit(&from.source()?, &flags, clock::wall_ms(), &mut out),
                Clicks::Why(flags) => {
                    let found = clicks::why(&from.config()?, &flags, clock::wall_ms(), &mut out)?;
                    return Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE });
                }
            },
            Command::Version => writeln!(out, "waypost {}", env!("CARGO_PKG_VERSION"))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a failure and says which exit code it has.
fn report(error: &anyhow::Error) -> ExitCode {
    let mut io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.any(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    if error.is::<Mistakes>() {
        eprintln!("{error}");
        return ExitCode::from(USAGE);
    }
    eprintln!("waypost: {}", told(error));
    ExitCode::FAILURE
}

/// An error and its causes; a cause that was told by what it caused is not told again.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&format!(": {cause}")) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("keys.json: cannot open it: {source}")]
        struct Told {
            source: std::io::Error,
        }
        let error = anyhow::Error::new(Told { source: std::io::Error::other("no such file") });
        assert_eq!(super::told(&error), "keys.json: cannot open it: no such file");
        let error = anyhow::Error::new(std::io::Error::other("no such file")).context("keys").context("keys.json");
        assert_eq!(super::told(&error), "keys.json: keys: no such file");
    }
}
