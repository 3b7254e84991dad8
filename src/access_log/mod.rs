//! Access logs of other servers: what was asked for, and what the answer led to. Reads the common and the combined
//! format of nginx and Apache, with a host in front or without, with more fields behind; and lines of JSON.
//!
//! [`parse_line`] takes any bytes. It guesses nothing about a line that it cannot read.

mod entry;
mod json_line;
mod lines;
mod text_line;

pub use entry::LogEntry;
pub use lines::{BoundedLines, LogLine, MAX_LINE_LEN};

/// The request of a line; `None` if the line has none of the known formats.
pub fn parse_line(line: &[u8]) -> Option<LogEntry> {
    let line = line.trim_ascii();
    if line.first() == Some(&b'{') { json_line::parse(line) } else { text_line::parse(line) }
}

#[cfg(test)]
mod tests;
