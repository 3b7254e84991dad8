//! Writes one topic's series of click files: appends lines, syncs, cuts back after errors, rotates and deletes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use metrics::{Counter, Histogram};

use super::{note::FilePosition, open_error::OpenError};
use crate::{
    delivery::FilesConfig,
    faults::{self, log_fault},
    file_series::{
        FileError, FileOperation, create_file_or_renumber_and_sync_dir, fail_if_removed_renamed_or_cut, file_path,
        list_file_numbers_ascending,
    },
    metrics as table,
};

/// A full buffer is written although no sync is due.
const BUFFER_BYTES: usize = 256 << 10;
/// The pause after an error: the first, and the longest. Each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The files of a series. Lines go to the last one.
pub(super) struct SeriesWriter {
    series: &'static str,
    /// The file that is written to; `None` before the first line of a new one.
    pub(super) file: Option<File>,
    /// The number of the last file.
    number: u64,
    /// The offset for the next buffer.
    written: u64,
    /// Every byte before is on disk and ends in a newline.
    synced: u64,
    /// Whole lines that are not written yet, and the line that is being encoded.
    buffer: Vec<u8>,
    opened_at: Instant,
    synced_at: Instant,
    /// A write has failed since the last sync; no line is accepted until
    /// [`SeriesWriter::count_log_roll_back_and_pause_after_error`].
    write_failed: bool,
    pause: Option<Pause>,
    metrics: SeriesMetrics,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

struct SeriesMetrics {
    errors: [Counter; FileOperation::ALL.len()],
    written_bytes: Counter,
    deleted: Counter,
    sync_seconds: Histogram,
}

impl SeriesMetrics {
    fn register(series: &str) -> SeriesMetrics {
        SeriesMetrics {
            errors: FileOperation::ALL
                .map(|operation| table::counter(&table::CLICK_FILES_ERRORS, &[series, operation.as_str()])),
            written_bytes: table::counter(&table::CLICK_FILES_WRITTEN_BYTES, &[series]),
            deleted: table::counter(&table::CLICK_FILES_DELETED, &[series]),
            sync_seconds: table::histogram(&table::CLICK_FILES_SYNC_SECONDS, &[]),
        }
    }
}

impl SeriesWriter {
    /// A writer without an open file. `number`: the last file that exists, or whose number was used.
    pub(super) fn new(series: &'static str, number: u64) -> SeriesWriter {
        let now = Instant::now();
        SeriesWriter {
            series,
            file: None,
            number,
            written: 0,
            synced: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES + (64 << 10)),
            opened_at: now,
            synced_at: now,
            write_failed: false,
            pause: None,
            metrics: SeriesMetrics::register(series),
        }
    }

    /// Opens the last file of the last process, cuts it at `end` and syncs it, because the clicks in it count as
    /// delivered.
    pub(super) fn open_cut_and_sync_last_file_if_any(
        &mut self,
        dir: &Path,
        end: FilePosition,
    ) -> Result<(), OpenError> {
        let path = file_path(dir, self.series, end.number);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => {
                file.set_len(end.offset).map_err(|why| OpenError::new("cut the torn tail of", &path, why))?;
                file.sync_data().map_err(|why| OpenError::new("sync", &path, why))?;
                (self.file, self.written, self.synced) = (Some(file), end.offset, end.offset);
                Ok(())
            }
            // No file yet, or somebody has removed it: its number is not used again.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(why) => Err(OpenError::new("open", &path, why)),
        }
    }

    /// The buffer to append the next line to; `None` while the series pauses after an error.
    pub(super) fn line_buffer(&mut self, now: Instant) -> Option<&mut Vec<u8>> {
        let paused = self.write_failed || self.pause.is_some_and(|pause| now < pause.until);
        (!paused).then_some(&mut self.buffer)
    }

    /// Ends the line that was appended to the buffer, and writes the buffer if it is full.
    pub(super) fn end_line_and_write_buffer_if_full(&mut self, dir: &Path) {
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES {
            // The error shows again at the next sync, which handles it.
            self.write_failed = self.write_buffer_to_open_or_new_file(dir).is_err();
        }
    }

    /// Whether a line is in the buffer, or written and not synced.
    pub(super) fn has_unsynced_lines(&self) -> bool {
        !self.buffer.is_empty() || self.written > self.synced
    }

    /// Whether the last sync is so long ago, or a write has failed since.
    pub(super) fn is_sync_due(&self, now: Instant, interval: Duration) -> bool {
        self.write_failed || now.duration_since(self.synced_at) >= interval
    }

    /// Writes the buffer and syncs the file. Fails if somebody has removed, renamed or cut the file meanwhile.
    pub(super) fn write_buffer_and_sync_file(&mut self, dir: &Path, now: Instant) -> Result<(), FileError> {
        self.synced_at = now;
        self.write_buffer_to_open_or_new_file(dir)?;
        let Some(file) = &self.file else { return Ok(()) };
        let started = Instant::now();
        file.sync_data().map_err(FileOperation::Sync.into_error())?;
        let path = file_path(dir, self.series, self.number);
        fail_if_removed_renamed_or_cut(file, &path, self.written).map_err(FileOperation::Replaced.into_error())?;
        self.metrics.sync_seconds.record(started.elapsed().as_secs_f64());
        self.metrics.written_bytes.increment(self.written - self.synced);
        self.synced = self.written;
        if self.pause.take().is_some() {
            tracing::info!(topic = self.series, "click files can be written again");
        }
        Ok(())
    }

    /// Hands the buffer to the kernel, into a new file if none is open.
    pub(super) fn write_buffer_to_open_or_new_file(&mut self, dir: &Path) -> Result<(), FileError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => {
                // Behind a cut, the next write would leave a hole and give the file the right length again.
                let path = file_path(dir, self.series, self.number);
                fail_if_removed_renamed_or_cut(file, &path, self.written)
                    .map_err(FileOperation::Replaced.into_error())?;
                file
            }
            none => {
                let new = create_file_or_renumber_and_sync_dir(dir, self.series, self.number + 1)
                    .map_err(FileOperation::Open.into_error())?;
                (self.number, self.written, self.synced, self.opened_at) = (new.number, 0, 0, Instant::now());
                none.insert(new.file)
            }
        };
        // At an offset: the bytes of a failed write are overwritten, or cut off.
        file.write_all_at(&self.buffer, self.written).map_err(FileOperation::Write.into_error())?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Cuts the file back to its last sync, drops the lines after it, and pauses the series. Logs the first error of a
    /// row.
    pub(super) fn count_log_roll_back_and_pause_after_error(&mut self, error: &FileError, now: Instant) {
        self.metrics.errors[error.operation as usize].increment(1);
        self.buffer.clear();
        self.write_failed = false;
        if let Some(file) = &self.file
            && let Err(why) = cut_to_at_most(file, self.synced)
        {
            log_fault!(
                warn,
                faults::CLICK_FILE_REPEATS,
                topic = self.series,
                "click file {} cannot be cut back to its last sync ({why}): lines may repeat",
                self.number
            );
        }
        self.written = self.synced;
        if matches!(error.operation, FileOperation::Sync | FileOperation::Replaced) {
            self.file = None;
        }
        if error.operation == FileOperation::Replaced {
            log_fault!(
                error,
                faults::CLICK_FILE_REPLACED,
                topic = self.series,
                "{}: its clicks since the last sync are written again to a new file; the earlier ones are delivered, \
                 and are where somebody has put them",
                error.source
            );
        } else if self.pause.is_none() {
            log_fault!(
                error,
                faults::CLICK_FILE_FAILED,
                topic = self.series,
                "cannot {} a click file: {}; clicks wait in the journal, and it is tried again",
                error.operation.as_str(),
                error.source
            );
        }
        let length = self.pause.map_or(FIRST_PAUSE, |pause| (pause.length * 2).min(LONGEST_PAUSE));
        self.pause = Some(Pause { until: now + length, length });
    }

    /// Whether the file has reached its largest size or age.
    pub(super) fn is_full(&self, config: &FilesConfig, now: Instant) -> bool {
        self.synced >= config.rotate_bytes.0 || now.duration_since(self.opened_at) >= config.rotate_age
    }

    /// Lets the next line begin a new file. An empty file is kept open.
    pub(super) fn close_file_for_rotation_unless_empty(&mut self, now: Instant) {
        if self.synced > 0 {
            self.file = None;
        }
        self.opened_at = now;
    }

    /// Where the synced lines end.
    pub(super) fn synced_position(&self) -> FilePosition {
        FilePosition { number: self.number, offset: self.synced }
    }

    /// Deletes closed files beyond `keep_bytes` and `keep_age`, if these are set.
    pub(super) fn delete_closed_files_beyond_keep_limits(&self, dir: &Path, config: &FilesConfig) {
        if config.keep_bytes.is_none() && config.keep_age.is_none() {
            return;
        }
        let Ok(numbers) = list_file_numbers_ascending(dir, self.series) else { return };
        let mut kept_bytes = 0u64;
        for number in numbers.into_iter().rev() {
            let path = file_path(dir, self.series, number);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            kept_bytes += metadata.len();
            let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let too_old = age.zip(config.keep_age).is_some_and(|(age, keep)| age > keep);
            let too_many_bytes = config.keep_bytes.is_some_and(|keep| kept_bytes > keep.0);
            let is_last = number >= self.number;
            // The last file may be closed too; one file is always within `keep_bytes`.
            let is_expired = if is_last { too_old && self.file.is_none() } else { too_old || too_many_bytes };
            if is_expired {
                self.delete_file_count_and_log(&path);
            }
        }
    }

    fn delete_file_count_and_log(&self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => {
                self.metrics.deleted.increment(1);
                tracing::info!(file = %path.display(), "click file deleted, because delivery.files says so");
            }
            Err(why) => {
                self.metrics.errors[FileOperation::Delete as usize].increment(1);
                tracing::warn!(file = %path.display(), "cannot delete a click file: {why}");
            }
        }
    }
}

/// Cuts the file to `len`, unless it is shorter.
fn cut_to_at_most(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() <= len { Ok(()) } else { file.set_len(len) }
}
