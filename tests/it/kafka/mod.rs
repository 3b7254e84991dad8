//! Apache Kafka for the tests: the real broker from its jars, its own Java consumer, and librdkafka's mock for faults.
//!
//! Java, `javac` and `mvn` are looked for on the path. Where one is missing, or the jars cannot be fetched, a test is
//! not run ([`crate::need`]).

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod install;
pub(crate) mod mock;
pub(crate) mod oracle;
pub(crate) mod proxy;
pub(crate) mod reader;
pub(crate) mod site;
