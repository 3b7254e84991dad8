//! What the journal asks the system: locks, kinds of file systems, free bytes, identity of files and of the boot.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

/// Locks the file `path`, created if it does not exist, for as long as the returned file lives. `None`: another process
/// has locked it.
pub(in crate::journal) fn try_lock_file(path: &Path) -> io::Result<Option<File>> {
    try_lock_exclusive(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?)
}

/// Locks the existing file `path` for as long as the returned file lives, without a change. `None`: another process has
/// locked it.
pub(in crate::journal) fn try_lock_existing_file(path: &Path) -> io::Result<Option<File>> {
    try_lock_exclusive(File::open(path)?)
}

fn try_lock_exclusive(file: File) -> io::Result<Option<File>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The kind of the file system of `dir`, unless it is one where the blocks of a mapped ring are known to stay: ext4,
/// XFS and tmpfs, and overlayfs, which a container has over one of them. `None`: rings may lie there. On any other one,
/// preallocated blocks can be missing under a mapped file (glibc manual, `posix_fallocate`), or nobody has looked.
/// Magic numbers from linux/magic.h, OpenZFS and FUSE.
pub(in crate::journal) fn find_kind_of_unsuitable_file_system(dir: &Path) -> io::Result<Option<String>> {
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between targets")]
    let kind = rustix::fs::statfs(dir)?.f_type as u64 & 0xffff_ffff;
    let name = match kind {
        // The magic number of ext4 is also that of ext2 and ext3, which the driver of ext4 mounts.
        0xef53 | 0x5846_5342 | 0x0102_1994 | 0x794c_7630 => return Ok(None),
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "ZFS",
        0x6969 => "NFS",
        0x6573_5546 => "FUSE",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9p",
        0xca45_1a4e => "bcachefs",
        0xf2f5_2010 => "F2FS",
        _ => return Ok(Some(format!("a file system of kind {kind:#x}"))),
    };
    Ok(Some(name.to_owned()))
}

/// Bytes that this user may still write on the file system of `dir`.
pub(in crate::journal) fn available_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// An open file's path and identity.
#[derive(Debug)]
pub(in crate::journal) struct NamedFile {
    pub(in crate::journal) path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl NamedFile {
    /// Notes that `file` was opened as `path`.
    pub(in crate::journal) fn new(path: PathBuf, file: &File) -> io::Result<NamedFile> {
        let meta = file.metadata()?;
        Ok(NamedFile { path, id: (meta.dev(), meta.ino()) })
    }

    /// Whether the path still leads to the file. It does not after the file was removed, or its directory mounted over
    /// or unmounted.
    pub(in crate::journal) fn is_still_named(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id)
    }
}

/// The kernel's id of this boot; zeros if there is none, which match no ring.
pub(in crate::journal) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut digits = text.bytes().filter_map(|digit| (digit as char).to_digit(16));
    std::array::from_fn(|_| (digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0)) as u8)
}
