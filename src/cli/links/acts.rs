//! `waypost links patch`, `undo`, `rollback`, `acts` and `cancel`

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    edit::{ChangeArgs, parse_fields},
    place_args::PlaceArgs,
    progress::spinner,
    read::FilterArgs,
    user_act::act_of_user,
};
use crate::{
    catalog::{kept_changes::ChangeState, many::ManyChange},
    cli::exit::SOME_REFUSED,
};

/// The flags of `waypost links patch`.
#[derive(Debug, Args)]
pub(super) struct PatchArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// A field and its value, as in `links set`; `host` is the host of the URL; may be repeated
    #[arg(long = "set", value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    /// Change every link
    #[arg(long)]
    all: bool,
    /// Change the links at this time (RFC 3339); a server carries it out, over restarts
    #[arg(long, value_name = "TIME", conflicts_with = "dry_run")]
    effective_at: Option<jiff::Timestamp>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The flags of `waypost links undo`.
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The act's id, as `patch` prints it and `history` shows it
    #[arg(value_name = "ACT")]
    act: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The flags of `waypost links rollback`.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The version of the catalog to go back to
    #[arg(long, value_name = "VERSION")]
    to: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The flags of `waypost links acts`.
#[derive(Debug, Args)]
pub(super) struct ActsArgs {
    /// Only those that are scheduled, running, done, failed or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

/// The flags of `waypost links cancel`.
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// The act's id, as `patch --effective-at` prints it and `acts` shows it
    #[arg(value_name = "ACT")]
    act: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ActsArgs {
    pub(super) fn print_changes_of_many_links(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let state = self.state.as_deref().map(|word| {
            let known: Vec<&str> = ChangeState::ALL.iter().map(|state| state.as_str()).collect();
            ChangeState::from_word(word).with_context(|| format!("--state {word}: allowed are {}", known.join(", ")))
        });
        for change in place.open()?.list_kept_changes(state.transpose()?)? {
            writeln!(out, "{change}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CancelArgs {
    pub(super) fn cancel_change(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        place.open()?.cancel_change(&self.act, &act_of_user(self.reason.as_ref()))?;
        writeln!(out, "act {} is cancelled; what it has changed stays changed", self.act)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl PatchArgs {
    pub(super) fn patch_matching_links_and_print_report(
        &self,
        place: &PlaceArgs,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        if self.filter.is_empty() && !self.all {
            bail!("name the links by --where, --state or --created-after; --all changes every link");
        }
        let change = ManyChange::Patch { filter: self.filter.filter()?, patch: parse_fields(&self.fields)? };
        if let Some(time) = self.effective_at {
            let effective_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
            let act = act_of_user(self.change.reason.as_ref());
            let id = place.open()?.schedule_change(&change, &act, effective_ms)?;
            writeln!(out, "act {id} waits for {time}; `waypost links cancel {id}` stops it")?;
            return Ok(ExitCode::SUCCESS);
        }
        change_many_and_print_report(place, &change, &self.change, out)
    }
}

impl UndoArgs {
    pub(super) fn undo_act_and_print_report(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        change_many_and_print_report(place, &ManyChange::Undo { act: self.act.clone() }, &self.change, out)
    }
}

impl RollbackArgs {
    pub(super) fn roll_back_and_print_report(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        change_many_and_print_report(place, &ManyChange::RollBack { to_version: self.to }, &self.change, out)
    }
}

fn change_many_and_print_report(
    place: &PlaceArgs,
    change: &ManyChange,
    args: &ChangeArgs,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let place = place.open()?;
    let act = act_of_user(args.reason.as_ref());
    let bar = spinner(if args.dry_run { "checks links" } else { "changes links" });
    let report = place.change_many(change, &act, args.dry_run);
    bar.finish_and_clear();
    let report = report?;
    let verb = if args.dry_run { "would change" } else { "changed" };
    writeln!(out, "{verb} {} links, {} are as they were", report.changed, report.unchanged)?;
    if args.dry_run {
        report.examples.iter().try_for_each(|name| writeln!(out, "  {name}"))?;
    } else if report.changed > 0 {
        writeln!(out, "act {}; `waypost links undo {}` takes it back", report.act, report.act)?;
    }
    for (name, why) in &report.refused {
        eprintln!("{name}: refused: {why}");
    }
    if report.refused_total > report.refused.len() as u64 {
        eprintln!("{} links are refused in all", report.refused_total);
    }
    Ok(if report.refused_total > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
}
