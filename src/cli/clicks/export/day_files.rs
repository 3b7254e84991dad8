//! The files of an export, one a day: `DIR/date=2026-11-21/part-00000.parquet`. All are written below
//! `DIR/.waypost-export` first, and take their places when the last one is complete and synced.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use jiff::civil::Date;

use super::parquet_file::ParquetFile;
use crate::cli::clicks::day_range::start_of_day_ms;

/// Where files are written until all are complete. Readers of partitioned data skip names that begin with a dot.
const STAGING_DIRECTORY: &str = ".waypost-export";
/// Bytes that are written to a file at a time.
const FILE_BUFFER_BYTES: usize = 256 << 10;

/// The form of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ExportFormat {
    /// Parquet, zstd-compressed
    Parquet,
    /// JSON lines
    Jsonl,
}

/// The files of an export while they are written. Dropped early, it removes what it wrote, and changes no other file.
pub(super) struct DayFiles {
    directory: PathBuf,
    format: ExportFormat,
    /// The day that is written now.
    open: Option<OpenDay>,
    complete: Vec<(Date, u64)>,
    /// Held while this export writes, so that two exports cannot mix their files.
    _lock: File,
}

struct OpenDay {
    day: Date,
    lines: u64,
    file: DayFile,
}

/// A file of an export in its place.
pub(super) struct ExportedFile {
    pub(super) path: PathBuf,
    /// Its clicks, or records.
    pub(super) lines: u64,
}

enum DayFile {
    Parquet(Box<ParquetFile<BufWriter<File>>>),
    Jsonl(BufWriter<File>),
}

impl DayFiles {
    /// Creates the directory if it is missing, and takes its lock.
    ///
    /// # Errors
    /// The directory cannot be written, or another export writes to it.
    pub(super) fn begin(directory: &Path, format: ExportFormat) -> Result<DayFiles> {
        let staging = directory.join(STAGING_DIRECTORY);
        let context = || staging.display().to_string();
        fs::create_dir_all(&staging).with_context(context)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(staging.join("lock"));
        let lock = lock.with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another export writes to {}; wait for it, or give another --out", directory.display())
            }
            Err(TryLockError::Error(why)) => return Err(why).with_context(context),
        }
        // What an export left that was killed.
        for entry in fs::read_dir(&staging).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if !path.ends_with("lock") {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(DayFiles { directory: directory.to_owned(), format, open: None, complete: Vec::new(), _lock: lock })
    }

    /// The directory for temporary files of this export.
    pub(super) fn staging_directory(&self) -> PathBuf {
        self.directory.join(STAGING_DIRECTORY)
    }

    /// Adds a line to the file of a day. Days come in their order.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn add_line(&mut self, day: Date, line: &[u8]) -> Result<()> {
        if self.open.as_ref().is_none_or(|open| open.day != day) {
            self.complete_open_day()?;
            let path = self.staged_path(day);
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            let out = BufWriter::with_capacity(FILE_BUFFER_BYTES, file);
            let file = match self.format {
                ExportFormat::Parquet => DayFile::Parquet(Box::new(ParquetFile::new(out)?)),
                ExportFormat::Jsonl => DayFile::Jsonl(out),
            };
            self.open = Some(OpenDay { day, lines: 0, file });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.lines += 1;
        let added = match &mut open.file {
            DayFile::Parquet(file) => file.add_event(line),
            DayFile::Jsonl(out) => out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(anyhow::Error::from),
        };
        added.with_context(|| self.staged_path(day).display().to_string())
    }

    /// Puts every file into its place, and returns the files. A file of an earlier export of the same day is replaced
    /// as a whole.
    ///
    /// `whole_since_ms`: since when the source holds every record, milliseconds since the epoch. The file of a day of
    /// which the source has lost records since stays as it is.
    ///
    /// # Errors
    /// A file cannot be written or moved, or would replace one that holds more.
    pub(super) fn complete(mut self, whole_since_ms: u64) -> Result<Vec<ExportedFile>> {
        self.complete_open_day()?;
        for (day, _) in &self.complete {
            let place = self.place(*day);
            if start_of_day_ms(*day) < whole_since_ms && place.exists() {
                bail!(
                    "{}: is of an earlier export, and the topics have lost records of {day} since; no file has \
                     changed. Give a later --from, or another --out",
                    place.display()
                );
            }
        }
        let mut files = Vec::new();
        for (day, lines) in &self.complete {
            let path = self.place(*day);
            let partition = path.parent().unwrap_or(&self.directory);
            let moved = fs::create_dir_all(partition)
                .and_then(|()| fs::rename(self.staged_path(*day), &path))
                .and_then(|()| File::open(partition)?.sync_all());
            moved.with_context(|| path.display().to_string())?;
            files.push(ExportedFile { path, lines: *lines });
        }
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.with_context(|| self.directory.display().to_string())?;
        Ok(files)
    }

    fn complete_open_day(&mut self) -> Result<()> {
        let Some(OpenDay { day, lines, file }) = self.open.take() else { return Ok(()) };
        let synced = match file {
            DayFile::Parquet(file) => file.finish().and_then(sync_to_disk),
            DayFile::Jsonl(out) => sync_to_disk(out),
        };
        synced.with_context(|| self.staged_path(day).display().to_string())?;
        self.complete.push((day, lines));
        Ok(())
    }

    fn place(&self, day: Date) -> PathBuf {
        self.directory.join(format!("date={day}")).join(format!("part-00000.{}", self.extension()))
    }

    fn staged_path(&self, day: Date) -> PathBuf {
        self.staging_directory().join(format!("{day}.{}", self.extension()))
    }

    const fn extension(&self) -> &'static str {
        match self.format {
            ExportFormat::Parquet => "parquet",
            ExportFormat::Jsonl => "jsonl",
        }
    }
}

impl Drop for DayFiles {
    fn drop(&mut self) {
        // A file that stays is removed by the next export.
        let _ = fs::remove_dir_all(self.staging_directory());
    }
}

fn sync_to_disk(out: BufWriter<File>) -> Result<()> {
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}
