//! `waypost clicks audit`: whether a click is missing, proved from the topics alone.
//!
//! 1. What lanes say of themselves is read first, up to where it ends now: whatever they claim was on the topics before.
//! 2. Then the clicks, up to where they end now.
//! 3. **judge**: what is absent is missing, lost with a machine's power, not shipped yet, or unproved. **ranges** keeps what was seen.

mod judge;
#[cfg(test)]
mod model;
mod ranges;

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use anyhow::{Result, bail};
use jiff::{Timestamp, tz::TimeZone};

use self::judge::{Found, LaneFound, Ledger};
use super::source::{At, Range, Source, oldest_ms, read_kafka};
use crate::kafka::Config;

/// Clicks are written within this time of their own, and edges' clocks differ by less, milliseconds.
const SPREAD_MS: u64 = 3_600_000;
/// Nothing is missing, but not all of it is proved.
const UNPROVED: u8 = 3;
/// Spans named of each kind, lane and topic; more are counted.
const NAMED: usize = 10;

/// The flags of `waypost clicks audit`.
#[derive(Clone, Debug, clap::Args)]
pub struct Audit {
    /// Judge what was delivered since then (such as 2026-11-21T10:00:00Z) [default: all that the topics still have]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Judge what lanes said until then [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// The edges that must have spoken, with commas
    #[arg(long, value_name = "EDGE", value_delimiter = ',')]
    edges: Vec<String>,
    /// One JSON object a lane
    #[arg(long)]
    json: bool,
}

/// Prints the verdict on every lane to `out`; exit 0 complete, 1 clicks are missing, 3 none is missing but not all is proved.
/// Called by `cli`.
///
/// # Errors
/// Clicks are not on Kafka, it cannot be read, or `out` cannot be written.
pub fn audit(source: &Source, flags: &Audit, now_ms: u64, out: &mut impl Write) -> Result<ExitCode> {
    let Source::Kafka(config) = source else {
        bail!("an audit reads the topics: give --kafka HOST:PORT, or set kafka.brokers in the configuration");
    };
    let ms = |time: Timestamp| u64::try_from(time.as_millisecond()).unwrap_or_default();
    let to_ms = flags.to.map_or(now_ms, ms).min(now_ms);
    let ledger = read(config, flags.from.map_or(0, ms), to_ms)?;
    let lanes = ledger.judge(to_ms);
    for lane in &lanes {
        if flags.json {
            writeln!(out, "{}", serde_json::to_string(lane)?)?;
        } else {
            tell(lane, out)?;
        }
    }
    let spoke: BTreeSet<&str> = ledger.edges().collect();
    let silent: Vec<&str> = flags.edges.iter().map(String::as_str).filter(|edge| !spoke.contains(edge)).collect();
    for edge in &silent {
        match flags.json {
            true => writeln!(out, "{}", serde_json::json!({"edge": edge, "silent": true}))?,
            false => writeln!(out, "edge {edge}: UNPROVED: it never spoke; is it named right, and does it ship?")?,
        }
    }
    if ledger.strange > 0 {
        match flags.json {
            true => writeln!(out, "{}", serde_json::json!({"strange": ledger.strange}))?,
            false => writeln!(out, "{} records are no clicks of Waypost and were left out", ledger.strange)?,
        }
    }
    let missing = lanes.iter().any(LaneFound::missing);
    let complete = lanes.iter().all(LaneFound::complete) && silent.is_empty() && !lanes.is_empty();
    if !flags.json {
        let verdict = match (missing, complete) {
            (true, _) => "MISSING: clicks that were delivered are not on their topic",
            (false, true) => "COMPLETE",
            (false, false) if lanes.is_empty() => "UNPROVED: the topics hold no clicks and no statements",
            (false, false) => "UNPROVED: no click is known to be missing, but not all is proved",
        };
        writeln!(out, "{verdict}")?;
    }
    Ok(match (missing, complete) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(UNPROVED),
    })
}

fn read(config: &Config, from_ms: u64, to_ms: u64) -> Result<Ledger> {
    let since_ms = from_ms.max(oldest_ms(config, &config.topics())?);
    let range = if from_ms > 0 { Range::Since(from_ms.saturating_sub(SPREAD_MS)) } else { Range::All };
    let mut ledger = Ledger::new(since_ms);
    read_kafka(config, &[&config.lanes], range, &mut |record| {
        // What is not a statement of ours proves nothing.
        let said = record.and_then(|record| serde_json::from_slice(record.value).ok());
        said.into_iter().for_each(|said| ledger.statement(said, to_ms));
        Ok(())
    })?;
    read_kafka(config, &config.topics(), range, &mut |record| {
        let Some(record) = record else { return Ok(()) };
        let At::Kafka { topic, .. } = record.at else { return Ok(()) };
        match serde_json::from_slice(record.value) {
            Ok(click) => ledger.click(topic, &click),
            Err(_) => ledger.strange += 1,
        }
        Ok(())
    })?;
    Ok(ledger)
}

fn tell(lane: &LaneFound, out: &mut impl Write) -> Result<()> {
    let verdict = match (lane.missing(), lane.complete()) {
        (true, _) => "MISSING",
        (false, true) => "COMPLETE",
        (false, false) => "UNPROVED",
    };
    let up_to = lane.complete_to_ms.map_or("no time is stated".to_owned(), |ms| format!("up to {}", time(ms)));
    writeln!(out, "edge {} lane {}: {verdict}, {up_to}", lane.edge, lane.lane)?;
    for (topic, found) in &lane.topics {
        let Found { present, repeats, dead_lettered, quarantined, not_shipped, unproved, .. } = found;
        write!(out, "  {topic}: {present} clicks, {repeats} repeats, {dead_lettered} dead-lettered, ")?;
        writeln!(out, "{quarantined} quarantined, {not_shipped} not shipped yet, {unproved} unproved")?;
        for (what, spans) in [("missing", &found.missing), ("lost by power cut", &found.lost_by_cut)] {
            for span in spans.iter().take(NAMED) {
                writeln!(out, "    {what}: epoch {} seq {} to {}", span.epoch, span.from, span.to - 1)?;
            }
            if spans.len() > NAMED {
                writeln!(out, "    {what}: {} more ranges", spans.len() - NAMED)?;
            }
        }
    }
    if lane.unrecorded > 0 {
        writeln!(out, "  {} clicks were answered without a record: there was no room for them", lane.unrecorded)?;
    }
    for epoch in &lane.forked {
        writeln!(out, "  epoch {epoch} was never closed: a copy of its directory ran, or statements are gone")?;
    }
    for (epoch, said) in &lane.cut {
        let since = said.map_or("its begin".to_owned(), time);
        writeln!(
            out,
            "  epoch {epoch} was cut by a power loss: clicks answered after {since} may be gone without a trace"
        )?;
    }
    if let Some(since) = lane.silent_since_ms {
        writeln!(out, "  silent since {}, without a last word", time(since))?;
    }
    Ok(())
}

fn time(ms: u64) -> String {
    let at = Timestamp::from_millisecond(ms as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
    at.strftime("%F %T%.3fZ").to_string()
}
