//! Reads of the journal's files. A page that the medium does not give is damage, and never ends a read: the bytes come
//! back as [`UNREADABLE_BYTE`], which begins no frame, pad or block, so that a walk skips them as damaged bytes.
//!
//! Reads are not noted as pending operations, because more than one thread reads.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::io::Errno;

use super::operations::Disk;

/// The bytes that are read at once where a longer read has failed: a page, aligned in the file.
const STEP: u64 = 4096;
/// Stands for each byte that cannot be read. A frame with such a position is invalid.
const UNREADABLE_BYTE: u8 = 0xff;

/// What a read gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct FileRead {
    /// Bytes up to the end of the buffer or of the file.
    pub(in crate::journal) len: usize,
    /// The pages of which the medium did not give the bytes, by their offsets in the file.
    pub(in crate::journal) unreadable_pages: Vec<u64>,
}

impl Disk {
    /// Fills `buffer` from `offset` on, as far as the file reaches. Where the medium gives an error, reads again page
    /// by page, and overwrites the pages that stay unreadable with bytes that are never valid.
    ///
    /// # Errors
    /// Any other error of the system: the file cannot be reached, and says nothing about its bytes.
    pub(in crate::journal) fn read_at_marking_unreadable_pages(
        &self,
        file: &File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<FileRead> {
        match self.read_until_full_or_end_of_file(file, buffer, offset) {
            Err(error) if is_medium_error(&error) => self.read_page_by_page(file, buffer, offset),
            read => read.map(|len| FileRead { len, unreadable_pages: Vec::new() }),
        }
    }

    fn read_page_by_page(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<FileRead> {
        let end = file.metadata()?.len().min(offset + buffer.len() as u64);
        let (mut read, mut at) = (FileRead::default(), offset);
        while at < end {
            let page_end = (at / STEP + 1) * STEP;
            let page = &mut buffer[read.len..(page_end.min(end) - offset) as usize];
            match self.read_until_full_or_end_of_file(file, page, at) {
                Ok(got) if got < page.len() => return Ok(FileRead { len: read.len + got, ..read }),
                Ok(_) => {}
                Err(error) if is_medium_error(&error) => {
                    page.fill(UNREADABLE_BYTE);
                    read.unreadable_pages.push(at / STEP * STEP);
                }
                Err(error) => return Err(error),
            }
            read.len += page.len();
            at = offset + read.len as u64;
        }
        Ok(read)
    }

    /// Returns how many bytes were read: fewer than asked only at the file's end.
    fn read_until_full_or_end_of_file(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.read_at(file, &mut buffer[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, reason = "under test it can fail")]
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    #[cfg(test)]
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.faults.before_read(file, offset, buffer.len())?;
        file.read_at(&mut buffer[..len], offset)
    }
}

/// Whether the error says that the medium has lost the bytes, and not that the file cannot be reached.
pub(in crate::journal) fn is_medium_error(error: &io::Error) -> bool {
    let lost = [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA];
    error.raw_os_error().is_some_and(|code| lost.iter().any(|errno| errno.raw_os_error() == code))
}
