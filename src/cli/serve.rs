//! `waypost serve`

use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{config_args::ConfigArgs, exit, log},
    config::{Config, ConfigError, ConfigErrors, FlagValues, LogFormat, ServerConfig, ValueSource},
    links::file::{MAX_LINE, Progress},
    net::listen::ListenAddress,
    server::{self, StartedServer, StartupObserver},
};

/// The flags of `serve` and `check`. A flag overrides the environment and the file.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Links file, one JSON record a line
    #[arg(long, value_name = "FILE")]
    links: Option<String>,
    /// Address to serve on (several: separated by commas) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of /metrics, /livez and /readyz [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Stream clicks to this Kafka instead of files
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Accept a links file that is empty or lost more than a tenth of the live links
    #[arg(long)]
    allow_shrink: bool,
    /// Do not start with the last good links if the links file is bad or missing
    #[arg(long)]
    require_file: bool,
}

impl Serve {
    /// The configuration from file, environment and these flags.
    ///
    /// # Errors
    /// Every error of the configuration, and of `RUST_LOG`.
    pub(super) fn load_config_with_serve_flags(&self) -> Result<Config, ConfigErrors> {
        let mut flags = FlagValues::default();
        flags.set("--links", &["links", "file"], self.links.clone());
        flags.set("--listen", &["edge", "listen"], self.listen.clone());
        flags.set("--admin", &["admin", "listen"], self.admin.clone());
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        flags.set("--allow-shrink", &["links", "allow_shrink"], self.allow_shrink.then(|| "true".to_owned()));
        flags.set("--require-file", &["links", "require_file"], self.require_file.then(|| "true".to_owned()));
        let loaded = self.config.load(flags).and_then(check_links_topic_has_brokers);
        // The errors of both are told at once.
        match (log::find_log_directives(&ServerConfig::default()), loaded) {
            (Ok(_), loaded) => loaded,
            (Err(error), Ok(_)) => Err(ConfigErrors(vec![error])),
            (Err(error), Err(mut errors)) => {
                errors.0.push(error);
                Err(errors)
            }
        }
    }

    pub(super) fn load_config_init_logging_and_run_server(&self) -> anyhow::Result<ExitCode> {
        let huge_pages = server::disable_huge_pages();
        let config = self.load_config_with_serve_flags()?;
        huge_pages.enable_again_if_links_are_many(&config);
        let log = log::start_log(&config.server)?;
        let observer = StartupProgressBarAndHints { log: log.clone(), bar: OnceLock::new() };
        let error = match server::run_until_stopped(config, Arc::new(observer)) {
            Ok(exit_code) => {
                log.flush_within_deadline_and_end();
                return Ok(exit_code);
            }
            Err(error) => error,
        };
        // A reader of JSON lines needs this error as a JSON line too.
        let is_logged = log.format == LogFormat::Json && tracing::enabled!(tracing::Level::ERROR);
        if is_logged {
            tracing::error!(event = "failed", "{}", exit::format_error_chain_without_repeats(&error));
        }
        log.flush_within_deadline_and_end();
        if is_logged {
            return Ok(ExitCode::FAILURE);
        }
        // A terminal can be stalled too.
        let print = move || exit::print_error_unless_broken_pipe_and_return_exit_code(&error);
        Ok(log::run_within_flush_deadline(print).unwrap_or(ExitCode::FAILURE))
    }
}

/// Checks that a topic of links has brokers. Other commands do not need them.
fn check_links_topic_has_brokers(config: Config) -> Result<Config, ConfigErrors> {
    if config.links.topic.is_none() || config.kafka.is_enabled() {
        return Ok(config);
    }
    Err(ConfigErrors(vec![ConfigError {
        source: ValueSource::Default,
        key: "kafka.brokers".to_owned(),
        message: "not set, and links.topic names a topic; set this key, or give --kafka".to_owned(),
    }]))
}

/// Shows the progress of a start to the person at the terminal; shows nothing without a terminal.
struct StartupProgressBarAndHints {
    log: Arc<log::Log>,
    bar: OnceLock<Option<ProgressBar>>,
}

impl StartupObserver for StartupProgressBarAndHints {
    fn on_metrics_recorder_installed(&self) {
        self.log.export_dropped_lines_metric();
    }

    fn on_links_progress(&self, progress: Progress) {
        let bar = self.bar.get_or_init(|| {
            let style = ProgressStyle::with_template("links {wide_bar} {bytes}/{total_bytes} {eta}");
            let bar = ProgressBar::new(progress.total).with_style(style.unwrap_or(ProgressStyle::default_bar()));
            std::io::stderr().is_terminal().then_some(bar)
        });
        let Some(bar) = bar else { return };
        bar.set_position(progress.bytes);
        if progress.bytes >= progress.total {
            bar.finish_and_clear();
        }
    }

    fn on_ready(&self, server: &StartedServer<'_>) {
        if std::io::stdout().is_terminal() {
            // If the terminal is gone, nobody reads the hint.
            let _ = std::io::stdout().write_all(format_ready_text_with_commands_to_try(server).as_bytes());
        }
    }
}

/// The commands that a person at the terminal can try next.
fn format_ready_text_with_commands_to_try(server: &StartedServer<'_>) -> String {
    let mut text = String::from("\n  Waypost is ready. Try:\n\n");
    let tcp = |address: &ListenAddress| if let ListenAddress::Tcp(address) = address { Some(*address) } else { None };
    if let Some(address) = server.listen.iter().find_map(tcp) {
        let (host, code) =
            server.config.links.file.as_deref().and_then(read_host_and_code_of_first_link).unwrap_or_default();
        let host = if host.is_empty() || host == "*" { String::new() } else { format!(" -H 'Host: {host}'") };
        text += &format!("    curl -si{host} http://{address}/{code}\n");
    }
    let admin = &server.config.admin.tls;
    let scheme = if admin.certificate_config().is_some() { "k https" } else { " http" };
    let client_certificate = match (&admin.cert, &admin.key) {
        (Some(cert), Some(key)) if admin.client_ca.is_some() => {
            format!(" --cert {} --key {}", cert.display(), key.display())
        }
        _ => String::new(),
    };
    text += &format!("    curl -s{scheme}://{}/metrics{client_certificate} | grep waypost_\n\n", server.admin);
    text += &match &server.config.kafka.brokers {
        Some(brokers) => {
            format!(
                "  Clicks go to Kafka at {brokers}, topics {}.\n",
                server.config.kafka.topics.click_topics().join(" and ")
            )
        }
        None => format!("  Clicks go to {}/clicks-*.jsonl\n", server.config.server.data_dir.join("clicks").display()),
    };
    text + "  Ctrl-C stops the server. Clicks that are not delivered by then are kept.\n\n"
}

/// The host and the code of the first link of the file.
fn read_host_and_code_of_first_link(links: &Path) -> Option<(String, String)> {
    let mut line = String::new();
    BufReader::new(File::open(links).ok()?).take(MAX_LINE as u64).read_line(&mut line).ok()?;
    let record: serde_json::Value = serde_json::from_str(&line).ok()?;
    let text = |key: &str| record.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Some((text("domain"), text("code")))
}
