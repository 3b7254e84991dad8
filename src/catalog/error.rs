//! Where links come from, and why a change is not taken.

/// Where links come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// A links file. Nothing else may change links.
    File,
    /// The catalog itself: requests to the API, and commands.
    Store,
}

/// Why a change is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Writes are frozen.
    #[error("links are frozen: {reason}")]
    Frozen {
        /// Why.
        reason: String,
    },
    /// The links are those of a file.
    #[error("the links come from a file; change the file (links.file)")]
    SourceIsFile,
    /// The `Idempotency-Key` belongs to another request.
    #[error("the Idempotency-Key was used with another request")]
    IdempotencyKeyReused,
    /// The store fails.
    #[error("the catalog cannot be written: {0}")]
    StoreFailed(String),
    /// The catalog has ended.
    #[error("the process stops")]
    Stopped,
}
