//! Carries out requests to change links: takes the place of the writer, reads to the end, checks, commits, and waits
//! until this edge has read what it wrote.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::{
    catalog_thread::run_on_catalog_thread,
    plan::{WritePlan, plan_domain_change, plan_writes},
    producer::{TopicProducer, WriteFailure},
    reading::{ReadStep, TopicReading},
};
use crate::{
    catalog::{
        change::{Write, WriteReport},
        domain_change::{DomainChange, DomainReply},
        error::CatalogError,
        writer::{CatalogWriter, Reply, TopicWrite},
    },
    faults::{self, log_fault},
    metrics as table,
    word_enum::word_enum,
};

/// How long a write that is fenced again and again is tried, and how often at least: one attempt of a large write can
/// take as long.
const FENCED_TIME: Duration = Duration::from_secs(5);
const MIN_ATTEMPTS: u32 = 5;
/// The same for several rows at once: they take longer than a turn on a busy machine, and whoever sent a bulk cannot
/// repeat the rest of it alone.
const FENCED_TIME_OF_MANY_ROWS: Duration = Duration::from_secs(60);
/// How long a fenced writer waits at most for the change of the writer that took its place.
const TURN_TIME: Duration = Duration::from_secs(1);
/// How long one wait for records may be meanwhile.
const TURN_POLL_TIME: Duration = Duration::from_millis(20);
/// How long reading to the end may take.
const READ_TIME: Duration = Duration::from_secs(10);
/// Rows of requests that share a transaction. One atomic request can have more.
const ROWS_AT_ONCE: usize = 1_000;

word_enum! {
    /// How a transaction ended. The word is the label `result` of a metric.
    enum WriteResult { Committed = "committed", Fenced = "fenced", Failed = "failed" }
}

type Report = Result<WriteReport, CatalogError>;

/// Writes to the topic for the requests of this edge.
pub(super) struct TopicWriting {
    requests: mpsc::Receiver<TopicWrite>,
    /// A request that did not fit into a transaction.
    next: Option<TopicWrite>,
    producer: TopicProducer,
    /// The offset behind this edge's last change, or behind that of another one after which this edge took a turn.
    /// `None`: this process has not written.
    turn_offset: Option<u64>,
    results: [::metrics::Counter; WriteResult::ALL.len()],
}

impl TopicWriting {
    pub(super) fn new(requests: mpsc::Receiver<TopicWrite>, producer: TopicProducer) -> TopicWriting {
        let counter = |result: WriteResult| table::counter(&table::LINKS_TOPIC_WRITES, &[result.as_str()]);
        let results = WriteResult::ALL.map(counter);
        TopicWriting { requests, next: None, producer, turn_offset: None, results }
    }

    /// Refuses the requests that wait.
    pub(super) fn refuse_waiting(&mut self, why: &str) {
        for request in self.next.take().into_iter().chain(self.requests.try_iter()) {
            let error = CatalogError::TopicUnavailable(why.to_owned());
            // An error: who asked has gone.
            match request {
                TopicWrite::Write(_, reply) => drop(reply.send(Err(error))),
                TopicWrite::ChangeDomain(_, reply) => drop(reply.send(Err(error.into()))),
            }
        }
    }

    /// Carries out the requests that wait, as far as they fit into one transaction.
    pub(super) fn write_waiting(&mut self, reading: &mut TopicReading) {
        self.producer.prepare_standby();
        let waiting = match self.take_waiting() {
            Waiting::Domain(change, reply) => return self.write_domain(reading, change, reply),
            Waiting::Writes(waiting) if waiting.is_empty() => return,
            Waiting::Writes(waiting) => waiting,
        };
        let (writes, replies): (Vec<Write>, Vec<Reply>) = waiting.into_iter().unzip();
        let count = replies.len();
        let has_many_rows = |write: &Write| matches!(write, Write::Batch(batch) if batch.rows.len() > 1);
        let fenced_time = if writes.iter().any(has_many_rows) { FENCED_TIME_OF_MANY_ROWS } else { FENCED_TIME };
        let plan = self.plan_and_commit(reading, fenced_time, move |writer| plan_writes(writer, &writes));
        let reports = plan.map_or_else(|error| repeat_error(&error, count), WritePlan::into_reports);
        for (reply, report) in replies.into_iter().zip(reports) {
            // An error: who asked has gone.
            let _ = reply.send(report);
        }
    }

    fn write_domain(&mut self, reading: &mut TopicReading, change: Box<DomainChange>, reply: DomainReply) {
        let plan = move |writer: &mut CatalogWriter| Ok(plan_domain_change(writer, &change));
        let plan = self.plan_and_commit(reading, FENCED_TIME, plan);
        // An error: who asked has gone.
        let _ = reply.send(plan.map_err(Into::into).and_then(WritePlan::into_report));
    }

    fn take_waiting(&mut self) -> Waiting {
        let mut waiting = Vec::new();
        let mut rows = 0;
        while let Some(request) = self.next.take().or_else(|| self.requests.try_recv().ok()) {
            let (write, reply) = match request {
                TopicWrite::ChangeDomain(change, reply) if waiting.is_empty() => return Waiting::Domain(change, reply),
                TopicWrite::ChangeDomain(..) => {
                    self.next = Some(request);
                    break;
                }
                TopicWrite::Write(write, reply) => (write, reply),
            };
            rows += match &write {
                Write::Batch(batch) => batch.rows.len(),
                _ => 1,
            };
            if rows > ROWS_AT_ONCE && !waiting.is_empty() {
                self.next = Some(TopicWrite::Write(write, reply));
                break;
            }
            waiting.push((write, reply));
        }
        Waiting::Writes(waiting)
    }

    /// Plans a write behind the end of the topic and commits it, again while another writer takes the place. Writers
    /// take turns, so that a small change on one edge gets between two parts of a large one on another.
    fn plan_and_commit<R: Send + 'static>(
        &mut self,
        reading: &mut TopicReading,
        fenced_time: Duration,
        plan: impl Fn(&mut CatalogWriter) -> rusqlite::Result<WritePlan<R>> + Send + Sync + 'static,
    ) -> Result<WritePlan<R>, CatalogError> {
        let plan = Arc::new(plan);
        let deadline = Instant::now() + fenced_time;
        let mut attempts = 0;
        while attempts < MIN_ATTEMPTS || Instant::now() < deadline {
            attempts += 1;
            let failed = match self.try_plan_and_commit(reading, plan.clone()) {
                Ok(plan) => {
                    self.turn_offset = Some(reading.state.next_offset);
                    return Ok(plan);
                }
                Err(AttemptError::Fenced) => {
                    self.results[WriteResult::Fenced as usize].increment(1);
                    self.wait_for_turn(reading)
                }
                Err(AttemptError::Catalog(error)) => Err(error),
            };
            if let Err(error) = failed {
                self.results[WriteResult::Failed as usize].increment(1);
                return Err(error);
            }
        }
        log_fault!(
            warn,
            faults::LINKS_TOPIC_FENCED,
            topic = reading.state.topic,
            "another edge writes to the topic of links and took this edge's place {attempts} times; send changes to \
             one edge"
        );
        Err(CatalogError::WriterFenced { attempts })
    }

    /// Waits until the writer that took this one's place has written: else each would fence the other before it has,
    /// without end.
    fn wait_for_turn(&mut self, reading: &mut TopicReading) -> Result<(), CatalogError> {
        let before = self.turn_offset.unwrap_or(reading.state.next_offset);
        let deadline = Instant::now() + TURN_TIME;
        while reading.state.next_offset <= before && Instant::now() < deadline {
            if let ReadStep::Lost(why) = reading.read_and_apply(TURN_POLL_TIME)? {
                return Err(CatalogError::TopicUnavailable(why));
            }
        }
        self.turn_offset = Some(reading.state.next_offset);
        Ok(())
    }

    fn try_plan_and_commit<R: Send + 'static>(
        &mut self,
        reading: &mut TopicReading,
        plan: Arc<impl Fn(&mut CatalogWriter) -> rusqlite::Result<WritePlan<R>> + Send + Sync + 'static>,
    ) -> Result<WritePlan<R>, AttemptError> {
        if self.producer.has_place() {
            read_to_end(reading)?;
            if self.turn_offset.is_some_and(|own| reading.state.next_offset > own) {
                // Somebody has written behind this edge's turn, and no edge writes without taking the place.
                self.producer.give_up_place();
            }
        }
        if !self.producer.has_place() {
            self.producer.take_place()?;
            // What the writer before has written is checked against, and nothing of it comes later.
            read_to_end(reading)?;
        }
        let mut plan = run_on_catalog_thread(&reading.catalog, move |writer| plan(writer))?;
        if plan.records.is_empty() {
            return Ok(plan);
        }
        reading.skipped_offsets.clear();
        let offsets = self.producer.commit(&plan.records)?;
        self.results[WriteResult::Committed as usize].increment(1);
        let last = offsets.iter().copied().max().unwrap_or(0);
        let read = reading.read_up_to(last, Instant::now() + READ_TIME);
        read.map_err(|why| CatalogError::NotServedYet { offset: last, why })?;
        if let Some(offset) = offsets.iter().find(|offset| reading.skipped_offsets.contains(offset)) {
            let told = format!("another program wrote between, and the change at offset {offset} broke a rule then");
            return Err(CatalogError::TopicUnavailable(told).into());
        }
        plan.offsets = offsets;
        Ok(plan)
    }
}

fn read_to_end(reading: &mut TopicReading) -> Result<(), CatalogError> {
    reading.read_to_end(Instant::now() + READ_TIME).map_err(CatalogError::TopicUnavailable)
}

/// What is carried out next.
enum Waiting {
    /// Writes that share a transaction.
    Writes(Vec<(Write, Reply)>),
    /// A change of a domain, which is a transaction of its own: the rules of later writes depend on it.
    Domain(Box<DomainChange>, DomainReply),
}

/// Why an attempt to write failed.
enum AttemptError {
    /// Another writer has taken the place.
    Fenced,
    Catalog(CatalogError),
}

impl From<CatalogError> for AttemptError {
    fn from(error: CatalogError) -> AttemptError {
        AttemptError::Catalog(error)
    }
}

impl From<WriteFailure> for AttemptError {
    fn from(failure: WriteFailure) -> AttemptError {
        match failure {
            WriteFailure::Fenced => AttemptError::Fenced,
            WriteFailure::NotWritten(why) => CatalogError::TopicUnavailable(why).into(),
            WriteFailure::Unknown(why) => {
                let told = format!("it is not known whether the change was written, so read it again: {why}");
                CatalogError::TopicUnavailable(told).into()
            }
        }
    }
}

/// The same error for each request.
fn repeat_error(error: &CatalogError, count: usize) -> Vec<Report> {
    let again = || match error {
        CatalogError::WriterFenced { attempts } => CatalogError::WriterFenced { attempts: *attempts },
        CatalogError::TopicUnavailable(why) => CatalogError::TopicUnavailable(why.clone()),
        CatalogError::NotServedYet { offset, why } => CatalogError::NotServedYet { offset: *offset, why: why.clone() },
        CatalogError::Stopped => CatalogError::Stopped,
        other => CatalogError::StoreFailed(other.to_string()),
    };
    (0..count).map(|_| Err(again())).collect()
}
