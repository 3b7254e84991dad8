//! The reserve: a preallocated file beside the directory of dead letters, one for each topic. It takes a line where no
//! dead-letter file can be written: the disk is full, the directory is gone, or nobody may create a file. Its lines
//! move to a dead-letter file as soon as one can be written.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::file_series::fail_if_removed_renamed_or_cut;

/// Some 500 ordinary clicks, or 16 of the largest.
pub(super) const RESERVE_BYTES: usize = 1 << 20;

/// Lines, then zeros up to the end of the file.
pub(super) struct DeadLetterReserve {
    path: PathBuf,
    file: File,
    lines: Vec<u8>,
}

impl DeadLetterReserve {
    /// Opens the file with the lines that an earlier process left in it. Creates and preallocates it where that is not
    /// done yet.
    pub(super) fn open_or_create_preallocated(path: PathBuf) -> io::Result<DeadLetterReserve> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut bytes = vec![0; RESERVE_BYTES];
        let mut len = 0;
        while let got @ 1.. = file.read_at(&mut bytes[len..], len as u64)? {
            len += got;
        }
        // A process that was killed may have left a part of a line behind the last whole one.
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(RESERVE_BYTES);
        let end = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if len < RESERVE_BYTES || bytes[end..].iter().any(|byte| *byte != 0) {
            bytes[end..].fill(0);
            file.write_all_at(&bytes[end..], end as u64)?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
        }
        bytes.truncate(end);
        Ok(DeadLetterReserve { path, file, lines: bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that no dead-letter file has yet.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Writes a line behind the others. A sync that fails is no error: the line then survives the process, as the click
    /// in the ring does, and not the machine.
    pub(super) fn append_line_and_try_sync(&mut self, line: &[u8]) -> io::Result<()> {
        let (start, end) = (self.lines.len(), self.lines.len() + line.len());
        if end > RESERVE_BYTES {
            let text = format!("{} has no room for {} bytes behind {start}", self.path.display(), line.len());
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        fail_if_removed_renamed_or_cut(&self.file, &self.path, RESERVE_BYTES as u64)?;
        if let Err(error) = self.file.write_all_at(line, start as u64) {
            // Not every byte needs to be a zero again: a later line overwrites them, or the next start does.
            let _ = self.file.write_all_at(&vec![0; line.len()], start as u64);
            return Err(error);
        }
        self.lines.extend_from_slice(line);
        if let Err(error) = self.file.sync_data() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot sync the reserve of dead letters: they may not survive the machine");
        }
        Ok(())
    }

    /// Forgets the lines, which a dead-letter file has now.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.write_all_at(&vec![0; self.lines.len()], 0)?;
        self.lines.clear();
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(path: &Path) -> DeadLetterReserve {
        DeadLetterReserve::open_or_create_preallocated(path.to_owned()).unwrap()
    }

    #[test]
    fn lines_outlive_the_process_and_a_part_of_a_line_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = open(&path);
        assert_eq!(reserve.lines(), b"");
        reserve.append_line_and_try_sync(b"one\n").unwrap();
        reserve.append_line_and_try_sync(b"two\n").unwrap();
        drop(reserve);
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), RESERVE_BYTES);
        bytes[8..13].copy_from_slice(b"torn!");
        fs::write(&path, bytes).unwrap();
        let mut reserve = open(&path);
        assert_eq!(reserve.lines(), b"one\ntwo\n");
        reserve.append_line_and_try_sync(b"3\n").unwrap();
        assert_eq!(open(&path).lines(), b"one\ntwo\n3\n");
        reserve.clear().unwrap();
        assert_eq!((reserve.lines(), open(&path).lines()), (&b""[..], &b""[..]));
    }

    #[test]
    fn a_line_that_does_not_fit_is_refused_and_so_is_every_line_once_the_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = open(&path);
        let mut line = vec![b'x'; RESERVE_BYTES - 1];
        line.push(b'\n');
        reserve.append_line_and_try_sync(&line).unwrap();
        let full = reserve.append_line_and_try_sync(b"x\n").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(open(&path).lines(), line);
        reserve.clear().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(reserve.append_line_and_try_sync(b"x\n").is_err());
    }
}
