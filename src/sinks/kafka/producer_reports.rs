//! The producer's delivery reports: takes them from its queue and turns them into reports for the engine.

use std::{sync::PoisonError, time::Duration};

use rdkafka::{producer::Producer, types::RDKafkaErrorCode as Code};

use super::{
    FIRST_REBUILD_PAUSE, KafkaSink,
    producer::ProducerReport,
    record::{CHECKPOINT_BITS, STATEMENT_BITS},
};
use crate::{
    delivery::sink::{DeliveryReport, InFlightId},
    kafka::Refusal,
};

impl KafkaSink {
    /// Takes every report that has come. Returns the refusal that ended the producer, if one did.
    pub(super) fn take_producer_reports_and_find_fatal_refusal(
        &mut self,
        reports: &mut Vec<DeliveryReport>,
    ) -> Option<Refusal> {
        let producer = self.producer.as_ref()?;
        // One poll without waiting takes one report of one batch. Reports left behind keep their slots in the queue;
        // new clicks then get slots one by one, and each becomes a batch of its own with its own report, for good.
        loop {
            producer.poll(Duration::ZERO);
            let mut queue = producer.context().reports.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.is_empty() {
                break;
            }
            self.producer_reports.append(&mut queue);
        }
        if self.transactions.is_none() && self.producer_reports.iter().any(|report| report.result.is_ok()) {
            self.rebuild_pause = FIRST_REBUILD_PAUSE;
        }
        let mut fatal = None;
        let mut taken = std::mem::take(&mut self.producer_reports);
        for report in taken.drain(..) {
            let refusal = report.result.err().map(Refusal::from_code);
            if let Some(refusal @ (Refusal::Fatal | Refusal::Fenced)) = refusal {
                fatal = Some(refusal);
            }
            self.settle_reported_record_or_mark_abort_only(report, refusal, reports);
        }
        self.producer_reports = taken;
        fatal
    }

    fn settle_reported_record_or_mark_abort_only(
        &mut self,
        report: ProducerReport,
        refusal: Option<Refusal>,
        reports: &mut Vec<DeliveryReport>,
    ) {
        let bits = report.record_bits;
        if bits == STATEMENT_BITS {
            self.count_pending_statement_as_settled(refusal);
        }
        let is_click = !matches!(bits, STATEMENT_BITS | CHECKPOINT_BITS);
        let Some(transactions) = &mut self.transactions else {
            if is_click {
                let id = InFlightId::from_bits(bits);
                let report =
                    refusal.map_or(DeliveryReport::Delivered(id), |refusal| DeliveryReport::Refused(id, refusal));
                reports.push(report);
            }
            return;
        };
        match report.result {
            Ok(offset) if bits == CHECKPOINT_BITS => self.checkpoint_offset = Some(offset),
            // The click is delivered once the transaction is committed.
            Ok(_) => {}
            // Removed from the queue with the transaction.
            Err(Code::PurgeQueue | Code::PurgeInflight) => {}
            Err(_) => {
                transactions.mark_abort_only();
                if let (true, Some(refusal)) = (is_click, refusal) {
                    reports.push(DeliveryReport::Refused(InFlightId::from_bits(bits), refusal));
                }
            }
        }
    }

    /// The transaction was aborted, or the producer is dropped: its statements never arrive.
    pub(super) fn count_unsettled_statements_as_failed(&mut self) {
        let lost = std::mem::take(&mut self.statements.pending) + std::mem::take(&mut self.uncommitted_statements);
        self.statements.failed += lost;
        self.metrics.statements_failed.increment(lost);
    }

    fn count_pending_statement_as_settled(&mut self, refusal: Option<Refusal>) {
        self.statements.pending = self.statements.pending.saturating_sub(1);
        match refusal {
            None if self.transactions.is_some() => self.uncommitted_statements += 1,
            None => self.metrics.statements_delivered.increment(1),
            Some(_) => {
                self.statements.failed += 1;
                self.metrics.statements_failed.increment(1);
            }
        }
    }
}
