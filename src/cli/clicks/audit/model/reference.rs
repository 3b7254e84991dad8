//! What the simulation remembers by itself, to compare the journal, the topics and the audit with it.

use std::{collections::BTreeMap, time::Instant};

/// Identifies a click of a topic: lane, epoch, number.
pub(super) type ClickKey = (u16, u64, u64);

/// A click whose append has returned and that is not on its topic.
#[derive(Clone)]
pub(super) struct PendingClick {
    pub(super) key: ClickKey,
    /// The journal position at which its frame ends.
    pub(super) end: u64,
    pub(super) payload: Vec<u8>,
    pub(super) at: Instant,
    pub(super) at_ms: u64,
    /// It has been synced at some time.
    pub(super) durable: bool,
}

impl std::fmt::Debug for PendingClick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ends at {}, appended at {} ms", self.key, self.end, self.at_ms)
    }
}

/// What happens in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    ClickAppended,
    /// An append was refused because the ring was full.
    RingFull,
    Kill,
    PowerCut,
    FailedStart,
    /// A power cut lost a click.
    ClickLostByPowerCut,
    /// A click is on its topic once more.
    Repeat,
    DeadLetter,
    Audit,
    /// A process started with more than eight workers.
    ManyLanesStarted,
    /// A statement said up to which time its lane is complete.
    CompleteToStated,
    PageUnreadable,
    /// Reads began to give few bytes at a time.
    ReadsLimited,
    /// A click was lost with a page, and a start or the delivery found it.
    ClickUnreadableAtStart,
    ClickUnreadableWhileRunning,
    /// A statement was lost, and the sink saw it.
    StatementFailed,
    TransactionCommitted,
    /// A transaction with clicks was aborted.
    TransactionAborted,
    /// A transaction was committed, and its producer did not hear of it.
    CommitUnheard,
    /// A producer learned that another has its transactional id, or that its transaction has expired.
    ProducerFenced,
    /// Another process of the same edge delivered on.
    ProcessTakenOver,
    /// A topic delivered everything while the other had no disk and no cluster.
    TopicDrainedBesideTrouble,
}

impl Event {
    pub(super) const ALL: [Event; 22] = [
        Event::ClickAppended,
        Event::RingFull,
        Event::Kill,
        Event::PowerCut,
        Event::FailedStart,
        Event::ClickLostByPowerCut,
        Event::Repeat,
        Event::DeadLetter,
        Event::Audit,
        Event::ManyLanesStarted,
        Event::CompleteToStated,
        Event::PageUnreadable,
        Event::ReadsLimited,
        Event::ClickUnreadableAtStart,
        Event::ClickUnreadableWhileRunning,
        Event::StatementFailed,
        Event::TransactionCommitted,
        Event::TransactionAborted,
        Event::CommitUnheard,
        Event::ProducerFenced,
        Event::ProcessTakenOver,
        Event::TopicDrainedBesideTrouble,
    ];
}

/// How often each event happened. Shows that a run was not idle.
#[derive(Clone, Debug, Default)]
pub(super) struct EventCounts(BTreeMap<Event, u64>);

impl EventCounts {
    pub(super) fn add(&mut self, event: Event, count: u64) {
        *self.0.entry(event).or_default() += count;
    }

    pub(super) fn add_all(&mut self, other: &EventCounts) {
        other.0.iter().for_each(|(event, count)| self.add(*event, *count));
    }

    pub(super) fn get(&self, event: Event) -> u64 {
        self.0.get(&event).copied().unwrap_or(0)
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEnd {
    CleanStop,
    Killed,
    PowerLost,
}

/// What a start finds.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreviousEnd {
    /// How the process before ended; a power cut during a start that failed counts too. `None`: it is the first.
    pub(super) end: Option<ProcessEnd>,
    /// A start after a power cut has failed, so that only that start knew what was damaged.
    pub(super) is_damage_unknown: bool,
}

/// The starts of a life. Printed if the test fails.
pub(super) struct StartLog {
    pub(super) seed: u64,
    pub(super) starts: Vec<String>,
}

impl Drop for StartLog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let first = self.starts.len().saturating_sub(12);
            let starts = self.starts[first..].join("\n");
            eprintln!("WAYPOST_MODEL_SEED={} repeats this life alone; its last starts:\n{starts}", self.seed);
        }
    }
}
