//! Outcomes of changes as lines for a person.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use super::place::{ChangeOutcome, Refusal};
use crate::cli::exit::SOME_REFUSED;

/// Prints a line for each outcome; the refused ones to the standard error, each with what was asked for. Exit code 2 if
/// some are refused.
pub(super) fn print_outcomes(asked: &[String], outcomes: &[ChangeOutcome], out: &mut impl Write) -> Result<ExitCode> {
    let mut exit_code = ExitCode::SUCCESS;
    for (asked, outcome) in asked.iter().zip(outcomes) {
        match outcome {
            ChangeOutcome::Created { name, version, .. } => writeln!(out, "created {name} at version {version}")?,
            ChangeOutcome::Changed { name, version, .. } => writeln!(out, "changed {name} at version {version}")?,
            ChangeOutcome::Unchanged { name } => writeln!(out, "unchanged {name}")?,
            ChangeOutcome::Removed { name, version } => writeln!(out, "removed {name} at version {version}")?,
            ChangeOutcome::Refused(Refusal { message, .. }) => {
                eprintln!("{asked}: refused: {message}");
                exit_code = ExitCode::from(SOME_REFUSED);
            }
        }
        if let ChangeOutcome::Created { warnings, .. } | ChangeOutcome::Changed { warnings, .. } = outcome {
            warnings.iter().for_each(|warning| eprintln!("{asked}: warning: {warning}"));
        }
    }
    Ok(exit_code)
}
