//! The rule, on topics that a test writes: each case says what is absent and what the lane stated.

use serde_json::{Value, json};

use super::{
    rule::SILENT_AFTER_MS,
    state::AuditState,
    verdict::{ClickCounts, LaneVerdict},
};
use crate::events::statement::SeqRange;

const TOPIC: &str = "clicks";
/// When every statement here was made.
const STATED_AT_MS: u64 = 1_000_000;

/// The records of one lane, in the order in which they were written.
#[derive(Default)]
struct RecordsOfOneLane {
    clicks: Vec<Value>,
    statements: Vec<Value>,
}

impl RecordsOfOneLane {
    /// Adds clicks with these numbers.
    fn with_clicks(mut self, epoch: u64, seqs: impl IntoIterator<Item = u64>) -> RecordsOfOneLane {
        let click = |seq| json!({"type": "click", "edge": "e", "lane": 0, "epoch": epoch, "seq": seq, "safe": 0});
        self.clicks.extend(seqs.into_iter().map(click));
        self
    }

    /// Adds a stub with this number.
    fn with_stub(mut self, epoch: u64, seq: u64) -> RecordsOfOneLane {
        let safe = seq + 1;
        let stub = json!({"type": "dead_lettered", "edge": "e", "lane": 0, "epoch": epoch, "seq": seq, "safe": safe});
        self.clicks.push(stub);
        self
    }

    /// Adds a statement with this `(epoch, next_seq)` and these `(epoch, next)` watermarks.
    fn with_statement(
        mut self,
        kind: &str,
        (epoch, next): (u64, u64),
        safe: (u64, u64),
        delivered: (u64, u64),
    ) -> RecordsOfOneLane {
        let watermark = |(epoch, next): (u64, u64)| json!({"epoch": epoch, "next": next});
        self.statements.push(json!({
            "type": "lane", "schema_version": 1, "edge": "e", "topic": TOPIC, "lane": 0, "epoch": epoch, "kind": kind,
            "at_ms": STATED_AT_MS, "ended": [], "next_seq": next, "safe": watermark(safe),
            "delivered": watermark(delivered), "quarantined": [], "complete_to_ms": STATED_AT_MS - 1000,
        }));
        self
    }

    fn last_statement(&mut self) -> &mut Value {
        self.statements.last_mut().unwrap()
    }

    /// The last statement also states how an epoch ended.
    fn stating_end(mut self, epoch: u64, next: u64, cut: bool) -> RecordsOfOneLane {
        let end = json!({"epoch": epoch, "cut": cut, "next_seq": next});
        self.last_statement()["ended"].as_array_mut().unwrap().push(end);
        self
    }

    /// The last statement also states these numbers as quarantined.
    fn stating_quarantined(mut self, epoch: u64, from: u64, to: u64) -> RecordsOfOneLane {
        let range = json!({"epoch": epoch, "from": from, "to": to});
        self.last_statement()["quarantined"].as_array_mut().unwrap().push(range);
        self
    }

    /// The last statement also says that so many quarantined numbers are left out.
    fn omitting_quarantined(mut self, clicks: u64) -> RecordsOfOneLane {
        self.last_statement()["quarantined_omitted"] = clicks.into();
        self
    }

    /// The last statement also states these numbers as dead letters.
    fn stating_dead_lettered(mut self, epoch: u64, from: u64, to: u64) -> RecordsOfOneLane {
        self.last_statement()["dead_lettered"] = json!([{"epoch": epoch, "from": from, "to": to}]);
        self
    }

    /// The last statement also states this many clicks without a record.
    fn stating_unrecorded(mut self, clicks: u64) -> RecordsOfOneLane {
        self.last_statement()["unrecorded"] = clicks.into();
        self
    }

    fn judge_lane(&self, since_ms: u64, now_ms: u64) -> LaneVerdict {
        let mut state = AuditState::new(since_ms);
        for statement in &self.statements {
            state.add_statement_unless_made_after(serde_json::from_value(statement.clone()).unwrap(), now_ms);
        }
        for click in &self.clicks {
            state.add_click_or_count_foreign_record(TOPIC, click.to_string().as_bytes());
        }
        let [lane] = state.judge_lanes(now_ms).try_into().unwrap();
        lane
    }

    fn judge_clicks(&self) -> ClickCounts {
        self.judge_lane(0, STATED_AT_MS).clicks
    }
}

fn range(epoch: u64, from: u64, to: u64) -> SeqRange {
    SeqRange { epoch, from, to }
}

#[test]
fn a_lane_whose_delivered_clicks_are_all_present_is_complete() {
    let topics = RecordsOfOneLane::default().with_clicks(5, 0..10).with_statement("running", (5, 10), (5, 10), (5, 10));
    let lane = topics.judge_lane(0, STATED_AT_MS);
    assert!(lane.is_complete() && !lane.has_missing());
    assert_eq!(lane.complete_to_ms, Some(STATED_AT_MS - 1000));
    assert_eq!(topics.judge_clicks(), ClickCounts { present: 10, ..ClickCounts::default() });
}

#[test]
fn a_delivered_click_that_is_absent_is_missing() {
    let topics =
        RecordsOfOneLane::default().with_clicks(5, [0, 1, 4, 5]).with_statement("running", (5, 6), (5, 6), (5, 6));
    assert_eq!(topics.judge_clicks().missing, [range(5, 2, 4)]);
    assert!(topics.judge_lane(0, STATED_AT_MS).has_missing());
}

#[test]
fn a_click_that_is_synced_or_on_its_way_is_not_missing() {
    let topics = RecordsOfOneLane::default().with_clicks(5, 0..3).with_statement("running", (5, 9), (5, 6), (5, 3));
    let verdict = topics.judge_clicks();
    assert_eq!((verdict.missing.len(), verdict.not_delivered), (0, 6));
    let lane = topics.judge_lane(0, STATED_AT_MS);
    assert!(!lane.has_missing() && !lane.is_complete());
}

#[test]
fn an_epoch_that_ended_without_a_cut_is_judged_to_its_last_number() {
    let topics = RecordsOfOneLane::default().with_clicks(5, 0..8).with_clicks(9, 0..2).with_statement(
        "recovered",
        (9, 2),
        (9, 2),
        (9, 2),
    );
    assert_eq!(topics.stating_end(5, 10, false).judge_clicks().missing, [range(5, 8, 10)]);
    let waits = RecordsOfOneLane::default()
        .with_clicks(5, 0..8)
        .with_statement("recovered", (9, 0), (5, 8), (5, 8))
        .stating_end(5, 10, false);
    assert_eq!(
        (waits.judge_clicks().missing.len(), waits.judge_clicks().not_delivered),
        (0, 2),
        "the two clicks are in the journal"
    );
}

#[test]
fn a_power_cut_explains_lost_clicks_but_not_the_loss_of_synced_clicks() {
    let cut = |safe| {
        let before =
            RecordsOfOneLane::default().with_clicks(5, 0..6).with_statement("running", (5, 9), (5, safe), (5, 5));
        before.with_statement("recovered", (9, 0), (9, 0), (9, 0)).stating_end(5, 6, true)
    };
    let verdict = cut(6).judge_clicks();
    assert_eq!((verdict.missing.as_slice(), verdict.lost_by_cut.as_slice()), (&[][..], &[range(5, 6, 9)][..]));
    let lane = cut(6).judge_lane(0, STATED_AT_MS);
    assert_eq!(lane.cut, [(5, Some(STATED_AT_MS))]);
    assert!(!lane.has_missing() && !lane.is_complete());
    let verdict = cut(7).judge_clicks();
    assert_eq!((verdict.missing, verdict.lost_by_cut), (vec![range(5, 6, 7)], vec![range(5, 7, 9)]));
}

#[test]
fn quarantined_clicks_are_counted_and_not_missing() {
    let topics =
        RecordsOfOneLane::default().with_clicks(5, [0, 1, 4]).with_statement("running", (5, 5), (5, 5), (5, 5));
    let verdict = topics.stating_quarantined(5, 2, 4).judge_clicks();
    assert_eq!((verdict.missing.len(), verdict.quarantined), (0, 2));
}

#[test]
fn repeats_are_counted_and_stubs_take_the_place_of_their_clicks() {
    let topics = RecordsOfOneLane::default().with_clicks(5, [0, 1, 1, 2, 0]).with_stub(5, 3);
    let topics = topics.with_statement("closing", (5, 4), (5, 4), (5, 4));
    let verdict = topics.judge_clicks();
    assert_eq!((verdict.present, verdict.repeats, verdict.dead_lettered), (3, 2, 1));
    assert!(topics.judge_lane(0, STATED_AT_MS).is_complete());
}

#[test]
fn a_click_outweighs_its_stub_in_either_order() {
    let empty = RecordsOfOneLane::default;
    for topics in [empty().with_stub(5, 1).with_clicks(5, [0, 1, 2]), empty().with_clicks(5, [0, 1, 2]).with_stub(5, 1)]
    {
        let topics = topics.with_statement("closing", (5, 3), (5, 3), (5, 3)).stating_dead_lettered(5, 1, 2);
        let counts = ClickCounts { present: 3, repeats: 1, ..ClickCounts::default() };
        assert_eq!(topics.judge_clicks(), counts);
    }
}

#[test]
fn a_stated_dead_letter_without_a_stub_is_explained_and_with_a_stub_it_is_counted_once() {
    let topics = |seqs: &[u64]| {
        let topics = RecordsOfOneLane::default().with_clicks(5, seqs.iter().copied()).with_statement(
            "closing",
            (5, 5),
            (5, 5),
            (5, 5),
        );
        topics.stating_dead_lettered(5, 2, 4)
    };
    assert_eq!(
        topics(&[0, 1, 4]).judge_clicks(),
        ClickCounts { present: 3, dead_lettered: 2, ..ClickCounts::default() }
    );
    assert!(topics(&[0, 1, 4]).judge_lane(0, STATED_AT_MS).is_complete());
    assert_eq!(topics(&[0, 4]).judge_clicks().missing, [range(5, 1, 2)], "only what was stated is explained");
    let stubbed = topics(&[0, 1, 4]).with_stub(5, 2).with_stub(5, 3);
    assert_eq!(stubbed.judge_clicks(), topics(&[0, 1, 4]).judge_clicks());
    // Delivered after all, because the limit was raised: the click replaces its stub.
    assert_eq!(topics(&[0, 1, 2, 3, 4]).judge_clicks(), ClickCounts { present: 5, ..ClickCounts::default() });
}

#[test]
fn unrecorded_clicks_are_counted_and_are_not_missing() {
    let topics = RecordsOfOneLane::default()
        .with_clicks(5, 0..3)
        .with_statement("running", (5, 3), (5, 3), (5, 3))
        .stating_unrecorded(4);
    let topics = topics.with_statement("running", (5, 3), (5, 3), (5, 3)).stating_unrecorded(7);
    let topics =
        topics.with_statement("closing", (9, 0), (9, 0), (9, 0)).stating_unrecorded(2).stating_end(5, 3, false);
    let lane = topics.judge_lane(0, STATED_AT_MS);
    assert_eq!(lane.unrecorded, 9, "the highest count of each epoch");
    assert!(lane.is_complete());
}

#[test]
fn an_epoch_without_a_stated_end_is_named() {
    let topics = RecordsOfOneLane::default()
        .with_statement("recovered", (7, 0), (5, 3), (5, 3))
        .stating_end(5, 3, false)
        .with_clicks(5, 0..3);
    let forked = topics.with_statement("recovered", (9, 0), (5, 3), (5, 3)).stating_end(5, 3, false);
    assert_eq!(forked.judge_lane(0, STATED_AT_MS).forked, [7], "a copy of the directory ran");
    assert!(!forked.judge_lane(0, STATED_AT_MS).is_complete());
}

#[test]
fn an_open_lane_without_recent_statements_is_not_proved() {
    let topics = |kind| RecordsOfOneLane::default().with_clicks(5, 0..3).with_statement(kind, (5, 3), (5, 3), (5, 3));
    assert!(topics("running").judge_lane(0, STATED_AT_MS + SILENT_AFTER_MS).is_complete());
    assert_eq!(topics("running").judge_lane(0, STATED_AT_MS + SILENT_AFTER_MS + 1).silent_since_ms, Some(STATED_AT_MS));
    assert!(topics("closing").judge_lane(0, STATED_AT_MS + 10 * SILENT_AFTER_MS).is_complete());
    assert!(topics("drained").judge_lane(0, STATED_AT_MS + 10 * SILENT_AFTER_MS).is_complete());
}

#[test]
fn clicks_that_may_have_left_the_topics_by_age_are_not_judged() {
    let topics = RecordsOfOneLane::default().with_clicks(5, 4..8).with_statement("running", (5, 6), (5, 6), (5, 6));
    let topics = topics.with_statement("running", (5, 8), (5, 8), (5, 8));
    assert_eq!(topics.judge_clicks().missing, [range(5, 0, 4)]);
    assert!(!topics.judge_lane(STATED_AT_MS, STATED_AT_MS).has_missing());
}

#[test]
fn clicks_of_a_lane_without_statements_are_unproved() {
    let topics = RecordsOfOneLane::default().with_clicks(5, 0..3);
    assert_eq!(topics.judge_clicks().unproved, 3);
    assert!(!topics.judge_lane(0, STATED_AT_MS).is_complete());
}

#[test]
fn a_number_below_quarantined_ranges_that_were_left_out_is_unproved_and_never_missing() {
    let topics = |omitted| {
        let clicks = RecordsOfOneLane::default().with_clicks(4, [0]).with_clicks(5, [0, 1, 4, 5, 9]);
        let stated = clicks.with_statement("running", (5, 10), (5, 10), (5, 10)).stating_end(4, 2, false);
        stated.stating_quarantined(5, 6, 8).omitting_quarantined(omitted)
    };
    let verdict = topics(3).judge_clicks();
    assert_eq!((verdict.missing, verdict.unproved), (vec![range(5, 8, 9)], 3));
    assert!(!topics(3).judge_lane(0, STATED_AT_MS).is_complete());
    let verdict = topics(0).judge_clicks();
    assert_eq!((verdict.missing, verdict.unproved), (vec![range(4, 1, 2), range(5, 2, 4), range(5, 8, 9)], 0));
}
