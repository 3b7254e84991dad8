//! Delivery: reads clicks from the journal and hands their events to a sink, off the buyer's time. A click leaves the
//! journal only once the sink has delivered it. Each topic has a journal, an engine, a sink and a thread of its own, so
//! trouble with one topic does not touch the other.
//!
//! ```text
//! journal reader ─▶ engine ─▶ events: decode, label, judge, encode
//!                     │  ▲
//!                     │  └ click_tracker: delivered position of a lane    gate: what may be sent next
//!                     ▼
//!                   Sink (trait): sinks::files, sinks::kafka
//! ```
//!
//! Delivery is at least once: clicks in flight when the process dies are sent again under the same `click_id`. A sink
//! can make it exactly once: it reports at its start what it holds, and the engine does not send that again.
//!
//! A record that Kafka refuses even alone becomes a dead letter (`dead_letters`): the whole click in a synced file, and
//! a stub in its topic. A click refused for any other reason waits, is counted and logged. The topic goes on within the
//! bound on clicks behind an undelivered one.

pub(crate) mod click_tracker;
pub(crate) mod committed;
mod config;
mod dead_letter_ranges;
pub(crate) mod dead_letters;
pub(crate) mod engine;
pub(crate) mod gate;
pub(crate) mod lane;
mod lane_statements;
mod metrics;
#[cfg(test)]
pub(crate) mod simulation;
pub(crate) mod sink;
mod summary;

use std::{io, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use arc_swap::ArcSwap;

use self::{dead_letters::DeadLetterFiles, engine::Engine, lane::LaneProgress, sink::Sink};
use crate::{
    clock,
    events::event_builder::EventBuilder,
    geoip::Databases,
    journal::{LaneReader, SinkNote},
    lifecycle::StopSignal,
    model::click::Topic,
};

pub use config::{Config, FilesConfig};
pub use summary::{DrainSummary, Summary};

/// What the engine needs beside a sink.
pub struct EngineInputs {
    /// The topic whose clicks are delivered.
    pub topic: Topic,
    /// The section `[delivery]` of the configuration.
    pub config: Config,
    /// The directory for clicks that Kafka refuses even alone. It is created with the first one.
    pub dead_letter_dir: PathBuf,
    /// The edge's name, which stands in every event.
    pub edge: String,
    /// The reader of each lane, adopted lanes included.
    pub readers: Vec<LaneReader>,
    /// What addresses are labelled by; a reload replaces it.
    pub geoip: Arc<ArcSwap<Databases>>,
}

impl EngineInputs {
    /// The note that each lane keeps for the sink. A sink needs them when it opens.
    pub fn sink_notes(&self) -> Vec<SinkNote> {
        self.readers.iter().map(LaneReader::recovered_sink_note).collect()
    }
}

/// The engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tokens of known agents do not fit the automaton.
    #[error("the table of known agents cannot be built: {0}")]
    Agents(#[from] aho_corasick::BuildError),
    /// The system gives no thread.
    #[error("cannot start a delivery thread: {0}")]
    Thread(#[source] io::Error),
}

/// Starts the topic's thread, `wp-send-TOPIC`. It delivers until `stop`, which is to be set once no worker appends any
/// more; then it delivers the rest within [`Config::drain_deadline`]. Called once for each topic, by `server`.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn spawn_delivery_thread<S: Sink + Send + 'static>(
    inputs: EngineInputs,
    sink: S,
    stop: StopSignal,
) -> Result<JoinHandle<Summary>, StartError> {
    let drain_deadline = inputs.config.drain_deadline;
    // Linux keeps 15 bytes of a thread's name.
    let thread = std::thread::Builder::new().name(format!("wp-send-{}", inputs.topic.short_name()));
    let events = EventBuilder::new(&inputs.config.duplicate)?;
    // The engine reads the rings when it is built, so it is built in its thread: the caller starts the workers
    // meanwhile.
    let build_and_run = move || {
        let engine = build_engine_with(events, inputs, sink);
        engine.run_until_stopped_then_drain_and_send_closing_statements(&stop, drain_deadline)
    };
    thread.spawn(build_and_run).map_err(StartError::Thread)
}

/// Delivers all that an adopted journal holds, on the caller's thread, until nothing remains or nothing was delivered
/// for `patience`. `on_progress` gets once a second the delivered clicks and the time since the last delivery. Called
/// by `waypost journal drain`.
///
/// The sink is opened under the edge's name, as the owner of the journal would open it. So whatever keeps two processes
/// of one name apart at the sink keeps an owner apart that still runs elsewhere, and nothing is sent before it has.
///
/// # Errors
/// As [`spawn_delivery_thread`].
pub(crate) fn drain_to_sink<S: Sink>(
    inputs: EngineInputs,
    sink: S,
    patience: Duration,
    on_progress: impl FnMut(u64, Duration),
) -> Result<DrainSummary, StartError> {
    Ok(build_engine(inputs, sink)?.run_until_drained(patience, on_progress))
}

/// Builds the engine over the lanes of `inputs`.
///
/// # Errors
/// The table of known agents cannot be built.
pub(crate) fn build_engine<S: Sink>(inputs: EngineInputs, sink: S) -> Result<Engine<S>, aho_corasick::BuildError> {
    Ok(build_engine_with(EventBuilder::new(&inputs.config.duplicate)?, inputs, sink))
}

fn build_engine_with<S: Sink>(mut events: EventBuilder, inputs: EngineInputs, sink: S) -> Engine<S> {
    let EngineInputs { topic, config, dead_letter_dir, edge, readers, geoip } = inputs;
    let mut dead_letters = DeadLetterFiles::new(dead_letter_dir, config.files.rotate_bytes.0);
    if sink.can_refuse_clicks() {
        dead_letters.open_reserve_or_log_error(topic);
    }
    events.remember_clicks_delivered_before_start(topic, &readers, clock::wall_ms());
    let lanes = readers.into_iter().map(|reader| {
        let delivered_at_open = sink.delivered_at_open(reader.lane());
        let checkpoints_cover_lane = sink.checkpoints_cover(&reader.recovered_sink_note());
        LaneProgress::new(reader, delivered_at_open, checkpoints_cover_lane)
    });
    let lanes: Vec<LaneProgress> = lanes.collect();
    let events = events.with_geoip(geoip).with_device_labels(config.device_labels);
    Engine::new(topic, edge, config.max_in_flight as usize, sink, lanes, dead_letters, events)
}
