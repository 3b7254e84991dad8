//! Import: reads the export of another link shortener as a stream and makes a link record of each of its rows.
//!
//! ```text
//! file ──▶ row_source ──▶ blocks of rows ──▶ row_reader on several threads ──▶ importer ──▶ RowOutcome, in file order
//!          csv_rows, json_rows, sql_rows      cells → LinkDraft → record_check    seen_codes: codes that stand twice
//! ```
//!
//! [`format`](mod@format) says for each product which columns its exports have and what becomes of each column. A row
//! gives one record or several; [`Importer`] gives each row to the caller as accepted or refused, and counts both. A
//! record is checked by the rules of a links file (`links::Link`); the checks here are those that a links file does not
//! need: dates, short hosts, columns, features that Waypost lacks.
//!
//! A file whose form is broken is refused as a whole, perhaps behind its last row. So a caller keeps the records aside
//! until [`Importer::finish`] returns.

mod cell;
mod column;
mod csv_formats;
mod csv_rows;
mod dates;
mod destination;
mod draft;
mod file_error;
mod file_kind;
pub mod format;
mod importer;
mod json_formats;
mod json_rows;
mod options;
mod outcome;
mod plan;
mod read_result;
mod record_check;
mod record_field;
mod row_block;
mod row_reader;
mod row_source;
mod seen_codes;
mod short_link;
mod sql_rows;
mod sql_scanner;
mod sql_values;
mod summary;

pub use self::{
    file_error::FileError,
    importer::Importer,
    options::{Assignment, CreatedAt, HtmlEntities, ImportOptions, InvalidOption, Placeholders},
    outcome::{AcceptedRow, Mistake, Note, NoteKind, RefusedRow, RowOutcome},
    record_check::ImportRules,
    summary::Summary,
};
