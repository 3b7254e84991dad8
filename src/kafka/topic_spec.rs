//! What a topic should be, what it is, and the plan from one to the other.

use std::{collections::BTreeMap, time::Duration};

use super::Refusal;

/// What a topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// The partitions of a new topic. An existing topic keeps its own, because a change would move keys.
    pub partitions: i32,
    /// The replicas of each partition of a new topic. Waypost cannot change them later.
    pub replication: i32,
    /// The replicas that must hold a click before it counts as delivered.
    pub min_insync: i32,
    /// How long records stay. `None`: the topic is compacted, so the last record of each key stays for good, as
    /// checkpoints need.
    pub retention: Option<Duration>,
    /// How long the tombstones of a compacted topic stay, which a reader must not miss. `None`: it has no tombstones.
    pub tombstone_retention: Option<Duration>,
}

/// What the cluster says about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// The topic exists.
    Present(TopicDescription),
    /// The topic does not exist.
    Missing,
    /// The broker does not let us describe the topic.
    NotAuthorized,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The number of partitions.
    pub partitions: usize,
    /// The replicas of the partition that has the fewest.
    pub replication: usize,
    /// The settings by key; empty if the broker does not let us read them.
    pub settings: BTreeMap<String, SettingValue>,
}

/// The value of a topic's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingValue {
    /// The value.
    pub value: String,
    /// Whether the value was set on the topic itself, and is no default of the cluster.
    pub is_own: bool,
}

impl TopicDescription {
    /// The value of a setting, if it may be read.
    pub fn find_setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|setting| setting.value.as_str())
    }

    /// `min.insync.replicas`, if it may be read.
    pub fn min_insync(&self) -> Option<usize> {
        self.find_setting("min.insync.replicas")?.parse().ok()
    }
}

/// What to do about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// What the topic should be.
    pub spec: TopicSpec,
    /// What to do.
    pub step: PlanStep,
    /// What differs from the spec and cannot be changed by Waypost, with what to do.
    pub notes: Vec<String>,
}

/// The step that brings a topic to its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// Create the topic.
    Create,
    /// Change settings of the topic.
    Alter(Vec<SettingChange>),
    /// The topic matches its spec.
    Nothing,
    /// The topic may not be described, so nothing can be planned.
    Blocked,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The setting's key.
    pub key: &'static str,
    /// The present value.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// A setting that a topic should have.
pub(super) struct SettingRequirement {
    pub(super) key: &'static str,
    pub(super) value: String,
    rule: SettingRule,
}

/// Which present values of a setting are good enough.
#[derive(Clone, Copy)]
enum SettingRule {
    /// The same value.
    Exactly,
    /// A number that is not smaller; -1 is unlimited.
    AtLeast,
}

impl TopicSpec {
    /// The settings of the topic, with the reason for each.
    pub(super) fn list_setting_requirements(&self) -> Vec<SettingRequirement> {
        let exactly =
            |key, value: &str| SettingRequirement { key, value: value.to_owned(), rule: SettingRule::Exactly };
        let at_least = |key, value: String| SettingRequirement { key, value, rule: SettingRule::AtLeast };
        let mut settings = vec![
            // A click counts as delivered once so many replicas hold it.
            at_least("min.insync.replicas", self.min_insync.to_string()),
            exactly("unclean.leader.election.enable", "false"),
            // Kafka's own default. The producer's batches stay below it.
            at_least("max.message.bytes", "1048588".to_owned()),
        ];
        let Some(retention) = self.retention else {
            settings.extend([
                exactly("cleanup.policy", "compact"),
                // An edge whose clock runs ahead can still commit.
                exactly("message.timestamp.type", "LogAppendTime"),
            ]);
            if let Some(tombstones) = self.tombstone_retention {
                settings.push(at_least("delete.retention.ms", tombstones.as_millis().to_string()));
            }
            return settings;
        };
        settings.extend([
            // Clicks are removed by age alone: not by key, not by size.
            exactly("cleanup.policy", "delete"),
            at_least("retention.ms", retention.as_millis().to_string()),
            at_least("retention.bytes", "-1".to_owned()),
            // The broker stores batches as they come, without compressing them again.
            exactly("compression.type", "producer"),
            // A replay after an outage keeps the time of the click.
            exactly("message.timestamp.type", "CreateTime"),
            at_least("message.timestamp.before.max.ms", i64::MAX.to_string()),
        ]);
        settings
    }

    /// Plans the step from `state` to this spec.
    pub fn plan_creation_or_changes(&self, state: &TopicState) -> TopicPlan {
        let (step, notes) = match state {
            TopicState::Missing => (PlanStep::Create, Vec::new()),
            TopicState::NotAuthorized => {
                (PlanStep::Blocked, vec![Refusal::NotAuthorized.advice_for_operator(&self.name)])
            }
            TopicState::Present(topic) => {
                (self.plan_setting_changes(topic), self.describe_unchangeable_differences(topic))
            }
        };
        TopicPlan { spec: self.clone(), step, notes }
    }

    fn plan_setting_changes(&self, topic: &TopicDescription) -> PlanStep {
        let changes: Vec<SettingChange> = self
            .list_setting_requirements()
            .into_iter()
            .filter_map(|SettingRequirement { key, value, rule }| {
                // A broker of another version may not know a setting, or not let us read it.
                let present = topic.find_setting(key)?;
                let good_enough = match rule {
                    SettingRule::Exactly => present.eq_ignore_ascii_case(&value),
                    SettingRule::AtLeast => {
                        present == "-1" || parse_or_zero(present) >= parse_or_zero(&value) && value != "-1"
                    }
                };
                (!good_enough).then(|| SettingChange { key, from: present.to_owned(), to: value })
            })
            .collect();
        if changes.is_empty() { PlanStep::Nothing } else { PlanStep::Alter(changes) }
    }

    /// What differs from the spec and cannot be changed by Waypost.
    fn describe_unchangeable_differences(&self, topic: &TopicDescription) -> Vec<String> {
        let mut notes = Vec::new();
        if topic.replication < self.replication as usize {
            notes.push(format!(
                "`{}` has {} of {} replicas: clicks can be lost with a broker's disk; add replicas with \
                 kafka-reassign-partitions",
                self.name, topic.replication, self.replication
            ));
        }
        if topic.partitions != self.partitions as usize {
            notes.push(format!(
                "`{}` has {} partitions, {} were asked for: it is left as it is, because a change moves visitors \
                 between partitions",
                self.name, topic.partitions, self.partitions
            ));
        }
        if topic.settings.is_empty() {
            notes.push(format!("the settings of `{}` cannot be read: grant DESCRIBE_CONFIGS on the topic", self.name));
        }
        notes
    }
}

fn parse_or_zero(number: &str) -> i64 {
    number.parse().unwrap_or(0)
}

/// Checks a topic's name by Kafka's rule: 1 to 249 of `[A-Za-z0-9._-]`, neither `.` nor `..`.
///
/// # Errors
/// The name, and what is allowed.
pub fn validate_topic_name(name: &str) -> Result<(), String> {
    let valid = (1..=249).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name != "."
        && name != "..";
    if valid { Ok(()) } else { Err(format!("`{name}` is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TopicSpec {
        TopicSpec {
            name: "clicks".to_owned(),
            partitions: 12,
            replication: 3,
            min_insync: 2,
            retention: Some(Duration::from_secs(86_400)),
            tombstone_retention: None,
        }
    }

    fn description(settings: &[(&str, &str)]) -> TopicDescription {
        let setting = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), SettingValue { value: (*value).to_owned(), is_own: false })
        };
        TopicDescription { partitions: 12, replication: 3, settings: settings.iter().map(setting).collect() }
    }

    #[test]
    fn a_missing_topic_is_created_and_one_that_exceeds_its_spec_is_left_alone() {
        assert_eq!(spec().plan_creation_or_changes(&TopicState::Missing).step, PlanStep::Create);
        let longer = [("retention.ms", "-1"), ("min.insync.replicas", "3"), ("compression.type", "producer")];
        let plan = spec().plan_creation_or_changes(&TopicState::Present(description(&longer)));
        assert_eq!((plan.step, plan.notes), (PlanStep::Nothing, vec![]));
    }

    #[test]
    fn only_settings_that_fall_short_are_altered() {
        let short = [
            ("retention.ms", "604800"),
            ("min.insync.replicas", "1"),
            ("retention.bytes", "1000"),
            ("cleanup.policy", "compact"),
        ];
        let plan = spec().plan_creation_or_changes(&TopicState::Present(description(&short)));
        let PlanStep::Alter(changes) = plan.step else { panic!("nothing to alter") };
        let changes: Vec<_> = changes.iter().map(|change| (change.key, change.to.as_str())).collect();
        assert_eq!(
            changes,
            [
                ("min.insync.replicas", "2"),
                ("cleanup.policy", "delete"),
                ("retention.ms", "86400000"),
                ("retention.bytes", "-1")
            ]
        );
    }

    #[test]
    fn differences_that_waypost_cannot_change_are_noted_with_what_to_do() {
        let mut weak = description(&[("min.insync.replicas", "2")]);
        (weak.partitions, weak.replication) = (3, 1);
        let plan = spec().plan_creation_or_changes(&TopicState::Present(weak));
        assert_eq!(plan.notes.len(), 2, "{plan:?}");
        assert_eq!(spec().plan_creation_or_changes(&TopicState::NotAuthorized).step, PlanStep::Blocked);
    }

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["clicks", "clicks.orphan", "a_B-9"] {
            assert_eq!(validate_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(validate_topic_name(bad).is_err(), "{bad}");
        }
    }
}
