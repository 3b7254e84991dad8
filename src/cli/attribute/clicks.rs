//! Reads the records of clicks, and keeps those that an order can name.
//!
//! Orders name a small part of all clicks: by the click id of a token, and by the cookie jar of such a click or of a
//! cookie. Which jars these are is known only after the last record was read. So the records are read twice:
//!
//! 1. Every record is parsed and checked. A hash of its click id and one of its visitor id are kept: 16 bytes a record,
//!    32 where the list has just grown.
//! 2. The click ids that matter are those of tokens, and those of every click in a cookie jar that matters. Their
//!    records are kept, with repeats. The other records are not parsed again.
//!
//! The second pass keeps only clicks that the first one saw, so that a topic that grows meanwhile gives the rows of the
//! moment when reading began. Two ids of one hash keep a record too much, which changes no row.

use std::{collections::HashSet, path::PathBuf, sync::LazyLock, thread};

use anyhow::Result;
use memchr::memmem::Finder;

use super::file_scan::scan_lines_on_threads;
use crate::{
    cli::{
        clicks::{ClickSource, EventRecord, ReadProgress, ReadRange, RecordLocation},
        json_line::parse_json_object,
    },
    commission::{ClickRecord, ClickRecords, OrderVersion},
    model::click::Topic,
};

/// The key of a click id in an event's JSON, as Waypost writes it.
const CLICK_ID_KEY: &[u8] = b"\"click_id\":\"";
static CLICK_ID_KEY_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CLICK_ID_KEY));

/// The hash of a click id or of a visitor id; 0 for no visitor.
type IdHash = u64;
type IdHashes = HashSet<IdHash, foldhash::fast::RandomState>;

/// Where the records are.
#[derive(Debug)]
pub(in crate::cli) enum ClickInput {
    /// Files of `--clicks`.
    Files(Vec<PathBuf>),
    /// Topics, or the click files of a data directory.
    Source(ClickSource),
}

/// Reads the standing records of all clicks that an order can name.
///
/// # Errors
/// A file or a topic cannot be read, or a click is bad; the text names where it is.
pub(in crate::cli) fn read_records_that_orders_can_name(
    input: &ClickInput,
    versions: &[OrderVersion],
) -> Result<ClickRecords<'static>> {
    let index = input.index_all_records()?;
    let wanted = index.find_wanted_click_ids(versions);
    let has_plain_click_ids = index.parts.iter().all(|part| !part.has_other_click_id_form);
    drop(index);
    let records = input.read_wanted_records(&WantedRecords { click_ids: wanted, has_plain_click_ids })?;
    Ok(ClickRecords::choose_standing_records(records))
}

impl ClickInput {
    /// The first pass.
    fn index_all_records(&self) -> Result<ClickIndex> {
        match self {
            ClickInput::Files(paths) => {
                let mut parts = Vec::new();
                for path in paths {
                    parts.extend(scan_lines_on_threads(path, thread_count(), &index_record_of_line)?);
                }
                Ok(ClickIndex { parts })
            }
            ClickInput::Source(source) => {
                let (mut part, mut foreign) = (IndexPart::default(), 0u64);
                visit_source(source, &mut |record| match parse_json_object::<ClickRecord<'_>>(record.value) {
                    Ok(click) => {
                        part.add_if_click(&click, record.value).map_err(|message| at_location(&record, &message))
                    }
                    Err(message) if is_click_of_waypost(record.value) => Err(at_location(&record, &message)),
                    Err(_) => {
                        foreign += 1;
                        Ok(())
                    }
                })?;
                if foreign > 0 {
                    eprintln!("waypost: {foreign} records are not clicks");
                }
                Ok(ClickIndex { parts: vec![part] })
            }
        }
    }

    /// The second pass.
    fn read_wanted_records(&self, wanted: &WantedRecords) -> Result<Vec<ClickRecord<'static>>> {
        let mut records = Vec::new();
        match self {
            ClickInput::Files(paths) => {
                for path in paths {
                    let keep = |kept: &mut Vec<ClickRecord<'static>>, line: &[u8]| {
                        kept.extend(wanted.parse_record_if_wanted(line)?);
                        Ok(())
                    };
                    records.extend(scan_lines_on_threads(path, thread_count(), &keep)?.into_iter().flatten());
                }
            }
            ClickInput::Source(source) => visit_source(source, &mut |record| {
                if let Ok(Some(mut click)) = wanted.parse_record_if_wanted(record.value) {
                    click.arrived_at_ms = record.shipped_ms.unwrap_or(click.arrived_at_ms);
                    records.push(click);
                }
                Ok(())
            })?,
        }
        Ok(records)
    }
}

/// Visits every record of both click topics.
fn visit_source(source: &ClickSource, visit: &mut dyn FnMut(EventRecord<'_>) -> Result<()>) -> Result<()> {
    source.visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::All, &mut |progress| match progress {
        ReadProgress::Record(record) => visit(record),
        ReadProgress::CaughtUp => Ok(()),
    })
}

fn at_location(record: &EventRecord<'_>, message: &str) -> anyhow::Error {
    match record.location {
        RecordLocation::File { path, line } => anyhow::anyhow!("{}:{line}: {message}", path.display()),
        RecordLocation::Kafka { topic, partition, offset } => {
            anyhow::anyhow!("topic {topic}, partition {partition}, offset {offset}: {message}")
        }
    }
}

/// Whether a value that cannot be parsed says that it is a click. Topics can hold what others wrote.
fn is_click_of_waypost(value: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct EventType {
        #[serde(rename = "type")]
        event_type: String,
    }
    serde_json::from_slice::<EventType>(value).is_ok_and(|event| event.event_type == "click")
}

fn thread_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn hash_id(id: &str) -> IdHash {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::default().hash_one(id)
}

/// The hashes of click id and visitor id.
#[derive(Clone, Copy)]
struct IndexEntry {
    click_id: IdHash,
    visitor_id: IdHash,
}

/// The entries of some records.
#[derive(Default)]
struct IndexPart {
    entries: Vec<IndexEntry>,
    /// A record has a click id that [`find_plain_click_id`] does not find.
    has_other_click_id_form: bool,
}

fn index_record_of_line(part: &mut IndexPart, line: &[u8]) -> Result<(), String> {
    part.add_if_click(&parse_json_object(line)?, line)
}

impl IndexPart {
    fn add_if_click(&mut self, click: &ClickRecord<'_>, value: &[u8]) -> Result<(), String> {
        click.check()?;
        if click.is_click() {
            let visitor_id = if click.visitor_id.is_empty() { 0 } else { hash_id(&click.visitor_id) };
            self.entries.push(IndexEntry { click_id: hash_id(&click.click_id), visitor_id });
            self.has_other_click_id_form |= find_plain_click_id(value) != Some(click.click_id.as_bytes());
        }
        Ok(())
    }
}

/// All records, by the hashes of their ids.
struct ClickIndex {
    parts: Vec<IndexPart>,
}

impl ClickIndex {
    fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.parts.iter().flat_map(|part| &part.entries)
    }

    /// The click ids of tokens, and of every click in a cookie jar that a token can open.
    fn find_wanted_click_ids(&self, versions: &[OrderVersion]) -> IdHashes {
        let tokens = || versions.iter().flat_map(|version| &version.click_tokens);
        let named: IdHashes = tokens().filter_map(|token| token.genuine_click_id()).map(hash_id).collect();
        let mut jars: IdHashes = tokens().filter_map(|token| token.cookie_visitor_id()).map(hash_id).collect();
        let of_named = self.entries().filter(|entry| entry.visitor_id != 0 && named.contains(&entry.click_id));
        jars.extend(of_named.map(|entry| entry.visitor_id));
        let is_wanted = |entry: &&IndexEntry| {
            named.contains(&entry.click_id) || (entry.visitor_id != 0 && jars.contains(&entry.visitor_id))
        };
        self.entries().filter(is_wanted).map(|entry| entry.click_id).collect()
    }
}

/// Which records the second pass keeps.
struct WantedRecords {
    click_ids: IdHashes,
    /// [`find_plain_click_id`] finds the click id of every record.
    has_plain_click_ids: bool,
}

impl WantedRecords {
    fn parse_record_if_wanted(&self, value: &[u8]) -> Result<Option<ClickRecord<'static>>, String> {
        let is_wanted = |id: &str| self.click_ids.contains(&hash_id(id));
        if self.has_plain_click_ids
            && let Some(id) = find_plain_click_id(value)
            && !str::from_utf8(id).is_ok_and(is_wanted)
        {
            return Ok(None);
        }
        let click: ClickRecord<'_> = parse_json_object(value)?;
        Ok((click.is_click() && is_wanted(&click.click_id)).then(|| click.into_owned()))
    }
}

/// Finds the click id of an event without parsing it, where the event has the form that Waypost writes.
fn find_plain_click_id(value: &[u8]) -> Option<&[u8]> {
    let start = CLICK_ID_KEY_FINDER.find(value)? + CLICK_ID_KEY.len();
    let len = memchr::memchr(b'"', &value[start..])?;
    Some(&value[start..start + len])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(tokens: serde_json::Value) -> OrderVersion {
        serde_json::from_value(json!({"order_id":"o","updated_at_ms":1,"click_tokens":tokens})).unwrap()
    }

    fn click(id: &str, visitor: &str) -> String {
        json!({"type":"click","click_id":id,"clicked_at_ms":1,"visitor_id":visitor}).to_string()
    }

    fn kept(lines: &[String], tokens: serde_json::Value) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clicks");
        std::fs::write(&path, lines.join("\n")).unwrap();
        let input = ClickInput::Files(vec![path]);
        let index = input.index_all_records().unwrap();
        let has_plain_click_ids = index.parts.iter().all(|part| !part.has_other_click_id_form);
        let wanted = WantedRecords { click_ids: index.find_wanted_click_ids(&[version(tokens)]), has_plain_click_ids };
        let records = input.read_wanted_records(&wanted).unwrap();
        let mut ids: Vec<String> = records.iter().map(|record| record.click_id.clone().into_owned()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn clicks_of_tokens_and_of_their_cookie_jars_are_kept_and_no_others() {
        let lines = [click("1", "a"), click("2", "a"), click("3", "b"), click("4", ""), click("5", "c")];
        let url = json!({"verdict":"valid","kind":"url","click_id":"1","clicked_at_ms":1,"domain":"*","code":"x"});
        let cookie = json!({"verdict":"expired","kind":"cookie","click_id":"9","clicked_at_ms":1,"domain":"*",
            "code":"x","visitor_id":"c"});
        assert_eq!(kept(&lines, json!([url])), ["1", "2"]);
        assert_eq!(kept(&lines, json!([cookie])), ["5"]);
        assert_eq!(kept(&lines, json!([])), [""; 0]);
        let forged = json!({"verdict":"bad_mac","kind":"url","click_id":"1","clicked_at_ms":1,"domain":"*","code":"x"});
        assert_eq!(kept(&lines, json!([forged])), [""; 0]);
    }

    #[test]
    fn every_record_of_a_kept_click_is_kept_whatever_its_visitor_and_its_form() {
        let spaced = click("2", "").replace("\"click_id\":", "\"click_id\" : ");
        let nested = click("2", "").replacen('{', "{\"later\":{\"click_id\":\"7\"},", 1);
        let lines = [click("1", "a"), click("2", "a"), spaced, nested, click("7", "z")];
        let url = json!({"verdict":"valid","kind":"url","click_id":"1","clicked_at_ms":1,"domain":"*","code":"x"});
        assert_eq!(kept(&lines, json!([url])), ["1", "2", "2", "2"]);
    }
}
