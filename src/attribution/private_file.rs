//! Files that hold secrets: only their owner may read them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The largest file that is read, bytes: thousands of keys.
const MAX_FILE_LEN: u64 = 1 << 20;

/// Why a secret file cannot be read or written. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file system refused an operation.
    #[error("{path}: cannot {operation}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The file system's error.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{path}: mode {mode:04o} lets others than its owner at the keys; run: chmod 600 {path}")]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl PrivateFileError {
    /// Turns an I/O error of an operation on a file into an error that names both.
    pub(super) fn on<'a>(path: &'a Path, operation: &'static str) -> impl FnOnce(io::Error) -> PrivateFileError + 'a {
        move |source| PrivateFileError::Io { path: path.to_owned(), operation, source }
    }
}

/// Reads a file that only its owner may read. The mode is that of the opened file, so a rename in between changes
/// nothing.
pub fn read_file_if_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let file = File::open(path).map_err(PrivateFileError::on(path, "open it"))?;
    let mode = file.metadata().map_err(PrivateFileError::on(path, "read its mode"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::ReadableByOthers { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_FILE_LEN).read_to_end(&mut bytes).map_err(PrivateFileError::on(path, "read it"))?;
    Ok(bytes)
}

/// Writes a secret file durably with mode 0600: temporary file, sync, rename, sync of the directory.
pub fn replace_private_file_atomically_and_sync(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written =
        replace_temporary_with_private_file_and_sync(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The rest would hold keys. A failure to remove it changes nothing about the error.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(PrivateFileError::on(path, "write it"))?;
    let dir = parent_dir(path).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(PrivateFileError::on(path, "sync its directory"))
}

fn replace_temporary_with_private_file_and_sync(temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The directory of a file; `None` for a bare name.
pub(super) fn parent_dir(path: &Path) -> Option<&Path> {
    path.parent().filter(|dir| !dir.as_os_str().is_empty())
}
