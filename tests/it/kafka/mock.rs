//! librdkafka's mock cluster, for faults that a real broker does not make on demand. It keeps 5 MiB a partition and
//! answers injected errors before it appends: never count records with it.

use std::time::Duration;

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

/// One mock broker on a loopback port; gone when dropped.
pub(crate) struct Mock(MockCluster<'static, DefaultProducerContext>);

impl Mock {
    /// A broker that has the topics, with four partitions each.
    pub(crate) fn start(topics: &[&str]) -> Mock {
        let cluster = MockCluster::new(1).unwrap();
        for topic in topics {
            cluster.create_topic(topic, 4, 1).unwrap();
        }
        // From version 10 on it names the new leader in its answer, and ends the process where there is none.
        cluster.apiversion(RDKafkaApiKey::Produce, Some(0), Some(9)).unwrap();
        Mock(cluster)
    }

    /// What Waypost is given with `--kafka`.
    pub(crate) fn address(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Closes its port and its connections.
    pub(crate) fn stop_broker(&self) {
        self.0.broker_down(-1).unwrap();
    }

    /// Opens its port again.
    pub(crate) fn start_broker(&self) {
        self.0.broker_up(-1).unwrap();
    }

    /// Answers so much later from now on.
    pub(crate) fn set_latency(&self, by: Duration) {
        self.0.broker_round_trip_time(-1, by).unwrap();
    }

    /// The next `times` requests to produce are refused with this error.
    pub(crate) fn refuse_requests(&self, error: RDKafkaRespErr, times: usize) {
        self.0.request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
    }

    /// Forgets errors not yet answered.
    pub(crate) fn stop_refusing(&self) {
        self.0.clear_request_errors(RDKafkaApiKey::Produce);
    }

    /// Takes a partition's leader away, or gives it back.
    pub(crate) fn set_has_leader(&self, topic: &str, partition: i32, has_leader: bool) {
        self.0.partition_leader(topic, partition, has_leader.then_some(1)).unwrap();
    }
}
