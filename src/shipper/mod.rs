//! The shipper: journal to sink, off the buyer's time. One thread, `wp-shipper`, for all lanes.
//!
//! ```text
//! journal reader ─▶ ship, lane ─▶ press: label (labels, agents, source, params), judge (duplicate), encode (event, json)
//!                    │ track: prefix per lane and topic      gate: what a topic may send after a failure
//!                    ▼
//!                  sink: file, log (rotated JSON lines; scan: what the last run left) or kafka
//! ```
//!
//! At-least-once: a click leaves the journal only when the sink has it for good. To files that is exactly once, also after
//! kill -9: what the files hold behind the checkpoint is found at the start. To Kafka, what was in flight when the process died
//! is sent again under the same `click_id`.
//!
//! A record that Kafka refuses even alone is a dead letter (`dead`): whole in a synced file, and a stub in its topic. What is
//! refused for anything else waits, counted and said aloud; its topic goes on as far as the bound on clicks behind an undelivered
//! one lets it, and the other topic without end.

mod agents;
mod dead;
mod duplicate;
mod event;
mod file;
mod files;
mod gate;
mod halt;
mod json;
mod kafka;
mod labels;
mod lane;
mod letter;
mod log;
#[cfg(test)]
pub(crate) mod model;
mod numbers;
mod params;
mod press;
mod scan;
mod ship;
mod sink;
mod source;
mod statement;
mod track;
mod upto;

use std::{
    io,
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};

use serde::Deserialize;

pub use duplicate::Config as DuplicateConfig;
pub use files::{Config as FileConfig, OpenError};
pub use kafka::ProducerError;
#[cfg(any(test, fuzzing))]
pub use kafka::checkpoint::fuzz as fuzz_checkpoint;
pub use press::{Foreseen, Press};

use crate::{
    journal::{Mark, Reader, SinkNote},
    lifecycle::Stop,
    model::click::Topic,
};

/// `[shipper]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Clicks of a topic that the sink may hold undelivered, 64 to 150000; what is above stays in the journal. 20 000 near 1.7 KB
    /// are 34 MB of memory while the broker is away, and 400 000 a second at an acknowledgement after 50 ms.
    pub max_in_flight: u32,
    /// How long a stop may take to deliver what is left.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub drain: Duration,
    /// How duplicates are told.
    pub duplicate: DuplicateConfig,
    /// The file sink.
    pub file: FileConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_in_flight: 20_000,
            drain: Duration::from_secs(10),
            duplicate: DuplicateConfig::default(),
            file: FileConfig::default(),
        }
    }
}

impl Config {
    /// What is wrong with the section: the key relative to it, and what was found and is allowed.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        // The producer's queue holds 200 000 for both topics, and 256 MiB.
        if !(64..=150_000).contains(&self.max_in_flight) {
            mistakes.push(("max_in_flight".to_owned(), format!("{}; allowed is 64 to 150000", self.max_in_flight)));
        }
        if self.drain > Duration::from_secs(600) {
            mistakes.push(("drain".to_owned(), format!("{:?}; at most 10m", self.drain)));
        }
        let inner = |section: &'static str, found: Vec<(String, String)>| {
            found.into_iter().map(move |(key, why)| (format!("{section}.{key}"), why))
        };
        mistakes.extend(inner("duplicate", self.duplicate.mistakes()));
        mistakes.extend(inner("file", self.file.mistakes()));
        mistakes
    }
}

/// Where clicks go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Rotated JSON-lines files in this directory.
    Files {
        /// Made if it is not there, 0700.
        dir: PathBuf,
        /// The most time between two syncs: half the journal's `sync_interval`, so that the spiller finds nothing to do.
        sync_every: Duration,
    },
    /// A Kafka cluster.
    Kafka(crate::kafka::Config),
}

/// A topic's click files in the order in which they were written; none if the directory is not there. For the commands that
/// read them, beside a server that writes: a line that does not end in a newline is not whole yet.
///
/// # Errors
/// The directory cannot be read.
pub fn files(dir: &Path, topic: Topic) -> io::Result<Vec<PathBuf>> {
    match files::numbers_of(dir, topic.name()) {
        Ok(numbers) => Ok(numbers.into_iter().map(|number| files::path_of(dir, topic.name(), number)).collect()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

/// What the shipper starts with.
pub struct Start {
    /// Its section of the configuration.
    pub config: Config,
    /// Where clicks go.
    pub target: Target,
    /// Where clicks are kept that Kafka refuses even alone; made with the first.
    pub dead_letters: PathBuf,
    /// The edge's name in every event.
    pub edge: String,
    /// Every lane's reader, adopted lanes included.
    pub readers: Vec<Reader>,
}

/// Why the shipper does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The click files.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// The producer.
    #[error(transparent)]
    Kafka(#[from] ProducerError),
    /// The tokens of known agents do not fit the automaton.
    #[error("the table of agents: {0}")]
    Agents(#[from] aho_corasick::BuildError),
    /// No thread.
    #[error("no thread for the shipper: {0}")]
    Thread(#[source] io::Error),
}

/// The shipper's last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Clicks delivered by this process, by topic.
    pub delivered: [u64; Topic::ALL.len()],
    /// Clicks that stay in the journal for the next start, by topic.
    pub remaining: [u64; Topic::ALL.len()],
    /// Whether `remaining` is all there is; else counting it would have taken too long, and it is at least that.
    pub counted_all: bool,
}

/// Opens the sink and starts the thread. It ships until `stop`, which is to be given once no worker appends any more; then it
/// delivers what it can within [`Config::drain`]. Called once, by `server`.
///
/// # Errors
/// The sink cannot be opened. A broker that is away is no error.
pub fn start(start: Start, stop: Stop) -> Result<JoinHandle<Summary>, StartError> {
    let drain = start.config.drain;
    let ship = open(start)?;
    let thread = std::thread::Builder::new().name("wp-shipper".to_owned());
    thread.spawn(move || ship.run(&stop, drain)).map_err(StartError::Thread)
}

/// What became of the clicks of a retired edge, by topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Clicks that the sink has for good, those it had already included.
    pub delivered: [u64; Topic::ALL.len()],
    /// Of these, clicks that the sink had though the journal did not know.
    pub found: [u64; Topic::ALL.len()],
    /// Clicks refused even alone: whole in a dead-letter file, a stub in the topic.
    pub dead_lettered: [u64; Topic::ALL.len()],
    /// Clicks whose bytes are damaged.
    pub quarantined: [u64; Topic::ALL.len()],
    /// Clicks that stay in the journal.
    pub remaining: [u64; Topic::ALL.len()],
    /// Whether `remaining` is all there is; else it is at least that.
    pub counted_all: bool,
    /// Whether every lane has said on its topic that it is drained.
    pub stated: bool,
}

/// Ships what an adopted journal holds, on the caller's thread, until all is delivered or nothing was for `patience`. `progress`
/// hears once a second how many clicks of each topic are delivered and for how long none was. Called by `journal drain`.
///
/// # Errors
/// As [`start`]. A broker that is away is no error.
pub fn drain(
    start: Start,
    patience: Duration,
    progress: impl FnMut([u64; Topic::ALL.len()], Duration),
) -> Result<Drained, StartError> {
    // The sink is opened as the owner would open it, under the edge's name: whatever keeps two processes of one name apart there
    // keeps an owner apart that still runs elsewhere. Nothing is shipped before it has.
    Ok(open(start)?.drain(patience, progress))
}

fn open(start: Start) -> Result<ship::Ship, StartError> {
    let Start { config, target, dead_letters, edge, readers } = start;
    let dead_letters = dead::DeadLetters::new(dead_letters, config.file.rotate_bytes.0);
    let mut found = [scan::Found::default(), scan::Found::default()];
    let notes: Vec<SinkNote> = readers.iter().map(Reader::sink_note).collect();
    let most = config.max_in_flight as usize;
    let sink = match target {
        Target::Files { dir, sync_every } => {
            let (files, read) = file::FileSink::open(dir, config.file.clone(), &edge, &notes, sync_every)?;
            found = read;
            sink::Sink::Files(Box::new(files))
        }
        Target::Kafka(kafka) => sink::Sink::Kafka(Box::new(kafka::KafkaSink::new(kafka, &edge, &notes, most)?)),
    };
    let lanes = readers.into_iter().map(|reader| {
        let marks = found.each_ref().map(|found| found.marks.get(&reader.lane()).copied().unwrap_or(Mark::default()));
        lane::LaneState::new(&edge, reader, marks)
    });
    let lanes: Vec<lane::LaneState> = lanes.collect();
    Ok(ship::Ship::new(edge, most, sink, lanes, dead_letters, &config.duplicate)?)
}
