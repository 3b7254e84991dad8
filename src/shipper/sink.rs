//! Where clicks go, as the shipper sees it: a place to write the next event, a word when something is delivered.

use std::time::Instant;

use super::{
    file::{FileSink, Synced},
    kafka::KafkaSink,
};
use crate::{journal::SinkNote, kafka::Refusal, model::click::Topic};

/// Names a click in flight: its lane by place, its topic, its number there. Fits a word, for the producer hands one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) lane: usize,
    pub(super) topic: Topic,
    pub(super) number: u64,
}

impl Ticket {
    const LANE: u32 = 48;
    const TOPIC: u32 = 47;

    /// As a word: 16 bits of lane, one of topic, 47 of number, which last for 44 years at 100 000 a second.
    pub(super) const fn pack(self) -> usize {
        self.lane << Ticket::LANE | (self.topic as usize) << Ticket::TOPIC | self.number as usize
    }

    /// Reads what [`Ticket::pack`] made.
    pub(super) const fn unpack(word: usize) -> Ticket {
        let topic = if word >> Ticket::TOPIC & 1 == 0 { Topic::Clicks } else { Topic::Orphan };
        Ticket { lane: word >> Ticket::LANE, topic, number: (word & ((1 << Ticket::TOPIC) - 1)) as u64 }
    }
}

const _: () = assert!(usize::BITS == 64, "a ticket fills 64 bits");

/// What goes around an event's value.
pub(super) struct Letter<'a> {
    pub(super) ticket: Ticket,
    pub(super) id: &'a [u8; 16],
    pub(super) visitor: Option<&'a [u8; 16]>,
    pub(super) at_ms: u64,
    /// How often its record's timestamp was refused.
    pub(super) clamps: u8,
}

/// Whether the sink took an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A word will come.
    Yes,
    /// No room now.
    Later,
    /// No, and why.
    Refused(Refusal),
}

/// A sink's word on what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// On one click.
    One(Ticket, Result<(), Refusal>),
    /// On every click of a topic that is in flight.
    Every(Topic, Result<(), Refusal>),
}

/// The sink in use.
pub(super) enum Sink {
    /// JSON lines in files.
    Files(Box<FileSink>),
    /// A Kafka topic each.
    Kafka(Box<KafkaSink>),
}

impl Sink {
    /// Where to append the next event of a topic; `None` while it takes none. To be followed by [`Sink::post`].
    pub(super) fn page(&mut self, topic: Topic, now: Instant) -> Option<&mut Vec<u8>> {
        match self {
            Sink::Files(files) => files.line(topic, now),
            Sink::Kafka(kafka) => kafka.value(),
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
        }
    }

    /// Does what is due, everything if `all`, and says what is known of clicks in flight.
    pub(super) fn tend(&mut self, now: Instant, all: bool, words: &mut Vec<Word>) {
        match self {
            Sink::Files(files) => files.tend(now, all, |topic, synced| {
                // A disk's error is nobody's fault among the clicks.
                let word = if synced == Synced::All { Ok(()) } else { Err(Refusal::Retriable) };
                words.push(Word::Every(topic, word));
            }),
            Sink::Kafka(kafka) => kafka.tend(now, words),
        }
    }

    /// What to note in the journal's checkpoint.
    pub(super) fn note(&self) -> SinkNote {
        match self {
            Sink::Files(files) => files.note(),
            Sink::Kafka(_) => [0; 64],
        }
    }

    /// The name of a topic, for messages.
    pub(super) fn topic(&self, topic: Topic) -> &str {
        match self {
            Sink::Files(_) => topic.name(),
            Sink::Kafka(kafka) => kafka.topic(topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_being_a_word() {
        for lane in [0, 1, 65_535] {
            for topic in Topic::ALL {
                for number in [0, 1, (1 << 47) - 1] {
                    let ticket = Ticket { lane, topic, number };
                    assert_eq!(Ticket::unpack(ticket.pack()), ticket);
                }
            }
        }
    }
}
