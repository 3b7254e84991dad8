//! The simulated cluster, as one topic sees it: what the topics hold, and the open transaction.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
};

use crate::delivery::{
    committed::{CommittedLanes, CommittedSet, LaneKey},
    sink::{InFlightId, OutgoingRecord},
};

/// How the cluster behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Every record is kept and acknowledged at once.
    Healthy,
    /// No record comes through, and no call is answered.
    Unreachable,
    /// One of so many records is handled in a cycle, in any order; some are refused, and some of those were kept. A
    /// call is answered as seldom.
    Slow(usize),
}

/// What the edge demands of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
}

/// The cluster: what a topic of clicks holds, what the topics of lanes and of checkpoints hold of its lanes, and what
/// is on the way. Under exactly-once the topics hold what is committed.
pub(crate) struct SimulatedCluster {
    pub(crate) guarantee: Guarantee,
    pub(crate) scenario: Scenario,
    /// The values of the records of clicks, in order.
    pub(crate) clicks: Vec<Vec<u8>>,
    /// The statements of lanes, in order.
    pub(crate) statements: Vec<Vec<u8>>,
    /// The last checkpoint.
    pub(crate) checkpoint: Option<SimulatedCheckpoint>,
    /// So many of the next statements fail, or transactions with statements.
    pub(crate) statement_failures_to_come: u64,
    pub(crate) events: ClusterEvents,
    /// Records of clicks and statements that a producer without transactions has sent.
    pub(super) in_flight: Vec<SimulatedRecord>,
    pub(super) statements_in_flight: Vec<Vec<u8>>,
    /// The newest producer with the transactional id. Every earlier one is fenced.
    pub(super) newest_producer: u64,
    pub(super) open: Transaction,
    pub(super) random: Random,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClusterEvents {
    pub(crate) statements_failed: u64,
    pub(crate) transactions_committed: u64,
    pub(crate) transactions_aborted: u64,
    /// Transactions that were committed although the producer never heard of it.
    pub(crate) commits_unheard: u64,
    pub(crate) producers_fenced: u64,
    pub(crate) processes_taken_over: u64,
}

/// A record of a click on its way.
pub(super) struct SimulatedRecord {
    pub(super) id: InFlightId,
    pub(super) value: Vec<u8>,
    /// The cluster refuses it always.
    pub(super) poison: bool,
    /// It is on its topic, and the acknowledgement is on its way.
    pub(super) kept: bool,
}

impl SimulatedRecord {
    pub(super) fn new(record: &OutgoingRecord<'_>, value: &[u8]) -> SimulatedRecord {
        let poison = super::is_poison(super::number_of(record.click_id)) && !record.is_stub;
        SimulatedRecord { id: record.id, value: value.to_vec(), poison, kept: false }
    }
}

/// The records of the open transaction.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) clicks: Vec<SimulatedRecord>,
    pub(super) statements: Vec<Vec<u8>>,
    /// Set once the producer commits: the process and its lanes.
    pub(super) checkpoint: Option<(u64, CommittedLanes)>,
}

/// A checkpoint on its topic.
#[derive(Clone)]
pub(crate) struct SimulatedCheckpoint {
    /// The process that wrote it.
    pub(super) process: u64,
    pub(super) offset: u64,
    pub(crate) lanes: CommittedLanes,
}

impl SimulatedCheckpoint {
    /// Names the checkpoint among all.
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.process, self.offset)
    }
}

/// The directory and the process of the edge's double.
const OTHER_DIRECTORY: u64 = u64::MAX;
const OTHER_PROCESS: u64 = u64::MAX;

/// A cluster shared by the test and the sinks of one process after another.
pub(crate) type SharedCluster = Arc<Mutex<SimulatedCluster>>;

impl SimulatedCluster {
    pub(crate) fn new(seed: u64, guarantee: Guarantee) -> SharedCluster {
        Arc::new(Mutex::new(SimulatedCluster {
            guarantee,
            scenario: Scenario::Healthy,
            clicks: Vec::new(),
            statements: Vec::new(),
            checkpoint: None,
            statement_failures_to_come: 0,
            events: ClusterEvents::default(),
            in_flight: Vec::new(),
            statements_in_flight: Vec::new(),
            newest_producer: 0,
            open: Transaction::default(),
            random: Random::new(seed),
        }))
    }

    /// Whether the cluster answers a call now.
    pub(super) fn answers_call(&self) -> bool {
        match self.scenario {
            Scenario::Healthy => true,
            Scenario::Unreachable => false,
            Scenario::Slow(one_of) => self.random.next_below(one_of) == 0,
        }
    }

    /// A slow cluster fails one of so many times.
    pub(super) fn fails_once_in(&self, times: usize) -> bool {
        self.scenario != Scenario::Healthy && self.random.next_below(times) == 0
    }

    /// A new producer takes the transactional id: it fences all others, and settles the transaction that one of them
    /// has left. If that one had begun to commit, either may come of it.
    pub(super) fn join_and_return_producer(&mut self) -> u64 {
        self.settle_left_transaction();
        self.newest_producer += 1;
        self.newest_producer
    }

    pub(super) fn settle_left_transaction(&mut self) {
        if self.open.checkpoint.is_some() && self.random.next_below(2) == 0 {
            self.commit();
            self.events.commits_unheard += 1;
        } else {
            self.abort();
        }
    }

    /// Moves the records of the open transaction to their topics.
    pub(super) fn commit(&mut self) {
        let Transaction { clicks, statements, checkpoint } = std::mem::take(&mut self.open);
        self.clicks.extend(clicks.into_iter().map(|record| record.value));
        self.statements.extend(statements);
        if let Some((process, lanes)) = checkpoint {
            self.store_checkpoint(process, lanes);
        }
        self.events.transactions_committed += 1;
    }

    pub(super) fn abort(&mut self) {
        self.events.transactions_aborted += u64::from(!self.open.clicks.is_empty());
        self.open = Transaction::default();
    }

    /// The broker aborts a transaction that was open for too long, and fences its producer.
    pub(super) fn expire_transaction(&mut self) {
        self.abort();
        self.newest_producer += 1;
    }

    /// Another process of the same edge, with a data directory of its own, joins and commits.
    pub(crate) fn let_other_process_take_over(&mut self) {
        self.settle_left_transaction();
        self.newest_producer += 1;
        let mut lanes = self.checkpoint.as_ref().map(|stored| stored.lanes.clone()).unwrap_or_default();
        lanes.insert(LaneKey { directory: OTHER_DIRECTORY, lane: 0 }, CommittedSet::default());
        self.store_checkpoint(OTHER_PROCESS, lanes);
    }

    fn store_checkpoint(&mut self, process: u64, lanes: CommittedLanes) {
        let offset = self.checkpoint.as_ref().map_or(0, |stored| stored.offset + 1);
        self.checkpoint = Some(SimulatedCheckpoint { process, offset, lanes });
    }
}

/// A sequence of pseudo-random numbers.
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(Cell::new(seed))
    }

    /// A pseudo-random number below `bound`.
    pub(crate) fn next_below(&self, bound: usize) -> usize {
        // SplitMix64.
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
