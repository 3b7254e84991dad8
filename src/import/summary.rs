//! The counts of an import.

use std::collections::BTreeMap;

use crate::import::outcome::NoteKind;

/// What an import read, accepted, refused, changed and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of all files.
    pub rows: u64,
    /// Rows that are right.
    pub accepted_rows: u64,
    /// Rows that are refused.
    pub refused_rows: u64,
    /// Records of the accepted rows.
    pub records: u64,
    /// Records whose link has ended already.
    pub ended_records: u64,
    /// Mistakes by the name of the broken rule.
    pub mistakes: BTreeMap<&'static str, u64>,
    /// Changes of accepted rows, by kind.
    pub notes: BTreeMap<NoteKind, u64>,
    /// Values that are not taken, by column.
    pub left_out: BTreeMap<String, u64>,
    /// Whether `created_at` of every record is that of the caller.
    pub replaces_created_at: bool,
}
