//! What the caller of an import chooses, as it is written on a command line or in a request.

use std::str::FromStr;

use jiff::{Timestamp, tz::TimeZone};

use crate::import::format::Format;

/// `KEY=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands behind it.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Assignment, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Assignment { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("needs the form KEY=VALUE".to_owned()),
        }
    }
}

/// The `created_at` of all records, in place of the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreatedAt {
    /// The time of the import.
    Now,
    /// This time.
    At(Timestamp),
}

impl FromStr for CreatedAt {
    type Err = String;

    fn from_str(text: &str) -> Result<CreatedAt, String> {
        if text == "now" {
            return Ok(CreatedAt::Now);
        }
        text.parse()
            .map(CreatedAt::At)
            .map_err(|error| format!("is neither \"now\" nor a time such as 2026-11-01T00:00:00Z ({error})"))
    }
}

/// What becomes of braces in the file's URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placeholders {
    /// They are text of another product, and are escaped to `%7B` and `%7D`.
    #[default]
    Escape,
    /// They are placeholders of Waypost.
    Keep,
}

/// What becomes of `&amp;` and the like in the file's URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HtmlEntities {
    /// The row is refused.
    #[default]
    Refuse,
    /// They are decoded.
    Decode,
}

/// The options of an import. Each field has the name of the option on the command line.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The export of which product.
    pub format: Format,
    /// The domain for each short host of the file.
    pub map_host: Vec<Assignment>,
    /// The domain of rows that name no short host.
    pub domain: Option<String>,
    /// The clock of times without an offset.
    pub zone: Option<TimeZone>,
    /// The creation of every record, in place of the file's.
    pub created_at: Option<CreatedAt>,
    /// Fields of every record that its row does not set; `kind` is one of them.
    pub defaults: Vec<Assignment>,
    /// Columns that the format leaves out, and the field that takes each.
    pub take: Vec<Assignment>,
    /// Columns of features that Waypost lacks; the rows are taken without.
    pub drop: Vec<String>,
    /// Columns that are not looked at.
    pub ignore_column: Vec<String>,
    /// What every code may start with at the source and does not here.
    pub strip_prefix: Option<String>,
    /// What becomes of braces in URLs.
    pub placeholders: Placeholders,
    /// What becomes of `&amp;` in URLs.
    pub html_entities: HtmlEntities,
    /// What parts the fields of a table.
    pub separator: char,
    /// Of the format `csv`: the field of the record for each column.
    pub column: Vec<Assignment>,
    /// How the format `csv` writes times, in the letters of `strftime`.
    pub date_format: Option<String>,
    /// Of the format `yourls-sql`: the table, if its name does not end in `_url`.
    pub table: Option<String>,
    /// Whether the files may hold one page of a longer list.
    pub allow_partial: bool,
    /// Whether the files may hold no row.
    pub allow_empty: bool,
}

/// An option that does not fit the others, the format or the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOption {
    /// Its name on the command line, without dashes.
    pub option: &'static str,
    /// What was found and what to do.
    pub message: String,
}

impl InvalidOption {
    pub(super) fn new(option: &'static str, message: impl Into<String>) -> InvalidOption {
        InvalidOption { option, message: message.into() }
    }
}
