//! The Kafka sink: one idempotent producer, `acks=all`, delivered = its delivery report says so.
//!
//! Key = the visitor's id as text, null without one (an empty key would be one hot partition); record timestamp = the click's
//! time, so that a replay keeps it; headers = CloudEvents in binary mode, the schema's version and the time of sending, which the
//! value must not hold. A fatal error drops the producer and everything in its queue; the shipper reads it from the journal again.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::Counter;
use rdkafka::{
    ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode as Code,
};

use super::{
    event,
    letter::{Letter, Taken, Ticket, Word},
};
use crate::{
    clock,
    faults::{self, say},
    kafka::{Config, Observer, Refusal},
    metrics as table,
    model::click::Topic,
};

/// Between two producers, doubled from the first to the last as long as none delivers anything: one that may not write at all
/// fails for good as soon as it asks for its id.
const REBUILD_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How often a producer is asked whether it has failed for good; a report usually says so sooner.
const FATAL_EVERY: Duration = Duration::from_millis(500);
/// How often it is said that another process took our place.
const FENCED_EVERY: Duration = Duration::from_secs(30);

/// In place of a ticket: what a lane says of itself. No lane has a number that high.
const STATEMENT: usize = usize::MAX;

/// Hears what became of records; [`KafkaSink::tend`] takes it away.
struct Reports {
    observer: Observer,
    came: Mutex<Vec<(usize, Option<Code>)>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.observer.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let refused = match result {
            Ok(_) => None,
            Err((error, _)) => Some(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        self.came.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, refused));
    }
}

/// The producer and what a record needs.
pub(super) struct KafkaSink {
    config: Config,
    edge: String,
    source: String,
    producer: Option<BaseProducer<Reports>>,
    /// A producer may be built again from here on; `None` once another process took our place.
    rebuild_at: Option<Instant>,
    rebuild_pause: Duration,
    fatal_at: Instant,
    /// The producer took nothing: it is to be asked now.
    ask_fatal: bool,
    fenced_at: Option<Instant>,
    value: Vec<u8>,
    taken: Vec<(usize, Option<Code>)>,
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

/// No producer could be built.
#[derive(Debug, thiserror::Error)]
#[error("no Kafka producer: {0}")]
pub struct ProducerError(String);

impl KafkaSink {
    /// Builds the producer; connects to nothing yet, so a broker that is away is no error.
    ///
    /// # Errors
    /// The settings do not make a producer, or a file that they name cannot be read.
    pub(super) fn new(config: Config, edge: &str) -> Result<KafkaSink, ProducerError> {
        let producer = build(&config, edge)?;
        let now = Instant::now();
        Ok(KafkaSink {
            config,
            edge: edge.to_owned(),
            source: format!("/waypost/{edge}"),
            producer: Some(producer),
            rebuild_at: Some(now),
            rebuild_pause: REBUILD_EVERY.0,
            fatal_at: now,
            ask_fatal: false,
            fenced_at: None,
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

    /// The buffer for the next value, empty; `None` without a producer.
    pub(super) fn value(&mut self) -> Option<&mut Vec<u8>> {
        self.producer.as_ref()?;
        self.value.clear();
        Some(&mut self.value)
    }

    /// Hands the value to the producer, which copies it.
    pub(super) fn post(&mut self, letter: &Letter<'_>) -> Taken {
        let Some(producer) = &self.producer else { return Taken::Later };
        let now_ms = clock::wall_ms();
        let timestamp = clamped(letter.at_ms, now_ms, letter.clamps);
        if letter.clamps > 0 {
            self.clamped.increment(1);
        }
        let id = event::uuid_text(letter.id);
        let mut ints = itoa::Buffer::new();
        let kind = if letter.stub { "waypost.dead_lettered.v1" } else { "waypost.click.v1" };
        let headers = OwnedHeaders::new_with_capacity(8)
            .insert(Header { key: "content-type", value: Some("application/json") })
            .insert(Header { key: "ce_specversion", value: Some("1.0") })
            .insert(Header { key: "ce_type", value: Some(kind) })
            .insert(Header { key: "ce_source", value: Some(self.source.as_str()) })
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

    /// Sends what a lane says of itself.
    pub(super) fn state(&mut self, lane: u16, value: &[u8], at_ms: u64) -> bool {
        let Some(producer) = &self.producer else { return false };
        let id = format!("{}/{lane}", self.edge);
        let headers = OwnedHeaders::new_with_capacity(4)
            .insert(Header { key: "content-type", value: Some("application/json") })
            .insert(Header { key: "ce_specversion", value: Some("1.0") })
            .insert(Header { key: "ce_type", value: Some("waypost.lane.v1") })
            .insert(Header { key: "ce_source", value: Some(self.source.as_str()) });
        let record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&self.config.lanes, STATEMENT)
            .payload(value)
            .key(id.as_bytes())
            .timestamp(at_ms as i64)
            .headers(headers);
        let sent = producer.send(record).is_ok();
        self.statements += u64::from(sent);
        sent
    }

    /// Waits until what lanes said has arrived or failed, until the deadline at most.
    pub(super) fn settle(&mut self, deadline: Instant) {
        let mut words = Vec::new();
        while self.statements > 0 && self.producer.is_some() && Instant::now() < deadline {
            self.take_reports(&mut words);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Statements of which nothing was heard yet, and those that failed since the start.
    pub(super) fn unstated(&self) -> (u64, u64) {
        (self.statements, self.statements_failed)
    }

    /// Takes reports, and builds the producer anew where it has failed for good.
    pub(super) fn tend(&mut self, now: Instant, words: &mut Vec<Word>) {
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
                    let advice = class.advice(self.topic(Topic::Clicks));
                    say!(
                        error,
                        class.fault(),
                        reason = class.as_str(),
                        "kafka: the producer has failed for good: {why}: {advice}"
                    );
                    let refusal = if class == Refusal::Fenced { Refusal::Fenced } else { Refusal::Fatal };
                    self.drop_producer(refusal, now, words);
                }
            }
            (Some(_), None) => {}
            (None, _) => self.rebuild(now),
        }
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
        if self.taken.iter().any(|(_, refused)| refused.is_none()) {
            self.rebuild_pause = REBUILD_EVERY.0;
        }
        let mut fatal = None;
        for (ticket, refused) in self.taken.drain(..) {
            let refusal = refused.map(Refusal::of_code);
            if ticket == STATEMENT {
                self.statements = self.statements.saturating_sub(1);
                self.statements_failed += u64::from(refusal.is_some());
                self.stated[usize::from(refusal.is_some())].increment(1);
                continue;
            }
            if let Some(refusal @ (Refusal::Fatal | Refusal::Fenced)) = refusal {
                fatal = Some(refusal);
            }
            words.push(Word::One(Ticket::unpack(ticket), refusal.map_or(Ok(()), Err)));
        }
        fatal
    }

    fn drop_producer(&mut self, refusal: Refusal, now: Instant, words: &mut Vec<Word>) {
        // Its reports die with it: whatever it held is sent again, or was written and is then written twice.
        self.producer = None;
        self.statements = 0;
        words.extend(Topic::ALL.map(|topic| Word::Every(topic, Err(refusal))));
        self.rebuild_at = (refusal != Refusal::Fenced).then(|| now + self.rebuild_pause);
        self.rebuild_pause = (self.rebuild_pause * 2).min(REBUILD_EVERY.1);
    }

    fn rebuild(&mut self, now: Instant) {
        let Some(at) = self.rebuild_at else {
            if self.fenced_at.is_none_or(|at| now.duration_since(at) >= FENCED_EVERY) {
                self.fenced_at = Some(now);
                say!(
                    error,
                    faults::PRODUCER_FENCED,
                    "kafka: shipping has stopped: {}",
                    Refusal::Fenced.advice(self.topic(Topic::Clicks))
                );
            }
            return;
        };
        if now < at {
            return;
        }
        self.rebuild_at = Some(now + REBUILD_EVERY.1);
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

fn build(config: &Config, edge: &str) -> Result<BaseProducer<Reports>, ProducerError> {
    let reports = Reports { observer: Observer::new(), came: Mutex::default() };
    let settings = config.producer(edge).map_err(ProducerError)?;
    BaseProducer::from_config_and_context(&settings, reports).map_err(|why| ProducerError(why.to_string()))
}

/// The record's timestamp after so many refusals of it. One in the past is refused for its age: now passes. One of a clock that
/// runs ahead is refused for being ahead of the broker's, by an amount nobody here knows: an hour less, then two, four…
fn clamped(at_ms: u64, now_ms: u64, refusals: u8) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    match refusals {
        0 => at_ms,
        1 if at_ms.saturating_add(HOUR_MS) < now_ms => now_ms,
        n => at_ms.min(now_ms).saturating_sub(HOUR_MS << (n - 1).min(16)),
    }
}

/// Times as text; all but the milliseconds is kept from one click to the next.
#[derive(Default)]
struct Rfc3339 {
    second: u64,
    text: Vec<u8>,
}

impl Rfc3339 {
    fn of(&mut self, at_ms: u64) -> &[u8] {
        if self.second != at_ms / 1000 || self.text.is_empty() {
            self.second = at_ms / 1000;
            self.text.clear();
            let second = jiff::Timestamp::from_second(self.second as i64).unwrap_or_default();
            // Writing into a Vec cannot fail.
            let _ = write!(self.text, "{second}");
            self.text.pop();
            self.text.extend_from_slice(b".000Z");
        }
        let (ms, len) = (at_ms % 1000, self.text.len());
        for (place, digit) in [(4, ms / 100), (3, ms / 10 % 10), (2, ms % 10)] {
            self.text[len - place] = b'0' + digit as u8;
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let mut time = Rfc3339::default();
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_000_000_007, "2026-11-18T11:06:40.007Z"),
            (1_795_000_000_999, "2026-11-18T11:06:40.999Z"),
            (1_795_000_001_000, "2026-11-18T11:06:41.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(time.of(ms)).unwrap(), text);
        }
    }

    #[test]
    fn a_refused_timestamp_moves_to_now_from_the_past_and_back_from_the_future() {
        const HOUR: u64 = 3_600_000;
        let now = 1_000 * HOUR;
        assert_eq!(clamped(now + 5, now, 0), now + 5);
        assert_eq!(clamped(now - 500 * HOUR, now, 1), now);
        assert_eq!(clamped(now, now, 1), now - HOUR);
        assert_eq!(clamped(now, now, 3), now - 4 * HOUR);
        assert_eq!(clamped(now, now, 200), 0);
    }
}
