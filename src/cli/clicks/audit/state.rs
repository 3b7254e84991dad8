//! Everything that an audit has read: the clicks on the topics, and what the lanes state.

use std::collections::BTreeMap;

use super::seq_set::SeqSet;
use crate::{
    cli::clicks::event::ClickEvent,
    events::statement::{EndedEpoch, LaneStatement, Watermark},
};

/// The clicks and statements of every lane.
#[derive(Debug, Default)]
pub(super) struct AuditState {
    pub(super) lanes: BTreeMap<LaneId, LaneHistory>,
    /// Clicks that were delivered before this time may have left the topics and are not judged. 0: all are judged.
    pub(super) since_ms: u64,
    /// Records on the topics of clicks that are not clicks of Waypost.
    pub(super) foreign_records: u64,
}

/// Identifies a lane among the lanes of all edges and topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId {
    pub(super) edge: String,
    /// The topic's name on the broker.
    pub(super) topic: String,
    pub(super) lane: u16,
}

/// One lane over all epochs.
#[derive(Debug, Default)]
pub(super) struct LaneHistory {
    pub(super) epochs: BTreeMap<u64, EpochHistory>,
    /// How epochs ended, by the latest statement.
    pub(super) ends: BTreeMap<u64, EndedEpoch>,
    /// `None`: the lane has made no statement.
    pub(super) stated: Option<StatedWatermarks>,
    pub(super) last_statement: Option<LastStatement>,
    /// Statements left out quarantined numbers below this epoch and number.
    pub(super) quarantined_omitted_below: Watermark,
}

/// One epoch of a lane.
#[derive(Debug, Default)]
pub(super) struct EpochHistory {
    /// Numbers on the topic, those of stubs included.
    pub(super) present: SeqSet,
    /// Numbers whose click is on the topic. A click outweighs its stub, whichever stands first.
    pub(super) clicks: SeqSet,
    pub(super) repeats: u64,
    /// Numbers stated as quarantined.
    pub(super) quarantined: SeqSet,
    /// Numbers stated as dead letters.
    pub(super) dead_lettered: SeqSet,
    /// The highest number below which a click or statement calls everything safe.
    pub(super) safe: u64,
    /// The highest stated next number.
    pub(super) next_seq: u64,
    /// When the last statement of this epoch was made.
    pub(super) last_statement_ms: Option<u64>,
    pub(super) unrecorded: u64,
}

/// The highest watermarks that a lane has stated.
#[derive(Debug, Default)]
pub(super) struct StatedWatermarks {
    pub(super) delivered: Watermark,
    pub(super) safe: Watermark,
    /// `delivered` of the first statement after [`AuditState::since_ms`].
    pub(super) delivered_at_start: Option<Watermark>,
}

/// The latest statement of a lane.
#[derive(Debug)]
pub(super) struct LastStatement {
    pub(super) at_ms: u64,
    /// The lane can take further clicks.
    pub(super) open: bool,
    pub(super) complete_to_ms: Option<u64>,
}

impl AuditState {
    /// A state without records, in which clicks delivered before `since_ms` will not be judged.
    pub(super) fn new(since_ms: u64) -> AuditState {
        AuditState { since_ms, ..AuditState::default() }
    }

    /// Adds the value of a record on a topic of clicks: a click, a stub, or a record that is not of Waypost.
    pub(super) fn add_click_or_count_foreign_record(&mut self, topic: &str, value: &[u8]) {
        let event = ClickEvent::parse(value);
        let Some((event, number)) = event.as_ref().and_then(|event| Some((event, event.click_number_if_complete()?)))
        else {
            self.foreign_records += 1;
            return;
        };
        let id = LaneId { edge: number.edge.to_owned(), topic: topic.to_owned(), lane: number.lane };
        let history = self.lanes.entry(id).or_default().epochs.entry(number.epoch).or_default();
        history.safe = history.safe.max(number.safe);
        if !history.present.insert_range_and_return_if_any_was_new(number.seq, number.seq + 1) {
            history.repeats += 1;
        }
        if !event.is_stub() {
            history.clicks.insert_range_and_return_if_any_was_new(number.seq, number.seq + 1);
        }
    }

    /// Adds a lane's statement. Statements are added in the order of their partition; one made after `to_ms` is
    /// ignored.
    pub(super) fn add_statement_unless_made_after(&mut self, statement: LaneStatement, to_ms: u64) {
        if statement.at_ms > to_ms {
            return;
        }
        let since_ms = self.since_ms;
        let id = LaneId { edge: statement.edge.clone(), topic: statement.topic.clone(), lane: statement.lane };
        let lane = self.lanes.entry(id).or_default();
        lane.merge_statement(&statement);
        if statement.at_ms >= since_ms {
            let stated = lane.stated.get_or_insert_default();
            stated.delivered_at_start.get_or_insert(statement.delivered);
        }
        if lane.last_statement.as_ref().is_none_or(|last| last.at_ms <= statement.at_ms) {
            lane.last_statement = Some(LastStatement {
                at_ms: statement.at_ms,
                open: !statement.kind.ends_epoch(),
                complete_to_ms: statement.complete_to_ms,
            });
        }
        lane.ends.extend(statement.ended.into_iter().map(|end| (end.epoch, end)));
    }

    /// The latest statement of a lane.
    pub(super) fn find_last_statement(&self, edge: &str, topic: &str, lane: u16) -> Option<&LastStatement> {
        let id = LaneId { edge: edge.to_owned(), topic: topic.to_owned(), lane };
        self.lanes.get(&id)?.last_statement.as_ref()
    }

    /// The edges of which a click or a statement was read. An edge comes once for each of its lanes.
    pub(super) fn edges(&self) -> impl Iterator<Item = &str> {
        self.lanes.keys().map(|id| id.edge.as_str())
    }
}

impl LaneHistory {
    /// Adds what a statement claims about clicks.
    fn merge_statement(&mut self, statement: &LaneStatement) {
        let stated = self.stated.get_or_insert_default();
        stated.delivered = stated.delivered.max(statement.delivered);
        stated.safe = stated.safe.max(statement.safe);
        let epoch = self.epochs.entry(statement.epoch).or_default();
        epoch.last_statement_ms = epoch.last_statement_ms.max(Some(statement.at_ms));
        epoch.unrecorded = epoch.unrecorded.max(statement.unrecorded);
        epoch.next_seq = epoch.next_seq.max(statement.next_seq);
        let safe = &mut self.epochs.entry(statement.safe.epoch).or_default().safe;
        *safe = statement.safe.next.max(*safe);
        for range in &statement.quarantined {
            let epoch = self.epochs.entry(range.epoch).or_default();
            epoch.quarantined.insert_range_and_return_if_any_was_new(range.from, range.to);
        }
        if let Some(lowest) = statement.quarantined.first().filter(|_| statement.quarantined_omitted > 0) {
            let below = Watermark { epoch: lowest.epoch, next: lowest.from };
            self.quarantined_omitted_below = self.quarantined_omitted_below.max(below);
        }
        for range in &statement.dead_lettered {
            let epoch = self.epochs.entry(range.epoch).or_default();
            epoch.dead_lettered.insert_range_and_return_if_any_was_new(range.from, range.to);
        }
    }
}
