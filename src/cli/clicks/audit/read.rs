//! Reads what an audit judges: first the statements of the lanes, then the clicks.

use anyhow::Result;

use super::state::AuditState;
use crate::{
    cli::clicks::source::{ReadProgress, ReadRange, RecordLocation, kafka},
    kafka::Config,
};

/// The longest time between a click and its record, and between the clocks of two edges, milliseconds.
const CLOCK_SPREAD_MS: u64 = 3_600_000;

/// Reads the statements up to `to_ms`, then the clicks. Clicks delivered before `from_ms` are not judged.
///
/// # Errors
/// A topic cannot be read.
pub(super) fn read_statements_then_clicks(config: &Config, from_ms: u64, to_ms: u64) -> Result<AuditState> {
    let mut state = read_statements(config, from_ms, to_ms)?;
    let range = range_since(from_ms);
    kafka::visit_topics_and_follow_if_asked(config, &config.topics.click_topics(), range, &mut |progress| {
        if let ReadProgress::Record(record) = progress
            && let RecordLocation::Kafka { topic, .. } = record.location
        {
            state.add_click_or_count_foreign_record(topic, record.value);
        }
        Ok(())
    })?;
    Ok(state)
}

/// Reads the statements up to `to_ms`. Clicks delivered before `from_ms` will not be judged.
///
/// # Errors
/// A topic cannot be read.
pub(super) fn read_statements(config: &Config, from_ms: u64, to_ms: u64) -> Result<AuditState> {
    let since_ms = from_ms.max(kafka::find_latest_retention_start_ms_or_zero(config, &config.topics.click_topics())?);
    let mut state = AuditState::new(since_ms);
    kafka::visit_topics_and_follow_if_asked(config, &[&config.topics.lanes], range_since(from_ms), &mut |progress| {
        // A record that is not a statement proves nothing.
        if let ReadProgress::Record(record) = progress
            && let Ok(statement) = serde_json::from_slice(record.value)
        {
            state.add_statement_unless_made_after(statement, to_ms);
        }
        Ok(())
    })?;
    Ok(state)
}

/// The records that can be about clicks delivered since `from_ms`; 0 means all.
const fn range_since(from_ms: u64) -> ReadRange {
    match from_ms {
        0 => ReadRange::All,
        _ => ReadRange::Since(from_ms.saturating_sub(CLOCK_SPREAD_MS)),
    }
}
