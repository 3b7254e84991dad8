//! `[server]`: the process: its data directory, its logs, and how it stops.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::log_directives::validate_and_complete_log_directives;
use crate::invalid_value::InvalidValue;

/// `[server]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The directory of the journal, the key ring and the click files.
    pub data_dir: PathBuf,
    /// How long open connections may take to finish after the listeners are closed; 1 s to 1 h.
    /// `delivery.drain_deadline` begins after it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub drain_deadline: Duration,
    /// How long the process goes on serving after the stop signal while `/readyz` says not ready, so that load
    /// balancers notice; at most 10 minutes.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub pre_stop_delay: Duration,
    /// The format of log lines.
    pub log: LogFormat,
    /// Which log lines are written: a level, or `tracing` directives such as `info,waypost::delivery=debug`. A
    /// `RUST_LOG` that is not empty wins over it.
    pub log_level: String,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            data_dir: PathBuf::from("waypost-data"),
            drain_deadline: Duration::from_secs(10),
            pre_stop_delay: Duration::ZERO,
            log: LogFormat::Auto,
            log_level: "info".to_owned(),
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

impl ServerConfig {
    /// Every invalid key with what was found and what is allowed.
    pub(super) fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if self.drain_deadline < Duration::from_secs(1) || self.drain_deadline > Duration::from_secs(3600) {
            errors.push(InvalidValue::new("drain_deadline", format!("{:?}; allowed: 1s to 1h", self.drain_deadline)));
        }
        if self.pre_stop_delay > Duration::from_secs(600) {
            errors.push(InvalidValue::new("pre_stop_delay", format!("{:?}; allowed: 0s to 10m", self.pre_stop_delay)));
        }
        if let Err(message) = validate_and_complete_log_directives(&self.log_level) {
            errors.push(InvalidValue::new("log_level", message));
        }
        errors
    }
}
