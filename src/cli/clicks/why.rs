//! `waypost clicks why`: explains one click: what was answered, whether it counts and why, and where its record is.
//!
//! 1. **query**: the argument is a click id, or a token that contains one;
//! 2. **journal_search**: is the click in the journal, and was it delivered? A click that waits there is printed at
//!    once, because the broker that it waits for can take a while to be found unreachable;
//! 3. **search of the sinks**: after the journal, so that a click is found that is delivered in the meantime;
//! 4. **text**, **json**: the result for a person, or as one object.

mod journal_search;
mod json;
mod query;
mod repeated_tap;
mod report;
mod text;
mod verdict;

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

pub(in crate::cli) use self::query::ClickQuery;
use self::report::{ClickLocation, ClickReport, SearchedPlace};
use super::source::{ClickSource, EventRecord, ReadProgress, ReadRange};
use crate::{config::Config, model::click::Topic};

/// How far the clock of an edge may differ from other edges' and the broker's, milliseconds.
const CLOCK_ERROR_MS: u64 = 3_600_000;

/// The flags of `waypost clicks why`.
#[derive(Clone, Debug, clap::Args)]
pub struct WhyArgs {
    /// A click id, or a token that contains one: the value of the cookie, or the token in a destination URL
    #[arg(value_name = "CLICK_ID|TOKEN", value_parser = ClickQuery::parse_click_id_or_token)]
    click: ClickQuery,
    /// Search records written since this time, such as 2026-11-21T10:00:00Z [default: an hour before the click]
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Whether the click was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyOutcome {
    /// In the journal or in a sink.
    Found,
    /// In no place that was searched.
    NotFound,
}

/// Searches the journal and the sinks for a click and prints a report to `out`. A place that cannot be read is named in
/// the report and does not end the search: the click can be elsewhere.
///
/// # Errors
/// `out` cannot be written.
pub fn search_for_click_and_print_report(
    config: &Config,
    args: &WhyArgs,
    now_ms: u64,
    out: &mut impl Write,
) -> Result<WhyOutcome> {
    let ring_file = config.attribution.keyring_path(&config.server.data_dir);
    let mut report = ClickReport::new(args.click.click_id(), args.click.verify_token_if_given(&ring_file, now_ms));
    journal_search::search_journal_and_add_result_to_report(config, &mut report);
    let printed_early = !args.json && report.is_undelivered();
    if printed_early {
        text::print_report_or_places_searched(&report, out)?;
        out.flush()?;
    }
    let since_ms = match args.since {
        Some(since) => u64::try_from(since.as_millisecond()).unwrap_or_default(),
        None => report.click_id.timestamp_ms().saturating_sub(CLOCK_ERROR_MS),
    };
    for sink in list_sinks_to_search(config) {
        search_sink_and_add_matches_to_report(&sink, since_ms, &mut report);
        if report.repeated_tap.is_none() && report.location.is_some() {
            report.repeated_tap = repeated_tap::find_earlier_tap_that_a_double_tap_repeats(&sink, &report);
        }
    }
    if args.json {
        writeln!(out, "{}", json::format_report_as_json(&report))?;
    } else if printed_early && report.is_undelivered() {
        text::print_sinks_not_searched_to_the_end(&report, out)?;
    } else {
        if printed_early {
            writeln!(out, "delivered since then:")?;
        }
        text::print_report_or_places_searched(&report, out)?;
    }
    out.flush()?;
    Ok(if report.event.is_some() { WhyOutcome::Found } else { WhyOutcome::NotFound })
}

/// Both sinks, if both exist: a click is in the sink that was configured when it was delivered.
fn list_sinks_to_search(config: &Config) -> Vec<ClickSource> {
    let dir = config.server.data_dir.join("clicks");
    let mut sinks = Vec::new();
    if dir.is_dir() || !config.kafka.is_enabled() {
        sinks.push(ClickSource::Files(dir));
    }
    if config.kafka.is_enabled() {
        sinks.push(ClickSource::Kafka(Box::new(config.kafka.clone())));
    }
    sinks
}

/// Reads a sink from `since_ms` to its present end, and adds every record of the click to the report.
fn search_sink_and_add_matches_to_report(sink: &ClickSource, since_ms: u64, report: &mut ClickReport) {
    let mut searched = SearchedPlace::sink(sink.describe_directory_or_topics_and_brokers(), since_ms);
    let id = report.click_id_text();
    let finder = memchr::memmem::Finder::new(id.as_bytes());
    let read = sink.visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::Since(since_ms), &mut |progress| {
        let ReadProgress::Record(EventRecord { value, location, .. }) = progress else { return Ok(()) };
        searched.records += 1;
        if finder.find(value).is_some()
            && let Ok(event) = serde_json::from_slice::<Value>(value)
            && event["click_id"] == *id
        {
            report.set_delivered_record_or_add_repeat(event, ClickLocation::from(location));
        }
        Ok(())
    });
    searched.failure = read.err().map(|why| format!("{why:#}"));
    report.searched.push(searched);
}
