//! Counts the clicks and order lines of creators' days.

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use jiff::civil::Date;
use serde::Deserialize;

use crate::{
    cli::{
        attribute::{ClickInput, ProgrammeArgs, clawed_back_minor, read_records_that_orders_can_name},
        click_source_args::ClickSourceArgs,
        clicks::{
            ClickSource, EventRecord,
            click_lines::{build_line_with_arrival, choose_standing_line},
            day_range::utc_day,
            record_sorter::RecordSorter,
        },
    },
    commission::{LineRow, group_versions_into_orders},
    receipts::{ClickLeaf, CountedDay, LineLeaf},
};

/// The flags for the order lines that clicks earned.
#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// Versions of orders, one JSON object a line, as `waypost attribute` takes them: states the lines that the clicks
    /// earned
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    #[command(flatten)]
    pub(super) programme: ProgrammeArgs,
}

/// An order line that a click earned.
#[derive(Debug)]
pub(super) struct EarnedLine {
    leaf: LineLeaf,
    /// The day of a click without a record, by its token. A click with a record has the day of its record.
    token_only_day: Option<Date>,
}

/// Order lines by creator; `None` if no orders were given.
pub(super) type EarnedLines = Option<BTreeMap<String, Vec<EarnedLine>>>;

impl OrderArgs {
    /// Credits the orders as of `as_of_ms`, milliseconds since the epoch.
    ///
    /// # Errors
    /// An input cannot be read or is bad; the text names file and line.
    pub(super) fn credit_lines(
        &self,
        source_args: &ClickSourceArgs,
        source: &ClickSource,
        as_of_ms: u64,
    ) -> Result<EarnedLines> {
        let Some(path) = &self.orders else { return Ok(None) };
        let inputs = self.programme.read_inputs(as_of_ms)?;
        let versions = self.programme.read_order_versions(path, source_args)?;
        let records = read_records_that_orders_can_name(&ClickInput::Source(source.clone()), &versions)?;
        let programme = inputs.programme(&records);
        let mut lines: BTreeMap<String, Vec<EarnedLine>> = BTreeMap::new();
        for order in group_versions_into_orders(&versions) {
            for row in programme.credit_order(order).rows {
                if let Some((creator, line)) = build_earned_line(&row) {
                    lines.entry(creator.to_owned()).or_default().push(line);
                }
            }
        }
        Ok(Some(lines))
    }
}

fn build_earned_line<'a>(row: &LineRow<'a>) -> Option<(&'a str, EarnedLine)> {
    let credit = row.credit.as_ref()?;
    let leaf = LineLeaf {
        clawed_back_minor: clawed_back_minor(row),
        click_id: credit.click_id.to_owned(),
        commission_minor: row.commission_minor,
        currency: row.currency.to_owned(),
        kept_quantity: credit.kept_quantity,
        line_id: row.line_id.to_owned(),
        order_id: row.order_id.to_owned(),
        product_id: row.product_id.to_owned(),
        quantity: row.quantity,
        rate_bp: credit.rate_bp,
        reason: row.reason.as_str().to_owned(),
        state: row.state.as_str().to_owned(),
        value_minor: row.value_minor,
    };
    let token_only_day = credit.is_token_only().then(|| utc_day(credit.clicked_at_ms));
    Some((credit.creator_id, EarnedLine { leaf, token_only_day }))
}

/// The fields of an event that a receipt needs. A text that the event lacks is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CountedClick<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    click_id: Cow<'a, str>,
    clicked_at_ms: u64,
    #[serde(borrow)]
    creator_id: Cow<'a, str>,
    #[serde(borrow)]
    class: Cow<'a, str>,
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    domain: Cow<'a, str>,
    countable: bool,
    #[serde(borrow)]
    countable_reason: Cow<'a, str>,
}

impl CountedClick<'_> {
    fn to_leaf(&self) -> ClickLeaf {
        ClickLeaf {
            class: self.class.to_string(),
            click_id: self.click_id.to_string(),
            clicked_at_ms: self.clicked_at_ms,
            code: self.code.to_string(),
            countable: self.countable,
            countable_reason: self.countable_reason.to_string(),
            domain: self.domain.to_string(),
        }
    }
}

/// Collects the clicks of a day, by creator. Holds as much memory as [`RecordSorter`], and the leaves of one creator.
pub(super) struct DayCounter {
    day: Date,
    /// `None`: every creator.
    creator: Option<String>,
    sorter: RecordSorter,
}

impl DayCounter {
    pub(super) fn new(day: Date, creator: Option<String>) -> DayCounter {
        DayCounter { day, creator, sorter: RecordSorter::new(&std::env::temp_dir()) }
    }

    /// Adds a record if it is a click of the day and of a creator asked for.
    ///
    /// # Errors
    /// The temporary files cannot be written.
    pub(super) fn add_record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let Ok(click) = serde_json::from_slice::<CountedClick<'_>>(record.value) else { return Ok(()) };
        let is_of_creator = match &self.creator {
            Some(creator) => click.creator_id == *creator,
            None => !click.creator_id.is_empty(),
        };
        if click.event_type != "click" || click.click_id.is_empty() || !is_of_creator {
            return Ok(());
        }
        if utc_day(click.clicked_at_ms) != self.day {
            return Ok(());
        }
        let Ok(line) = build_line_with_arrival(record.value, record.shipped_ms) else { return Ok(()) };
        // No text of an event has a zero byte before its end: creators' ids are texts of a links file.
        self.sorter.add(&[click.creator_id.as_bytes(), click.click_id.as_bytes()].join(&0), &line)
    }

    /// Calls `visit` with the day of each creator who has a click or an order line, and of the creator asked for.
    ///
    /// # Errors
    /// A temporary file cannot be read, or `visit` fails.
    pub(super) fn visit_creators(
        self,
        mut earned: EarnedLines,
        visit: &mut dyn FnMut(&str, CountedDay) -> Result<()>,
    ) -> Result<()> {
        let (day, wanted) = (self.day, self.creator);
        let (mut days, mut has_visited_wanted) = (BTreeMap::new(), false);
        self.sorter.visit_records_of_each_key(&mut |records| {
            let Some(line) = choose_standing_line(records.iter().map(|record| &*record.value)) else { return Ok(()) };
            let click: CountedClick<'_> = serde_json::from_slice(line)?;
            let creator = click.creator_id.to_string();
            days.entry(creator).or_insert_with(Vec::new).push(click.to_leaf());
            // Creators come in their order: all but the last are complete.
            while days.len() > 1 {
                let Some((creator, clicks)) = days.pop_first() else { break };
                visit_creator(&creator, day, clicks, &mut earned, visit)?;
            }
            Ok(())
        })?;
        for (creator, clicks) in days {
            has_visited_wanted = true;
            visit_creator(&creator, day, clicks, &mut earned, visit)?;
        }
        // Creators without a click that has a record: who have lines by tokens alone, or who were asked for.
        let is_of_day = |line: &EarnedLine| line.token_only_day == Some(day);
        let has_line_of_day = |(_, lines): &(&String, &Vec<EarnedLine>)| lines.iter().any(is_of_day);
        let mut rest: Vec<String> =
            earned.iter().flatten().filter(has_line_of_day).map(|(creator, _)| creator.clone()).collect();
        if let Some(wanted) = wanted {
            rest = if has_visited_wanted { Vec::new() } else { vec![wanted] };
        }
        for creator in rest {
            visit_creator(&creator, day, Vec::new(), &mut earned, visit)?;
        }
        Ok(())
    }
}

fn visit_creator(
    creator: &str,
    day: Date,
    clicks: Vec<ClickLeaf>,
    earned: &mut EarnedLines,
    visit: &mut dyn FnMut(&str, CountedDay) -> Result<()>,
) -> Result<()> {
    // A line belongs to the day that has its click. The clicks are sorted, as they were visited.
    let lines = earned.as_mut().map(|earned| {
        let lines = earned.remove(creator).unwrap_or_default().into_iter();
        let is_of_day = |line: &EarnedLine| match line.token_only_day {
            Some(token_day) => token_day == day,
            None => clicks.binary_search_by(|click| click.click_id.cmp(&line.leaf.click_id)).is_ok(),
        };
        lines.filter(is_of_day).map(|line| line.leaf).collect()
    });
    visit(creator, CountedDay::new(clicks, lines))
}

/// The creator and the day of a click, by the record that stands.
pub(super) struct ClickOwner {
    pub(super) creator_id: String,
    pub(super) day: Date,
}

/// Finds the owner of a click among the lines of its records.
///
/// # Errors
/// There is no record, or its link has no creator.
pub(super) fn find_owner(click_id: &str, lines: &[Vec<u8>]) -> Result<ClickOwner> {
    let Some(line) = choose_standing_line(lines.iter().map(Vec::as_slice)) else {
        bail!(
            "no record of click {click_id} was found; `waypost clicks why {click_id}` says where it is, and \
             `waypost clicks audit` whether clicks are missing"
        );
    };
    let click: CountedClick<'_> = serde_json::from_slice(line)?;
    if click.creator_id.is_empty() {
        bail!(
            "click {click_id} is on code {:?} of {:?}, which had no link with a creator: it is on no receipt",
            click.code,
            click.domain
        );
    }
    Ok(ClickOwner { creator_id: click.creator_id.to_string(), day: utc_day(click.clicked_at_ms) })
}
