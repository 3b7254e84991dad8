//! Reads records and has them applied, in their order. What the catalog's file refuses is kept and applied once more.

use std::time::{Duration, Instant};

use super::{
    apply_records::{AppliedRecords, ReadPosition, apply_records},
    catalog_thread::run_on_catalog_thread,
    consumer::{Polled, TopicConsumer},
    measure::TopicMetrics,
    record::TopicRecord,
    state::TopicState,
};
use crate::{
    catalog::{CatalogError, CatalogHandle},
    clock,
    faults::{self, log_fault},
};

/// Records that are applied in one transaction.
const RECORDS_AT_ONCE: usize = 1_000;
/// Records that the catalog's file refuses and that are kept at most. Nothing more is read until it takes them.
const MAX_REFUSED_BY_FILE: usize = 100_000;
/// Records that the catalog's file refuses are offered to it again after so long, or with the next ones.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The time between two lines of the log about skipped records.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// What a reading step gave.
pub(super) enum ReadStep {
    /// Records, which are applied.
    Records,
    /// The end; everything before it is applied.
    End,
    Nothing,
    /// The topic has to be checked.
    Lost(String),
}

/// The topic as far as it is read.
pub(super) struct TopicReading {
    pub(super) catalog: CatalogHandle,
    pub(super) consumer: TopicConsumer,
    pub(super) state: TopicState,
    pub(super) metrics: TopicMetrics,
    /// Records that are read and not kept yet.
    waiting: Vec<TopicRecord>,
    /// The offsets of records that were skipped, while a writer looks for its own.
    pub(super) skipped_offsets: Vec<u64>,
    rejection_logged: Option<Instant>,
    store_error_logged: Option<Instant>,
    /// When the catalog's file has refused the records that wait.
    refused_by_file: Option<Instant>,
}

impl TopicReading {
    pub(super) fn new(catalog: CatalogHandle, consumer: TopicConsumer, state: TopicState) -> TopicReading {
        TopicReading {
            catalog,
            consumer,
            state,
            metrics: TopicMetrics::register(),
            waiting: Vec::new(),
            skipped_offsets: Vec::new(),
            rejection_logged: None,
            store_error_logged: None,
            refused_by_file: None,
        }
    }

    /// Reads from the place up to which the topic is read. What waits is read again.
    pub(super) fn read_on(&mut self) -> Result<(), String> {
        self.waiting.clear();
        self.refused_by_file = None;
        // The first record that there is, if none was read.
        let offset = Some(self.state.next_offset).filter(|offset| *offset > 0);
        self.consumer.read_from(offset)
    }

    /// Takes the records that are there, after a wait of at most `wait` for the first.
    pub(super) fn take_records(&mut self, wait: Duration) -> (Vec<TopicRecord>, ReadStep) {
        let mut records = Vec::new();
        let mut wait = wait;
        while records.len() < RECORDS_AT_ONCE {
            match self.consumer.poll(wait) {
                Polled::Record(record) => records.push(record),
                Polled::End => return (records, ReadStep::End),
                Polled::Lost(why) => return (records, ReadStep::Lost(why)),
                Polled::Nothing => break,
            }
            wait = Duration::ZERO;
        }
        let step = if records.is_empty() { ReadStep::Nothing } else { ReadStep::Records };
        (records, step)
    }

    /// Reads and applies records.
    ///
    /// # Errors
    /// The process stops.
    pub(super) fn read_and_apply(&mut self, wait: Duration) -> Result<ReadStep, CatalogError> {
        let before = self.waiting.len();
        let step = if before < MAX_REFUSED_BY_FILE {
            let (records, step) = self.take_records(wait);
            self.waiting.extend(records);
            step
        } else {
            std::thread::sleep(wait);
            ReadStep::Nothing
        };
        let was_refused_now = self.refused_by_file.is_some_and(|at| at.elapsed() < RETRY_INTERVAL);
        if was_refused_now && self.waiting.len() == before {
            // They are served already.
            return Ok(if matches!(step, ReadStep::Lost(_)) { step } else { ReadStep::Nothing });
        }
        if !self.waiting.is_empty() && !self.apply_waiting()? {
            return Ok(if matches!(step, ReadStep::Lost(_)) { step } else { ReadStep::Nothing });
        }
        Ok(step)
    }

    /// Applies what waits. Returns whether the catalog's file has taken it.
    fn apply_waiting(&mut self) -> Result<bool, CatalogError> {
        let (records, state) = (std::mem::take(&mut self.waiting), self.state.clone());
        let applied = run_on_catalog_thread(&self.catalog, move |writer| {
            let applied = apply_records(writer, state, &records, ReadPosition::Advances);
            Ok((applied.map_err(|error| error.to_string()), records))
        });
        let (applied, records) = applied?;
        let store_error = match applied {
            Ok(applied) if applied.store_error.is_none() => {
                self.finish_applied(applied);
                self.refused_by_file = None;
                return Ok(true);
            }
            Ok(applied) => applied.store_error.unwrap_or_default(),
            Err(error) => error,
        };
        self.waiting = records;
        self.refused_by_file = Some(Instant::now());
        if self.store_error_logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.store_error_logged = Some(Instant::now());
            log_fault!(
                error,
                faults::CATALOG_FAILING,
                "links of the topic are served and cannot be kept for the next start: {store_error}"
            );
        }
        Ok(false)
    }

    /// Counts and logs what became of records, and goes on behind them.
    pub(super) fn finish_applied(&mut self, applied: AppliedRecords) {
        let was_at_end_a_moment_ago = clock::wall_ms().saturating_sub(self.state.at_end_ms) < 60_000;
        self.metrics.count(&applied, was_at_end_a_moment_ago);
        self.log_rejections(&applied);
        self.skipped_offsets.extend(applied.rejections.iter().map(|(offset, _)| *offset));
        self.state = applied.state;
        self.metrics.show(&self.state);
    }

    fn log_rejections(&mut self, applied: &AppliedRecords) {
        let Some((offset, reason)) = applied.rejections.last() else { return };
        if self.rejection_logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        self.rejection_logged = Some(Instant::now());
        log_fault!(
            error,
            faults::LINKS_TOPIC_REJECTED,
            topic = self.state.topic,
            offset,
            reason = reason.as_str(),
            records = applied.rejections.len(),
            "records of the topic break rules and are skipped; the good links before them stay; GET /v1/rejected lists \
             them"
        );
    }

    /// Reads until the end of this moment.
    ///
    /// # Errors
    /// The end is not reached in time.
    pub(super) fn read_to_end(&mut self, deadline: Instant) -> Result<(), String> {
        self.read_on()?;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            match self.read_and_apply(wait).map_err(|error| error.to_string())? {
                ReadStep::End => return Ok(()),
                ReadStep::Lost(why) => return Err(why),
                ReadStep::Records | ReadStep::Nothing if Instant::now() >= deadline => {
                    return Err(self.consumer.explain("the topic cannot be read to its end in time"));
                }
                ReadStep::Records | ReadStep::Nothing => {}
            }
        }
    }

    /// Reads until the record of this offset is applied.
    ///
    /// # Errors
    /// It is not in time.
    pub(super) fn read_up_to(&mut self, offset: u64, deadline: Instant) -> Result<(), String> {
        while self.state.next_offset <= offset {
            if Instant::now() >= deadline {
                return Err("an open transaction of another program holds it back, or Kafka is away".to_owned());
            }
            if let ReadStep::Lost(why) =
                self.read_and_apply(Duration::from_millis(20)).map_err(|error| error.to_string())?
            {
                return Err(why);
            }
        }
        Ok(())
    }
}
