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
    outcome_text::print_outcomes,
    place::{LinkChanges, LinkPlace},
    place_args::PlaceArgs,
    progress::count_of_links,
    user_act::act_of_user,
};
use crate::{
    catalog::{
        act::Act,
        change::{ExpectedLink, LinkChange, LinkName},
    },
    cli::exit::SOME_REFUSED,
    clock,
    model::link::record::Record,
};

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
    /// The link's name, as the place has it.
    pub(super) fn name(&self, place: &dyn LinkPlace) -> Result<LinkName> {
        place.canonical_name(LinkName { domain: self.domain.clone(), code: self.code.clone() })
    }
}

impl AddArgs {
    pub(super) fn add_links_and_print_outcomes(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let act = act_of_user(self.change.reason.as_ref());
        let bar = count_of_links("add");
        let mut exit_code = ExitCode::SUCCESS;
        for file in &self.files {
            let mut lines = numbered_lines(file)?;
            while let Some(chunk) = read_chunk(file, &mut lines, place.changes_at_once())? {
                let count = chunk.places.len();
                if self.add_chunk_and_print_outcomes(&*place, &act, chunk, out)? != ExitCode::SUCCESS {
                    exit_code = ExitCode::from(SOME_REFUSED);
                }
                bar.inc(count as u64);
            }
        }
        bar.finish_and_clear();
        Ok(exit_code)
    }

    fn add_chunk_and_print_outcomes(
        &self,
        place: &dyn LinkPlace,
        act: &Act,
        chunk: AddedChunk,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        let expected = if self.replace { ExpectedLink::Any } else { ExpectedLink::Absent };
        let AddedChunk { places, changes } = chunk;
        let changes = LinkChanges { act, changes, expected, is_dry_run: self.change.dry_run };
        print_outcomes(&places, &place.change_links(changes)?, out)
    }
}

/// Records that are added in one commit.
struct AddedChunk {
    /// Where each of them stands: `FILE:LINE`.
    places: Vec<String>,
    changes: Vec<LinkChange>,
}

/// The next records of a file, `limit` at most; `None` at its end.
fn read_chunk(
    file: &Path,
    lines: &mut impl Iterator<Item = std::io::Result<(usize, String)>>,
    limit: usize,
) -> Result<Option<AddedChunk>> {
    let mut chunk = AddedChunk { places: Vec::new(), changes: Vec::new() };
    for line in lines.take(limit) {
        let (number, text) = line.with_context(|| file.display().to_string())?;
        let place = format!("{}:{number}", file.display());
        let record = parse_record_without_code(&text).with_context(|| place.clone())?;
        let text = (!record.code.is_empty()).then_some(text);
        chunk.places.push(place);
        chunk.changes.push(LinkChange::Put { record: Box::new(record), text });
    }
    Ok((!chunk.places.is_empty()).then_some(chunk))
}

impl SetArgs {
    pub(super) fn set_fields_and_print_outcome(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let name = self.link.name(&*place)?;
        let change = LinkChange::Patch { name, patch: parse_fields(&self.fields)? };
        change_and_print(&*place, vec![self.link.code.clone()], vec![change], &self.change, out)
    }
}

impl RemoveArgs {
    pub(super) fn remove_links_and_print_outcomes(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let delete =
            |code: &String| LinkChange::Delete { name: LinkName { domain: self.domain.clone(), code: code.clone() } };
        let changes = self.codes.iter().map(delete).collect();
        change_and_print(&*place, self.codes.clone(), changes, &self.change, out)
    }
}

/// Makes changes in one commit and prints their outcomes.
pub(super) fn change_and_print(
    place: &dyn LinkPlace,
    asked: Vec<String>,
    changes: Vec<LinkChange>,
    change: &ChangeArgs,
    out: &mut impl Write,
) -> Result<ExitCode> {
    if changes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let act = act_of_user(change.reason.as_ref());
    let changes = LinkChanges { act: &act, changes, expected: ExpectedLink::Any, is_dry_run: change.dry_run };
    print_outcomes(&asked, &place.change_links(changes)?, out)
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

/// A record whose code may be absent; then it is empty, and the link is created now unless the record says when.
fn parse_record_without_code(text: &str) -> Result<Record> {
    let mut value: serde_json::Value = serde_json::from_str(text)?;
    if let Some(object) = value.as_object_mut()
        && object.get("code").is_none_or(serde_json::Value::is_null)
    {
        object.insert("code".to_owned(), "".into());
        let now = jiff::Timestamp::from_millisecond(i64::try_from(clock::wall_ms())?)?;
        object.entry("created_at").or_insert_with(|| now.to_string().into());
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
