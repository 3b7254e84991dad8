//! Changes of links: what is asked for, and what became of it.

use super::{
    act::Act,
    suspension_rows::{NewSuspension, SuspensionRow},
};
use crate::{
    links::suspensions::Dimension,
    model::link::record::{Record, RecordError},
};

/// Domain and code of a link, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkName {
    /// `*` or a configured host.
    pub domain: String,
    /// The code, in any case if the domain ignores case.
    pub code: String,
}

/// One change of one link.
#[derive(Clone, Debug)]
pub enum LinkChange {
    /// The link is this record from now on. An empty code is replaced by a minted one.
    Put {
        /// The record.
        record: Box<Record>,
        /// The record as it was written; `None`: it is kept as the fields of `record` say.
        text: Option<String>,
    },
    /// The link's record with a JSON merge patch (RFC 7396) applied.
    Patch {
        /// The link.
        name: LinkName,
        /// The patch.
        patch: serde_json::Value,
    },
    /// The link is removed, and its code reserved.
    Delete {
        /// The link.
        name: LinkName,
    },
}

/// What the link has to be before the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedLink {
    /// Anything.
    Any,
    /// Absent.
    Absent,
    /// At this version.
    AtVersion(u64),
    /// Absent, or the same as after the change: what others wrote must not be overwritten unseen.
    AbsentOrSame,
    /// At this version (`None`: absent), or already what the change makes of it: a change that was interrupted can be
    /// asked for again.
    AtVersionOrDone(Option<u64>),
}

/// A change and its condition.
#[derive(Clone, Debug)]
pub struct ChangeRow {
    /// What is asked for.
    pub change: LinkChange,
    /// What must hold before.
    pub expected: ExpectedLink,
}

/// What happens to the other rows if one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMode {
    /// Nothing is written.
    Atomic,
    /// They are written.
    Each,
}

/// Rows that are changed under one act.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The act.
    pub act: Act,
    /// The rows, in the order in which they take effect.
    pub rows: Vec<ChangeRow>,
    /// What a refused row means for the others.
    pub mode: BatchMode,
    /// Whether everything is checked, and nothing written.
    pub is_dry_run: bool,
    /// If given: a batch of one new link, which is created once for all requests with this key.
    pub once: Option<IdempotencyKey>,
}

/// A key that a client gave for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The id of the client's API key.
    pub api_key: String,
    /// The key.
    pub key: String,
    /// The hash of the request.
    pub fingerprint: [u8; 32],
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// The link is new.
    Created(ChangedLink),
    /// The link was another one before.
    Updated(ChangedLink),
    /// The link was the same before, and keeps its version.
    Unchanged(ChangedLink),
    /// The link is gone, at this version of the catalog.
    Deleted {
        /// The link.
        name: LinkName,
        /// The version.
        version: u64,
    },
    /// The row is refused.
    Refused(RowRefusal),
}

/// A link behind a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedLink {
    /// Its name.
    pub name: LinkName,
    /// Its version.
    pub version: u64,
    /// Its record, a JSON object on one line.
    pub record: String,
    /// What is allowed but unusual about it.
    pub warnings: Vec<RecordError>,
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowRefusal {
    /// The record breaks these rules.
    Invalid(Vec<RecordError>),
    /// These fields never change, and would.
    Unchangeable(Vec<RecordError>),
    /// The code belonged to another link, and its clicks can still earn.
    CodeReserved {
        /// When the code is free, milliseconds since the epoch.
        reusable_at_ms: u64,
        /// What differs from the link that had the code.
        errors: Vec<RecordError>,
    },
    /// The link must not exist, and does.
    Exists {
        /// Its version.
        version: u64,
    },
    /// There is no such link.
    NotFound,
    /// The link must have another version.
    VersionDiffers {
        /// The version that the link has; `None`: there is no link.
        found: Option<u64>,
    },
    /// The link exists, differs, and no version was given.
    VersionNeeded {
        /// The version that the link has.
        found: u64,
    },
    /// The patch, or the record behind it, is no record.
    NotARecord(String),
}

/// What the catalog is asked to write.
#[derive(Clone, Debug)]
pub enum Write {
    /// Change links.
    Batch(Batch),
    /// Switch all links of a value off; a suspension of the same value is replaced.
    Suspend(Act, NewSuspension),
    /// End a suspension: each link is as it was before.
    EndSuspension(Act, Dimension, String),
    /// Take no changes of links until [`Write::Unfreeze`], for this reason. Suspensions are still taken.
    Freeze(Act, String),
    /// Take changes of links again.
    Unfreeze(Act),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteReport {
    /// Of a batch.
    Batch(BatchReport),
    /// The suspension, and whether there was one of the value before.
    Suspended {
        /// The suspension.
        suspension: SuspensionRow,
        /// Whether it took the place of another one.
        is_replaced: bool,
    },
    /// The suspension that was ended; `None`: there was none.
    SuspensionEnded(Option<SuspensionRow>),
    /// Changes of links are refused now, or taken.
    FreezeChanged,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReport {
    /// The outcome of each row, in their order.
    pub outcomes: Vec<RowOutcome>,
    /// Whether the changes are written and served.
    pub is_applied: bool,
    /// The version of the catalog behind the batch.
    pub version: u64,
}
