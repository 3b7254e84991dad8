//! Where clicks go, as the shipper sees it: a place to write the next event, a word when something is delivered.

use std::time::Instant;

use super::{
    file::{FileSink, Synced},
    halt::Halt,
    kafka::KafkaSink,
    letter::{Letter, Taken, Word},
    upto::Lanes,
};
use crate::{journal::SinkNote, kafka::Refusal, model::click::Topic};

/// The sink in use.
pub(super) enum Sink {
    /// JSON lines in files.
    Files(Box<FileSink>),
    /// A Kafka topic each.
    Kafka(Box<KafkaSink>),
    /// A cluster that a test plays.
    #[cfg(test)]
    Played(super::model::Producer),
}

impl Sink {
    /// Where to append the next event of a topic; `None` while it takes none. To be followed by [`Sink::post`].
    pub(super) fn page(&mut self, topic: Topic, now: Instant) -> Option<&mut Vec<u8>> {
        match self {
            Sink::Files(files) => files.line(topic, now),
            Sink::Kafka(kafka) => kafka.value(),
            #[cfg(test)]
            Sink::Played(producer) => producer.value(),
        }
    }

    /// Takes the event that was appended.
    pub(super) fn post(&mut self, letter: &Letter<'_>) -> Taken {
        match self {
            Sink::Files(files) => {
                files.end_line(letter.ticket.topic);
                Taken::Yes
            }
            Sink::Kafka(kafka) => kafka.post(letter),
            #[cfg(test)]
            Sink::Played(producer) => producer.post(letter),
        }
    }

    /// Sends what a lane says of itself; `false`: not now. Files have no readers that could not see for themselves.
    /// `clamps`: by how many steps its timestamp is moved.
    pub(super) fn state(&mut self, lane: u16, value: &[u8], at_ms: u64, clamps: u8) -> bool {
        match self {
            Sink::Files(_) => true,
            Sink::Kafka(kafka) => kafka.state(lane, value, at_ms, clamps),
            #[cfg(test)]
            Sink::Played(producer) => producer.state(value),
        }
    }

    /// Waits until what lanes said has arrived, until the deadline at most; `lanes` as for [`Sink::tend`].
    pub(super) fn settle(&mut self, deadline: Instant, lanes: &dyn Fn() -> Lanes) {
        if let Sink::Kafka(kafka) = self {
            kafka.settle(deadline, lanes);
        }
    }

    /// Statements of which nobody knows yet whether they arrived, and those that failed since the start.
    pub(super) fn unstated(&self) -> (u64, u64) {
        match self {
            Sink::Files(_) => (0, 0),
            Sink::Kafka(kafka) => kafka.unstated(),
            #[cfg(test)]
            Sink::Played(_) => (0, 0),
        }
    }

    /// Does what is due, everything if `all`, and says what is known of clicks in flight. Once a sink finds out where to go on
    /// from, it says so; `lanes` says what it will have for good once it has everything in flight.
    pub(super) fn tend(
        &mut self,
        now: Instant,
        all: bool,
        words: &mut Vec<Word>,
        lanes: &dyn Fn() -> Lanes,
    ) -> Option<Lanes> {
        match self {
            Sink::Files(files) => {
                files.tend(now, all, |topic, synced| {
                    // A disk's error is nobody's fault among the clicks.
                    let word = if synced == Synced::All { Ok(()) } else { Err(Refusal::Retriable) };
                    words.push(Word::Every(topic, word));
                });
                None
            }
            Sink::Kafka(kafka) => kafka.tend(now, all, words, lanes),
            #[cfg(test)]
            Sink::Played(producer) => {
                producer.tend(words);
                None
            }
        }
    }

    /// Whether the sink knows what it has.
    pub(super) fn found(&self) -> bool {
        match self {
            Sink::Files(_) => true,
            Sink::Kafka(kafka) => kafka.found(),
            #[cfg(test)]
            Sink::Played(_) => true,
        }
    }

    /// Stops for good: what the sink found contradicts the journal.
    pub(super) fn halt(&mut self, why: Halt, words: &mut Vec<Word>) {
        if let Sink::Kafka(kafka) = self {
            kafka.halt(why, words);
        }
    }

    /// What to note in the journal's checkpoint.
    pub(super) fn note(&self) -> SinkNote {
        match self {
            Sink::Files(files) => files.note(),
            Sink::Kafka(kafka) => kafka.note(),
            #[cfg(test)]
            Sink::Played(_) => [0; 64],
        }
    }

    /// The name of a topic, for messages.
    pub(super) fn topic(&self, topic: Topic) -> &str {
        match self {
            Sink::Files(_) => topic.name(),
            Sink::Kafka(kafka) => kafka.topic(topic),
            #[cfg(test)]
            Sink::Played(_) => topic.name(),
        }
    }
}
