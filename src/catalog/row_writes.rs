//! Writes of rows beside the links: API keys, changes that are kept, and the key that signs cursors. They run on the
//! catalog's thread, each in a transaction of its own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::{
    CatalogHandle,
    error::CatalogError,
    store::Meta,
    writer::{CatalogWriter, Request},
};

impl CatalogHandle {
    /// Runs `write` in a transaction. Resolves once its rows are on the disk.
    pub(super) async fn write_rows<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CatalogError> {
        to_result(self.send_row_writes(write)?.await)
    }

    /// [`CatalogHandle::write_rows`] for a thread that may wait.
    pub(super) fn write_rows_blocking<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CatalogError> {
        to_result(self.send_row_writes(write)?.blocking_recv())
    }

    fn send_row_writes<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<oneshot::Receiver<rusqlite::Result<T>>, CatalogError> {
        let (reply, answer) = oneshot::channel();
        let run = move |writer: &mut CatalogWriter| {
            let connection = &mut writer.store.connection;
            let result = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .and_then(|transaction| write(&transaction).and_then(|value| transaction.commit().map(|()| value)));
            if let Err(error) = &result {
                writer.count_and_log_write_error(&format!("a row beside the links is not kept: {error}"));
            }
            // An error: who asked has gone.
            let _ = reply.send(result);
        };
        self.requests.send(Request::Run(Box::new(run))).map_err(|_| CatalogError::Stopped)?;
        Ok(answer)
    }

    /// The secret by which cursors of lists are signed. It is made once, so that a cursor outlives a restart.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub async fn read_or_create_cursor_key(&self) -> Result<String, CatalogError> {
        self.write_rows(|connection| {
            if let Some(key) = Meta::CursorKey.read(connection)? {
                return Ok(key);
            }
            let mut random = [0; 32];
            SysRng
                .try_fill_bytes(&mut random)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            let key = URL_SAFE_NO_PAD.encode(random);
            Meta::CursorKey.write(connection, Some(&key))?;
            Ok(key)
        })
        .await
    }
}

fn to_result<T>(answer: Result<rusqlite::Result<T>, oneshot::error::RecvError>) -> Result<T, CatalogError> {
    let result = answer.map_err(|_| CatalogError::Stopped)?;
    result.map_err(|error| CatalogError::StoreFailed(error.to_string()))
}
