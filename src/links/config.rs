//! `[links]`: where links come from and which destinations they may have.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    invalid_value::InvalidValue,
    links::destination::policy::{self, DestinationPolicy},
};

/// `[links]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The links file, JSON lines. Without it the links are those of the catalog in the data directory.
    pub file: Option<PathBuf>,
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

    /// The rules that destinations are checked against.
    pub fn destination_policy(&self) -> DestinationPolicy {
        DestinationPolicy { app_schemes: self.app_schemes.clone(), allowed_hosts: self.allowed_hosts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
