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
mod expected;
mod file_commit;
mod idempotency;
pub mod kept_changes;
mod load;
pub mod many;
mod merge_patch;
mod mint;
pub mod offline;
mod opened;
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

use tokio::sync::{oneshot, watch};

use self::{
    act::Act,
    change::{Batch, BatchReport, Write, WriteReport},
    file_commit::{FileCommit, file_version_text},
    query::CatalogReader,
    store::open_read_only,
    writer::Request,
};
pub use self::{
    error::{CatalogError, LinkSource},
    opened::OpenedCatalog,
    store::StoreError,
    writer::TopicWrite,
};
use crate::{
    file_watch::FileVersion,
    links::{Table, suspensions::Suspensions},
};

/// The catalog's file in the data directory.
pub const FILE_NAME: &str = "catalog.db";

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

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
