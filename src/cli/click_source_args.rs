//! `--kafka`, `--data-dir`, `--config`: where the commands that read delivered clicks find them.

use clap::Args;

use super::{clicks, config_args::ConfigArgs};
use crate::config::{Config, ConfigError, ConfigErrors, FlagValues, ValueSource};

/// Where delivered clicks are read from: Kafka if a broker is configured, else the click files in the data directory.
#[derive(Debug, Args)]
pub(super) struct ClickSourceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Read the topics on these brokers; `why` also accepts --data-dir with it, the other commands accept one of the
    /// two
    #[arg(long, value_name = "HOST:PORT", global = true)]
    kafka: Option<String>,
}

impl ClickSourceArgs {
    /// The one source that `tail`, `stats` and `audit` read. `--data-dir` without `--kafka` means the click files,
    /// whatever the configuration says.
    pub(super) fn choose_click_source_from_flags_else_config(&self) -> Result<clicks::ClickSource, ConfigErrors> {
        if let Some(dir) = self.config.data_dir_flag() {
            if self.kafka.is_some() {
                let message =
                    "cannot be combined with --data-dir here; give --data-dir to read the click files, or --kafka to \
                            read the topics"
                        .to_owned();
                return Err(ConfigErrors(vec![ConfigError {
                    source: ValueSource::Flag("--kafka"),
                    key: "--kafka".to_owned(),
                    message,
                }]));
            }
            return Ok(clicks::ClickSource::Files(dir.join("clicks")));
        }
        let config = self.load_config_with_kafka_flag()?;
        Ok(if config.kafka.is_enabled() {
            clicks::ClickSource::Kafka(Box::new(config.kafka))
        } else {
            clicks::ClickSource::Files(config.server.data_dir.join("clicks"))
        })
    }

    /// The configuration that these flags lead to; names both sinks and the journal.
    pub(super) fn load_config_with_kafka_flag(&self) -> Result<Config, ConfigErrors> {
        let mut flags = FlagValues::default();
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        self.config.load(flags)
    }

    /// Whether a flag or the environment says where clicks are; else only defaults do.
    pub(super) fn is_any_given(&self) -> bool {
        self.kafka.is_some() || self.config.is_any_given()
    }
}
