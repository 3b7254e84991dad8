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
        /// Records were skipped by other rules than those of today.
        RulesChanged = "rules_changed",
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
    if let Some(reason) = find_reason_by_position(state, first, end, delete_retention_ms, now_ms) {
        return TopicCheck::ReadAnew(reason);
    }
    let Some(generation) = &state.generation else { return TopicCheck::ReadAnew(RereadReason::NoGeneration) };
    let found = match find_record_at(consumer, generation.offset) {
        Ok(found) => found,
        Err(why) => return TopicCheck::Unreachable(why),
    };
    let is_same = found.is_some_and(|record| generation_of(&record).as_ref() == Some(&generation.id));
    if is_same { TopicCheck::Same } else { TopicCheck::ReadAnew(RereadReason::OtherGeneration) }
}

/// Why the place up to which a topic is read is no place to go on from; `None`: it is one.
fn find_reason_by_position(
    state: &TopicState,
    first: u64,
    end: u64,
    delete_retention_ms: Option<u64>,
    now_ms: u64,
) -> Option<RereadReason> {
    let unread_ms = now_ms.saturating_sub(state.at_end_ms);
    if end < state.next_offset {
        Some(RereadReason::Truncated)
    } else if first > state.next_offset {
        Some(RereadReason::RecordsRemoved)
    } else if state.at_end_ms > 0 && delete_retention_ms.is_some_and(|retention_ms| unread_ms > retention_ms) {
        Some(RereadReason::PositionTooOld)
    } else {
        None
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_topic_does_not_have_or_that_is_too_old_is_no_place_to_go_on_from() {
        let state = TopicState { next_offset: 100, at_end_ms: 1_000_000, ..TopicState::beginning_of("links.v1") };
        let reason =
            |first, end, retention_ms, now_ms| find_reason_by_position(&state, first, end, retention_ms, now_ms);
        assert_eq!(reason(0, 100, Some(500), 1_000_500), None);
        assert_eq!(reason(100, 200, None, 9_000_000), None);
        assert_eq!(reason(0, 99, None, 1_000_000), Some(RereadReason::Truncated));
        assert_eq!(reason(101, 200, None, 1_000_000), Some(RereadReason::RecordsRemoved));
        assert_eq!(reason(0, 100, Some(500), 1_000_501), Some(RereadReason::PositionTooOld));
        let never_at_end = TopicState { at_end_ms: 0, ..state.clone() };
        assert_eq!(find_reason_by_position(&never_at_end, 0, 100, Some(500), 9_000_000), None);
    }
}
