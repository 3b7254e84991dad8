//! Why the Kafka sink has stopped, and what to do about it. Clicks are still accepted, and wait in the journal.

use crate::{
    delivery::lane::JournalConflict,
    faults::{self, log_fault},
    model::click::Topic,
};

/// The reason for which delivery has stopped until somebody acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeliveryStopped {
    /// Another process delivers as this edge.
    Fenced {
        /// The process, as its checkpoint names it: host/pid/start in ms.
        process: String,
    },
    /// The last checkpoint in Kafka contradicts the journal.
    Conflict(JournalConflict),
}

impl DeliveryStopped {
    /// Every value of [`DeliveryStopped::reason`].
    pub(super) const REASONS: [&'static str; 3] = ["fenced", "checkpoint_behind", "forked"];

    /// The reason in metrics and logs.
    pub(super) fn reason_as_str(&self) -> &'static str {
        DeliveryStopped::REASONS[match self {
            DeliveryStopped::Fenced { .. } => 0,
            DeliveryStopped::Conflict(JournalConflict::CheckpointBehind { .. }) => 1,
            DeliveryStopped::Conflict(JournalConflict::UnknownEpoch { .. }) => 2,
        }]
    }

    /// Logs the reason and what to do. `topic`: whose clicks wait. `checkpoints`: the name of the topic of checkpoints.
    pub(super) fn log_reason_and_advice(&self, topic: Topic, edge: &str, checkpoints: &str) {
        let topic = topic.name();
        let reason = self.reason_as_str();
        match self {
            DeliveryStopped::Fenced { process } => log_fault!(
                error,
                faults::PRODUCER_FENCED,
                topic,
                reason,
                process,
                "delivery has stopped: another process delivers as edge `{edge}`: {process} (host/pid/start in ms). \
                 Stop one of the two, or give it another edge.id, then start this one again"
            ),
            DeliveryStopped::Conflict(JournalConflict::CheckpointBehind { lane, in_journal, in_checkpoint }) => {
                log_fault!(
                    error,
                    faults::CHECKPOINT_BEHIND,
                    topic,
                    reason,
                    lane,
                    here = format!("{}/{}", in_journal.epoch, in_journal.next),
                    there = format!("{}/{}", in_checkpoint.epoch, in_checkpoint.next),
                    "delivery has stopped: lane {lane} has delivered more than the last checkpoint in `{checkpoints}` \
                 says, so that topic was lost or replaced, or this is another cluster. Bring the topic back, or start \
                 once with kafka.delivery = \"at-least-once\" to go on from the journal"
                )
            }
            DeliveryStopped::Conflict(JournalConflict::UnknownEpoch { lane, epoch }) => log_fault!(
                error,
                faults::CHECKPOINT_BEHIND,
                topic,
                reason,
                lane,
                epoch = epoch.get(),
                "delivery has stopped: the last checkpoint in `{checkpoints}` names epoch {epoch} of lane {lane}, \
                 which this directory never had: a copy of the directory has delivered as edge `{edge}`. Stop the \
                 copy, then start this one once with kafka.delivery = \"at-least-once\": clicks that both hold are \
                 delivered twice"
            ),
        }
    }
}
