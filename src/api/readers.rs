//! The threads that read the catalog's file for the API. A read may wait for the disk, so it never runs on the thread
//! of the admin listener. A read that takes too long, or for which nobody waits any more, is interrupted: it holds a
//! thread, and keeps the catalog's log from being emptied.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::http::problem::{Problem, ProblemKind};
use crate::catalog::{CatalogHandle, query::CatalogReader};

/// Threads, so that one slow read does not stop the others.
const THREADS: usize = 2;
/// How long a read may take, its wait for a thread included.
const TIME_LIMIT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut ReaderConnection) + Send>;

/// The connection of one thread, opened with its first read, and anew after a failure.
struct ReaderConnection {
    catalog: CatalogHandle,
    reader: Option<CatalogReader>,
}

/// Stops a read once it is dropped.
#[derive(Default)]
struct StopOnDrop {
    is_stopped: Arc<AtomicBool>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// Runs reads on its threads, which end with it.
pub(super) struct ReaderPool {
    jobs: mpsc::Sender<Job>,
    time_limit: Duration,
}

impl ReaderPool {
    /// Starts the threads `wp-api-read-N`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(catalog: &CatalogHandle) -> io::Result<ReaderPool> {
        ReaderPool::start_with_time_limit(catalog, TIME_LIMIT)
    }

    fn start_with_time_limit(catalog: &CatalogHandle, time_limit: Duration) -> io::Result<ReaderPool> {
        let (jobs, received) = mpsc::channel::<Job>();
        let received = Arc::new(Mutex::new(received));
        for number in 0..THREADS {
            let (received, catalog) = (received.clone(), catalog.clone());
            thread::Builder::new().name(format!("wp-api-read-{number}")).spawn(move || {
                let mut connection = ReaderConnection { catalog, reader: None };
                loop {
                    let next = received.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(job) => job(&mut connection),
                        Err(mpsc::RecvError) => return,
                    }
                }
            })?;
        }
        Ok(ReaderPool { jobs, time_limit })
    }

    /// Runs a read.
    ///
    /// # Errors
    /// The catalog cannot be read, or the read takes longer than [`TIME_LIMIT`].
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&CatalogReader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        // Dropped with this future, too: then the client has gone.
        let stop = StopOnDrop::default();
        let is_stopped = stop.is_stopped.clone();
        let job: Job = Box::new(move |connection| {
            if !is_stopped.load(Ordering::Relaxed) {
                // An error: who asked has gone.
                let _ = reply.send(connection.read_until_stopped(read, is_stopped));
            }
        });
        let stopped = || Problem::new(ProblemKind::StoreFailing, "the process stops");
        self.jobs.send(job).map_err(|_| stopped())?;
        let answer = timeout(self.time_limit, answer).await.map_err(|_| {
            let seconds = self.time_limit.as_secs();
            let detail = format!("the read took more than {seconds} seconds; ask for less, or by another filter");
            Problem::new(ProblemKind::TooSlow, detail)
        })?;
        answer.map_err(|_| stopped())?.map_err(|message| {
            tracing::warn!(message, "the catalog cannot be read for the API");
            Problem::new(ProblemKind::StoreFailing, format!("the catalog cannot be read: {message}"))
        })
    }
}

impl ReaderConnection {
    fn read_until_stopped<T>(
        &mut self,
        read: impl FnOnce(&CatalogReader) -> rusqlite::Result<T>,
        is_stopped: Arc<AtomicBool>,
    ) -> Result<T, String> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.catalog.open_reader().map_err(|error| error.to_string())?,
        };
        let value = reader.interrupt_once(is_stopped).and_then(|()| read(&reader));
        let value = value.map_err(|error| error.to_string())?;
        self.reader = Some(reader);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{
            LinkSource, OpenedCatalog,
            change::{Batch, BatchMode, ChangeRow, ExpectedLink, LinkChange},
            new_act,
            query::LinkFilter,
        },
        links::{destination::policy::DestinationPolicy, domains::Domains},
        model::link::record::Record,
    };

    /// A catalog with so many links that listing all of them takes longer than the time limit of the test.
    fn catalog_with_links(dir: &std::path::Path, count: usize) -> crate::catalog::Catalog {
        let domains = Arc::new(Domains::new(&crate::links::domains::Config::default()).unwrap());
        let opened = OpenedCatalog::open_or_create(dir, DestinationPolicy::default(), domains, 1).unwrap();
        let catalog = opened.start(LinkSource::Store).unwrap();
        let row = |at: usize| {
            let record = Record {
                code: format!("c{at}"),
                url: "https://shop.example.com/".to_owned(),
                test: true,
                ..Record::plain_with_defaults()
            };
            ChangeRow { change: LinkChange::Put { record: Box::new(record), text: None }, expected: ExpectedLink::Any }
        };
        let rows = (0..count).map(row).collect();
        let act = new_act("test".to_owned(), None);
        let batch = Batch { act, rows, mode: BatchMode::Each, is_dry_run: false, once: None };
        assert!(catalog.handle().apply_blocking(batch).unwrap().is_applied);
        catalog
    }

    #[test]
    fn a_slow_read_is_interrupted_and_its_thread_reads_on() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog_with_links(dir.path(), 2_000);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let pool = ReaderPool::start_with_time_limit(&catalog.handle(), Duration::from_millis(20)).unwrap();
            // One slow read a thread; each would go on for ever.
            for _ in 0..THREADS {
                let slow = pool.read(|reader| -> rusqlite::Result<()> {
                    loop {
                        reader.list_links(&LinkFilter::default(), None, 2_000)?;
                    }
                });
                assert_eq!(slow.await.unwrap_err().to_json()["type"], "urn:waypost:problem:too-slow");
            }
            let pool = ReaderPool { time_limit: Duration::from_secs(60), ..pool };
            assert_eq!(pool.read(|reader| reader.version()).await.unwrap(), 2_000);
        });
        catalog.stop();
    }
}
