//! What becomes of a row: accepted with its records, or refused with its mistakes.

use crate::{model::link::record::Record, word_enum::word_enum};

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowPosition {
    /// The file, counted from 0 in the order in which the importer read them.
    pub(super) file: u32,
    /// From 1, without the header.
    pub(super) row: u64,
    /// The line of the file on which the row starts, from 1.
    pub(super) line: u64,
}

/// One thing that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The column as the file names it; `None`: the row as a whole.
    pub column: Option<String>,
    /// The name of the broken rule, such as `url-scheme`.
    pub rule: &'static str,
    /// What was found and what to do.
    pub message: String,
}

impl Mistake {
    pub(super) fn of_column(column: &str, rule: &'static str, message: impl Into<String>) -> Mistake {
        Mistake { column: Some(column.to_owned()), rule, message: message.into() }
    }
}

word_enum! {
    /// What an import changes or leaves out, or what deserves a look, although the row is accepted.
    #[derive(PartialOrd, Ord)]
    pub enum NoteKind {
        /// Braces of a URL were escaped, because they would be placeholders here.
        BracesEscaped = "braces-escaped",
        /// Characters as HTML writes them were decoded in a URL.
        EntitiesDecoded = "entities-decoded",
        /// A local time that the clock showed twice; the earlier one is taken.
        LocalTimeTwice = "local-time-twice",
        /// The link is archived at the source and still answers there, so it stays enabled.
        ArchivedStaysEnabled = "archived-stays-enabled",
        /// The link is switched off at the source, and imported with `"enabled":false`.
        Disabled = "disabled",
        /// A feature that Waypost lacks was dropped, as `--drop` says.
        FeatureDropped = "feature-dropped",
        /// A tag stands twice and is taken once.
        TagRepeated = "tag-repeated",
        /// The prefix of `--strip-prefix` was cut off the code.
        PrefixStripped = "prefix-stripped",
        /// The link has ended already: its 100 days or its own end are over.
        AlreadyEnded = "already-ended",
        /// A value that is allowed but unusual.
        Unusual = "unusual",
    }
}

/// What an accepted row's import changed or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The kind, which the summary counts.
    pub kind: NoteKind,
    /// The column as the file names it, if the note is about one.
    pub column: Option<String>,
    /// What was found.
    pub message: String,
}

impl Note {
    pub(super) fn of_column(kind: NoteKind, column: &str, message: impl Into<String>) -> Note {
        Note { kind, column: Some(column.to_owned()), message: message.into() }
    }
}

/// A row whose records keep every rule.
#[derive(Debug)]
pub struct AcceptedRow {
    /// From 1, without the header.
    pub row: u64,
    /// The line of the file on which the row starts, from 1.
    pub line: u64,
    /// The links of the row: one, or more where a link has several codes.
    pub records: Vec<Record>,
    /// What was changed or left out.
    pub notes: Vec<Note>,
}

/// A row that gives no record.
#[derive(Debug)]
pub struct RefusedRow {
    /// From 1, without the header.
    pub row: u64,
    /// The line of the file on which the row starts, from 1.
    pub line: u64,
    /// What is wrong; at least one.
    pub mistakes: Vec<Mistake>,
}

/// What became of a row.
#[derive(Debug)]
pub enum RowOutcome {
    /// Its records are right.
    Accepted(AcceptedRow),
    /// It is refused.
    Refused(RefusedRow),
}
