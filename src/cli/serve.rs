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
    cli::{ConfigFile, log, told},
    config::{Config, Flags, Mistakes},
    links::file::{MAX_LINE, Progress},
    net::listen::Address,
    server::{self, Audience, Serving},
};

/// What is served and where. Flags win over the environment and the file.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Links file, one JSON record a line
    #[arg(long, value_name = "FILE")]
    links: Option<String>,
    /// Address to serve on (several: separated by commas) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of /metrics, /livez and /readyz [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Where journal, keys and files of clicks lie [default: waypost-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Stream clicks to this Kafka instead of files
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Accept a links file that is empty or lost more than a tenth of the live links
    #[arg(long)]
    allow_shrink: bool,
}

impl Serve {
    /// The configuration these flags lead to.
    pub(super) fn gather(&self) -> Result<Config, Mistakes> {
        let mut flags = Flags::default();
        flags.set("--links", &["links", "file"], self.links.clone());
        flags.set("--listen", &["edge", "listen"], self.listen.clone());
        flags.set("--admin", &["admin", "listen"], self.admin.clone());
        flags.set("--data-dir", &["server", "data_dir"], self.data_dir.clone());
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        flags.set("--allow-shrink", &["links", "allow_shrink"], self.allow_shrink.then(|| "true".to_owned()));
        self.file.gather_to_serve(flags)
    }

    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.gather()?;
        let json = log::init(&config.server);
        let ended = server::run(config, Arc::new(Operator::default()));
        match ended {
            // Whoever reads JSON lines must not miss the one that says why it ended.
            Err(error) if json && tracing::enabled!(tracing::Level::ERROR) => {
                tracing::error!(event = "failed", "{}", told(&error));
                Ok(ExitCode::FAILURE)
            }
            ended => ended,
        }
    }
}

/// Whoever started the process; on a terminal it is told what goes on.
#[derive(Default)]
struct Operator {
    bar: OnceLock<Option<ProgressBar>>,
}

impl Audience for Operator {
    fn loading(&self, progress: Progress) {
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

    fn ready(&self, serving: &Serving<'_>) {
        if std::io::stdout().is_terminal() {
            // A terminal that is gone needs no hint.
            let _ = std::io::stdout().write_all(what_to_try(serving).as_bytes());
        }
    }
}

/// For a person who started it by hand: what to do next.
fn what_to_try(serving: &Serving<'_>) -> String {
    let mut text = String::from("\n  Waypost is ready. Try:\n\n");
    let tcp = |address: &Address| if let Address::Tcp(address) = address { Some(*address) } else { None };
    if let Some(address) = serving.listen.iter().find_map(tcp) {
        let (host, code) = serving.config.links.file.as_deref().and_then(example).unwrap_or_default();
        let host = if host.is_empty() || host == "*" { String::new() } else { format!(" -H 'Host: {host}'") };
        text += &format!("    curl -si{host} http://{address}/{code}\n");
    }
    let admin = &serving.config.admin.tls;
    let scheme = if admin.shown().is_some() { "k https" } else { " http" };
    let own = match (&admin.cert, &admin.key) {
        (Some(cert), Some(key)) if admin.client_ca.is_some() => {
            format!(" --cert {} --key {}", cert.display(), key.display())
        }
        _ => String::new(),
    };
    text += &format!("    curl -s{scheme}://{}/metrics{own} | grep waypost_\n\n", serving.admin);
    text += &match &serving.config.kafka.brokers {
        Some(brokers) => {
            format!("  Clicks go to Kafka at {brokers}, topics {}.\n", serving.config.kafka.topics().join(" and "))
        }
        None => format!("  Clicks go to {}/clicks-*.jsonl\n", serving.config.server.data_dir.join("clicks").display()),
    };
    text + "  Ctrl-C stops it; what is not delivered then is kept.\n\n"
}

/// Host and code of the first link of the file.
fn example(links: &Path) -> Option<(String, String)> {
    let mut line = String::new();
    BufReader::new(File::open(links).ok()?).take(MAX_LINE as u64).read_line(&mut line).ok()?;
    let record: serde_json::Value = serde_json::from_str(&line).ok()?;
    let text = |key: &str| record.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Some((text("domain"), text("code")))
}
