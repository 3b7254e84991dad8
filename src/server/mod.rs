//! The run-book of `waypost serve`:
//!
//! 1. **bind**: every listener, so that a taken port is found before anything is touched;
//! 2. **recover**: the data directory is locked, lanes of earlier starts are read, keys and the edge's name are there;
//! 3. **build**: links and everything the workers read;
//! 4. **ready**: workers, spiller and shipper run, every condition of `/readyz` holds;
//! 5. **serve**: until SIGTERM or SIGINT; SIGHUP reads links, keys and certificates again;
//! 6. **drain**: not ready, wait for load balancers, finish connections, deliver what the lanes hold, say what stays.
//!
//! Threads: the main one (admin, signals, keys), `wp-worker-N`, `wp-spiller`, `wp-observer`, `wp-shipper`, `wp-links`. A second stop
//! signal exits at once, at any step: the journal is made for that.

mod build;
mod certificates;
mod challenges;
mod crew;
mod identity;
mod keys;
mod notify;
mod signals;
mod worker;

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use tokio::{
    runtime::{Builder, LocalOptions},
    task::{spawn_blocking, spawn_local},
    time::Instant,
};

use crate::{
    admin,
    config::Config,
    edge::Edge,
    faults::{self, say},
    lifecycle::{self, Latch, Readiness},
    links::file::Progress,
    net::{
        self,
        listen::{Address, Listener},
    },
    shipper::Summary,
};
pub use build::tell_recovered;
use certificates::Keeper;
use challenges::Challenges;
use crew::Crew;
pub use identity::kept_edge_id;
use keys::Keys;
use notify::Notify;
use signals::{Asked, Signals};

/// What is being served, for whoever greets the operator.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The public addresses.
    pub listen: &'a [Address],
    /// The admin address.
    pub admin: SocketAddr,
}

/// Whoever started the server and watches it start.
pub trait Audience: Send + Sync + 'static {
    /// How the load of the links stands; called from several threads.
    fn loading(&self, progress: Progress);
    /// Every part runs. Called once.
    fn ready(&self, serving: &Serving<'_>);
}

/// How often the main thread looks after the key ring, and whether every lane has room.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it looks for the challenges of an ACME client.
const CHALLENGES_EVERY: Duration = Duration::from_millis(100);

/// How often the main thread looks whether every condition of readiness holds.
const READY_EVERY: Duration = Duration::from_millis(10);

/// Serves until told to stop.
///
/// # Errors
/// Anything that keeps it from serving: a taken port, a locked or broken data directory, bad links, no keys.
pub fn run(config: Config, audience: Arc<dyn Audience>) -> Result<ExitCode> {
    let scrape = admin::install()?;
    let runtime =
        Builder::new_current_thread().thread_name("wp-start").enable_all().build_local(LocalOptions::default())?;
    let result = runtime.block_on(serve(Arc::new(config), scrape, audience));
    // A thread that is stuck in the disk must not keep the process: what matters is in the journal.
    runtime.shutdown_timeout(Duration::ZERO);
    result
}

/// The sockets of step 1.
struct Bound {
    edge: Vec<Vec<Listener>>,
    listen: Vec<Address>,
    admin: TcpListener,
    admin_address: SocketAddr,
}

fn bind(config: &Config) -> Result<Bound> {
    let edge = net::listen::bind(&config.edge.listen, config.edge.workers()).context("edge.listen")?;
    for listener in edge.iter().flatten() {
        // As long as a connection may be silent between two requests: a phone in a tunnel has that long, too.
        listener.give_up_after(config.edge.limits.idle_timeout).context("edge.limits.idle_timeout")?;
    }
    let mut admin = net::bind(&[config.admin.listen], 1).context("admin.listen")?;
    let admin = admin.pop().and_then(|mut listeners| listeners.pop()).context("admin.listen: no socket")?;
    let listen = edge.first().map(|own| own.iter().map(Listener::address).collect()).transpose()?;
    Ok(Bound { listen: listen.unwrap_or_default(), admin_address: admin.local_addr()?, edge, admin })
}

async fn serve(config: Arc<Config>, scrape: admin::Scrape, audience: Arc<dyn Audience>) -> Result<ExitCode> {
    let (mut signals, notify) = (Signals::new()?, Notify::from_env());
    let bound = bind(&config)?;
    let readiness = Readiness::default();
    let (loaded, not_draining) = (readiness.require("links loaded"), readiness.require("not draining"));
    not_draining.set(true);
    let (admin_stopper, admin_stop) = lifecycle::stop();
    let (admin_keeper, offered) = Keeper::open_admin(&config)?.unzip();
    let admin = spawn_local(admin::serve(bound.admin, offered, scrape, readiness.clone(), admin_stop));
    let listen: Vec<String> = bound.listen.iter().map(Address::to_string).collect();
    tracing::info!(event = "listening", listen = listen.join(","), admin = %bound.admin_address, "listening");

    let building = {
        let (config, audience, workers) = (config.clone(), audience.clone(), bound.edge.len());
        spawn_blocking(move || build::build(&config, workers, &|progress| audience.loading(progress)))
    };
    let built = tokio::select! {
        built = building => built.context("the start-up failed")??,
        signal = signals.stop() => {
            tracing::info!(signal, "stopped before it was ready; the journal is as it was");
            return Ok(ExitCode::SUCCESS);
        }
    };
    loaded.set(true);
    let (built, mut keys, keeper) = built;
    let mut keepers: Vec<Keeper> = keeper.into_iter().chain(admin_keeper).collect();
    let challenges = config.tls.acme_challenges.clone().map(Challenges::of);
    let (edge, edge_id) = (built.edge.clone(), built.edge_id.clone());
    let mut crew = Crew::start(&config, bound.edge, built, &readiness)?;
    let view = Serving { config: &config, listen: &bound.listen, admin: bound.admin_address };
    let becoming_ready = tell_readiness(&readiness, &edge_id, &notify, &*audience, &view);
    let stopped = tokio::select! {
        stopped = serving(
            &mut signals,
            &mut crew,
            (&mut keys, &mut keepers, challenges),
            &edge,
            Room::of(&readiness),
            &notify,
        ) => stopped,
        never = becoming_ready => match never {},
    };
    notify.stopping();
    let drained = match stopped {
        Ok(signal) => tokio::select! {
            drained = drain(&config, signal, crew, &not_draining) => drained,
            second = signals.stop() => {
                tracing::warn!(signal = second, "second signal: exiting now; what is not delivered stays in the journal");
                std::process::exit(1);
            }
        },
        Err(error) => Err(error),
    };
    admin_stopper.stop();
    // The admin listener is the last to go: a scrape sees the drain. Its own failure was logged.
    let _ = admin.await;
    drained
}

/// Says once that nothing is missing; never ends.
async fn tell_readiness(
    readiness: &Readiness,
    edge_id: &str,
    notify: &Notify,
    audience: &dyn Audience,
    serving: &Serving<'_>,
) -> Infallible {
    while !readiness.missing().is_empty() {
        tokio::time::sleep(READY_EVERY).await;
    }
    tracing::info!(event = "ready", edge = edge_id, "ready");
    notify.ready();
    audience.ready(serving);
    std::future::pending().await
}

/// Step 5: until a stop signal, which is returned.
async fn serving(
    signals: &mut Signals,
    crew: &mut Crew,
    (keys, keepers, mut challenges): (&mut Keys, &mut [Keeper], Option<Challenges>),
    edge: &ArcSwap<Edge>,
    mut room: Room,
    notify: &Notify,
) -> Result<&'static str> {
    let (links, mut pulse) = (crew.links.clone(), crew.pulse());
    let mut fell = std::pin::pin!(crew.fell());
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut challenges_looks = tokio::time::interval(CHALLENGES_EVERY);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => return Ok(signal),
                Asked::Reload => {
                    tracing::info!("SIGHUP: links, keys and certificates are read again");
                    notify.reloading();
                    links.reload();
                    keys.reload(edge);
                    keepers.iter_mut().for_each(Keeper::reload);
                    notify.ready();
                }
            },
            _ = looks.tick() => {
                keys.look(edge);
                keepers.iter_mut().for_each(Keeper::look);
                room.look();
                // A worker that is stuck answers nobody: the manager starts the process anew.
                if pulse.beats() {
                    notify.alive();
                }
            }
            _ = challenges_looks.tick(), if challenges.is_some() => {
                challenges.iter_mut().for_each(|challenges| challenges.look(edge));
            }
            () = &mut fell => bail!("the workers ended without being told to; the log says why"),
        }
    }
}

/// Says that a lane has no room any more, and that it has again. The workers do not: whoever reads the log must not hold them up.
struct Room {
    readiness: Readiness,
    /// Whether there was room at the last look; `None` before there ever was.
    had: Option<bool>,
}

impl Room {
    fn of(readiness: &Readiness) -> Room {
        Room { readiness: readiness.clone(), had: None }
    }

    fn look(&mut self) {
        let missing = self.readiness.missing();
        let has = missing.is_empty();
        match self.had {
            Some(true) if !has => say!(
                error,
                faults::NOT_READY,
                missing = missing.join(", "),
                "not ready: disk and sink both fail, and clicks without room are answered as journal.on_full says"
            ),
            Some(false) if has => tracing::info!("ready again"),
            None if !has => return,
            _ => {}
        }
        self.had = Some(has);
    }
}

/// Step 6.
async fn drain(config: &Config, signal: &str, crew: Crew, not_draining: &Latch) -> Result<ExitCode> {
    let delay = config.server.pre_stop_delay;
    tracing::info!(event = "draining", signal, ?delay, "draining");
    not_draining.set(false);
    tokio::time::sleep(delay).await;
    let start = Instant::now();
    let ended = crew.drain(config).await;
    let took = start.elapsed();
    let late = ended.late.join(", ");
    match ended.shipped {
        Some(Summary { delivered, remaining, counted_all }) => {
            let (delivered, remaining): (u64, u64) = (delivered.iter().sum(), remaining.iter().sum());
            let more = if counted_all { "" } else { "at least " };
            let stay = match remaining {
                0 => "nothing stays in the journal".to_owned(),
                _ => format!("{more}{remaining} stay in the journal and are delivered by the next start"),
            };
            tracing::info!(
                event = "stopped",
                delivered,
                remain = remaining,
                ?took,
                late,
                "stopped: {delivered} clicks delivered, {stay}"
            );
        }
        None => tracing::error!(event = "stopped", ?took, late, "stopped; what is not delivered stays in the journal"),
    }
    Ok(if late.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
