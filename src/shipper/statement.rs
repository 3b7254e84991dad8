//! What each lane says of itself on the topic `clicks.lanes`, so that whoever reads the topics can prove that no click is
//! missing (`deploy/schemas/lane.v1.schema.json`; how to judge by it: `deploy/schemas/completeness.md`).
//!
//! All that a statement claims was true before it was sent, so it may come late, twice or not at all: the next one says as much
//! and more. How earlier epochs ended is said in every one, for an edge may start many times before one gets through.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::lane::{LaneState, TOPICS};
use crate::{
    journal::{Mark, Standing},
    model::click::Topic,
};

/// A lane that changed says so at least this often.
const EVERY: Duration = Duration::from_secs(1);
/// One that did not, too: whoever reads must know that it still is complete.
const IDLE_EVERY: Duration = Duration::from_secs(10);
/// Ends of epochs said in one statement; older ones were said by the starts before.
const ENDS: usize = 64;
/// A click gets its time before it is appended; this much lies between the two at the most.
const UNDER_WAY_MS: u64 = 1_000;

/// On what occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lane's first epoch.
    Open,
    /// An epoch behind another one; of a lane without a worker: it is drained from now on.
    Recovered,
    /// It takes clicks.
    Running,
    /// A lane without a worker: all of it is delivered.
    Drained,
    /// Nothing more is appended in this epoch.
    Closing,
}

impl Kind {
    /// Whether it is a lane's first word.
    pub(super) const fn begins(self) -> bool {
        matches!(self, Kind::Open | Kind::Recovered)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Kind::Open => "open",
            Kind::Recovered => "recovered",
            Kind::Running => "running",
            Kind::Drained => "drained",
            Kind::Closing => "closing",
        }
    }
}

/// The occasion on which the lane has something to say now, if it has. `closing`: no worker appends any more.
pub(super) fn due(lane: &LaneState, standing: &Standing, now: Instant, closing: bool) -> Option<Kind> {
    let Some(last) = &lane.said else {
        return Some(if standing.ended.is_empty() { Kind::Open } else { Kind::Recovered });
    };
    let since = now.duration_since(last.at);
    let changed = last.standing != *standing || last.delivered != lane.tracks.each_ref().map(|track| track.delivered());
    match lane.reader.epoch() {
        0 if last.drained => None,
        0 if lane.done() => Some(Kind::Drained),
        1.. if closing => Some(Kind::Closing),
        _ if since >= IDLE_EVERY || changed && since >= EVERY => Some(Kind::Running),
        _ => None,
    }
}

/// The statement, as JSON. `names`: the topics as they are called on the broker.
pub(super) fn statement(
    (edge, names): (&str, [&str; TOPICS]),
    kind: Kind,
    lane: &LaneState,
    standing: &Standing,
    now_ms: u64,
) -> Value {
    let mut ended: Vec<_> = standing.ended.iter().collect();
    ended.sort_by_key(|end| Reverse(end.epoch));
    ended.truncate(ENDS);
    let ended: Vec<Value> = ended
        .into_iter()
        .rev()
        .map(|end| json!({"epoch": end.epoch, "cut": end.cut, "next_seq": by_topic(names, |topic| json!(end.next[topic]))}))
        .collect();
    json!({
        "type": "lane",
        "schema_version": 1,
        "edge": edge,
        "lane": lane.reader.lane(),
        "epoch": lane.reader.epoch(),
        "kind": kind.as_str(),
        "at_ms": now_ms,
        "unrecorded": standing.unrecorded,
        "ended": ended,
        "topics": by_topic(names, |topic| stands(topic, lane, standing, now_ms)),
    })
}

fn stands(topic: usize, lane: &LaneState, standing: &Standing, now_ms: u64) -> Value {
    let range = |(epoch, from, to): (u64, u64, u64)| json!({"epoch": epoch, "from": from, "to": to});
    let quarantined: Vec<Value> = standing.quarantined[topic].iter().copied().map(range).collect();
    let dead_lettered: Vec<Value> = lane.tracks[topic].dead().ranges().map(range).collect();
    let mut stands = json!({
        "next_seq": standing.appended[topic],
        "safe": mark(standing.safe[topic]),
        "delivered": mark(lane.reader.true_of(topic as u8, lane.tracks[topic].delivered())),
        "quarantined": quarantined,
        "dead_lettered": dead_lettered,
    });
    if let Some(complete_to) = lane.complete_to_ms(Topic::ALL[topic], now_ms.saturating_sub(UNDER_WAY_MS)) {
        stands["complete_to_ms"] = json!(complete_to);
    }
    stands
}

fn mark(mark: Mark) -> Value {
    json!({"epoch": mark.epoch, "next": mark.next})
}

fn by_topic(names: [&str; TOPICS], value: impl Fn(usize) -> Value) -> Value {
    Value::Object(names.iter().enumerate().map(|(topic, name)| ((*name).to_owned(), value(topic))).collect())
}
