//! Why a links file is refused: errors with line and column, and the errors of the file as a whole.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{links::rules::ShrinkViolation, model::link::record::RecordError};

/// How many errors, and how many warnings, are listed; the others are counted.
pub const MAX_LISTED: usize = 20;

/// An error or a warning about one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineError {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
    /// What was found and what is allowed.
    pub message: String,
}

impl LineError {
    /// Places the error of a record at its field in the line, or at the line's start if the field is absent.
    pub(super) fn at_field_or_line_start(line: u64, bytes: &[u8], error: &RecordError) -> LineError {
        let name = format!("\"{}\"", error.field);
        let is_key = |at: &usize| bytes[at + name.len()..].trim_ascii_start().first() == Some(&b':');
        let at = memchr::memmem::find_iter(bytes, name.as_bytes()).find(is_key).unwrap_or(0);
        LineError { line, column: at as u64 + 1, message: error.to_string() }
    }
}

/// Formats an error as `file:line:column: message`.
pub(crate) fn at_line(path: &Path, error: &LineError) -> String {
    format!("{}:{}:{}: {}", path.display(), error.line, error.column, error.message)
}

/// The errors of a file's lines.
#[derive(Debug)]
pub struct LineErrors {
    /// The file.
    pub path: PathBuf,
    /// The first [`MAX_LISTED`] errors, by line.
    pub listed: Vec<LineError>,
    /// How many there are in all.
    pub total: u64,
}

impl LineErrors {
    /// The listed errors, each as `file:line:column: message`.
    pub fn messages(&self) -> impl Iterator<Item = String> + '_ {
        self.listed.iter().map(|error| at_line(&self.path, error))
    }
}

impl fmt::Display for LineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in self.messages() {
            writeln!(f, "{message}")?;
        }
        let plural = if self.total == 1 { "error" } else { "errors" };
        write!(f, "{} {plural}; a links file with an error is refused as a whole", self.total)?;
        match self.listed.len() as u64 {
            listed if listed < self.total => write!(f, " (the first {listed} are listed)"),
            _ => Ok(()),
        }
    }
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: the links cannot be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file was written to while it was read; another attempt may succeed.
    #[error("{}: changed while it was read", .0.display())]
    ChangedWhileReading(PathBuf),
    /// Some lines have errors.
    #[error("{0}")]
    Lines(LineErrors),
    /// The file has too few links.
    #[error("{}: {}; if that is meant, start with --allow-shrink", path.display(), format_shrink_message(violation))]
    Shrinks {
        /// The file.
        path: PathBuf,
        /// How much is lost.
        violation: ShrinkViolation,
    },
}

fn format_shrink_message(violation: &ShrinkViolation) -> String {
    match violation {
        ShrinkViolation::Empty { served: 0 } => "holds no link: every buyer would be answered 404".to_owned(),
        ShrinkViolation::Empty { served } => format!("holds no link, {served} are served"),
        ShrinkViolation::LostLinks { lost, live } => format!("lacks {lost} of {live} live links, more than a tenth"),
    }
}

/// The first errors of many by line, and the count of all.
#[derive(Default)]
pub(super) struct ErrorList {
    listed: Vec<LineError>,
    total: u64,
}

impl ErrorList {
    pub(super) fn count_and_keep_if_among_first_lines(&mut self, error: LineError) {
        self.total += 1;
        self.listed.push(error);
        // Sorting at twice the length keeps the cost of an error constant.
        if self.listed.len() > 2 * MAX_LISTED {
            self.sort_and_truncate();
        }
    }

    /// Adds errors of which only some are located: `total` is the count of all of them.
    pub(super) fn add_located_errors_and_total_count(&mut self, located: Vec<LineError>, total: u64) {
        self.total += total;
        self.listed.extend(located);
        self.sort_and_truncate();
    }

    pub(super) fn merge(&mut self, other: ErrorList) {
        self.add_located_errors_and_total_count(other.listed, other.total);
    }

    /// The first [`MAX_LISTED`] errors by line, and the count of all.
    pub(super) fn into_parts(mut self) -> (Vec<LineError>, u64) {
        self.sort_and_truncate();
        (self.listed, self.total)
    }

    fn sort_and_truncate(&mut self) {
        self.listed.sort();
        self.listed.truncate(MAX_LISTED);
    }
}
