//! Kafka as Waypost uses it: client settings, the meaning of errors, statistics as metrics, and the topics of the
//! cluster.
//!
//! Settings come from three places, the later ones winning: librdkafka's defaults, [`RECOMMENDED`], and the user's
//! `[kafka.properties]`. [`guarded_keys`] names the keys on which a guarantee to the readers of the topics rests. A
//! user's value that would break a guarantee is an error with its reason, and is never silently replaced.

mod broker_list;
mod client_observer;
mod config;
mod connection_failure;
mod encoding;
mod guarded_keys;
mod login;
mod properties;
mod refusal;
mod statistics;
mod topic_admin;
mod topic_monitor;
mod topic_spec;

use std::time::Duration;

pub use client_observer::ClientObserver;
pub use config::{Config, Delivery, RECOMMENDED, TopicNames};
pub use encoding::Encoding;
pub use properties::Properties;
pub use refusal::Refusal;
pub use topic_admin::TopicAdmin;
pub use topic_monitor::{LinkTopics, spawn_topic_monitor_thread};
pub use topic_spec::{
    PlanStep, SettingChange, SettingValue, TopicDescription, TopicPlan, TopicSpec, TopicState, validate_topic_name,
};

/// The time for which a request to a broker may go without an answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
