//! One topic of the simulated edge: its journal, its delivery, its cluster, and the reference of its clicks. Nothing in
//! it is shared with the other topic but the directory, the clock, and what ends a process.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use super::{
    damage::DamagedPages,
    reference::{ClickKey, Event, EventCounts, PendingClick, PreviousEnd, ProcessEnd},
};
use crate::{
    clock::wall_ms,
    delivery::simulation::{
        SimulatedDelivery,
        cluster::{Guarantee, Random, Scenario, SharedCluster, SimulatedCluster},
        encode_test_click,
    },
    journal::{
        Config, LaneReader, SpillMode,
        tests::machine::{self, Process},
    },
    model::click::Topic,
    size::Bytes,
};

pub(super) const SYNC_INTERVAL: Duration = Duration::from_millis(40);
/// The spiller runs four times in each sync interval.
pub(super) const SPILLER_PAUSE: Duration = Duration::from_millis(10);

/// The topic, its surroundings, and the reference.
pub(super) struct TopicSimulation {
    pub(super) topic: Topic,
    pub(super) config: Config,
    random: Random,
    pub(super) guarantee: Guarantee,
    pub(super) cluster: SharedCluster,
    /// The bits of the gauge of the oldest click that is neither delivered nor synced.
    pub(super) undurable_age: Arc<AtomicU64>,
    pub(super) process: Option<Process>,
    pub(super) delivery: Option<SimulatedDelivery>,
    pub(super) now: Instant,
    /// When the spiller and the delivery have their next turns.
    pub(super) spiller_due: Instant,
    pub(super) delivery_due: Instant,
    pub(super) started: Instant,
    /// When the spiller ran last in this process.
    pub(super) spiller_ran: Option<Instant>,
    pub(super) gauge_checked: Option<Instant>,
    /// The disk has failed in this process's life.
    pub(super) disk_failed: bool,
    /// The number of each click that was ever appended.
    pub(super) appended: BTreeMap<ClickKey, u64>,
    pub(super) pending: Vec<PendingClick>,
    pub(super) damage: DamagedPages,
    /// Clicks that a power cut or an unreadable page lost.
    pub(super) lost: Vec<PendingClick>,
    /// Those of them that the delivery passed while the disk refused to keep their numbers.
    pub(super) unstored: BTreeSet<ClickKey>,
    /// How often each click is on its topic.
    pub(super) on_topic: BTreeMap<ClickKey, u64>,
    /// Clicks that are on their topic, and were stated as quarantined because the lane was damaged.
    pub(super) quarantined_though_delivered: BTreeSet<ClickKey>,
    /// How many records and statements of the topic were checked.
    pub(super) checked_records: usize,
    pub(super) checked_statements: usize,
    /// Clicks that have come to the topic since a checkpoint was checked, and the id of that one.
    pub(super) new_on_topic: Vec<ClickKey>,
    pub(super) checked_checkpoint: Option<(u64, u64)>,
    pub(super) counts: EventCounts,
}

impl TopicSimulation {
    pub(super) fn new(
        topic: Topic,
        seed: u64,
        guarantee: Guarantee,
        now: Instant,
        undurable_age: Arc<AtomicU64>,
    ) -> TopicSimulation {
        let seed = seed * 2 + topic as u64;
        let random = Random::new(seed);
        let spill = if random.next_below(5) == 0 { SpillMode::Always } else { SpillMode::Auto };
        let max_disk_bytes = if random.next_below(4) == 0 { Bytes::kib(96) } else { Bytes::mib(4) };
        let config = Config {
            segment_bytes: Bytes::kib(8),
            max_disk_bytes,
            sync_interval: SYNC_INTERVAL,
            spill,
            ..Config::default()
        };
        TopicSimulation {
            topic,
            config,
            random,
            guarantee,
            cluster: SimulatedCluster::new(!seed, guarantee),
            undurable_age,
            process: None,
            delivery: None,
            now,
            spiller_due: now,
            delivery_due: now,
            started: now,
            spiller_ran: None,
            gauge_checked: None,
            disk_failed: false,
            appended: BTreeMap::new(),
            pending: Vec::new(),
            damage: DamagedPages::default(),
            lost: Vec::new(),
            unstored: BTreeSet::new(),
            on_topic: BTreeMap::new(),
            quarantined_though_delivered: BTreeSet::new(),
            checked_records: 0,
            checked_statements: 0,
            new_on_topic: Vec::new(),
            checked_checkpoint: None,
            counts: EventCounts::default(),
        }
    }

    /// A random number below `of`.
    pub(super) fn pick(&self, of: usize) -> usize {
        self.random.next_below(of)
    }

    /// What happened to the topic.
    pub(super) fn sum_counts(&self) -> EventCounts {
        let mut counts = self.counts.clone();
        let events = self.cluster.lock().unwrap().events;
        counts.add(Event::StatementFailed, events.statements_failed);
        counts.add(Event::TransactionCommitted, events.transactions_committed);
        counts.add(Event::TransactionAborted, events.transactions_aborted);
        counts.add(Event::CommitUnheard, events.commits_unheard);
        counts.add(Event::ProducerFenced, events.producers_fenced);
        counts.add(Event::ProcessTakenOver, events.processes_taken_over);
        counts
    }

    pub(super) fn set_scenario(&self, scenario: Scenario) {
        self.cluster.lock().unwrap().scenario = scenario;
    }

    /// Takes over the opened journal and starts the delivery. `previous` is how the process before ended.
    pub(super) fn start_delivery_and_assert_recovery(
        &mut self,
        process: Process,
        mut readers: Vec<LaneReader>,
        previous: &PreviousEnd,
        data_dir: &Path,
    ) {
        (self.started, self.spiller_due, self.delivery_due) = (self.now, self.now, self.now);
        (self.spiller_ran, self.gauge_checked, self.disk_failed) = (None, None, false);
        self.note_clicks_on_unreadable_pages();
        self.assert_recovered_all_but_cut_clicks(previous.end, &mut readers);
        self.assert_no_delivered_click_is_quarantined_in_undamaged_lanes(
            &process.reports,
            &readers,
            previous.is_damage_unknown || self.has_unreadable_pages(),
        );
        self.delivery = Some(SimulatedDelivery::new(self.topic, data_dir, &self.cluster, readers));
        self.process = Some(process);
        // The spiller runs before the first click is appended.
        self.run_spiller_and_check_invariants();
    }

    /// One text for each lane that was recovered.
    pub(super) fn describe_recovery(&self, process: &Process) -> String {
        let lanes = process.reports.iter().map(|report| {
            format!(
                "\n  lane {} epoch {} {:?}, after {:?}: {} recovered, {} quarantined",
                report.lane, report.epoch, report.condition, report.last_epoch, report.recovered, report.quarantined
            )
        });
        let (topic, pending, ring) = (self.topic.name(), self.pending.len(), self.config.ring_bytes);
        format!("\n {topic}: {pending} clicks pending, rings of {ring}{}", lanes.collect::<String>())
    }

    pub(super) fn append_random_clicks_to_one_lane(&mut self) {
        let most = if self.pick(15) == 0 { 150 } else { 12 };
        let count = 1 + self.pick(most);
        let lanes = self.process.as_ref().unwrap().writers.len();
        let lane_index = self.pick(lanes);
        for _ in 0..count {
            if !self.append_click_unless_full(lane_index) {
                return;
            }
        }
    }

    /// Returns whether there was room.
    pub(super) fn append_click_unless_full(&mut self, lane_index: usize) -> bool {
        let number = self.appended.len() as u64 * Topic::ALL.len() as u64 + self.topic as u64;
        let payload = encode_test_click(number);
        let process = self.process.as_mut().unwrap();
        let lane = &mut process.writers[lane_index];
        let Ok(seq) = lane.append(&payload) else {
            assert!(
                lane.undurable_bytes() > lane.ring_bytes() / 2,
                "the lane refuses a click as full, and is not full"
            );
            self.counts.add(Event::RingFull, 1);
            return false;
        };
        let seq = seq.get();
        let key = (lane.lane(), lane.epoch().get(), seq);
        let before = (key.0, key.1, seq.wrapping_sub(1));
        assert!(seq == 0 || self.appended.contains_key(&before), "{key:?}: a gap");
        assert_eq!(self.appended.insert(key, number), None, "{key:?} was given twice");
        let end = process.head(lane_index);
        self.pending.push(PendingClick { key, end, payload, at: self.now, at_ms: wall_ms(), durable: false });
        self.counts.add(Event::ClickAppended, 1);
        true
    }

    pub(super) fn run_spiller_and_check_invariants(&mut self) {
        let now = self.now;
        let process = self.process.as_mut().unwrap();
        process.run_spiller(now);
        self.disk_failed |= process.is_backing_off();
        self.spiller_ran = Some(now);
        self.note_clicks_on_unreadable_pages();
        self.mark_pending_clicks_that_are_durable();
        self.count_new_records_assert_they_match_and_remove_from_pending();
        self.assert_gauge_covers_oldest_undurable_click_if_due();
    }

    pub(super) fn run_delivery_cycle_and_check_invariants(&mut self, flush_now: bool) {
        self.delivery.as_mut().unwrap().poll_send_and_acknowledge_once(self.now, flush_now);
        self.count_new_records_assert_they_match_and_remove_from_pending();
        self.move_quarantined_unreadable_clicks_to_lost();
        self.assert_acknowledged_clicks_are_on_their_topics();
        self.mark_pending_clicks_that_are_durable();
        self.assert_new_statements_are_true();
        self.assert_new_checkpoint_holds_what_is_on_the_topic();
    }

    /// Ends the process's part of this topic.
    pub(super) fn end_process(&mut self, end: ProcessEnd) {
        let (process, delivery) = (self.process.take().unwrap(), self.delivery.take().unwrap());
        if end == ProcessEnd::PowerLost && !self.disk_failed {
            self.assert_power_cut_loses_only_clicks_younger_than_sync_interval(&process);
        }
        match end {
            ProcessEnd::CleanStop => {
                delivery.send_closing_statements(self.now);
                process.close();
            }
            ProcessEnd::Killed | ProcessEnd::PowerLost => drop((process, delivery)),
        }
    }

    /// Notes which pending clicks are synced.
    fn mark_pending_clicks_that_are_durable(&mut self) {
        let Some(process) = &self.process else { return };
        let durable = process.durable_positions();
        for click in &mut self.pending {
            click.durable |= durable.get(&click.key.0).is_some_and(|durable| click.end <= *durable);
        }
    }
}

/// Reads every undelivered frame of a lane: its key, its payload, and the position at which it ends.
pub(super) fn read_undelivered(reader: &mut LaneReader) -> Vec<(ClickKey, Vec<u8>, u64)> {
    let frames = machine::read_undelivered(reader).into_iter();
    frames.map(|frame| ((frame.lane, frame.epoch, frame.seq), frame.payload, frame.end)).collect()
}
