//! What an error of Kafka means for a click that met it.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use crate::faults::{self, Fault};

/// Why a record was not delivered, by what has to happen next. No class ever means that a click is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Broker away, slow, electing, short of replicas, or the record left the queue unsent: send it again later.
    Retriable,
    /// The topic (or the partition) does not exist: a person has to create it. Keep, alarm, try again.
    TopicMissing,
    /// The broker does not let us in, or does not let us write. Keep, alarm, try again.
    NotAuthorized,
    /// The record, or the batch it was in, is larger than the broker takes. Poison only if refused again alone.
    TooLarge,
    /// The record's timestamp is outside what the topic allows: send again with a clamped one.
    InvalidTimestamp,
    /// The broker refused the record, or the batch it was in, for what it holds. Poison only if refused again alone.
    Invalid,
    /// The producer is of no more use: build another and replay from the acknowledged prefix.
    Fatal,
    /// Another producer has taken our place: stop, and say so.
    Fenced,
}

impl Refusal {
    /// Every class; the label values of its metric.
    pub const ALL: [Refusal; 8] = [
        Refusal::Retriable,
        Refusal::TopicMissing,
        Refusal::NotAuthorized,
        Refusal::TooLarge,
        Refusal::InvalidTimestamp,
        Refusal::Invalid,
        Refusal::Fatal,
        Refusal::Fenced,
    ];

    /// The class of an error. One without a code, and any code not named here, is [`Refusal::Retriable`]: waiting keeps the click.
    pub fn of(error: &KafkaError) -> Refusal {
        error.rdkafka_error_code().map_or(Refusal::Retriable, Refusal::of_code)
    }

    /// The class of an error code.
    pub fn of_code(code: Code) -> Refusal {
        match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::InvalidTopic => {
                Refusal::TopicMissing
            }
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::Authentication
            | Code::SecurityDisabled => Refusal::NotAuthorized,
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => Refusal::TooLarge,
            Code::InvalidTimestamp => Refusal::InvalidTimestamp,
            Code::InvalidRecord | Code::InvalidMessage | Code::PolicyViolation => Refusal::Invalid,
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Refusal::Fenced,
            Code::Fatal | Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::DuplicateSequenceNumber => {
                Refusal::Fatal
            }
            _ => Refusal::Retriable,
        }
    }

    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::Retriable => "retriable",
            Refusal::TopicMissing => "topic_missing",
            Refusal::NotAuthorized => "not_authorized",
            Refusal::TooLarge => "too_large",
            Refusal::InvalidTimestamp => "invalid_timestamp",
            Refusal::Invalid => "invalid",
            Refusal::Fatal => "fatal",
            Refusal::Fenced => "fenced",
        }
    }

    /// Whether the record itself may be at fault, so that it has to be tried alone.
    pub const fn suspects_the_record(self) -> bool {
        matches!(self, Refusal::TooLarge | Refusal::Invalid)
    }

    /// Whether waiting and sending again is all there is to do.
    pub const fn is_retriable(self) -> bool {
        matches!(self, Refusal::Retriable)
    }

    /// Whether a person has to change something at the broker before it can go on.
    pub const fn needs_a_person(self) -> bool {
        matches!(self, Refusal::TopicMissing | Refusal::NotAuthorized | Refusal::Fenced)
    }

    /// The fault under which it is logged.
    pub const fn fault(self) -> Fault {
        match self {
            Refusal::Retriable => faults::CLICKS_RETURNED,
            Refusal::TopicMissing => faults::TOPIC_MISSING,
            Refusal::NotAuthorized => faults::TOPIC_NOT_AUTHORIZED,
            Refusal::TooLarge | Refusal::InvalidTimestamp | Refusal::Invalid => faults::CLICKS_REFUSED,
            Refusal::Fatal => faults::PRODUCER_FAILED,
            Refusal::Fenced => faults::PRODUCER_FENCED,
        }
    }

    /// What to do, for the log; `topic` is the one the record was for.
    pub fn advice(self, topic: &str) -> String {
        match self {
            Refusal::Retriable => "clicks wait in the journal and are sent again".to_owned(),
            Refusal::TopicMissing => {
                format!(
                    "topic `{topic}` does not exist; create it with `waypost kafka setup --apply`; clicks wait in the journal"
                )
            }
            Refusal::NotAuthorized => format!(
                "the broker does not let us write to `{topic}`; check sasl.* and ssl.* in [kafka.properties] and grant WRITE and \
                 DESCRIBE on the topic; clicks wait in the journal"
            ),
            Refusal::TooLarge => {
                format!("raise max.message.bytes of `{topic}` or lower batch.size in [kafka.properties]")
            }
            Refusal::InvalidTimestamp => {
                format!(
                    "`{topic}` refuses the click's time; check this machine's clock, and raise message.timestamp.before.max.ms for clicks of long ago"
                )
            }
            Refusal::Invalid => {
                // Of several bad timestamps in one batch librdkafka says no more than this.
                format!(
                    "`{topic}` refuses the record; check this machine's clock, and look for a cleanup.policy or a plug-in that \
                     wants keys"
                )
            }
            Refusal::Fatal => "the producer is built anew and replays what was not acknowledged".to_owned(),
            Refusal::Fenced => {
                "another process uses this edge's transactional id; stop it, then start this one again".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_and_a_purged_record_are_waited_for_and_never_poison() {
        for code in
            [Code::PurgeQueue, Code::PurgeInflight, Code::MessageTimedOut, Code::NotEnoughReplicas, Code::Unknown]
        {
            assert_eq!(Refusal::of_code(code), Refusal::Retriable, "{code:?}");
        }
        assert_eq!(Refusal::of(&KafkaError::Canceled), Refusal::Retriable);
    }

    #[test]
    fn topic_permission_and_timestamp_errors_never_suspect_the_record() {
        for code in [Code::UnknownTopicOrPartition, Code::TopicAuthorizationFailed, Code::InvalidTimestamp] {
            assert!(!Refusal::of_code(code).suspects_the_record(), "{code:?}");
        }
        assert!(Refusal::of_code(Code::MessageSizeTooLarge).suspects_the_record());
        assert!(Refusal::TopicMissing.advice("clicks").contains("`clicks`"));
    }

    #[test]
    fn every_class_has_its_own_word() {
        let words: std::collections::HashSet<_> = Refusal::ALL.iter().map(|class| class.as_str()).collect();
        assert_eq!(words.len(), Refusal::ALL.len());
    }
}
