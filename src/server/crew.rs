//! The threads of a serving process and the order in which they end: workers, then the shipper, then the spiller.

use std::{net::TcpListener, sync::Arc, thread::JoinHandle};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};

use crate::{
    attribution::mint::Seeds,
    config::Config,
    edge::{Edge, service::Desk},
    journal::{Lane, Parts},
    lifecycle::{self, Done, Readiness, Stop, Stopper},
    links::feeder::{Feeder, Kick},
    metrics::{self, WORKERS},
    net,
    server::worker::Worker,
};

/// The threads, and how to stop them.
pub(super) struct Crew {
    workers: Group,
    spiller: Group,
    feeder: Group,
    /// Makes the links feeder read its file now.
    pub(super) links: Kick,
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
    /// Threads that did not end within the deadline.
    pub(super) late: Vec<&'static str>,
}

impl Crew {
    /// Starts every thread. `listeners` are one worker's each; `readiness` gets a condition for each lane.
    pub(super) fn start(
        config: &Config,
        listeners: Vec<Vec<TcpListener>>,
        journal: Parts,
        edge: &Arc<ArcSwap<Edge>>,
        feeder: Feeder,
        readiness: &Readiness,
    ) -> Result<Crew> {
        let Parts { lanes, readers: _readers, spiller } = journal;
        let spiller = Group::start(|group| group.spawn("wp-spiller", move |stop| spiller.run(stop)))?;
        let links = feeder.kick();
        let served = edge.clone();
        let feeder = Group::start(|group| {
            group.spawn("wp-links", move |stop| {
                feeder.run(&stop, |table| {
                    served.rcu(|edge| edge.with_table(table.clone()));
                });
            })
        })?;
        let workers = Group::start(|group| start_workers(group, config, listeners, lanes, edge, readiness))?;
        Ok(Crew { workers, spiller, feeder, links })
    }

    /// Resolves if every worker ended without being told to.
    pub(super) async fn fell(&mut self) {
        self.workers.done.wait().await;
    }

    /// Stops accepting, waits for open connections, delivers what the lanes hold, and makes the rest durable.
    pub(super) async fn drain(self, deadline: Instant) -> Ended {
        let mut ended = Ended::default();
        self.feeder.stopper.stop();
        self.workers.stopper.stop();
        for (name, group) in [("workers", self.workers), ("spiller", self.spiller), ("feeder", self.feeder)] {
            if !group.end(deadline).await {
                ended.late.push(name);
            }
        }
        ended
    }
}

fn start_workers(
    group: &mut Spawning,
    config: &Config,
    listeners: Vec<Vec<TcpListener>>,
    lanes: Vec<Lane>,
    edge: &Arc<ArcSwap<Edge>>,
    readiness: &Readiness,
) -> Result<()> {
    let count = listeners.len();
    metrics::gauge(&WORKERS, &[]).set(count as f64);
    let most = net::raise_descriptors(config.edge.limits.connections);
    if most < config.edge.limits.connections {
        tracing::warn!(
            connections = most,
            wanted = config.edge.limits.connections,
            "the limit of open files bounds the connections: raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    for (number, (listeners, lane)) in listeners.into_iter().zip(lanes).enumerate() {
        let room = readiness.require(format!("lane {} has room", lane.lane()));
        let seeds = Seeds::new().context("the system gives no random bytes")?;
        let (on_full, wait_for_room) = (config.journal.on_full, config.journal.wait_for_room);
        let edge = edge.clone();
        let worker = Worker {
            listeners,
            limits: config.edge.limits.clone(),
            connections: most.div_ceil(count),
            drain_deadline: config.server.drain_deadline / 2,
            room,
        };
        group.spawn(&format!("wp-worker-{number}"), move |stop| {
            let desk = Desk::new(edge, lane, seeds, on_full, wait_for_room);
            if let Err(error) = worker.run(desk, stop) {
                tracing::error!(%error, worker = number, "a worker could not serve");
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
    async fn end(mut self, deadline: Instant) -> bool {
        self.stopper.stop();
        if timeout_at(deadline, self.done.wait()).await.is_err() {
            return false;
        }
        // Every guard is dropped, so a join waits for a thread's last instructions only.
        self.threads.into_iter().map(JoinHandle::join).fold(true, |good, joined| good && joined.is_ok())
    }
}
