//! The main thread: takes the process through the steps of the run-book.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::{JoinHandle, spawn_blocking, spawn_local},
    time::timeout,
};

use crate::{
    admin,
    api::{Api, ApiInputs, ApiSlot},
    catalog::Catalog,
    config::Config,
    faults::{self, log_fault},
    lifecycle::{self, Readiness, StopHandle},
    net::{
        self,
        listen::{ListenAddress, Listener},
    },
    server::{
        drain::mark_not_ready_wait_then_drain_failing_if_late,
        links_topic::{LinksTopic, LinksTopicThread},
        readiness_log::ReadinessLog,
        reload::{LoadedSource, ReloadHandle, certificates::CertificateReloader},
        service_manager::ServiceManager,
        signals::{SignalRequest, Signals},
        start::{PreparedServer, lock_data_dir_and_load_files},
        start_line::log_start_line,
        started::{StartedServer, StartupObserver},
        threads::{Heartbeat, ServerThreads},
    },
};

/// How often the main thread checks that the workers run, and that every lane has space.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it checks, while the process starts, whether every condition of readiness holds.
const READY_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How long the catalog has to end. What is acknowledged is on the disk before.
const CATALOG_GRACE: Duration = Duration::from_secs(5);

/// Serves until the process is told to stop.
///
/// # Errors
/// Anything that keeps it from serving: a port in use, a locked or broken data directory, bad links, no keys.
pub fn run_until_stopped(config: Config, observer: Arc<dyn StartupObserver>) -> Result<ExitCode> {
    let renderer = admin::install_global_recorder_and_describe_metrics()?;
    observer.on_metrics_recorder_installed();
    let runtime =
        Builder::new_current_thread().thread_name("wp-start").enable_all().build_local(LocalOptions::default())?;
    let result = runtime.block_on(start_serve_and_drain(Arc::new(config), renderer, observer));
    // A thread that hangs in a disk must not keep the process: what matters is in the journal.
    runtime.shutdown_timeout(Duration::ZERO);
    result
}

/// Takes the process through all steps.
async fn start_serve_and_drain(
    config: Arc<Config>,
    renderer: admin::MetricsRenderer,
    observer: Arc<dyn StartupObserver>,
) -> Result<ExitCode> {
    let (mut signals, manager) = (Signals::register()?, ServiceManager::from_env());
    let bound = bind_edge_and_admin_sockets(&config)?;
    let readiness = Readiness::default();
    let (loaded, not_draining) =
        (readiness.add_unmet_condition("links loaded"), readiness.add_unmet_condition("not draining"));
    not_draining.set(true);
    let api = ApiSlot::default();
    let admin =
        load_admin_certificates_and_spawn_listener(&config, bound.admin, renderer, readiness.clone(), api.clone())?;
    let listen: Vec<String> = bound.listen.iter().map(ListenAddress::to_string).collect();
    tracing::info!(event = "listening", listen = listen.join(","), admin = %bound.admin_address, "listening");

    let prepared = load_and_open_journals_unless_stopped(&config, bound.edge.len(), &observer, &mut signals).await?;
    let Some((mut prepared, mut catalog)) = prepared else { return Ok(ExitCode::SUCCESS) };
    let links_topic = start_api_and_links_topic(&config, &prepared, &mut catalog, &api, &readiness)?;
    loaded.set(true);
    if let Some(certificates) = admin.certificates {
        prepared.reloader.add(certificates);
    }
    let server = StartedServer { config: &config, listen: &bound.listen, admin: bound.admin_address };
    let edge_id = prepared.edge_id.clone();
    log_start_line(&server, &edge_id, prepared.links);
    let mut threads = ServerThreads::start_all(&config, bound.edge, prepared, &readiness).await?;
    let readiness_log = ReadinessLog::new(readiness.clone());
    let stopped = tokio::select! {
        stopped = handle_signals_and_check_threads_until_stop(
            &mut signals, &mut threads, readiness_log, &manager,
        ) => stopped,
        never = announce_first_readiness(&readiness, &edge_id, &manager, &*observer, &server) => match never {},
    };
    manager.notify_stopping();
    let exit_code = match stopped {
        Ok(signal) => Ok(mark_not_ready_wait_then_drain_failing_if_late(&config, signal, threads, &not_draining).await),
        Err(error) => Err(error),
    };
    // The admin listener ends last, so that a scrape sees the drain. Its own failure was logged.
    admin.stop.stop();
    let _ = admin.task.await;
    if let Some(topic) = links_topic {
        topic.stop().await;
    }
    // A catalog that hangs in a disk must not keep the process.
    let _ = timeout(CATALOG_GRACE, spawn_blocking(move || catalog.stop())).await;
    exit_code
}

/// Starts the API, and reading the topic of links if they come from one. Returns the thread that reads it.
fn start_api_and_links_topic(
    config: &Config,
    prepared: &PreparedServer,
    catalog: &mut Catalog,
    api: &ApiSlot,
    readiness: &Readiness,
) -> Result<Option<LinksTopicThread>> {
    // The API's handle is made behind this, and so its writes go to the topic.
    let topic = LinksTopic::take_writes_if_configured(config, catalog);
    let inputs = ApiInputs {
        catalog: catalog.handle(),
        source: prepared.source,
        edge: prepared.edge.clone(),
        configured_domains: Arc::new(config.domains.clone()),
        policy: config.links.destination_policy(),
    };
    api.set(Api::start(inputs)?);
    topic.map(|topic| topic.start(config, &prepared.edge_id, readiness)).transpose()
}

/// The sockets of step 1.
struct BoundSockets {
    /// The listeners of each worker.
    edge: Vec<Vec<Listener>>,
    listen: Vec<ListenAddress>,
    admin: TcpListener,
    admin_address: SocketAddr,
}

/// Step 1.
fn bind_edge_and_admin_sockets(config: &Config) -> Result<BoundSockets> {
    let edge =
        net::listen::open_listeners_by_worker(&config.edge.listen, config.edge.workers()).context("edge.listen")?;
    for listener in edge.iter().flatten() {
        // As long as a connection may be silent between two requests: a phone in a tunnel needs that long, too.
        listener
            .set_unacknowledged_data_timeout_if_tcp(config.edge.limits.idle_timeout)
            .context("edge.limits.idle_timeout")?;
    }
    let admin = net::listen::bind_tcp(config.admin.listen).context("admin.listen")?;
    let listen = edge.first().map(|own| own.iter().map(Listener::local_address).collect()).transpose()?;
    Ok(BoundSockets { listen: listen.unwrap_or_default(), admin_address: admin.local_addr()?, edge, admin })
}

/// The running admin listener.
struct AdminListener {
    task: JoinHandle<std::io::Result<()>>,
    stop: StopHandle,
    /// To be kept up to date with its files once the process serves.
    certificates: Option<LoadedSource<CertificateReloader>>,
}

/// Reads the certificates of the admin listener and serves it on this thread.
fn load_admin_certificates_and_spawn_listener(
    config: &Config,
    listener: TcpListener,
    renderer: admin::MetricsRenderer,
    readiness: Readiness,
    api: ApiSlot,
) -> Result<AdminListener> {
    let certificates = CertificateReloader::load_for_admin_if_configured(config)?;
    let (certificates, offered) = certificates.map(|admin| (admin.loaded, admin.offered)).unzip();
    let (handle, stop) = lifecycle::stop_signal();
    let task = spawn_local(admin::serve_admin_until_stop(
        listener,
        offered,
        renderer,
        readiness,
        config.admin.hosts.clone(),
        api,
        stop,
    ));
    Ok(AdminListener { task, stop: handle, certificates })
}

/// Steps 2 and 3, on a thread of their own; `None` if a stop signal came before the journal is opened. A later signal
/// waits until the journal is open, and then closes it in good order.
async fn load_and_open_journals_unless_stopped(
    config: &Arc<Config>,
    workers: usize,
    observer: &Arc<dyn StartupObserver>,
    signals: &mut Signals,
) -> Result<Option<(PreparedServer, Catalog)>> {
    let (config_to_load, observer) = (config.clone(), observer.clone());
    let loading = spawn_blocking(move || {
        lock_data_dir_and_load_files(&config_to_load, &|progress| observer.on_links_progress(progress))
    });
    let loaded = tokio::select! {
        loaded = loading => loaded.context("the start-up failed")??,
        signal = signals.wait_for_stop_and_return_signal_name() => {
            tracing::info!(signal, "stopped before it was ready; the journal is as it was");
            return Ok(None);
        }
    };
    let config = config.clone();
    let opening = spawn_blocking(move || loaded.recover_and_open_journals(&config, workers));
    Ok(Some(opening.await.context("the start-up failed")??))
}

/// Waits until every condition of readiness holds for the first time, and tells the log, the service manager and the
/// observer. Never resolves.
async fn announce_first_readiness(
    readiness: &Readiness,
    edge_id: &str,
    manager: &ServiceManager,
    observer: &dyn StartupObserver,
    server: &StartedServer<'_>,
) -> Infallible {
    while !readiness.list_missing_conditions().is_empty() {
        tokio::time::sleep(READY_CHECK_INTERVAL).await;
    }
    tracing::info!(event = "ready", edge = edge_id, "ready");
    manager.notify_ready();
    observer.on_ready(server);
    std::future::pending().await
}

/// Step 5: obeys signals and checks the threads until a stop signal, whose name is returned.
///
/// # Errors
/// All workers ended without being told to.
async fn handle_signals_and_check_threads_until_stop(
    signals: &mut Signals,
    threads: &mut ServerThreads,
    mut readiness_log: ReadinessLog,
    manager: &ServiceManager,
) -> Result<&'static str> {
    let mut checks = ThreadChecks { heartbeat: threads.heartbeat(), is_reload_stuck: false };
    let (workers, reload) = threads.workers_end_and_reload();
    let mut workers_ended = std::pin::pin!(workers.wait());
    let mut check_interval = tokio::time::interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            request = signals.wait_for_next_request() => match request {
                SignalRequest::Stop(signal) => return Ok(signal),
                SignalRequest::Reload => {
                    tracing::info!("SIGHUP: links, keys, certificates and MMDB files are read again");
                    manager.notify_reloading_if_ready_before();
                    reload.request_reload();
                }
                SignalRequest::Ignore(signal) => {
                    tracing::info!(signal, "ignored: the log goes to the standard error stream, no file is reopened");
                }
            },
            () = reload.wait_until_requested_reload_finished() => manager.notify_reloaded_if_ready_before(),
            _ = check_interval.tick() => {
                readiness_log.log_if_readiness_changed();
                checks.log_when_reload_gets_stuck_or_recovers(reload);
                // A worker that is stuck answers nobody: without this the manager starts the process anew.
                if checks.heartbeat.have_all_workers_ticked_since_last_call() {
                    manager.send_watchdog_ping_if_watched();
                }
            }
            () = &mut workers_ended => bail!("the workers ended without being told to; the log says why"),
        }
    }
}

/// What the main thread knows of the other threads.
struct ThreadChecks {
    heartbeat: Heartbeat,
    is_reload_stuck: bool,
}

impl ThreadChecks {
    /// Logs once that the reload thread is stuck, and once that it is not any more.
    fn log_when_reload_gets_stuck_or_recovers(&mut self, reload: &ReloadHandle) {
        let time_busy_if_stuck = reload.time_busy_if_stuck();
        match time_busy_if_stuck {
            Some(time_busy_if_stuck) if !self.is_reload_stuck => log_fault!(
                error,
                faults::RELOAD_STUCK,
                seconds = time_busy_if_stuck.as_secs(),
                "files are not read again: wp-reload waits for a file system; what was read before is served on"
            ),
            None if self.is_reload_stuck => tracing::info!("files are read again"),
            _ => {}
        }
        self.is_reload_stuck = time_busy_if_stuck.is_some();
    }
}
