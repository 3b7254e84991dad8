//! The thread `wp-links-topic`: checks the topic, reads it, and carries out the requests of this edge in between.

use std::{
    io,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    catalog_thread::run_on_catalog_thread,
    comparing::{ComparingInputs, spawn_comparing_thread},
    consumer::{Isolation, TopicConsumer},
    generation::{RereadReason, TopicCheck, check_topic},
    health::{TopicConditions, TopicHealth},
    open_transactions::OpenTransactionWatch,
    producer::TopicProducer,
    reading::{ReadStep, TopicReading},
    rejected,
    rereading::{RereadStep, Rereading},
    state::TopicState,
    tables::create_missing_tables,
    write::TopicWriting,
};
use crate::{
    catalog::{CatalogError, CatalogHandle, domain_rows::DomainRow, store::Meta, writer::TopicWrite},
    clock,
    faults::{self, log_fault},
    kafka::{Config, TopicAdmin, TopicState as DescribedTopic},
    lifecycle::StopSignal,
};

/// How long one wait for records may be: requests wait as long.
const POLL_TIME: Duration = Duration::from_millis(10);
/// A topic that gives nothing is asked for its end so often.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is checked whether the topic is still the same.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a topic is checked that always gives something.
const CHECK_INTERVAL_AT_MOST: Duration = Duration::from_secs(60);
/// The time between two attempts to reach the topic.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The time between two lines of the log about a topic that cannot be read.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How long tombstones stay if the topic does not tell: Kafka's default.
const DEFAULT_DELETE_RETENTION_MS: u64 = 24 * 60 * 60 * 1000;
/// An edge that has not seen the end for so long asks how long tombstones stay.
const ASK_RETENTION_AFTER_MS: u64 = 60_000;
/// How often the time at which the end was seen is written.
const END_WRITE_INTERVAL_MS: u64 = 30_000;

/// What the thread is started with.
pub struct TopicInputs {
    /// The brokers.
    pub kafka: Config,
    /// The name of this edge.
    pub edge: String,
    /// The topic of links.
    pub topic: String,
    /// The topic of its audit.
    pub audit_topic: String,
    /// Whether a topic that is read anew may lack any number of links.
    pub allow_shrink: bool,
    /// How often the topic is read once more, to compare it with the links that are served.
    pub compare_interval: Duration,
    /// Set by the thread.
    pub conditions: TopicConditions,
    /// The requests to change links.
    pub requests: mpsc::Receiver<TopicWrite>,
}

/// Starts the thread. It ends within seconds of `stop`.
///
/// # Errors
/// The client's settings cannot be used, or the system gives no thread.
pub fn spawn_topic_thread(catalog: CatalogHandle, inputs: TopicInputs, stop: StopSignal) -> io::Result<JoinHandle<()>> {
    let TopicInputs { kafka, edge, topic, audit_topic, allow_shrink, compare_interval, conditions, requests } = inputs;
    let consumer = TopicConsumer::new(&kafka, &edge, &topic, Isolation::ReadCommitted).map_err(io::Error::other)?;
    let open_transactions = OpenTransactionWatch::new(&kafka, &edge, &topic).map_err(io::Error::other)?;
    let producer = TopicProducer::new(&kafka, &edge, &topic, &audit_topic);
    let writing = TopicWriting::new(requests, producer);
    let comparing = ComparingInputs {
        catalog: catalog.clone(),
        kafka: kafka.clone(),
        edge: edge.clone(),
        topic: topic.clone(),
        interval: compare_interval,
    };
    let comparing = spawn_comparing_thread(comparing, stop.clone())?;
    std::thread::Builder::new().name("wp-links-topic".to_owned()).spawn(move || {
        let loaded = match load_state(&catalog, &topic) {
            Ok(loaded) => loaded,
            Err(error) => {
                log_fault!(error, faults::CATALOG_FAILING, "the topic of links is not read: {error}; restart");
                return;
            }
        };
        let LoadedState { state, has_last_good, must_read_anew, rejected_kept } = loaded;
        let reading = TopicReading::new(catalog, consumer, state);
        reading.metrics.show(&reading.state);
        reading.metrics.show_rejected(rejected_kept);
        let phase = TopicPhase::Checking;
        let health = TopicHealth::new(conditions, has_last_good);
        let mut thread = TopicThread {
            kafka,
            edge,
            reading,
            writing,
            open_transactions,
            health,
            phase,
            must_read_anew,
            allow_shrink,
            last_sign: Instant::now(),
            checked: Instant::now(),
            end_written_ms: 0,
            trouble_logged: None,
        };
        thread.run_until(&stop);
        // A panic there is told by itself.
        let _ = comparing.join();
    })
}

/// What the run before has left.
struct LoadedState {
    state: TopicState,
    has_last_good: bool,
    must_read_anew: Option<RereadReason>,
    /// Skipped records that are listed.
    rejected_kept: u64,
}

/// Reads what the run before has left, after the catalog's table was made.
fn load_state(catalog: &CatalogHandle, topic: &str) -> Result<LoadedState, CatalogError> {
    let topic = topic.to_owned();
    run_on_catalog_thread(catalog, move |writer| {
        let connection = &writer.store.connection;
        create_missing_tables(connection)?;
        let known = TopicState::read(connection, &topic)?;
        let has_links = !writer.table.is_empty();
        let rules_fingerprint = Meta::ReadyFingerprint.read(connection)?.unwrap_or_default();
        let are_rules_changed = known.as_ref().is_some_and(|state| state.rules_fingerprint != rules_fingerprint);
        let rejected_kept = rejected::count(connection)?;
        // Domains without a record are removed at the end of such a reading.
        let has_domains = !DomainRow::list(connection)?.is_empty();
        let must_read_anew = match &known {
            None => (has_links || has_domains).then_some(RereadReason::FirstRead),
            Some(_) if are_rules_changed && rejected_kept > 0 => Some(RereadReason::RulesChanged),
            Some(_) => None,
        };
        // Without an end, links are missing that the first reading has not reached.
        let has_last_good = has_links && known.as_ref().is_none_or(|state| state.at_end_ms > 0);
        let state = known.unwrap_or_else(|| TopicState::beginning_of(&topic));
        let state = TopicState { rules_fingerprint, ..state };
        Ok(LoadedState { state, has_last_good, must_read_anew, rejected_kept })
    })
}

/// What the thread does.
enum TopicPhase {
    /// Finds out whether the topic is the one that was read before.
    Checking,
    /// Reads on.
    Streaming,
    /// Reads from the beginning into a table aside.
    Rereading(Rereading),
}

struct TopicThread {
    kafka: Config,
    edge: String,
    reading: TopicReading,
    writing: TopicWriting,
    open_transactions: OpenTransactionWatch,
    health: TopicHealth,
    phase: TopicPhase,
    /// Why the topic cannot be read on, although it may be the same.
    must_read_anew: Option<RereadReason>,
    allow_shrink: bool,
    /// When the topic gave something, or was asked for its end.
    last_sign: Instant,
    checked: Instant,
    end_written_ms: u64,
    trouble_logged: Option<Instant>,
}

impl TopicThread {
    fn run_until(&mut self, stop: &StopSignal) {
        while !stop.is_set() {
            let step = match std::mem::replace(&mut self.phase, TopicPhase::Checking) {
                TopicPhase::Checking => self.check(),
                TopicPhase::Streaming => self.stream(),
                TopicPhase::Rereading(rereading) => self.reread(rereading),
            };
            match step {
                Ok(phase) => self.phase = phase,
                Err(error) => return log_stopped(&error),
            }
            self.health.update(self.reading.state.at_end_ms, clock::wall_ms());
            self.reading.metrics.show(&self.reading.state);
        }
        self.writing.refuse_waiting("the process stops");
    }

    fn check(&mut self) -> Result<TopicPhase, CatalogError> {
        self.checked = Instant::now();
        let is_new = self.reading.state.next_offset == 0 && self.reading.state.at_end_ms == 0;
        let now_ms = clock::wall_ms();
        let check =
            check_topic(&self.reading.consumer, &self.reading.state, self.find_delete_retention(now_ms), now_ms);
        match check {
            TopicCheck::ReadAnew(_) | TopicCheck::Same if let Some(reason) = self.must_read_anew => {
                self.begin_rereading(reason)
            }
            TopicCheck::Missing => {
                self.wait_in_trouble("there is no such topic; create it with `waypost kafka setup --apply`");
                Ok(TopicPhase::Checking)
            }
            TopicCheck::Unreachable(why) => {
                self.wait_in_trouble(&why);
                Ok(TopicPhase::Checking)
            }
            // An edge without links has none to lose.
            TopicCheck::ReadAnew(_) if is_new => self.begin_streaming(),
            TopicCheck::ReadAnew(RereadReason::NoGeneration) if self.reading.state.at_end_ms == 0 => {
                self.begin_streaming()
            }
            TopicCheck::ReadAnew(reason) => self.begin_rereading(reason),
            TopicCheck::Same => {
                self.open_transactions.check(&self.reading.consumer);
                self.begin_streaming()
            }
        }
    }

    /// How long tombstones stay, milliseconds, if the edge has been away for long.
    fn find_delete_retention(&self, now_ms: u64) -> Option<u64> {
        let state = &self.reading.state;
        if state.at_end_ms == 0 || now_ms.saturating_sub(state.at_end_ms) < ASK_RETENTION_AFTER_MS {
            return None;
        }
        let admin = TopicAdmin::new(&self.kafka, &self.edge).ok()?;
        let described = admin.describe_topics(&[&state.topic], Duration::from_secs(2)).ok()?;
        let Some(DescribedTopic::Present(description)) = described.first() else { return None };
        let setting = description.find_setting("delete.retention.ms").and_then(|value| value.parse().ok());
        Some(setting.unwrap_or(DEFAULT_DELETE_RETENTION_MS))
    }

    fn begin_streaming(&mut self) -> Result<TopicPhase, CatalogError> {
        if let Err(why) = self.reading.read_on() {
            self.wait_in_trouble(&why);
            return Ok(TopicPhase::Checking);
        }
        self.last_sign = Instant::now();
        Ok(TopicPhase::Streaming)
    }

    fn begin_rereading(&mut self, reason: RereadReason) -> Result<TopicPhase, CatalogError> {
        let topic = &self.reading.state.topic;
        self.reading.metrics.count_reread(reason);
        let told = "the topic of links is read from its beginning; the links of before are served until that is done";
        match reason {
            RereadReason::FirstRead | RereadReason::RulesChanged => tracing::info!(topic, "{told}"),
            _ => log_fault!(error, faults::LINKS_TOPIC_CHANGED, topic, reason = reason.as_str(), "{told}"),
        }
        Ok(TopicPhase::Rereading(Rereading::begin(&mut self.reading, self.allow_shrink)?))
    }

    fn stream(&mut self) -> Result<TopicPhase, CatalogError> {
        match self.reading.read_and_apply(POLL_TIME)? {
            ReadStep::Records => self.last_sign = Instant::now(),
            ReadStep::End => self.note_end()?,
            ReadStep::Lost(why) => {
                tracing::warn!(topic = self.reading.state.topic, "the place in the topic of links is lost: {why}");
                return Ok(TopicPhase::Checking);
            }
            ReadStep::Nothing => {}
        }
        self.writing.write_waiting(&mut self.reading);
        let is_long_unchecked = self.checked.elapsed() >= CHECK_INTERVAL_AT_MOST;
        if self.last_sign.elapsed() >= PROBE_INTERVAL || is_long_unchecked {
            if self.checked.elapsed() >= CHECK_INTERVAL {
                return Ok(TopicPhase::Checking);
            }
            self.last_sign = Instant::now();
            if let Err(why) = self.reading.read_on() {
                self.wait_in_trouble(&why);
            }
        }
        Ok(TopicPhase::Streaming)
    }

    /// The end was reached: the links are those of this moment.
    fn note_end(&mut self) -> Result<(), CatalogError> {
        self.last_sign = Instant::now();
        if self.trouble_logged.take().is_some() {
            tracing::info!(topic = self.reading.state.topic, "the topic of links is read again");
        }
        self.health.mark_at_end();
        if self.open_transactions.is_held_back() {
            return Ok(());
        }
        let state = &mut self.reading.state;
        state.at_end_ms = clock::wall_ms();
        if state.at_end_ms.abs_diff(self.end_written_ms) >= END_WRITE_INTERVAL_MS {
            self.end_written_ms = state.at_end_ms;
            let written = state.clone();
            let result =
                run_on_catalog_thread(&self.reading.catalog, move |writer| written.write(&writer.store.connection));
            match result {
                // A disk that refuses this is told with the next records.
                Ok(()) | Err(CatalogError::StoreFailed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reread(&mut self, mut rereading: Rereading) -> Result<TopicPhase, CatalogError> {
        self.writing.refuse_waiting("the topic is being read from its beginning");
        match rereading.advance(&mut self.reading, POLL_TIME)? {
            RereadStep::Unfinished => Ok(TopicPhase::Rereading(rereading)),
            RereadStep::Lost => Ok(TopicPhase::Checking),
            RereadStep::Finished => {
                self.must_read_anew = None;
                self.note_end()?;
                self.begin_streaming()
            }
        }
    }

    fn wait_in_trouble(&mut self, why: &str) {
        self.writing.refuse_waiting(why);
        if self.trouble_logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.trouble_logged = Some(Instant::now());
            let topic = &self.reading.state.topic;
            log_fault!(
                error,
                faults::LINKS_TOPIC_AWAY,
                topic,
                "the topic of links cannot be read: {why}; the links of before are served"
            );
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

fn log_stopped(error: &CatalogError) {
    tracing::debug!("the topic of links is not read any more: {error}");
}
