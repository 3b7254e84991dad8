//! Words, names, texts and brackets of SQL, byte by byte, with the line of each.

use std::io::{BufRead, Bytes};

use crate::import::file_error::FileError;

/// The longest row.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Reads a dump one byte at a time.
pub(super) struct SqlScanner<R> {
    bytes: Bytes<R>,
    next: Option<u8>,
    is_started: bool,
    /// The line of `next`.
    line: u64,
    statement_line: u64,
}

impl<R: BufRead> SqlScanner<R> {
    pub(super) fn new(input: R) -> SqlScanner<R> {
        SqlScanner { bytes: input.bytes(), next: None, is_started: false, line: 1, statement_line: 1 }
    }

    /// Remembers where a statement begins.
    pub(super) fn begin_statement(&mut self) {
        self.statement_line = self.line;
    }

    fn peek(&mut self) -> Result<Option<u8>, FileError> {
        if !self.is_started {
            self.is_started = true;
            self.next = self.bytes.next().transpose().map_err(FileError::Read)?;
        }
        Ok(self.next)
    }

    fn advance(&mut self) -> Result<Option<u8>, FileError> {
        let byte = self.peek()?;
        if byte == Some(b'\n') {
            self.line += 1;
        }
        self.next = self.bytes.next().transpose().map_err(FileError::Read)?;
        Ok(byte)
    }

    /// Takes the byte that [`SqlScanner::peek_token`] saw.
    pub(super) fn take_byte(&mut self) -> Result<(), FileError> {
        self.advance().map(drop)
    }

    /// Skips what parts tokens; `false` at the end of the file.
    pub(super) fn skip_space_and_comments(&mut self) -> Result<bool, FileError> {
        loop {
            match self.peek()? {
                None => return Ok(false),
                Some(byte) if byte.is_ascii_whitespace() => self.take_byte()?,
                Some(b'#') => self.skip_line()?,
                Some(b'-') => {
                    self.take_byte()?;
                    // A single minus stands in front of a number; no number starts a token that is read here.
                    if self.peek()? == Some(b'-') {
                        self.skip_line()?;
                    }
                }
                Some(b'/') => {
                    self.take_byte()?;
                    if self.peek()? != Some(b'*') {
                        return Ok(true);
                    }
                    self.skip_block_comment()?;
                }
                Some(_) => return Ok(true),
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), FileError> {
        while !matches!(self.advance()?, None | Some(b'\n')) {}
        Ok(())
    }

    fn skip_block_comment(&mut self) -> Result<(), FileError> {
        let line = self.line;
        self.take_byte()?;
        let mut last = 0;
        while let Some(byte) = self.advance()? {
            if last == b'*' && byte == b'/' {
                return Ok(());
            }
            last = byte;
        }
        Err(FileError::refused(format!("ends inside a comment that began on line {line}")))
    }

    /// The first byte of the next token; `None` at the end of the file.
    pub(super) fn peek_token(&mut self) -> Result<Option<u8>, FileError> {
        self.skip_space_and_comments()?;
        self.peek()
    }

    /// The next word of letters, digits and `_`; empty if the next token is none. A word that is no UTF-8 is none.
    pub(super) fn read_word(&mut self) -> Result<String, FileError> {
        self.skip_space_and_comments()?;
        let mut word = Vec::new();
        while let Some(byte) =
            self.peek()?.filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
        {
            word.push(byte);
            self.take_byte()?;
        }
        if word.is_empty() && matches!(self.peek()?, Some(byte) if !b"('`\";,)".contains(&byte)) {
            self.take_byte()?;
        }
        Ok(String::from_utf8(word).unwrap_or_default())
    }

    /// The next name, in backticks, in quotes or bare; of `database.table` the table.
    pub(super) fn read_name(&mut self) -> Result<String, FileError> {
        loop {
            let name = match self.peek_token()? {
                Some(quote @ (b'`' | b'"')) => self.read_quoted_name(quote)?,
                None => return Err(self.cut_statement()),
                Some(_) => {
                    let word = self.read_word()?;
                    if word.is_empty() {
                        return Err(self.unexpected("a name"));
                    }
                    word
                }
            };
            if self.peek_token()? != Some(b'.') {
                return Ok(name);
            }
            self.take_byte()?;
        }
    }

    fn read_quoted_name(&mut self, quote: u8) -> Result<String, FileError> {
        self.take_byte()?;
        let mut name = Vec::new();
        while let Some(byte) = self.advance()? {
            if byte == quote && self.peek()? != Some(quote) {
                return Ok(String::from_utf8_lossy(&name).into_owned());
            }
            if byte == quote {
                self.take_byte()?;
            }
            name.push(byte);
        }
        Err(self.cut_statement())
    }

    /// `(name, name, …)`
    pub(super) fn read_list_of_names(&mut self) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        self.take_byte()?;
        loop {
            names.push(self.read_name()?);
            match self.peek_token()? {
                Some(b',') => self.take_byte()?,
                Some(b')') => {
                    self.take_byte()?;
                    return Ok(names);
                }
                _ => return Err(self.unexpected("a comma or a closing bracket")),
            }
        }
    }

    /// Skips the rest of a part of a bracketed list; `false` at the bracket that closes the list.
    pub(super) fn skip_to_next_part_of_list(&mut self) -> Result<bool, FileError> {
        let mut depth = 0;
        loop {
            match self.peek_token()? {
                None => return Err(self.cut_statement()),
                Some(b'\'' | b'"' | b'`') => self.skip_quoted(None)?,
                Some(byte) => {
                    self.take_byte()?;
                    match byte {
                        b'(' => depth += 1,
                        b')' if depth == 0 => return Ok(false),
                        b')' => depth -= 1,
                        b',' if depth == 0 => return Ok(true),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Skips to behind the next semicolon.
    pub(super) fn skip_statement(&mut self) -> Result<(), FileError> {
        loop {
            match self.peek_token()? {
                None => return Ok(()),
                Some(b'\'' | b'"' | b'`') => self.skip_quoted(None)?,
                Some(b';') => return self.take_byte(),
                Some(_) => self.take_byte()?,
            }
        }
    }

    /// Reads `(…)` into `row`, without its brackets, and returns the line of the opening one.
    pub(super) fn read_row_in_brackets(&mut self, row: &mut Vec<u8>) -> Result<u64, FileError> {
        let line = self.line;
        row.clear();
        self.take_byte()?;
        let mut depth = 0;
        loop {
            if row.len() > MAX_ROW_BYTES {
                let mib = MAX_ROW_BYTES >> 20;
                return Err(FileError::refused(format!("the row on line {line} is longer than {mib} MiB")));
            }
            match self.peek()? {
                None => return Err(FileError::refused(format!("ends inside a row that began on line {line}"))),
                Some(b'\'' | b'"' | b'`') => self.skip_quoted(Some(row))?,
                Some(b')') if depth == 0 => {
                    self.take_byte()?;
                    return Ok(line);
                }
                Some(byte) => {
                    depth += i32::from(byte == b'(') - i32::from(byte == b')');
                    row.push(byte);
                    self.take_byte()?;
                }
            }
        }
    }

    /// Skips a text or a name in quotes, or copies it with its quotes. In backticks a backslash is a character.
    fn skip_quoted(&mut self, mut copy: Option<&mut Vec<u8>>) -> Result<(), FileError> {
        let line = self.line;
        let quote = self.peek()?;
        let mut is_escaped = false;
        let mut is_first = true;
        while let Some(byte) = self.advance()? {
            if let Some(row) = &mut copy {
                row.push(byte);
                if row.len() > MAX_ROW_BYTES {
                    return Err(FileError::refused(format!("the text that began on line {line} does not end")));
                }
            }
            let is_quote = Some(byte) == quote && !is_escaped && !is_first;
            // A doubled quote ends the text and starts it again: the bytes are the same.
            if is_quote {
                return Ok(());
            }
            is_escaped = byte == b'\\' && !is_escaped && quote != Some(b'`');
            is_first = false;
        }
        Err(FileError::refused(format!("ends inside text that began on line {line}")))
    }

    pub(super) fn unexpected(&self, expected: &str) -> FileError {
        let found = match self.next {
            Some(byte) => format!("{:?}", char::from(byte)),
            None => "the end of the file".to_owned(),
        };
        FileError::refused(format!("line {}: {found} stands where {expected} belongs", self.line))
    }

    pub(super) fn cut_statement(&self) -> FileError {
        FileError::refused(format!("ends inside the statement that began on line {}", self.statement_line))
    }
}
