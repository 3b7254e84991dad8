//! The threads that read the catalog's file for the API. A read may wait for the disk, so it never runs on the thread
//! of the admin listener.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::http::problem::{Problem, ProblemKind};
use crate::catalog::{CatalogHandle, query::CatalogReader};

/// Threads, so that one slow read does not stop the others.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce(&mut ReaderConnection) + Send>;

/// The connection of one thread, opened with its first read, and anew after a failure.
struct ReaderConnection {
    catalog: CatalogHandle,
    reader: Option<CatalogReader>,
}

/// Runs reads on its threads, which end with it.
pub(super) struct ReaderPool {
    jobs: mpsc::Sender<Job>,
}

impl ReaderPool {
    /// Starts the threads `wp-api-read-N`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(catalog: &CatalogHandle) -> io::Result<ReaderPool> {
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
        Ok(ReaderPool { jobs })
    }

    /// Runs a read.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&CatalogReader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may have gone; then the read is for nobody.
            if !reply.is_closed() {
                let _ = reply.send(connection.read(read));
            }
        });
        let stopped = || Problem::new(ProblemKind::StoreFailing, "the process stops");
        self.jobs.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(|message| {
            tracing::warn!(message, "the catalog cannot be read for the API");
            Problem::new(ProblemKind::StoreFailing, format!("the catalog cannot be read: {message}"))
        })
    }
}

impl ReaderConnection {
    fn read<T>(&mut self, read: impl FnOnce(&CatalogReader) -> rusqlite::Result<T>) -> Result<T, String> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.catalog.open_reader().map_err(|error| error.to_string())?,
        };
        let value = read(&reader).map_err(|error| error.to_string())?;
        self.reader = Some(reader);
        Ok(value)
    }
}
