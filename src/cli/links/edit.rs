//! `waypost links add`, `set` and `rm`

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    data_dir::{OfflineCatalog, act_of_user},
    outcome_text::print_outcomes,
};
use crate::{
    catalog::change::{Batch, BatchMode, ChangeRow, ExpectedLink, LinkChange, LinkName},
    cli::config_args::ConfigArgs,
    model::link::record::Record,
};

/// Rows of one commit.
const CHUNK: usize = 1_000;

/// The flags of a command that changes links.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Check everything and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The flags of `waypost links add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Files with a JSON record on each line; `-` is the standard input. A record without a code gets one
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Replace links that exist
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The flags of `waypost links set`.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    link: LinkArgs,
    /// A field and its value in JSON, or a plain text; `null` removes the field; may be repeated
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The flags of `waypost links rm`.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The codes
    #[arg(value_name = "CODE", required = true)]
    codes: Vec<String>,
    /// Their domain
    #[arg(long, value_name = "HOST", default_value = "*")]
    domain: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Which link.
#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// The code
    #[arg(value_name = "CODE")]
    code: String,
    /// The domain of the code
    #[arg(long, value_name = "HOST", default_value = "*")]
    domain: String,
}

impl LinkArgs {
    /// The link's name, as the catalog has it.
    pub(super) fn name(&self, catalog: &OfflineCatalog) -> Result<LinkName> {
        let Some(domain) = catalog.domains.find_by_name(&self.domain) else {
            bail!("the domain {:?} is not configured", self.domain);
        };
        let code = if domain.id.ignores_case() { self.code.to_ascii_lowercase() } else { self.code.clone() };
        Ok(LinkName { domain: domain.name.to_string(), code })
    }
}

impl AddArgs {
    pub(super) fn add_links_and_print_outcomes(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let expected = if self.replace { ExpectedLink::Any } else { ExpectedLink::Absent };
        let act = act_of_user(self.change.reason.as_ref());
        let mut exit_code = ExitCode::SUCCESS;
        for file in &self.files {
            let mut lines = numbered_lines(file)?;
            loop {
                let (mut names, mut rows) = (Vec::new(), Vec::new());
                for line in lines.by_ref().take(CHUNK) {
                    let (number, text) = line.with_context(|| file.display().to_string())?;
                    let place = format!("{}:{number}", file.display());
                    let record: Record = parse_record_without_code(&text).with_context(|| place.clone())?;
                    names.push(place);
                    let text = (!record.code.is_empty()).then_some(text);
                    rows.push(ChangeRow { change: LinkChange::Put { record: Box::new(record), text }, expected });
                }
                if rows.is_empty() {
                    break;
                }
                let batch = Batch {
                    act: act.clone(),
                    rows,
                    mode: BatchMode::Each,
                    is_dry_run: self.change.dry_run,
                    once: None,
                };
                let report = catalog.handle().apply_blocking(batch)?;
                if print_outcomes(&names, &report, out)? != ExitCode::SUCCESS {
                    exit_code = ExitCode::from(crate::cli::exit::SOME_REFUSED);
                }
            }
        }
        catalog.close();
        Ok(exit_code)
    }
}

impl SetArgs {
    pub(super) fn set_fields_and_print_outcome(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let name = self.link.name(&catalog)?;
        let patch = parse_fields(&self.fields)?;
        let row = ChangeRow { change: LinkChange::Patch { name, patch }, expected: ExpectedLink::Any };
        apply_and_print(&catalog, vec![self.link.code.clone()], vec![row], &self.change, out)
    }
}

impl RemoveArgs {
    pub(super) fn remove_links_and_print_outcomes(
        &self,
        config: &ConfigArgs,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        let catalog = OfflineCatalog::open(config)?;
        let row = |code: &String| {
            let name = LinkName { domain: self.domain.clone(), code: code.clone() };
            ChangeRow { change: LinkChange::Delete { name }, expected: ExpectedLink::Any }
        };
        let rows = self.codes.iter().map(row).collect();
        apply_and_print(&catalog, self.codes.clone(), rows, &self.change, out)
    }
}

/// Applies rows in one commit and prints their outcomes.
pub(super) fn apply_and_print(
    catalog: &OfflineCatalog,
    names: Vec<String>,
    rows: Vec<ChangeRow>,
    change: &ChangeArgs,
    out: &mut impl Write,
) -> Result<ExitCode> {
    if rows.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let act = act_of_user(change.reason.as_ref());
    let batch = Batch { act, rows, mode: BatchMode::Each, is_dry_run: change.dry_run, once: None };
    let report = catalog.handle().apply_blocking(batch)?;
    print_outcomes(&names, &report, out)
}

/// A merge patch of `FIELD=VALUE`. A value that is no JSON is a text.
pub(super) fn parse_fields(fields: &[String]) -> Result<serde_json::Value> {
    let mut patch = serde_json::Map::new();
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            bail!("{field:?} is not FIELD=VALUE, such as enabled=false");
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if patch.insert(name.to_owned(), value).is_some() {
            bail!("{name} stands twice");
        }
    }
    Ok(patch.into())
}

/// A record whose code may be absent; then it is empty.
fn parse_record_without_code(text: &str) -> Result<Record> {
    let mut value: serde_json::Value = serde_json::from_str(text)?;
    if let Some(object) = value.as_object_mut()
        && !object.contains_key("code")
    {
        object.insert("code".to_owned(), "".into());
    }
    Ok(serde_json::from_value(value)?)
}

/// The lines of a file that are not blank, with their numbers.
fn numbered_lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<(usize, String)>> + use<>> {
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| path.display().to_string())?))
    };
    let numbered = reader.lines().enumerate().map(|(at, line)| Ok((at + 1, line?)));
    Ok(numbered.filter(|line| line.as_ref().map_or(true, |(_, text)| !text.trim().is_empty())))
}
