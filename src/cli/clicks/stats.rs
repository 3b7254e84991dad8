//! `waypost clicks stats`: counts by creator, source and day.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    ops::AddAssign,
};

use anyhow::Result;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{STUB, Seen, Source, plain, source::Range};
use crate::model::click::Topic;

/// The flags of `waypost clicks stats`.
#[derive(Clone, Debug, clap::Args)]
pub struct Stats {
    /// The first day (UTC), as 2026-11-21.
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// The last day (UTC).
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// What to count by.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [By::Day, By::Creator, By::Source])]
    pub by: Vec<By>,
    /// One JSON object a row.
    #[arg(long)]
    pub json: bool,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The day of the click, UTC.
    Day,
    /// The link's creator.
    Creator,
    /// The platform that the click came from.
    Source,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            By::Day => "day",
            By::Creator => "creator",
            By::Source => "source",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Every event, once a click id.
    clicks: u64,
    /// The one verdict: a human's first tap on a live link that is no test.
    countable: u64,
    duplicate: u64,
    /// Bots, previews, prefetches, probes, HEAD and non-navigations.
    not_human: u64,
    /// Unknown, expired, disabled and not yet started codes.
    orphan: u64,
    /// A human's taps on test links: each would count on a link that is none.
    test_link: u64,
}

impl Counts {
    const NAMES: [&str; 6] = ["clicks", "countable", "duplicate", "not_human", "orphan", "test_link"];

    const fn values(&self) -> [u64; Counts::NAMES.len()] {
        [self.clicks, self.countable, self.duplicate, self.not_human, self.orphan, self.test_link]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.clicks += other.clicks;
        self.countable += other.countable;
        self.duplicate += other.duplicate;
        self.not_human += other.not_human;
        self.orphan += other.orphan;
        self.test_link += other.test_link;
    }
}

/// Reads every click there is and prints the counts to `out`. Of two events with one click id (Kafka is at-least-once) the first
/// counts; that takes 16 bytes of memory a click, and somewhat more.
///
/// # Errors
/// As [`super::tail`].
pub fn stats(source: &Source, flags: &Stats, out: &mut impl Write) -> Result<()> {
    let mut rows: BTreeMap<Vec<String>, Counts> = BTreeMap::new();
    let mut known: HashSet<u128, foldhash::fast::RandomState> = HashSet::default();
    let (mut repeated, mut unreadable, mut dead) = (0u64, 0u64, 0u64);
    source.read(&Topic::ALL, Range::All, &mut |event| {
        let Some(event) = event else { return Ok(()) };
        match Seen::of(event.value).filter(|seen| !seen.click_id.is_empty()) {
            None => unreadable += 1,
            // Its id is not known by it: the click itself may still come, and outweighs it.
            Some(seen) if seen.kind == STUB => dead += 1,
            Some(seen) if !known.insert(number_of(&seen.click_id)) => repeated += 1,
            Some(seen) => {
                let day = day_of(seen.clicked_at_ms);
                if flags.from.is_none_or(|from| day >= from) && flags.to.is_none_or(|to| day <= to) {
                    *rows.entry(key(&flags.by, day, &seen)).or_default() += count(&seen);
                }
            }
        }
        Ok(())
    })?;
    if flags.json {
        print_json(&flags.by, &rows, out)?
    } else {
        print_table(&flags.by, &rows, out)?
    }
    if repeated > 0 && !flags.json {
        writeln!(out, "{repeated} more with a click id that was counted already")?;
    }
    if dead > 0 {
        eprintln!(
            "waypost: {dead} records stand for clicks that Kafka refused; those are in the edges' dead-letter files"
        );
    }
    if unreadable > 0 {
        eprintln!("waypost: {unreadable} records are no clicks");
    }
    Ok(out.flush()?)
}

fn count(seen: &Seen<'_>) -> Counts {
    let one = u64::from;
    let orphan = seen.countable_reason == "orphan" || !matches!(&*seen.outcome, "redirected" | "refused_prefetch");
    Counts {
        clicks: 1,
        countable: one(seen.countable),
        duplicate: one(seen.duplicate),
        not_human: one(seen.class != "human"),
        orphan: one(orphan),
        test_link: one(seen.countable_reason == "test_link"),
    }
}

fn key(by: &[By], day: Date, seen: &Seen<'_>) -> Vec<String> {
    by.iter()
        .map(|by| match by {
            By::Day => day.to_string(),
            By::Creator => plain(&seen.creator_id).into_owned(),
            By::Source => plain(&seen.source).into_owned(),
        })
        .collect()
}

fn day_of(at_ms: u64) -> Date {
    Timestamp::from_millisecond(at_ms as i64).unwrap_or_default().to_zoned(TimeZone::UTC).date()
}

/// A UUID's number; another text's hash-like fold, which is as good to tell two apart here.
fn number_of(id: &str) -> u128 {
    let digits = id.chars().filter_map(|c| c.to_digit(16));
    digits.fold(0, |number, digit| number << 4 | u128::from(digit))
}

fn print_table(by: &[By], rows: &BTreeMap<Vec<String>, Counts>, out: &mut impl Write) -> Result<()> {
    let width = |column: usize, name: &str| {
        rows.keys().map(|key| key[column].chars().count()).chain([name.len(), "total".len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = by.iter().enumerate().map(|(column, by)| width(column, by.name())).collect();
    let mut line = |key: &[&str], values: [String; Counts::NAMES.len()]| -> Result<()> {
        for (text, width) in key.iter().zip(&widths) {
            write!(out, "{text:<width$}  ")?;
        }
        for (value, name) in values.iter().zip(Counts::NAMES) {
            write!(out, "{value:>width$}", width = name.len().max(8) + 2)?;
        }
        Ok(writeln!(out)?)
    };
    line(&by.iter().map(|by| by.name()).collect::<Vec<_>>(), Counts::NAMES.map(str::to_owned))?;
    let mut total = Counts::default();
    for (key, counts) in rows {
        total += *counts;
        line(&key.iter().map(String::as_str).collect::<Vec<_>>(), counts.values().map(|value| value.to_string()))?;
    }
    let mut label = vec![""; by.len()];
    if let Some(first) = label.first_mut() {
        *first = "total";
    }
    line(&label, total.values().map(|value| value.to_string()))
}

fn print_json(by: &[By], rows: &BTreeMap<Vec<String>, Counts>, out: &mut impl Write) -> Result<()> {
    for (key, counts) in rows {
        let mut row = serde_json::Map::new();
        for (by, text) in by.iter().zip(key) {
            row.insert(by.name().to_owned(), text.as_str().into());
        }
        for (name, value) in Counts::NAMES.into_iter().zip(counts.values()) {
            row.insert(name.to_owned(), value.into());
        }
        writeln!(out, "{}", serde_json::Value::Object(row))?;
    }
    Ok(())
}
