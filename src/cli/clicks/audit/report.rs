//! The result of an audit as text and as JSON lines.

use std::io::Write;

use anyhow::Result;

use super::verdict::{ClickCounts, LaneVerdict};
use crate::{cli::clicks::text::format_utc_ms, events::statement::SeqRange};

/// Ranges printed for each kind and lane. Further ranges are counted.
const MAX_PRINTED_RANGES: usize = 10;

/// Prints a lane's verdict as text, with a line for its clicks and for each thing that is not proved.
pub(super) fn print_lane_verdict_as_text(lane: &LaneVerdict, out: &mut impl Write) -> Result<()> {
    let verdict = match (lane.has_missing(), lane.is_complete()) {
        (true, _) => "MISSING",
        (false, true) => "COMPLETE",
        (false, false) => "UNPROVED",
    };
    let up_to = match lane.complete_to_ms {
        Some(ms) => format!("up to {}", format_utc_ms(ms)),
        None => "up to no stated time".to_owned(),
    };
    writeln!(out, "edge {} topic {} lane {}: {verdict}, {up_to}", lane.edge, lane.topic, lane.lane)?;
    print_click_counts_and_missing_ranges(&lane.clicks, out)?;
    print_reasons_unproved_and_unrecorded_count(lane, out)
}

fn print_click_counts_and_missing_ranges(clicks: &ClickCounts, out: &mut impl Write) -> Result<()> {
    let ClickCounts { present, repeats, dead_lettered, quarantined, not_delivered, unproved, .. } = clicks;
    write!(out, "  {present} clicks, {repeats} repeats, {dead_lettered} dead-lettered, ")?;
    writeln!(out, "{quarantined} quarantined, {not_delivered} not delivered yet, {unproved} unproved")?;
    print_first_ranges_and_count_of_rest("missing", &clicks.missing, out)?;
    print_first_ranges_and_count_of_rest("lost by power cut", &clicks.lost_by_cut, out)
}

fn print_first_ranges_and_count_of_rest(label: &str, ranges: &[SeqRange], out: &mut impl Write) -> Result<()> {
    for SeqRange { epoch, from, to } in ranges.iter().take(MAX_PRINTED_RANGES) {
        writeln!(out, "    {label}: epoch {epoch} seq {from} to {}", to - 1)?;
    }
    if ranges.len() > MAX_PRINTED_RANGES {
        writeln!(out, "    {label}: {} more ranges", ranges.len() - MAX_PRINTED_RANGES)?;
    }
    Ok(())
}

/// Prints why a lane is not proved to be complete, and how many clicks it answered without a record.
fn print_reasons_unproved_and_unrecorded_count(lane: &LaneVerdict, out: &mut impl Write) -> Result<()> {
    if lane.unrecorded > 0 {
        writeln!(out, "  {} clicks were answered without a record, because the journal was full", lane.unrecorded)?;
    }
    for epoch in &lane.forked {
        writeln!(
            out,
            "  epoch {epoch} has no stated end: a copy of the data directory ran, or statements are gone from the topic"
        )?;
    }
    for (epoch, last_statement_ms) in &lane.cut {
        let since = last_statement_ms.map_or("its start".to_owned(), format_utc_ms);
        writeln!(
            out,
            "  epoch {epoch} was cut by a power loss: clicks answered after {since} can be lost without a trace"
        )?;
    }
    if let Some(since) = lane.silent_since_ms {
        writeln!(out, "  no statement since {}, and the last one did not close the lane", format_utc_ms(since))?;
    }
    Ok(())
}
