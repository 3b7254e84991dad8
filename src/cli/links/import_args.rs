//! The flags of `waypost links import`.

use std::path::{Path, PathBuf};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::tz::TimeZone;

use crate::import::{Assignment, CreatedAt, HtmlEntities, ImportOptions, InvalidOption, Placeholders, format::Format};

/// What is imported, and how.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The export; several files are the pages of one list
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The product and form of the export
    #[arg(long, value_parser = PossibleValuesParser::new(Format::ALL.map(Format::as_str)).map(find_format))]
    format: Format,
    /// The domain of the configuration that has the codes of a short host; may be repeated
    #[arg(long, value_name = "SHORT=DOMAIN")]
    map_host: Vec<Assignment>,
    /// The domain of rows that name no short host
    #[arg(long)]
    domain: Option<String>,
    /// The clock of times without an offset, such as Europe/Berlin
    #[arg(long, value_parser = parse_zone)]
    zone: Option<TimeZone>,
    /// The created_at of every record, in place of the file's: a time, or "now" (100 days start anew)
    #[arg(long, value_name = "TIME|now")]
    created_at: Option<CreatedAt>,
    /// Fields of records that the row does not set; kind is needed
    #[arg(long, value_name = "kind=KIND[,FIELD=VALUE]", value_delimiter = ',')]
    defaults: Vec<Assignment>,
    /// Take a column that is left out otherwise as a field of the record; may be repeated
    #[arg(long, value_name = "COLUMN=FIELD")]
    take: Vec<Assignment>,
    /// Take links with this feature that Waypost lacks without it; may be repeated
    #[arg(long, value_name = "FEATURE")]
    drop: Vec<String>,
    /// Do not look at this column; may be repeated
    #[arg(long, value_name = "COLUMN", alias = "ignore-field")]
    ignore_column: Vec<String>,
    /// Cut this off the start of codes
    #[arg(long, value_name = "PREFIX")]
    strip_prefix: Option<String>,
    /// Braces in URLs: text, which is escaped, or placeholders of Waypost
    #[arg(long, value_enum, default_value = "escape")]
    placeholders: PlaceholderChoice,
    /// &amp; and the like in URLs
    #[arg(long, value_enum, default_value = "refuse")]
    html_entities: EntityChoice,
    /// What parts the fields of a table: a character, or "tab"
    #[arg(long, default_value = ",", value_parser = parse_separator)]
    separator: char,
    /// Of --format csv: the column of a field; may be repeated
    #[arg(long, value_name = "FIELD=COLUMN")]
    column: Vec<Assignment>,
    /// Of --format csv: the form of times in the letters of strftime, such as '%d.%m.%Y %H:%M'
    #[arg(long, value_name = "FORM")]
    date_format: Option<String>,
    /// Of --format yourls-sql: the table of links, if its name does not end in _url
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Take one page of a longer list
    #[arg(long)]
    allow_partial: bool,
    /// Take a file without rows
    #[arg(long)]
    allow_empty: bool,
    /// Write the records of the other rows although some rows are refused
    #[arg(long)]
    pub(super) skip_bad: bool,
    /// Check and report, and write no records
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Where the records are written as a links file; "-" is the standard output [default: -]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the records into the catalog of the data directory; with --server into that of the server
    #[arg(long)]
    catalog: bool,
    /// In the catalog: replace links that exist and differ
    #[arg(long)]
    pub(super) replace: bool,
    /// In the catalog: why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Write the whole report here as JSON lines; without it the standard error has the first rows
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlaceholderChoice {
    Escape,
    Keep,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EntityChoice {
    Refuse,
    Decode,
}

/// Where the records go.
pub(super) enum ImportTarget<'a> {
    /// A links file, or the standard output.
    Output(&'a Path),
    /// A catalog.
    Catalog,
}

impl ImportArgs {
    /// Where the records go.
    ///
    /// # Errors
    /// The flag that does not fit, and what is wrong.
    pub(super) fn target(&self, has_server: bool) -> Result<ImportTarget<'_>, InvalidOption> {
        let is_catalog = self.catalog || has_server;
        let invalid = |option, message: &str| Err(InvalidOption { option, message: message.to_owned() });
        match &self.output {
            Some(_) if is_catalog => {
                invalid("output", "is a links file, and --catalog and --server are a catalog; name one")
            }
            _ if is_catalog => Ok(ImportTarget::Catalog),
            _ if self.replace => invalid("replace", "is about links of a catalog: add --catalog or --server URL"),
            _ if self.reason.is_some() => {
                invalid("reason", "is for the audit of a catalog: add --catalog or --server URL")
            }
            Some(path) => Ok(ImportTarget::Output(path)),
            None => Ok(ImportTarget::Output(Path::new("-"))),
        }
    }

    /// The options of the import.
    pub(super) fn import_options(&self) -> ImportOptions {
        ImportOptions {
            format: self.format,
            map_host: self.map_host.clone(),
            domain: self.domain.clone(),
            zone: self.zone.clone(),
            created_at: self.created_at.clone(),
            defaults: self.defaults.clone(),
            take: self.take.clone(),
            drop: self.drop.clone(),
            ignore_column: self.ignore_column.clone(),
            strip_prefix: self.strip_prefix.clone(),
            placeholders: match self.placeholders {
                PlaceholderChoice::Escape => Placeholders::Escape,
                PlaceholderChoice::Keep => Placeholders::Keep,
            },
            html_entities: match self.html_entities {
                EntityChoice::Refuse => HtmlEntities::Refuse,
                EntityChoice::Decode => HtmlEntities::Decode,
            },
            separator: self.separator,
            column: self.column.clone(),
            date_format: self.date_format.clone(),
            table: self.table.clone(),
            allow_partial: self.allow_partial,
            allow_empty: self.allow_empty,
        }
    }
}

/// The format with this name, which the parser has checked.
fn find_format(name: String) -> Format {
    Format::from_word(&name).unwrap_or(Format::Csv)
}

fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("{name:?} is no time zone; allowed are names such as Europe/Berlin and UTC"))
}

fn parse_separator(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (text, chars.next(), chars.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(separator), None) => Ok(separator),
        _ => Err("is one character, or \"tab\"".to_owned()),
    }
}
