//! Keeps links, keys, certificates, ACME challenges and MMDB files up to date while the process serves.
//!
//! One thread, `wp-reload`, does the same for each of them: check the files for a change, or obey SIGHUP; read and
//! validate them; publish the content if it is good, else keep what is published; log and count the result. No other
//! thread reads these files while the process serves. So a file system that hangs stops reloads, and stops no worker,
//! no delivery, no `/livez` and no watchdog; the main thread logs it ([`ReloadHandle::time_busy_if_stuck`]).
//!
//! The sources share the thread: while a large links file loads (about a second a million links), a changed certificate
//! or a new ACME challenge waits.

pub(in crate::server) mod certificates;
pub(in crate::server) mod challenges;
pub(in crate::server) mod config_file;
pub(in crate::server) mod geoip;
pub(in crate::server) mod keyring;
pub(in crate::server) mod links;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::config_file::ConfigFileCheck;
use crate::{
    edge::snapshot::Edge,
    faults::{Fault, log_fault},
    file_watch::{ChangeDetector, FileChange, FileVersions},
};

/// Files that are read again while the process serves.
pub(in crate::server) trait ReloadSource: Send {
    /// How often the files are checked for a change.
    fn poll_interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The versions that the files are at now.
    fn read_file_versions(&self) -> FileVersions;

    /// Reads and validates the files, and publishes their content to the workers if it is good.
    fn read_and_publish(&mut self, edge: &ArcSwap<Edge>) -> ReloadOutcome;

    /// What is published on after an error, for the log.
    fn kept_content(&self) -> &'static str;

    /// The counters of the outcomes.
    fn counters(&self) -> &ReloadCounters;

    /// Updates what changes without a change of the files. Called after each check.
    fn update_after_check(&mut self) {}
}

/// What became of one reload.
pub(in crate::server) enum ReloadOutcome {
    /// The content was good and is published.
    Published,
    /// Some or all of the content was bad, for these reasons; what was good is published.
    Failed(Vec<ReloadError>),
    /// A file was written to while it was read. The next checks find the change again.
    ChangedWhileReading,
    /// The content may not change now. The next checks find the change again.
    Postponed,
}

/// A reason why content is not published.
pub(in crate::server) struct ReloadError {
    kind: ReloadErrorKind,
    /// `None` for an error that puts no click at risk; it is logged as a warning.
    fault: Option<Fault>,
    /// Names the file and what is wrong.
    message: String,
    /// Lines of the log before the message.
    details: Vec<String>,
}

impl ReloadOutcome {
    /// One file failed for one reason. `faults` are those of a file that cannot be read, and of one that is refused.
    fn failed(kind: ReloadErrorKind, faults: [Fault; 2], message: String) -> ReloadOutcome {
        let fault = match kind {
            ReloadErrorKind::Unreadable => faults[0],
            ReloadErrorKind::Refused => faults[1],
        };
        ReloadOutcome::Failed(vec![ReloadError { kind, fault: Some(fault), message, details: Vec::new() }])
    }
}

/// What a failed reload is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum ReloadErrorKind {
    /// A file cannot be read.
    Unreadable,
    /// The content breaks a rule.
    Refused,
}

impl ReloadError {
    fn log_with_kept_content(&self, kept_content: &str) {
        for detail in &self.details {
            tracing::error!("{detail}");
        }
        match self.fault {
            Some(fault) => log_fault!(error, fault, "{}; {kept_content}", self.message),
            None => tracing::warn!("{}; {kept_content}", self.message),
        }
    }
}

/// How often reloads ended in each way.
pub(in crate::server) struct ReloadCounters {
    pub(in crate::server) published: ::metrics::Counter,
    pub(in crate::server) refused: ::metrics::Counter,
    pub(in crate::server) unreadable: ::metrics::Counter,
}

impl ReloadCounters {
    /// Counts what was published and what was not; a file that cannot be read counts as refused.
    fn of_ok_and_refused(counter_of: impl Fn(&'static str) -> ::metrics::Counter) -> ReloadCounters {
        let refused = counter_of("refused");
        ReloadCounters { published: counter_of("ok"), unreadable: refused.clone(), refused }
    }

    fn count_outcome(&self, outcome: &ReloadOutcome) {
        match outcome {
            ReloadOutcome::Published => self.published.increment(1),
            ReloadOutcome::ChangedWhileReading | ReloadOutcome::Postponed => {}
            ReloadOutcome::Failed(errors) => {
                for error in errors {
                    match error.kind {
                        ReloadErrorKind::Unreadable => self.unreadable.increment(1),
                        ReloadErrorKind::Refused => self.refused.increment(1),
                    }
                }
            }
        }
    }
}

/// A source with what is known of its files.
struct WatchedSource {
    source: Box<dyn ReloadSource>,
    detector: ChangeDetector,
    next_check: Instant,
}

impl WatchedSource {
    /// `loaded` are the versions whose content is published.
    fn new(source: Box<dyn ReloadSource>, loaded: FileVersions) -> WatchedSource {
        let next_check = Instant::now() + source.poll_interval();
        WatchedSource { source, detector: ChangeDetector::new(loaded), next_check }
    }

    /// Checks the files if the poll interval is over, and reloads them once a change has settled.
    fn check_if_due_and_reload_settled_change(&mut self, edge: &ArcSwap<Edge>) {
        if Instant::now() < self.next_check {
            return;
        }
        if self.detector.compare_with_loaded_and_last_check(self.source.read_file_versions()) == FileChange::Settled {
            self.reload_count_outcome_and_log_errors(edge);
        }
        self.source.update_after_check();
        self.next_check = Instant::now() + self.source.poll_interval();
    }

    /// Reloads the files, changed or not. Content that was refused is not read again until it changes.
    fn reload_count_outcome_and_log_errors(&mut self, edge: &ArcSwap<Edge>) {
        let versions = self.source.read_file_versions();
        let outcome = self.source.read_and_publish(edge);
        self.source.counters().count_outcome(&outcome);
        match outcome {
            ReloadOutcome::ChangedWhileReading | ReloadOutcome::Postponed => return,
            ReloadOutcome::Published => {}
            ReloadOutcome::Failed(errors) => {
                errors.iter().for_each(|error| error.log_with_kept_content(self.source.kept_content()));
            }
        }
        self.detector.mark_loaded(versions);
    }
}

/// A source whose content is read and not published yet.
pub(in crate::server) struct LoadedSource<S> {
    pub(in crate::server) source: S,
    /// The versions that the files had before they were read.
    pub(in crate::server) versions: FileVersions,
}

/// The sources of a process that starts.
#[derive(Default)]
pub(in crate::server) struct Reloader {
    sources: Vec<WatchedSource>,
    config_file: Option<ConfigFileCheck>,
}

impl Reloader {
    /// Adds a source, which is watched from the start of the thread on.
    pub(in crate::server) fn add(&mut self, loaded: LoadedSource<impl ReloadSource + 'static>) {
        self.sources.push(WatchedSource::new(Box::new(loaded.source), loaded.versions));
    }

    /// Tells at each requested reload whether the configuration file has changed.
    pub(in crate::server) fn check_config_file(&mut self, file: ConfigFileCheck) {
        self.config_file = Some(file);
    }

    /// Starts the thread `wp-reload`, which publishes to `edge`. It ends after the handle is dropped.
    pub(in crate::server) fn start_reload_thread(mut self, edge: Arc<ArcSwap<Edge>>) -> Result<ReloadHandle> {
        let (requests, requested) = mpsc::channel();
        let (finished_sender, finished) = unbounded_channel();
        let activity = Arc::new(ReloadActivity::new());
        let shared = activity.clone();
        let run =
            move || self.reload_on_request_or_change_until_handle_dropped(&edge, &requested, &finished_sender, &shared);
        std::thread::Builder::new()
            .name("wp-reload".to_owned())
            .spawn(run)
            .context("cannot start the thread wp-reload")?;
        Ok(ReloadHandle { requests, finished, activity })
    }

    fn reload_on_request_or_change_until_handle_dropped(
        &mut self,
        edge: &ArcSwap<Edge>,
        requested: &mpsc::Receiver<()>,
        finished: &UnboundedSender<()>,
        activity: &ReloadActivity,
    ) {
        loop {
            match requested.recv_timeout(self.time_to_next_check()) {
                Ok(()) => {
                    // Several requests in a row are one.
                    while requested.try_recv().is_ok() {}
                    activity.begin();
                    if let Some(file) = &self.config_file {
                        file.log_if_changed_since_start();
                    }
                    self.sources.iter_mut().for_each(|source| source.reload_count_outcome_and_log_errors(edge));
                    // An error: the process stops, and nobody waits for the reload any more.
                    let _ = finished.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    activity.begin();
                    self.sources.iter_mut().for_each(|source| source.check_if_due_and_reload_settled_change(edge));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            activity.end();
        }
    }

    fn time_to_next_check(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(3600);
        let next = self.sources.iter().map(|source| source.next_check).min();
        next.map_or(LONGEST, |next| next.saturating_duration_since(Instant::now()))
    }
}

/// Since when the reload thread has been reading files.
struct ReloadActivity {
    epoch: Instant,
    /// Milliseconds from `epoch` to the start of the current round; 0 between rounds.
    busy_since_ms: AtomicU64,
}

impl ReloadActivity {
    fn new() -> ReloadActivity {
        ReloadActivity { epoch: Instant::now(), busy_since_ms: AtomicU64::new(0) }
    }

    fn begin(&self) {
        let now_ms = self.epoch.elapsed().as_millis() as u64;
        self.busy_since_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    fn end(&self) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
    }

    fn time_since_reload_began(&self) -> Option<Duration> {
        match self.busy_since_ms.load(Ordering::Relaxed) {
            0 => None,
            since_ms => Some(self.epoch.elapsed().saturating_sub(Duration::from_millis(since_ms))),
        }
    }
}

/// A round of checks and reloads that takes longer than this hangs, or loads an extraordinary number of links.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The main thread's side of the reload thread, which ends once this is dropped.
pub(in crate::server) struct ReloadHandle {
    requests: mpsc::Sender<()>,
    finished: UnboundedReceiver<()>,
    activity: Arc<ReloadActivity>,
}

impl ReloadHandle {
    /// Asks for a reload of every source, changed or not. Does not wait.
    pub(in crate::server) fn request_reload(&self) {
        // The thread ends only with this handle, so there is always somebody who receives.
        let _ = self.requests.send(());
    }

    /// Resolves when a requested reload is finished, whatever its outcome.
    pub(in crate::server) async fn wait_until_requested_reload_finished(&mut self) {
        if self.finished.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// How long the thread has been busy with one round, if that is longer than [`STUCK_AFTER`].
    pub(in crate::server) fn time_busy_if_stuck(&self) -> Option<Duration> {
        self.activity.time_since_reload_began().filter(|busy| *busy > STUCK_AFTER)
    }
}
