//! Exactly-once: clicks and the checkpoint that says how far the edge is are committed together, or not at all.
//!
//! ```text
//!  start, or a new producer ──▶ Joining ──▶ Finding ──▶ Idle ──▶ Open ──▶ Committing ──▶ Idle
//!                               fences      what was     ▲         │         │
//!                               whoever     committed    │         ▼         ▼
//!  fenced ──▶ Asking ─────────▶ was there                └────── Aborting ◀──┘
//!               └──▶ halted: another process committed as this edge
//! ```
//!
//! A producer is fenced by another process of the same edge, and also by the broker itself once a transaction was open for
//! longer than `transaction.timeout.ms`, as after an outage. Which of the two it was, the checkpoints tell: each names the
//! process that wrote it, and each process writes one as soon as it has joined. If none came from elsewhere, this one joins
//! again; if one did, it halts. Of two live processes the one that committed last stays.
//!
//! Every call to the client waits [`STEP`] at the most and is made again until it is through.

use std::time::{Duration, Instant};

use rdkafka::{
    error::KafkaError,
    producer::{BaseProducer, Producer},
};

use super::{
    checkpoint::{Checkpoint, carry_along, note, noted},
    producer::Reports,
};
use crate::{
    faults::{self, say},
    journal::SinkNote,
    kafka::{Config, LastCommitted, Refusal},
    metrics as table,
    shipper::upto::Lanes,
};

/// A transaction is committed so long after its first record, or once half of what may be in flight is in it. Kafka's own
/// Streams commits every 100 ms under exactly-once.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// The most a call to the client may hold up the shipper's thread.
const STEP: Duration = Duration::from_millis(20);
/// The same for questions, each of which begins anew.
const ASK: Duration = Duration::from_secs(1);
/// Between two attempts to ask.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that nobody answers.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// A process that took our place has so long to say so before it is taken for an expired transaction: it has to join, to find
/// the last checkpoint, and to commit its own.
const CONTEST: Duration = Duration::from_secs(10);

/// What a fence may be, for the log.
pub(super) const FENCED: &str = "another process ships as this edge, or a transaction was open for longer than transaction.timeout.ms: looking which";

/// Where the transactions stand.
#[derive(Default)]
enum Phase {
    /// Fenced: is another process there? Asked from this time on.
    Asking(Instant, Option<Box<LastCommitted>>),
    /// The transactional id is being taken up.
    #[default]
    Joining,
    /// The last checkpoint is being read.
    Finding(Option<Box<LastCommitted>>),
    /// None is open.
    Idle,
    /// One is open, since then, with so many records.
    Open(Instant, usize),
    /// It is being committed, since then.
    Committing(Instant),
    Aborting,
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The shipper has to go on from here.
    Found(Lanes),
    /// Everything handed over since the last one is committed.
    Committed,
    /// Nothing of it is.
    Aborted,
    /// The producer has failed for good.
    Failed(Refusal),
    /// Another process committed as this edge: its name.
    Taken(String),
}

/// The transactions of one edge over the lives of its producers.
pub(super) struct Transactions {
    config: Config,
    edge: String,
    /// Names this process to others of the edge.
    process: String,
    phase: Phase,
    /// Half of what may be in flight.
    full: usize,
    /// The first transaction says that this process is there.
    owed: bool,
    /// A record came back: the transaction cannot be committed.
    spoilt: bool,
    /// The last checkpoint known: its process and place.
    last: Option<(String, i64)>,
    /// The last checkpoint that was there when this process joined.
    found: Lanes,
    /// Where the last known one lies.
    hint: Option<i64>,
    asked_at: Option<Instant>,
    said_at: Option<Instant>,
    numbers: Numbers,
}

/// What is counted; there, though at nought, without transactions too.
pub(super) struct Numbers {
    ended: [metrics::Counter; 2],
    took: metrics::Histogram,
}

impl Numbers {
    pub(super) fn new() -> Numbers {
        Numbers {
            ended: ["committed", "aborted"].map(|result| table::counter(&table::KAFKA_TRANSACTIONS, &[result])),
            took: table::histogram(&table::KAFKA_COMMIT_SECONDS, &[]),
        }
    }
}

impl Transactions {
    /// `notes`: what the journal's lanes remember of the last checkpoint.
    pub(super) fn new(
        config: &Config,
        edge: &str,
        notes: &[SinkNote],
        most_in_flight: usize,
        numbers: Numbers,
    ) -> Transactions {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Transactions {
            config: config.clone(),
            edge: edge.to_owned(),
            process: format!("{host}/{}/{}", std::process::id(), crate::clock::wall_ms()),
            phase: Phase::Joining,
            full: most_in_flight / 2,
            owed: true,
            spoilt: false,
            last: None,
            found: Lanes::new(),
            hint: notes.iter().filter_map(|note| noted(edge, note)).max(),
            asked_at: None,
            said_at: None,
            numbers,
        }
    }

    /// What the journal is to remember.
    pub(super) fn note(&self) -> SinkNote {
        self.hint.map_or([0; 64], |offset| note(&self.edge, offset))
    }

    /// Whether records may be handed over.
    pub(super) fn takes(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Open(..))
    }

    /// Whether this process has committed as the edge.
    pub(super) fn joined(&self) -> bool {
        !self.owed
    }

    /// Whether something waits to be committed or undone.
    pub(super) fn busy(&self) -> bool {
        matches!(self.phase, Phase::Open(..) | Phase::Committing(_) | Phase::Aborting)
    }

    /// Opens a transaction unless one is open. To be called before a record is handed over.
    ///
    /// # Errors
    /// The producer has failed.
    pub(super) fn open(&mut self, producer: &BaseProducer<Reports>, now: Instant) -> Result<(), KafkaError> {
        match &mut self.phase {
            Phase::Open(_, records) => *records += 1,
            _ => {
                producer.begin_transaction()?;
                self.phase = Phase::Open(now, 1);
            }
        }
        Ok(())
    }

    /// A record came back.
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// There is a new producer; `fenced`: because the one before was.
    pub(super) fn begin_again(&mut self, now: Instant, fenced: bool) {
        self.spoilt = false;
        self.phase = if fenced { Phase::Asking(now + CONTEST, None) } else { Phase::Joining };
    }

    /// Does what is due: a call to the client at the most. `lanes` says what will be committed once everything in flight is;
    /// `send` hands the checkpoint over.
    pub(super) fn step(
        &mut self,
        producer: &BaseProducer<Reports>,
        (now, all): (Instant, bool),
        lanes: &dyn Fn() -> Lanes,
        send: impl FnOnce(&[u8]) -> Result<(), KafkaError>,
    ) -> Option<Event> {
        match &self.phase {
            Phase::Asking(..) => self.ask(now),
            Phase::Joining => match producer.init_transactions(STEP) {
                Ok(()) => {
                    self.phase = Phase::Finding(None);
                    None
                }
                Err(why) => self.not_done(&why),
            },
            Phase::Finding(_) => self.find(now),
            Phase::Idle if !self.owed => None,
            Phase::Idle | Phase::Open(..) if self.spoilt => {
                self.phase = Phase::Aborting;
                None
            }
            Phase::Open(since, records)
                if !all && now.duration_since(*since) < COMMIT_EVERY && *records < self.full =>
            {
                None
            }
            Phase::Idle | Phase::Open(..) => {
                let mut lanes = lanes();
                carry_along(&mut lanes, &self.found);
                let checkpoint = Checkpoint { process: self.process.clone(), lanes };
                let value = checkpoint.encode(&self.edge, crate::clock::wall_ms());
                match self.open(producer, now).and_then(|()| send(&value)) {
                    Ok(()) => self.phase = Phase::Committing(now),
                    // The queue is full: there is room once what is in it was sent.
                    Err(why) if Refusal::of(&why) == Refusal::Retriable => {}
                    Err(why) => return self.not_done(&why),
                }
                None
            }
            Phase::Committing(_) if self.spoilt => {
                self.phase = Phase::Aborting;
                None
            }
            Phase::Committing(since) => match producer.commit_transaction(STEP) {
                Ok(()) => {
                    self.numbers.took.record(since.elapsed().as_secs_f64());
                    Some(self.committed())
                }
                Err(why) => self.not_done(&why),
            },
            Phase::Aborting => match producer.abort_transaction(STEP) {
                Ok(()) => {
                    self.numbers.ended[1].increment(1);
                    (self.phase, self.spoilt) = (Phase::Idle, false);
                    Some(Event::Aborted)
                }
                Err(why) => self.not_done(&why),
            },
        }
    }

    fn committed(&mut self) -> Event {
        self.numbers.ended[0].increment(1);
        (self.phase, self.owed) = (Phase::Idle, false);
        Event::Committed
    }

    /// Where the checkpoint lies that was just committed. To be called once its report was heard, which may be after the commit.
    pub(super) fn committed_at(&mut self, offset: i64) {
        self.hint = Some(offset);
        self.last = Some((self.process.clone(), offset));
    }

    /// A call did not get through: again, or in another way.
    fn not_done(&mut self, why: &KafkaError) -> Option<Event> {
        match why {
            KafkaError::Transaction(error) if error.is_fatal() => Some(Event::Failed(Refusal::of_code(error.code()))),
            KafkaError::Transaction(error) if error.txn_requires_abort() => {
                self.phase = Phase::Aborting;
                None
            }
            KafkaError::Transaction(error) if error.is_retriable() => None,
            KafkaError::Transaction(error) => {
                // Neither to be repeated nor undone: this client is of no more use.
                tracing::debug!("a transaction failed: {error}");
                Some(Event::Failed(Refusal::Fatal))
            }
            // Records wait to be sent.
            KafkaError::Flush(_) => None,
            other => Some(Event::Failed(Refusal::of(other))),
        }
    }

    /// Fenced: joins again unless another process has committed since.
    fn ask(&mut self, now: Instant) -> Option<Event> {
        let Phase::Asking(from, _) = &self.phase else { return None };
        if now < *from {
            return None;
        }
        let found = self.look(now)?;
        if let Some(checkpoint) = &found
            && self.is_new(checkpoint)
        {
            return Some(Event::Taken(checkpoint.0.process.clone()));
        }
        self.phase = Phase::Joining;
        None
    }

    /// Joined: where does the edge stand?
    fn find(&mut self, now: Instant) -> Option<Event> {
        let found = self.look(now)?;
        if let Some(checkpoint) = &found
            && self.last.is_some()
            && self.is_new(checkpoint)
        {
            return Some(Event::Taken(checkpoint.0.process.clone()));
        }
        (self.phase, self.owed) = (Phase::Idle, true);
        let Some((checkpoint, offset)) = found else { return Some(Event::Found(Lanes::new())) };
        self.hint = Some(offset);
        self.last = Some((checkpoint.process, offset));
        self.found = checkpoint.lanes.clone();
        Some(Event::Found(checkpoint.lanes))
    }

    /// Whether another process wrote it, and after the last that is known.
    fn is_new(&self, (checkpoint, offset): &(Checkpoint, i64)) -> bool {
        let known = self.last.as_ref().is_some_and(|(process, at)| *process == checkpoint.process && at == offset);
        checkpoint.process != self.process && !known
    }

    /// Reads on; the last checkpoint, and its place, once it is certain.
    #[allow(clippy::option_option, reason = "not yet, and none, differ")]
    fn look(&mut self, now: Instant) -> Option<Option<(Checkpoint, i64)>> {
        if self.asked_at.is_some_and(|at| now.duration_since(at) < ASK_EVERY) {
            return None;
        }
        let reader = match &mut self.phase {
            Phase::Asking(_, reader) | Phase::Finding(reader) => reader,
            _ => return None,
        };
        let result = match reader {
            Some(reader) => reader.step(ASK).map_err(|why| (Refusal::of(&why), why.to_string())),
            None => match LastCommitted::new(&self.config, &self.edge, &self.edge, self.hint) {
                Ok(new) => {
                    *reader = Some(Box::new(new));
                    return None;
                }
                Err(why) => Err((Refusal::Retriable, why)),
            },
        };
        let why = match result {
            Ok(None) => return None,
            Ok(Some(None)) => return Some(None),
            Ok(Some(Some(found))) => match Checkpoint::decode(&found.value) {
                Ok(checkpoint) => return Some(Some((checkpoint, found.offset))),
                Err(why) => {
                    *reader = None;
                    (Refusal::Invalid, format!("the record at offset {} is no checkpoint: {why}", found.offset))
                }
            },
            Err(why) => why,
        };
        self.asked_at = Some(now);
        if self.said_at.is_none_or(|at| now.duration_since(at) >= SAY_EVERY) {
            self.said_at = Some(now);
            let ((refusal, why), topic) = (why, &self.config.checkpoints);
            say!(
                warn,
                faults::CHECKPOINT_NOT_FOUND,
                topic,
                reason = refusal.as_str(),
                "the edge's last checkpoint is not read yet: {why}: {}",
                refusal.advice(topic)
            );
        }
        None
    }
}
