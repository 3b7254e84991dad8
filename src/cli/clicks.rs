//! `waypost clicks`: what was delivered, read back from the click files or from Kafka.

mod audit;
mod source;
mod stats;
mod why;

use std::io::Write;

use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

pub use audit::{Audit, audit};
pub use source::Source;
pub use stats::{By, Stats, stats};
pub use why::{Why, why};

use self::source::Range;
use crate::model::click::Topic;

/// The flags of `waypost clicks tail`.
#[derive(Clone, Debug, clap::Args)]
pub struct Tail {
    /// How many of the latest clicks.
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub lines: u32,
    /// Go on with those that come, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// The events as they are, one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Which topics.
    #[arg(long, value_enum, default_value_t)]
    pub topic: Which,
}

/// The topics to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Both.
    #[default]
    All,
    /// Clicks on live links.
    Clicks,
    /// Clicks on unknown, expired, disabled and not yet started codes.
    Orphan,
}

impl Which {
    fn topics(self) -> &'static [Topic] {
        match self {
            Which::All => &Topic::ALL,
            Which::Clicks => &[Topic::Clicks],
            Which::Orphan => &[Topic::Orphan],
        }
    }
}

/// Prints the latest clicks to `out`; of the latest records those that are stubs are left out.
///
/// # Errors
/// The source cannot be read (the message says what to do), or `out` not be written.
pub fn tail(source: &Source, flags: &Tail, out: &mut impl Write) -> Result<()> {
    let count = flags.lines as usize;
    // Partitions and topics come one after the other: the latest of all are known once all were read.
    let mut latest: Option<Vec<(u64, Vec<u8>)>> = Some(Vec::new());
    source.read(flags.topic.topics(), Range::Last { count, follow: flags.follow }, &mut |event| {
        let event = event.map(|record| record.value);
        if event.is_some_and(is_stub) {
            return Ok(());
        }
        match (event, &mut latest) {
            (Some(event), Some(latest)) => {
                latest.push((Seen::of(event).map_or(0, |seen| seen.clicked_at_ms), event.to_vec()));
                return Ok(());
            }
            (Some(event), None) => print(event, flags.json, out)?,
            (None, latest) => {
                let mut latest = latest.take().unwrap_or_default();
                latest.sort_by_key(|(at_ms, _)| *at_ms);
                for (_, event) in &latest[latest.len().saturating_sub(count)..] {
                    print(event, flags.json, out)?;
                }
            }
        }
        Ok(out.flush()?)
    })
}

fn print(event: &[u8], json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        out.write_all(event)?;
        return Ok(writeln!(out)?);
    }
    let Some(seen) = Seen::of(event) else {
        return Ok(writeln!(out, "not a click: {}", String::from_utf8_lossy(event).escape_debug())?);
    };
    let at = Timestamp::from_millisecond(seen.clicked_at_ms as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
    write!(out, "{}  {:<16} {:<12} {:<9}", at.strftime("%F %T%.3fZ"), seen.outcome, plain(&seen.code), seen.class)?;
    write!(out, " {:<10} {:<12}", plain(&seen.source), plain(&seen.creator_id))?;
    let verdict = if seen.countable { "counts".to_owned() } else { format!("no: {}", plain(&seen.countable_reason)) };
    writeln!(out, " {verdict:<16} {}", plain(&seen.destination_host))?;
    Ok(())
}

/// Text from outside, fit for a terminal: control characters are shown, not obeyed.
fn plain(text: &str) -> std::borrow::Cow<'_, str> {
    if text.is_empty() {
        "-".into()
    } else if text.chars().any(char::is_control) {
        text.escape_debug().to_string().into()
    } else {
        text.into()
    }
}

/// The type of the stub of a dead letter.
const STUB: &str = "dead_lettered";

/// What these commands look at in an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    click_id: std::borrow::Cow<'a, str>,
    clicked_at_ms: u64,
    #[serde(borrow)]
    outcome: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    code: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    creator_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    class: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    destination_host: std::borrow::Cow<'a, str>,
    countable: bool,
    #[serde(borrow)]
    countable_reason: std::borrow::Cow<'a, str>,
    duplicate: bool,
}

impl<'a> Seen<'a> {
    fn of(event: &'a [u8]) -> Option<Seen<'a>> {
        serde_json::from_slice(event).ok()
    }
}

/// Whether it stands in the place of a click that Kafka refused, and is none.
fn is_stub(event: &[u8]) -> bool {
    Seen::of(event).is_some_and(|seen| seen.kind == STUB)
}

#[cfg(test)]
mod tests;
