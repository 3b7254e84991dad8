//! Where links come from, and why a change is not taken.

use crate::links;

/// Where links come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// A links file. Nothing else may change links.
    File,
    /// The catalog itself: requests to the API, and commands.
    Store,
    /// A topic of Kafka, which edges share. Requests to the API are written to it.
    Topic,
}

impl LinkSource {
    /// The source that a configuration names.
    pub fn of_config(links: &links::Config) -> LinkSource {
        match (&links.file, &links.topic) {
            (Some(_), _) => LinkSource::File,
            (None, Some(_)) => LinkSource::Topic,
            (None, None) => LinkSource::Store,
        }
    }
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
    /// The links are those of a topic.
    #[error("the links come from the topic of links.topic; change them by the API of a running server (--server)")]
    SourceIsTopic,
    /// The topic cannot be read to its end, or written.
    #[error("the topic of links cannot be written: {0}")]
    TopicUnavailable(String),
    /// The change is in the topic, and this edge has not read it yet.
    #[error("the change is written at offset {offset}, and this edge has not read it yet: {why}")]
    NotServedYet {
        /// Where it is written.
        offset: u64,
        /// What holds it back.
        why: String,
    },
    /// Another edge has taken the place of the writer each time.
    #[error("another edge writes to the topic of links, and took this edge's place {attempts} times; ask again")]
    WriterFenced {
        /// How often this edge tried.
        attempts: u32,
    },
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
