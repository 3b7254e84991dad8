//! `waypost links`: the links of a catalog, and the exports of other shorteners. The catalog is that of a data
//! directory on which no server runs.

mod acts;
mod data_dir;
mod edit;
mod import;
mod import_args;
mod import_output;
mod import_report;
mod maintain;
mod outcome_text;
mod read;
mod suspend;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use self::import_args::ImportArgs;
use crate::{cli::config_args::ConfigArgs, clock};

/// The flags and the command of `waypost links`.
#[derive(Debug, Args)]
pub struct LinksArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Links,
}

/// The commands of `waypost links`. Exit code 2: some links were refused.
#[derive(Debug, Subcommand)]
enum Links {
    /// Turn the export of another link shortener into link records
    Import(Box<ImportArgs>),
    /// Create links of records in JSON, one on a line
    Add(edit::AddArgs),
    /// Show a link
    Show(read::ShowArgs),
    /// Change fields of a link
    Set(edit::SetArgs),
    /// Remove links; their codes stay reserved for 114 days
    Rm(edit::RemoveArgs),
    /// List links as JSON records
    List(read::ListArgs),
    /// Show the changes of a link
    History(read::HistoryArgs),
    /// Write every link as a links file
    Export(read::ExportArgs),
    /// Switch links off: by code, or all of a creator, a seller, a host…
    Disable(suspend::DisableArgs),
    /// Switch links on again
    Enable(suspend::EnableArgs),
    /// List the suspensions
    Suspensions,
    /// Take no changes of links until `unfreeze`
    Freeze(suspend::FreezeArgs),
    /// Take changes of links again
    Unfreeze,
    /// Change fields of all links that match
    Patch(acts::PatchArgs),
    /// Take back what an act did, where nobody changed the link since
    Undo(acts::UndoArgs),
    /// Make every link what it was at a version
    Rollback(acts::RollbackArgs),
    /// Check the catalog's file
    Verify,
    /// Write a copy of the catalog to a new file; a server may run
    Backup(maintain::BackupArgs),
}

impl LinksArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// Anything but links that are refused.
    pub(super) fn run_links_command(&self, out: &mut impl Write) -> Result<ExitCode> {
        let config = &self.config;
        match &self.command {
            Links::Import(args) => import::import_files_and_print_report(args, config, clock::wall_ms()),
            Links::Add(args) => args.add_links_and_print_outcomes(config, out),
            Links::Show(args) => args.print_link(config, out),
            Links::Set(args) => args.set_fields_and_print_outcome(config, out),
            Links::Rm(args) => args.remove_links_and_print_outcomes(config, out),
            Links::List(args) => args.print_links(config, out),
            Links::History(args) => args.print_changes(config, out),
            Links::Export(args) => args.print_all_records(config, out),
            Links::Disable(args) => args.disable_links_or_suspend_values(config, out),
            Links::Enable(args) => args.enable_links_or_end_suspensions(config, out),
            Links::Suspensions => suspend::print_suspensions(config, out),
            Links::Freeze(args) => args.freeze_links(config, out),
            Links::Unfreeze => suspend::unfreeze_links(config, out),
            Links::Patch(args) => args.patch_matching_links_and_print_report(config, out),
            Links::Undo(args) => args.undo_act_and_print_report(config, out),
            Links::Rollback(args) => args.roll_back_and_print_report(config, out),
            Links::Verify => maintain::verify_and_print_result(config, out),
            Links::Backup(args) => args.back_up(config, out),
        }
    }
}
