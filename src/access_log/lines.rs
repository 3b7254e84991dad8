//! Lines of a log, one after the other, in bounded memory.

use std::io::{self, BufRead};

/// The longest line that is kept, bytes. Servers bound a request's head to less.
pub const MAX_LINE_LEN: usize = 64 * 1024;

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum LogLine<'a> {
    /// The line without its end.
    Whole(&'a [u8]),
    /// A line of more than [`MAX_LINE_LEN`] bytes, which was passed over.
    TooLong,
}

/// Reads lines of any length and keeps at most [`MAX_LINE_LEN`] bytes of one.
pub struct BoundedLines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> BoundedLines<R> {
    /// The lines of `reader`.
    pub fn new(reader: R) -> BoundedLines<R> {
        BoundedLines { reader, line: Vec::new() }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The reader fails.
    pub fn read_next(&mut self) -> io::Result<Option<LogLine<'_>>> {
        self.line.clear();
        let (mut is_too_long, mut is_any_read) = (false, false);
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                break;
            }
            is_any_read = true;
            let end = memchr::memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            if self.line.len() + part.len() > MAX_LINE_LEN {
                is_too_long = true;
            } else {
                self.line.extend_from_slice(part);
            }
            let consumed = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(consumed);
            if end.is_some() {
                break;
            }
        }
        Ok(match (is_any_read, is_too_long) {
            (false, _) => None,
            (true, true) => Some(LogLine::TooLong),
            (true, false) => Some(LogLine::Whole(&self.line)),
        })
    }
}
