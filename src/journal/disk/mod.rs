//! The journal's way to the disk: operations that a test can count and fail, files that appear whole, and questions to
//! the system.

mod file_system;
mod operations;
mod pending_file;
mod pending_io;
mod reads;

#[cfg(test)]
pub(super) use self::operations::DiskOperation;
pub(super) use self::{
    file_system::{
        NamedFile, available_bytes, boot_id, find_kind_of_unsuitable_file_system, try_lock_existing_file, try_lock_file,
    },
    operations::Disk,
    pending_file::PendingFile,
    pending_io::PendingIoTimer,
    reads::is_medium_error,
};
