//! What the last run left in the click files: which clicks need not be written again, and where to go on.
//!
//! The files are read from the checkpoint's note on. Per lane the highest click found stands for all before it, for a lane's
//! clicks are written in order. Therefore the last file is cut at the first line that is not a whole click: a torn tail
//! after kill -9, or after a power cut a hole behind the last sync, whose other side is kept beside the file as evidence.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use serde::Deserialize;

use super::files::{OpenError, Position, numbers_of, path_of};
use crate::{
    faults::{self, say},
    journal::Mark,
    model::click::Topic,
};

/// What was found in one topic's files.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Per lane, the mark before which everything is in the files.
    pub(super) marks: BTreeMap<u16, Mark>,
    /// Where the last file ends after its cut.
    pub(super) end: Position,
    /// Clicks read.
    pub(super) clicks: u64,
}

/// The identity in a line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    edge: Cow<'a, str>,
    lane: u16,
    epoch: u64,
    seq: u64,
}

/// Reads a topic's files from a position on. A damaged last file's rest is copied aside; the cut itself is the caller's.
///
/// # Errors
/// A file cannot be read, or the evidence not be written.
pub(super) fn scan(dir: &Path, topic: Topic, edge: &str, from: Position) -> Result<Found, OpenError> {
    let numbers = numbers_of(dir, topic.name()).map_err(|why| OpenError::new("read", dir, why))?;
    // A number that was given once is not given again, even if somebody took the file away.
    let mut found = Found { end: Position { number: from.number, offset: 0 }, ..Found::default() };
    let last = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number >= from.number) {
        let path = path_of(dir, topic.name(), number);
        let start = if number == from.number { from.offset } else { 0 };
        let reading = |why| OpenError::new("read", &path, why);
        let file = File::open(&path).map_err(reading)?;
        let len = file.metadata().map_err(reading)?.len();
        if len < start {
            say!(
                warn,
                faults::CLICK_FILE_SHORT,
                file = %path.display(), len, synced = start,
                "click file is shorter than it was when it was synced"
            );
        }
        let cut_at = found.read(file, start.min(len), edge, Some(number) == last).map_err(reading)?;
        if cut_at < len {
            keep_aside(&path, cut_at, len)?;
        }
        found.end = Position { number, offset: cut_at };
    }
    Ok(found)
}

impl Found {
    /// Reads one file from an offset; where its whole clicks end. A bad line in a file that is not the last is passed over: it
    /// was whole when the next file was begun, and what is damaged since has been delivered.
    fn read(&mut self, mut file: File, start: u64, edge: &str, last: bool) -> io::Result<u64> {
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut line, mut at) = (Vec::with_capacity(4096), start);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(at);
            }
            let whole = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Line<'_>>(line).ok());
            match whole {
                Some(click) if click.edge == edge => self.take(&click),
                // Another edge's, put here by somebody: not ours to count.
                Some(_) => {}
                None if last => return Ok(at),
                None => {}
            }
            at += read;
        }
    }

    fn take(&mut self, click: &Line<'_>) {
        self.clicks += 1;
        let mark = Mark { epoch: click.epoch, next: click.seq + 1 };
        let highest = self.marks.entry(click.lane).or_default();
        *highest = mark.max(*highest);
    }
}

/// A tail without a newline is a torn line and of no use; anything more is kept in a file of its own.
fn keep_aside(path: &Path, cut_at: u64, len: u64) -> Result<(), OpenError> {
    let reading = |why| OpenError::new("read", path, why);
    let mut file = File::open(path).map_err(reading)?;
    file.seek(SeekFrom::Start(cut_at)).map_err(reading)?;
    let mut rest = BufReader::new(io::Read::take(file, len - cut_at));
    let mut first = Vec::new();
    rest.read_until(b'\n', &mut first).map_err(reading)?;
    if first.len() as u64 == len - cut_at && first.last() != Some(&b'\n') {
        tracing::info!(file = %path.display(), bytes = first.len(), "torn last line cut; its click is written again");
        return Ok(());
    }
    let mut aside = path.to_owned();
    aside.set_extension(format!("damaged-{cut_at}"));
    let writing = |why| OpenError::new("write", &aside, why);
    let mut out = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut out, 0o600);
    let mut out = out.write(true).create(true).truncate(true).open(&aside).map_err(writing)?;
    io::copy(&mut io::Read::chain(&first[..], rest), &mut out).map_err(writing)?;
    out.sync_all().map_err(writing)?;
    say!(
        error,
        faults::CLICK_FILE_DAMAGED,
        file = %path.display(), offset = cut_at, kept = %aside.display(),
        "click file damaged behind its last sync: cut there, the clicks are written again"
    );
    Ok(())
}
