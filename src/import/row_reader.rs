//! Makes records of the rows of a block.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};

use crate::import::{
    cell::{Cell, quote},
    column::{Layout, Role},
    csv_rows::FieldDecoder,
    draft::LinkDraft,
    outcome::{Mistake, RowPosition},
    plan::{Column, ImportPlan},
    record_check::{CheckedRow, ImportRules},
    row_block::{RawRow, RowBlock},
    sql_values::{SqlValue, decode_values},
};

/// A row after every check that needs no other row.
#[derive(Debug)]
pub(super) struct ReadRow {
    pub(super) position: RowPosition,
    /// The records, or what is wrong with the row.
    pub(super) result: Result<CheckedRow, Vec<Mistake>>,
}

/// The rows of a block, read.
#[derive(Debug, Default)]
pub(super) struct ReadBlock {
    pub(super) rows: Vec<ReadRow>,
    /// How many values of each column were left out.
    pub(super) left_out: HashMap<String, u64>,
}

/// Reads rows. Each thread has one.
pub(super) struct RowReader<'a> {
    plan: &'a ImportPlan,
    rules: ImportRules<'a>,
    decoder: FieldDecoder,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(plan: &'a ImportPlan, rules: ImportRules<'a>) -> RowReader<'a> {
        RowReader { plan, rules, decoder: FieldDecoder::new(plan.separator) }
    }

    /// Reads every row of a block.
    pub(super) fn read_block(&mut self, block: &RowBlock) -> ReadBlock {
        let mut left_out = vec![0; block.columns.len()];
        let by_name: HashMap<&str, usize> = match self.plan.spec.layout {
            Layout::Json(_) => block.columns.iter().enumerate().map(|(at, column)| (&*column.name, at)).collect(),
            _ => HashMap::new(),
        };
        let rows = block.rows.iter().map(|row| {
            let mut cells = Cells { columns: &block.columns, by_name: &by_name, left_out: &mut left_out };
            ReadRow { position: row.position, result: self.read_row(block, row, &mut cells) }
        });
        let rows = rows.collect();
        let counted = block.columns.iter().zip(left_out).filter(|(_, count)| *count > 0);
        let mut named = HashMap::new();
        counted.for_each(|(column, count)| *named.entry(column.name.to_string()).or_insert(0) += count);
        ReadBlock { rows, left_out: named }
    }

    fn read_row(&mut self, block: &RowBlock, row: &RawRow, cells: &mut Cells<'_>) -> Result<CheckedRow, Vec<Mistake>> {
        let bytes = block.bytes_of(row);
        let mut draft = LinkDraft::new(self.plan, &block.columns);
        match self.plan.spec.layout {
            Layout::Csv => {
                cells.take_fields(&self.decoder.decode(bytes), &mut draft).map_err(|mistake| vec![mistake])?
            }
            Layout::Sql => cells.take_values(&decode_values(bytes), &mut draft).map_err(|mistake| vec![mistake])?,
            Layout::Json(_) => match serde_json::from_slice(bytes) {
                Ok(Value::Object(object)) => cells.take_object("", &object, &mut draft),
                Ok(other) => {
                    let message = format!("is {}; an object belongs here", Cell::from_json(&other).describe());
                    return Err(vec![Mistake { column: None, rule: "type", message }]);
                }
                Err(error) => return Err(vec![Mistake { column: None, rule: "type", message: error.to_string() }]),
            },
        }
        self.rules.check_and_build_records(draft)
    }
}

/// Gives the cells of a row to its draft.
struct Cells<'a> {
    columns: &'a [Column],
    /// The columns of objects by name.
    by_name: &'a HashMap<&'a str, usize>,
    left_out: &'a mut [u64],
}

impl Cells<'_> {
    fn take_cell(&mut self, at: usize, cell: Cell<'_>, draft: &mut LinkDraft<'_>) {
        let column = &self.columns[at];
        if column.role == Role::LeftOut {
            self.left_out[at] += u64::from(!cell.is_blank());
        } else {
            draft.take_cell(column, cell);
        }
    }

    fn take_fields(&mut self, fields: &[&[u8]], draft: &mut LinkDraft<'_>) -> Result<(), Mistake> {
        self.check_count(fields.len(), "field", "header")?;
        let texts = decode_utf8(fields.iter().copied(), self.columns)?;
        for (at, text) in texts.into_iter().enumerate() {
            self.take_cell(at, Cell::Text(Cow::Borrowed(text)), draft);
        }
        Ok(())
    }

    fn take_values(&mut self, values: &[SqlValue<'_>], draft: &mut LinkDraft<'_>) -> Result<(), Mistake> {
        self.check_count(values.len(), "value", "column list")?;
        let bytes = values.iter().map(|value| match value {
            SqlValue::Null => &b""[..],
            SqlValue::Text(text) => text,
            SqlValue::Number(text) | SqlValue::Expression(text) => text,
        });
        let texts = decode_utf8(bytes, self.columns)?;
        for (at, (text, value)) in texts.into_iter().zip(values).enumerate() {
            let cell = match value {
                SqlValue::Null => Cell::Null,
                SqlValue::Text(_) | SqlValue::Number(_) => Cell::Text(Cow::Borrowed(text)),
                SqlValue::Expression(_) => Cell::Expression(text),
            };
            self.take_cell(at, cell, draft);
        }
        Ok(())
    }

    fn check_count(&self, found: usize, what: &str, whole: &str) -> Result<(), Mistake> {
        let expected = self.columns.len();
        if found == expected {
            return Ok(());
        }
        let plural = if found == 1 { "" } else { "s" };
        let message = format!("{found} {what}{plural}; the {whole} has {expected}");
        Err(Mistake { column: None, rule: "fields", message })
    }

    /// Takes the fields of an object; `prefix` is the key that holds it, with a dot.
    fn take_object(&mut self, prefix: &str, object: &Map<String, Value>, draft: &mut LinkDraft<'_>) {
        for (key, value) in object {
            let name =
                if prefix.is_empty() { Cow::Borrowed(key.as_str()) } else { Cow::Owned(format!("{prefix}{key}")) };
            if let Some(&at) = self.by_name.get(&*name) {
                self.take_cell(at, Cell::from_json(value), draft);
                continue;
            }
            let inner = format!("{name}.");
            match value {
                Value::Object(object) if self.columns.iter().any(|column| column.name.starts_with(&inner)) => {
                    self.take_object(&inner, object, draft);
                }
                Value::Null => {}
                value => {
                    let found = Cell::from_json(value).describe();
                    let message =
                        format!("is {found}, a field this format does not have; --ignore-column {name} leaves it out");
                    draft.mistakes.push(Mistake::of_column(&name, "unknown-field", message));
                }
            }
        }
    }
}

/// The texts of a row.
///
/// # Errors
/// The first column that is no UTF-8.
fn decode_utf8<'a>(fields: impl Iterator<Item = &'a [u8]>, columns: &[Column]) -> Result<Vec<&'a str>, Mistake> {
    let decode = |(bytes, column): (&'a [u8], &Column)| {
        str::from_utf8(bytes).map_err(|error| {
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let message = format!("byte {byte:02X} behind {} is not UTF-8; save the file as UTF-8", quote(&before));
            Mistake::of_column(&column.name, "utf-8", message)
        })
    };
    fields.zip(columns).map(decode).collect()
}
