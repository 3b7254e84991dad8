//! The run-book of `waypost serve`:
//!
//! 1. **bind**: every listener, so that a taken port is found before anything is touched;
//! 2. **recover**: the data directory is locked, lanes of earlier starts are read, keys and the edge's name are there;
//! 3. **build**: links and everything the workers read;
//! 4. **ready**: workers, spiller and shipper run, every condition of `/readyz` holds;
//! 5. **serve**: until SIGTERM or SIGINT; SIGHUP reads links and keys again;
//! 6. **drain**: not ready, wait for load balancers, finish connections, deliver what the lanes hold, say what stays.
//!
//! Threads: the main one (admin and signals), `wp-worker-N`, `wp-spiller`, `wp-shipper`, the links feeder.

mod identity;
mod worker;

use std::{
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    runtime::{Builder, LocalOptions},
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_local,
    time::{Instant, timeout_at},
};

use crate::{
    admin,
    config::Config,
    lifecycle::{self, Done, Latch, Readiness, Stopper},
    metrics::{self, EDGE_INFO, WORKERS},
    net,
};

/// What is being served, for whoever greets the operator.
#[derive(Debug)]
pub struct Serving {
    /// The public addresses.
    pub listen: Vec<SocketAddr>,
    /// The admin address.
    pub admin: SocketAddr,
    /// A code that is live now.
    pub example: Option<String>,
    /// Where clicks go, in words.
    pub clicks: String,
}

/// Serves until told to stop. `greet` is called once, when every condition of readiness holds for the first time.
pub fn run(config: Config, greet: impl FnOnce(&Serving)) -> Result<ExitCode> {
    let scrape = admin::install()?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(serve(config, scrape, greet))
}

/// The stop signals, taken over before anything else starts: a SIGTERM during recovery ends the process in order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next signal.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Resolves with the next stop signal; to read links again is no longer of use.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}

/// What a signal asks for.
enum Asked {
    Stop(&'static str),
    Reload,
}

/// The sockets of step 1.
struct Bound {
    edge: Vec<Vec<TcpListener>>,
    listen: Vec<SocketAddr>,
    admin: TcpListener,
    admin_address: SocketAddr,
}

fn bind(config: &Config) -> Result<Bound> {
    let edge = net::bind(&config.edge.listen, config.edge.workers()).context("edge.listen")?;
    let mut admin = net::bind(&[config.admin.listen], 1).context("admin.listen")?;
    let admin = admin.pop().and_then(|mut listeners| listeners.pop()).context("admin.listen: no socket")?;
    let listen = edge.first().map(|own| own.iter().map(TcpListener::local_addr).collect()).transpose()?;
    Ok(Bound { listen: listen.unwrap_or_default(), admin_address: admin.local_addr()?, edge, admin })
}

async fn serve(config: Config, scrape: admin::Scrape, greet: impl FnOnce(&Serving)) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let bound = bind(&config)?;
    std::fs::create_dir_all(&config.server.data_dir)
        .with_context(|| format!("cannot make the data directory {}", config.server.data_dir.display()))?;
    let edge_id = identity::edge_id(&config.server.data_dir, config.edge.id.as_deref())?;
    metrics::gauge(&EDGE_INFO, &[&edge_id]).set(1.0);

    let readiness = Readiness::default();
    let not_draining = readiness.require("not draining");
    let (admin_stopper, admin_stop) = lifecycle::stop();
    let admin = spawn_local(admin::serve(bound.admin, scrape, readiness.clone(), admin_stop));
    let crew = Crew::start(&config, bound.edge)?;
    not_draining.set(true);
    let serving =
        Serving { listen: bound.listen, admin: bound.admin_address, example: None, clicks: "nowhere yet".to_owned() };
    tracing::info!(listen = ?serving.listen, admin = %serving.admin, edge = edge_id, workers = crew.threads.len(), "ready");
    greet(&serving);

    let signal = loop {
        match signals.next().await {
            Asked::Stop(signal) => break signal,
            Asked::Reload => tracing::info!("SIGHUP: links and keys are read again"),
        }
    };
    let drained = tokio::select! {
        drained = drain(&config, signal, crew, not_draining) => drained,
        second = signals.stop() => {
            tracing::warn!(signal = second, "second signal: exiting now; what is not delivered stays in the journal");
            std::process::exit(1);
        }
    };
    admin_stopper.stop();
    // The admin listener is the last to go: a scrape sees the drain. Its own failure was logged.
    let _ = admin.await;
    drained
}

/// The workers and how to stop them.
struct Crew {
    threads: Vec<JoinHandle<std::io::Result<usize>>>,
    stopper: Stopper,
    done: Done,
}

impl Crew {
    fn start(config: &Config, listeners: Vec<Vec<TcpListener>>) -> Result<Crew> {
        let (stopper, stop) = lifecycle::stop();
        let (guard, done) = lifecycle::guards();
        let workers = listeners.len();
        metrics::gauge(&WORKERS, &[]).set(workers as f64);
        let most = net::raise_descriptors(config.edge.limits.connections);
        let mut threads = Vec::with_capacity(workers);
        for (number, listeners) in listeners.into_iter().enumerate() {
            let worker = worker::Worker {
                number,
                listeners,
                limits: config.edge.limits.clone(),
                connections: most.div_ceil(workers),
                stop: stop.clone(),
                drain_deadline: config.server.drain_deadline / 2,
                guard: guard.clone(),
            };
            threads.push(worker.start().with_context(|| format!("cannot start worker {number}"))?);
        }
        Ok(Crew { threads, stopper, done })
    }

    /// Stops accepting and waits for open connections; returns how many were cut at the deadline.
    async fn stop(mut self, deadline: Instant) -> usize {
        self.stopper.stop();
        if timeout_at(deadline, self.done.wait()).await.is_err() {
            tracing::error!("workers did not end within the drain deadline");
            return 0;
        }
        self.threads.into_iter().filter_map(|thread| thread.join().ok()?.ok()).sum()
    }
}

/// Step 6.
async fn drain(config: &Config, signal: &str, crew: Crew, not_draining: Latch) -> Result<ExitCode> {
    let delay = config.server.pre_stop_delay;
    tracing::info!(signal, ?delay, deadline = ?config.server.drain_deadline, "draining");
    not_draining.set(false);
    tokio::time::sleep(delay).await;
    let start = Instant::now();
    let cut = crew.stop(start + config.server.drain_deadline).await;
    tracing::info!(connections_cut = cut, took = ?start.elapsed().min(Duration::MAX), "stopped");
    Ok(ExitCode::SUCCESS)
}
