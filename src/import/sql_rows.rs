//! Dumps of MySQL: the rows of `INSERT INTO … VALUES` into the table of links. Every other statement is skipped. The
//! reader finds where a row ends; its values are decoded later, on other threads (`sql_values`).

use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use crate::import::{
    csv_rows::resolve_columns,
    file_error::FileError,
    plan::{Column, ImportPlan},
    read_result::ReadError,
    row_block::RowSink,
    sql_scanner::SqlScanner,
};

/// How the names of YOURLS' tables of links end: the prefix is the operator's.
const TABLE_SUFFIX: &str = "_url";
/// The columns of YOURLS' table, for a dump whose `INSERT` and `CREATE TABLE` name none.
const USUAL_COLUMNS: [&str; 6] = ["keyword", "url", "title", "timestamp", "ip", "clicks"];
/// What a part of `CREATE TABLE` starts with that is no column.
const NO_COLUMN: [&str; 9] =
    ["PRIMARY", "KEY", "UNIQUE", "INDEX", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK"];

/// Reads a dump to its end.
pub(super) fn read_rows(plan: &ImportPlan, input: &mut dyn Read, sink: &mut RowSink<'_>) -> Result<(), ReadError> {
    let scanner = SqlScanner::new(BufReader::with_capacity(64 << 10, input));
    let mut dump = Dump { plan, scanner, sink, created_columns: None, has_table: false };
    while dump.scanner.skip_space_and_comments()? {
        dump.read_statement()?;
    }
    if dump.has_table {
        return Ok(());
    }
    let message = match &plan.table {
        Some(table) => format!("no INSERT into a table {table}; --table names another"),
        None => "no INSERT into a table that ends in _url; --table names another".to_owned(),
    };
    Err(FileError::refused(message).into())
}

struct Dump<'p, 's, 'b, R> {
    plan: &'p ImportPlan,
    scanner: SqlScanner<R>,
    sink: &'s mut RowSink<'b>,
    /// The columns that `CREATE TABLE` of the table names.
    created_columns: Option<Vec<String>>,
    has_table: bool,
}

impl<R: BufRead> Dump<'_, '_, '_, R> {
    fn read_statement(&mut self) -> Result<(), ReadError> {
        self.scanner.begin_statement();
        let word = self.scanner.read_word()?.to_ascii_uppercase();
        match word.as_str() {
            "INSERT" | "REPLACE" => self.read_insert(),
            "CREATE" => self.read_create(),
            _ => Ok(self.scanner.skip_statement()?),
        }
    }

    /// `[IGNORE] INTO table [(columns)] VALUES (…), (…);`
    fn read_insert(&mut self) -> Result<(), ReadError> {
        loop {
            let word = self.scanner.read_word()?;
            if word.eq_ignore_ascii_case("INTO") {
                break;
            }
            if word.is_empty() {
                return Ok(self.scanner.skip_statement()?);
            }
        }
        let table = self.scanner.read_name()?;
        if !self.is_table_of_links(&table) {
            return Ok(self.scanner.skip_statement()?);
        }
        let columns = match self.scanner.peek_token()? {
            Some(b'(') => self.scanner.read_list_of_names()?,
            _ => self.created_columns.clone().unwrap_or_else(|| USUAL_COLUMNS.map(str::to_owned).to_vec()),
        };
        let word = self.scanner.read_word()?;
        if !["VALUES", "VALUE"].iter().any(|values| word.eq_ignore_ascii_case(values)) {
            return Err(self.scanner.unexpected("VALUES").into());
        }
        self.has_table = true;
        self.sink.set_columns(self.resolve(&columns)?)?;
        self.read_rows_of_insert()
    }

    fn read_rows_of_insert(&mut self) -> Result<(), ReadError> {
        let mut row = Vec::new();
        loop {
            if self.scanner.peek_token()? != Some(b'(') {
                return Err(self.scanner.unexpected("a row in brackets").into());
            }
            let line = self.scanner.read_row_in_brackets(&mut row)?;
            self.sink.push(line, &row)?;
            match self.scanner.peek_token()? {
                Some(b',') => self.scanner.take_byte()?,
                // `ON DUPLICATE KEY UPDATE …`
                Some(byte) if byte.is_ascii_alphabetic() => return Ok(self.scanner.skip_statement()?),
                Some(b';') => return Ok(self.scanner.take_byte()?),
                Some(_) => return Err(self.scanner.unexpected("a comma or a semicolon").into()),
                None => return Err(self.scanner.cut_statement().into()),
            }
        }
    }

    /// `TABLE [IF NOT EXISTS] name (column …, KEY …) …;`
    fn read_create(&mut self) -> Result<(), ReadError> {
        if !self.scanner.read_word()?.eq_ignore_ascii_case("TABLE") {
            return Ok(self.scanner.skip_statement()?);
        }
        let mut table = self.scanner.read_name()?;
        while ["IF", "NOT", "EXISTS"].iter().any(|word| table.eq_ignore_ascii_case(word)) {
            table = self.scanner.read_name()?;
        }
        if self.is_table_of_links(&table) && self.scanner.peek_token()? == Some(b'(') {
            self.scanner.take_byte()?;
            let mut columns = Vec::new();
            loop {
                let is_quoted = matches!(self.scanner.peek_token()?, Some(b'`' | b'"'));
                let name = self.scanner.read_name()?;
                if is_quoted || !NO_COLUMN.iter().any(|word| name.eq_ignore_ascii_case(word)) {
                    columns.push(name);
                }
                if !self.scanner.skip_to_next_part_of_list()? {
                    break;
                }
            }
            self.created_columns = Some(columns);
        }
        Ok(self.scanner.skip_statement()?)
    }

    fn is_table_of_links(&self, name: &str) -> bool {
        match &self.plan.table {
            Some(table) => table == name,
            None => name.ends_with(TABLE_SUFFIX),
        }
    }

    fn resolve(&self, names: &[String]) -> Result<Arc<[Column]>, FileError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        resolve_columns(self.plan, &names).map_err(|problems| {
            FileError::refused(format!("the columns of the table do not fit: {}", problems.join("; ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::import::sql_values::{SqlValue, decode_values};

    /// Line and texts of each row of a statement behind `VALUES`.
    fn rows_of(values: &str) -> Result<Vec<(u64, Vec<String>)>, String> {
        let mut scanner = SqlScanner::new(values.as_bytes());
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        while scanner.peek_token().map_err(|error| error.to_string())? == Some(b'(') {
            let line = scanner.read_row_in_brackets(&mut row).map_err(|error| error.to_string())?;
            let texts = decode_values(&row).into_iter().map(|value| match value {
                SqlValue::Text(text) => String::from_utf8(text.into_owned()).unwrap(),
                other => format!("{other:?}"),
            });
            rows.push((line, texts.collect()));
            if scanner.peek_token().map_err(|error| error.to_string())? == Some(b',') {
                scanner.take_byte().map_err(|error| error.to_string())?;
            }
        }
        Ok(rows)
    }

    #[test]
    fn a_dump_that_is_cut_off_is_refused_with_the_line_of_what_is_open() {
        for (values, expected) in [
            ("('a'),\n('b", "ends inside text that began on line 2"),
            ("('a'),\n(NOW(", "ends inside a row that began on line 2"),
            ("('a'), /* more", "ends inside a comment that began on line 1"),
        ] {
            assert_eq!(rows_of(values).unwrap_err(), expected, "{values}");
        }
    }

    proptest! {
        #[test]
        fn every_row_that_mysqldump_writes_is_read_again(
            rows in prop::collection::vec(prop::collection::vec("[ab'\\\\(),;`\"\n-]{0,8}", 1..4), 1..5),
        ) {
            let (mut text, mut expected) = (String::new(), Vec::new());
            for row in &rows {
                expected.push((1 + text.matches('\n').count() as u64, row.clone()));
                let texts: Vec<String> =
                    row.iter().map(|text| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))).collect();
                text += &format!("({}),\n-- a comment ('\n", texts.join(", "));
            }
            prop_assert_eq!(rows_of(&text).unwrap(), expected);
        }
    }
}
