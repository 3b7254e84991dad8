//! Why nothing is shipped any more, in words.

use crate::faults::{self, say};

/// Why shipping has stopped until somebody does something. Clicks are taken on, and wait in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shipper) enum Halt {
    /// Another process ships as this edge: its name.
    Fenced(String),
    /// The journal knows more delivered than the last checkpoint in Kafka says: the lane.
    Behind(u16),
    /// The last checkpoint in Kafka speaks of an epoch that this directory never had: the lane, the epoch.
    Forked(u16, u64),
}

impl Halt {
    pub(super) const REASONS: [&'static str; 3] = ["fenced", "checkpoint_behind", "forked"];

    pub(super) fn reason(&self) -> &'static str {
        Halt::REASONS[match self {
            Halt::Fenced(_) => 0,
            Halt::Behind(_) => 1,
            Halt::Forked(..) => 2,
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
            Halt::Behind(lane) => say!(
                error,
                faults::CHECKPOINT_BEHIND,
                reason,
                lane,
                "shipping has stopped: lane {lane} has delivered more than the last checkpoint in `{checkpoints}` says, so that topic \
                 was lost or replaced, or this is another cluster. Bring it back, or start once with kafka.delivery = \
                 \"at-least-once\" to go on from the journal"
            ),
            Halt::Forked(lane, epoch) => say!(
                error,
                faults::CHECKPOINT_BEHIND,
                reason,
                lane,
                epoch,
                "shipping has stopped: the last checkpoint in `{checkpoints}` speaks of epoch {epoch} of lane {lane}, which this \
                 directory never had: a copy of it has shipped as edge `{edge}`. Give this one another edge.id: what it holds is \
                 then shipped under that name, what both hold twice"
            ),
        }
    }
}
