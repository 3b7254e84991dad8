//! The sections `[delivery]` and `[delivery.files]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{events::DuplicateConfig, invalid_value::InvalidValue, size::Bytes};

/// `[delivery]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Clicks of a topic that the sink may hold undelivered, 64 to 150000; further clicks stay in the journal. 20 000
    /// clicks of 1.7 KB are 34 MB of memory while the broker is away, and 400 000 a second if acknowledgements take 50
    /// ms.
    pub max_in_flight: u32,
    /// How long a stop may take to deliver the rest; at most 10 min.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub drain_deadline: Duration,
    /// Whether events name the device, its system, the browser and the versions. The expressions for the versions take
    /// some 11 MB of memory.
    pub device_labels: bool,
    /// When a click is a duplicate.
    pub duplicate: DuplicateConfig,
    /// Click files, and the size of dead-letter files.
    pub files: FilesConfig,
}

/// `[delivery.files]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesConfig {
    /// A file, of clicks or of dead letters, is closed and the next one created at this size; 64 KiB at least.
    pub rotate_bytes: Bytes,
    /// A click file is closed and the next one created at this age; 1 s at least.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub rotate_age: Duration,
    /// The oldest closed files of a topic are deleted while all files of the topic hold more. Default: no file is
    /// deleted.
    pub keep_bytes: Option<Bytes>,
    /// Closed files written to longer ago are deleted. Default: no file is deleted.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub keep_age: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_in_flight: 20_000,
            drain_deadline: Duration::from_secs(10),
            device_labels: false,
            duplicate: DuplicateConfig::default(),
            files: FilesConfig::default(),
        }
    }
}

impl Config {
    /// Every error of the section: the key relative to it, and what was found and what is allowed.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        // The producer of each topic has a queue of 200 000 records and 256 MiB.
        if !(64..=150_000).contains(&self.max_in_flight) {
            errors.push(InvalidValue::new("max_in_flight", format!("{}; allowed is 64 to 150000", self.max_in_flight)));
        }
        if self.drain_deadline > Duration::from_secs(600) {
            errors.push(InvalidValue::new("drain_deadline", format!("{:?}; at most 10m", self.drain_deadline)));
        }
        errors.extend(self.duplicate.list_invalid_values().into_iter().map(|value| value.below("duplicate")));
        errors.extend(self.files.list_invalid_values().into_iter().map(|value| value.below("files")));
        errors
    }
}

impl Default for FilesConfig {
    fn default() -> FilesConfig {
        FilesConfig {
            rotate_bytes: Bytes::mib(256),
            rotate_age: Duration::from_secs(24 * 3600),
            keep_bytes: None,
            keep_age: None,
        }
    }
}

impl FilesConfig {
    /// Every error of the section, by key.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if self.rotate_bytes < Bytes::kib(64) {
            errors.push(InvalidValue::new("rotate_bytes", format!("{}; at least 64 KiB", self.rotate_bytes)));
        }
        if self.rotate_age < Duration::from_secs(1) {
            errors.push(InvalidValue::new("rotate_age", format!("{:?}; at least 1s", self.rotate_age)));
        }
        if let Some(keep) = self.keep_bytes.filter(|keep| *keep < self.rotate_bytes) {
            let why = format!(
                "{keep}, less than one file (`rotate_bytes` is {}); leave it out to keep every file",
                self.rotate_bytes
            );
            errors.push(InvalidValue::new("keep_bytes", why));
        }
        errors
    }
}
