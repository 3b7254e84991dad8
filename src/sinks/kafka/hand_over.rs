//! The hand-over of records to the producer without an engine, for the instruction counts of `benches/delivery`.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer;

use super::KafkaSink;
use crate::{
    delivery::sink::{InFlightId, OutgoingRecord, SendOutcome, Sink},
    kafka::Config,
    model::click::{Click, Topic},
};

/// A sink of the topic of clicks. Nothing takes its delivery reports.
pub struct HandOver {
    sink: KafkaSink,
    handed_over: u64,
}

impl HandOver {
    /// Connects to the brokers and waits until the partitions of the topic are known, at most `patience`.
    ///
    /// # Errors
    /// The producer cannot be built, or the brokers do not answer in time.
    pub fn connect(brokers: &str, patience: Duration) -> Result<HandOver, String> {
        let config = Config { brokers: Some(brokers.to_owned()), ..Config::default() };
        let topic = config.topics.clicks.clone();
        let sink = KafkaSink::new(Topic::Clicks, config, "edge-1", &[], 200_000).map_err(|why| why.to_string())?;
        if let Some(producer) = &sink.producer {
            producer.client().fetch_metadata(Some(&topic), patience).map_err(|why| why.to_string())?;
        }
        Ok(HandOver { sink, handed_over: 0 })
    }

    /// Hands the event of a click to the producer as the engine does. `false` if the producer does not take it.
    pub fn try_hand_over(&mut self, click: &Click<'_>, event: &[u8], now: Instant) -> bool {
        let Some(buffer) = self.sink.record_buffer_if_accepting(now) else { return false };
        buffer.extend_from_slice(event);
        self.handed_over += 1;
        let record = OutgoingRecord {
            id: InFlightId { lane_index: 0, number: self.handed_over },
            click_id: &click.id,
            visitor: click.visitor.as_ref(),
            at_ms: click.at_ms,
            timestamp_shift: 0,
            is_stub: false,
        };
        self.sink.send_buffered(&record) == SendOutcome::Accepted
    }
}
