//! Tables: a header, then rows of fields. The reader cuts the file into rows; the fields of a row are decoded later, on
//! other threads.
//!
//! A field that starts with `"` ends at the next single `"`; `""` inside stands for one. Elsewhere `"` is a character
//! as any other. A row ends at a line feed outside quotes, a carriage return in front of it does not count. Blank lines
//! are skipped.

use std::{collections::HashMap, io::Read, sync::Arc};

use csv_core::{ReadRecordResult, Terminator};

use crate::import::{
    cell::quote,
    column::Role,
    file_error::FileError,
    plan::{Column, ImportPlan, fold},
    read_result::ReadError,
    row_block::RowSink,
};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// The longest row. A longer one is a quote that nobody closes.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Reads a table to its end.
pub(super) fn read_rows(plan: &ImportPlan, input: &mut dyn Read, sink: &mut RowSink<'_>) -> Result<(), ReadError> {
    let mut decoder = FieldDecoder::new(plan.separator);
    let mut has_header = false;
    split_into_rows(plan.separator, CHUNK_BYTES, input, &mut |line, row| {
        if has_header {
            return Ok(sink.push(line, row)?);
        }
        has_header = true;
        Ok(sink.set_columns(resolve_header(plan, &decoder.decode(row))?)?)
    })?;
    if has_header { Ok(()) } else { Err(FileError::refused("is empty: no header").into()) }
}

/// Takes a row without its line end, and its line.
type TakeRow<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ReadError> + 'a;

/// Gives each row to `take_row`.
fn split_into_rows(
    separator: u8,
    chunk_bytes: usize,
    input: &mut dyn Read,
    take_row: &mut TakeRow<'_>,
) -> Result<(), ReadError> {
    let mut splitter = RowSplitter::new(separator);
    let mut buffer = Vec::with_capacity(2 * chunk_bytes);
    loop {
        let read = (&mut *input).take(chunk_bytes as u64).read_to_end(&mut buffer)?;
        while let Some(row) = splitter.find_next_row(&buffer, read == 0) {
            take_row(row.line, &buffer[row.start..row.end])?;
        }
        buffer.drain(..splitter.forget_finished_rows());
        if read == 0 {
            return Ok(splitter.check_no_quote_is_open()?);
        }
        if buffer.len() > MAX_ROW_BYTES {
            return Err(splitter.too_long_row_error().into());
        }
    }
}

/// A row in the buffer.
struct FoundRow {
    start: usize,
    end: usize,
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote inside quotes: the end, or the first of two.
    QuoteInQuotes,
}

/// Finds the ends of rows. Offsets are those of the caller's buffer, which starts with the first unfinished row.
struct RowSplitter {
    separator: u8,
    state: State,
    /// How far the buffer is looked at.
    at: usize,
    row_start: usize,
    row_line: u64,
    line: u64,
    field: u64,
    quote_line: u64,
    quote_field: u64,
}

impl RowSplitter {
    fn new(separator: u8) -> RowSplitter {
        RowSplitter {
            separator,
            state: State::FieldStart,
            at: 0,
            row_start: 0,
            row_line: 1,
            line: 1,
            field: 1,
            quote_line: 0,
            quote_field: 0,
        }
    }

    /// The next row that is no blank line; `None` if the buffer ends inside it.
    fn find_next_row(&mut self, buffer: &[u8], is_end: bool) -> Option<FoundRow> {
        loop {
            let row_end = match self.find_line_feed_outside_quotes(buffer) {
                Some(line_feed) => line_feed,
                None if is_end && self.row_start < buffer.len() && self.state != State::Quoted => buffer.len(),
                None => return None,
            };
            let start = std::mem::replace(&mut self.row_start, self.at.max(row_end));
            let line = std::mem::replace(&mut self.row_line, self.line);
            (self.state, self.field) = (State::FieldStart, 1);
            let row = &buffer[start..row_end];
            let row = row.strip_suffix(b"\r").unwrap_or(row);
            if !row.is_empty() {
                return Some(FoundRow { start, end: start + row.len(), line });
            }
        }
    }

    /// Walks on to the end of the row and gives the offset of its line feed.
    fn find_line_feed_outside_quotes(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(&byte) = buffer.get(self.at) {
            match self.state {
                State::FieldStart if byte == b'"' => {
                    (self.state, self.quote_line, self.quote_field) = (State::Quoted, self.line, self.field);
                    self.at += 1;
                }
                State::FieldStart => self.state = State::Plain,
                State::QuoteInQuotes if byte == b'"' => {
                    self.state = State::Quoted;
                    self.at += 1;
                }
                State::QuoteInQuotes => self.state = State::Plain,
                State::Quoted => match memchr::memchr2(b'"', b'\n', &buffer[self.at..]) {
                    Some(len) => {
                        self.at += len + 1;
                        if buffer[self.at - 1] == b'"' { self.state = State::QuoteInQuotes } else { self.line += 1 }
                    }
                    None => self.at = buffer.len(),
                },
                State::Plain => match memchr::memchr2(self.separator, b'\n', &buffer[self.at..]) {
                    Some(len) => {
                        self.at += len + 1;
                        if buffer[self.at - 1] == b'\n' {
                            self.line += 1;
                            return Some(self.at - 1);
                        }
                        (self.state, self.field) = (State::FieldStart, self.field + 1);
                    }
                    None => self.at = buffer.len(),
                },
            }
        }
        None
    }

    /// How many bytes of the buffer belong to finished rows: the caller removes them.
    fn forget_finished_rows(&mut self) -> usize {
        self.at = self.at.saturating_sub(self.row_start);
        std::mem::take(&mut self.row_start)
    }

    fn check_no_quote_is_open(&self) -> Result<(), FileError> {
        if self.state != State::Quoted {
            return Ok(());
        }
        let (line, field) = (self.quote_line, self.quote_field);
        Err(FileError::refused(format!("the quote opened on line {line}, field {field}, is not closed")))
    }

    fn too_long_row_error(&self) -> FileError {
        let (line, mib) = (self.row_line, MAX_ROW_BYTES >> 20);
        let why = match self.state {
            State::Quoted => {
                format!("; the quote opened on line {}, field {}, is not closed", self.quote_line, self.quote_field)
            }
            _ => String::new(),
        };
        FileError::refused(format!("the row on line {line} is longer than {mib} MiB{why}"))
    }
}

/// Decodes the fields of rows, one row after the other.
pub(super) struct FieldDecoder {
    reader: csv_core::Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl FieldDecoder {
    pub(super) fn new(separator: u8) -> FieldDecoder {
        let reader = csv_core::ReaderBuilder::new().delimiter(separator).terminator(Terminator::Any(b'\n')).build();
        FieldDecoder { reader, output: vec![0; 1024], ends: vec![0; 32] }
    }

    /// The fields of a row without its line end.
    pub(super) fn decode<'a>(&'a mut self, row: &[u8]) -> Vec<&'a [u8]> {
        self.reader.reset();
        let (mut read, mut written, mut fields) = (0, 0, 0);
        loop {
            let (output, ends) = (&mut self.output[written..], &mut self.ends[fields..]);
            let (result, bytes, bytes_out, ends_out) = self.reader.read_record(&row[read..], output, ends);
            (read, written, fields) = (read + bytes, written + bytes_out, fields + ends_out);
            match result {
                ReadRecordResult::OutputFull => self.output.resize(2 * self.output.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                // With the input at its end, the next call ends the row.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        let starts = std::iter::once(0).chain(self.ends[..fields].iter().copied());
        starts.zip(&self.ends[..fields]).map(|(start, end)| &self.output[start..*end]).collect()
    }
}

/// Resolves the names of the header.
fn resolve_header(plan: &ImportPlan, names: &[&[u8]]) -> Result<Arc<[Column]>, FileError> {
    let names: Vec<&str> = names
        .iter()
        .map(|name| str::from_utf8(name).map_err(|_| FileError::refused("the header is not UTF-8; save as UTF-8")))
        .collect::<Result<_, _>>()?;
    check_separator(plan, &names)?;
    resolve_columns(plan, &names)
        .map_err(|problems| FileError::refused(format!("the header does not fit: {}", problems.join("; "))))
}

/// A header of one field that holds another separator.
fn check_separator(plan: &ImportPlan, names: &[&str]) -> Result<(), FileError> {
    let [only] = names else { return Ok(()) };
    let others = [(';', "semicolons", "';'"), ('\t', "tabs", "tab"), ('|', "bars", "'|'"), (',', "commas", "','")];
    match others.into_iter().find(|(other, ..)| *other != char::from(plan.separator) && only.contains(*other)) {
        Some((_, name, option)) => {
            Err(FileError::refused(format!("fields are parted by {name}; --separator {option}")))
        }
        None => Ok(()),
    }
}

/// What becomes of each column of a table or a dump.
///
/// # Errors
/// Every column that is unknown, missing or there twice.
pub(super) fn resolve_columns(plan: &ImportPlan, names: &[&str]) -> Result<Arc<[Column]>, Vec<String>> {
    let mut problems = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<Column> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(fold(name), at) {
            problems.push(format!("column {} stands twice ({} and {})", quote(name), first + 1, at + 1));
        }
        match plan.find_column(name) {
            Some(column) => columns.push(column),
            None => problems.push(format!("column {} is unknown; --ignore-column leaves it out", quote(name))),
        }
    }
    for required in plan.required_columns() {
        let found: Vec<&&str> = names
            .iter()
            .filter(|name| required.names.iter().any(|known| known.eq_ignore_ascii_case(name.trim())))
            .collect();
        match found[..] {
            [] => {
                let first = required.names.first().copied().unwrap_or_default();
                problems.push(format!("column {} is missing{}", quote(first), required.hint));
            }
            [one, other, ..] if fold(one) != fold(other) => {
                problems.push(format!("columns {} and {} hold the same", quote(one), quote(other)));
            }
            _ => {}
        }
    }
    if problems.is_empty() && columns.iter().all(|column| column.role == Role::LeftOut) {
        problems.push("every column is left out".to_owned());
    }
    if problems.is_empty() { Ok(columns.into()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Line and fields of each row, or the error.
    fn rows_of(table: &str, chunk_bytes: usize) -> Result<Vec<(u64, Vec<String>)>, String> {
        let mut decoder = FieldDecoder::new(b',');
        let mut rows = Vec::new();
        let result = split_into_rows(b',', chunk_bytes, &mut table.as_bytes(), &mut |line, row| {
            let fields = decoder.decode(row).into_iter().map(|field| String::from_utf8(field.to_vec()).unwrap());
            rows.push((line, fields.collect()));
            Ok(())
        });
        match result {
            Ok(()) => Ok(rows),
            Err(ReadError::File(error)) => Err(error.to_string()),
            Err(ReadError::ReceiverGone) => Err("gone".to_owned()),
        }
    }

    #[test]
    fn quotes_blank_lines_and_a_last_line_without_an_end_are_read() {
        let rows = |table: &str| rows_of(table, 7).unwrap();
        let row = |line: u64, fields: &[&str]| (line, fields.iter().map(|field| (*field).to_owned()).collect());
        assert_eq!(
            rows("a,b\r\n\r\n\"c\r\n\"\"d\"\"\",e\nf"),
            [row(1, &["a", "b"]), row(3, &["c\r\n\"d\"", "e"]), row(5, &["f"]),]
        );
        assert_eq!(
            rows("5\" pan,x\n\"a\"b,\"\"\n,\n"),
            [row(1, &["5\" pan", "x"]), row(2, &["ab", ""]), row(3, &["", ""]),]
        );
        assert_eq!(rows_of("a\n\nb,\"c\nd\n", 3).unwrap_err(), "the quote opened on line 3, field 2, is not closed");
    }

    #[test]
    fn a_row_without_an_end_is_refused_before_it_fills_the_memory() {
        let table = format!("a\n\"{}", "x\n".repeat(MAX_ROW_BYTES));
        let error = rows_of(&table, CHUNK_BYTES).unwrap_err();
        assert_eq!(error, "the row on line 2 is longer than 1 MiB; the quote opened on line 2, field 1, is not closed");
    }

    proptest! {
        #[test]
        fn every_table_that_is_written_is_read_again_whatever_the_chunks(
            table in prop::collection::vec(prop::collection::vec("[ab\",;\r\n\u{e9}]{0,6}", 2..4), 1..6),
            chunk_bytes in 1_usize..40,
        ) {
            let (mut text, mut expected, mut line) = (String::new(), Vec::new(), 1);
            for fields in &table {
                let quoted: Vec<String> =
                    fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
                expected.push((line, fields.clone()));
                text += &format!("{}\r\n", quoted.join(","));
                line = 1 + text.matches('\n').count() as u64;
            }
            prop_assert_eq!(rows_of(&text, chunk_bytes).unwrap(), expected);
        }

        #[test]
        fn any_text_is_read_the_same_whatever_the_chunks(table in "[ab,\"\r\n]{0,60}", chunk_bytes in 1_usize..20) {
            prop_assert_eq!(rows_of(&table, chunk_bytes), rows_of(&table, 1000));
        }
    }
}
