//! The engine's transactions, with a sink that aborts some of them.

use super::*;
use crate::delivery::{
    committed::{CommittedLanes, CommittedSet, LaneKey},
    lane::JournalConflict,
    sink::{DeliveryReport, OutgoingRecord, ReturnCause, SendOutcome, StatementCounts},
};
use crate::{
    events::statement::SeqRange,
    journal::{Seq, Watermark},
};

/// Takes records into one transaction after another. Aborts the first, and commits the others.
#[derive(Default)]
struct AbortingSink {
    value: Vec<u8>,
    open_clicks: usize,
    open_statements: u64,
    failed_statements: u64,
    is_first_aborted: bool,
    committed_clicks: usize,
    committed: Option<CommittedLanes>,
}

impl Sink for AbortingSink {
    fn record_buffer_if_accepting(&mut self, _: Instant) -> Option<&mut Vec<u8>> {
        self.value.clear();
        Some(&mut self.value)
    }

    fn send_buffered(&mut self, _: &OutgoingRecord<'_>) -> SendOutcome {
        self.open_clicks += 1;
        SendOutcome::Accepted
    }

    fn poll(
        &mut self,
        _: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        let is_due = flush_now && self.open_clicks as u64 + self.open_statements > 0;
        let (clicks, statements) = (self.open_clicks, self.open_statements);
        if !is_due {
            return None;
        }
        (self.open_clicks, self.open_statements) = (0, 0);
        if std::mem::replace(&mut self.is_first_aborted, true) {
            self.committed_clicks += clicks;
            self.committed = Some(next_commit());
            reports.push(DeliveryReport::AllDelivered);
        } else {
            self.failed_statements += statements;
            reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(kafka::Refusal::Retriable)));
        }
        None
    }

    fn journal_note(&self) -> SinkNote {
        [0; 64]
    }

    fn topic_name(&self) -> &str {
        Topic::Clicks.name()
    }

    fn checkpoints_cover(&self, _: &SinkNote) -> bool {
        true
    }

    fn max_committed_ranges(&self, _: usize) -> usize {
        1
    }

    fn try_send_statement(&mut self, _: u16, _: &[u8], _: u64, _: u8) -> bool {
        self.open_statements += 1;
        true
    }

    fn statement_counts(&self) -> StatementCounts {
        StatementCounts { pending: self.open_statements, failed: self.failed_statements }
    }
}

#[test]
fn clicks_of_a_transaction_that_the_stop_aborts_are_not_in_the_checkpoint_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::open(Topic::Clicks, dir.path(), 1, |_| AbortingSink::default());
    (0..5).for_each(|number| edge.append_numbered(0, number));
    edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    assert_eq!(edge.engine.sink.open_clicks, 5);
    edge.engine.send_closing_statements_and_wait_until_settled(Instant::now());
    let sink = &edge.engine.sink;
    assert_eq!((sink.failed_statements > 0, sink.committed_clicks), (true, 0));
    let committed = sink.committed.as_ref().expect("the closing statements are committed at the second attempt");
    assert!(committed.values().all(|lane| *lane == Default::default()), "{committed:?}");
}

#[test]
fn where_a_checkpoint_takes_no_more_ranges_the_first_returned_click_goes_first_whatever_its_refusals() {
    let dir = tempfile::tempdir().unwrap();
    let sink = AbortingSink { is_first_aborted: true, ..AbortingSink::default() };
    let mut edge = TestEdge::open(Topic::Clicks, dir.path(), 1, |_| sink);
    (0..4).for_each(|number| edge.append_numbered(0, number));
    edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    edge.engine.sink.open_clicks = 0;
    let clicks = &mut edge.engine.lanes[0].clicks;
    clicks.mark_delivered(3);
    for (number, refusals) in [(0, 2), (1, 1), (2, 2)] {
        (0..refusals).for_each(|_| clicks.mark_returned_and_count_refusal(number, kafka::Refusal::TooLarge));
    }
    // The click with one refusal would begin a second range.
    for _ in 0..20 {
        edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    }
    assert!(edge.engine.lanes[0].is_all_delivered(), "{:?}", edge.engine.lanes[0].clicks.returned());
}

#[test]
fn a_checkpoint_that_holds_the_journals_clicks_above_its_watermark_is_not_behind_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let sink = AbortingSink { is_first_aborted: true, ..AbortingSink::default() };
    let mut edge = TestEdge::open(Topic::Clicks, dir.path(), 1, |_| sink);
    (0..5).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    let lane = &edge.engine.lanes[0];
    let epoch = lane.reader.epoch();
    let find_conflict = |from| {
        let above = vec![SeqRange { epoch: epoch.get(), from, to: 5 }];
        let set = CommittedSet { watermark: Watermark { epoch, next: Seq::new(2) }, above };
        let key = LaneKey { directory: lane.reader.directory_id(), lane: 0 };
        lane.find_conflict_with_committed(&CommittedLanes::from([(key, set)]))
    };
    assert_eq!(find_conflict(2), None);
    assert!(matches!(find_conflict(3), Some(JournalConflict::CheckpointBehind { lane: 0, .. })));
}
