//! The commands. Exit codes: 0, 1 on failure, 64 on bad usage or configuration; a command can have more.

mod api_client;
mod api_keys;
mod attribute;
mod check;
mod check_directories;
mod check_links_topic;
mod click_source_args;
pub mod clicks;
mod config_args;
mod config_show;
mod exit;
mod explain;
mod geoip_files;
mod healthcheck;
mod journal;
mod json_line;
pub mod kafka;
mod kept_domains;
pub mod keys;
pub mod links;
mod links_file_check;
mod log;
mod offline_edge;
mod receipts;
mod ring_args;
mod serve;
mod shadow;
pub mod token;
mod version;

use std::{io::Write, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::{click_source_args::ClickSourceArgs, config_args::ConfigArgs};
use crate::{clock, config::FlagValues};

#[derive(Debug, Parser)]
#[command(name = "waypost", version = version::VERSION_WITH_COMMIT, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer links with redirects, and stream the clicks to Kafka or to files
    Serve(serve::Serve),
    /// Check configuration, links, keys and certificates without serving; report every error at once
    Check(serve::Serve),
    /// Explain the answer to one request: each check, the answer and the event; nothing is recorded
    Explain(explain::ExplainArgs),
    /// Answer an old access log without a server, and list what would lead elsewhere (exit 0 nothing, 2 some)
    Shadow(shadow::ShadowArgs),
    /// Ask a running server whether it is ready: exit 0 if it is, 1 if not
    Healthcheck(healthcheck::Healthcheck),
    /// The keys of the API: new, list, revoke
    ApiKeys(api_keys::ApiKeysArgs),
    /// The key ring: list, rotate, export, import
    Keys(keys::Args),
    /// Tokens of cookies and destinations: verify
    Token(token::Args),
    /// The journal: inspect, verify, dump, drain
    Journal(journal::JournalArgs),
    /// The Kafka topics: setup
    Kafka {
        #[command(subcommand)]
        command: Kafka,
    },
    /// Delivered clicks: tail, stats, why, audit, export, replay
    Clicks {
        #[command(flatten)]
        from: ClickSourceArgs,
        #[command(subcommand)]
        command: Clicks,
    },
    /// Credit orders to creators: a commission line for each order line, and why
    Attribute(attribute::AttributeArgs),
    /// Sign what was counted for a creator on a day, and prove that a click was counted
    Receipts(receipts::ReceiptsArgs),
    /// The links: add, list, disable, patch, import…
    Links(links::LinksArgs),
    /// The configuration: show
    Config {
        #[command(subcommand)]
        command: config_show::ConfigCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell that will read the script
        shell: clap_complete::Shell,
    },
    /// Print the version and the commit it was built from
    Version(version::VersionArgs),
}

#[derive(Debug, Subcommand)]
enum Kafka {
    /// Create and correct the topics; prints the plan, and carries it out with --apply
    Setup(SetupCommand),
}

#[derive(Debug, Subcommand)]
enum Clicks {
    /// Print the latest clicks
    Tail(clicks::TailArgs),
    /// Count clicks by creator, source and day
    Stats(clicks::StatsArgs),
    /// Prove from the topics that no click is missing (exit 0 complete, 1 missing, 3 not all is proved)
    Audit(clicks::AuditArgs),
    /// Explain one click: what was answered, whether it counts and why, and where its record is (exit 1 if not found)
    Why(clicks::WhyArgs),
    /// Write the clicks of whole days to JSON lines or Parquet, a file a day
    Export(clicks::ExportArgs),
    /// Write the records of whole days once more, to fresh topics
    Replay(clicks::ReplayArgs),
}

#[derive(Debug, Args)]
struct SetupCommand {
    #[command(flatten)]
    config: ConfigArgs,
    /// The brokers to ask first
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    #[command(flatten)]
    setup: kafka::SetupArgs,
}

/// Runs the command line and returns the process's exit code.
pub fn parse_and_run_command_line() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If the terminal is gone, nobody reads the message.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    cli.command.run_command().unwrap_or_else(|error| exit::print_error_unless_broken_pipe_and_return_exit_code(&error))
}

impl Command {
    fn run_command(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        match self {
            Command::Serve(serve) => return serve.load_config_init_logging_and_run_server(),
            Command::Check(serve) => return check::validate_what_serve_would_read_and_print_results(&serve, &mut out),
            Command::Explain(args) => args.explain_and_print(&mut out)?,
            Command::Shadow(args) => return args.compare_log_and_print_differences(&mut out),
            Command::Healthcheck(healthcheck) => return healthcheck.check_health_and_print_answer_or_fail(&mut out),
            Command::Journal(args) => return args.run_journal_command(&mut out),
            Command::ApiKeys(args) => args.run_api_keys_command(&mut out)?,
            Command::Keys(args) => keys::run_keys_command_and_print_result(&args, clock::wall_ms(), &mut out)?,
            Command::Token(args) => {
                return Ok(match token::verify_tokens_and_print_reports(&args, clock::wall_ms(), &mut out)? {
                    token::TokenVerification::AllValid => ExitCode::SUCCESS,
                    token::TokenVerification::SomeInvalid => ExitCode::FAILURE,
                });
            }
            Command::Kafka { command: Kafka::Setup(command) } => {
                let mut flags = FlagValues::default();
                flags.set("--kafka", &["kafka", "brokers"], command.kafka);
                let config = command.config.load(flags)?;
                kafka::print_topic_plans_and_apply_if_asked(&config, &command.setup, &mut out)?;
            }
            Command::Clicks { from, command } => return command.run_clicks_command(&from, &mut out),
            Command::Attribute(args) => return args.credit_orders_and_print(clock::wall_ms(), &mut out),
            Command::Receipts(args) => args.run_receipts_command(clock::wall_ms(), &mut out)?,
            Command::Links(args) => return args.run_links_command(&mut out),
            Command::Config { command } => command.run(&mut out)?,
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "waypost", &mut out);
            }
            Command::Version(args) => args.print_version_and_commit(&mut out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Clicks {
    fn run_clicks_command(&self, from: &ClickSourceArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let source = || from.choose_click_source_from_flags_else_config();
        match self {
            Clicks::Tail(flags) => clicks::print_latest_clicks_and_follow_if_asked(&source()?, flags, out)?,
            Clicks::Stats(flags) => clicks::count_clicks_by_group_and_print(&source()?, flags, out)?,
            Clicks::Audit(flags) => {
                return clicks::audit_topics_and_print_verdicts(&source()?, flags, clock::wall_ms(), out);
            }
            Clicks::Export(flags) => clicks::export_clicks_of_days(&source()?, flags, out)?,
            Clicks::Replay(flags) => {
                let config = from.load_config_with_kafka_flag()?;
                clicks::replay_clicks_into_fresh_topics(&config.kafka, flags, out)?;
            }
            Clicks::Why(flags) => {
                let config = from.load_config_with_kafka_flag()?;
                return Ok(match clicks::search_for_click_and_print_report(&config, flags, clock::wall_ms(), out)? {
                    clicks::WhyOutcome::Found => ExitCode::SUCCESS,
                    clicks::WhyOutcome::NotFound => ExitCode::FAILURE,
                });
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
