//! `waypost clicks audit`: proves from the topics alone that no click is missing, or names the missing clicks.
//!
//! 1. The statements of the lanes are read first, up to the topic's present end: what they state was on the topics
//!    before.
//! 2. Then the clicks are read, up to the present end of their topics (`state`).
//! 3. Every absent number is missing, lost by a power cut, not delivered yet, or unproved (`rule`).

mod day;
#[cfg(test)]
mod model;
mod read;
mod report;
mod rule;
mod seq_set;
mod state;
#[cfg(test)]
mod tests;
mod verdict;

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use anyhow::{Result, bail};
use jiff::Timestamp;

pub(in crate::cli) use self::day::DayAudit;
use self::{read::read_statements_then_clicks, verdict::LaneVerdict};
use super::{source::ClickSource, time_range::check_from_is_not_after_to};

/// The exit code if no click is known to be missing, but not all is proved.
const EXIT_UNPROVED: u8 = 3;

/// The flags of `waypost clicks audit`.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    /// Audit what was delivered since this time, such as 2026-11-21T10:00:00Z [default: all that the topics still hold]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Ignore statements of lanes after this time [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Edges that must have made a statement, separated by commas
    #[arg(long, value_name = "EDGE", value_delimiter = ',')]
    edges: Vec<String>,
    /// Print one JSON object a lane
    #[arg(long)]
    json: bool,
}

/// The result for all lanes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuditOutcome {
    /// Every click is proved to be on its topic.
    Complete,
    /// A delivered click is not on its topic.
    Missing,
    /// No click is known to be missing, but not all is proved.
    Unproved,
}

/// Audits the topics and prints the verdict on every lane to `out`. Exits 0 if all is complete, 1 if a click is
/// missing, 3 if none is missing but not all is proved.
///
/// # Errors
/// The source is not Kafka, it cannot be read, or `out` cannot be written.
pub fn audit_topics_and_print_verdicts(
    source: &ClickSource,
    args: &AuditArgs,
    now_ms: u64,
    out: &mut impl Write,
) -> Result<ExitCode> {
    check_from_is_not_after_to(args.from, args.to)?;
    let ClickSource::Kafka(config) = source else {
        bail!("an audit reads topics: give --kafka HOST:PORT, or set kafka.brokers in the configuration (--config)");
    };
    let ms = |time: Timestamp| u64::try_from(time.as_millisecond()).unwrap_or_default();
    let to_ms = args.to.map_or(now_ms, ms).min(now_ms);
    let state = read_statements_then_clicks(config, args.from.map_or(0, ms), to_ms)?;
    let lanes = state.judge_lanes(to_ms);
    for lane in &lanes {
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string(lane)?)?,
            false => report::print_lane_verdict_as_text(lane, out)?,
        }
    }
    let known: BTreeSet<&str> = state.edges().collect();
    let silent: Vec<&str> = args.edges.iter().map(String::as_str).filter(|edge| !known.contains(edge)).collect();
    print_edges_without_any_record(&silent, args.json, out)?;
    if state.foreign_records > 0 {
        match args.json {
            true => writeln!(out, "{}", serde_json::json!({"strange": state.foreign_records}))?,
            false => writeln!(out, "{} records are not clicks of Waypost and were ignored", state.foreign_records)?,
        }
    }
    let outcome = AuditOutcome::from_lane_verdicts_and_silent_edges(&lanes, &silent);
    if !args.json {
        writeln!(out, "{}", outcome.describe(lanes.is_empty()))?;
    }
    Ok(outcome.exit_code())
}

impl AuditOutcome {
    fn from_lane_verdicts_and_silent_edges(lanes: &[LaneVerdict], silent_edges: &[&str]) -> AuditOutcome {
        if lanes.iter().any(LaneVerdict::has_missing) {
            AuditOutcome::Missing
        } else if lanes.iter().all(LaneVerdict::is_complete) && silent_edges.is_empty() && !lanes.is_empty() {
            AuditOutcome::Complete
        } else {
            AuditOutcome::Unproved
        }
    }

    fn describe(self, no_lanes: bool) -> &'static str {
        match self {
            AuditOutcome::Missing => "MISSING: clicks that were delivered are not on their topic",
            AuditOutcome::Complete => "COMPLETE",
            AuditOutcome::Unproved if no_lanes => "UNPROVED: the topics hold no clicks and no statements",
            AuditOutcome::Unproved => "UNPROVED: no click is known to be missing, but not all is proved",
        }
    }

    fn exit_code(self) -> ExitCode {
        match self {
            AuditOutcome::Missing => ExitCode::FAILURE,
            AuditOutcome::Complete => ExitCode::SUCCESS,
            AuditOutcome::Unproved => ExitCode::from(EXIT_UNPROVED),
        }
    }
}

/// Prints the edges of `--edges` of which nothing was read.
fn print_edges_without_any_record(edges: &[&str], json: bool, out: &mut impl Write) -> Result<()> {
    for edge in edges {
        match json {
            true => writeln!(out, "{}", serde_json::json!({"edge": edge, "silent": true}))?,
            false => writeln!(
                out,
                "edge {edge}: UNPROVED: it has made no statement; check its name (--edges) and whether it delivers"
            )?,
        }
    }
    Ok(())
}
