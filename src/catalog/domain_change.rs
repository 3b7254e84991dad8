//! What a change of a domain is, and what becomes of it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{act::Act, domain_rows::DomainRow};
use crate::{
    invalid_value::InvalidValue,
    links::domains::{Config, Domains, Settings},
};

/// Makes every request see other domains.
pub(super) type PublishDomains = Box<dyn Fn(Arc<Domains>) + Send>;
/// Where the answer to a change goes.
pub(super) type DomainReply = oneshot::Sender<Result<DomainReport, DomainError>>;

/// A change of a domain that the configuration does not define.
#[derive(Debug)]
pub struct DomainChange {
    /// Who and why.
    pub act: Act,
    /// The host, in lower case and punycode, or `*`.
    pub host: String,
    /// Its settings from now on; `None`: it is no domain any more.
    pub settings: Option<Settings>,
    /// The domains of the configuration.
    pub configured: Arc<Config>,
}

/// What became of a domain.
#[derive(Debug)]
pub enum DomainReport {
    /// It is new.
    Created(DomainRow),
    /// It had other settings before, or the same.
    Replaced(DomainRow),
    /// It is no domain any more.
    Deleted,
    /// There was none.
    Unknown,
}

/// Why a domain is not changed.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// Values that the configuration would refuse, too; keys are `"HOST".KEY`.
    #[error("values of the domain are not allowed")]
    Invalid(Vec<InvalidValue>),
    /// Links stand against it.
    #[error("{0}")]
    Links(String),
    /// Links are frozen.
    #[error("links are frozen: {0}")]
    Frozen(String),
    /// The store fails.
    #[error("the catalog cannot be written: {0}")]
    StoreFailed(String),
    /// The catalog has ended.
    #[error("the process stops")]
    Stopped,
}

impl From<rusqlite::Error> for DomainError {
    fn from(error: rusqlite::Error) -> DomainError {
        DomainError::StoreFailed(error.to_string())
    }
}
