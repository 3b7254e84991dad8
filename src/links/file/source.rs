//! Cuts a links file into blocks of whole lines.

use std::{
    fs::File,
    io::{self, Read},
};

use crate::links::file::MAX_LINE;

/// Bytes read at a time; much larger than a line, so that cutting costs nothing.
const BLOCK: usize = 1 << 20;

/// Whole lines of the file.
pub(super) struct Block {
    /// The number of its first line.
    first_line: u64,
    bytes: Vec<u8>,
    /// Bytes of the file up to the block's end.
    pub(super) upto: u64,
}

impl Block {
    /// Its lines without their ends, each with its number. Behind the last line end comes an empty one.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', &self.bytes).chain(std::iter::once(self.bytes.len()));
        let lines = ends.map(move |end| &self.bytes[std::mem::replace(&mut from, end + 1)..end]);
        (self.first_line..).zip(lines)
    }

    /// How many lines a file of `size` bytes has if it goes on like this, and a little more.
    pub(super) fn expected(&self, size: u64) -> usize {
        let lines = memchr::memchr_iter(b'\n', &self.bytes).count() as u64 + 1;
        let mean = (self.bytes.len() as u64 / lines).max(1);
        let expected = size / mean;
        usize::try_from(expected + expected / 32).unwrap_or(0)
    }
}

/// Cuts blocks off the file.
pub(super) struct Source<'a> {
    file: &'a File,
    carried: Vec<u8>,
    next_line: u64,
    read: u64,
    ended: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File) -> Source<'a> {
        Source { file, carried: Vec::new(), next_line: 1, read: 0, ended: false }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(BLOCK + MAX_LINE);
        bytes.append(&mut self.carried);
        let read = self.file.take(BLOCK as u64).read_to_end(&mut bytes)?;
        self.read += read as u64;
        match memchr::memrchr(b'\n', &bytes) {
            Some(end) if read > 0 => self.carried.extend_from_slice(&bytes[end + 1..]),
            // The end, or a line longer than a block: that is a mistake of its own, and what follows is not judged.
            _ => self.ended = true,
        }
        bytes.truncate(bytes.len() - self.carried.len());
        let first_line = self.next_line;
        self.next_line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Some(Block { first_line, bytes, upto: self.read - self.carried.len() as u64 }))
    }
}
