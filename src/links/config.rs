//! `[links]`: where links come from and which destinations they may have.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    invalid_value::InvalidValue,
    kafka::validate_topic_name,
    links::destination::policy::{self, DestinationPolicy},
};

/// What an edge does whose links are too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenStale {
    /// It serves them.
    #[default]
    Serve,
    /// It is not ready.
    Unready,
}

/// `[links]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The links file, JSON lines. Without it the links are those of the catalog in the data directory.
    pub file: Option<PathBuf>,
    /// The topic of links, which edges share, on the brokers of `kafka.brokers`; not beside `file`. Its audit is the
    /// topic `TOPIC.audit`.
    pub topic: Option<String>,
    /// With `topic`: how old the links may be for `when_stale`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub max_age: Duration,
    /// With `topic`: what an edge does whose links are older than `max_age`.
    pub when_stale: WhenStale,
    /// With `topic`: how often the topic is read once more from its beginning, to find links that an edge would lack
    /// that starts anew.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub compare_interval: Duration,
    /// Whether a version may be empty, at the start too, or remove more than a tenth of the live links.
    pub allow_shrink: bool,
    /// Whether a start with a bad or missing file is refused. By default the last good links are served, with an alarm.
    pub require_file: bool,
    /// How often the file is checked for a change; a change counts once two checks saw the same version.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll_interval: Duration,
    /// Schemes of destinations beside `http` and `https`.
    pub app_schemes: Vec<String>,
    /// If not empty, the hosts that destinations may name; `*.example.com` stands for every host below.
    pub allowed_hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            topic: None,
            max_age: Duration::from_secs(300),
            when_stale: WhenStale::default(),
            compare_interval: Duration::from_secs(86_400),
            allow_shrink: false,
            require_file: false,
            poll_interval: Duration::from_millis(500),
            app_schemes: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

impl Config {
    /// Every error, as a key (relative to `links`) and a message that says what is allowed.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if !(Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&self.poll_interval) {
            errors.push(InvalidValue::new(
                "poll_interval",
                format!("is {:?}; allowed are 50ms to 1h", self.poll_interval),
            ));
        }
        if !(Duration::from_secs(5)..=Duration::from_secs(7 * 86_400)).contains(&self.max_age) {
            errors.push(InvalidValue::new("max_age", format!("is {:?}; allowed are 5s to 7d", self.max_age)));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)).contains(&self.compare_interval) {
            let message = format!("is {:?}; allowed are 1s to 720h", self.compare_interval);
            errors.push(InvalidValue::new("compare_interval", message));
        }
        if let Some(topic) = &self.topic {
            if let Err(message) = validate_topic_name(topic).and_then(|()| validate_topic_name(&audit_topic_of(topic)))
            {
                errors.push(InvalidValue::new("topic", message));
            }
            if self.file.is_some() {
                let message = "is set beside links.file (--links); the links come from one of the two: leave one out";
                errors.push(InvalidValue::new("topic", message));
            }
        }
        for scheme in &self.app_schemes {
            if let Err(message) = policy::validate_app_scheme(scheme) {
                errors.push(InvalidValue::new("app_schemes", message));
            }
        }
        for host in &self.allowed_hosts {
            if let Err(error) = url::Host::parse(host.strip_prefix("*.").unwrap_or(host)) {
                let message = format!("{host:?} is not a host name ({error}); allowed are a.example and *.a.example");
                errors.push(InvalidValue::new("allowed_hosts", message));
            }
        }
        errors
    }

    /// The topic of links and that of its audit.
    pub fn topics(&self) -> Option<(String, String)> {
        self.topic.clone().map(|topic| (topic.clone(), audit_topic_of(&topic)))
    }

    /// The rules that destinations are checked against.
    pub fn destination_policy(&self) -> DestinationPolicy {
        DestinationPolicy { app_schemes: self.app_schemes.clone(), allowed_hosts: self.allowed_hosts.clone() }
    }
}

fn audit_topic_of(topic: &str) -> String {
    format!("{topic}.audit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_come_from_a_file_or_a_topic_and_not_from_both() {
        let keys = |config: Config| -> Vec<String> {
            config.list_invalid_values().into_iter().map(|value| value.key).collect()
        };
        let with_topic = Config { topic: Some("links.v1".into()), ..Config::default() };
        assert!(keys(with_topic.clone()).is_empty());
        assert_eq!(with_topic.topics().unwrap().1, "links.v1.audit");
        assert_eq!(keys(Config { file: Some("links.jsonl".into()), ..with_topic.clone() }), ["topic"]);
        assert_eq!(
            keys(Config { topic: Some("a b".into()), max_age: Duration::ZERO, ..with_topic }),
            ["max_age", "topic"]
        );
    }

    #[test]
    fn settings_that_allow_too_much_are_refused() {
        let config = Config {
            poll_interval: Duration::ZERO,
            app_schemes: vec!["javascript".into(), "Shop".into(), "shopapp".into(), "https".into()],
            allowed_hosts: vec!["a.example".into(), "*.a.example".into(), "a b".into()],
            ..Config::default()
        };
        let keys: Vec<String> = config.list_invalid_values().into_iter().map(|value| value.key).collect();
        assert_eq!(keys, ["poll_interval", "app_schemes", "app_schemes", "app_schemes", "allowed_hosts"]);
        assert!(Config::default().list_invalid_values().is_empty());
    }
}
