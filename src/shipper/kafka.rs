//! The Kafka sink: one idempotent producer, `acks=all`, delivered = its delivery report says so.
//!
//! Key = the visitor's id as text, null without one (an empty key would be one hot partition); record timestamp = the click's
//! time, so that a replay keeps it; headers = CloudEvents in binary mode, the schema's version and the time of sending, which the
//! value must not hold. A fatal error drops the producer and everything in its queue; the shipper reads it from the journal again.
//!
//! Under exactly-once, delivered = committed, with a checkpoint of the edge (`transactions`, `checkpoint`).

pub(super) mod checkpoint;
mod producer;
mod record;
mod transactions;

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge};
use rdkafka::{
    message::Header,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode as Code,
};

pub use self::producer::ProducerError;
use self::{
    producer::{Report, Reports, build},
    record::{Rfc3339, clamped, headers},
    transactions::{Event, Transactions},
};
use super::{
    event,
    halt::Halt,
    letter::{Letter, Taken, Ticket, Word},
    upto::Lanes,
};
use crate::{
    clock,
    faults::{self, say},
    journal::SinkNote,
    kafka::{Config, Refusal},
    metrics as table,
    model::click::Topic,
};

/// Between two producers, doubled from the first to the last as long as none delivers anything: one that may not write at all
/// fails for good as soon as it asks for its id.
const REBUILD_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How often a producer is asked whether it has failed for good; a report usually says so sooner.
const FATAL_EVERY: Duration = Duration::from_millis(500);
/// How often it is said that shipping has stopped.
const HALTED_EVERY: Duration = Duration::from_secs(30);

/// In place of a ticket: what a lane says of itself. No lane has a number that high.
const STATEMENT: usize = usize::MAX;
/// In place of a ticket: a checkpoint.
const CHECKPOINT: usize = usize::MAX - 1;

/// The producer and what a record needs.
pub(super) struct KafkaSink {
    config: Config,
    edge: String,
    source: String,
    producer: Option<BaseProducer<Reports>>,
    /// Under exactly-once.
    transactions: Option<Transactions>,
    /// Where the checkpoint lies that is about to be committed.
    checkpoint_at: Option<i64>,
    /// A producer may be built again from here on.
    rebuild_at: Instant,
    rebuild_pause: Duration,
    fatal_at: Instant,
    /// The producer took nothing: it is to be asked now.
    ask_fatal: bool,
    halted: Option<Halt>,
    halted_at: Option<Instant>,
    stopped: [Gauge; Halt::REASONS.len()],
    value: Vec<u8>,
    taken: Vec<Report>,
    time: Rfc3339,
    rebuilds: Counter,
    /// Producers built so far.
    builds: u64,
    clamped: Counter,
    /// Statements of which nothing was heard yet.
    statements: u64,
    statements_failed: u64,
    /// Those that arrived, and those that failed.
    stated: [Counter; 2],
}

impl KafkaSink {
    /// Builds the producer; connects to nothing yet, so a broker that is away is no error. `notes` is what the journal's lanes
    /// remember of the sink.
    ///
    /// # Errors
    /// The settings do not make a producer, or a file that they name cannot be read.
    pub(super) fn new(
        config: Config,
        edge: &str,
        notes: &[SinkNote],
        most_in_flight: usize,
    ) -> Result<KafkaSink, ProducerError> {
        let producer = build(&config, edge)?;
        let numbers = transactions::Numbers::new();
        let exactly_once = || Transactions::new(&config, edge, notes, most_in_flight, numbers);
        let transactions = config.exactly_once().then(exactly_once);
        let stopped = Halt::REASONS.map(|reason| table::gauge(&table::SHIPPING_STOPPED, &[reason]));
        stopped.iter().for_each(|gauge| gauge.set(0.0));
        let now = Instant::now();
        Ok(KafkaSink {
            config,
            edge: edge.to_owned(),
            source: format!("/waypost/{edge}"),
            producer: Some(producer),
            transactions,
            checkpoint_at: None,
            rebuild_at: now,
            rebuild_pause: REBUILD_EVERY.0,
            fatal_at: now,
            ask_fatal: false,
            halted: None,
            halted_at: None,
            stopped,
            value: Vec::with_capacity(16 << 10),
            taken: Vec::new(),
            time: Rfc3339::default(),
            builds: 1,
            rebuilds: table::counter(&table::KAFKA_PRODUCER_REBUILDS, &[]),
            clamped: table::counter(&table::CLICKS_TIMESTAMP_CLAMPED, &[]),
            statements: 0,
            statements_failed: 0,
            stated: ["delivered", "failed"].map(|result| table::counter(&table::LANE_STATEMENTS, &[result])),
        })
    }

    /// The name of a topic on the broker.
    pub(super) fn topic(&self, topic: Topic) -> &str {
        self.config.topics()[topic as usize]
    }

    #[cfg(test)]
    pub(super) fn builds(&self) -> u64 {
        self.builds
    }

    /// What the journal's checkpoint is to remember.
    pub(super) fn note(&self) -> SinkNote {
        self.transactions.as_ref().map_or([0; 64], Transactions::note)
    }

    /// Whether it is known where to go on from.
    pub(super) fn found(&self) -> bool {
        self.transactions.as_ref().is_none_or(Transactions::joined)
    }

    /// Whether records may be handed over.
    fn takes(&self) -> bool {
        self.producer.is_some() && self.transactions.as_ref().is_none_or(Transactions::takes)
    }

    /// Sees to it that a record is in a transaction, where there are any; not if the producer has failed.
    fn open(&mut self) -> bool {
        let (Some(transactions), Some(producer)) = (&mut self.transactions, &self.producer) else { return true };
        let opened = transactions.open(producer, Instant::now());
        self.ask_fatal |= opened.is_err();
        opened.is_ok()
    }

    /// The buffer for the next value, empty; `None` while there is no producer, or it takes none.
    pub(super) fn value(&mut self) -> Option<&mut Vec<u8>> {
        self.takes().then_some(())?;
        self.value.clear();
        Some(&mut self.value)
    }

    /// Hands the value to the producer, which copies it.
    pub(super) fn post(&mut self, letter: &Letter<'_>) -> Taken {
        if !self.open() {
            return Taken::Later;
        }
        let Some(producer) = &self.producer else { return Taken::Later };
        let now_ms = clock::wall_ms();
        let timestamp = clamped(letter.at_ms, now_ms, letter.clamps);
        if letter.clamps > 0 {
            self.clamped.increment(1);
        }
        let id = event::uuid_text(letter.id);
        let mut ints = itoa::Buffer::new();
        let kind = if letter.stub { "waypost.dead_lettered.v1" } else { "waypost.click.v1" };
        let headers = headers(kind, &self.source)
            .insert(Header { key: "ce_id", value: Some(&id) })
            .insert(Header { key: "ce_time", value: Some(self.time.of(letter.at_ms)) })
            .insert(Header { key: "schema-version", value: Some("1") })
            .insert(Header { key: "wp_shipped_at_ms", value: Some(ints.format(now_ms)) });
        let visitor = letter.visitor.map(event::visitor_text);
        let topic = self.config.topics()[letter.ticket.topic as usize];
        let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(topic, letter.ticket.pack())
            .payload(self.value.as_slice())
            .timestamp(timestamp as i64)
            .headers(headers);
        if let Some(visitor) = &visitor {
            record = record.key(visitor.as_slice());
        }
        match producer.send(record) {
            Ok(()) => Taken::Yes,
            Err((error, _)) if error.rdkafka_error_code() == Some(Code::QueueFull) => Taken::Later,
            Err((error, _)) => match Refusal::of(&error) {
                // It is not the click that failed: it waits until the producer, asked next, is another.
                Refusal::Fatal | Refusal::Fenced => {
                    self.ask_fatal = true;
                    Taken::Later
                }
                refusal => Taken::Refused(refusal),
            },
        }
    }

    /// Sends what a lane says of itself, its timestamp moved by so many steps.
    pub(super) fn state(&mut self, lane: u16, value: &[u8], at_ms: u64, clamps: u8) -> bool {
        if !self.takes() || !self.open() {
            return false;
        }
        let Some(producer) = &self.producer else { return false };
        let id = format!("{}/{lane}", self.edge);
        let headers = headers("waypost.lane.v1", &self.source);
        let record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&self.config.lanes, STATEMENT)
            .payload(value)
            .key(id.as_bytes())
            .timestamp(clamped(at_ms, at_ms, clamps) as i64)
            .headers(headers);
        let sent = producer.send(record).is_ok();
        self.statements += u64::from(sent);
        sent
    }

    /// Waits until what lanes said has arrived or failed, and is committed where that is asked for, until the deadline at most.
    pub(super) fn settle(&mut self, deadline: Instant, lanes: &dyn Fn() -> Lanes) {
        let mut words = Vec::new();
        while self.unstated().0 > 0 && self.producer.is_some() && Instant::now() < deadline {
            self.tend(Instant::now(), true, &mut words, lanes);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Statements of which nothing was heard yet, and those that failed since the start.
    pub(super) fn unstated(&self) -> (u64, u64) {
        let uncommitted = self.transactions.as_ref().is_some_and(Transactions::busy);
        (self.statements + u64::from(uncommitted), self.statements_failed)
    }

    /// Takes reports, goes on with the transaction, and builds the producer anew where it has failed for good. Gives where to go on
    /// from, once that is found; `lanes` says what will be committed once everything in flight is.
    pub(super) fn tend(
        &mut self,
        now: Instant,
        all: bool,
        words: &mut Vec<Word>,
        lanes: &dyn Fn() -> Lanes,
    ) -> Option<Lanes> {
        let fatal = self.take_reports(words);
        let asked = std::mem::take(&mut self.ask_fatal) || now.duration_since(self.fatal_at) >= FATAL_EVERY;
        if asked {
            self.fatal_at = now;
        }
        match (&self.producer, fatal) {
            (Some(_), Some(refusal)) => self.drop_producer(refusal, now, words),
            (Some(producer), None) if asked => {
                if let Some((code, why)) = producer.client().fatal_error() {
                    let class = Refusal::of_code(code);
                    let (fault, advice) = match &self.transactions {
                        // Not known yet to be another process.
                        Some(_) if class == Refusal::Fenced => {
                            (faults::PRODUCER_FAILED, transactions::FENCED.to_owned())
                        }
                        _ => (class.fault(), class.advice(self.topic(Topic::Clicks))),
                    };
                    let reason = class.as_str();
                    say!(error, fault, reason, "kafka: the producer has failed for good: {why}: {advice}");
                    let refusal = if class == Refusal::Fenced { Refusal::Fenced } else { Refusal::Fatal };
                    self.drop_producer(refusal, now, words);
                }
            }
            (Some(_), None) => return self.step(now, all, words, lanes),
            (None, _) => self.rebuild(now),
        }
        None
    }

    /// Goes on with the transaction.
    fn step(&mut self, now: Instant, all: bool, words: &mut Vec<Word>, lanes: &dyn Fn() -> Lanes) -> Option<Lanes> {
        let (Some(transactions), Some(producer)) = (&mut self.transactions, &self.producer) else { return None };
        let (topic, edge, source) = (&self.config.checkpoints, &self.edge, &self.source);
        let send = |value: &[u8]| {
            let record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(topic, CHECKPOINT)
                .partition(crate::kafka::CHECKPOINTS_PARTITION)
                .payload(value)
                .key(edge.as_bytes())
                .headers(headers("waypost.checkpoint.v1", source));
            producer.send(record).map_err(|(why, _)| why)
        };
        match transactions.step(producer, (now, all), lanes, send)? {
            Event::Found(lanes) => return Some(lanes),
            Event::Committed => {
                self.rebuild_pause = REBUILD_EVERY.0;
                // The report on the checkpoint came before the commit was through.
                self.take_reports(words);
                if let (Some(transactions), Some(offset)) = (&mut self.transactions, self.checkpoint_at.take()) {
                    transactions.committed_at(offset);
                }
                words.extend(Topic::ALL.map(|topic| Word::Every(topic, Ok(()))));
            }
            Event::Aborted => {
                // Whatever it held has been reported on: a ticket used again would hear of the time before.
                self.take_reports(words);
                self.checkpoint_at = None;
                words.extend(Topic::ALL.map(|topic| Word::Every(topic, Err(Refusal::Retriable))));
            }
            // Said with the reason, and the producer dropped, once it is asked.
            Event::Failed(Refusal::Fatal | Refusal::Fenced) if producer.client().fatal_error().is_some() => {
                self.ask_fatal = true;
            }
            Event::Failed(refusal) => self.drop_producer(refusal, now, words),
            Event::Taken(process) => self.halt(Halt::Fenced(process), words),
        }
        None
    }

    /// Stops shipping until the next start.
    pub(super) fn halt(&mut self, why: Halt, words: &mut Vec<Word>) {
        for (gauge, reason) in self.stopped.iter().zip(Halt::REASONS) {
            gauge.set(f64::from(u8::from(reason == why.reason())));
        }
        self.halted = Some(why);
        self.drop_producer(Refusal::Fenced, Instant::now(), words);
    }

    fn take_reports(&mut self, words: &mut Vec<Word>) -> Option<Refusal> {
        let producer = self.producer.as_ref()?;
        // A poll without a wait takes one report of one batch. Left lying, reports keep slots that new clicks then get one by
        // one, each its own batch with its own report: it stays so.
        loop {
            producer.poll(Duration::ZERO);
            let mut came = producer.context().came.lock().unwrap_or_else(PoisonError::into_inner);
            if came.is_empty() {
                break;
            }
            self.taken.append(&mut came);
        }
        if self.transactions.is_none() && self.taken.iter().any(|(_, result)| result.is_ok()) {
            self.rebuild_pause = REBUILD_EVERY.0;
        }
        let mut fatal = None;
        for (ticket, result) in self.taken.drain(..) {
            let refusal = result.err().map(Refusal::of_code);
            if let Some(refusal @ (Refusal::Fatal | Refusal::Fenced)) = refusal {
                fatal = Some(refusal);
            }
            if ticket == STATEMENT {
                self.statements = self.statements.saturating_sub(1);
                self.statements_failed += u64::from(refusal.is_some());
                self.stated[usize::from(refusal.is_some())].increment(1);
            }
            let Some(transactions) = &mut self.transactions else {
                if ticket != STATEMENT {
                    words.push(Word::One(Ticket::unpack(ticket), refusal.map_or(Ok(()), Err)));
                }
                continue;
            };
            match result {
                Ok(offset) if ticket == CHECKPOINT => self.checkpoint_at = Some(offset),
                // Delivered once it is committed.
                Ok(_) => {}
                // Taken out of the queue with the transaction.
                Err(Code::PurgeQueue | Code::PurgeInflight) => {}
                Err(_) => {
                    transactions.spoil();
                    if let (false, Some(refusal)) = (matches!(ticket, STATEMENT | CHECKPOINT), refusal) {
                        words.push(Word::One(Ticket::unpack(ticket), Err(refusal)));
                    }
                }
            }
        }
        fatal
    }

    fn drop_producer(&mut self, refusal: Refusal, now: Instant, words: &mut Vec<Word>) {
        // Its reports die with it: whatever it held is sent again, or was written and is then written twice.
        self.producer = None;
        self.statements = 0;
        self.checkpoint_at = None;
        words.extend(Topic::ALL.map(|topic| Word::Every(topic, Err(refusal))));
        match &mut self.transactions {
            Some(transactions) => transactions.begin_again(now, refusal == Refusal::Fenced),
            None if refusal == Refusal::Fenced => self.halted = Some(Halt::Fenced("unknown".to_owned())),
            None => {}
        }
        self.rebuild_at = now + self.rebuild_pause;
        self.rebuild_pause = (self.rebuild_pause * 2).min(REBUILD_EVERY.1);
    }

    fn rebuild(&mut self, now: Instant) {
        if let Some(halted) = &self.halted {
            if self.halted_at.is_none_or(|at| now.duration_since(at) >= HALTED_EVERY) {
                self.halted_at = Some(now);
                halted.say(&self.edge, &self.config.checkpoints);
            }
            return;
        }
        let at = self.rebuild_at;
        if now < at {
            return;
        }
        self.rebuild_at = now + REBUILD_EVERY.1;
        match build(&self.config, &self.edge) {
            Ok(producer) => {
                self.rebuilds.increment(1);
                self.builds += 1;
                say!(
                    warn,
                    faults::PRODUCER_REBUILT,
                    producers = self.builds,
                    "kafka: {}",
                    Refusal::Fatal.advice(self.topic(Topic::Clicks))
                );
                self.producer = Some(producer);
            }
            Err(why) => say!(error, faults::PRODUCER_NOT_BUILT, "{why}; tried again, clicks wait in the journal"),
        }
    }
}
