//! The file sink: clicks as JSON lines in rotated files.
//!
//! ```text
//! clicks/clicks-000001.jsonl           clicks on live links
//! clicks/clicks.orphan-000001.jsonl    the other topic, numbered on its own
//! ```
//!
//! - Written in large buffers at known offsets, `fdatasync` at least each half `sync_interval`: only then is a click
//!   delivered. A line that ends in a newline is complete.
//! - On an error the file is cut back to its last sync, what was in flight counts as undelivered and is written again; after a
//!   failed sync in a new file, for the kernel may have dropped pages of the old one. Tried again after a growing pause.
//! - At the start the files are read from the checkpoint's note on (`scan`); what is found is not written again.
//! - A file is never deleted unless `keep_bytes` or `keep_age` says so; `waypost_clicks_file_room_low` alarms instead.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use metrics::Gauge;

use super::{
    files::{Config, NOTE, OpenError, Position},
    log::{BUFFER, Log},
    scan,
};
use crate::{
    faults::{self, say},
    journal::SinkNote,
    metrics as table,
    model::click::Topic,
    size::Bytes,
};

/// Room is looked at this often, and alarms below the larger of this and a twentieth of the file system.
const ROOM_EVERY: Duration = Duration::from_secs(10);
const ROOM_LOW: u64 = 1 << 30;

/// What became of a topic's lines in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// All of them are on disk.
    All,
    /// None is; write them again.
    None,
}

/// Both topics' files.
pub(super) struct FileSink {
    dir: PathBuf,
    config: Config,
    sync_every: Duration,
    logs: [Log; Topic::ALL.len()],
    room_at: Option<Instant>,
    room: Gauge,
    room_low: Gauge,
}

impl FileSink {
    /// Makes the directory (0700), reads what the last run left from `notes` on, and goes on behind it. Each lane's own `note`
    /// is given: the files are read from the earliest.
    ///
    /// # Errors
    /// The directory or a file in it cannot be made, read or cut.
    pub(super) fn open(
        dir: PathBuf,
        config: Config,
        edge: &str,
        notes: &[SinkNote],
        sync_every: Duration,
    ) -> Result<(FileSink, [scan::Found; Topic::ALL.len()]), OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|why| OpenError::new("make", &dir, why))?;
        let mut found = [scan::Found::default(), scan::Found::default()];
        for topic in Topic::ALL {
            let from = notes.iter().map(|note| Position::of(note, topic)).min().unwrap_or_default();
            found[topic as usize] = scan::scan(&dir, topic, edge, from)?;
        }
        let logs = Topic::ALL.map(|topic| Log::new(topic.name(), found[topic as usize].end.number));
        let room = table::gauge(&table::CLICKS_FILE_ROOM_BYTES, &[]);
        let room_low = table::gauge(&table::CLICKS_FILE_ROOM_LOW, &[]);
        let mut sink = FileSink { dir, config, sync_every, logs, room_at: None, room, room_low };
        for topic in Topic::ALL {
            sink.logs[topic as usize].go_on_in_last(&sink.dir, found[topic as usize].end)?;
        }
        Ok((sink, found))
    }

    /// The buffer at whose end the next line of a topic is written; `None` while the topic waits after an error.
    pub(super) fn line(&mut self, topic: Topic, now: Instant) -> Option<&mut Vec<u8>> {
        let log = &mut self.logs[topic as usize];
        if log.stuck || log.broken.as_ref().is_some_and(|broken| now < broken.until) {
            return None;
        }
        Some(&mut log.buffer)
    }

    /// Ends the line that was written, and hands a full buffer to the kernel.
    pub(super) fn end_line(&mut self, topic: Topic) {
        let log = &mut self.logs[topic as usize];
        log.buffer.push(b'\n');
        if log.buffer.len() >= BUFFER {
            // What is wrong shows again in `tend`, which cuts back and says so.
            log.stuck = log.write_out(&self.dir).is_err();
        }
    }

    /// Syncs what is due (everything, if `all`), rotates and looks after room. Reports what became of lines in flight.
    pub(super) fn tend(&mut self, now: Instant, all: bool, mut report: impl FnMut(Topic, Synced)) {
        for (topic, log) in Topic::ALL.into_iter().zip(&mut self.logs) {
            let dirty = !log.buffer.is_empty() || log.written > log.synced;
            let due = all || log.stuck || now.duration_since(log.synced_at) >= self.sync_every;
            if !dirty || !due {
                continue;
            }
            log.synced_at = now;
            match log.write_out(&self.dir).and_then(|()| log.sync()) {
                Ok(()) => {
                    if log.broken.take().is_some() {
                        tracing::info!(topic = topic.name(), "click file: writing again");
                    }
                    report(topic, Synced::All);
                    let old = now.duration_since(log.opened) >= self.config.rotate_age;
                    if log.synced >= self.config.rotate_bytes.0 || old {
                        log.rotate();
                        log.retain(&self.dir, &self.config);
                    }
                }
                Err((act, why)) => {
                    log.fail(act, &why, now);
                    report(topic, Synced::None);
                }
            }
        }
        if self.room_at.is_none_or(|at| now.duration_since(at) >= ROOM_EVERY) {
            self.room_at = Some(now);
            self.look_at_room();
        }
    }

    /// Where everything that is delivered ends; goes into the journal's checkpoint.
    pub(super) fn note(&self) -> SinkNote {
        let mut note = [0; 64];
        note[..8].copy_from_slice(NOTE);
        for (topic, log) in Topic::ALL.into_iter().zip(&self.logs) {
            let at = 8 + 16 * topic as usize;
            note[at..at + 8].copy_from_slice(&log.number.to_le_bytes());
            note[at + 8..at + 16].copy_from_slice(&log.synced.to_le_bytes());
        }
        note
    }

    fn look_at_room(&mut self) {
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else { return };
        let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        let low = free < ROOM_LOW.max(all / 20).min(all / 2);
        self.room.set(free as f64);
        self.room_low.set(f64::from(u8::from(low)));
        if low {
            say!(
                warn,
                faults::CLICK_FILES_ROOM_LOW,
                free = %Bytes(free), dir = %self.dir.display(),
                "little room for click files; none is deleted unless shipper.file.keep_bytes or keep_age says so"
            );
        }
    }
}

#[cfg(test)]
mod tests;
