//! `waypost clicks stats`: counts clicks by creator, source and day.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    ops::AddAssign,
};

use anyhow::Result;
use jiff::civil::Date;

use super::{
    day_range::utc_day,
    event::ClickEvent,
    source::{ClickSource, ReadProgress, ReadRange},
    text::escape_for_terminal_or_dash,
    time_range::check_from_is_not_after_to,
};
use crate::model::click::Topic;

/// The flags of `waypost clicks stats`.
#[derive(Clone, Debug, clap::Args)]
pub struct StatsArgs {
    /// First day (UTC), such as 2026-11-21
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// Last day (UTC)
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// Group by these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = GroupBy::ALL)]
    pub by: Vec<GroupBy>,
    /// Print one JSON object a row
    #[arg(long)]
    pub json: bool,
}

/// What clicks are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// Day of the click, UTC
    Day,
    /// Creator of the link
    Creator,
    /// Platform that the click came from
    Source,
}

impl GroupBy {
    const ALL: [GroupBy; 3] = [GroupBy::Day, GroupBy::Creator, GroupBy::Source];

    const fn column_name(self) -> &'static str {
        match self {
            GroupBy::Day => "day",
            GroupBy::Creator => "creator",
            GroupBy::Source => "source",
        }
    }
}

/// The counts of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowCounts {
    /// Distinct click ids.
    clicks: u64,
    /// First taps of people on live links that are no test links.
    countable: u64,
    /// Repeated taps that do not count.
    duplicate: u64,
    /// Bots, previews, prefetches, probes, HEAD requests and non-navigations.
    not_human: u64,
    /// Unknown, expired, disabled and not yet started codes.
    orphan: u64,
    /// Taps of people on test links, which would count on another link.
    test_link: u64,
}

impl RowCounts {
    const NAMES: [&str; 6] = ["clicks", "countable", "duplicate", "not_human", "orphan", "test_link"];

    /// The counts of a single click.
    fn counts_of_one_click(click: &ClickEvent<'_>) -> RowCounts {
        let one_if = u64::from;
        let live = matches!(&*click.outcome, "redirected" | "refused_prefetch");
        RowCounts {
            clicks: 1,
            countable: one_if(click.countable),
            duplicate: one_if(click.duplicate && !click.countable),
            not_human: one_if(click.class != "human"),
            orphan: one_if(click.countable_reason == "orphan" || !live),
            test_link: one_if(click.countable_reason == "test_link"),
        }
    }

    /// The counts in the order of [`RowCounts::NAMES`].
    const fn values(&self) -> [u64; RowCounts::NAMES.len()] {
        [self.clicks, self.countable, self.duplicate, self.not_human, self.orphan, self.test_link]
    }
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, other: RowCounts) {
        self.clicks += other.clicks;
        self.countable += other.countable;
        self.duplicate += other.duplicate;
        self.not_human += other.not_human;
        self.orphan += other.orphan;
        self.test_link += other.test_link;
    }
}

/// Rows by their group.
type Rows = BTreeMap<Vec<String>, RowCounts>;

/// The rows, and the records that are in no row.
#[derive(Default)]
struct ClickStatistics {
    rows: Rows,
    /// Events with a click id that was counted before.
    repeated: u64,
    stubs: u64,
    unreadable: u64,
    /// The click ids counted so far, as numbers.
    seen_ids: HashSet<u128, foldhash::fast::RandomState>,
}

/// Reads every click of the source and prints the counts to `out`. Each click id counts once, at its first event:
/// delivery to Kafka is at least once. Takes about 16 bytes of memory for each click.
///
/// # Errors
/// As [`super::print_latest_clicks_and_follow_if_asked`].
pub fn count_clicks_by_group_and_print(source: &ClickSource, args: &StatsArgs, out: &mut impl Write) -> Result<()> {
    check_from_is_not_after_to(args.from, args.to)?;
    let mut statistics = ClickStatistics::default();
    source.visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::All, &mut |progress| {
        if let ReadProgress::Record(record) = progress {
            statistics.classify_and_count_record(record.value, args);
        }
        Ok(())
    })?;
    let ClickStatistics { rows, repeated, stubs, unreadable, .. } = statistics;
    if args.json {
        print_counts_as_json_lines(&args.by, &rows, out)?
    } else {
        print_table_of_counts_with_total(&args.by, &rows, out)?
    }
    if repeated > 0 && !args.json {
        writeln!(out, "{repeated} more events with a click id that was counted already")?;
    }
    if stubs > 0 {
        eprintln!(
            "waypost: {stubs} records are stubs of clicks that Kafka refused; those clicks are in the dead-letter \
             files \
             of their edges"
        );
    }
    if unreadable > 0 {
        eprintln!("waypost: {unreadable} records are not clicks");
    }
    Ok(out.flush()?)
}

impl ClickStatistics {
    fn classify_and_count_record(&mut self, value: &[u8], args: &StatsArgs) {
        match ClickEvent::parse(value).filter(|click| !click.click_id.is_empty()) {
            None => self.unreadable += 1,
            // The id of a stub is not remembered: the click itself can follow, and replaces the stub.
            Some(event) if event.is_stub() => self.stubs += 1,
            Some(click) if !self.seen_ids.insert(id_as_number(&click.click_id)) => self.repeated += 1,
            Some(click) => {
                let day = utc_day(click.clicked_at_ms);
                if args.from.is_none_or(|from| day >= from) && args.to.is_none_or(|to| day <= to) {
                    *self.rows.entry(format_group_columns(&args.by, day, &click)).or_default() +=
                        RowCounts::counts_of_one_click(&click);
                }
            }
        }
    }
}

fn format_group_columns(by: &[GroupBy], day: Date, click: &ClickEvent<'_>) -> Vec<String> {
    by.iter()
        .map(|by| match by {
            GroupBy::Day => day.to_string(),
            GroupBy::Creator => escape_for_terminal_or_dash(&click.creator_id).into_owned(),
            GroupBy::Source => escape_for_terminal_or_dash(&click.source).into_owned(),
        })
        .collect()
}

/// The number that a UUID writes in hexadecimal. Any other text gives a number too, which is enough to tell two ids
/// apart.
fn id_as_number(id: &str) -> u128 {
    let digits = id.chars().filter_map(|c| c.to_digit(16));
    digits.fold(0, |number, digit| number << 4 | u128::from(digit))
}

fn print_table_of_counts_with_total(by: &[GroupBy], rows: &Rows, out: &mut impl Write) -> Result<()> {
    let width = |column: usize, name: &str| {
        rows.keys()
            .map(|group| group[column].chars().count())
            .chain([name.len(), "total".len()])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = by.iter().enumerate().map(|(column, by)| width(column, by.column_name())).collect();
    let mut print_line = |group: &[&str], values: [String; RowCounts::NAMES.len()]| -> Result<()> {
        for (text, width) in group.iter().zip(&widths) {
            write!(out, "{text:<width$}  ")?;
        }
        for (value, name) in values.iter().zip(RowCounts::NAMES) {
            write!(out, "{value:>width$}", width = name.len().max(8) + 2)?;
        }
        Ok(writeln!(out)?)
    };
    print_line(&by.iter().map(|by| by.column_name()).collect::<Vec<_>>(), RowCounts::NAMES.map(str::to_owned))?;
    let mut total = RowCounts::default();
    for (group, counts) in rows {
        total += *counts;
        print_line(
            &group.iter().map(String::as_str).collect::<Vec<_>>(),
            counts.values().map(|value| value.to_string()),
        )?;
    }
    let mut total_group = vec![""; by.len()];
    if let Some(first) = total_group.first_mut() {
        *first = "total";
    }
    print_line(&total_group, total.values().map(|value| value.to_string()))
}

fn print_counts_as_json_lines(by: &[GroupBy], rows: &Rows, out: &mut impl Write) -> Result<()> {
    for (group, counts) in rows {
        let mut row = serde_json::Map::new();
        for (by, text) in by.iter().zip(group) {
            row.insert(by.column_name().to_owned(), text.as_str().into());
        }
        for (name, value) in RowCounts::NAMES.into_iter().zip(counts.values()) {
            row.insert(name.to_owned(), value.into());
        }
        writeln!(out, "{}", serde_json::Value::Object(row))?;
    }
    Ok(())
}
