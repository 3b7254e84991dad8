//! Numbered files of one series in a directory, such as `clicks-000001.jsonl` and `clicks-000002.jsonl`: their names,
//! their order, and the creation of the next one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::word_enum::word_enum;

/// A newly created file of a series.
#[derive(Debug)]
pub struct NewFile {
    /// The number in the file's name.
    pub number: u64,
    /// The file, open for writing.
    pub file: File,
}

word_enum! {
    /// A file operation that can fail; its word is the value of the label `operation` in metrics.
    pub enum FileOperation {
        /// Creating the next file, or its directory.
        Open = "open",
        /// Writing lines.
        Write = "write",
        /// `fdatasync`.
        Sync = "sync",
        /// Finding the open file under its name and with its length.
        Replaced = "replaced",
        /// Deleting an expired file.
        Delete = "delete",
    }
}

/// A failed file operation.
#[derive(Debug)]
pub struct FileError {
    /// The operation.
    pub operation: FileOperation,
    /// The error of the system.
    pub source: io::Error,
}

impl FileOperation {
    /// Turns an error of the system into the error of this operation.
    pub fn into_error(self) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError { operation: self, source }
    }
}

/// The path of a series' file.
pub fn file_path(dir: &Path, series: &str, number: u64) -> PathBuf {
    dir.join(format!("{series}-{number:06}.jsonl"))
}

/// The numbers of a series' files, ascending.
///
/// # Errors
/// The directory cannot be read.
pub fn list_file_numbers_ascending(dir: &Path, series: &str) -> io::Result<Vec<u64>> {
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

/// The paths of a series' files in the order in which they were written; none if the directory does not exist.
///
/// # Errors
/// The directory cannot be read.
pub fn list_file_paths_in_written_order(dir: &Path, series: &str) -> io::Result<Vec<PathBuf>> {
    match list_file_numbers_ascending(dir, series) {
        Ok(numbers) => Ok(numbers.into_iter().map(|number| file_path(dir, series, number)).collect()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

/// Creates the directory (mode 0700) and its parents, where they do not exist, and syncs its parent, so that its name
/// is on disk too.
///
/// # Errors
/// The directory cannot be created, or its parent cannot be synced.
pub fn create_private_dir_and_sync_parent(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Fails unless `path` still leads to the open file, and the file has all the bytes that were written to it. Bytes in a
/// file that somebody has removed, renamed or cut do not count as kept, synced or not.
///
/// # Errors
/// The text says what was found: removed, renamed or replaced, or cut, with both lengths.
pub fn fail_if_removed_renamed_or_cut(file: &File, path: &Path, written: u64) -> io::Result<()> {
    let own = file.metadata()?;
    let what = match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (own.dev(), own.ino()) => match own.len() {
            len if len < written => format!("was cut from {written} to {len} bytes"),
            _ => return Ok(()),
        },
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ if own.nlink() == 0 => "was removed".to_owned(),
        _ => "was renamed or replaced".to_owned(),
    };
    Err(io::Error::other(format!("{} {what} by somebody else", path.display())))
}

/// Creates a file (mode 0600) under `number` and syncs the directory, so that a synced file can be found after a power
/// loss. The directory is created too if it does not exist. A file that already has this name stays as it is: the new
/// one is then numbered above every file of the series.
///
/// # Errors
/// The file cannot be created, or the directory cannot be synced; then no file is left behind.
pub fn create_file_or_renumber_and_sync_dir(dir: &Path, series: &str, number: u64) -> io::Result<NewFile> {
    let create =
        |number| OpenOptions::new().write(true).create_new(true).mode(0o600).open(file_path(dir, series, number));
    let (number, file) = match create(number) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            let above = list_file_numbers_ascending(dir, series)?.last().map_or(number, |last| last + 1);
            (above, create(above)?)
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            create_private_dir_and_sync_parent(dir)?;
            (number, create(number)?)
        }
        file => (number, file?),
    };
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Ok(()) => Ok(NewFile { number, file }),
        Err(why) => {
            // The file is empty. Without the removal each retry would leave one more.
            let _ = fs::remove_file(file_path(dir, series, number));
            Err(why)
        }
    }
}
