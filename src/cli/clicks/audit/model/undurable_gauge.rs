//! A recorder that keeps one gauge of each topic: how long its oldest click has been neither delivered nor synced.

use std::sync::{Arc, atomic::AtomicU64};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::model::click::Topic;

/// Records `waypost_journal_oldest_undurable_age_seconds` and nothing else.
#[derive(Default)]
pub(super) struct UndurableAgeRecorder([Arc<AtomicU64>; Topic::ALL.len()]);

impl UndurableAgeRecorder {
    /// By topic, the bits of the gauge's value, a `f64`.
    pub(super) fn values(&self) -> [Arc<AtomicU64>; Topic::ALL.len()] {
        self.0.clone()
    }
}

impl Recorder for UndurableAgeRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let has_label = |topic: &Topic| key.labels().any(|label| label.value() == topic.name());
        match Topic::ALL.into_iter().find(has_label) {
            Some(topic) if key.name() == "waypost_journal_oldest_undurable_age_seconds" => {
                Gauge::from_arc(self.0[topic as usize].clone())
            }
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
