//! Cuts a file of lines into blocks of whole lines, so that several threads can parse it.

use std::{
    fs::File,
    io::{self, Read},
};

/// Bytes read at a time; much larger than a line, so that cutting costs nothing.
const BLOCK_BYTES: usize = 1 << 20;

/// What some editors and exports write in front of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Some successive lines of the file.
pub struct LineBlock {
    first_line_number: u64,
    bytes: Vec<u8>,
    /// Offset of the block's end in the file, bytes.
    pub(super) end_offset: u64,
}

impl LineBlock {
    /// The lines without their ends, each with its number from 1. After the last line end comes an empty line. A byte
    /// order mark at the start of a line is skipped: files that were put together have one in their middle.
    pub fn numbered_lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', &self.bytes).chain(std::iter::once(self.bytes.len()));
        let lines = ends.map(move |end| {
            let line = &self.bytes[std::mem::replace(&mut from, end + 1)..end];
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
        });
        (self.first_line_number..).zip(lines)
    }

    /// Estimates the lines of a file of `file_bytes` from the mean length of this block's lines, and adds 3 %.
    fn estimate_line_count_of_file_with_margin(&self, file_bytes: u64) -> usize {
        let lines = memchr::memchr_iter(b'\n', &self.bytes).count() as u64 + 1;
        let mean_bytes = (self.bytes.len() as u64 / lines).max(1);
        let estimate = file_bytes / mean_bytes;
        usize::try_from(estimate + estimate / 32).unwrap_or(0)
    }
}

/// Reads a file block by block.
pub struct BlockReader<'a> {
    file: &'a File,
    /// A block that was read ahead.
    pending: Option<LineBlock>,
    /// The start of a line whose end is not read yet.
    partial_line: Vec<u8>,
    next_line_number: u64,
    bytes_read: u64,
    is_at_end: bool,
}

impl<'a> BlockReader<'a> {
    /// Reads `file` from its current offset.
    pub fn new(file: &'a File) -> BlockReader<'a> {
        BlockReader {
            file,
            pending: None,
            partial_line: Vec::new(),
            next_line_number: 1,
            bytes_read: 0,
            is_at_end: false,
        }
    }

    /// Estimates the number of lines by the first block, which is read ahead.
    pub(super) fn read_first_block_and_estimate_line_count(&mut self, file_bytes: u64) -> io::Result<usize> {
        self.pending = self.read_next_block()?;
        Ok(self.pending.as_ref().map_or(0, |block| block.estimate_line_count_of_file_with_margin(file_bytes)))
    }

    /// The next block; `None` after the last one. A line longer than a block ends the file: it is cut off.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_next_block(&mut self) -> io::Result<Option<LineBlock>> {
        if let Some(block) = self.pending.take() {
            return Ok(Some(block));
        }
        if self.is_at_end {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + self.partial_line.len());
        bytes.append(&mut self.partial_line);
        let read = self.file.take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
        self.bytes_read += read as u64;
        match memchr::memrchr(b'\n', &bytes) {
            Some(end) if read > 0 => self.partial_line.extend_from_slice(&bytes[end + 1..]),
            // The end of the file, or a line longer than a block: that line is an error, and what follows it is not
            // read.
            _ => self.is_at_end = true,
        }
        bytes.truncate(bytes.len() - self.partial_line.len());
        let first_line_number = self.next_line_number;
        self.next_line_number += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let end_offset = self.bytes_read - self.partial_line.len() as u64;
        Ok(Some(LineBlock { first_line_number, bytes, end_offset }))
    }
}
