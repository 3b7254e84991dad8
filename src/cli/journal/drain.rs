//! `waypost journal drain`: delivers what the data directory of a retired edge still holds, from any machine.
//!
//! 1. **lock**: refuses a directory on which a process runs, before anything is changed;
//! 2. **recover**: as a start does, but opens no new epoch: the last one is stated as recovered, or as cut if its ring
//!    is gone;
//! 3. **deliver**: under the edge's name, as the edge would; then each lane states on its topic that it is drained;
//! 4. **close**: leaves the directory as after a clean stop. Undelivered clicks remain for the next drain.
//!
//! `--to-file` writes the clicks to files instead of delivering them (**export**).

mod deliver;
mod export;
mod retired_edge;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Args;

use self::retired_edge::RetiredEdge;
use crate::{
    cli::{config_args::ConfigArgs, log},
    config::FlagValues,
};

/// The flags of `waypost journal drain`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DrainArgs {
    /// Deliver to this Kafka
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Directory of the edge's rings [default: where the edge had them; if it is absent here, the lanes are stated as
    /// cut]
    #[arg(long, value_name = "DIR")]
    ring_dir: Option<PathBuf>,
    /// Give up after this time without a delivery
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_non_negative_duration)]
    wait: Duration,
    /// Write the clicks as JSON lines to this new file (orphan clicks to FILE.orphan) instead of delivering them;
    /// leaves the data directory unchanged, so it can be read-only
    #[arg(long, value_name = "FILE", conflicts_with = "kafka")]
    to_file: Option<PathBuf>,
    /// Mark the clicks in the file as delivered, so that nothing delivers them again
    #[arg(long, requires = "to_file", conflicts_with = "kafka")]
    done: bool,
}

fn parse_non_negative_duration(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration = text.parse().map_err(|why: jiff::Error| why.to_string())?;
    Duration::try_from(time).map_err(|_| format!("{text:?} is negative"))
}

impl DrainArgs {
    /// Drains the data directory and prints a summary. Exits 0 if no click remains, 1 if one does.
    pub(super) fn drain_to_kafka_or_file_and_print_summary(
        &self,
        config: &ConfigArgs,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        let mut flags = FlagValues::default();
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        let config = config.load(flags)?;
        let _log = log::start_log(&config.server)?;
        if self.to_file.is_none() && !config.kafka.is_enabled() {
            bail!(
                "no destination for the clicks: give --kafka HOST:PORT, or set kafka.brokers in the configuration; \
                 without a broker, --to-file FILE writes them to a file"
            );
        }
        let edge = RetiredEdge::identify_without_changing_data_dir(config, self.ring_dir.clone())?;
        match &self.to_file {
            Some(file) => export::export_undelivered_to_file_and_print_summary(&edge, file, self.done, out),
            None => deliver::deliver_to_kafka_until_empty_or_stalled_and_print_summary(edge, self.wait, out),
        }
    }
}
