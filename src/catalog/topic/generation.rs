//! Finds out whether the topic is the one that was read before. A topic that was made again counts its offsets from 0
//! anew; the record `a/generation` tells.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::{
    consumer::{Polled, TopicConsumer},
    record::{RecordContent, TopicRecord},
    state::TopicState,
};
use crate::word_enum::word_enum;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the record of the generation may take.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

word_enum! {
    /// Why a topic is read from its beginning. The word is the label `reason` of a metric.
    pub(super) enum RereadReason {
        /// The links are of another source, or an earlier reading has not ended.
        FirstRead = "first_read",
        /// The topic ends before the place up to which it was read.
        Truncated = "truncated",
        /// Records behind that place were removed.
        RecordsRemoved = "records_removed",
        /// The record `a/generation` is another one.
        OtherGeneration = "other_generation",
        /// There was none.
        NoGeneration = "no_generation",
        /// Tombstones may have been removed that were not read.
        PositionTooOld = "position_too_old",
    }
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TopicCheck {
    /// It is the topic that was read before.
    Same,
    /// It has to be read from its beginning.
    ReadAnew(RereadReason),
    /// There is no topic.
    Missing,
    /// No broker answers.
    Unreachable(String),
}

/// Checks the topic. `delete_retention_ms`: how long tombstones stay, if that matters now. The consumer is left without
/// an assignment of use.
pub(super) fn check_topic(
    consumer: &TopicConsumer,
    state: &TopicState,
    delete_retention_ms: Option<u64>,
    now_ms: u64,
) -> TopicCheck {
    let (first, end) = match consumer.fetch_first_and_end(REQUEST_TIMEOUT) {
        Ok(offsets) => offsets,
        Err(why) => return to_failed_check(consumer, why.rdkafka_error_code(), &why.to_string()),
    };
    if end < state.next_offset {
        return TopicCheck::ReadAnew(RereadReason::Truncated);
    }
    if first > state.next_offset {
        return TopicCheck::ReadAnew(RereadReason::RecordsRemoved);
    }
    let unread_ms = now_ms.saturating_sub(state.at_end_ms);
    if state.at_end_ms > 0 && delete_retention_ms.is_some_and(|retention_ms| unread_ms > retention_ms) {
        return TopicCheck::ReadAnew(RereadReason::PositionTooOld);
    }
    let Some(generation) = &state.generation else { return TopicCheck::ReadAnew(RereadReason::NoGeneration) };
    let found = match find_record_at(consumer, generation.offset) {
        Ok(found) => found,
        Err(why) => return TopicCheck::Unreachable(why),
    };
    let is_same = found.is_some_and(|record| generation_of(&record).as_ref() == Some(&generation.id));
    if is_same { TopicCheck::Same } else { TopicCheck::ReadAnew(RereadReason::OtherGeneration) }
}

fn to_failed_check(consumer: &TopicConsumer, code: Option<Code>, why: &str) -> TopicCheck {
    match code {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => TopicCheck::Missing,
        _ => TopicCheck::Unreachable(consumer.explain(why)),
    }
}

/// The record at an offset; `None` if there is none any more.
fn find_record_at(consumer: &TopicConsumer, offset: u64) -> Result<Option<TopicRecord>, String> {
    consumer.read_from(Some(offset))?;
    let deadline = Instant::now() + RECORD_TIMEOUT;
    loop {
        match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            Polled::Record(record) => return Ok((record.offset == offset).then_some(record)),
            Polled::End | Polled::Lost(_) => return Ok(None),
            Polled::Nothing if Instant::now() >= deadline => {
                return Err(consumer.explain("the record a/generation cannot be read"));
            }
            Polled::Nothing => {}
        }
    }
}

fn generation_of(record: &TopicRecord) -> Option<String> {
    match record.parse() {
        Ok(RecordContent::Generation { id }) => Some(id),
        _ => None,
    }
}
