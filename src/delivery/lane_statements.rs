//! Lane statements: when a lane has to publish one on the topic `clicks.lanes`, and what the statement contains. A
//! reader of the topics proves from them that no click is missing (`deploy/schemas/completeness.md`).
//!
//! Every claim of a statement was true before the statement was sent. So a statement may arrive late, twice, or never:
//! the next one repeats its claims. Each statement lists how earlier epochs ended, because an edge may start many times
//! before one statement gets through.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::lane::LaneProgress;
use crate::{
    events::statement::{EndedEpoch, LaneStatement, SeqRange, StatementKind},
    journal::LaneStatus,
};

/// A lane with progress publishes a statement this often.
const ACTIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A lane without progress does so this often: a reader must know that the lane is still complete.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// The ended epochs in one statement, the latest. Earlier starts have published the older ones.
const MAX_ENDED_EPOCHS: usize = 64;
/// A click gets its time before it is appended; at most so much later.
const APPEND_DELAY_MS: u64 = 1_000;

/// The kind of the statement that the lane has to publish now; `None` if none is due. `is_closing`: no worker appends
/// any more.
pub(super) fn find_due_statement_kind(
    lane: &LaneProgress,
    status: &LaneStatus,
    now: Instant,
    is_closing: bool,
) -> Option<StatementKind> {
    let Some(last) = &lane.last_statement else {
        return Some(if status.epoch_ends.is_empty() { StatementKind::Open } else { StatementKind::Recovered });
    };
    let elapsed = now.duration_since(last.at);
    let progress = last.status != *status || last.delivered != lane.clicks.delivered_watermark();
    match lane.reader.epoch().get() {
        0 if lane.has_stated_drained() => None,
        0 if lane.is_all_delivered() && (!last.may_be_lost || is_closing || elapsed >= ACTIVE_INTERVAL) => {
            Some(StatementKind::Drained)
        }
        1.. if is_closing => {
            let is_stated = last.kind == StatementKind::Closing && !last.may_be_lost;
            (!is_stated).then_some(StatementKind::Closing)
        }
        _ if elapsed >= IDLE_INTERVAL || progress && elapsed >= ACTIVE_INTERVAL => Some(StatementKind::Running),
        _ => None,
    }
}

/// Builds a lane's statement. `topic_name`: the topic's name on the broker.
pub(super) fn build_statement(
    edge: &str,
    topic_name: &str,
    kind: StatementKind,
    lane: &LaneProgress,
    status: &LaneStatus,
    now_ms: u64,
) -> LaneStatement {
    let mut latest: Vec<_> = status.epoch_ends.iter().collect();
    latest.sort_by_key(|end| Reverse(end.epoch));
    latest.truncate(MAX_ENDED_EPOCHS);
    let ended = latest.into_iter().rev().map(|end| EndedEpoch {
        epoch: end.epoch.get(),
        cut: end.cut,
        next_seq: end.next_seq.get(),
    });
    let quarantined = status.quarantined.iter().map(|range| SeqRange {
        epoch: range.epoch.get(),
        from: range.first.get(),
        to: range.end.get(),
    });
    let delivered = lane.clicks.delivered_watermark();
    let mut statement =
        LaneStatement::new(edge, topic_name, lane.reader.lane(), lane.reader.epoch().get(), kind, now_ms);
    statement.unrecorded = status.unrecorded;
    statement.ended = ended.collect();
    statement.next_seq = status.next_seq.get();
    statement.safe = status.durable.into();
    statement.delivered = lane.reader.lower_watermark_to_cut_of_its_epoch(delivered).into();
    statement.quarantined = quarantined.collect();
    statement.quarantined_omitted = status.quarantined_omitted;
    statement.dead_lettered = lane.clicks.dead_letters().latest_ranges().collect();
    statement.complete_to_ms = lane.find_time_before_which_all_is_delivered_ms(now_ms.saturating_sub(APPEND_DELAY_MS));
    statement
}
