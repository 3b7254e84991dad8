//! The files of a series (a topic's clicks, the dead letters): their settings, names, and places in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{journal::SinkNote, model::click::Topic, size::Bytes};

/// `[shipper.file]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A file, of clicks or of dead letters, is closed and the next begun once it holds this much; 64 KiB at least.
    pub rotate_bytes: Bytes,
    /// The same once it has been written to for so long; 1 s at least.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub rotate_age: Duration,
    /// The oldest closed files of a topic are deleted while all of its files hold more. Default: none are.
    pub keep_bytes: Option<Bytes>,
    /// Closed files last written to longer ago are deleted. Default: none are.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub keep_age: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            rotate_bytes: Bytes::mib(256),
            rotate_age: Duration::from_secs(24 * 3600),
            keep_bytes: None,
            keep_age: None,
        }
    }
}

impl Config {
    /// What is wrong with it, by key.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        if self.rotate_bytes < Bytes::kib(64) {
            mistakes.push(("rotate_bytes".to_owned(), format!("{}; at least 64 KiB", self.rotate_bytes)));
        }
        if self.rotate_age < Duration::from_secs(1) {
            mistakes.push(("rotate_age".to_owned(), format!("{:?}; at least 1s", self.rotate_age)));
        }
        if let Some(keep) = self.keep_bytes.filter(|keep| *keep < self.rotate_bytes) {
            let why = format!(
                "{keep}, less than one file (`rotate_bytes` is {}); leave it out to keep all",
                self.rotate_bytes
            );
            mistakes.push(("keep_bytes".to_owned(), why));
        }
        mistakes
    }
}

/// The clicks' directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}: {source}")]
pub struct OpenError {
    act: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl OpenError {
    pub(super) fn new(act: &'static str, path: &Path, source: io::Error) -> OpenError {
        OpenError { act, path: path.to_owned(), source }
    }
}

/// The first bytes of a note of this sink, version 1; another sink's note reads as "from the beginning".
pub(super) const NOTE: &[u8; 8] = b"WPFILES1";

/// A place in a topic's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl Position {
    pub(super) fn of(note: &SinkNote, topic: Topic) -> Position {
        if !note.starts_with(NOTE) {
            return Position::default();
        }
        let at = 8 + 16 * topic as usize;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&note[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Position { number: word(at), offset: word(at + 8) }
    }
}

/// The path of a series' file.
pub(super) fn path_of(dir: &Path, series: &str, number: u64) -> PathBuf {
    dir.join(format!("{series}-{number:06}.jsonl"))
}

/// The numbers of a series' files, lowest first.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn numbers_of(dir: &Path, series: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(series))
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".jsonl"))
            .and_then(|digits| digits.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}
