//! The catalog: every link, what changed it, and what must outlive a restart, in one SQLite file and one table in
//! memory.
//!
//! A source makes batches of changes: a links file, or requests to the API. One thread (`writer`) checks a batch by the
//! rules that a links file is checked by (`apply`), commits it to the file (`store`), serves it from the table, and
//! answers. So an acknowledged change is on the disk, and whoever reads behind the answer reads the change.
//!
//! A links file is served first and kept behind (`file_commit`). At a start the table is made from the catalog
//! (`load`): the last good links serve although the file is bad or gone, and its rules hold over restarts: fields that
//! never change, and codes of removed links.
//!
//! The tables stand in `store/schema.sql`.

pub mod act;
pub mod act_query;
pub mod api_keys;
mod apply;
mod backup;
pub mod change;
pub mod domain_change;
mod domain_check;
pub mod domain_rows;
mod domain_write;
mod error;
mod file_commit;
mod idempotency;
pub mod kept_changes;
mod load;
pub mod many;
mod mint;
pub mod offline;
mod own_links;
pub mod query;
mod recorded;
mod row_set;
mod row_writes;
mod store;
pub mod suspension_rows;
mod time_text;
pub mod topic;
mod transaction;
mod versions;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::sync::{oneshot, watch};

use self::{
    act::Act,
    change::{Batch, BatchReport, LinkName, Write, WriteReport},
    file_commit::FileCommit,
    load::LoadedTable,
    query::CatalogReader,
    store::{Meta, OpenOutcome, Store, open_read_only, set_aside},
    suspension_rows::load_suspensions,
    writer::{CatalogWriter, Request},
};
pub use self::{
    error::{CatalogError, LinkSource},
    store::StoreError,
    writer::TopicWrite,
};
use crate::{
    clock,
    file_watch::FileVersion,
    links::{Table, destination::policy::DestinationPolicy, domains::Domains, suspensions::Suspensions},
    metrics,
    model::link::record::RecordError,
};

/// The catalog's file in the data directory.
pub const FILE_NAME: &str = "catalog.db";

/// A catalog whose links are loaded and not changed yet.
pub struct OpenedCatalog {
    store: Store,
    policy: DestinationPolicy,
    domains: Arc<Domains>,
    /// The links.
    pub table: Arc<Table>,
    /// The version of the catalog.
    pub version: u64,
    /// The name under which a damaged file lies now, if the file was damaged.
    pub set_aside: Option<PathBuf>,
    /// If the file was of an older format: that format, and the copy of it.
    pub migrated: Option<(i64, PathBuf)>,
    /// The first links that the rules of today refuse, and why. They are kept, and not served.
    pub refused: Vec<(LinkName, Vec<RecordError>)>,
    /// How many of them there are.
    pub refused_total: u64,
    file_version: Option<String>,
    /// The suspensions.
    pub suspensions: Arc<Suspensions>,
    is_frozen: bool,
    is_kept: bool,
}

impl OpenedCatalog {
    /// Opens the catalog of a data directory, which this process has locked, or makes it; loads its links on so many
    /// threads.
    ///
    /// # Errors
    /// The file cannot be used. A damaged one stays in its place: a new one would be a catalog without links.
    pub fn open_or_create(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        let opened = OpenedCatalog::try_open(data_dir, policy, domains, threads);
        opened.map_err(|error| error.or_damaged(&data_dir.join(FILE_NAME)))
    }

    /// As [`OpenedCatalog::open_or_create`], for links that have another home, a file or a topic: a damaged catalog is
    /// renamed, and a new one fills itself.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open_or_set_damaged_aside(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        match OpenedCatalog::try_open(data_dir, policy.clone(), domains.clone(), threads) {
            Err(error) if error.is_corruption() => {
                let aside = set_aside(&data_dir.join(FILE_NAME))?;
                let opened = OpenedCatalog::try_open(data_dir, policy, domains, threads)?;
                Ok(OpenedCatalog { set_aside: Some(aside), ..opened })
            }
            opened => opened,
        }
    }

    fn try_open(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        let (mut store, outcome) = Store::open_or_create(&data_dir.join(FILE_NAME))?;
        let version = Meta::Version.read_number(&store.connection)?;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&store.connection)?);
        let LoadedTable { table, refused, refused_total } =
            load::load_table(&mut store, &policy, &domains, now_ms, threads)?;
        let file_version = Meta::FileVersion.read(&store.connection)?;
        let is_frozen = Meta::Frozen.read(&store.connection)?.is_some();
        let suspensions = Arc::new(load_suspensions(&store.connection)?);
        let migrated = match outcome {
            OpenOutcome::Migrated { from, copy } => Some((from, copy)),
            OpenOutcome::Existing | OpenOutcome::Created => None,
        };
        Ok(OpenedCatalog {
            store,
            policy,
            domains,
            table: Arc::new(table),
            version,
            set_aside: None,
            migrated,
            refused,
            refused_total,
            file_version,
            suspensions,
            is_frozen,
            is_kept: true,
        })
    }

    /// A catalog without a file, for a start with a links file and a disk that refuses the catalog's: the links are
    /// served, and nothing is kept.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn open_without_file(policy: DestinationPolicy, domains: Arc<Domains>) -> Result<OpenedCatalog, StoreError> {
        Ok(OpenedCatalog {
            store: Store::open_in_memory()?,
            policy,
            domains,
            table: Arc::new(Table::with_capacity(0)),
            version: 0,
            set_aside: None,
            migrated: None,
            refused: Vec::new(),
            refused_total: 0,
            file_version: None,
            suspensions: Arc::default(),
            is_frozen: false,
            is_kept: false,
        })
    }

    /// Whether only this process can read the catalog, because the disk has no space for more.
    pub fn is_read_by_writer_alone(&self) -> bool {
        !self.store.is_shared
    }

    /// Whether the links are those of this version of the file, all of them.
    pub fn holds_file_version(&self, path: &Path, version: &FileVersion) -> bool {
        self.refused_total == 0 && self.file_version.as_deref() == Some(&*file_version_text(path, version))
    }

    /// Starts the thread `wp-catalog`, which ends after [`Catalog::stop`].
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn start(self, source: LinkSource) -> std::io::Result<Catalog> {
        let (requests, received) = mpsc::channel();
        let (committed, commits) = watch::channel(());
        if source != LinkSource::Topic {
            // Links that change by another source leave their place in a topic.
            let state = Meta::TopicState.read(&self.store.connection).map_err(std::io::Error::other)?;
            if state.is_some() {
                Meta::TopicState.write(&self.store.connection, None).map_err(std::io::Error::other)?;
            }
        }
        let path = self.store.path.clone();
        let latest_version = Arc::new(AtomicU64::new(self.version));
        let is_frozen = Arc::new(AtomicBool::new(self.is_frozen));
        let writer = CatalogWriter {
            store: self.store,
            policy: self.policy,
            domains: self.domains,
            configured_domains: Arc::default(),
            source,
            latest_version: latest_version.clone(),
            is_frozen: is_frozen.clone(),
            table: self.table,
            is_kept: self.is_kept,
            file_commit: None,
            is_checkpointed: false,
            publish_suspensions: None,
            publish_domains: None,
            links: metrics::gauge(&metrics::LINKS, &[]),
            write_errors: metrics::counter(&metrics::CATALOG_WRITE_ERRORS, &[]),
            committed,
            random: StdRng::try_from_rng(&mut SysRng).map_err(std::io::Error::from)?,
        };
        let thread = thread::Builder::new().name("wp-catalog".to_owned()).spawn(move || writer.run(&received))?;
        let handle = CatalogHandle { requests, topic_writes: None, path, commits, latest_version, is_frozen };
        Ok(Catalog { handle, thread })
    }
}

/// A running catalog.
#[derive(Debug)]
pub struct Catalog {
    handle: CatalogHandle,
    thread: thread::JoinHandle<()>,
}

impl Catalog {
    /// A handle to ask it by.
    pub fn handle(&self) -> CatalogHandle {
        self.handle.clone()
    }

    /// Lets every later handle send its writes to the topic of links: to whoever receives them.
    pub fn send_writes_to_topic(&mut self) -> mpsc::Receiver<TopicWrite> {
        let (sender, received) = mpsc::channel();
        self.handle.topic_writes = Some(sender);
        received
    }

    /// Ends the thread, after it has written what it was asked for.
    pub fn stop(self) {
        // An error: the thread has ended already.
        let _ = self.handle.requests.send(Request::Stop);
        let _ = self.thread.join();
    }
}

/// Asks the catalog. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CatalogHandle {
    requests: mpsc::Sender<Request>,
    /// Where writes go instead if the links are those of a topic.
    topic_writes: Option<mpsc::Sender<TopicWrite>>,
    path: PathBuf,
    latest_version: Arc<AtomicU64>,
    is_frozen: Arc<AtomicBool>,
    commits: watch::Receiver<()>,
}

impl CatalogHandle {
    /// Writes something. Resolves once it is on the disk and served, or refused.
    ///
    /// # Errors
    /// Nothing is written.
    pub async fn write(&self, write: Write) -> Result<WriteReport, CatalogError> {
        self.send_write(write)?.await.unwrap_or(Err(CatalogError::Stopped))
    }

    /// [`CatalogHandle::write`] for a thread that may wait.
    ///
    /// # Errors
    /// Nothing is written.
    pub fn write_blocking(&self, write: Write) -> Result<WriteReport, CatalogError> {
        self.send_write(write)?.blocking_recv().unwrap_or(Err(CatalogError::Stopped))
    }

    /// Changes links. Resolves once the changes are on the disk and served, or refused.
    ///
    /// # Errors
    /// No row is applied.
    pub async fn apply(&self, batch: Batch) -> Result<BatchReport, CatalogError> {
        self.write(Write::Batch(batch)).await.and_then(into_batch_report)
    }

    /// [`CatalogHandle::apply`] for a thread that may wait.
    ///
    /// # Errors
    /// No row is applied.
    pub fn apply_blocking(&self, batch: Batch) -> Result<BatchReport, CatalogError> {
        self.write_blocking(Write::Batch(batch)).and_then(into_batch_report)
    }

    fn send_write(&self, write: Write) -> Result<oneshot::Receiver<Result<WriteReport, CatalogError>>, CatalogError> {
        let (reply, answer) = oneshot::channel();
        let sent = match &self.topic_writes {
            Some(topic) => topic.send(TopicWrite::Write(write, reply)).is_ok(),
            None => self.requests.send(Request::Write(write, reply)).is_ok(),
        };
        if sent { Ok(answer) } else { Err(CatalogError::Stopped) }
    }

    /// Calls `publish` on the catalog's thread whenever the suspensions change.
    pub fn publish_suspensions_to(&self, publish: impl Fn(Arc<Suspensions>) + Send + 'static) {
        // An error: the process stops.
        let _ = self.requests.send(Request::PublishSuspensions(Box::new(publish)));
    }

    /// Keeps the links of a file, which `table` serves already, for the next start. Does not wait.
    pub fn keep_links_of_file(&self, path: &Path, file: File, version: &FileVersion, table: Arc<Table>) {
        let text = file_version_text(path, version);
        let act = Act { id: act::new_act_id(), actor: format!("file {}", path.display()), reason: None };
        let commit = FileCommit::new(path.to_owned(), file, text, table, act);
        // An error: the process stops.
        let _ = self.requests.send(Request::CommitFile(Box::new(commit)));
    }

    /// Changes whenever something is committed.
    pub fn subscribe_to_commits(&self) -> watch::Receiver<()> {
        self.commits.clone()
    }

    /// The version of the latest change. Whoever makes a version of a link takes the number behind it.
    pub fn latest_version(&self) -> &AtomicU64 {
        &self.latest_version
    }

    /// Whether no link may change, so that a links file is not read either.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// A new connection to read by.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_reader(&self) -> Result<CatalogReader, StoreError> {
        open_read_only(&self.path).map(CatalogReader)
    }
}

fn into_batch_report(report: WriteReport) -> Result<BatchReport, CatalogError> {
    match report {
        WriteReport::Batch(report) => Ok(report),
        // The thread answers a batch with its report.
        _ => Err(CatalogError::Stopped),
    }
}

/// A connection that reads the catalog of a data directory, beside a server or without one.
///
/// # Errors
/// There is no catalog, or it cannot be opened.
pub fn open_reader_of(data_dir: &Path) -> Result<CatalogReader, StoreError> {
    open_read_only(&data_dir.join(FILE_NAME)).map(CatalogReader)
}

/// A new act.
pub fn new_act(actor: String, reason: Option<String>) -> Act {
    Act { id: act::new_act_id(), actor, reason }
}

fn file_version_text(path: &Path, version: &FileVersion) -> String {
    format!("{} {version:?}", path.display())
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
