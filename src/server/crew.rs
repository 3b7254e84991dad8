//! The threads of a serving process and the order in which they end: workers, then the shipper, then the spiller.

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
    attribution::mint::Seeds,
    config::Config,
    edge::{Edge, service::Desk},
    faults::{self, say},
    journal::{Lane, Parts},
    kafka,
    lifecycle::{self, Done, Readiness, Stop, Stopper},
    links::feeder::{Feeder, Kick},
    metrics::{self, WORKERS},
    net::{self, OpenFiles, Spending, listen::Listener, tls::Tls},
    server::{build::Built, worker::Worker},
    shipper::{self, Summary, Target},
};

/// The threads, and how to stop them.
pub(super) struct Crew {
    workers: Group,
    shipper: JoinHandle<Summary>,
    shipper_stopper: Stopper,
    spiller: Group,
    /// The links feeder and the look-out on Kafka's topics: nobody waits for them.
    aside: Stopper,
    /// Makes the links feeder read its file now.
    pub(super) links: Kick,
    /// One a worker; moves with each of its ticks.
    ticks: Arc<[AtomicU64]>,
}

/// Whether the workers run.
pub(super) struct Pulse {
    ticks: Arc<[AtomicU64]>,
    seen: Vec<u64>,
}

impl Pulse {
    /// Whether every worker has ticked since the last call.
    pub(super) fn beats(&mut self) -> bool {
        let now: Vec<u64> = self.ticks.iter().map(|ticks| ticks.load(Ordering::Relaxed)).collect();
        let beats = now.iter().zip(&self.seen).all(|(now, seen)| now != seen);
        self.seen = now;
        beats
    }
}

/// Threads that end together.
struct Group {
    threads: Vec<JoinHandle<()>>,
    stopper: Stopper,
    done: Done,
}

/// How the threads ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What the shipper says; `None` if it did not end in time.
    pub(super) shipped: Option<Summary>,
    /// Threads that did not end in time.
    pub(super) late: Vec<&'static str>,
}

/// Beyond the deadlines of the configuration, before a thread counts as stuck: for the shipper to count what stays, for the
/// spiller's last round.
const GRACE: Duration = Duration::from_secs(5);

impl Crew {
    /// Starts every thread. `listeners` are one worker's each; `readiness` gets a condition for each lane.
    pub(super) fn start(
        config: &Config,
        listeners: Vec<Vec<Listener>>,
        built: Built,
        readiness: &Readiness,
    ) -> Result<Crew> {
        let Built { edge_id, journal: Parts { lanes, readers, spiller }, edge, feeder, tls, .. } = built;
        let (aside, stop_aside) = lifecycle::stop();
        let (shipper_stopper, stop_shipper) = lifecycle::stop();
        let spiller = Group::start(|group| group.spawn("wp-spiller", move |stop| spiller.run(stop)))?;
        let target = match config.kafka.enabled() {
            true => Target::Kafka(config.kafka.clone()),
            false => Target::Files {
                dir: config.server.data_dir.join("clicks"),
                sync_every: config.journal.sync_interval / 2,
            },
        };
        if config.kafka.enabled() {
            kafka::watch(config.kafka.clone(), edge_id.clone(), stop_aside.clone())?;
        }
        let dead_letters = config.server.data_dir.join("dead-letters");
        let start = shipper::Start { config: config.shipper.clone(), target, dead_letters, edge: edge_id, readers };
        let shipper = shipper::start(start, stop_shipper)?;
        let links = feeder.kick();
        start_feeder(feeder, edge.clone(), stop_aside)?;
        let ticks: Arc<[AtomicU64]> = listeners.iter().map(|_| AtomicU64::new(0)).collect();
        let told = ticks.clone();
        let workers =
            Group::start(|group| start_workers(group, config, listeners, lanes, (&edge, told, tls), readiness))?;
        Ok(Crew { workers, shipper, shipper_stopper, spiller, aside, links, ticks })
    }

    /// For whoever asks whether the workers run.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse { ticks: self.ticks.clone(), seen: vec![0; self.ticks.len()] }
    }

    /// Resolves if every worker ended without being told to.
    pub(super) async fn fell(&mut self) {
        self.workers.done.wait().await;
    }

    /// Stops accepting, waits for open connections, delivers what the lanes hold, and makes the rest durable. In this order:
    /// the shipper must know that nothing is appended any more, the spiller that nothing is read.
    pub(super) async fn drain(self, config: &Config) -> Ended {
        let mut ended = Ended::default();
        self.aside.stop();
        if !self.workers.end(config.server.drain_deadline + GRACE).await {
            ended.late.push("workers");
        }
        self.shipper_stopper.stop();
        let joined = spawn_blocking(move || self.shipper.join());
        match timeout(config.shipper.drain + GRACE, joined).await {
            Ok(Ok(Ok(summary))) => ended.shipped = Some(summary),
            _ => ended.late.push("shipper"),
        }
        if !self.spiller.end(GRACE).await {
            ended.late.push("spiller");
        }
        ended
    }
}

/// Starts `wp-links`, which keeps the served links up to their file.
fn start_feeder(feeder: Feeder, edge: Arc<ArcSwap<Edge>>, stop: Stop) -> Result<()> {
    let run = move || {
        feeder.run(&stop, |table| {
            edge.rcu(|edge| edge.with_table(table.clone()));
        });
    };
    std::thread::Builder::new().name("wp-links".to_owned()).spawn(run).context("cannot start the thread wp-links")?;
    Ok(())
}

fn start_workers(
    group: &mut Spawning,
    config: &Config,
    listeners: Vec<Vec<Listener>>,
    lanes: Vec<Lane>,
    (edge, ticks, tls): (&Arc<ArcSwap<Edge>>, Arc<[AtomicU64]>, Option<Tls>),
    readiness: &Readiness,
) -> Result<()> {
    let count = listeners.len();
    metrics::gauge(&WORKERS, &[]).set(count as f64);
    let (files, wanted) = (OpenFiles::raise(), config.edge.limits.connections);
    let most = files.connections(wanted);
    tracing::info!(event = "open_files", limit = files.now, started_with = files.before, "the limit of open files");
    if most < wanted {
        tracing::info!(
            connections = most,
            wanted,
            "the limit of open files bounds the connections: raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    let limits = net::Limits { connections: most, ..config.edge.limits.clone() }.share(count);
    for (number, (listeners, lane)) in listeners.into_iter().zip(lanes).enumerate() {
        let room = readiness.require(format!("lane {} has room", lane.lane()));
        let seeds = Seeds::new().context("the system gives no random bytes")?;
        let (on_full, wait_for_room) = (config.journal.on_full, config.journal.wait_for_room);
        let edge = edge.clone();
        let worker = Worker {
            listeners,
            listen: config.edge.listen.clone(),
            limits: limits.clone(),
            proxies: config.edge.trusted_proxies.clone(),
            tls: tls.clone(),
            drain_deadline: config.server.drain_deadline,
            room,
            ticks: ticks.clone(),
            number,
        };
        let unknown = Spending::new(limits.unknown_per_address);
        group.spawn(&format!("wp-worker-{number}"), move |stop| {
            let desk = Desk::new(edge, lane, seeds, on_full, wait_for_room, unknown);
            if let Err(error) = worker.run(desk, stop) {
                say!(error, faults::WORKER_FAILED, %error, worker = number, "a worker could not serve");
            }
        })?;
    }
    Ok(())
}

/// A group whose threads are being started.
struct Spawning {
    threads: Vec<JoinHandle<()>>,
    stop: Stop,
    guard: lifecycle::Guard,
}

impl Spawning {
    fn spawn(&mut self, name: &str, run: impl FnOnce(Stop) + Send + 'static) -> Result<()> {
        let (stop, guard) = (self.stop.clone(), self.guard.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            run(stop);
        });
        self.threads.push(thread.with_context(|| format!("cannot start the thread {name}"))?);
        Ok(())
    }
}

impl Group {
    fn start(threads: impl FnOnce(&mut Spawning) -> Result<()>) -> Result<Group> {
        let (stopper, stop) = lifecycle::stop();
        let (guard, done) = lifecycle::guards();
        let mut spawning = Spawning { threads: Vec::new(), stop, guard };
        threads(&mut spawning)?;
        Ok(Group { threads: spawning.threads, stopper, done })
    }

    /// Tells the threads to stop and waits for them; says whether all ended in time and in order.
    async fn end(mut self, within: Duration) -> bool {
        self.stopper.stop();
        if timeout(within, self.done.wait()).await.is_err() {
            return false;
        }
        // Every guard is dropped, so a join waits for a thread's last instructions only.
        self.threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count() == 0
    }
}
