//! The shipper's metric handles, taken once at its start.

use metrics::{Counter, Gauge, Histogram};

use super::{duplicate::Verdict, labels::Class};
use crate::{kafka::Refusal, metrics as table, model::click::Topic};

/// Why a click may become a dead letter.
const REASONS: [Refusal; 3] = [Refusal::TooLarge, Refusal::InvalidTimestamp, Refusal::Invalid];

/// Handles by place: a topic's is `[topic as usize]`, and so on.
pub(super) struct Numbers {
    pub(super) delivered: [Counter; Topic::ALL.len()],
    pub(super) failed: [Counter; Refusal::ALL.len()],
    dead: [[Counter; REASONS.len()]; Topic::ALL.len()],
    pub(super) in_flight: [Gauge; Topic::ALL.len()],
    pub(super) refused_alone: [Gauge; Topic::ALL.len()],
    pub(super) classes: [Counter; Class::ALL.len()],
    pub(super) duplicates: [Counter; 2],
    pub(super) found: Counter,
    pub(super) unreadable: Counter,
    pub(super) read_errors: Counter,
    pub(super) delay: Histogram,
    pub(super) oldest: Gauge,
}

impl Numbers {
    pub(super) fn new() -> Numbers {
        let topic = |row: &table::Metric| Topic::ALL.map(|topic| table::gauge(row, &[topic.name()]));
        Numbers {
            delivered: Topic::ALL.map(|topic| table::counter(&table::CLICKS_DELIVERED, &[topic.name()])),
            failed: Refusal::ALL.map(|refusal| table::counter(&table::CLICKS_DELIVERY_FAILED, &[refusal.as_str()])),
            dead: Topic::ALL.map(|topic| {
                REASONS.map(|reason| table::counter(&table::CLICKS_DEAD_LETTERED, &[topic.name(), reason.as_str()]))
            }),
            in_flight: topic(&table::CLICKS_IN_FLIGHT),
            refused_alone: topic(&table::CLICKS_REFUSED),
            classes: Class::ALL.map(|class| table::counter(&table::CLICKS_LABELLED, &[class.as_str()])),
            duplicates: [Verdict::Visitor, Verdict::AddressAgent]
                .map(|verdict| table::counter(&table::CLICKS_DUPLICATE, &[verdict.basis()])),
            found: table::counter(&table::CLICKS_FOUND, &[]),
            unreadable: table::counter(&table::CLICKS_UNREADABLE, &[]),
            read_errors: table::counter(&table::JOURNAL_READ_ERRORS, &[]),
            delay: table::histogram(&table::CLICKS_DELIVERY_SECONDS, &[]),
            oldest: table::gauge(&table::CLICKS_OLDEST_UNDELIVERED_SECONDS, &[]),
        }
    }

    /// Counts one more record that came back.
    pub(super) fn failed(&self, refusal: Refusal, clicks: u64) {
        if let Some(place) = Refusal::ALL.iter().position(|other| *other == refusal) {
            self.failed[place].increment(clicks);
        }
    }

    /// Counts a dead letter whose stub is acknowledged.
    pub(super) fn dead_lettered(&self, topic: Topic, reason: Refusal) {
        if let Some(place) = REASONS.iter().position(|other| *other == reason) {
            self.dead[topic as usize][place].increment(1);
        }
    }

    /// Counts a label.
    pub(super) fn labelled(&self, class: Class, verdict: Verdict) {
        self.classes[class as usize].increment(1);
        match verdict {
            Verdict::First => {}
            Verdict::Visitor => self.duplicates[0].increment(1),
            Verdict::AddressAgent => self.duplicates[1].increment(1),
        }
    }
}
