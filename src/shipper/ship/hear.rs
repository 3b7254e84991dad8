//! Hearing: what became of clicks that the sink took.

use std::time::Instant;

use super::{CLAMPS, Ship};
use crate::{
    kafka::Refusal,
    model::click::Topic,
    shipper::{
        letter::{Ticket, Word},
        track::{PROVED, Track},
    },
};

impl Ship {
    /// Takes the sink's words to heart.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        let mut words = std::mem::take(&mut self.words);
        let heard = !words.is_empty();
        for word in words.drain(..) {
            match word {
                Word::One(ticket, result) => self.hear_one(ticket, result, now),
                Word::Every(topic, Ok(())) => {
                    let tried = self.held(topic).on_trial > 0;
                    let tracks = || self.lanes.iter().map(|lane| &lane.tracks[topic as usize]);
                    let clamps = tracks().filter_map(Track::clamped_in_flight).max();
                    self.gates[topic as usize].heard(now);
                    self.gates[topic as usize].delivered(tried);
                    self.lanes.iter_mut().for_each(|lane| lane.tracks[topic as usize].deliver_all());
                    if let Some(clamps) = clamps {
                        self.time_passed(topic, clamps, now);
                    }
                }
                Word::Every(topic, Err(refusal)) => {
                    let in_flight = self.held(topic).in_flight;
                    self.numbers.failed(refusal, in_flight as u64);
                    self.lanes.iter_mut().for_each(|lane| lane.tracks[topic as usize].fail_all());
                }
            }
        }
        self.words = words;
        heard
    }

    pub(super) fn hear_one(&mut self, ticket: Ticket, result: Result<(), Refusal>, now: Instant) {
        let topic = ticket.topic as usize;
        let Some(lane) = self.lanes.get_mut(ticket.lane) else { return };
        let track = &mut lane.tracks[topic];
        self.gates[topic].heard(now);
        let Err(refusal) = result else {
            let clamps = track.get(ticket.number).map_or(0, |sent| sent.clamps);
            self.gates[topic].delivered(track.proved_bad(ticket.number));
            track.deliver(ticket.number);
            return self.time_passed(ticket.topic, clamps, now);
        };
        self.numbers.failed(refusal, 1);
        match refusal {
            Refusal::Retriable | Refusal::TopicMissing | Refusal::NotAuthorized => {
                track.fail(ticket.number);
                self.gates[topic].pause(now);
            }
            // The sink has dropped its producer, or is about to.
            Refusal::Fatal | Refusal::Fenced => return track.fail(ticket.number),
            Refusal::InvalidTimestamp if track.get(ticket.number).is_some_and(|sent| sent.clamps < CLAMPS) => {
                track.clamp(ticket.number);
            }
            Refusal::InvalidTimestamp | Refusal::TooLarge | Refusal::Invalid => {
                track.refuse(ticket.number, refusal);
                if track.get(ticket.number).is_some_and(|sent| sent.refusals > PROVED) {
                    self.gates[topic].refused_alone(now);
                }
            }
        }
        self.gates[topic].say(self.sink.topic(ticket.topic), refusal, now);
    }

    /// A click passed with its timestamp moved by so many steps.
    fn time_passed(&mut self, topic: Topic, clamps: u8, now: Instant) {
        if self.gates[topic as usize].passed(clamps, now) {
            self.lanes.iter_mut().for_each(|lane| lane.tracks[topic as usize].acquit(clamps));
        }
    }
}
