//! Describes, creates and alters topics on a cluster.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    producer::{BaseProducer, Producer},
    types::RDKafkaErrorCode as Code,
};

use super::{
    ClientObserver, Config, PlanStep, REQUEST_TIMEOUT, Refusal, SettingChange, SettingValue, TopicDescription,
    TopicPlan, TopicSpec, TopicState,
};

/// The sleep between two requests while a topic's metadata is not known everywhere.
const METADATA_POLL_SLEEP: Duration = Duration::from_millis(50);

/// A short-lived connection for requests about topics.
pub struct TopicAdmin {
    admin: AdminClient<ClientObserver>,
    /// Requests metadata, because the errors of an admin client cannot be read.
    metadata_client: BaseProducer<ClientObserver>,
    runtime: tokio::runtime::Runtime,
}

impl TopicAdmin {
    /// Creates the clients, which connect later.
    ///
    /// # Errors
    /// The settings cannot be used; [`Config::list_invalid_values`] says why.
    pub fn new(config: &Config, edge: &str) -> Result<TopicAdmin, String> {
        let metadata_settings = config.build_non_producer_settings(edge)?;
        let mut settings = metadata_settings.clone();
        // Nobody reads the log queue of an admin client.
        settings.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        let failed = |why| format!("cannot build a Kafka client with these settings: {why}");
        Ok(TopicAdmin {
            admin: settings.create_with_context(ClientObserver::silent()).map_err(failed)?,
            metadata_client: metadata_settings.create_with_context(ClientObserver::silent()).map_err(failed)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .map_err(|why| format!("no runtime for the Kafka admin client: {why}"))?,
        })
    }

    /// Describes each topic, in the order of `names`.
    ///
    /// # Errors
    /// No broker answered within `timeout`; the message names the cause.
    pub fn describe_topics(&self, names: &[&str], timeout: Duration) -> Result<Vec<TopicState>, String> {
        let deadline = Instant::now() + timeout;
        names.iter().map(|name| self.describe_topic_waiting_for_leader(name, deadline)).collect()
    }

    fn describe_topic_waiting_for_leader(&self, name: &str, deadline: Instant) -> Result<TopicState, String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.metadata_client.client().fetch_metadata(Some(name), left);
            let metadata = answer.map_err(|why| self.poll_client_and_explain_missing_answer(&why.to_string()))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            let topic = topic.ok_or_else(|| format!("the broker's answer does not contain topic `{name}`"))?;
            match topic.error().map(Code::from) {
                None => {
                    let partitions = topic.partitions();
                    return Ok(TopicState::Present(TopicDescription {
                        partitions: partitions.len(),
                        replication: partitions.iter().map(|p| p.replicas().len()).min().unwrap_or(0),
                        settings: self.read_topic_settings_or_empty_if_not_authorized(name)?,
                    }));
                }
                Some(Code::LeaderNotAvailable) if Instant::now() < deadline => {
                    std::thread::sleep(METADATA_POLL_SLEEP);
                }
                Some(code) => match Refusal::from_code(code) {
                    Refusal::TopicMissing => return Ok(TopicState::Missing),
                    Refusal::NotAuthorized => return Ok(TopicState::NotAuthorized),
                    _ => return Err(format!("topic `{name}`: {code}")),
                },
            }
        }
    }

    /// The message for a request without an answer, with the connection's error if the client met one.
    fn poll_client_and_explain_missing_answer(&self, why: &str) -> String {
        // The client hands over its errors only while it is polled.
        self.metadata_client.poll(Duration::from_millis(100));
        match self.metadata_client.context().last_error() {
            Some(reason) => format!("no broker answered: {reason}"),
            None => format!("no broker answered: {why}"),
        }
    }

    /// The settings of an existing topic; empty if the broker does not let us read them.
    fn read_topic_settings_or_empty_if_not_authorized(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, SettingValue>, String> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let answer = self.runtime.block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options));
        let resources = answer.map_err(|why| self.poll_client_and_explain_missing_answer(&why.to_string()))?;
        let mut settings = BTreeMap::new();
        for resource in resources {
            match resource {
                Ok(resource) => settings.extend(resource.entries.into_iter().filter_map(|entry| {
                    let is_own = entry.source == ConfigSource::DynamicTopic;
                    Some((entry.name, SettingValue { value: entry.value?, is_own }))
                })),
                Err(code) if Refusal::from_code(code) == Refusal::NotAuthorized => {}
                Err(code) => return Err(format!("settings of topic `{name}`: {code}")),
            }
        }
        Ok(settings)
    }

    /// The number of brokers in the cluster.
    ///
    /// # Errors
    /// As [`TopicAdmin::describe_topics`].
    pub fn count_brokers(&self, timeout: Duration) -> Result<usize, String> {
        let answer = self.metadata_client.client().fetch_metadata(None, timeout);
        answer
            .map(|metadata| metadata.brokers().len())
            .map_err(|why| self.poll_client_and_explain_missing_answer(&why.to_string()))
    }

    /// Applies a plan. A change of settings sends all of the topic's own settings, because Kafka resets those that the
    /// request leaves out: a change that somebody else makes between [`TopicAdmin::describe_topics`] and this call is
    /// lost.
    ///
    /// # Errors
    /// The broker refused the change; the message names the topic and what to do.
    pub fn apply_plan(&self, plan: &TopicPlan) -> Result<(), String> {
        match &plan.step {
            PlanStep::Nothing => Ok(()),
            PlanStep::Blocked => Err(plan.notes.join("; ")),
            PlanStep::Create => self.create_topic_and_wait_until_known(&plan.spec),
            PlanStep::Alter(changes) => self.alter_topic_settings_keeping_others(&plan.spec.name, changes),
        }
    }

    fn create_topic_and_wait_until_known(&self, spec: &TopicSpec) -> Result<(), String> {
        let settings = spec.list_setting_requirements();
        let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
        for setting in &settings {
            topic = topic.set(setting.key, &setting.value);
        }
        let options =
            AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
        let answer = self.runtime.block_on(self.admin.create_topics([&topic], &options));
        for result in answer.map_err(|why| self.poll_client_and_explain_missing_answer(&why.to_string()))? {
            match result {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let advice = advice_on_refused_creation_or_empty(code, spec);
                    return Err(format!("topic `{name}` was not created: {code}{advice}"));
                }
            }
        }
        self.wait_until_topic_is_known(&spec.name)
    }

    /// Waits until the brokers know a new topic: the answer to its creation comes earlier.
    fn wait_until_topic_is_known(&self, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while self.describe_topic_waiting_for_leader(name, deadline)? == TopicState::Missing {
            if Instant::now() >= deadline {
                return Err(format!(
                    "topic `{name}` was created, but the brokers do not show it yet; run the command again"
                ));
            }
            std::thread::sleep(METADATA_POLL_SLEEP);
        }
        Ok(())
    }

    fn alter_topic_settings_keeping_others(&self, name: &str, changes: &[SettingChange]) -> Result<(), String> {
        let own = self
            .read_topic_settings_or_empty_if_not_authorized(name)?
            .into_iter()
            .filter(|(_, setting)| setting.is_own);
        let mut settings: HashMap<String, String> = own.map(|(key, setting)| (key, setting.value)).collect();
        settings.extend(changes.iter().map(|change| (change.key.to_owned(), change.to.clone())));
        let mut request = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in &settings {
            request = request.set(key, value);
        }
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let answer = self.runtime.block_on(self.admin.alter_configs([&request], &options));
        for result in answer.map_err(|why| self.poll_client_and_explain_missing_answer(&why.to_string()))? {
            if let Err((_, code)) = result {
                return Err(format!(
                    "the settings of topic `{name}` were not changed: {code}; it needs ALTER_CONFIGS on the topic"
                ));
            }
        }
        Ok(())
    }
}

/// What to do about a refused creation; empty if nothing is known.
fn advice_on_refused_creation_or_empty(code: Code, spec: &TopicSpec) -> String {
    match code {
        Code::InvalidReplicationFactor => format!(
            "; {} replicas were asked for and the cluster has fewer brokers: add brokers, or give --replication (a \
             click is then on so many disks)",
            spec.replication
        ),
        Code::PolicyViolation => "; the cluster's policy refuses these settings: ask its operator".to_owned(),
        code if Refusal::from_code(code) == Refusal::NotAuthorized => {
            "; it needs CREATE on the topic or the cluster".to_owned()
        }
        _ => String::new(),
    }
}
