//! A producer without transactions: each record is acknowledged, refused or lost by itself.

use std::time::Instant;

use super::cluster::{Scenario, SharedCluster, SimulatedCluster, SimulatedRecord};
use crate::{
    delivery::{
        committed::CommittedLanes,
        sink::{DeliveryReport, OutgoingRecord, ReturnCause, SendOutcome, Sink, StatementCounts},
    },
    journal::SinkNote,
    kafka::Refusal,
    model::click::Topic,
};

/// The sink of one process.
pub(crate) struct AtLeastOnceSink {
    topic: Topic,
    cluster: SharedCluster,
    value: Vec<u8>,
    statements: StatementCounts,
}

impl AtLeastOnceSink {
    pub(super) fn new(topic: Topic, cluster: &SharedCluster) -> AtLeastOnceSink {
        let (cluster, statements) = (cluster.clone(), StatementCounts::default());
        AtLeastOnceSink { topic, cluster, value: Vec::new(), statements }
    }
}

impl Sink for AtLeastOnceSink {
    fn record_buffer_if_accepting(&mut self, _: Instant) -> Option<&mut Vec<u8>> {
        self.value.clear();
        Some(&mut self.value)
    }

    fn send_buffered(&mut self, record: &OutgoingRecord<'_>) -> SendOutcome {
        let mut cluster = self.cluster.lock().unwrap();
        if cluster.random.next_below(50) == 0 {
            return SendOutcome::QueueFull;
        }
        cluster.in_flight.push(SimulatedRecord::new(record, &self.value));
        SendOutcome::Accepted
    }

    fn poll(
        &mut self,
        _: Instant,
        _: bool,
        reports: &mut Vec<DeliveryReport>,
        _: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes> {
        let mut cluster = self.cluster.lock().unwrap();
        let is_in_flight = !cluster.in_flight.is_empty() || self.statements.pending > 0;
        if is_in_flight && cluster.answers_call() && cluster.fails_once_in(40) {
            // The producer has failed for good.
            cluster.deliver_random_half_of_in_flight_and_lose_rest();
            reports.push(DeliveryReport::AllReturned(ReturnCause::Kafka(Refusal::Fatal)));
            let lost = std::mem::take(&mut self.statements.pending);
            self.statements.failed += lost;
            cluster.events.statements_failed += lost;
            return None;
        }
        cluster.randomly_settle_records_in_flight(reports);
        cluster.randomly_settle_statements_in_flight(&mut self.statements);
        None
    }

    fn journal_note(&self) -> SinkNote {
        [0; 64]
    }

    fn topic_name(&self) -> &str {
        self.topic.name()
    }

    fn try_send_statement(&mut self, _: u16, statement: &[u8], _: u64, _: u8) -> bool {
        let mut cluster = self.cluster.lock().unwrap();
        if cluster.random.next_below(50) == 0 {
            return false;
        }
        cluster.statements_in_flight.push(statement.to_vec());
        self.statements.pending += 1;
        true
    }

    fn statement_counts(&self) -> StatementCounts {
        self.statements
    }
}

impl Drop for AtLeastOnceSink {
    fn drop(&mut self) {
        self.cluster.lock().unwrap().deliver_random_half_of_in_flight_and_lose_rest();
    }
}

impl SimulatedCluster {
    /// Ends the producer: some of the records in flight arrive.
    fn deliver_random_half_of_in_flight_and_lose_rest(&mut self) {
        let is_unreachable = self.scenario == Scenario::Unreachable;
        for record in std::mem::take(&mut self.in_flight) {
            if !(record.kept || record.poison || is_unreachable) && self.random.next_below(2) == 0 {
                self.clicks.push(record.value);
            }
        }
        for statement in std::mem::take(&mut self.statements_in_flight) {
            if !is_unreachable && self.random.next_below(2) == 0 {
                self.statements.push(statement);
            }
        }
    }

    fn randomly_settle_records_in_flight(&mut self, reports: &mut Vec<DeliveryReport>) {
        let one_of = match self.scenario {
            Scenario::Unreachable => return,
            Scenario::Healthy => 1,
            Scenario::Slow(one_of) => one_of,
        };
        let mut left = std::mem::take(&mut self.in_flight);
        while !left.is_empty() {
            let at = self.random.next_below(left.len());
            let record = left.swap_remove(at);
            if self.random.next_below(one_of) > 0 {
                self.in_flight.push(record);
            } else if record.poison {
                self.refuse_record_and_random_others_and_keep_the_rest_in_flight(&record, &mut left, reports);
            } else {
                self.store_record_or_randomly_refuse_it(record, reports);
            }
        }
    }

    /// A poisonous record fails its batch: itself, and some of the records that are not kept yet.
    fn refuse_record_and_random_others_and_keep_the_rest_in_flight(
        &mut self,
        record: &SimulatedRecord,
        left: &mut Vec<SimulatedRecord>,
        reports: &mut Vec<DeliveryReport>,
    ) {
        reports.push(DeliveryReport::Refused(record.id, Refusal::TooLarge));
        for other in std::mem::take(left).into_iter().chain(std::mem::take(&mut self.in_flight)) {
            if !other.kept && self.random.next_below(2) == 0 {
                reports.push(DeliveryReport::Refused(other.id, Refusal::TooLarge));
            } else {
                left.push(other);
            }
        }
        self.in_flight.append(left);
    }

    fn store_record_or_randomly_refuse_it(&mut self, mut record: SimulatedRecord, reports: &mut Vec<DeliveryReport>) {
        let healthy = self.scenario == Scenario::Healthy;
        if !record.kept {
            let refused = !healthy && self.random.next_below(8) == 0;
            if refused && self.random.next_below(2) == 0 {
                return reports.push(DeliveryReport::Refused(record.id, Refusal::Retriable));
            }
            self.clicks.push(std::mem::take(&mut record.value));
            if refused {
                // The record is kept, and the acknowledgement is lost.
                return reports.push(DeliveryReport::Refused(record.id, Refusal::Retriable));
            }
            record.kept = true;
            if !healthy && self.random.next_below(2) == 0 {
                return self.in_flight.push(record);
            }
        }
        reports.push(DeliveryReport::Delivered(record.id));
    }

    /// Statements arrive in the order in which they were sent. Some fail, and some of those are kept.
    fn randomly_settle_statements_in_flight(&mut self, counts: &mut StatementCounts) {
        while !self.statements_in_flight.is_empty() && self.answers_call() {
            let statement = self.statements_in_flight.remove(0);
            counts.pending -= 1;
            let is_failure_due = self.statement_failures_to_come > 0;
            self.statement_failures_to_come = self.statement_failures_to_come.saturating_sub(1);
            let has_failed = is_failure_due || self.fails_once_in(4);
            if has_failed {
                counts.failed += 1;
                self.events.statements_failed += 1;
            }
            if !has_failed || self.random.next_below(2) == 0 {
                self.statements.push(statement);
            }
        }
    }
}
