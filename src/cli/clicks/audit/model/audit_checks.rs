//! What the audit must find, whenever it runs and at the end of a life.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    checks::key_of_event,
    reference::{ClickKey, Event, PendingClick},
    simulation::Simulation,
    topic::TopicSimulation,
};
use crate::{
    cli::clicks::audit::{
        report::print_lane_verdict_as_text,
        state::AuditState,
        verdict::{ClickCounts, LaneVerdict},
    },
    clock::wall_ms,
    events::statement::SeqRange,
    model::click::Topic,
};

impl Simulation {
    /// The audit's verdict on every lane, with one click taken off its topic.
    fn audit_topics_without_click(&self, removed: Option<(Topic, ClickKey)>) -> Vec<LaneVerdict> {
        let now_ms = wall_ms() + 1;
        let mut state = AuditState::new(0);
        for topic in &self.topics {
            for statement in &topic.cluster.lock().unwrap().statements {
                state.add_statement_unless_made_after(serde_json::from_slice(statement).unwrap(), now_ms);
            }
        }
        for topic in &self.topics {
            let removed = removed.filter(|(of, _)| *of == topic.topic).map(|(_, key)| key);
            for record in &topic.cluster.lock().unwrap().clicks {
                let is_removed = || Some(key_of_event(&serde_json::from_slice::<Value>(record).unwrap())) == removed;
                if removed.is_none() || !is_removed() {
                    state.add_click_or_count_foreign_record(topic.topic.name(), record);
                }
            }
        }
        state.judge_lanes(now_ms)
    }

    /// At any moment the audit finds no click missing.
    pub(super) fn assert_audit_finds_nothing_missing(&mut self) {
        self.counts.add(Event::Audit, 1);
        for lane in self.audit_topics_without_click(None) {
            let topic = self.topics.iter().find(|topic| topic.topic.name() == lane.topic).unwrap();
            let is_lost = |key| topic.lost.iter().any(|click| click.key == key && topic.may_be_unreadable(&key));
            for range in &lane.clicks.missing {
                let keys = (range.from..range.to).map(|seq| (lane.lane, range.epoch, seq));
                assert!(keys.into_iter().all(is_lost), "{range:?} is missing: {lane:#?}");
            }
        }
    }

    /// At the end the audit explains every click: it is present, or lost and named so. If one is taken
    /// away, the audit names it.
    pub(super) fn assert_audit_names_every_lost_or_removed_click(&mut self) {
        let lanes = self.audit_topics_without_click(None);
        let was_power_cut = self.counts.get(Event::PowerCut) > 0;
        assert!(was_power_cut || lanes.iter().all(|lane| lane.cut.is_empty()), "{lanes:#?}");
        for topic in &self.topics {
            let lanes: Vec<LaneVerdict> =
                lanes.iter().filter(|lane| lane.topic == topic.topic.name()).cloned().collect();
            topic.assert_verdicts_match_the_simulation(&lanes);
            let delivered: Vec<ClickKey> = topic.on_topic.keys().copied().collect();
            if !delivered.is_empty() {
                let removed = (topic.topic, delivered[topic.pick(delivered.len())]);
                self.assert_audit_calls_removed_click_missing_or_lost_by_cut(removed);
            }
        }
    }

    /// The audit without this click calls it missing, or lost if a power cut explains that.
    fn assert_audit_calls_removed_click_missing_or_lost_by_cut(&self, removed: (Topic, ClickKey)) {
        let lanes = self.audit_topics_without_click(Some(removed));
        let (topic, key) = removed;
        let lane = lanes.iter().find(|lane| lane.topic == topic.name() && lane.lane == key.0).unwrap();
        let cut = lane.cut.iter().any(|(epoch, _)| *epoch == key.1);
        // Behind the last click of a cut epoch that is present, no number tells of another.
        let later = (key.0, key.1, key.2 + 1)..(key.0, key.1 + 1, 0);
        let is_last = self.topics[topic as usize].on_topic.range(later).next().is_none();
        // A stub is not needed where a statement says that its click is a dead letter.
        let is_stated = self.topics[topic as usize].collect_stated_clicks("dead_lettered").contains(&key);
        let excused = is_stated || cut && (is_last || is_in_ranges(lane, key, |clicks| &clicks.lost_by_cut));
        assert!(excused || is_in_ranges(lane, key, |clicks| &clicks.missing), "{removed:?} was removed: {lane:#?}");
    }
}

impl TopicSimulation {
    fn assert_verdicts_match_the_simulation(&self, lanes: &[LaneVerdict]) {
        let lost: BTreeSet<ClickKey> = self.lost.iter().map(|click| click.key).collect();
        for lane in lanes {
            self.assert_lane_verdict_and_its_text_match_the_simulation(lane, &lost);
        }
        let quarantined = self.collect_stated_clicks("quarantined");
        let unexplained: Vec<&ClickKey> =
            quarantined.iter().filter(|key| !lost.contains(key) && !self.on_topic.contains_key(key)).collect();
        assert!(unexplained.is_empty(), "stated as quarantined, and neither lost nor on a topic: {unexplained:?}");
        for click in &self.lost {
            let is_quarantined = quarantined.contains(&click.key);
            let cut_of = |lane: &LaneVerdict| {
                lane.lane == click.key.0 && lane.cut.iter().any(|(epoch, _)| *epoch == click.key.1)
            };
            // An unreadable click in the part of an epoch that a power cut may have taken goes by that name.
            let is_called_cut = self.may_be_unreadable(&click.key) && lanes.iter().any(cut_of);
            if !is_quarantined && !is_called_cut && !self.unstored.contains(&click.key) {
                assert_audit_names_lost_click_or_its_cut_epoch(click, lanes);
            }
        }
    }

    fn assert_lane_verdict_and_its_text_match_the_simulation(&self, lane: &LaneVerdict, lost: &BTreeSet<ClickKey>) {
        let cut = |epoch: u64| lane.cut.iter().any(|(cut, _)| *cut == epoch);
        for range in &lane.clicks.missing {
            // A click that was durable, and that recovery holds for one that the power cut took; or one whose number
            // neither the disk nor a statement holds.
            let is_explained = |seq| {
                let key = (lane.lane, range.epoch, seq);
                self.unstored.contains(&key) || cut(range.epoch) && lost.contains(&key) && self.may_be_unreadable(&key)
            };
            assert!((range.from..range.to).all(is_explained), "{range:?} is missing: {lane:#?}");
        }
        assert!(lane.forked.is_empty(), "{lane:#?}");
        let clicks = &lane.clicks;
        assert_eq!((clicks.not_delivered, clicks.unproved), (0, 0), "{lane:#?}");
        let present = clicks.present + clicks.dead_lettered;
        for range in &clicks.lost_by_cut {
            for seq in range.from..range.to {
                let key = (lane.lane, range.epoch, seq);
                assert!(lost.contains(&key), "{key:?} is called lost, and is not");
            }
        }
        let on_topic = self.on_topic.keys().filter(|key| key.0 == lane.lane).count();
        assert_eq!(present, on_topic as u64, "{lane:#?}");
        assert_eq!(lane.is_complete(), lane.cut.is_empty() && clicks.missing.is_empty(), "{lane:#?}");
        let mut text = Vec::new();
        print_lane_verdict_as_text(lane, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let cuts = text.matches("was cut by a power loss: clicks answered after").count();
        assert_eq!(cuts, lane.cut.len(), "{text}");
    }

    /// The numbers in this list of any statement: `quarantined` or `dead_lettered`.
    fn collect_stated_clicks(&self, list: &str) -> BTreeSet<ClickKey> {
        let mut keys = BTreeSet::new();
        for statement in &self.cluster.lock().unwrap().statements {
            let statement: Value = serde_json::from_slice(statement).unwrap();
            let lane = statement["lane"].as_u64().unwrap() as u16;
            for range in statement[list].as_array().unwrap() {
                let number = |name: &str| range[name].as_u64().unwrap();
                keys.extend((number("from")..number("to")).map(|seq| (lane, number("epoch"), seq)));
            }
        }
        keys
    }
}

/// The audit names a click that a power cut took, or says that the epoch's clicks after its last statement can be lost.
/// One between two that are present is stated as quarantined.
fn assert_audit_names_lost_click_or_its_cut_epoch(click: &PendingClick, lanes: &[LaneVerdict]) {
    let lane = lanes.iter().find(|lane| lane.lane == click.key.0).unwrap();
    let cut = lane.cut.iter().find(|(epoch, _)| *epoch == click.key.1);
    let (_, stated_ms) = cut.unwrap_or_else(|| panic!("{:?} is lost, and its epoch not cut: {lane:#?}", click.key));
    let named = is_in_ranges(lane, click.key, |clicks| &clicks.lost_by_cut);
    assert!(
        named || stated_ms.is_none_or(|stated_ms| click.at_ms >= stated_ms),
        "{:?} is lost without a trace, and a statement of its epoch came later: {lane:#?}",
        click.key
    );
}

fn is_in_ranges(lane: &LaneVerdict, key: ClickKey, ranges: impl Fn(&ClickCounts) -> &Vec<SeqRange>) -> bool {
    ranges(&lane.clicks).iter().any(|range| range.contains(key.1, key.2))
}
