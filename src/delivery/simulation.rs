//! The engine with a simulated Kafka cluster, for the model test of everything (`cli::clicks::audit::model`): the test
//! sees the topics and decides how the cluster behaves.

mod at_least_once;
pub(crate) mod cluster;
mod exactly_once;

use std::{ops::Range, path::Path, sync::Arc, time::Instant};

use self::{
    at_least_once::AtLeastOnceSink,
    cluster::{Guarantee, SharedCluster},
    exactly_once::ExactlyOnceSink,
};
use super::{Config, EngineInputs, FilesConfig, build_engine, engine::Engine, lane::LaneProgress, sink::Sink};
use crate::{
    clock,
    events::encoder::tests,
    journal::{LaneReader, LaneStatus, SeqRange},
    model::click::{Text, Topic},
    size::Bytes,
};

/// The clicks of a topic in flight at most.
const MAX_IN_FLIGHT: usize = 64;

/// The delivery of one process, run cycle by cycle.
pub(crate) enum SimulatedDelivery {
    AtLeastOnce(Box<Engine<AtLeastOnceSink>>),
    ExactlyOnce(Box<Engine<ExactlyOnceSink>>),
}

impl SimulatedDelivery {
    /// The delivery of `topic` from the journal that was opened in `dir`.
    pub(crate) fn new(
        topic: Topic,
        dir: &Path,
        cluster: &SharedCluster,
        readers: Vec<LaneReader>,
    ) -> SimulatedDelivery {
        let files = FilesConfig { rotate_bytes: Bytes::mib(1), ..FilesConfig::default() };
        let config = Config { max_in_flight: MAX_IN_FLIGHT as u32, files, ..Config::default() };
        let edge = "edge-1".to_owned();
        let (dead_letter_dir, geoip) = (dir.join("dead-letters"), Arc::default());
        let inputs = EngineInputs { topic, config, dead_letter_dir, edge, readers, geoip };
        let guarantee = cluster.lock().unwrap().guarantee;
        match guarantee {
            Guarantee::AtLeastOnce => {
                let sink = AtLeastOnceSink::new(topic, cluster);
                SimulatedDelivery::AtLeastOnce(Box::new(build_engine(inputs, sink).unwrap()))
            }
            Guarantee::ExactlyOnce => {
                let sink = ExactlyOnceSink::new(topic, cluster, &inputs.sink_notes());
                SimulatedDelivery::ExactlyOnce(Box::new(build_engine(inputs, sink).unwrap()))
            }
        }
    }

    pub(crate) fn poll_send_and_acknowledge_once(&mut self, now: Instant, flush_now: bool) {
        match self {
            SimulatedDelivery::AtLeastOnce(engine) => _ = engine.poll_send_and_acknowledge_once(now, flush_now),
            SimulatedDelivery::ExactlyOnce(engine) => _ = engine.poll_send_and_acknowledge_once(now, flush_now),
        }
    }

    /// Whether every click is delivered, and the sink knows it.
    pub(crate) fn is_all_delivered(&self) -> bool {
        match self {
            SimulatedDelivery::AtLeastOnce(engine) => engine.lanes.iter().all(LaneProgress::is_all_delivered),
            SimulatedDelivery::ExactlyOnce(engine) => {
                engine.sink.is_resumed() && engine.lanes.iter().all(LaneProgress::is_all_delivered)
            }
        }
    }

    /// Whether this process has committed a transaction.
    pub(crate) fn has_committed(&self) -> bool {
        match self {
            SimulatedDelivery::AtLeastOnce(_) => false,
            SimulatedDelivery::ExactlyOnce(engine) => engine.sink.is_resumed(),
        }
    }

    /// Whether another process has taken over.
    pub(crate) fn is_taken_over(&self) -> bool {
        match self {
            SimulatedDelivery::AtLeastOnce(_) => false,
            SimulatedDelivery::ExactlyOnce(engine) => engine.sink.is_taken_over(),
        }
    }

    /// What the delivery waits for, for the message of a failed test.
    pub(crate) fn describe_undelivered(&self) -> String {
        let (lanes, gate) = match self {
            SimulatedDelivery::AtLeastOnce(engine) => (&engine.lanes, &engine.gate),
            SimulatedDelivery::ExactlyOnce(engine) => (&engine.lanes, &engine.gate),
        };
        let lanes = lanes.iter().filter(|lane| !lane.is_all_delivered()).map(|lane| {
            let (clicks, retry) = (&lane.clicks, lane.retry_read_at);
            format!(
                "\nlane {}: {} in flight, {} on trial, {:?} returned, {} ranges, read up to {} of {}, retry {retry:?}",
                lane.reader.lane(),
                clicks.in_flight(),
                clicks.on_trial(),
                clicks.returned(),
                clicks.count_committed_ranges_above_gap(),
                clicks.read_position(),
                lane.reader.head()
            )
        });
        format!("{}\n{gate:?}", lanes.collect::<String>())
    }

    /// The state of each lane in the journal, by the lane's number.
    pub(crate) fn lane_statuses(&self) -> Vec<(u16, LaneStatus)> {
        let lanes = match self {
            SimulatedDelivery::AtLeastOnce(engine) => &engine.lanes,
            SimulatedDelivery::ExactlyOnce(engine) => &engine.lanes,
        };
        lanes.iter().map(|lane| (lane.reader.lane(), lane.reader.status())).collect()
    }

    /// The numbers of each lane that the journal keeps on the disk as quarantined, by the lane's number.
    pub(crate) fn read_stored_quarantined_ranges(&self) -> Vec<(u16, Vec<SeqRange>)> {
        let lanes = match self {
            SimulatedDelivery::AtLeastOnce(engine) => &engine.lanes,
            SimulatedDelivery::ExactlyOnce(engine) => &engine.lanes,
        };
        lanes.iter().map(|lane| (lane.reader.lane(), lane.reader.read_stored_quarantined_ranges())).collect()
    }

    pub(crate) fn send_closing_statements(self, now: Instant) {
        match self {
            SimulatedDelivery::AtLeastOnce(mut engine) => engine.send_closing_statements_and_wait_until_settled(now),
            SimulatedDelivery::ExactlyOnce(mut engine) => engine.send_closing_statements_and_wait_until_settled(now),
        }
    }
}

/// The journal bytes of a click with this number.
pub(crate) fn encode_test_click(number: u64) -> Vec<u8> {
    let mut click = tests::click();
    click.id[8..].copy_from_slice(&number.to_be_bytes());
    click.at_ms = clock::wall_ms();
    click.texts[Text::UserAgent as usize] = b"Mozilla/5.0";
    let mut bytes = Vec::new();
    click.encode(&mut bytes);
    bytes
}

/// The test clicks in these bytes: the number of each, and where its payload lies.
pub(crate) fn find_test_clicks(bytes: &[u8]) -> Vec<(u64, Range<usize>)> {
    let (template, id_start) = (encode_test_click(0), &tests::click().id[..8]);
    let id_offset = template.windows(8).position(|window| window == id_start).unwrap();
    // A frame lies at a multiple of 16, and its header takes a multiple of 16 too.
    let offsets = (0..bytes.len())
        .step_by(16)
        .filter(|at| bytes.get(at + id_offset..).is_some_and(|bytes| bytes.starts_with(id_start)));
    let number_at =
        |at: usize| bytes.get(at + id_offset + 8..)?.first_chunk().map(|number| u64::from_be_bytes(*number));
    offsets.filter_map(|at| Some((number_at(at)?, at..at + template.len()))).collect()
}

fn number_of(click_id: &[u8; 16]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&click_id[8..]);
    u64::from_be_bytes(number)
}

/// Whether the cluster refuses the click of this number even alone.
pub(crate) fn is_poison(number: u64) -> bool {
    number % 211 == 5
}
