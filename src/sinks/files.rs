//! The file sink of a topic: writes clicks as JSON lines into rotated files.
//!
//! ```text
//! clicks/clicks-000001.jsonl           clicks on live links
//! clicks/clicks.orphan-000001.jsonl    the other topic, by a sink of its own
//! ```
//!
//! - Lines are written in large buffers at known offsets. A click is delivered once `fdatasync` has returned, which is
//!   called at least each `sync_interval`. A line that ends in a newline is complete.
//! - After an error the file is cut back to its last sync, and the clicks in flight are returned and written again;
//!   after a failed sync into a new file, because the kernel may have dropped pages of the old one. The next attempt
//!   follows after a growing pause.
//! - A sync counts only if the file's name still leads to it and no byte is missing. If somebody has removed, renamed
//!   or cut the file, that is told, and the clicks in flight are written again to a new file; a removed directory is
//!   created again.
//! - At the start the files are read from the position in the journal's note on (`recovery`). Clicks found there are
//!   not written again, so delivery is exactly once, also after kill -9.
//! - A file is deleted only if `keep_bytes` or `keep_age` says so; `waypost_click_files_low_space` alarms instead.

mod free_space;
mod note;
mod open_error;
mod recovery;
mod series_writer;

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::Access;

use self::{
    free_space::FreeSpaceMonitor,
    note::FilePosition,
    open_error::OpenError,
    recovery::{RecoveredClicks, scan_files_and_copy_damage_aside},
    series_writer::SeriesWriter,
};
use crate::{
    delivery::{
        FilesConfig,
        committed::CommittedLanes,
        sink::{DeliveryReport, OutgoingRecord, ReturnCause, SendOutcome, Sink},
    },
    file_series::{create_private_dir_and_sync_parent, file_path, list_file_numbers_ascending},
    journal::{SinkNote, Watermark},
    model::click::Topic,
};

/// The click files of one topic.
pub(crate) struct FileSink {
    topic: Topic,
    dir: PathBuf,
    config: FilesConfig,
    sync_interval: Duration,
    writer: SeriesWriter,
    recovered: RecoveredClicks,
    free_space: FreeSpaceMonitor,
}

impl FileSink {
    /// Creates the directory (mode 0700), reads the clicks that the last process wrote, and continues the topic's last
    /// file. The files are read from the earliest position among the lanes' `notes` on. `sync_interval`: the longest
    /// time between two syncs of a file.
    ///
    /// # Errors
    /// The directory or a file in it cannot be created, read or cut.
    pub(crate) fn recover_clicks_and_open_files(
        topic: Topic,
        dir: PathBuf,
        config: FilesConfig,
        edge: &str,
        notes: &[SinkNote],
        sync_interval: Duration,
    ) -> Result<FileSink, OpenError> {
        create_private_dir_and_sync_parent(&dir).map_err(|why| OpenError::new("create", &dir, why))?;
        let start = notes.iter().map(FilePosition::from_note_or_default).min().unwrap_or_default();
        let recovered = scan_files_and_copy_damage_aside(&dir, topic, edge, start)?;
        let mut writer = SeriesWriter::new(topic.name(), recovered.end.number);
        writer.open_cut_and_sync_last_file_if_any(&dir, recovered.end)?;
        Ok(FileSink { topic, dir, config, sync_interval, writer, recovered, free_space: FreeSpaceMonitor::new() })
    }

    /// Creates the directory (mode 0700), and opens and closes the topic's last file, if there is one.
    ///
    /// # Errors
    /// The directory cannot be created or written to, or the file cannot be opened.
    pub(crate) fn check_files_can_be_opened(topic: Topic, dir: &Path) -> Result<(), OpenError> {
        create_private_dir_and_sync_parent(dir).map_err(|why| OpenError::new("create", dir, why))?;
        rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|why| OpenError::new("write to", dir, why.into()))?;
        let numbers = list_file_numbers_ascending(dir, topic.name()).map_err(|why| OpenError::new("read", dir, why))?;
        let Some(last) = numbers.last() else { return Ok(()) };
        let path = file_path(dir, topic.name(), *last);
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|why| OpenError::new("open", &path, why))
            .map(drop)
    }

    /// Writes and syncs the lines if a sync is due, rotates a full file, and reports the clicks in flight.
    fn sync_rotate_and_report_if_due(&mut self, now: Instant, flush_now: bool, reports: &mut Vec<DeliveryReport>) {
        let writer = &mut self.writer;
        if writer.has_unsynced_lines() {
            if !flush_now && !writer.is_sync_due(now, self.sync_interval) {
                return;
            }
            if let Err(error) = writer.write_buffer_and_sync_file(&self.dir, now) {
                writer.count_log_roll_back_and_pause_after_error(&error, now);
                reports.push(DeliveryReport::AllReturned(ReturnCause::FileError));
                return;
            }
            reports.push(DeliveryReport::AllDelivered);
        }
        // Also without new clicks: a file grows old, and its limits hold, on a quiet edge too.
        if writer.is_full(&self.config, now) {
            writer.close_file_for_rotation_unless_empty(now);
            writer.delete_closed_files_beyond_keep_limits(&self.dir, &self.config);
        }
    }
}

impl Sink for FileSink {
    fn can_refuse_clicks(&self) -> bool {
        false
    }

    /// `None` while the topic pauses after an error.
    fn record_buffer_if_accepting(&mut self, now: Instant) -> Option<&mut Vec<u8>> {
        self.writer.line_buffer(now)
    }

    fn send_buffered(&mut self, _record: &OutgoingRecord<'_>) -> SendOutcome {
        self.writer.end_line_and_write_buffer_if_full(&self.dir);
        SendOutcome::Accepted
    }

    fn poll(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        _next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        self.sync_rotate_and_report_if_due(now, flush_now, reports);
        self.free_space.set_free_space_gauges_and_warn_if_due(&self.dir, now);
        None
    }

    fn journal_note(&self) -> SinkNote {
        self.writer.synced_position().to_note()
    }

    fn topic_name(&self) -> &str {
        self.topic.name()
    }

    fn delivered_at_open(&self, lane: u16) -> Watermark {
        self.recovered.watermarks.get(&lane).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
