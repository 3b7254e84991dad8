//! `waypost serve`

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Args;

use crate::{
    cli::{ConfigFile, log},
    config::{Config, Flags, Mistakes},
    server::{self, Serving},
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
        self.file.gather(flags)
    }

    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.gather()?;
        log::init(&config.server);
        let on_terminal = std::io::stdout().is_terminal();
        server::run(config, |serving| {
            if on_terminal {
                what_to_try(serving);
            }
        })
    }
}

/// For a person who started it by hand: what to do next.
fn what_to_try(serving: &Serving) {
    let mut text = String::from("\n  Waypost is ready. Try:\n\n");
    if let Some(address) = serving.listen.first() {
        let code = serving.example.as_deref().unwrap_or("CODE");
        text += &format!("    curl -i http://{address}/{code}\n");
    }
    text += &format!("    curl -s http://{}/metrics | grep waypost_\n", serving.admin);
    text += &format!("\n  Clicks go to {}\n  Ctrl-C stops it; what is not delivered then is kept.\n\n", serving.clicks);
    // A terminal that is gone needs no hint.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
