//! What an error of Kafka means for the click whose record met it.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use crate::{
    faults::{self, Fault},
    word_enum::word_enum,
};

word_enum! {
    /// Why a record was not delivered, by what has to happen next. No class ever means that a click is dropped.
    pub enum Refusal {
        /// The broker is away, slow, electing, or short of replicas, or the record left the queue unsent: it is sent
        /// again later.
        Retriable = "retriable",
        /// The topic or partition does not exist: an operator has to create it. The click waits and is tried again.
        TopicMissing = "topic_missing",
        /// The broker refuses the login, or the right to write: an operator has to act. The click waits and is tried
        /// again.
        NotAuthorized = "not_authorized",
        /// The record, or the batch it was in, is too large. The record is bad only if it is refused again alone.
        TooLarge = "too_large",
        /// The record's timestamp is outside the range that the topic allows: it is sent again with a shifted one.
        InvalidTimestamp = "invalid_timestamp",
        /// The broker refuses the contents of the record, or of its batch. The record is bad only if it is refused
        /// again alone.
        Invalid = "invalid",
        /// The producer is of no more use: a new one is built, and the journal is read again from the acknowledged
        /// position.
        Fatal = "fatal",
        /// Under exactly-once another producer may have taken the edge's place, and delivery may have to stop. Without
        /// it as [`Refusal::Fatal`].
        Fenced = "fenced",
    }
}

impl Refusal {
    /// The class of an error. An error without a code, or with a code not named here, is [`Refusal::Retriable`], which
    /// keeps the click.
    pub fn of(error: &KafkaError) -> Refusal {
        error.rdkafka_error_code().map_or(Refusal::Retriable, Refusal::from_code)
    }

    /// The class of an error code.
    pub fn from_code(code: Code) -> Refusal {
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

    /// The fault under which the refusal is logged.
    pub const fn fault(self) -> Fault {
        match self {
            Refusal::Retriable => faults::CLICKS_RETURNED,
            Refusal::TopicMissing => faults::TOPIC_MISSING,
            Refusal::NotAuthorized => faults::TOPIC_NOT_AUTHORIZED,
            Refusal::TooLarge | Refusal::InvalidTimestamp | Refusal::Invalid => faults::CLICKS_BLOCKED,
            Refusal::Fatal | Refusal::Fenced => faults::PRODUCER_FAILED,
        }
    }

    /// What happens next, and what an operator can do; for the log. `topic`: the topic of the record.
    pub fn advice_for_operator(self, topic: &str) -> String {
        match self {
            Refusal::Retriable => "clicks wait in the journal and are sent again".to_owned(),
            Refusal::TopicMissing => format!(
                "topic `{topic}` does not exist; create it with `waypost kafka setup --apply`; clicks wait in the \
                 journal"
            ),
            Refusal::NotAuthorized => format!(
                "the broker does not let us write to `{topic}`; check sasl.* and ssl.* in [kafka.properties] and grant \
                 WRITE and DESCRIBE on the topic; clicks wait in the journal"
            ),
            Refusal::TooLarge => {
                format!("raise max.message.bytes of `{topic}` or lower batch.size in [kafka.properties]")
            }
            Refusal::InvalidTimestamp => format!(
                "`{topic}` refuses the click's time; check this machine's clock, and raise \
                 message.timestamp.before.max.ms for clicks of long ago"
            ),
            // For several bad timestamps in one batch librdkafka reports no more than this.
            Refusal::Invalid => format!(
                "`{topic}` refuses the record; check this machine's clock, and look for a plug-in of the broker that \
                 checks records"
            ),
            Refusal::Fatal | Refusal::Fenced => {
                "a new producer is built, and sends again every click that was not acknowledged".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_and_a_purged_record_are_retried() {
        for code in
            [Code::PurgeQueue, Code::PurgeInflight, Code::MessageTimedOut, Code::NotEnoughReplicas, Code::Unknown]
        {
            assert_eq!(Refusal::from_code(code), Refusal::Retriable, "{code:?}");
        }
        assert_eq!(Refusal::of(&KafkaError::Canceled), Refusal::Retriable);
    }

    #[test]
    fn errors_of_the_topic_and_of_permissions_are_told_apart_from_those_of_the_record() {
        for (code, refusal) in [
            (Code::UnknownTopicOrPartition, Refusal::TopicMissing),
            (Code::TopicAuthorizationFailed, Refusal::NotAuthorized),
            (Code::InvalidTimestamp, Refusal::InvalidTimestamp),
            (Code::MessageSizeTooLarge, Refusal::TooLarge),
            (Code::InvalidRecord, Refusal::Invalid),
        ] {
            assert_eq!(Refusal::from_code(code), refusal, "{code:?}");
        }
        assert!(Refusal::TopicMissing.advice_for_operator("clicks").contains("`clicks`"));
    }

    #[test]
    fn every_class_has_its_own_name() {
        let names: std::collections::HashSet<_> = Refusal::ALL.iter().map(|class| class.as_str()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
