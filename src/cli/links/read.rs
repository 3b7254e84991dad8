//! `waypost links show`, `list`, `history` and `export`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{data_dir::OfflineCatalog, edit::LinkArgs};
use crate::{
    catalog::{
        change::LinkName,
        query::{CatalogReader, FilterField, LinkFilter, StateFilter, VersionedLink},
    },
    cli::config_args::ConfigArgs,
    clock,
};

/// Links of one page.
const PAGE: usize = 1_000;
/// Changes of a link that are shown at most.
const MAX_CHANGES: usize = 10_000;

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
    pub(super) fn print_link(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let name = self.link.name(&catalog)?;
        let Some(link) = catalog.reader()?.find_link(&name)? else {
            eprintln!("there is no link {} on {}", name.code, name.domain);
            return Ok(ExitCode::FAILURE);
        };
        writeln!(out, "{}", link.record)?;
        eprintln!("version {}", link.version);
        Ok(ExitCode::SUCCESS)
    }
}

impl ListArgs {
    pub(super) fn print_links(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        visit_links(&catalog.reader()?, &self.filter.filter()?, |link| Ok(writeln!(out, "{}", link.record)?))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl HistoryArgs {
    pub(super) fn print_changes(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let name = self.link.name(&catalog)?;
        for line in catalog.reader()?.list_history(&name, MAX_CHANGES)? {
            let time = i64::try_from(line.at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let change = serde_json::json!({
                "version": line.version,
                "at": time.map(|time| time.to_string()),
                "act": line.act,
                "actor": line.actor,
                "reason": line.reason,
                "before": line.before.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()),
                "after": line.after.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()),
            });
            writeln!(out, "{change}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ExportArgs {
    pub(super) fn print_all_records(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let reader = catalog.reader()?;
        let Some(path) = &self.output else {
            visit_links(&reader, &LinkFilter::default(), |link| Ok(writeln!(out, "{}", link.record)?))?;
            return Ok(ExitCode::SUCCESS);
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| std::path::Path::new("."));
        let file = tempfile::NamedTempFile::new_in(directory).with_context(|| path.display().to_string())?;
        let mut writer = std::io::BufWriter::new(file);
        visit_links(&reader, &LinkFilter::default(), |link| Ok(writeln!(writer, "{}", link.record)?))?;
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path).with_context(|| path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Visits every link that matches, by domain and code.
fn visit_links(
    reader: &CatalogReader,
    filter: &LinkFilter,
    mut visit: impl FnMut(&VersionedLink) -> Result<()>,
) -> Result<()> {
    let mut after: Option<LinkName> = None;
    loop {
        let page = reader.list_links(filter, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.name.clone());
        page.iter().try_for_each(&mut visit)?;
    }
}
