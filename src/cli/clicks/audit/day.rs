//! Whether the topics prove that no click of a day is missing: the rule of the audit, applied to a day while the edges
//! serve the next one.
//!
//! A lane holds no click of the day back once its last statement says that everything before the day's end is
//! delivered, or that the lane has closed and everything is delivered.

use anyhow::Result;

use super::{read::read_statements, state::AuditState, verdict::LaneVerdict};
use crate::{
    cli::clicks::{
        source::{EventRecord, RecordLocation},
        text::format_utc_ms,
    },
    kafka::Config,
};

/// How long before a day the statements are read: an edge that has been silent since then is no longer known.
const STATEMENTS_BEFORE_MS: u64 = 23 * 3_600_000;

/// Reads the topics for the completeness of a day.
pub(in crate::cli) struct DayAudit {
    state: AuditState,
    now_ms: u64,
}

impl DayAudit {
    /// Reads the statements of the lanes, before the clicks are read. Times are milliseconds since the epoch.
    ///
    /// # Errors
    /// The topic of statements cannot be read.
    pub(in crate::cli) fn read_statements(config: &Config, day_start_ms: u64, now_ms: u64) -> Result<DayAudit> {
        let from_ms = day_start_ms.saturating_sub(STATEMENTS_BEFORE_MS);
        Ok(DayAudit { state: read_statements(config, from_ms, now_ms)?, now_ms })
    }

    /// Adds a record of a topic of clicks.
    pub(in crate::cli) fn add_click(&mut self, record: &EventRecord<'_>) {
        if let RecordLocation::Kafka { topic, .. } = record.location {
            self.state.add_click_or_count_foreign_record(topic, record.value);
        }
    }

    /// Why it is not proved that every click of the day that ends at `day_end_ms` is on its topic; nothing if it is.
    /// Each of `edges` must have made a statement.
    pub(in crate::cli) fn list_reasons_not_complete(&self, day_end_ms: u64, edges: &[String]) -> Vec<String> {
        let mut reasons = Vec::new();
        let lanes = self.state.judge_lanes(self.now_ms);
        for lane in &lanes {
            let name = format!("edge {} topic {} lane {}", lane.edge, lane.topic, lane.lane);
            if lane.has_missing() {
                reasons.push(format!("{name}: clicks are missing"));
            }
            if let Some(up_to) = self.find_open_end(lane, day_end_ms) {
                reasons.push(format!("{name}: is delivered {up_to}"));
            }
            if has_unproved(lane) {
                reasons.push(format!("{name}: not all is proved; `waypost clicks audit` says what"));
            }
        }
        let is_silent = |edge: &&String| !self.state.edges().any(|known| known == edge.as_str());
        reasons.extend(edges.iter().filter(is_silent).map(|edge| format!("edge {edge}: has made no statement")));
        if lanes.is_empty() {
            reasons.push("the topics hold no clicks and no statements".to_owned());
        }
        reasons
    }

    /// Up to when a lane is delivered, if clicks of the day can still wait on its edge.
    fn find_open_end(&self, lane: &LaneVerdict, day_end_ms: u64) -> Option<String> {
        let last = self.state.find_last_statement(&lane.edge, &lane.topic, lane.lane);
        match last {
            None => None,
            Some(last) if !last.open => (lane.clicks.not_delivered > 0).then(|| "in part".to_owned()),
            Some(last) if last.complete_to_ms.is_some_and(|complete_to_ms| complete_to_ms >= day_end_ms) => None,
            Some(last) => Some(match last.complete_to_ms {
                Some(at_ms) => format!("up to {}", format_utc_ms(at_ms)),
                None => "up to no stated time".to_owned(),
            }),
        }
    }
}

/// Whether something about the lane stays unproved for good: a power loss, a copy, or a lane without statements.
fn has_unproved(lane: &LaneVerdict) -> bool {
    let clicks = &lane.clicks;
    !lane.forked.is_empty() || !lane.cut.is_empty() || !clicks.lost_by_cut.is_empty() || clicks.unproved > 0
}
