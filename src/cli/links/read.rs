//! `waypost links show`, `list`, `history` and `export`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{edit::LinkArgs, place_args::PlaceArgs, progress::bar_of_links};
use crate::{
    catalog::query::{FilterField, LinkFilter, StateFilter},
    clock,
};

/// The flags of `waypost links show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    link: LinkArgs,
}

/// The flags of `waypost links list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

/// The flags of `waypost links history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    link: LinkArgs,
}

/// The flags of `waypost links export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The new file [default: the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Which links: those that match every flag.
#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// A field and its value: domain, creator, partner, seller, campaign, product, host, tag or code_prefix; may be
    /// repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    conditions: Vec<String>,
    /// live, expired, not-started or disabled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Created later than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    created_after: Option<jiff::Timestamp>,
}

impl FilterArgs {
    /// The filter.
    pub(super) fn filter(&self) -> Result<LinkFilter> {
        let mut fields = Vec::new();
        for condition in &self.conditions {
            let (field, value) = condition.split_once('=').unwrap_or((condition, ""));
            let Some(field) = FilterField::from_word(field) else {
                let known: Vec<&str> = FilterField::ALL.iter().map(|known| known.as_str()).collect();
                bail!("--where {condition}: {field:?} is no field; allowed are {}", known.join(", "));
            };
            fields.push((field, value.to_owned()));
        }
        let state = self.state.as_ref().map(|word| {
            StateFilter::from_word(word)
                .with_context(|| format!("--state {word}: allowed are live, expired, not-started and disabled"))
        });
        let state = state.transpose()?.map(|state| (state, clock::wall_ms()));
        let created_after_ms = self.created_after.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        Ok(LinkFilter { fields, state, created_after_ms, any_of: Vec::new() })
    }

    /// Whether every link matches.
    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.state.is_none() && self.created_after.is_none()
    }
}

impl ShowArgs {
    pub(super) fn print_link(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let name = self.link.name(&*place)?;
        let Some(link) = place.find_link(&name)? else {
            eprintln!("there is no link {} on {}", name.code, name.domain);
            return Ok(ExitCode::FAILURE);
        };
        writeln!(out, "{}", link.record)?;
        eprintln!("version {}", link.version);
        Ok(ExitCode::SUCCESS)
    }
}

impl ListArgs {
    pub(super) fn print_links(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let filter = self.filter.filter()?;
        place.open()?.visit_records(&filter, &mut |record| Ok(writeln!(out, "{record}")?))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl HistoryArgs {
    pub(super) fn print_changes(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let name = self.link.name(&*place)?;
        for line in place.list_history(&name)? {
            writeln!(out, "{line}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ExportArgs {
    pub(super) fn print_all_records(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let Some(path) = &self.output else {
            place.visit_records(&LinkFilter::default(), &mut |record| Ok(writeln!(out, "{record}")?))?;
            return Ok(ExitCode::SUCCESS);
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| std::path::Path::new("."));
        let file = tempfile::NamedTempFile::new_in(directory).with_context(|| path.display().to_string())?;
        let mut writer = std::io::BufWriter::new(file);
        let bar = bar_of_links("export", place.count_links()?);
        place.visit_records(&LinkFilter::default(), &mut |record| {
            bar.inc(1);
            Ok(writeln!(writer, "{record}")?)
        })?;
        bar.finish_and_clear();
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path).with_context(|| path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
