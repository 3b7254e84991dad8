//! Every claim of a statement on the topic of lanes is true, however late the statement arrives.

use super::{
    reference::{Event, PendingClick},
    topic::TopicSimulation,
};
use crate::events::statement::{LaneStatement, SeqRange, Watermark};

impl TopicSimulation {
    /// Checks the statements that have arrived since the last call against the clicks that are not on the topic.
    pub(super) fn assert_new_statements_are_true(&mut self) {
        let cluster = self.cluster.clone();
        let cluster = cluster.lock().unwrap();
        for statement in &cluster.statements[self.checked_statements..] {
            let statement: LaneStatement = serde_json::from_slice(statement).unwrap();
            assert_eq!(statement.topic, self.topic.name());
            self.counts.add(Event::CompleteToStated, u64::from(statement.complete_to_ms.is_some()));
            for click in self.pending.iter().filter(|click| click.key.0 == statement.lane) {
                assert_statement_claims_nothing_about_pending_click(&statement, click);
            }
        }
        self.checked_statements = cluster.statements.len();
    }
}

/// A click that is neither on the topic nor lost is not called delivered, complete or quarantined; and it is called
/// safe only if it is durable.
fn assert_statement_claims_nothing_about_pending_click(statement: &LaneStatement, click: &PendingClick) {
    let (_, epoch, seq) = click.key;
    let covers = |watermark: Watermark| (epoch, seq) < (watermark.epoch, watermark.next);
    assert!(!covers(statement.delivered), "{click:?} is not delivered: {statement:#?}");
    assert!(click.durable || !covers(statement.safe), "{click:?} is not safe: {statement:#?}");
    let is_complete = statement.complete_to_ms.is_some_and(|complete_to_ms| click.at_ms < complete_to_ms);
    assert!(!is_complete, "{click:?} is older than the time up to which its lane is complete: {statement:#?}");
    let is_in = |ranges: &[SeqRange]| ranges.iter().any(|range| range.contains(epoch, seq));
    assert!(!is_in(&statement.quarantined), "{click:?} is not quarantined: {statement:#?}");
    assert!(!is_in(&statement.dead_lettered), "{click:?} is no dead letter: {statement:#?}");
}
