//! Reads a file and finds its rows, whatever its format.

use std::io::{Cursor, Read};

use crate::import::{
    column::Layout,
    csv_rows, file_kind, json_rows,
    plan::ImportPlan,
    read_result::{FileFacts, ReadError},
    row_block::RowSink,
    sql_rows,
};

/// Reads a file to its end and gives each of its rows to `sink`.
pub(super) fn read_rows(
    plan: &ImportPlan,
    input: &mut dyn Read,
    sink: &mut RowSink<'_>,
) -> Result<FileFacts, ReadError> {
    let mut head = Vec::with_capacity(file_kind::HEAD_BYTES);
    (&mut *input).take(file_kind::HEAD_BYTES as u64).read_to_end(&mut head)?;
    file_kind::check_head(&head, plan.spec.layout)?;
    if head.starts_with(file_kind::BYTE_ORDER_MARK) {
        head.drain(..file_kind::BYTE_ORDER_MARK.len());
    }
    let mut input = Cursor::new(head).chain(input);
    let mut facts = FileFacts::default();
    match plan.spec.layout {
        Layout::Csv => csv_rows::read_rows(plan, &mut input, sink)?,
        Layout::Json(envelope) => facts = json_rows::read_rows(plan, envelope, &mut input, sink)?,
        Layout::Sql => sql_rows::read_rows(plan, &mut input, sink)?,
    }
    sink.flush()?;
    facts.rows = sink.rows;
    Ok(facts)
}
