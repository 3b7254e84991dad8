//! The threads of a serving process and the order in which they end: workers, then delivery, then the spiller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    attribution::entropy::EntropySource,
    config::Config,
    delivery::{self, EngineInputs, Summary},
    edge::{
        handler::{LaneFullPolicy, RequestHandler, WorkerLanes},
        snapshot::Edge,
    },
    faults::{self, log_fault},
    geoip::Databases,
    journal::LaneReader,
    kafka,
    lifecycle::{self, Completion, Readiness, StopHandle, StopSignal},
    metrics::{self, WORKERS},
    model::click::Topic,
    net::{
        limits::Limits, listen::Listener, open_files::OpenFileLimit, rate_limiter::UnknownCodeRateLimiter,
        tls::TlsServer,
    },
    server::{
        reload::{ReloadHandle, Reloader},
        start::PreparedServer,
        worker::Worker,
    },
    sinks::{files::FileSink, kafka::KafkaSink},
};

/// The threads, and the handles to stop them.
pub(super) struct ServerThreads {
    workers: ThreadGroup,
    /// A thread for each topic.
    delivery: [JoinHandle<Summary>; Topic::ALL.len()],
    delivery_stop: StopHandle,
    /// A thread for each topic.
    spillers: ThreadGroup,
    /// Stops the thread that watches Kafka's topics. Nobody waits for its end.
    topic_watch_stop: StopHandle,
    /// The reload thread. Nobody waits for its end: it may hang in a file system.
    reload: ReloadHandle,
    /// For each worker the number of its ticks.
    ticks: Arc<[AtomicU64]>,
}

/// Tells whether all workers run.
pub(super) struct Heartbeat {
    ticks: Arc<[AtomicU64]>,
    last_seen: Vec<u64>,
}

impl Heartbeat {
    /// Whether every worker has ticked since the last call.
    pub(super) fn have_all_workers_ticked_since_last_call(&mut self) -> bool {
        let now: Vec<u64> = self.ticks.iter().map(|ticks| ticks.load(Ordering::Relaxed)).collect();
        let have_ticked = now.iter().zip(&self.last_seen).all(|(now, last)| now != last);
        self.last_seen = now;
        have_ticked
    }
}

/// How the threads ended.
#[derive(Debug, Default)]
pub(super) struct DrainResult {
    /// What was delivered of each topic and what remains; empty if a delivery thread did not end in time.
    pub(super) delivery: Vec<Summary>,
    /// The threads that did not end in time.
    pub(super) late_threads: Vec<&'static str>,
}

/// Added to the deadlines of the configuration before a thread counts as stuck: a delivery thread counts what
/// remains, a spiller writes once more.
const GRACE: Duration = Duration::from_secs(5);

/// What every thread but the spillers is started with.
struct ThreadInputs {
    edge_id: String,
    /// The readers of each topic's lanes.
    readers: [Vec<LaneReader>; Topic::ALL.len()],
    lanes: Vec<WorkerLanes>,
    edge: Arc<ArcSwap<Edge>>,
    geoip: Arc<ArcSwap<Databases>>,
    reloader: Reloader,
    tls: Option<TlsServer>,
}

/// What the workers share.
struct SharedByWorkers {
    edge: Arc<ArcSwap<Edge>>,
    tls: Option<TlsServer>,
    ticks: Arc<[AtomicU64]>,
    /// One worker's share.
    limits: Limits,
}

impl ServerThreads {
    /// Starts every thread. `listeners` holds the listeners of each worker; `readiness` gets a condition for each lane.
    ///
    /// # Errors
    /// A thread or a sink cannot be started; the journal is then closed in good order.
    pub(super) async fn start_all(
        config: &Config,
        listeners: Vec<Vec<Listener>>,
        prepared: PreparedServer,
        readiness: &Readiness,
    ) -> Result<ServerThreads> {
        let PreparedServer { edge_id, journals: [clicks, orphans], edge, geoip, reloader, tls, .. } = prepared;
        let (clicks, orphans) = (clicks.parts, orphans.parts);
        let lanes = clicks.writers.into_iter().zip(orphans.writers);
        let lanes = lanes.map(|(clicks, orphans)| WorkerLanes { clicks, orphans }).collect();
        let spillers = ThreadGroup::start_with(|group| {
            for (topic, spiller) in Topic::ALL.into_iter().zip([clicks.spiller, orphans.spiller]) {
                let name = format!("wp-spill-{}", topic.short_name());
                group.spawn_thread(&name, move |stop| spiller.run_until_stopped_then_close(stop))?;
            }
            Ok(())
        })?;
        let readers = [clicks.readers, orphans.readers];
        let inputs = ThreadInputs { edge_id, readers, lanes, edge, geoip, reloader, tls };
        match ServerThreads::start_all_but_spillers(config, listeners, inputs, readiness) {
            Ok(threads) => Ok(ServerThreads { spillers, ..threads }),
            Err(error) => {
                spillers.signal_stop_and_return_whether_all_joined(GRACE).await;
                Err(error)
            }
        }
    }

    fn start_all_but_spillers(
        config: &Config,
        listeners: Vec<Vec<Listener>>,
        inputs: ThreadInputs,
        readiness: &Readiness,
    ) -> Result<ServerThreads> {
        let ThreadInputs { edge_id, readers, lanes, edge, geoip, reloader, tls } = inputs;
        let [click_readers, orphan_readers] = readers;
        let (topic_watch_stop, stop_topic_watch) = lifecycle::stop_signal();
        let (delivery_stop, stop_delivery) = lifecycle::stop_signal();
        if config.kafka.is_enabled() {
            let link_topics = config.links.topics().map(|(links, audit)| kafka::LinkTopics { links, audit });
            kafka::spawn_topic_monitor_thread(config.kafka.clone(), edge_id.clone(), link_topics, stop_topic_watch)?;
        }
        let start_delivery = |topic, readers| {
            let inputs = EngineInputs {
                topic,
                config: config.delivery.clone(),
                dead_letter_dir: config.server.data_dir.join("dead-letters"),
                edge: edge_id.clone(),
                readers,
                geoip: geoip.clone(),
            };
            open_configured_sink_and_start_delivery(config, inputs, stop_delivery.clone())
        };
        let delivery = [start_delivery(Topic::Clicks, click_readers)?, start_delivery(Topic::Orphan, orphan_readers)?];
        let reload = reloader.start_reload_thread(edge.clone())?;
        let ticks: Arc<[AtomicU64]> = listeners.iter().map(|_| AtomicU64::new(0)).collect();
        let limits = raise_open_file_limit_and_divide_limits(config, listeners.len());
        let shared = SharedByWorkers { edge, tls, ticks: ticks.clone(), limits };
        let workers = ThreadGroup::start_with(|group| {
            start_worker_per_lane_and_add_readiness_conditions(group, config, listeners, lanes, &shared, readiness)
        })?;
        let spillers = ThreadGroup::start_with(|_| Ok(()))?;
        Ok(ServerThreads { workers, delivery, delivery_stop, spillers, topic_watch_stop, reload, ticks })
    }

    /// A heartbeat of the workers.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat { ticks: self.ticks.clone(), last_seen: vec![0; self.ticks.len()] }
    }

    /// The main thread's two waits while the process serves, to be borrowed apart: the end of the last worker, which is
    /// a failure before [`ServerThreads::stop_workers_then_delivery_then_spillers`], and the reload thread.
    pub(super) fn workers_end_and_reload(&mut self) -> (&mut Completion, &mut ReloadHandle) {
        (&mut self.workers.completion, &mut self.reload)
    }

    /// Stops the workers, which finish their open connections, then delivery, then the spiller. Delivery must know that
    /// nothing is appended any more, and the spiller that nothing is read.
    pub(super) async fn stop_workers_then_delivery_then_spillers(self, config: &Config) -> DrainResult {
        let mut result = DrainResult::default();
        self.topic_watch_stop.stop();
        drop(self.reload);
        if !self.workers.signal_stop_and_return_whether_all_joined(config.server.drain_deadline + GRACE).await {
            result.late_threads.push("workers");
        }
        self.delivery_stop.stop();
        // Both threads drain at the same time, so one deadline bounds both.
        let joined = spawn_blocking(move || self.delivery.into_iter().map(JoinHandle::join).collect());
        match timeout(config.delivery.drain_deadline + GRACE, joined).await {
            Ok(Ok(Ok(summaries))) => result.delivery = summaries,
            _ => result.late_threads.push("delivery"),
        }
        if !self.spillers.signal_stop_and_return_whether_all_joined(GRACE).await {
            result.late_threads.push("spiller");
        }
        result
    }
}

/// Opens the topic's sink, which the configuration names, and starts the topic's delivery thread.
fn open_configured_sink_and_start_delivery(
    config: &Config,
    inputs: EngineInputs,
    stop: StopSignal,
) -> Result<JoinHandle<Summary>> {
    let (topic, notes) = (inputs.topic, inputs.sink_notes());
    if config.kafka.is_enabled() {
        let max_in_flight = inputs.config.max_in_flight as usize;
        let sink = KafkaSink::new(topic, config.kafka.clone(), &inputs.edge, &notes, max_in_flight)?;
        return Ok(delivery::spawn_delivery_thread(inputs, sink, stop)?);
    }
    // The spiller takes a click for a quarter of the interval older than it is at most, and writes it in the last
    // quarter. So the sink syncs it within half of the interval: it notices that a sync is due at its next cycle, and
    // then the disk needs time.
    let sync_interval = config.journal.sync_interval * 3 / 8;
    let dir = config.server.data_dir.join("clicks");
    let sink = FileSink::recover_clicks_and_open_files(
        topic,
        dir,
        config.delivery.files.clone(),
        &inputs.edge,
        &notes,
        sync_interval,
    )?;
    Ok(delivery::spawn_delivery_thread(inputs, sink, stop)?)
}

/// Raises the limit of open files, and divides the configured limits among the workers. Fewer connections than
/// configured are allowed where the process may not open enough files; that is logged.
fn raise_open_file_limit_and_divide_limits(config: &Config, workers: usize) -> Limits {
    let (files, configured) = (OpenFileLimit::raise_to_hard_limit(), config.edge.limits.max_connections);
    let possible = files.clamp_max_connections(configured);
    tracing::info!(event = "open_files", limit = files.now, started_with = files.before, "the limit of open files");
    if possible < configured {
        tracing::info!(
            connections = possible,
            wanted = configured,
            "the limit of open files bounds the connections: raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    Limits { max_connections: possible, ..config.edge.limits.clone() }.with_counts_divided_among(workers)
}

/// Starts one thread for each pair of lanes.
fn start_worker_per_lane_and_add_readiness_conditions(
    group: &mut ThreadSpawner,
    config: &Config,
    listeners: Vec<Vec<Listener>>,
    lanes: Vec<WorkerLanes>,
    shared: &SharedByWorkers,
    readiness: &Readiness,
) -> Result<()> {
    metrics::gauge(&WORKERS, &[]).set(listeners.len() as f64);
    for (number, (listeners, lanes)) in listeners.into_iter().zip(lanes).enumerate() {
        let worker = Worker {
            listeners,
            listen: config.edge.listen.clone(),
            limits: shared.limits.clone(),
            proxies: config.edge.trusted_proxies.clone(),
            tls: shared.tls.clone(),
            drain_deadline: config.server.drain_deadline,
            lane_has_space: readiness.add_unmet_condition(format!("lane {} has room", lanes.clicks.lane())),
            ticks: shared.ticks.clone(),
            number,
        };
        let entropy = EntropySource::from_system().context("the system gives no random bytes")?;
        let lane_full_policy =
            LaneFullPolicy { on_full: config.journal.on_full, wait_for_room: config.journal.wait_for_room };
        let unknown = UnknownCodeRateLimiter::new(shared.limits.max_unknown_codes_per_address);
        let edge = shared.edge.clone();
        group.spawn_thread(&format!("wp-worker-{number}"), move |stop| {
            let handler = RequestHandler::new(edge, lanes, entropy, lane_full_policy, unknown);
            if let Err(error) = worker.run(handler, stop) {
                log_fault!(error, faults::WORKER_FAILED, %error, worker = number, "a worker could not serve");
            }
        })?;
    }
    Ok(())
}

/// Threads that are stopped together.
struct ThreadGroup {
    threads: Vec<JoinHandle<()>>,
    stop: StopHandle,
    completion: Completion,
}

/// Starts the threads of a group.
struct ThreadSpawner {
    threads: Vec<JoinHandle<()>>,
    stop: StopSignal,
    guard: lifecycle::CompletionGuard,
}

impl ThreadSpawner {
    /// Starts a thread that is to end at the group's stop signal.
    fn spawn_thread(&mut self, name: &str, run: impl FnOnce(StopSignal) + Send + 'static) -> Result<()> {
        let (stop, guard) = (self.stop.clone(), self.guard.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            run(stop);
        });
        self.threads.push(thread.with_context(|| format!("cannot start the thread {name}"))?);
        Ok(())
    }
}

impl ThreadGroup {
    fn start_with(spawn_all: impl FnOnce(&mut ThreadSpawner) -> Result<()>) -> Result<ThreadGroup> {
        let (handle, stop) = lifecycle::stop_signal();
        let (guard, completion) = lifecycle::completion();
        let mut spawner = ThreadSpawner { threads: Vec::new(), stop, guard };
        spawn_all(&mut spawner)?;
        Ok(ThreadGroup { threads: spawner.threads, stop: handle, completion })
    }

    /// Gives the stop signal and waits for the threads. Returns whether all of them ended in time and without a panic.
    async fn signal_stop_and_return_whether_all_joined(mut self, within: Duration) -> bool {
        self.stop.stop();
        if timeout(within, self.completion.wait()).await.is_err() {
            return false;
        }
        // Every guard is dropped, so a join waits for a thread's last instructions only.
        self.threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count() == 0
    }
}
