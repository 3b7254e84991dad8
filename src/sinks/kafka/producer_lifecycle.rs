//! The life of the producer: it is dropped after a fatal error, and the next one is built after a pause.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer;

use super::{KafkaSink, delivery_stopped::DeliveryStopped, producer::build_producer, transactions};
use crate::{
    delivery::sink::{DeliveryReport, ReturnCause, Sink},
    faults::{self, log_fault},
    kafka::Refusal,
};

/// The longest time between two producers; the time doubles while no producer delivers anything. A producer without the
/// right to write fails for good as soon as it asks for its id.
const LONGEST_REBUILD_PAUSE: Duration = Duration::from_secs(10);
/// How often it is logged that delivery has stopped.
const STOPPED_LOG_INTERVAL: Duration = Duration::from_secs(30);

impl KafkaSink {
    /// Drops the producer if it has failed for good, and logs why.
    pub(super) fn log_and_drop_producer_if_failed_for_good(&mut self, now: Instant, reports: &mut Vec<DeliveryReport>) {
        let Some(refusal) = self.find_and_log_fatal_error() else { return };
        let refusal = if refusal == Refusal::Fenced { Refusal::Fenced } else { Refusal::Fatal };
        self.drop_producer_return_clicks_and_schedule_rebuild(refusal, now, reports);
    }

    /// Logs the error that has ended the producer, and returns its class; `None` if the producer has not failed.
    pub(super) fn find_and_log_fatal_error(&self) -> Option<Refusal> {
        let (code, why) = self.producer.as_ref()?.client().fatal_error()?;
        let refusal = Refusal::from_code(code);
        let (fault, advice) = match (refusal, &self.transactions) {
            // It is not known yet whether another process fenced this one.
            (Refusal::Fenced, Some(_)) => (faults::PRODUCER_FAILED, transactions::FENCED_ADVICE.to_owned()),
            // Without a transactional id no process can fence another: the broker has forgotten the producer.
            (Refusal::Fenced, None) => (faults::PRODUCER_FAILED, Refusal::Fatal.advice_for_operator(self.topic_name())),
            _ => (refusal.fault(), refusal.advice_for_operator(self.topic_name())),
        };
        let reason = refusal.as_str();
        let topic = self.topic.name();
        log_fault!(error, fault, topic, reason, "kafka: the producer has failed for good: {why}: {advice}");
        Some(refusal)
    }

    /// Stops delivery until the next start.
    pub(super) fn set_stopped_and_drop_producer_and_return_clicks(
        &mut self,
        stopped: DeliveryStopped,
        reports: &mut Vec<DeliveryReport>,
    ) {
        for (gauge, reason) in self.metrics.stopped.iter().zip(DeliveryStopped::REASONS) {
            gauge.set(f64::from(u8::from(reason == stopped.reason_as_str())));
        }
        self.stopped = Some(stopped);
        self.drop_producer_return_clicks_and_schedule_rebuild(Refusal::Fenced, Instant::now(), reports);
    }

    /// Drops the producer and its queue, and returns every click in flight. Clicks in the queue are sent again; clicks
    /// that were written without a report are then written twice under at-least-once.
    pub(super) fn drop_producer_return_clicks_and_schedule_rebuild(
        &mut self,
        refusal: Refusal,
        now: Instant,
        reports: &mut Vec<DeliveryReport>,
    ) {
        self.producer = None;
        self.count_unsettled_statements_as_failed();
        self.checkpoint_offset = None;
        reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(refusal)));
        if let Some(transactions) = &mut self.transactions {
            transactions.rejoin_with_new_producer_or_check_takeover(now, refusal == Refusal::Fenced);
        }
        self.rebuild_at = now + self.rebuild_pause;
        self.rebuild_pause = (self.rebuild_pause * 2).min(LONGEST_REBUILD_PAUSE);
    }

    /// Builds the next producer once its pause is over; logs instead if delivery has stopped.
    pub(super) fn rebuild_producer_or_log_stop_if_due(&mut self, now: Instant) {
        if let Some(stopped) = &self.stopped {
            if self.stopped_logged_at.is_none_or(|at| now.duration_since(at) >= STOPPED_LOG_INTERVAL) {
                self.stopped_logged_at = Some(now);
                stopped.log_reason_and_advice(self.topic, &self.edge, &self.config.topics.checkpoints);
            }
            return;
        }
        if now < self.rebuild_at {
            return;
        }
        self.rebuild_at = now + LONGEST_REBUILD_PAUSE;
        match build_producer(&self.config, &self.edge, self.topic) {
            Ok(producer) => {
                self.metrics.rebuilds.increment(1);
                self.producers_built += 1;
                log_fault!(
                    warn,
                    faults::PRODUCER_REBUILT,
                    topic = self.topic.name(),
                    producers = self.producers_built,
                    "kafka: {}",
                    Refusal::Fatal.advice_for_operator(self.topic_name())
                );
                self.producer = Some(producer);
            }
            Err(why) => {
                log_fault!(
                    error,
                    faults::PRODUCER_NOT_BUILT,
                    topic = self.topic.name(),
                    "{why}; it is tried again, and clicks wait in the journal"
                )
            }
        }
    }
}
