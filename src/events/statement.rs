//! The lane statement: the record in which a lane reports its own progress on the topic `clicks.lanes`
//! (`deploy/schemas/lane.v1.schema.json`). `delivery` writes it, and `waypost clicks audit` reads it to prove that no
//! click is missing (`deploy/schemas/completeness.md`).

use serde::{Deserialize, Serialize};

use crate::journal::{self, Epoch, Seq};

/// The value of the field `type`.
const RECORD_TYPE: &str = "lane";
/// The value of the field `schema_version`.
const SCHEMA_VERSION: u32 = 1;

/// One statement of one lane. Every claim was true before the statement was sent, so it may arrive late, twice, or
/// never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatement {
    /// Always `lane`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Always 1.
    pub schema_version: u32,
    /// The edge's name, as in its clicks.
    pub edge: String,
    /// The topic whose clicks the lane carries, by its name on the broker.
    pub topic: String,
    /// The lane's number among the edge's lanes of this topic.
    pub lane: u16,
    /// The epoch in which the lane's worker appends; 0 for a lane that only delivers what an earlier run left.
    pub epoch: u64,
    /// The occasion.
    pub kind: StatementKind,
    /// When the statement was made: Unix milliseconds by the edge's clock.
    pub at_ms: u64,
    /// Clicks of this epoch that were answered while the journal had no room: they have no seq. Absent in early builds.
    #[serde(default)]
    pub unrecorded: u64,
    /// How earlier epochs ended, oldest first.
    pub ended: Vec<EndedEpoch>,
    /// The next seq of the statement's epoch.
    pub next_seq: u64,
    /// Every click below is on the topic or synced to the edge's disk.
    pub safe: Watermark,
    /// Every click below is on the topic, dead-lettered, or quarantined.
    pub delivered: Watermark,
    /// Clicks whose bytes are damaged or gone: they never arrive. The highest ranges.
    pub quarantined: Vec<SeqRange>,
    /// How many quarantined clicks have lower numbers and are left out. Absent in early builds.
    #[serde(default)]
    pub quarantined_omitted: u64,
    /// Clicks that Kafka refused even alone and whose stubs are on the topic; the latest ranges. Absent in early
    /// builds.
    #[serde(default)]
    pub dead_lettered: Vec<SeqRange>,
    /// Every click answered before this time is delivered, as far as the edge's clock did not go back. Unix
    /// milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_to_ms: Option<u64>,
}

/// The occasion of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatementKind {
    /// The lane's first epoch begins.
    Open,
    /// An epoch begins after another one; a lane without a worker begins to be drained.
    Recovered,
    /// The lane takes clicks.
    Running,
    /// A lane without a worker has delivered everything.
    Drained,
    /// No click is appended in this epoch any more.
    Closing,
    /// A kind that this build does not know. Never written.
    #[serde(other)]
    Unknown,
}

impl StatementKind {
    /// Whether this is the first statement of an epoch.
    pub const fn begins_epoch(self) -> bool {
        matches!(self, StatementKind::Open | StatementKind::Recovered)
    }

    /// Whether this is the last statement of an epoch.
    pub const fn ends_epoch(self) -> bool {
        matches!(self, StatementKind::Drained | StatementKind::Closing)
    }
}

/// How an earlier epoch ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedEpoch {
    /// The epoch.
    pub epoch: u64,
    /// Whether a power loss ended the epoch: clicks from `next_seq` on may have been appended and lost.
    pub cut: bool,
    /// The seq after the last; after a cut, the first seq that the edge lacks.
    pub next_seq: u64,
}

/// Covers every seq below `next` in `epoch`, and every earlier epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Watermark {
    /// The epoch.
    pub epoch: u64,
    /// The first seq that is not covered.
    pub next: u64,
}

/// The seqs `from..to` of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    /// The epoch.
    pub epoch: u64,
    /// The first seq.
    pub from: u64,
    /// The seq after the last.
    pub to: u64,
}

impl LaneStatement {
    /// A statement with the constant fields filled in and nothing stated yet about clicks and earlier epochs.
    pub fn new(edge: &str, topic: &str, lane: u16, epoch: u64, kind: StatementKind, at_ms: u64) -> LaneStatement {
        LaneStatement {
            record_type: RECORD_TYPE.to_owned(),
            schema_version: SCHEMA_VERSION,
            edge: edge.to_owned(),
            topic: topic.to_owned(),
            lane,
            epoch,
            kind,
            at_ms,
            unrecorded: 0,
            ended: Vec::new(),
            next_seq: 0,
            safe: Watermark::default(),
            delivered: Watermark::default(),
            quarantined: Vec::new(),
            quarantined_omitted: 0,
            dead_lettered: Vec::new(),
            complete_to_ms: None,
        }
    }
}

impl From<journal::Watermark> for Watermark {
    fn from(watermark: journal::Watermark) -> Watermark {
        Watermark { epoch: watermark.epoch.get(), next: watermark.next.get() }
    }
}

impl From<Watermark> for journal::Watermark {
    fn from(watermark: Watermark) -> journal::Watermark {
        journal::Watermark { epoch: Epoch::new(watermark.epoch), next: Seq::new(watermark.next) }
    }
}

impl SeqRange {
    /// Whether the range contains this seq of this epoch.
    pub fn contains(&self, epoch: u64, seq: u64) -> bool {
        self.epoch == epoch && (self.from..self.to).contains(&seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_without_later_fields_or_of_an_unknown_kind_can_be_read() {
        let text = r#"{"type":"lane","schema_version":1,"edge":"edge-1","topic":"clicks","lane":0,"epoch":7,
            "kind":"paused","at_ms":5,"ended":[],"next_seq":1,"safe":{"epoch":7,"next":1},
            "delivered":{"epoch":7,"next":1},"quarantined":[]}"#;
        let statement: LaneStatement = serde_json::from_str(text).unwrap();
        assert_eq!((statement.kind, statement.unrecorded), (StatementKind::Unknown, 0));
        assert_eq!(statement.dead_lettered, []);
    }

    #[test]
    fn a_statement_parses_as_it_was_encoded_and_omits_an_unknown_complete_to_ms() {
        let mut statement = LaneStatement::new("edge-1", "clicks", 3, 7, StatementKind::Running, 5);
        statement.next_seq = 9;
        statement.safe = Watermark { epoch: 7, next: 8 };
        statement.delivered = Watermark { epoch: 7, next: 2 };
        statement.quarantined = vec![SeqRange { epoch: 6, from: 1, to: 2 }];
        let text = serde_json::to_string(&statement).unwrap();
        assert!(!text.contains("complete_to_ms"), "{text}");
        assert_eq!(serde_json::from_str::<LaneStatement>(&text).unwrap(), statement);
    }
}
