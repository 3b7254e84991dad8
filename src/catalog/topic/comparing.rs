//! The thread `wp-links-compare`: now and then it reads the topic from its beginning, slowly and by a client of its
//! own, and tells how the links that are served differ from those of an edge that starts anew.

use std::{
    io,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics::Gauge;

use super::{
    comparison::{Comparison, Divergence},
    consumer::{Isolation, Polled, TopicConsumer},
    state::TopicState,
};
use crate::{
    catalog::{CatalogHandle, store::StoreError},
    clock,
    faults::{self, log_fault},
    kafka::Config,
    lifecycle::StopSignal,
    metrics as table,
    word_enum::word_enum,
};

/// How long one wait may be, so that a stop is not late.
const POLL_TIME: Duration = Duration::from_millis(100);
/// The first comparison of a process comes at the latest after so long.
const FIRST_AFTER_AT_MOST: Duration = Duration::from_secs(3600);
/// Behind so many records the thread pauses: reading them all is no hurry, and the disk and the cores are the clicks'.
const RECORDS_BETWEEN_PAUSES: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(100);
/// A topic that gives nothing for so long is read again with the next comparison.
const SILENCE: Duration = Duration::from_secs(30);

word_enum! {
    /// How a link differs. The word is the label `kind` of a metric.
    enum DivergenceKind { OnlyHere = "only_here", NotHere = "not_here" }
}

/// What the thread is started with.
pub(super) struct ComparingInputs {
    pub(super) catalog: CatalogHandle,
    pub(super) kafka: Config,
    pub(super) edge: String,
    pub(super) topic: String,
    /// The time between two comparisons.
    pub(super) interval: Duration,
}

/// Starts the thread. It ends within a second of `stop`.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn_comparing_thread(inputs: ComparingInputs, stop: StopSignal) -> io::Result<JoinHandle<()>> {
    let thread = ComparingThread {
        diverged: DivergenceKind::ALL.map(|kind| table::gauge(&table::LINKS_TOPIC_DIVERGED, &[kind.as_str()])),
        compared: table::gauge(&table::LINKS_TOPIC_COMPARED, &[]),
        inputs,
        stop,
    };
    std::thread::Builder::new().name("wp-links-compare".to_owned()).spawn(move || thread.run())
}

struct ComparingThread {
    inputs: ComparingInputs,
    diverged: [Gauge; DivergenceKind::ALL.len()],
    compared: Gauge,
    stop: StopSignal,
}

/// Why there is no result.
enum Unfinished {
    /// The links are not those of the topic now, or the process stops.
    NotNow,
    Failed(String),
}

impl From<rusqlite::Error> for Unfinished {
    fn from(error: rusqlite::Error) -> Unfinished {
        Unfinished::Failed(error.to_string())
    }
}

impl From<StoreError> for Unfinished {
    fn from(error: StoreError) -> Unfinished {
        Unfinished::Failed(error.to_string())
    }
}

impl ComparingThread {
    fn run(&self) {
        let interval = self.inputs.interval;
        let mut next = Instant::now() + interval.min(FIRST_AFTER_AT_MOST);
        while !self.stop.is_set() {
            if Instant::now() < next {
                std::thread::sleep(POLL_TIME.min(interval));
                continue;
            }
            match self.compare() {
                Ok(divergence) => self.tell(&divergence),
                Err(Unfinished::NotNow) => {}
                Err(Unfinished::Failed(why)) => {
                    tracing::warn!(topic = self.inputs.topic, "the topic of links is not read again: {why}");
                }
            }
            next = Instant::now() + interval;
        }
    }

    fn compare(&self) -> Result<Divergence, Unfinished> {
        let ComparingInputs { catalog, kafka, edge, topic, .. } = &self.inputs;
        let reader = catalog.open_reader()?;
        let state = TopicState::read(&reader.0, topic)?.filter(|state| state.at_end_ms > 0);
        let Some(state) = state.filter(|_| !catalog.is_frozen()) else { return Err(Unfinished::NotNow) };
        let consumer = TopicConsumer::new(kafka, edge, topic, Isolation::ReadCommitted).map_err(Unfinished::Failed)?;
        consumer.read_from(None).map_err(Unfinished::Failed)?;
        let mut comparison = Comparison::new(state.next_offset);
        let (mut records, mut last_sign) = (0_u32, Instant::now());
        loop {
            if self.stop.is_set() {
                return Err(Unfinished::NotNow);
            }
            match consumer.poll(POLL_TIME) {
                Polled::Record(record) => {
                    comparison.add(&reader.0, &record)?;
                    (records, last_sign) = (records + 1, Instant::now());
                    if records.is_multiple_of(RECORDS_BETWEEN_PAUSES) {
                        std::thread::sleep(PAUSE);
                    }
                }
                Polled::End => break,
                Polled::Lost(why) => return Err(Unfinished::Failed(why)),
                Polled::Nothing if last_sign.elapsed() >= SILENCE => {
                    return Err(Unfinished::Failed(consumer.explain("the topic gives nothing")));
                }
                Polled::Nothing => {}
            }
        }
        let after = TopicState::read(&reader.0, topic)?;
        // The topic was made again meanwhile, or its records wait for the end of a freeze.
        let is_same = after.is_some_and(|after| after.generation == state.generation) && !catalog.is_frozen();
        if is_same { Ok(comparison.finish(&reader.0)?) } else { Err(Unfinished::NotNow) }
    }

    fn tell(&self, divergence: &Divergence) {
        let Divergence { only_here, not_here, examples } = divergence;
        self.diverged[DivergenceKind::OnlyHere as usize].set(*only_here as f64);
        self.diverged[DivergenceKind::NotHere as usize].set(*not_here as f64);
        self.compared.set(clock::wall_ms() as f64 / 1000.0);
        if only_here + not_here == 0 {
            return;
        }
        log_fault!(
            error,
            faults::LINKS_TOPIC_DIVERGED,
            topic = self.inputs.topic,
            only_here,
            not_here,
            links = examples.join(" "),
            "an edge that starts anew would have other links: {only_here} links of this edge have no good record in \
             the topic any more, and {not_here} records of the topic are not served here; write the links again"
        );
    }
}
