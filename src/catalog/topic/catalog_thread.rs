//! Runs work of the topic on the catalog's thread.

use tokio::sync::oneshot;

use crate::catalog::{
    CatalogHandle,
    error::CatalogError,
    writer::{CatalogWriter, Request},
};

/// Runs `work` on the catalog's thread and waits for its value. For a thread that may wait.
///
/// # Errors
/// The store fails, or the process stops.
pub(super) fn run_on_catalog_thread<T: Send + 'static>(
    catalog: &CatalogHandle,
    work: impl FnOnce(&mut CatalogWriter) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, CatalogError> {
    let (reply, answer) = oneshot::channel();
    let run = move |writer: &mut CatalogWriter| {
        // An error: who asked has gone.
        let _ = reply.send(work(writer));
    };
    catalog.requests.send(Request::Run(Box::new(run))).map_err(|_| CatalogError::Stopped)?;
    let result = answer.blocking_recv().map_err(|_| CatalogError::Stopped)?;
    result.map_err(|error| CatalogError::StoreFailed(error.to_string()))
}
