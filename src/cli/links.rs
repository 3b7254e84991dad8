//! `waypost links`: the links of a catalog, and the exports of other shorteners. The catalog is that of a data
//! directory on which no server runs, or that of a running server (`--server`).

mod acts;
mod check;
mod data_dir;
mod data_dir_domains;
mod domains;
mod edit;
mod history_text;
mod import;
mod import_args;
mod import_catalog;
mod import_output;
mod import_report;
mod import_spool;
mod maintain;
mod outcome_text;
mod place;
mod place_args;
mod progress;
mod qr_code;
mod read;
mod refusal_text;
mod server;
mod suspend;
mod user_act;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use self::{import_args::ImportArgs, place_args::PlaceArgs};
use crate::clock;

/// The flags and the command of `waypost links`.
#[derive(Debug, Args)]
pub struct LinksArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: Links,
}

/// The commands of `waypost links`. Exit code 2: some links were refused.
#[derive(Debug, Subcommand)]
enum Links {
    /// Turn the export of another link shortener into links, in a file or in the catalog
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
    /// Draw the QR code of a link
    Qr(qr_code::QrArgs),
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
    /// List the changes of many links that a server carries out, those that wait for their time included
    Acts(acts::ActsArgs),
    /// Stop a change of many links that waits for its time or runs
    Cancel(acts::CancelArgs),
    /// Show and change the domains that links have
    Domains(domains::DomainsArgs),
    /// Check links files by the rules of this configuration, and change nothing
    Check(check::CheckArgs),
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
        let place = &self.place;
        match &self.command {
            Links::Import(args) => import::import_files_and_print_report(args, place, clock::wall_ms()),
            Links::Add(args) => args.add_links_and_print_outcomes(place, out),
            Links::Show(args) => args.print_link(place, out),
            Links::Set(args) => args.set_fields_and_print_outcome(place, out),
            Links::Rm(args) => args.remove_links_and_print_outcomes(place, out),
            Links::List(args) => args.print_links(place, out),
            Links::History(args) => args.print_changes(place, out),
            Links::Qr(args) => args.write_qr_code(place, out),
            Links::Export(args) => args.print_all_records(place, out),
            Links::Disable(args) => args.disable_links_or_suspend_values(place, out),
            Links::Enable(args) => args.enable_links_or_end_suspensions(place, out),
            Links::Suspensions => suspend::print_suspensions(place, out),
            Links::Freeze(args) => args.freeze_links(place, out),
            Links::Unfreeze => suspend::unfreeze_links(place, out),
            Links::Patch(args) => args.patch_matching_links_and_print_report(place, out),
            Links::Undo(args) => args.undo_act_and_print_report(place, out),
            Links::Rollback(args) => args.roll_back_and_print_report(place, out),
            Links::Acts(args) => args.print_changes_of_many_links(place, out),
            Links::Cancel(args) => args.cancel_change(place, out),
            Links::Domains(args) => args.run_domains_command(place, out),
            Links::Check(args) => args.check_files_and_print_results(place, out),
            Links::Verify => maintain::verify_and_print_result(place, out),
            Links::Backup(args) => args.back_up(place, out),
        }
    }
}
