//! What must hold of a topic after each step.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use serde_json::Value;

use super::{
    reference::{ClickKey, Event, PendingClick, ProcessEnd},
    topic::{SPILLER_PAUSE, SYNC_INTERVAL, TopicSimulation, read_undelivered},
};
use crate::{
    delivery::simulation::{cluster::Guarantee, is_poison},
    journal::{Epoch, LaneReader, RecoveryReport, Seq, tests::machine::Process},
};

/// The gauges are set this often.
const GAUGES_EVERY: Duration = Duration::from_millis(100);

impl TopicSimulation {
    /// After a start, every pending click is in the journal, in order and unchanged. Only after a power cut may clicks
    /// be absent that were neither delivered nor synced; and clicks on unreadable pages.
    pub(super) fn assert_recovered_all_but_cut_clicks(
        &mut self,
        last_end: Option<ProcessEnd>,
        readers: &mut [LaneReader],
    ) {
        self.count_new_records_assert_they_match_and_remove_from_pending();
        let mut recovered = BTreeMap::new();
        for reader in readers.iter_mut() {
            let mut last = None;
            for (key, payload, end) in read_undelivered(reader) {
                assert!(self.appended.contains_key(&key), "{key:?} was never appended");
                let before = last.replace((key.1, key.2));
                assert!(before < Some((key.1, key.2)), "{key:?} after {before:?}");
                recovered.insert(key, (payload, end));
            }
        }
        for click in std::mem::take(&mut self.pending) {
            match recovered.get(&click.key) {
                Some((payload, end)) => {
                    assert_eq!((payload, *end), (&click.payload, click.end), "{:?}", click.key);
                    self.pending.push(click);
                }
                None if self.may_be_unreadable(&click.key) => self.move_unreadable_click_to_lost(click, readers),
                None => {
                    assert_lost_by_power_cut(&click, last_end, readers);
                    self.counts.add(Event::ClickLostByPowerCut, 1);
                    self.lost.push(click);
                }
            }
        }
    }

    /// No delivered click is newly called quarantined in a lane without a damaged segment. A segment can be damaged by
    /// the power cut itself: the block that was being written, of which nobody knows afterwards whether it was synced.
    /// `is_damage_unknown`: a start that found it has failed since.
    pub(super) fn assert_no_delivered_click_is_quarantined_in_undamaged_lanes(
        &mut self,
        reports: &[RecoveryReport],
        readers: &[LaneReader],
        is_damage_unknown: bool,
    ) {
        for (report, reader) in reports.iter().zip(readers) {
            let keys = reader.status().quarantined.into_iter().flat_map(|range| {
                (range.first.get()..range.end.get()).map(move |seq| (report.lane, range.epoch.get(), seq))
            });
            let delivered: Vec<ClickKey> = keys.filter(|key| self.on_topic.contains_key(key)).collect();
            if report.damaged > 0 || is_damage_unknown {
                self.quarantined_though_delivered.extend(delivered);
            } else {
                let is_new =
                    |key: &&ClickKey| !self.quarantined_though_delivered.contains(key) && !self.may_be_unreadable(key);
                let new: Vec<&ClickKey> = delivered.iter().filter(is_new).collect();
                assert!(new.is_empty(), "{new:?} are on their topic, and stated as quarantined");
            }
        }
    }

    /// Checks the records that were written to the topics since the last call: each is a click that was appended, stubs
    /// take the place of refused clicks alone, and `safe` is true.
    pub(super) fn count_new_records_assert_they_match_and_remove_from_pending(&mut self) {
        let cluster = self.cluster.clone();
        let cluster = cluster.lock().unwrap();
        for record in &cluster.clicks[self.checked_records..] {
            self.count_record_and_assert_it_matches_appended_click(&serde_json::from_slice(record).unwrap());
        }
        self.checked_records = cluster.clicks.len();
        self.pending.retain(|click| !self.on_topic.contains_key(&click.key));
    }

    fn count_record_and_assert_it_matches_appended_click(&mut self, event: &Value) {
        let key = key_of_event(event);
        let id = event["click_id"].as_str().unwrap().replace('-', "");
        let number = u64::from_str_radix(&id[16..], 16).unwrap();
        assert_eq!(self.appended.get(&key), Some(&number), "{key:?} on a topic");
        let stub = event["type"] == "dead_lettered";
        assert!(stub == is_poison(number), "{key:?}: a stub, and only of what cannot be delivered");
        let count = self.on_topic.entry(key).or_default();
        *count += 1;
        assert!(*count == 1 || self.guarantee == Guarantee::AtLeastOnce, "{key:?} is committed {count} times");
        if self.guarantee == Guarantee::ExactlyOnce {
            self.new_on_topic.push(key);
        }
        self.counts.add(Event::Repeat, u64::from(*count > 1));
        self.counts.add(Event::DeadLetter, u64::from(stub && *count == 1));
        let safe = event["safe"].as_u64().unwrap();
        for click in &self.pending {
            let same_epoch = (click.key.0, click.key.1) == (key.0, key.1);
            let called_safe = same_epoch && click.key.2 < safe && !self.on_topic.contains_key(&click.key);
            assert!(!called_safe || click.durable, "{key:?} says {safe} are safe, and {click:?} is not");
        }
    }

    /// The gauge never shows less than the age of the oldest click that is neither delivered nor synced.
    pub(super) fn assert_gauge_covers_oldest_undurable_click_if_due(&mut self) {
        let now = self.now;
        if self.gauge_checked.is_some_and(|at| now - at < GAUGES_EVERY) {
            return;
        }
        self.gauge_checked = Some(now);
        let durable = self.process.as_ref().map(Process::durable_positions).unwrap_or_default();
        let undurable =
            self.pending.iter().filter(|click| durable.get(&click.key.0).is_none_or(|durable| click.end > *durable));
        let oldest = undurable.map(|click| now - click.at.max(self.started)).max().unwrap_or_default();
        let shown = f64::from_bits(self.undurable_age.load(Ordering::Relaxed));
        assert!(shown + 1e-6 >= oldest.as_secs_f64(), "the gauge shows {shown} s, and a click waits {oldest:?}");
    }

    /// Under exactly-once a new checkpoint has every click that is on the topic, and no other.
    pub(super) fn assert_new_checkpoint_holds_what_is_on_the_topic(&mut self) {
        let cluster = self.cluster.clone();
        let cluster = cluster.lock().unwrap();
        let Some(checkpoint) = cluster.checkpoint.as_ref() else { return };
        if self.checked_checkpoint.replace(checkpoint.id()) == Some(checkpoint.id()) {
            return;
        }
        let is_committed = |&(lane, epoch, seq): &ClickKey| {
            let of_lane = checkpoint.lanes.iter().filter(|(key, _)| key.lane == lane);
            of_lane.into_iter().any(|(_, committed)| committed.contains(Epoch::new(epoch), Seq::new(seq)))
        };
        let absent: Vec<ClickKey> = self.new_on_topic.drain(..).filter(|key| !is_committed(key)).collect();
        assert!(absent.is_empty(), "committed, and not in the checkpoint: {absent:?}");
        for click in &self.pending {
            assert!(!is_committed(&click.key), "{click:?} is in the checkpoint, and not on the topic");
        }
    }

    pub(super) fn assert_acknowledged_clicks_are_on_their_topics(&self) {
        let acknowledged = self.process.as_ref().unwrap().acked_positions();
        for click in &self.pending {
            let acknowledged = acknowledged.get(&click.key.0).copied().unwrap_or(0);
            assert!(
                click.end > acknowledged,
                "{click:?} is acknowledged up to {acknowledged} and not on its topic; {}",
                self.describe_damage(click.key)
            );
        }
    }

    /// A power cut now loses only clicks younger than the sync interval.
    pub(super) fn assert_power_cut_loses_only_clicks_younger_than_sync_interval(&self, process: &Process) {
        let durable = process.durable_positions();
        let spiller_ran = self.spiller_ran.unwrap_or(self.started);
        let bound = SYNC_INTERVAL - SPILLER_PAUSE + (self.now - spiller_ran);
        for click in self.pending.iter().filter(|click| click.end > durable[&click.key.0]) {
            let age = self.now - click.at.max(self.started);
            assert!(age <= bound, "{:?} is not durable after {age:?}; {bound:?} are allowed", click.key);
        }
    }
}

pub(super) fn key_of_event(event: &Value) -> ClickKey {
    let number = |name: &str| event[name].as_u64().unwrap();
    (number("lane") as u16, number("epoch"), number("seq"))
}

/// A click that is gone was never durable, and its epoch is stated as cut.
fn assert_lost_by_power_cut(click: &PendingClick, last_end: Option<ProcessEnd>, readers: &[LaneReader]) {
    let key = click.key;
    assert_eq!(last_end, Some(ProcessEnd::PowerLost), "{key:?} is neither on its topic nor in the journal");
    assert!(!click.durable, "{key:?} was durable, and is gone");
    let reader = readers.iter().find(|reader| reader.lane() == key.0).expect("a lane with undelivered clicks");
    let ended = reader.status().epoch_ends;
    let end = ended.iter().find(|end| end.epoch.get() == key.1);
    assert!(end.is_some_and(|end| end.cut), "{key:?} is lost, and its epoch ended {end:?}");
}
