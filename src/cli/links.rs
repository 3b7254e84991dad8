//! `waypost links`: the records of links.

mod import;
mod import_args;
mod import_output;
mod import_report;

use clap::Subcommand;

pub use self::{import::import_files_and_print_report, import_args::ImportArgs};

/// The commands of `waypost links`.
#[derive(Debug, Subcommand)]
pub enum Links {
    /// Turn the export of another link shortener into link records (exit 2 if rows are refused)
    Import(Box<ImportArgs>),
}
