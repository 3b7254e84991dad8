//! The metric handles of the engine, taken once at its start.

use metrics::{Counter, Gauge, Histogram};

use super::sink::ReturnCause;
use crate::{
    events::{duplicates::DuplicateVerdict, labels::ClickClass},
    kafka::Refusal,
    metrics as table,
    model::click::Topic,
};

/// The refusals that make a click a dead letter.
const DEAD_LETTER_REASONS: [Refusal; 3] = [Refusal::TooLarge, Refusal::InvalidTimestamp, Refusal::Invalid];

/// The metric handles of one topic. An array by class is indexed by `class as usize`.
pub(super) struct DeliveryMetrics {
    pub(super) delivered: Counter,
    pub(super) in_flight: Gauge,
    pub(super) blocked: Gauge,
    pub(super) already_delivered: Counter,
    pub(super) unreadable: Counter,
    pub(super) read_errors: Counter,
    pub(super) delivery_seconds: Histogram,
    pub(super) oldest_undelivered_seconds: Gauge,
    refused: [Counter; Refusal::ALL.len()],
    file_errors: Counter,
    dead_lettered: [Counter; DEAD_LETTER_REASONS.len()],
    by_class: [Counter; ClickClass::ALL.len()],
    duplicates_by_visitor: Counter,
    duplicates_by_address: Counter,
}

impl DeliveryMetrics {
    pub(super) fn register(topic: Topic) -> DeliveryMetrics {
        let topic = topic.name();
        let failed = |code: &str| table::counter(&table::CLICKS_DELIVERY_FAILED, &[topic, code]);
        let duplicates =
            |verdict: DuplicateVerdict| table::counter(&table::CLICKS_DUPLICATE, &[verdict.duplicate_basis_as_str()]);
        DeliveryMetrics {
            delivered: table::counter(&table::CLICKS_DELIVERED, &[topic]),
            in_flight: table::gauge(&table::CLICKS_IN_FLIGHT, &[topic]),
            blocked: table::gauge(&table::CLICKS_BLOCKED, &[topic]),
            already_delivered: table::counter(&table::CLICKS_ALREADY_DELIVERED, &[]),
            unreadable: table::counter(&table::CLICKS_UNREADABLE, &[topic]),
            read_errors: table::counter(&table::JOURNAL_READ_ERRORS, &[topic]),
            delivery_seconds: table::histogram(&table::CLICKS_DELIVERY_SECONDS, &[topic]),
            oldest_undelivered_seconds: table::gauge(&table::CLICKS_OLDEST_UNDELIVERED_SECONDS, &[topic]),
            refused: Refusal::ALL.map(|refusal| failed(refusal.as_str())),
            file_errors: failed("file_error"),
            dead_lettered: DEAD_LETTER_REASONS
                .map(|reason| table::counter(&table::CLICKS_DEAD_LETTERED, &[topic, reason.as_str()])),
            by_class: ClickClass::ALL.map(|class| table::counter(&table::CLICKS_LABELLED, &[class.as_str()])),
            duplicates_by_visitor: duplicates(DuplicateVerdict::Visitor),
            duplicates_by_address: duplicates(DuplicateVerdict::AddressAgent),
        }
    }

    /// Counts a click that Kafka refused.
    pub(super) fn count_refused_click(&self, refusal: Refusal) {
        self.count_refused_clicks(refusal, 1);
    }

    /// Counts clicks that the sink gave back together.
    pub(super) fn count_returned_clicks(&self, cause: ReturnCause, clicks: u64) {
        match cause {
            ReturnCause::Kafka(refusal) => self.count_refused_clicks(refusal, clicks),
            ReturnCause::FileError => self.file_errors.increment(clicks),
        }
    }

    fn count_refused_clicks(&self, refusal: Refusal, clicks: u64) {
        if let Some(at) = Refusal::ALL.iter().position(|other| *other == refusal) {
            self.refused[at].increment(clicks);
        }
    }

    /// Counts a dead letter whose stub is acknowledged.
    pub(super) fn count_dead_letter(&self, reason: Refusal) {
        if let Some(at) = DEAD_LETTER_REASONS.iter().position(|other| *other == reason) {
            self.dead_lettered[at].increment(1);
        }
    }

    /// Counts a labelled click.
    pub(super) fn count_class_and_duplicate(&self, class: ClickClass, verdict: DuplicateVerdict) {
        self.by_class[class as usize].increment(1);
        match verdict {
            DuplicateVerdict::First | DuplicateVerdict::FirstAsFarAsKnown => {}
            DuplicateVerdict::Visitor => self.duplicates_by_visitor.increment(1),
            DuplicateVerdict::AddressAgent => self.duplicates_by_address.increment(1),
        }
    }
}
