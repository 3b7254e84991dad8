//! Keeps the served table up to the links file: watches it, and can be kicked (SIGHUP).
//!
//! Everything is done on the feeder's own thread: reading, building, and also freeing the table that was replaced, once
//! no worker reads it any more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::{
    clock,
    faults::{self, say},
    lifecycle::Stop,
    links::{
        Config, Table,
        destination::entry::Rules,
        domains::Domains,
        file::{
            self, Load, Loaded, Progress,
            mistakes::{LoadError, at_line},
        },
    },
    metrics,
    watch::{Seen, Version, Watch},
};

/// How soon the feeder sees that it is to stop.
const TICK: Duration = Duration::from_millis(100);

/// How often the first load tries a file that is being written.
const ATTEMPTS: u32 = 5;

/// Feeds the table from a file.
pub struct Feeder {
    watch: Watch,
    rules: Rules,
    domains: Arc<Domains>,
    allow_shrink: bool,
    poll_interval: Duration,
    served: Arc<Table>,
    /// Replaced tables that somebody may still be reading.
    retired: Vec<Arc<Table>>,
    /// Whether it was said that the file is missing.
    missing: bool,
    kicks: (mpsc::Sender<()>, mpsc::Receiver<()>),
    metrics: Metrics,
}

/// Makes a feeder read its file now.
#[derive(Clone, Debug)]
pub struct Kick(mpsc::Sender<()>);

impl Kick {
    /// Asks for a load, whether the file seems changed or not.
    pub fn reload(&self) {
        // A feeder that has ended reads nothing any more.
        let _ = self.0.send(());
    }
}

struct Metrics {
    links: ::metrics::Gauge,
    loaded: ::metrics::Gauge,
    seconds: ::metrics::Histogram,
    ok: ::metrics::Counter,
    refused: ::metrics::Counter,
    failed: ::metrics::Counter,
}

impl Metrics {
    fn new() -> Metrics {
        Metrics {
            links: metrics::gauge(&metrics::LINKS, &[]),
            loaded: metrics::gauge(&metrics::LINKS_LOADED, &[]),
            seconds: metrics::histogram(&metrics::LINKS_LOAD_SECONDS, &[]),
            ok: metrics::counter(&metrics::LINKS_RELOADS, &["ok"]),
            refused: metrics::counter(&metrics::LINKS_RELOADS, &["refused"]),
            failed: metrics::counter(&metrics::LINKS_RELOADS, &["failed"]),
        }
    }
}

impl Feeder {
    /// Loads the file for the first time, on every core. `progress` is called as it goes, from several threads.
    pub fn open(
        path: PathBuf,
        config: &Config,
        domains: Arc<Domains>,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Feeder, LoadError> {
        let rules = config.rules();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let first = Load {
            path: &path,
            rules: &rules,
            domains: &domains,
            now_ms: clock::wall_ms(),
            old: None,
            allow_shrink: config.allow_shrink,
            threads,
            progress,
        };
        let loaded = (1..ATTEMPTS).find_map(|_| settled(file::load(&first))).unwrap_or_else(|| file::load(&first))?;
        let metrics = Metrics::new();
        let mut feeder = Feeder {
            watch: Watch::new(path, None),
            rules,
            domains,
            allow_shrink: config.allow_shrink,
            poll_interval: config.poll_interval,
            served: Arc::new(Table::with_capacity(0)),
            retired: Vec::new(),
            missing: false,
            kicks: mpsc::channel(),
            metrics,
        };
        feeder.serve(loaded);
        Ok(feeder)
    }

    /// The links that are served now.
    pub fn table(&self) -> Arc<Table> {
        self.served.clone()
    }

    /// A handle to ask for loads.
    pub fn kick(&self) -> Kick {
        Kick(self.kicks.0.clone())
    }

    /// Feeds until the stop signal. `publish` is given each new table and must make workers take it from then on; it is
    /// called on this thread.
    pub fn run(mut self, stop: &Stop, mut publish: impl FnMut(Arc<Table>)) {
        let mut looked = Instant::now();
        while !stop.is_set() {
            let kicked = match self.kicks.1.recv_timeout(TICK.min(self.poll_interval)) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
            };
            // Several kicks in a row are one.
            while kicked && self.kicks.1.try_recv().is_ok() {}
            self.free();
            let due = looked.elapsed() >= self.poll_interval;
            if due {
                looked = Instant::now();
            }
            if (kicked || due && self.changed()) && self.reload() {
                publish(self.served.clone());
            }
        }
    }

    /// Frees replaced tables that only the feeder holds. Nobody can take such a table up again: it is not served.
    fn free(&mut self) {
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }

    fn changed(&mut self) -> bool {
        match self.watch.look() {
            Ok(seen) => {
                self.missing = false;
                seen == Seen::New
            }
            Err(error) => {
                if !std::mem::replace(&mut self.missing, true) {
                    self.metrics.failed.increment(1);
                    let path = self.watch.path().display();
                    say!(
                        error,
                        faults::LINKS_UNREADABLE,
                        "{path}: the links cannot be read: {error}; the links of its last version are served on"
                    );
                }
                false
            }
        }
    }

    /// Loads the file; says whether there is a new table. One thread, so that the workers keep their cores.
    fn reload(&mut self) -> bool {
        // Whatever becomes of this version, it is not read again until it changes or somebody asks.
        let version = std::fs::metadata(self.watch.path()).map(|metadata| Version::of(&metadata));
        let started = Instant::now();
        let loaded = file::load(&Load {
            path: self.watch.path(),
            rules: &self.rules,
            domains: &self.domains,
            now_ms: clock::wall_ms(),
            old: Some(&self.served),
            allow_shrink: self.allow_shrink,
            threads: 1,
            progress: &|_| {},
        });
        match loaded {
            Ok(loaded) => {
                self.metrics.ok.increment(1);
                self.serve(loaded);
                true
            }
            // Not taken as seen: the next looks find it again once it is still.
            Err(error @ LoadError::Changed(_)) => {
                tracing::debug!("{error}");
                false
            }
            Err(error) => {
                if let Ok(version) = version {
                    self.watch.take(version);
                }
                self.metrics.seconds.record(started.elapsed().as_secs_f64());
                self.refuse(&error);
                false
            }
        }
    }

    fn serve(&mut self, loaded: Loaded) {
        let Loaded { table, links, version, warnings, warned, took } = loaded;
        let path = self.watch.path().to_owned();
        for warning in &warnings {
            tracing::warn!("{}", at_line(&path, warning));
        }
        if warned > warnings.len() as u64 {
            tracing::warn!("{}: {warned} warnings in all", path.display());
        }
        tracing::info!(links, ms = took.as_millis() as u64, "{}: links loaded", path.display());
        self.watch.take(version);
        self.metrics.links.set(links as f64);
        self.metrics.loaded.set(clock::wall_ms() as f64 / 1000.0);
        self.metrics.seconds.record(took.as_secs_f64());
        let before = std::mem::replace(&mut self.served, Arc::new(table));
        self.retired.push(before);
    }

    fn refuse(&self, error: &LoadError) {
        let served = self.served.len();
        match error {
            LoadError::Lines(mistakes) => {
                self.metrics.refused.increment(1);
                for line in mistakes.lines() {
                    tracing::error!("{line}");
                }
                let (path, total) = (mistakes.path.display(), mistakes.total);
                say!(
                    error,
                    faults::LINKS_REFUSED,
                    mistakes = total,
                    served,
                    "{path}: refused; the links of its last version are served on"
                );
            }
            LoadError::Io { .. } => {
                self.metrics.failed.increment(1);
                say!(error, faults::LINKS_UNREADABLE, served, "{error}; the links of its last version are served on");
            }
            _ => {
                self.metrics.refused.increment(1);
                say!(error, faults::LINKS_REFUSED, served, "{error}; the links of its last version are served on");
            }
        }
    }
}

/// `None` for a file that changed while it was read.
fn settled(loaded: Result<Loaded, LoadError>) -> Option<Result<Loaded, LoadError>> {
    if matches!(loaded, Err(LoadError::Changed(_))) { None } else { Some(loaded) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::lifecycle;

    /// Long enough for any machine; reached only by a test that fails.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn lines(codes: std::ops::Range<u32>) -> String {
        let line = |n| {
            format!(
                r#"{{"code":"a{n}","url":"https://shop.example.com/","kind":"plain","created_at":"2026-11-01T00:00:00Z"}}"#
            )
        };
        codes.map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn feeder(path: &Path, config: Config) -> Feeder {
        let domains = Arc::new(Domains::new(&crate::links::domains::Config::default()).unwrap());
        let config = Config { poll_interval: Duration::from_millis(10), ..config };
        Feeder::open(path.to_owned(), &config, domains, &|_| {}).unwrap()
    }

    fn replace(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, path).unwrap();
    }

    #[test]
    fn a_change_is_published_by_itself_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links.jsonl");
        fs::write(&path, lines(0..20)).unwrap();
        let feeder = feeder(&path, Config::default());
        assert_eq!(feeder.table().len(), 20);
        let (stopper, stop) = lifecycle::stop();
        let (published, tables) = mpsc::channel();
        let thread = std::thread::spawn(move || feeder.run(&stop, |table| published.send(table.len()).unwrap()));
        replace(&path, &lines(0..25));
        assert_eq!(tables.recv_timeout(DEADLINE), Ok(25));
        fs::write(&path, "{").unwrap();
        fs::write(&path, lines(0..26)).unwrap();
        assert_eq!(tables.recv_timeout(DEADLINE), Ok(26));
        fs::remove_file(&path).unwrap();
        replace(&path, &lines(0..27));
        assert_eq!(tables.recv_timeout(DEADLINE), Ok(27));
        stopper.stop();
        thread.join().unwrap();
        assert!(tables.try_recv().is_err());
    }

    #[test]
    fn a_refused_version_keeps_the_old_links_and_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links.jsonl");
        fs::write(&path, lines(0..20)).unwrap();
        let mut feeder = feeder(&path, Config::default());
        for bad in ["{".to_owned(), String::new(), lines(0..10), lines(0..20) + &lines(3..4)] {
            replace(&path, &bad);
            assert!(!feeder.changed());
            assert!(feeder.changed());
            assert!(!feeder.reload());
            assert_eq!(feeder.table().len(), 20);
            assert!(!feeder.changed() && !feeder.changed());
        }
        fs::remove_file(&path).unwrap();
        assert!(!feeder.changed() && !feeder.reload());
        replace(&path, &lines(0..20));
        assert!(feeder.reload());
    }

    #[test]
    fn a_kick_loads_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links.jsonl");
        fs::write(&path, lines(0..20)).unwrap();
        let mut feeder = feeder(&path, Config { allow_shrink: true, ..Config::default() });
        feeder.poll_interval = Duration::from_secs(3600);
        let (stopper, stop) = lifecycle::stop();
        let (published, tables) = mpsc::channel();
        let kick = feeder.kick();
        let thread = std::thread::spawn(move || feeder.run(&stop, |table| published.send(table.len()).unwrap()));
        fs::write(&path, "").unwrap();
        kick.reload();
        assert_eq!(tables.recv_timeout(DEADLINE), Ok(0));
        stopper.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_replaced_table_is_freed_by_the_feeder_once_its_last_reader_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links.jsonl");
        fs::write(&path, lines(0..20)).unwrap();
        let mut feeder = feeder(&path, Config::default());
        feeder.free();
        let reader = feeder.table();
        assert!(feeder.reload());
        feeder.free();
        assert_eq!((feeder.retired.len(), Arc::strong_count(&reader)), (1, 2));
        drop(reader);
        feeder.free();
        assert!(feeder.retired.is_empty());
    }
}
