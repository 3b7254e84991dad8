//! A listening Unix socket in the file system. Its file is removed with the socket.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// The owner and the group may connect: a proxy in the group.
const SOCKET_FILE_MODE: u32 = 0o660;

/// The file of a Unix socket. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct UnixSocketFile {
    path: PathBuf,
    /// Device and inode. A file with another identity has replaced it since, and belongs to another process.
    identity: (u64, u64),
}

impl UnixSocketFile {
    fn from_path(path: &Path) -> io::Result<UnixSocketFile> {
        Ok(UnixSocketFile { path: path.to_owned(), identity: file_identity(path)? })
    }
}

fn file_identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        if file_identity(&self.path).is_ok_and(|now| now == self.identity) {
            // The next start removes a file that stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`, without blocking. Replaces the socket file of a process that was killed.
///
/// # Errors
/// The system refuses. Another process listens on the path, or the file there is no socket; both are left as they are.
pub(super) fn bind_nonblocking_replacing_stale_socket(path: &Path) -> io::Result<(UnixListener, UnixSocketFile)> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // A refused connection tells that no process listens.
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = UnixSocketFile::from_path(path)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_FILE_MODE))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}
