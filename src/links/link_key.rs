//! The key of a link in the table.

use crate::links::domains::DomainId;

/// Domain and code of a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// The domain.
    pub domain: DomainId,
    /// The code; in lower case if the domain ignores case.
    pub code: Vec<u8>,
}
