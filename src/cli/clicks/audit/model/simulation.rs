//! An edge with both of its topics on a simulated machine, and the random steps that the edge, the machine and the
//! clusters take. Trouble comes to one topic at a time, but for what ends the process or the machine.

use std::time::{Duration, Instant};

use super::{
    reference::{ClickKey, Event, EventCounts, PreviousEnd, ProcessEnd, StartLog},
    time::SimulatedClock,
    topic::TopicSimulation,
    undurable_gauge::UndurableAgeRecorder,
};
use crate::{
    delivery::simulation::cluster::{Guarantee, Random, Scenario},
    journal::{
        Config, LaneReader, OpenError,
        tests::machine::{Machine, Process},
    },
    model::click::Topic,
    size::Bytes,
};

/// The lanes of a topic at most, in most lives and in some.
const MAX_LANES: usize = 3;
const MANY_LANES: usize = 16;

/// The two topics of a process that has opened its journals.
type OpenedTopics = [(Process, Vec<LaneReader>); Topic::ALL.len()];

/// The edge and its machine.
pub(super) struct Simulation {
    machine: Machine,
    pub(super) topics: [TopicSimulation; Topic::ALL.len()],
    pub(super) clock: SimulatedClock,
    /// When clicks come next.
    pub(super) clicks_due: Instant,
    max_lanes: usize,
    pub(super) random: Random,
    pub(super) counts: EventCounts,
    log: StartLog,
}

impl Simulation {
    pub(super) fn new(seed: u64, recorder: &UndurableAgeRecorder) -> Simulation {
        let random = Random::new(seed);
        let tmpfs = random.next_below(2) == 0;
        let max_lanes = if seed % 5 == 4 { MANY_LANES } else { MAX_LANES };
        let clock = SimulatedClock::start();
        let now = clock.now();
        let guarantee = if seed % 2 == 1 { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        let values = recorder.values();
        let topics =
            Topic::ALL.map(|topic| TopicSimulation::new(topic, seed, guarantee, now, values[topic as usize].clone()));
        let spill = topics.each_ref().map(|topic| (topic.config.spill, topic.config.max_disk_bytes));
        Simulation {
            machine: Machine::new(tmpfs, Config::default()),
            topics,
            clock,
            clicks_due: now,
            max_lanes,
            random,
            counts: EventCounts::default(),
            log: StartLog {
                seed,
                starts: vec![format!("rings on tmpfs: {tmpfs}, {max_lanes} lanes, {guarantee:?}, {spill:?}")],
            },
        }
    }

    /// What happened in the life.
    pub(super) fn sum_counts(&self) -> EventCounts {
        let mut counts = self.counts.clone();
        self.topics.iter().for_each(|topic| counts.add_all(&topic.sum_counts()));
        counts
    }

    /// A random number below `of`.
    pub(super) fn pick(&self, of: usize) -> usize {
        self.random.next_below(of)
    }

    pub(super) fn pick_topic(&self) -> usize {
        self.pick(Topic::ALL.len())
    }

    pub(super) fn start_first_process(&mut self) {
        let workers = 1 + self.pick(self.max_lanes);
        self.start_process_after_random_failures_and_assert_recovery(None, workers);
    }

    /// Starts a process, perhaps after starts that fail on the way. `last_end` is how the process before ended.
    fn start_process_after_random_failures_and_assert_recovery(
        &mut self,
        last_end: Option<ProcessEnd>,
        workers: usize,
    ) {
        let mut previous = PreviousEnd { end: last_end, is_damage_unknown: false };
        let opened = loop {
            if self.pick(3) == 0 {
                let broken = self.topics[self.pick_topic()].topic.name();
                self.machine.break_disk(broken, self.pick(30) as u64, u64::MAX);
            }
            for topic in &mut self.topics {
                topic.config.ring_bytes = Bytes::kib([128, 64, 64, 32, 32][topic.pick(5)]);
            }
            let opened = self.open_journals(workers);
            self.repair_disks();
            match opened {
                Ok(opened) => break opened,
                Err(why) => {
                    self.counts.add(Event::FailedStart, 1);
                    self.log.starts.push(format!("failed start after {previous:?}: {why}"));
                    if self.pick(3) == 0 {
                        self.cut_power_and_count_it();
                        previous.end = Some(ProcessEnd::PowerLost);
                    }
                    previous.is_damage_unknown |= previous.end == Some(ProcessEnd::PowerLost);
                }
            }
        };
        let recovered: String =
            self.topics.iter().zip(&opened).map(|(topic, (process, _))| topic.describe_recovery(process)).collect();
        self.log.starts.push(format!("{workers} workers, after {previous:?}{recovered}"));
        self.counts.add(Event::ManyLanesStarted, u64::from(workers > MANY_LANES / 2));
        self.clicks_due = self.clock.now();
        for (topic, (process, readers)) in self.topics.iter_mut().zip(opened) {
            topic.start_delivery_and_assert_recovery(process, readers, &previous, self.machine.data_dir());
        }
    }

    /// Opens the journals as the edge does: if the second one fails, the first one is closed in good order.
    fn open_journals(&mut self, workers: usize) -> Result<OpenedTopics, OpenError> {
        let [clicks, orphans] = self.topics.each_ref().map(|topic| (topic.topic.name(), topic.config.clone()));
        let locks = self.machine.lock_directories(clicks.0)?;
        let opened = self.machine.open_journal(clicks.0, &clicks.1, workers, &locks)?;
        match self.machine.open_journal(orphans.0, &orphans.1, workers, &locks) {
            Ok(orphans) => Ok([opened, orphans]),
            Err(error) => {
                let (process, readers) = opened;
                drop(readers);
                process.close();
                Err(error)
            }
        }
    }

    fn repair_disks(&mut self) {
        Topic::ALL.into_iter().for_each(|topic| self.machine.repair_disk(topic.name()));
    }

    fn cut_power_and_count_it(&mut self) {
        let random = &self.random;
        self.machine.cut_power(&mut |of| random.next_below(of));
        self.counts.add(Event::PowerCut, 1);
    }

    /// Ends the process and starts another.
    fn end_process_and_start_another(&mut self, end: ProcessEnd, workers: usize) {
        self.topics.iter_mut().for_each(|topic| topic.end_process(end));
        self.repair_disks();
        match end {
            ProcessEnd::CleanStop => {}
            ProcessEnd::Killed => self.counts.add(Event::Kill, 1),
            ProcessEnd::PowerLost => self.cut_power_and_count_it(),
        }
        self.start_process_after_random_failures_and_assert_recovery(Some(end), workers);
    }

    fn end_process_and_start_another_with_random_workers(&mut self, end: ProcessEnd) {
        let workers = 1 + self.pick(self.max_lanes);
        self.end_process_and_start_another(end, workers);
    }

    pub(super) fn take_random_step_and_check_invariants(&mut self) {
        let index = self.pick_topic();
        let topic = &mut self.topics[index];
        match self.random.next_below(100) {
            0..80 => self.run_all_threads_for(Duration::from_millis(1 + self.pick(10) as u64)),
            80..83 => self.run_slow_edge_without_clicks_for(Duration::from_millis(1 + self.pick(2_000) as u64)),
            84 if topic.pick(2) == 0 && topic.delivery.as_ref().unwrap().has_committed() => {
                self.fence_process_by_its_double(index);
            }
            84..88 => topic.set_scenario(match topic.pick(4) {
                0 => Scenario::Healthy,
                1 => Scenario::Unreachable,
                _ => Scenario::Slow(1 + topic.pick(8)),
            }),
            88..91 => {
                let failures = [1, 4, u64::MAX][topic.pick(3)];
                self.machine.break_disk(topic.topic.name(), topic.pick(20) as u64, failures);
                topic.disk_failed = true;
            }
            91 => self.machine.repair_disk(topic.topic.name()),
            92 if topic.pick(6) == 0 => topic.change_limit_of_reads(&mut self.machine),
            92 => topic.change_unreadable_pages(&mut self.machine),
            93..96 => self.machine.save_ring_states(),
            83 if self.pick(2) == 0 => self.drain_one_topic_beside_trouble_of_the_other(index),
            83 | 96 => self.assert_audit_finds_nothing_missing(),
            97 => self.end_process_and_start_another_with_random_workers(ProcessEnd::Killed),
            98 => self.end_process_and_start_another_with_random_workers(ProcessEnd::PowerLost),
            _ => {
                let ends = [ProcessEnd::CleanStop, ProcessEnd::Killed, ProcessEnd::PowerLost];
                self.end_process_and_start_another_with_random_workers(ends[self.pick(ends.len())]);
            }
        }
    }

    /// Another process of the same edge takes over the topic: this one commits nothing any more, notices, and stops
    /// until it is started again.
    fn fence_process_by_its_double(&mut self, index: usize) {
        let topic = &mut self.topics[index];
        topic.set_scenario(Scenario::Healthy);
        topic.cluster.lock().unwrap().let_other_process_take_over();
        topic.count_new_records_assert_they_match_and_remove_from_pending();
        let records = topic.checked_records;
        topic.append_random_clicks_to_one_lane();
        self.run_slow_edge_without_clicks_for(Duration::from_secs(15));
        let topic = &self.topics[index];
        assert_eq!(topic.checked_records, records, "a fenced process commits");
        assert!(topic.delivery.as_ref().unwrap().is_taken_over(), "the process has not noticed");
        self.end_process_and_start_another_with_random_workers(ProcessEnd::Killed);
    }

    /// One topic has neither disk nor cluster, and clicks come to both: the other one delivers all of its own, and then
    /// has room for more in every lane.
    fn drain_one_topic_beside_trouble_of_the_other(&mut self, troubled: usize) {
        let well = 1 - troubled;
        self.machine.break_disk(self.topics[troubled].topic.name(), 0, u64::MAX);
        self.topics[troubled].disk_failed = true;
        self.topics[troubled].set_scenario(Scenario::Unreachable);
        self.machine.repair_disk(self.topics[well].topic.name());
        self.topics[well].set_scenario(Scenario::Healthy);
        // Transactions with refused clicks take many rounds each.
        for round in 0..3_000 {
            self.advance_clock(Duration::from_millis(100));
            for topic in &mut self.topics {
                if round < 10 {
                    topic.append_random_clicks_to_one_lane();
                }
                topic.run_spiller_and_check_invariants();
                topic.run_delivery_cycle_and_check_invariants(false);
            }
            if round >= 10 && self.topics[well].pending.is_empty() {
                break;
            }
        }
        let well = &mut self.topics[well];
        assert!(well.pending.is_empty(), "{} waits for the other topic: {:?}", well.topic.name(), well.pending);
        for lane_index in 0..well.process.as_ref().unwrap().writers.len() {
            assert!(well.append_click_unless_full(lane_index), "{} has no room", well.topic.name());
        }
        self.counts.add(Event::TopicDrainedBesideTrouble, 1);
    }

    /// Repairs disks and clusters, delivers every click, and stops the process.
    pub(super) fn restart_repair_and_deliver_all(&mut self) {
        self.repair_disks();
        self.topics.iter().for_each(|topic| topic.set_scenario(Scenario::Healthy));
        // Every lane has a worker, so that each of them makes a closing statement.
        self.end_process_and_start_another(ProcessEnd::Killed, self.max_lanes);
        for _ in 0..2_000 {
            self.advance_clock(Duration::from_millis(700));
            for topic in &mut self.topics {
                topic.run_delivery_cycle_and_check_invariants(true);
                topic.run_spiller_and_check_invariants();
            }
            if self.topics.iter().all(|topic| topic.delivery.as_ref().unwrap().is_all_delivered()) {
                break;
            }
        }
        for topic in &mut self.topics {
            // The first closing statements are lost, and sent again.
            let failures = if topic.guarantee == Guarantee::ExactlyOnce { 1 } else { topic.pick(self.max_lanes + 1) };
            topic.cluster.lock().unwrap().statement_failures_to_come = failures as u64;
            let pending: Vec<ClickKey> = topic.pending.iter().map(|click| click.key).collect();
            let undelivered = topic.delivery.as_ref().unwrap().describe_undelivered();
            assert!(pending.is_empty(), "{}: not delivered: {pending:?}{undelivered}", topic.topic.name());
            topic.end_process(ProcessEnd::CleanStop);
        }
    }
}
