//! Where delivered clicks are read from: the click files of one edge, or the topics of a Kafka cluster.

mod files;
pub(super) mod kafka;
mod record;

use std::path::PathBuf;

use anyhow::{Result, bail};

pub(super) use self::record::ReadProgressVisitor;
pub(in crate::cli) use self::record::{EventRecord, ReadProgress, ReadRange, RecordLocation};
use crate::model::click::Topic;

/// Where clicks are read from.
#[derive(Clone, Debug)]
pub enum ClickSource {
    /// The directory of the click files.
    Files(PathBuf),
    /// The topics on a cluster.
    Kafka(Box<crate::kafka::Config>),
}

impl ClickSource {
    /// Calls `visit` for every record of `topics` in `range`, and once when all records were visited that existed at
    /// the start.
    ///
    /// # Errors
    /// A file cannot be read; no broker answers or a topic is missing; `visit` fails.
    pub(in crate::cli) fn visit_records_and_follow_if_asked(
        &self,
        topics: &[Topic],
        range: ReadRange,
        visit: ReadProgressVisitor<'_>,
    ) -> Result<()> {
        match self {
            ClickSource::Files(dir) => {
                if !dir.is_dir() {
                    bail!(
                        "{} does not exist: give --data-dir DIR, or --kafka HOST:PORT if clicks go to Kafka",
                        dir.display()
                    );
                }
                files::visit_click_files_and_follow_if_asked(dir, topics, range, visit)
            }
            ClickSource::Kafka(config) => {
                let names: Vec<&str> =
                    topics.iter().map(|topic| config.topics.click_topics()[*topic as usize]).collect();
                kafka::visit_topics_and_follow_if_asked(config, &names, range, visit)
            }
        }
    }

    /// Since when every record is still there, milliseconds since the epoch: topics lose old records. 0 if none is
    /// known to be lost.
    ///
    /// # Errors
    /// No broker answers, or a topic is missing.
    pub(super) fn find_latest_retention_start_ms_or_zero(&self) -> Result<u64> {
        match self {
            ClickSource::Files(_) => Ok(0),
            ClickSource::Kafka(config) => {
                kafka::find_latest_retention_start_ms_or_zero(config, &config.topics.click_topics())
            }
        }
    }

    /// The source's name for a person: its directory, or its topics and brokers.
    pub(super) fn describe_directory_or_topics_and_brokers(&self) -> String {
        match self {
            ClickSource::Files(dir) => format!("the click files in {}", dir.display()),
            ClickSource::Kafka(config) => {
                let [clicks, orphan] = config.topics.click_topics();
                format!("the topics {clicks} and {orphan} on {}", config.brokers.as_deref().unwrap_or_default())
            }
        }
    }
}
