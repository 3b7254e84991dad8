//! Changes as the topic of links gets them. An edge keeps the fingerprint of its links by them too.

use super::{
    act::Act,
    change::{IdempotencyKey, LinkName},
    store::StoredLink,
    suspension_rows::SuspensionRow,
};
use crate::links::{RemovedLink, domains::Settings};

/// A change of one link.
#[derive(Clone, Debug)]
pub(super) struct RecordedLink {
    pub(super) version: u64,
    pub(super) name: LinkName,
    pub(super) before_version: Option<u64>,
    /// The record before; `None`: there was none.
    pub(super) before: Option<String>,
    /// The record behind; `None`: the link is gone.
    pub(super) after: Option<String>,
    /// What reserves the code of a link that is gone.
    pub(super) gone: Option<RemovedLink>,
}

impl RecordedLink {
    /// The change of a link from `before` to the record `after`, at `now_ms`.
    pub(super) fn new(
        version: u64,
        name: &LinkName,
        before: Option<&StoredLink>,
        after: Option<&str>,
        now_ms: u64,
    ) -> RecordedLink {
        RecordedLink {
            version,
            name: name.clone(),
            before_version: before.map(|stored| stored.version),
            before: before.map(|stored| stored.record.clone()),
            after: after.map(str::to_owned),
            gone: before.filter(|_| after.is_none()).and_then(|stored| stored.as_removed(now_ms)),
        }
    }
}

/// What changes by a write.
#[derive(Clone, Debug)]
pub(super) enum RecordedChange {
    Link(RecordedLink),
    Suspended(SuspensionRow),
    SuspensionEnded(SuspensionRow),
    /// Why links are frozen from now on; `None`: they are not.
    FreezeChanged(Option<String>),
    Domain(Box<RecordedDomain>),
}

/// A change of one domain.
#[derive(Clone, Debug)]
pub(super) struct RecordedDomain {
    pub(super) host: String,
    /// Its settings before; `None`: it was no domain.
    pub(super) before: Option<Settings>,
    /// Its settings from now on; `None`: it is no domain any more.
    pub(super) after: Option<Settings>,
}

/// A change with its author.
#[derive(Clone, Debug)]
pub(super) struct RecordedWrite {
    pub(super) act: Act,
    pub(super) once: Option<IdempotencyKey>,
    pub(super) change: RecordedChange,
}
