//! The thread that reads the topic of links, if links come from one.

use std::{sync::mpsc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    catalog::{
        Catalog, CatalogHandle, TopicWrite,
        topic::{TopicConditions, TopicInputs, spawn_topic_thread},
    },
    config::Config,
    lifecycle::{self, Readiness, StopHandle},
    links::WhenStale,
};

/// How long the thread has to end. A transaction that it leaves open is ended by the broker.
const GRACE: Duration = Duration::from_secs(5);

/// Requests to change links on their way to the topic, whose thread does not run yet.
pub(super) struct LinksTopic {
    topic: String,
    audit_topic: String,
    catalog: CatalogHandle,
    requests: mpsc::Receiver<TopicWrite>,
}

/// The running thread.
pub(super) struct LinksTopicThread {
    thread: JoinHandle<()>,
    stop: StopHandle,
}

impl LinksTopic {
    /// Sends the writes of every later handle of the catalog to the topic, if the configuration names one.
    pub(super) fn take_writes_if_configured(config: &Config, catalog: &mut Catalog) -> Option<LinksTopic> {
        let (topic, audit_topic) = config.links.topics()?;
        let direct = catalog.handle();
        Some(LinksTopic { topic, audit_topic, catalog: direct, requests: catalog.send_writes_to_topic() })
    }

    /// Starts the thread, which sets conditions of readiness.
    ///
    /// # Errors
    /// The Kafka client's settings cannot be used, or the system gives no thread.
    pub(super) fn start(self, config: &Config, edge: &str, readiness: &Readiness) -> Result<LinksTopicThread> {
        let read = readiness.add_unmet_condition("links topic read");
        let fresh = (config.links.when_stale == WhenStale::Unready)
            .then(|| (readiness.add_unmet_condition("links topic not stale"), config.links.max_age));
        let (stop, stopped) = lifecycle::stop_signal();
        let inputs = TopicInputs {
            kafka: config.kafka.clone(),
            edge: edge.to_owned(),
            topic: self.topic,
            audit_topic: self.audit_topic,
            allow_shrink: config.links.allow_shrink,
            compare_interval: config.links.compare_interval,
            conditions: TopicConditions { read, fresh },
            requests: self.requests,
        };
        let thread = spawn_topic_thread(self.catalog, inputs, stopped).context("links.topic")?;
        Ok(LinksTopicThread { thread, stop })
    }
}

impl LinksTopicThread {
    /// Stops the thread and waits for it, not for long.
    pub(super) async fn stop(self) {
        self.stop.stop();
        let _ = timeout(GRACE, spawn_blocking(move || self.thread.join())).await;
    }
}
