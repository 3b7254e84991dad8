//! Where the versions of changes come from: the catalog counts them, or a record of the topic of links has its offset.

use std::sync::atomic::{AtomicU64, Ordering};

/// The versions of the changes of one transaction, or of one record.
#[derive(Clone, Copy)]
pub(super) struct Versions<'a> {
    /// The version of the latest change. The load of a links file takes versions too.
    latest: &'a AtomicU64,
    offset: Option<u64>,
}

impl<'a> Versions<'a> {
    /// Each change has the number behind the latest one.
    pub(super) const fn counted(latest: &'a AtomicU64) -> Versions<'a> {
        Versions { latest, offset: None }
    }

    /// The change has the offset of its record.
    pub(super) const fn of_offset(latest: &'a AtomicU64, offset: u64) -> Versions<'a> {
        Versions { latest, offset: Some(offset) }
    }

    /// The version of the next change, which is not taken yet.
    pub(super) fn upcoming(self) -> u64 {
        self.offset.unwrap_or_else(|| self.latest.load(Ordering::Relaxed) + 1)
    }

    /// The version of a change.
    pub(super) fn take(self) -> u64 {
        self.offset.unwrap_or_else(|| self.latest.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether a link that is written as it is keeps its version. A record of the topic gives its offset all the same:
    /// compaction leaves the last record alone, and edges that read both must agree with one that reads the last.
    pub(super) fn keep_unchanged_link(self, version: u64) -> bool {
        self.offset.is_none_or(|offset| offset == version)
    }
}
