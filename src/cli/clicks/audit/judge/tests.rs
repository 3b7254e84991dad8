use serde_json::{Value, json};

use super::*;

const TOPIC: &str = "clicks";
/// When everything here was said.
const THEN: u64 = 1_000_000;

/// What lay on the topics.
#[derive(Default)]
struct Topics {
    clicks: Vec<Value>,
    said: Vec<Value>,
}

impl Topics {
    fn clicks(mut self, epoch: u64, seqs: impl IntoIterator<Item = u64>) -> Topics {
        let click = |seq| json!({"type": "click", "edge": "e", "lane": 0, "epoch": epoch, "seq": seq, "safe": 0});
        self.clicks.extend(seqs.into_iter().map(click));
        self
    }

    fn says(mut self, kind: &str, (epoch, next): (u64, u64), safe: (u64, u64), delivered: (u64, u64)) -> Topics {
        let mark = |(epoch, next): (u64, u64)| json!({"epoch": epoch, "next": next});
        self.said.push(json!({"edge": "e", "lane": 0, "epoch": epoch, "kind": kind, "at_ms": THEN, "ended": [], "topics": {
            TOPIC: {"next_seq": next, "safe": mark(safe), "delivered": mark(delivered), "quarantined": [], "complete_to_ms": THEN - 1000}
        }}));
        self
    }

    /// The last statement also says how an epoch ended.
    fn ended(mut self, epoch: u64, next: u64, cut: bool) -> Topics {
        let end = json!({"epoch": epoch, "cut": cut, "next_seq": {TOPIC: next}});
        self.said.last_mut().unwrap()["ended"].as_array_mut().unwrap().push(end);
        self
    }

    /// The last statement also says that these are damaged.
    fn quarantined(mut self, epoch: u64, from: u64, to: u64) -> Topics {
        let gone = json!({"epoch": epoch, "from": from, "to": to});
        self.said.last_mut().unwrap()["topics"][TOPIC]["quarantined"].as_array_mut().unwrap().push(gone);
        self
    }

    /// The last statement also says that these are dead letters, and so many clicks have no record.
    fn aside(mut self, (epoch, from, to): (u64, u64, u64), unrecorded: u64) -> Topics {
        let said = self.said.last_mut().unwrap();
        said["topics"][TOPIC]["dead_lettered"] = json!([{"epoch": epoch, "from": from, "to": to}]);
        said["unrecorded"] = unrecorded.into();
        self
    }

    fn judged(&self, since_ms: u64, now_ms: u64) -> LaneFound {
        let mut ledger = Ledger::new(since_ms);
        for said in &self.said {
            ledger.statement(serde_json::from_value(said.clone()).unwrap(), now_ms);
        }
        for click in &self.clicks {
            let text = click.to_string();
            ledger.click(TOPIC, &serde_json::from_str(&text).unwrap());
        }
        let [lane] = ledger.judge(now_ms).try_into().unwrap();
        lane
    }

    fn found(&self) -> Found {
        self.judged(0, THEN).topics.remove(TOPIC).unwrap()
    }
}

fn span(epoch: u64, from: u64, to: u64) -> Span {
    Span { epoch, from, to }
}

#[test]
fn what_is_there_is_complete_up_to_the_last_word() {
    let topics = Topics::default().clicks(5, 0..10).says("running", (5, 10), (5, 10), (5, 10));
    let lane = topics.judged(0, THEN);
    assert!(lane.complete() && !lane.missing());
    assert_eq!(lane.complete_to_ms, Some(THEN - 1000));
    assert_eq!(topics.found(), Found { present: 10, ..Found::default() });
}

#[test]
fn what_was_delivered_and_is_absent_is_missing() {
    let topics = Topics::default().clicks(5, [0, 1, 4, 5]).says("running", (5, 6), (5, 6), (5, 6));
    assert_eq!(topics.found().missing, [span(5, 2, 4)]);
    assert!(topics.judged(0, THEN).missing());
}

#[test]
fn what_is_synced_or_on_its_way_is_not_missing() {
    let topics = Topics::default().clicks(5, 0..3).says("running", (5, 9), (5, 6), (5, 3));
    let found = topics.found();
    assert_eq!((found.missing.len(), found.not_shipped), (0, 6));
    let lane = topics.judged(0, THEN);
    assert!(!lane.missing() && !lane.complete());
}

#[test]
fn an_epoch_that_ended_whole_is_held_to_its_last_number() {
    let topics = Topics::default().clicks(5, 0..8).clicks(9, 0..2).says("recovered", (9, 2), (9, 2), (9, 2));
    assert_eq!(topics.ended(5, 10, false).found().missing, [span(5, 8, 10)]);
    let waits = Topics::default().clicks(5, 0..8).says("recovered", (9, 0), (5, 8), (5, 8)).ended(5, 10, false);
    assert_eq!((waits.found().missing.len(), waits.found().not_shipped), (0, 2), "it is in the journal");
}

#[test]
fn a_power_cut_is_called_one_and_what_was_synced_before_it_is_not_excused() {
    let cut = |safe| {
        let before = Topics::default().clicks(5, 0..6).says("running", (5, 9), (5, safe), (5, 5));
        before.says("recovered", (9, 0), (9, 0), (9, 0)).ended(5, 6, true)
    };
    let found = cut(6).found();
    assert_eq!((found.missing.as_slice(), found.lost_by_cut.as_slice()), (&[][..], &[span(5, 6, 9)][..]));
    let lane = cut(6).judged(0, THEN);
    assert_eq!(lane.cut, [(5, Some(THEN))]);
    assert!(!lane.missing() && !lane.complete());
    let found = cut(7).found();
    assert_eq!((found.missing, found.lost_by_cut), (vec![span(5, 6, 7)], vec![span(5, 7, 9)]));
}

#[test]
fn what_is_damaged_is_said_and_not_missing() {
    let topics = Topics::default().clicks(5, [0, 1, 4]).says("running", (5, 5), (5, 5), (5, 5));
    let found = topics.quarantined(5, 2, 4).found();
    assert_eq!((found.missing.len(), found.quarantined), (0, 2));
}

#[test]
fn repeats_are_counted_and_stubs_stand_in_for_their_clicks() {
    let mut topics = Topics::default().clicks(5, [0, 1, 1, 2, 0]).says("closing", (5, 4), (5, 4), (5, 4));
    topics.clicks.push(
        json!({"type": "dead_lettered", "edge": "e", "lane": 0, "epoch": 5, "seq": 3, "safe": 4, "reason": "too_large"}),
    );
    let found = topics.found();
    assert_eq!((found.present, found.repeats, found.dead_lettered), (3, 2, 1));
    assert!(topics.judged(0, THEN).complete());
}

#[test]
fn a_dead_letter_whose_stub_is_gone_is_explained_by_its_lane_and_counted_once_with_it() {
    let topics = |seqs: &[u64]| {
        let topics = Topics::default().clicks(5, seqs.iter().copied()).says("closing", (5, 5), (5, 5), (5, 5));
        topics.aside((5, 2, 4), 0)
    };
    assert_eq!(topics(&[0, 1, 4]).found(), Found { present: 3, dead_lettered: 2, ..Found::default() });
    assert!(topics(&[0, 1, 4]).judged(0, THEN).complete());
    assert_eq!(topics(&[0, 4]).found().missing, [span(5, 1, 2)], "no more than what was said");
    let mut stubbed = topics(&[0, 1, 4]);
    for seq in [2, 3] {
        stubbed
            .clicks
            .push(json!({"type": "dead_lettered", "edge": "e", "lane": 0, "epoch": 5, "seq": seq, "safe": 5}));
    }
    assert_eq!(stubbed.found(), topics(&[0, 1, 4]).found());
    // Taken after all, because somebody has raised the limit: the click outweighs.
    assert_eq!(topics(&[0, 1, 2, 3, 4]).found(), Found { present: 5, ..Found::default() });
}

#[test]
fn clicks_without_a_record_are_told_and_are_not_missing() {
    let topics = Topics::default().clicks(5, 0..3).says("running", (5, 3), (5, 3), (5, 3)).aside((0, 0, 0), 4);
    let topics = topics.says("running", (5, 3), (5, 3), (5, 3)).aside((0, 0, 0), 7);
    let topics = topics.says("closing", (9, 0), (9, 0), (9, 0)).aside((0, 0, 0), 2).ended(5, 3, false);
    let lane = topics.judged(0, THEN);
    assert_eq!(lane.unrecorded, 9, "the most of each epoch");
    assert!(lane.complete());
}

#[test]
fn an_epoch_that_nobody_closed_is_named() {
    let topics = Topics::default().says("recovered", (7, 0), (5, 3), (5, 3)).ended(5, 3, false).clicks(5, 0..3);
    let forked = topics.says("recovered", (9, 0), (5, 3), (5, 3)).ended(5, 3, false);
    assert_eq!(forked.judged(0, THEN).forked, [7], "a copy of the directory ran");
    assert!(!forked.judged(0, THEN).complete());
}

#[test]
fn a_lane_that_fell_silent_is_not_proved() {
    let topics = |kind| Topics::default().clicks(5, 0..3).says(kind, (5, 3), (5, 3), (5, 3));
    assert!(topics("running").judged(0, THEN + SILENT_MS).complete());
    assert_eq!(topics("running").judged(0, THEN + SILENT_MS + 1).silent_since_ms, Some(THEN));
    assert!(topics("closing").judged(0, THEN + 10 * SILENT_MS).complete());
    assert!(topics("drained").judged(0, THEN + 10 * SILENT_MS).complete());
}

#[test]
fn what_may_have_left_the_topics_by_age_is_not_judged() {
    let topics = Topics::default().clicks(5, 4..8).says("running", (5, 6), (5, 6), (5, 6));
    let topics = topics.says("running", (5, 8), (5, 8), (5, 8));
    assert_eq!(topics.found().missing, [span(5, 0, 4)]);
    assert!(!topics.judged(THEN, THEN).missing());
}

#[test]
fn clicks_of_a_lane_that_never_spoke_prove_nothing() {
    let topics = Topics::default().clicks(5, 0..3);
    assert_eq!(topics.found().unproved, 3);
    assert!(!topics.judged(0, THEN).complete());
}
