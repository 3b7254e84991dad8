//! The fresh topics of a replay.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    cli::clicks::source::kafka::count_records,
    kafka::{
        Config, PlanStep, REQUEST_TIMEOUT, TopicAdmin, TopicDescription, TopicPlan, TopicSpec, TopicState,
        validate_topic_name,
    },
    model::click::Topic,
};

/// Partitions of a topic that has no old one to follow.
const DEFAULT_PARTITIONS: i32 = 12;
/// Replicas of such a topic, if there are as many brokers.
const DEFAULT_REPLICATION: usize = 3;
/// How long clicks stay on such a topic.
const DEFAULT_RETENTION: Duration = Duration::from_secs(180 * 86_400);

/// Where the records go.
pub(super) struct ReplayTarget<'a> {
    pub(super) config: Config,
    names: [String; Topic::ALL.len()],
    /// The cluster with the old topics; `None` if the records are in files.
    from: Option<&'a Config>,
}

impl<'a> ReplayTarget<'a> {
    /// # Errors
    /// The name is none of a topic, or is that of an old topic on the same brokers.
    pub(super) fn new(config: Config, name: &str, from: Option<&'a Config>) -> Result<ReplayTarget<'a>> {
        let names = [name.to_owned(), format!("{name}.orphan")];
        for name in &names {
            validate_topic_name(name).map_err(|why| anyhow::anyhow!("--into: {why}"))?;
            let is_old = |old: &Config| old.brokers == config.brokers && old.topics.click_topics().contains(&&**name);
            if from.is_some_and(is_old) {
                bail!("--into: `{name}` is the topic that is read; give the name of a fresh one");
            }
        }
        Ok(ReplayTarget { config, names, from })
    }

    pub(super) fn topic_name(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }

    /// # Errors
    /// A topic has records, or cannot be created; no broker answers.
    pub(super) fn create_missing_topics_and_check_that_all_are_empty(&self) -> Result<()> {
        let admin = TopicAdmin::new(&self.config, "replay").map_err(anyhow::Error::msg)?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let states = admin.describe_topics(&names, REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
        for (topic, state) in Topic::ALL.into_iter().zip(states) {
            let name = self.topic_name(topic);
            if state == TopicState::Missing {
                let spec = self.follow_old_topic(topic, &admin)?;
                let plan = TopicPlan { spec, step: PlanStep::Create, notes: Vec::new() };
                admin.apply_plan(&plan).map_err(anyhow::Error::msg)?;
                continue;
            }
            let count = count_records(&self.config, name)?;
            if count > 0 {
                bail!("--into: topic `{name}` has {count} records; a replay goes to a fresh topic. Give another name");
            }
        }
        Ok(())
    }

    /// A topic like the old one; a recommended one without.
    fn follow_old_topic(&self, topic: Topic, admin: &TopicAdmin) -> Result<TopicSpec> {
        let brokers = admin.count_brokers(REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
        let mut spec = TopicSpec {
            name: self.topic_name(topic).to_owned(),
            partitions: DEFAULT_PARTITIONS,
            replication: to_i32(DEFAULT_REPLICATION.min(brokers)),
            min_insync: if brokers >= DEFAULT_REPLICATION { 2 } else { 1 },
            retention: Some(DEFAULT_RETENTION),
            tombstone_retention: None,
        };
        let Some(from) = self.from else { return Ok(spec) };
        let old_admin = TopicAdmin::new(from, "replay").map_err(anyhow::Error::msg)?;
        let old = old_admin.describe_topics(&[from.topics.click_topics()[topic as usize]], REQUEST_TIMEOUT);
        if let [TopicState::Present(old)] = old.map_err(anyhow::Error::msg)?.as_slice() {
            spec.partitions = to_i32(old.partitions);
            spec.replication = to_i32(old.replication.min(brokers));
            spec.min_insync = to_i32(old.min_insync().unwrap_or(1)).min(spec.replication);
            spec.retention = find_retention(old).or(spec.retention);
        }
        Ok(spec)
    }
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The retention of a topic; the longest if it is unlimited.
fn find_retention(topic: &TopicDescription) -> Option<Duration> {
    let ms: i64 = topic.find_setting("retention.ms")?.parse().ok()?;
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(i64::MAX.unsigned_abs())))
}
