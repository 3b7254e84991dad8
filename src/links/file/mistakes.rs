//! What is wrong with a links file, and where.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::model::link::record::RecordError;

/// How many mistakes (and warnings) are listed; beyond that they are counted.
pub const LISTED: usize = 20;
/// One thing about one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineError {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
    /// What was found and what is allowed.
    pub message: String,
}

/// The mistakes of a file.
#[derive(Debug)]
pub struct Mistakes {
    /// The file.
    pub path: PathBuf,
    /// The first [`LISTED`] mistakes, by line.
    pub listed: Vec<LineError>,
    /// How many there are in all.
    pub total: u64,
}

impl Mistakes {
    /// Each listed mistake as `file:line:column: what`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.listed.iter().map(|error| at_line(&self.path, error))
    }
}

/// `file:line:column: what`
pub(crate) fn at_line(path: &Path, error: &LineError) -> String {
    format!("{}:{}:{}: {}", path.display(), error.line, error.column, error.message)
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        let plural = if self.total == 1 { "mistake" } else { "mistakes" };
        write!(f, "{} {plural}; the file is taken whole or not at all", self.total)?;
        match self.listed.len() as u64 {
            listed if listed < self.total => write!(f, " (the first {listed} are listed)"),
            _ => Ok(()),
        }
    }
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("{}: the links cannot be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It was written to while it was read; try again.
    #[error("{}: changed while it was read", .0.display())]
    Changed(PathBuf),
    /// Lines with mistakes.
    #[error("{0}")]
    Lines(Mistakes),
    /// It is empty, and links are being served.
    #[error("{}: holds no link, {served} are served; if that is meant, start with --allow-shrink", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// How many links are served.
        served: u64,
    },
    /// Too many live links are gone.
    #[error("{}: lacks {gone} of {live} live links, more than a tenth; if that is meant, start with --allow-shrink", path.display())]
    Shrinks {
        /// The file.
        path: PathBuf,
        /// Live links that are not in the new version.
        gone: u64,
        /// Live links in all.
        live: u64,
    },
}

/// The first of many.
#[derive(Default)]
pub(super) struct List {
    pub(super) first: Vec<LineError>,
    pub(super) total: u64,
}

impl List {
    pub(super) fn push(&mut self, error: LineError) {
        self.total += 1;
        self.first.push(error);
        if self.first.len() > 2 * LISTED {
            self.cut();
        }
    }

    pub(super) fn cut(&mut self) {
        self.first.sort();
        self.first.truncate(LISTED);
    }
}

/// Where in the line an error is: at its field, or at the line's start if that is absent.
pub(super) fn place(line: u64, bytes: &[u8], error: RecordError) -> LineError {
    let name = format!("\"{}\"", error.field);
    let is_key = |at: &usize| bytes[at + name.len()..].trim_ascii_start().first() == Some(&b':');
    let at = memchr::memmem::find_iter(bytes, name.as_bytes()).find(is_key).unwrap_or(0);
    LineError { line, column: at as u64 + 1, message: error.to_string() }
}
