//! What the shipper and a sink say to each other: a click handed over, whether it was taken, and what became of it.

use crate::{kafka::Refusal, model::click::Topic};

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
    /// The event is the stub of a dead letter.
    pub(super) stub: bool,
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
