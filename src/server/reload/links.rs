//! Reloads the links file: builds a table of its links, publishes it, lets the catalog keep them, and frees the table
//! that it replaces.

use std::{
    fs::File,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    catalog::CatalogHandle,
    clock,
    edge::snapshot::Edge,
    faults,
    file_watch::{FileVersion, FileVersions, read_versions},
    links::{
        Config, Table,
        batch::BatchRules,
        destination::policy::DestinationPolicy,
        domains::Domains,
        file::{LoadError, LoadRequest, LoadedFile, Progress, at_line, load_and_validate_file},
    },
    metrics,
    server::reload::{LoadedSource, ReloadCounters, ReloadError, ReloadErrorKind, ReloadOutcome, ReloadSource},
};

/// How often the first load is repeated while the file is being written.
const FIRST_LOAD_ATTEMPTS: u32 = 5;

/// The links file of a serving process.
pub(in crate::server) struct LinkReloader {
    path: PathBuf,
    policy: DestinationPolicy,
    domains: Arc<Domains>,
    allow_shrink: bool,
    poll_interval: Duration,
    served: Arc<Table>,
    /// Keeps the links for the next start.
    catalog: CatalogHandle,
    is_frozen_logged: bool,
    /// Replaced tables that a worker may still be reading.
    replaced: Vec<Arc<Table>>,
    metrics: LinkMetrics,
    counters: ReloadCounters,
}

struct LinkMetrics {
    links: ::metrics::Gauge,
    last_success: ::metrics::Gauge,
    load_seconds: ::metrics::Histogram,
}

impl LinkMetrics {
    fn register() -> LinkMetrics {
        LinkMetrics {
            links: metrics::gauge(&metrics::LINKS, &[]),
            last_success: metrics::gauge(&metrics::LINKS_LAST_RELOAD_SUCCESS, &[]),
            load_seconds: metrics::histogram(&metrics::LINKS_LOAD_SECONDS, &[]),
        }
    }
}

/// What the links file is loaded with for the first time.
pub(in crate::server) struct FirstLoad<'a> {
    /// The file.
    pub(in crate::server) path: PathBuf,
    pub(in crate::server) config: &'a Config,
    pub(in crate::server) domains: Arc<Domains>,
    /// The links of the last good version; empty if there was none.
    pub(in crate::server) last_good: Arc<Table>,
    /// The version of the file that the catalog has all links of, if it is that of the file now.
    pub(in crate::server) held_version: Option<FileVersion>,
    pub(in crate::server) catalog: CatalogHandle,
    /// Called as the load proceeds, from several threads.
    pub(in crate::server) progress: &'a (dyn Fn(Progress) + Sync),
}

impl LinkReloader {
    /// Loads the file for the first time, on every core. If the file is bad or missing, the last good links are served
    /// with an alarm, unless `links.require_file` forbids it. A file that the catalog has all links of is not read.
    ///
    /// # Errors
    /// The file is not loaded, or changed while it was read at each of [`FIRST_LOAD_ATTEMPTS`] attempts; and no last
    /// good links are there, or may be served.
    pub(in crate::server) fn load_first_or_serve_last_good(
        first: FirstLoad<'_>,
    ) -> Result<LoadedSource<LinkReloader>, LoadError> {
        let FirstLoad { path, config, domains, last_good, held_version, catalog, progress } = first;
        let counter = |result| metrics::counter(&metrics::LINKS_RELOADS, &[result]);
        let has_last_good = !last_good.is_empty();
        let mut reloader = LinkReloader {
            path,
            policy: config.destination_policy(),
            domains,
            allow_shrink: config.allow_shrink,
            poll_interval: config.poll_interval,
            served: last_good,
            catalog,
            is_frozen_logged: false,
            replaced: Vec::new(),
            metrics: LinkMetrics::register(),
            counters: ReloadCounters {
                published: counter("ok"),
                refused: counter("refused"),
                unreadable: counter("failed"),
            },
        };
        if let Some(version) = held_version.filter(|_| has_last_good) {
            reloader.measure_links();
            tracing::info!(
                links = reloader.served.len(),
                "{}: is as it was; its links are those of the catalog",
                reloader.path.display()
            );
            let versions = FileVersions::from([(reloader.path.clone(), Some(version))]);
            return Ok(LoadedSource { source: reloader, versions });
        }
        if has_last_good && reloader.postpone_if_frozen() {
            reloader.measure_links();
            // The file counts as changed, and is read once links may change again.
            let versions = FileVersions::from([(reloader.path.clone(), None)]);
            return Ok(LoadedSource { source: reloader, versions });
        }
        let versions = reloader.read_file_versions();
        match reloader.load_file_retrying_if_changed_while_reading(has_last_good, progress) {
            Ok(loaded) => {
                let versions = FileVersions::from([(reloader.path.clone(), Some(loaded.version))]);
                reloader.log_and_replace_served_table(loaded);
                Ok(LoadedSource { source: reloader, versions })
            }
            Err(error) if has_last_good && !config.require_file => {
                let outcome = ReloadOutcome::Failed(vec![to_reload_error(&error)]);
                reloader.counters.count_outcome(&outcome);
                to_reload_error(&error).log_with_kept_content(reloader.kept_content());
                reloader.metrics.links.set(reloader.served.len() as f64);
                Ok(LoadedSource { source: reloader, versions })
            }
            Err(error) => Err(error),
        }
    }

    fn load_file_retrying_if_changed_while_reading(
        &self,
        has_last_good: bool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<LoadedFile, LoadError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let served = has_last_good.then_some(&*self.served);
        let mut loaded = self.load_links_file(served, threads, progress);
        for _ in 1..FIRST_LOAD_ATTEMPTS {
            if !matches!(loaded, Err(LoadError::ChangedWhileReading(_))) {
                break;
            }
            loaded = self.load_links_file(served, threads, progress);
        }
        loaded
    }

    /// The links that are served now.
    pub(in crate::server) fn table(&self) -> Arc<Table> {
        self.served.clone()
    }

    fn load_links_file(
        &self,
        served: Option<&Table>,
        threads: usize,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<LoadedFile, LoadError> {
        let rules = BatchRules {
            policy: &self.policy,
            domains: &self.domains,
            now_ms: clock::wall_ms(),
            served,
            latest_version: self.catalog.latest_version(),
            allow_shrink: self.allow_shrink,
        };
        load_and_validate_file(&LoadRequest { path: &self.path, rules, threads, progress })
    }

    /// Replaces the served table, logs and measures the load, and lets the catalog keep the links.
    fn log_and_replace_served_table(&mut self, loaded: LoadedFile) {
        let LoadedFile { table, links, removed, version, warnings, warnings_total, duration } = loaded;
        let path = self.path.display();
        for warning in &warnings {
            tracing::warn!("{}", at_line(&self.path, warning));
        }
        if warnings_total > warnings.len() as u64 {
            tracing::warn!("{path}: {warnings_total} warnings in all");
        }
        tracing::info!(links, ms = duration.as_millis() as u64, "{path}: links loaded");
        if removed > 0 {
            let before = self.served.len();
            tracing::warn!(removed, links, "{path}: {removed} of {before} links are gone, their codes answer 404 now");
        }
        self.metrics.load_seconds.record(duration.as_secs_f64());
        let replaced = std::mem::replace(&mut self.served, Arc::new(table));
        self.replaced.push(replaced);
        self.measure_links();
        self.let_catalog_keep_links_of(version);
    }

    /// Whether links are frozen, which is logged once.
    fn postpone_if_frozen(&mut self) -> bool {
        let is_frozen = self.catalog.is_frozen();
        if is_frozen && !self.is_frozen_logged {
            tracing::warn!("{}: links are frozen; the file is read behind `links unfreeze`", self.path.display());
        }
        self.is_frozen_logged = is_frozen;
        is_frozen
    }

    fn measure_links(&self) {
        self.metrics.links.set(self.served.len() as f64);
        self.metrics.last_success.set(clock::wall_ms() as f64 / 1000.0);
    }

    /// If the file has changed since it was loaded, its next load is kept instead.
    fn let_catalog_keep_links_of(&self, version: FileVersion) {
        let Ok(file) = File::open(&self.path) else { return };
        let is_same = file.metadata().is_ok_and(|metadata| FileVersion::from_metadata(&metadata) == version);
        if is_same {
            self.catalog.keep_links_of_file(&self.path, file, &version, self.served.clone());
        }
    }

    /// Frees replaced tables that no worker reads any more. No worker can begin to read one: none of them is published.
    fn free_unread_tables(&mut self) {
        self.replaced.retain(|table| Arc::strong_count(table) > 1);
    }
}

impl ReloadSource for LinkReloader {
    fn poll_interval(&self) -> Duration {
        self.poll_interval
    }

    fn read_file_versions(&self) -> FileVersions {
        read_versions([self.path.clone()])
    }

    /// Loads on one thread, so that the workers keep their cores.
    fn read_and_publish(&mut self, edge: &ArcSwap<Edge>) -> ReloadOutcome {
        if self.postpone_if_frozen() {
            return ReloadOutcome::Postponed;
        }
        let started = Instant::now();
        self.domains = edge.load().domains().clone();
        match self.load_links_file(Some(&self.served), 1, &|_| {}) {
            // The links are those of domains that have changed since.
            Ok(_) if !Arc::ptr_eq(&self.domains, edge.load().domains()) => ReloadOutcome::ChangedWhileReading,
            Ok(loaded) => {
                self.log_and_replace_served_table(loaded);
                edge.rcu(|edge| edge.with_links(self.served.clone()));
                ReloadOutcome::Published
            }
            Err(LoadError::ChangedWhileReading(path)) => {
                tracing::debug!("{}: changed while it was read", path.display());
                ReloadOutcome::ChangedWhileReading
            }
            Err(error) => {
                self.metrics.load_seconds.record(started.elapsed().as_secs_f64());
                ReloadOutcome::Failed(vec![to_reload_error(&error)])
            }
        }
    }

    fn kept_content(&self) -> &'static str {
        "the links of its last version are served on"
    }

    fn counters(&self) -> &ReloadCounters {
        &self.counters
    }

    fn update_after_check(&mut self) {
        self.free_unread_tables();
    }
}

fn to_reload_error(error: &LoadError) -> ReloadError {
    let (kind, fault) = match error {
        LoadError::Io { .. } => (ReloadErrorKind::Unreadable, faults::LINKS_UNREADABLE),
        _ => (ReloadErrorKind::Refused, faults::LINKS_REFUSED),
    };
    let (message, details) = match error {
        LoadError::Lines(errors) => {
            (format!("{}: refused, {} errors", errors.path.display(), errors.total), errors.messages().collect())
        }
        error => (error.to_string(), Vec::new()),
    };
    ReloadError { kind, fault: Some(fault), message, details }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        attribution::keyring::Keyring,
        catalog::{Catalog, LinkSource, OpenedCatalog},
        client::address::TrustedProxies,
        file_watch::FileChange,
        server::reload::{Reloader, WatchedSource},
    };

    /// Long enough for any machine; reached only by a test that fails.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn lines(codes: std::ops::Range<u32>) -> String {
        let line = |n| {
            let rest = r#""kind":"plain","created_at":"2026-11-01T00:00:00Z""#;
            format!(r#"{{"code":"a{n}","url":"https://shop.example.com/",{rest}}}"#)
        };
        codes.map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    /// A links file of 20 links in a directory, its reloader, and the edge that it publishes to.
    struct Fixture {
        dir: tempfile::TempDir,
        path: PathBuf,
        edge: Arc<ArcSwap<Edge>>,
        catalog: Catalog,
    }

    impl Fixture {
        fn open(config: Config) -> (Fixture, LoadedSource<LinkReloader>) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("links.jsonl");
            fs::write(&path, lines(0..20)).unwrap();
            let domains = Arc::new(Domains::new(&crate::links::domains::Config::default()).unwrap());
            let policy = config.destination_policy();
            let opened = OpenedCatalog::open_or_create(dir.path(), policy, domains.clone(), 1).unwrap();
            let last_good = opened.table.clone();
            let catalog = opened.start(LinkSource::File).unwrap();
            let loaded = LinkReloader::load_first_or_serve_last_good(FirstLoad {
                path: path.clone(),
                config: &config,
                domains: domains.clone(),
                last_good,
                held_version: None,
                catalog: catalog.handle(),
                progress: &|_| {},
            })
            .unwrap();
            let keys = Arc::new(Keyring::load_or_create_file_with_new_key(&dir.path().join("keys.json"), 0).unwrap());
            let edge = Edge::new(loaded.source.table(), keys, domains, Arc::new(TrustedProxies::default()));
            (Fixture { dir, path, edge: Arc::new(ArcSwap::from_pointee(edge)), catalog }, loaded)
        }

        fn replace(&self, text: &str) {
            let beside = self.dir.path().join("links.new");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &self.path).unwrap();
        }

        /// Waits until this many links are published.
        fn wait_for_links(&self, count: usize) {
            let deadline = Instant::now() + DEADLINE;
            while self.edge.load().links().len() != count {
                assert!(Instant::now() < deadline, "{count} links");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn fast() -> Config {
        Config { poll_interval: Duration::from_millis(10), ..Config::default() }
    }

    /// A source that is checked by hand.
    fn watched(loaded: LoadedSource<LinkReloader>) -> WatchedSource {
        let mut watched = WatchedSource::new(Box::new(loaded.source), loaded.versions);
        watched.next_check = Instant::now();
        watched
    }

    fn reloads(watched: &mut WatchedSource, fixture: &Fixture) -> Arc<Table> {
        watched.next_check = Instant::now();
        watched.check_if_due_and_reload_settled_change(&fixture.edge);
        fixture.edge.load().links().clone()
    }

    #[test]
    fn a_change_is_published_by_itself_and_a_bad_one_is_not() {
        let (fixture, loaded) = Fixture::open(fast());
        let mut all = Reloader::default();
        all.add(loaded);
        let handle = all.start_reload_thread(fixture.edge.clone()).unwrap();
        fixture.replace(&lines(0..25));
        fixture.wait_for_links(25);
        fs::write(&fixture.path, "{").unwrap();
        fs::write(&fixture.path, lines(0..26)).unwrap();
        fixture.wait_for_links(26);
        fs::remove_file(&fixture.path).unwrap();
        fixture.replace(&lines(0..27));
        fixture.wait_for_links(27);
        drop(handle);
    }

    #[test]
    fn a_refused_version_keeps_the_old_links_and_is_not_read_again() {
        let (fixture, loaded) = Fixture::open(Config::default());
        let mut watched = watched(loaded);
        let served = fixture.edge.load().links().clone();
        for bad in ["{".to_owned(), String::new(), lines(0..10), lines(0..20) + &lines(3..4)] {
            fixture.replace(&bad);
            for expected in [FileChange::Settling, FileChange::Settled] {
                assert_eq!(
                    watched.detector.compare_with_loaded_and_last_check(watched.source.read_file_versions()),
                    expected
                );
            }
            assert!(Arc::ptr_eq(&reloads(&mut watched, &fixture), &served));
            assert_eq!(
                watched.detector.compare_with_loaded_and_last_check(watched.source.read_file_versions()),
                FileChange::Unchanged
            );
        }
        fs::remove_file(&fixture.path).unwrap();
        watched.reload_count_outcome_and_log_errors(&fixture.edge);
        assert!(Arc::ptr_eq(fixture.edge.load().links(), &served));
        fixture.replace(&lines(0..20));
        watched.reload_count_outcome_and_log_errors(&fixture.edge);
        assert!(!Arc::ptr_eq(fixture.edge.load().links(), &served));
    }

    #[test]
    fn a_requested_reload_is_done_at_once_and_its_end_is_told() {
        let config = Config { allow_shrink: true, poll_interval: Duration::from_secs(3600), ..Config::default() };
        let (fixture, loaded) = Fixture::open(config);
        let mut all = Reloader::default();
        all.add(loaded);
        let mut handle = all.start_reload_thread(fixture.edge.clone()).unwrap();
        fs::write(&fixture.path, "").unwrap();
        handle.request_reload();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(DEADLINE, handle.wait_until_requested_reload_finished()).await })
            .unwrap();
        assert_eq!(fixture.edge.load().links().len(), 0);
        assert!(handle.time_busy_if_stuck().is_none());
    }

    #[test]
    fn a_changed_link_has_a_later_version_than_all_that_the_catalog_wrote_before() {
        let (fixture, LoadedSource { source: mut reloader, .. }) =
            Fixture::open(Config { allow_shrink: true, ..Config::default() });
        let reader = || fixture.catalog.handle().open_reader().unwrap();
        let wait_for_version = |version: u64| {
            let deadline = Instant::now() + DEADLINE;
            while reader().version().unwrap() < version {
                assert!(Instant::now() < deadline, "version {version}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for_version(20);
        fixture.replace(&lines(0..1));
        assert!(matches!(reloader.read_and_publish(&fixture.edge), ReloadOutcome::Published));
        // 19 links are removed, each with a version of its own.
        wait_for_version(21 + 19);
        let before = reader().version().unwrap();
        fixture.replace(&lines(0..1).replace("https://shop.example.com/", "https://shop.example.com/other"));
        assert!(matches!(reloader.read_and_publish(&fixture.edge), ReloadOutcome::Published));
        let mut version = 0;
        reloader.table().for_each(|link| version = link.version());
        assert!(version > before, "{version} after {before}");
    }

    #[test]
    fn a_replaced_table_is_freed_once_its_last_reader_is_gone() {
        let (fixture, LoadedSource { source: mut reloader, .. }) = Fixture::open(Config::default());
        reloader.update_after_check();
        let reader = reloader.table();
        assert!(matches!(reloader.read_and_publish(&fixture.edge), ReloadOutcome::Published));
        reloader.update_after_check();
        assert_eq!(reloader.replaced.len(), 1);
        drop(reader);
        // The catalog reads the table until its links are kept.
        let deadline = Instant::now() + DEADLINE;
        while !reloader.replaced.is_empty() {
            assert!(Instant::now() < deadline, "the table is not freed");
            std::thread::sleep(Duration::from_millis(5));
            reloader.update_after_check();
        }
    }
}
