//! Outcomes of changes as lines for a person.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{
    catalog::change::{BatchReport, LinkName, RowOutcome, RowRefusal},
    cli::exit::SOME_REFUSED,
};

/// Prints a line for each outcome; the refused ones to the standard error. Exit code 2 if some are refused.
pub(super) fn print_outcomes(names: &[String], report: &BatchReport, out: &mut impl Write) -> Result<ExitCode> {
    let mut exit_code = ExitCode::SUCCESS;
    for (asked, outcome) in names.iter().zip(&report.outcomes) {
        match outcome {
            RowOutcome::Created(link) => writeln!(out, "created {} at version {}", text_of(&link.name), link.version)?,
            RowOutcome::Updated(link) => writeln!(out, "changed {} at version {}", text_of(&link.name), link.version)?,
            RowOutcome::Unchanged(link) => writeln!(out, "unchanged {}", text_of(&link.name))?,
            RowOutcome::Deleted { name, version } => {
                writeln!(out, "removed {} at version {version}", text_of(name))?;
            }
            RowOutcome::Refused(refusal) => {
                eprintln!("{asked}: refused: {}", describe_refusal(refusal));
                exit_code = ExitCode::from(SOME_REFUSED);
            }
        }
        if let RowOutcome::Created(link) | RowOutcome::Updated(link) = outcome {
            link.warnings.iter().for_each(|warning| eprintln!("{asked}: warning: {warning}"));
        }
    }
    Ok(exit_code)
}

/// The link as `DOMAIN/CODE`.
pub(super) fn text_of(name: &LinkName) -> String {
    format!("{}/{}", name.domain, name.code)
}

/// Why a row is refused, and what to do.
pub(super) fn describe_refusal(refusal: &RowRefusal) -> String {
    match refusal {
        RowRefusal::Invalid(errors) | RowRefusal::Unchangeable(errors) => {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        RowRefusal::CodeReserved { reusable_at_ms, errors } => {
            let time = i64::try_from(*reusable_at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let time = time.map_or_else(|| reusable_at_ms.to_string(), |time| time.to_string());
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("the code belongs to a removed link until {time}; {}", errors.join("; "))
        }
        RowRefusal::Exists { version } => format!("there is a link of this code, at version {version}"),
        RowRefusal::NotFound => "there is no such link".to_owned(),
        RowRefusal::VersionDiffers { found: Some(version) } => {
            format!("the link was changed meanwhile, and has version {version}; look at it and try again")
        }
        RowRefusal::VersionDiffers { found: None } => "the link was removed meanwhile".to_owned(),
        RowRefusal::VersionNeeded { found } => format!("the link exists and differs, at version {found}"),
        RowRefusal::NotARecord(message) => message.clone(),
    }
}
