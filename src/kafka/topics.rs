//! The topics: what a cluster has, what Waypost wants, and the step between.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    producer::{BaseProducer, Producer},
    types::RDKafkaErrorCode as Code,
};

use super::{Config, Observer, PATIENCE, Refusal};

/// What a topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAim {
    /// Its name.
    pub name: String,
    /// Partitions it is made with; an existing topic is left as it is, for more of them would move keys.
    pub partitions: i32,
    /// Copies of each partition; cannot be changed from here later.
    pub replication: i32,
    /// Copies that have to hold a click before it counts as delivered.
    pub min_insync: i32,
    /// How long clicks stay; without an end, the last record of each key stays for good and older ones go: a topic of checkpoints.
    pub retention: Option<Duration>,
}

/// What a cluster says about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It is there.
    Present(TopicFacts),
    /// It does not exist.
    Missing,
    /// We may not see it.
    NotAuthorized,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// How many partitions.
    pub partitions: usize,
    /// Copies of the partition that has the fewest.
    pub replication: usize,
    /// Its settings and whether each was given to this topic itself; empty if we may not read them.
    pub settings: BTreeMap<String, (String, bool)>,
}

impl TopicFacts {
    /// One setting's value.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|(value, _)| value.as_str())
    }

    /// `min.insync.replicas`, if we may read it.
    pub fn min_insync(&self) -> Option<usize> {
        self.setting("min.insync.replicas")?.parse().ok()
    }
}

/// One topic's way from what it is to what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The aim.
    pub aim: TopicAim,
    /// What to do.
    pub step: Step,
    /// What is not as it should be and cannot be changed from here, with what to do.
    pub notes: Vec<String>,
}

/// What to do about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make it.
    Create,
    /// Change settings of an existing topic.
    Alter(Vec<Change>),
    /// It is as it should be.
    Nothing,
    /// We may not see it, so nothing can be planned.
    Blocked,
}

/// One setting of an existing topic that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: &'static str,
    /// What it is now.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

/// When an existing setting is as good as ours.
#[derive(Clone, Copy)]
enum Rule {
    Exactly,
    /// A number no smaller; -1 is without an end.
    AtLeast,
}

impl TopicAim {
    /// The settings the topic has, with the reason for each.
    fn settings(&self) -> Vec<(&'static str, String, Rule)> {
        let mut settings = vec![
            // A click counts as delivered once this many copies hold it.
            ("min.insync.replicas", self.min_insync.to_string(), Rule::AtLeast),
            ("unclean.leader.election.enable", "false".to_owned(), Rule::Exactly),
            // Kafka's own default; the producer's batches stay below it.
            ("max.message.bytes", "1048588".to_owned(), Rule::AtLeast),
        ];
        let Some(retention) = self.retention else {
            settings.extend([
                ("cleanup.policy", "compact".to_owned(), Rule::Exactly),
                // An edge whose clock runs ahead can still commit.
                ("message.timestamp.type", "LogAppendTime".to_owned(), Rule::Exactly),
            ]);
            return settings;
        };
        settings.extend([
            // Clicks are removed by age alone: not by key, not by size.
            ("cleanup.policy", "delete".to_owned(), Rule::Exactly),
            ("retention.ms", retention.as_millis().to_string(), Rule::AtLeast),
            ("retention.bytes", "-1".to_owned(), Rule::AtLeast),
            // The broker keeps batches as they come, without packing them again.
            ("compression.type", "producer".to_owned(), Rule::Exactly),
            // A replay after an outage keeps the time of the click.
            ("message.timestamp.type", "CreateTime".to_owned(), Rule::Exactly),
            ("message.timestamp.before.max.ms", i64::MAX.to_string(), Rule::AtLeast),
        ]);
        settings
    }

    /// The step from `state` to this aim.
    pub fn plan(&self, state: &TopicState) -> Plan {
        let (step, notes) = match state {
            TopicState::Missing => (Step::Create, Vec::new()),
            TopicState::NotAuthorized => (Step::Blocked, vec![Refusal::NotAuthorized.advice(&self.name)]),
            TopicState::Present(facts) => (self.changes(facts), self.notes(facts)),
        };
        Plan { aim: self.clone(), step, notes }
    }

    fn changes(&self, facts: &TopicFacts) -> Step {
        let changes: Vec<Change> = self
            .settings()
            .into_iter()
            .filter_map(|(key, to, rule)| {
                // A broker of another version may not know a setting, or not let us read it.
                let from = facts.setting(key)?;
                let fine = match rule {
                    Rule::Exactly => from.eq_ignore_ascii_case(&to),
                    Rule::AtLeast => from == "-1" || number(from) >= number(&to) && to != "-1",
                };
                (!fine).then(|| Change { key, from: from.to_owned(), to })
            })
            .collect();
        if changes.is_empty() { Step::Nothing } else { Step::Alter(changes) }
    }

    fn notes(&self, facts: &TopicFacts) -> Vec<String> {
        let mut notes = Vec::new();
        if facts.replication < self.replication as usize {
            notes.push(format!(
                "`{}` has {} of {} replicas: a broker's disk can take clicks with it; raise it with kafka-reassign-partitions",
                self.name, facts.replication, self.replication
            ));
        }
        if facts.partitions != self.partitions as usize {
            notes.push(format!(
                "`{}` has {} partitions, {} were asked for: left as it is, because a change moves visitors between partitions",
                self.name, facts.partitions, self.partitions
            ));
        }
        if facts.settings.is_empty() {
            notes.push(format!("the settings of `{}` cannot be read: grant DESCRIBE_CONFIGS on the topic", self.name));
        }
        notes
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

/// A Kafka topic name: 1-249 of `[A-Za-z0-9._-]`, neither `.` nor `..`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let sound = (1..=249).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name != "."
        && name != "..";
    if sound { Ok(()) } else { Err(format!("`{name}` is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -")) }
}

/// A short-lived connection for questions about topics.
pub struct Topics {
    admin: AdminClient<Observer>,
    /// Asks for metadata: an admin client's own errors could not be read.
    asker: BaseProducer<Observer>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    /// Makes the clients; connects to nothing yet.
    ///
    /// # Errors
    /// The settings cannot be used; [`Config::mistakes`] says why.
    pub fn new(config: &Config, edge: &str) -> Result<Topics, String> {
        let mut client = config.client(edge)?;
        // Nobody reads the log queue of an admin client.
        client.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        let failed = |why| format!("no Kafka client with these settings: {why}");
        Ok(Topics {
            admin: client.create_with_context(Observer::silent()).map_err(failed)?,
            asker: client.create_with_context(Observer::silent()).map_err(failed)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .map_err(|why| format!("no runtime for the Kafka admin client: {why}"))?,
        })
    }

    /// What the cluster says about each topic, in order.
    ///
    /// # Errors
    /// No broker answered within `patience`; the message says what was tried.
    pub fn look(&self, names: &[&str], patience: Duration) -> Result<Vec<TopicState>, String> {
        let deadline = Instant::now() + patience;
        names.iter().map(|name| self.look_at(name, deadline)).collect()
    }

    fn look_at(&self, name: &str, deadline: Instant) -> Result<TopicState, String> {
        loop {
            let asked = self.asker.client().fetch_metadata(Some(name), deadline - Instant::now().min(deadline));
            let metadata = asked.map_err(|why| self.unanswered(&why.to_string()))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            let topic = topic.ok_or_else(|| format!("the broker's answer leaves out topic `{name}`"))?;
            match topic.error().map(Code::from) {
                None => {
                    let partitions = topic.partitions();
                    let facts = TopicFacts {
                        partitions: partitions.len(),
                        replication: partitions.iter().map(|p| p.replicas().len()).min().unwrap_or(0),
                        settings: self.settings(name)?,
                    };
                    return Ok(TopicState::Present(facts));
                }
                Some(Code::LeaderNotAvailable) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Some(code) => match Refusal::of_code(code) {
                    Refusal::TopicMissing => return Ok(TopicState::Missing),
                    Refusal::NotAuthorized => return Ok(TopicState::NotAuthorized),
                    _ => return Err(format!("topic `{name}`: {code}")),
                },
            }
        }
    }

    fn unanswered(&self, why: &str) -> String {
        // What went wrong with the connection is only told to who asks.
        self.asker.poll(Duration::from_millis(100));
        match self.asker.context().last_error() {
            Some(reason) => format!("no broker answered: {reason}"),
            None => format!("no broker answered: {why}"),
        }
    }

    /// The settings of an existing topic; empty where we may not read them.
    fn settings(&self, name: &str) -> Result<BTreeMap<String, (String, bool)>, String> {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let asked = self.runtime.block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options));
        let resources = asked.map_err(|why| self.unanswered(&why.to_string()))?;
        let mut settings = BTreeMap::new();
        for resource in resources {
            match resource {
                Ok(resource) => settings.extend(resource.entries.into_iter().filter_map(|entry| {
                    let own = entry.source == ConfigSource::DynamicTopic;
                    Some((entry.name, (entry.value?, own)))
                })),
                Err(code) if Refusal::of_code(code) == Refusal::NotAuthorized => {}
                Err(code) => return Err(format!("settings of topic `{name}`: {code}")),
            }
        }
        Ok(settings)
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// As [`Topics::look`].
    pub fn brokers(&self, patience: Duration) -> Result<usize, String> {
        let asked = self.asker.client().fetch_metadata(None, patience);
        asked.map(|metadata| metadata.brokers().len()).map_err(|why| self.unanswered(&why.to_string()))
    }

    /// Does a plan's step. Altering sends all of the topic's own settings, since the request resets what it leaves out: somebody
    /// else's change between [`Topics::look`] and here is lost.
    ///
    /// # Errors
    /// What the broker refused, with the topic's name and what to do.
    pub fn apply(&self, plan: &Plan) -> Result<(), String> {
        match &plan.step {
            Step::Nothing => Ok(()),
            Step::Blocked => Err(plan.notes.join("; ")),
            Step::Create => self.create(&plan.aim),
            Step::Alter(changes) => self.alter(&plan.aim.name, changes),
        }
    }

    fn create(&self, aim: &TopicAim) -> Result<(), String> {
        let settings = aim.settings();
        let mut topic = NewTopic::new(&aim.name, aim.partitions, TopicReplication::Fixed(aim.replication));
        for (key, value, _) in &settings {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let asked = self.runtime.block_on(self.admin.create_topics([&topic], &options));
        for result in asked.map_err(|why| self.unanswered(&why.to_string()))? {
            match result {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(format!("topic `{name}` was not created: {code}{}", advice(code, aim)));
                }
            }
        }
        // The answer comes before every broker knows the topic.
        let deadline = Instant::now() + PATIENCE;
        while self.look_at(&aim.name, deadline)? == TopicState::Missing {
            if Instant::now() >= deadline {
                return Err(format!("topic `{}` was created but is not seen yet; look again", aim.name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn alter(&self, name: &str, changes: &[Change]) -> Result<(), String> {
        let mut wanted: HashMap<String, String> = self
            .settings(name)?
            .into_iter()
            .filter(|(_, (_, own))| *own)
            .map(|(key, (value, _))| (key, value))
            .collect();
        wanted.extend(changes.iter().map(|change| (change.key.to_owned(), change.to.clone())));
        let mut request = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in &wanted {
            request = request.set(key, value);
        }
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let asked = self.runtime.block_on(self.admin.alter_configs([&request], &options));
        for result in asked.map_err(|why| self.unanswered(&why.to_string()))? {
            if let Err((_, code)) = result {
                return Err(format!(
                    "the settings of topic `{name}` were not changed: {code}; it needs ALTER_CONFIGS on the topic"
                ));
            }
        }
        Ok(())
    }
}

fn advice(code: Code, aim: &TopicAim) -> String {
    match code {
        Code::InvalidReplicationFactor => format!(
            "; {} replicas were asked for and the cluster has fewer brokers: add brokers, or give --replication (a click is then \
             as safe as so many disks)",
            aim.replication
        ),
        Code::PolicyViolation => "; the cluster's policy refuses these settings: ask who runs it".to_owned(),
        code if Refusal::of_code(code) == Refusal::NotAuthorized => {
            "; it needs CREATE on the topic or the cluster".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim() -> TopicAim {
        TopicAim {
            name: "clicks".to_owned(),
            partitions: 12,
            replication: 3,
            min_insync: 2,
            retention: Some(Duration::from_secs(86_400)),
        }
    }

    fn facts(settings: &[(&str, &str)]) -> TopicState {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), ((*value).to_owned(), false))).collect();
        TopicState::Present(TopicFacts { partitions: 12, replication: 3, settings })
    }

    #[test]
    fn a_missing_topic_is_created_and_a_good_one_left_alone() {
        assert_eq!(aim().plan(&TopicState::Missing).step, Step::Create);
        let longer = [("retention.ms", "-1"), ("min.insync.replicas", "3"), ("compression.type", "producer")];
        assert_eq!(aim().plan(&facts(&longer)).step, Step::Nothing);
        assert!(aim().plan(&facts(&longer)).notes.is_empty());
    }

    #[test]
    fn only_what_falls_short_is_altered() {
        let short = [
            ("retention.ms", "604800"),
            ("min.insync.replicas", "1"),
            ("retention.bytes", "1000"),
            ("cleanup.policy", "compact"),
        ];
        let Step::Alter(changes) = aim().plan(&facts(&short)).step else { panic!("nothing to alter") };
        let keys: Vec<_> = changes.iter().map(|change| (change.key, change.to.as_str())).collect();
        assert_eq!(
            keys,
            [
                ("min.insync.replicas", "2"),
                ("cleanup.policy", "delete"),
                ("retention.ms", "86400000"),
                ("retention.bytes", "-1")
            ]
        );
    }

    #[test]
    fn what_cannot_be_changed_from_here_is_said_with_what_to_do() {
        let TopicState::Present(mut weak) = facts(&[("min.insync.replicas", "2")]) else { unreachable!() };
        (weak.partitions, weak.replication) = (3, 1);
        let plan = aim().plan(&TopicState::Present(weak));
        assert_eq!(plan.notes.len(), 2, "{plan:?}");
        assert_eq!(aim().plan(&TopicState::NotAuthorized).step, Step::Blocked);
    }

    #[test]
    fn topic_names_are_kafkas() {
        for good in ["clicks", "clicks.orphan", "a_B-9"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
