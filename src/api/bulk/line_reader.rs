//! Splits a body into lines of bounded length, as it comes.

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Incoming;

use crate::api::{
    http::{problem::Problem, request_body::next_chunk},
    links::record_body::MAX_RECORD,
};

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BodyLine {
    /// Its number in the body, from 1.
    pub(super) number: u64,
    /// Its bytes; `None`: they are more than a line may have.
    pub(super) bytes: Option<Bytes>,
}

/// Reads lines out of a body.
pub(super) struct LineReader {
    body: Incoming,
    splitter: LineSplitter,
}

impl LineReader {
    pub(super) fn new(body: Incoming) -> LineReader {
        LineReader { body, splitter: LineSplitter::default() }
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// The body does not come on, or breaks off.
    pub(super) async fn next_line(&mut self) -> Result<Option<BodyLine>, Problem> {
        loop {
            if let Some(line) = self.splitter.take_line() {
                return Ok(Some(line));
            }
            match next_chunk(&mut self.body).await? {
                Some(chunk) => self.splitter.buffer.extend_from_slice(&chunk),
                None => return Ok(self.splitter.take_last_line()),
            }
        }
    }
}

#[derive(Debug, Default)]
struct LineSplitter {
    buffer: BytesMut,
    /// How much of the buffer has no end of a line.
    searched: usize,
    /// The beginning of the present line was thrown away, because the line is too long.
    is_too_long: bool,
    lines: u64,
}

impl LineSplitter {
    /// The next complete line that is not blank.
    fn take_line(&mut self) -> Option<BodyLine> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                if self.buffer.len() > MAX_RECORD + 1 {
                    self.is_too_long = true;
                    self.buffer.clear();
                }
                self.searched = self.buffer.len();
                return None;
            };
            let bytes = self.buffer.split_to(self.searched + end).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if let Some(line) = self.end_line(bytes) {
                return Some(line);
            }
        }
    }

    /// What stands behind the last end of a line.
    fn take_last_line(&mut self) -> Option<BodyLine> {
        let bytes = self.buffer.split().freeze();
        self.searched = 0;
        self.end_line(bytes)
    }

    fn end_line(&mut self, bytes: Bytes) -> Option<BodyLine> {
        self.lines += 1;
        let is_too_long = std::mem::take(&mut self.is_too_long) || bytes.len() > MAX_RECORD + 1;
        let trimmed = bytes.trim_ascii();
        let is_too_long = is_too_long || trimmed.len() > MAX_RECORD;
        if is_too_long {
            return Some(BodyLine { number: self.lines, bytes: None });
        }
        (!trimmed.is_empty()).then(|| BodyLine { number: self.lines, bytes: Some(bytes.slice_ref(trimmed)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8], part: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for bytes in text.chunks(part) {
            splitter.buffer.extend_from_slice(bytes);
            while let Some(line) = splitter.take_line() {
                lines.push(line);
            }
        }
        lines.extend(splitter.take_last_line());
        lines.into_iter().map(|line| (line.number, line.bytes.map(|bytes| bytes.to_vec()))).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_body_comes() {
        let long = vec![b'x'; MAX_RECORD + 1];
        let text = [b"a\r\n\n  \nb\n", &long[1..], b"\n", &*long, b"\n", &[&*long, &*long].concat(), b"\nc"].concat();
        let expected = vec![
            (1, Some(b"a".to_vec())),
            (4, Some(b"b".to_vec())),
            (5, Some(long[1..].to_vec())),
            (6, None),
            (7, None),
            (8, Some(b"c".to_vec())),
        ];
        for part in [1, 7, 4096, text.len()] {
            assert_eq!(split(&text, part), expected, "{part}");
        }
    }
}
