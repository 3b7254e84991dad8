//! The files of one series, a topic's clicks or the dead letters: write, sync, cut back, roll over, delete.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use metrics::Counter;

use super::files::{Config, OpenError, Position, numbers_of, path_of};
use crate::{
    faults::{self, say},
    metrics as table,
};

/// Bytes gathered before they are written though no sync is due.
pub(super) const BUFFER: usize = 256 << 10;
/// The pauses after an error, doubled from the first to the last.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The files of a series, of which the last is written to.
pub(super) struct Log {
    series: &'static str,
    pub(super) file: Option<File>,
    pub(super) number: u64,
    /// Where the next buffer goes.
    pub(super) written: u64,
    /// Everything before is on disk, and ends in a newline.
    pub(super) synced: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) opened: Instant,
    pub(super) synced_at: Instant,
    /// A write failed since the last sync: no more lines until `tend` has cut back.
    pub(super) stuck: bool,
    pub(super) broken: Option<Broken>,
    numbers: Numbers,
}

pub(super) struct Broken {
    pub(super) until: Instant,
    pause: Duration,
}

struct Numbers {
    errors: [Counter; 4],
    bytes: Counter,
    deleted: Counter,
    sync_seconds: metrics::Histogram,
}

/// What was being done when an error came; the label values of its metric.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Open,
    Write,
    Sync,
    Delete,
}

impl Act {
    const ALL: [Act; 4] = [Act::Open, Act::Write, Act::Sync, Act::Delete];

    const fn as_str(self) -> &'static str {
        match self {
            Act::Open => "open",
            Act::Write => "write",
            Act::Sync => "sync",
            Act::Delete => "delete",
        }
    }
}

pub(super) type Failed = (Act, io::Error);

impl Log {
    /// Nothing is open yet; `number` is that of the last file there.
    pub(super) fn new(series: &'static str, number: u64) -> Log {
        let now = Instant::now();
        Log {
            series,
            file: None,
            number,
            written: 0,
            synced: 0,
            buffer: Vec::with_capacity(BUFFER + (64 << 10)),
            opened: now,
            synced_at: now,
            stuck: false,
            broken: None,
            numbers: Numbers {
                errors: Act::ALL.map(|act| table::counter(&table::CLICKS_FILE_ERRORS, &[series, act.as_str()])),
                bytes: table::counter(&table::CLICKS_FILE_BYTES, &[series]),
                deleted: table::counter(&table::CLICKS_FILES_DELETED, &[series]),
                sync_seconds: table::histogram(&table::CLICKS_FILE_SYNC_SECONDS, &[]),
            },
        }
    }

    /// Goes on in the last file of the last run, synced first: what was found in it counts as delivered.
    pub(super) fn go_on_in_last(&mut self, dir: &Path, end: Position) -> Result<(), OpenError> {
        let path = path_of(dir, self.series, end.number);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => {
                file.set_len(end.offset).map_err(|why| OpenError::new("cut the torn tail of", &path, why))?;
                file.sync_data().map_err(|why| OpenError::new("sync", &path, why))?;
                (self.file, self.written, self.synced) = (Some(file), end.offset, end.offset);
                Ok(())
            }
            // None yet, or somebody took it away: its number is not used again.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(why) => Err(OpenError::new("open", &path, why)),
        }
    }

    /// Hands the buffer to the kernel, into a new file if none is open.
    pub(super) fn write_out(&mut self, dir: &Path) -> Result<(), Failed> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (number, opened) = open_new(dir, self.series, self.number + 1).map_err(|why| (Act::Open, why))?;
                (self.number, self.written, self.synced, self.opened) = (number, 0, 0, Instant::now());
                none.insert(opened)
            }
        };
        // At an offset: what a failed write left behind is written over, or cut.
        file.write_all_at(&self.buffer, self.written).map_err(|why| (Act::Write, why))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), Failed> {
        let Some(file) = &self.file else { return Ok(()) };
        let begun = Instant::now();
        file.sync_data().map_err(|why| (Act::Sync, why))?;
        self.numbers.sync_seconds.record(begun.elapsed().as_secs_f64());
        self.numbers.bytes.increment(self.written - self.synced);
        self.synced = self.written;
        Ok(())
    }

    /// Back to the last sync; what came after it is to be written again.
    pub(super) fn fail(&mut self, act: Act, why: &io::Error, now: Instant) {
        self.numbers.errors[act as usize].increment(1);
        self.buffer.clear();
        self.stuck = false;
        if let Some(file) = &self.file
            && let Err(why) = file.set_len(self.synced)
        {
            say!(
                warn,
                faults::CLICK_FILE_REPEATS,
                topic = self.series,
                "click file {}: not cut back ({why}): lines may repeat",
                self.number
            );
        }
        self.written = self.synced;
        if act == Act::Sync {
            self.file = None;
        }
        let pause = self.broken.as_ref().map_or(PAUSES.0, |broken| (broken.pause * 2).min(PAUSES.1));
        if self.broken.is_none() {
            say!(
                error,
                faults::CLICK_FILE_FAILED,
                topic = self.series,
                "click file: cannot {}: {why}; clicks wait in the journal, and it is tried again",
                act.as_str()
            );
        }
        self.broken = Some(Broken { until: now + pause, pause });
    }

    /// The next line begins a new file.
    pub(super) fn rotate(&mut self) {
        if self.synced > 0 {
            self.file = None;
        }
        self.opened = Instant::now();
    }

    /// Deletes the closed files that nobody asked to keep.
    pub(super) fn retain(&self, dir: &Path, config: &Config) {
        if config.keep_bytes.is_none() && config.keep_age.is_none() {
            return;
        }
        let Ok(numbers) = numbers_of(dir, self.series) else { return };
        let mut kept = 0u64;
        for number in numbers.into_iter().rev() {
            let path = path_of(dir, self.series, number);
            let Ok(facts) = fs::metadata(&path) else { continue };
            kept += facts.len();
            let age = facts.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let old = age.zip(config.keep_age).is_some_and(|(age, keep)| age > keep);
            let much = config.keep_bytes.is_some_and(|keep| kept > keep.0);
            if number >= self.number || !old && !much {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    self.numbers.deleted.increment(1);
                    tracing::info!(file = %path.display(), "click file deleted, as shipper.file says");
                }
                Err(why) => {
                    self.numbers.errors[Act::Delete as usize].increment(1);
                    tracing::warn!(file = %path.display(), "click file not deleted: {why}");
                }
            }
        }
    }
}

/// A new file (0600) whose name is on disk, so that what is synced in it can be found. One that bears the name already is left
/// alone, and this one numbered above all that are there, for the next start goes on in the last.
fn open_new(dir: &Path, series: &str, number: u64) -> io::Result<(u64, File)> {
    let made = |number| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path_of(dir, series, number));
    let (number, file) = match made(number) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            let above = numbers_of(dir, series)?.last().map_or(number, |last| last + 1);
            (above, made(above)?)
        }
        file => (number, file?),
    };
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Ok(()) => Ok((number, file)),
        Err(why) => {
            // Nothing is in it; left there, each further try would leave one more.
            let _ = fs::remove_file(path_of(dir, series, number));
            Err(why)
        }
    }
}
