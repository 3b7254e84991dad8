//! What a change of a domain is, and what becomes of it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{act::Act, domain_rows::DomainRow, error::CatalogError};
use crate::{
    invalid_value::InvalidValue,
    links::domains::{Domains, Settings},
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

impl DomainReport {
    /// The report of a change that left this row. `is_known`: there was one before.
    pub(super) fn of_change(row: Option<DomainRow>, is_known: bool) -> DomainReport {
        match row {
            None => DomainReport::Deleted,
            Some(row) if is_known => DomainReport::Replaced(row),
            Some(row) => DomainReport::Created(row),
        }
    }
}

/// A change that is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum DomainRefusal {
    /// Values that the configuration would refuse, too; keys are `"HOST".KEY`.
    #[error("{}", list_values(.0))]
    Invalid(Vec<InvalidValue>),
    /// Links stand against it.
    #[error("{0}")]
    Links(String),
}

/// Why a domain is not changed.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The change is not allowed.
    #[error(transparent)]
    Refused(#[from] DomainRefusal),
    /// No change is taken now.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn list_values(values: &[InvalidValue]) -> String {
    values.iter().map(|value| format!("{}: {}", value.key, value.message)).collect::<Vec<_>>().join("; ")
}

impl From<rusqlite::Error> for DomainError {
    fn from(error: rusqlite::Error) -> DomainError {
        CatalogError::StoreFailed(error.to_string()).into()
    }
}
