//! Why nothing is shipped any more, in words.

use crate::{
    faults::{self, say},
    journal::Mark,
};

/// Why shipping has stopped until somebody does something. Clicks are taken on, and wait in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Another process ships as this edge: its name.
    Fenced(String),
    /// The journal knows more delivered of a lane than the last checkpoint in Kafka says.
    Behind {
        /// The lane.
        lane: u16,
        /// What the journal knows.
        here: Mark,
        /// What the checkpoint says.
        there: Mark,
    },
    /// The last checkpoint in Kafka speaks of an epoch that this directory never had.
    Forked {
        /// The lane.
        lane: u16,
        /// The epoch.
        epoch: u64,
    },
}

impl Halt {
    pub(super) const REASONS: [&'static str; 3] = ["fenced", "checkpoint_behind", "forked"];

    pub(super) fn reason(&self) -> &'static str {
        Halt::REASONS[match self {
            Halt::Fenced(_) => 0,
            Halt::Behind { .. } => 1,
            Halt::Forked { .. } => 2,
        }]
    }

    pub(super) fn say(&self, edge: &str, checkpoints: &str) {
        let reason = self.reason();
        match self {
            Halt::Fenced(process) => say!(
                error,
                faults::PRODUCER_FENCED,
                reason,
                process,
                "shipping has stopped: another process ships as edge `{edge}`: {process} (host/pid/start in ms). Stop one of the \
                 two, or give it another edge.id, then start this one again"
            ),
            Halt::Behind { lane, here, there } => say!(
                error,
                faults::CHECKPOINT_BEHIND,
                reason,
                lane,
                here = format!("{}/{}", here.epoch, here.next),
                there = format!("{}/{}", there.epoch, there.next),
                "shipping has stopped: lane {lane} has delivered more than the last checkpoint in `{checkpoints}` says, so that topic \
                 was lost or replaced, or this is another cluster. Bring it back, or start once with kafka.delivery = \
                 \"at-least-once\" to go on from the journal"
            ),
            Halt::Forked { lane, epoch } => say!(
                error,
                faults::CHECKPOINT_BEHIND,
                reason,
                lane,
                epoch,
                "shipping has stopped: the last checkpoint in `{checkpoints}` speaks of epoch {epoch} of lane {lane}, which this \
                 directory never had: a copy of it has shipped as edge `{edge}`. Stop the copy, then start this one once with \
                 kafka.delivery = \"at-least-once\": what both hold comes twice"
            ),
        }
    }
}
