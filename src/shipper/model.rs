//! The shipper over a cluster that a test plays: for the model of everything (`cli::clicks::audit::model`), which sees the
//! topics and says what the cluster does.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{
    dead::DeadLetters,
    event::tests,
    lane::{LaneState, TOPICS},
    letter::{Letter, Taken, Ticket, Word},
    ship::Ship,
    sink::Sink,
};
use crate::{
    clock,
    journal::{Mark, Reader},
    kafka::Refusal,
    model::click::{Outcome, Text, Topic},
};

/// How the cluster behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Everything is kept and acknowledged at once.
    Well,
    /// Nothing comes through.
    Away,
    /// One of so many is looked at in a round, in any order; some come back, though some of those were kept.
    Slow(usize),
}

/// The cluster: what its topics hold, and what is on its way to them.
pub(crate) struct Cluster {
    pub(crate) mood: Mood,
    /// The values of the records of each topic, in order.
    pub(crate) clicks: [Vec<Vec<u8>>; TOPICS],
    /// What lanes said.
    pub(crate) said: Vec<Vec<u8>>,
    flying: Vec<Flying>,
    state: u64,
}

struct Flying {
    ticket: Ticket,
    value: Vec<u8>,
    /// It will never be taken.
    poison: bool,
    /// It is on its topic, and the acknowledgement is on its way.
    kept: bool,
}

/// Both sides of it.
pub(crate) type Shared = Arc<Mutex<Cluster>>;

impl Cluster {
    pub(crate) fn new(seed: u64) -> Shared {
        let clicks = [Vec::new(), Vec::new()];
        Arc::new(Mutex::new(Cluster { mood: Mood::Well, clicks, said: Vec::new(), flying: Vec::new(), state: seed }))
    }

    /// One of so many, by the seed.
    pub(crate) fn pick(&mut self, of: usize) -> usize {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % of.max(1) as u64) as usize
    }

    /// The process is gone: of what was on its way some arrived.
    pub(crate) fn hang_up(&mut self) {
        for flying in std::mem::take(&mut self.flying) {
            if !flying.kept && !flying.poison && self.mood != Mood::Away && self.pick(2) == 0 {
                self.clicks[flying.ticket.topic as usize].push(flying.value);
            }
        }
    }

    fn tend(&mut self, words: &mut Vec<Word>) {
        let one_of = match self.mood {
            Mood::Away => return,
            Mood::Well => 1,
            Mood::Slow(one_of) => one_of,
        };
        if self.mood != Mood::Well && !self.flying.is_empty() && self.pick(200) == 0 {
            // The producer has failed for good.
            self.hang_up();
            words.extend(Topic::ALL.map(|topic| Word::Every(topic, Err(Refusal::Fatal))));
            return;
        }
        let mut left = std::mem::take(&mut self.flying);
        while !left.is_empty() {
            let at = self.pick(left.len());
            let mut flying = left.swap_remove(at);
            let topic = flying.ticket.topic;
            if self.pick(one_of) > 0 {
                self.flying.push(flying);
            } else if flying.poison {
                // It fails its batch: some of the others that are not there yet.
                words.push(Word::One(flying.ticket, Err(Refusal::TooLarge)));
                let mut others = std::mem::take(&mut left).into_iter().chain(std::mem::take(&mut self.flying));
                for other in others.by_ref() {
                    if !other.kept && other.ticket.topic == topic && self.pick(2) == 0 {
                        words.push(Word::One(other.ticket, Err(Refusal::TooLarge)));
                    } else {
                        left.push(other);
                    }
                }
                self.flying.append(&mut left);
            } else {
                if !flying.kept {
                    let refused = self.mood != Mood::Well && self.pick(8) == 0;
                    if refused && self.pick(2) == 0 {
                        words.push(Word::One(flying.ticket, Err(Refusal::Retriable)));
                        continue;
                    }
                    self.clicks[topic as usize].push(std::mem::take(&mut flying.value));
                    if refused {
                        // Kept, and the acknowledgement is lost.
                        words.push(Word::One(flying.ticket, Err(Refusal::Retriable)));
                        continue;
                    }
                    flying.kept = true;
                    if self.mood != Mood::Well && self.pick(2) == 0 {
                        self.flying.push(flying);
                        continue;
                    }
                }
                words.push(Word::One(flying.ticket, Ok(())));
            }
        }
    }
}

/// The edge's end.
pub(super) struct Producer {
    cluster: Shared,
    value: Vec<u8>,
}

impl Producer {
    pub(super) fn value(&mut self) -> Option<&mut Vec<u8>> {
        self.value.clear();
        Some(&mut self.value)
    }

    pub(super) fn post(&mut self, letter: &Letter<'_>) -> Taken {
        let mut cluster = self.cluster.lock().unwrap();
        if cluster.pick(50) == 0 {
            return Taken::Later;
        }
        let poison = is_poison(number_of(letter.id)) && !letter.stub;
        let value = self.value.clone();
        cluster.flying.push(Flying { ticket: letter.ticket, value, poison, kept: false });
        Taken::Yes
    }

    pub(super) fn state(&mut self, value: &[u8]) -> bool {
        let mut cluster = self.cluster.lock().unwrap();
        let mood = cluster.mood;
        match mood {
            Mood::Well => cluster.said.push(value.to_vec()),
            // Taken, and lost with the producer or not.
            Mood::Slow(_) if cluster.pick(2) == 0 => cluster.said.push(value.to_vec()),
            Mood::Slow(_) | Mood::Away => return cluster.pick(2) == 0,
        }
        true
    }

    pub(super) fn tend(&self, words: &mut Vec<Word>) {
        self.cluster.lock().unwrap().tend(words);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.cluster.lock().unwrap().hang_up();
    }
}

/// The shipper of one process, run by hand.
pub(crate) struct Shipper(Ship);

impl Shipper {
    pub(crate) fn new(dir: &Path, cluster: &Shared, readers: Vec<Reader>) -> Shipper {
        let sink = Sink::Played(Producer { cluster: cluster.clone(), value: Vec::new() });
        let lanes =
            readers.into_iter().map(|reader| LaneState::new("edge-1", reader, [Mark::default(); TOPICS])).collect();
        let dead = DeadLetters::new(dir.join("dead-letters"), 1 << 20);
        let duplicate = super::DuplicateConfig::default();
        Shipper(Ship::new("edge-1".to_owned(), 64, sink, lanes, dead, &duplicate).unwrap())
    }

    pub(crate) fn round(&mut self, now: Instant, all: bool) {
        self.0.round(now, all);
    }

    /// Whether everything that was appended is delivered.
    pub(crate) fn done(&self) -> bool {
        self.0.lanes.iter().all(LaneState::done)
    }

    /// The last words.
    pub(crate) fn close(mut self, now: Instant) {
        self.0.state(true, now, clock::wall_ms());
    }
}

/// A click of this number for the journal.
pub(crate) fn click(number: u64, stream: u8) -> Vec<u8> {
    let mut click = tests::click();
    click.id[8..].copy_from_slice(&number.to_be_bytes());
    click.at_ms = clock::wall_ms();
    click.texts[Text::UserAgent as usize] = b"Mozilla/5.0";
    if stream == Topic::Orphan as u8 {
        click.outcome = Outcome::NotFound;
    }
    let mut bytes = Vec::new();
    click.encode(&mut bytes);
    bytes
}

fn number_of(id: &[u8; 16]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&id[8..]);
    u64::from_be_bytes(number)
}

/// Kafka refuses some even alone.
pub(crate) fn is_poison(number: u64) -> bool {
    number % 211 == 5
}
