//! The section `[journal]` of the configuration, with its defaults and rules.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    invalid_value::InvalidValue,
    journal::{frame::MAX_FRAME, ring::PAGE},
    size::Bytes,
};

/// When the spiller writes frames into segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpillMode {
    /// Frames that the sink has not acknowledged within `sync_interval`.
    #[default]
    Auto,
    /// Every frame within `sync_interval`: for a sink that would lose power together with this machine.
    Always,
}

/// What the edge does with a click for which the ring has no room, after `wait_for_room`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Redirects the buyer with a token that is flagged as unrecorded; counts the click.
    #[default]
    Unrecorded,
    /// Answers `503`.
    Refuse,
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of each worker's ring, in whole pages of 4096: what a failing sink together with a failing disk may last.
    pub ring_bytes: Bytes,
    /// Bytes that all segments together may take. When they are used up, the rings fill.
    pub max_disk_bytes: Bytes,
    /// Bytes after which a segment is closed.
    pub segment_bytes: Bytes,
    /// How long a frame may lie in the ring alone.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub sync_interval: Duration,
    /// The directory of the rings of all logs; by default the data directory. On tmpfs an append never waits for a file
    /// system.
    pub ring_dir: Option<PathBuf>,
    /// When frames are written into segments.
    pub spill: SpillMode,
    /// How long a request waits for room in a full ring, before `on_full` applies.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub wait_for_room: Duration,
    /// What happens to a click that found no room.
    pub on_full: OnFull,
    /// The log of unknown codes.
    pub orphan: OrphanConfig,
}

/// `[journal.orphan]`: the log of clicks on unknown codes. Such clicks earn nothing, so this log is small and the first
/// to be given up. Every other value is the one in `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrphanConfig {
    /// Bytes of each worker's ring, in whole pages of 4096.
    pub ring_bytes: Bytes,
    /// Bytes that all segments together may take.
    pub max_disk_bytes: Bytes,
}

impl Default for OrphanConfig {
    fn default() -> OrphanConfig {
        OrphanConfig { ring_bytes: Bytes::mib(4), max_disk_bytes: Bytes::gib(1) }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ring_bytes: Bytes::mib(64),
            max_disk_bytes: Bytes::gib(8),
            segment_bytes: Bytes::mib(64),
            sync_interval: Duration::from_millis(50),
            ring_dir: None,
            spill: SpillMode::Auto,
            wait_for_room: Duration::from_millis(100),
            on_full: OnFull::Unrecorded,
            orphan: OrphanConfig::default(),
        }
    }
}

impl Config {
    /// The configuration before a sink that needs so long to acknowledge a frame while it is well: a frame is not
    /// written to the disk sooner. So the bound of a power loss grows with it.
    pub fn for_acknowledgements_after(&self, usual_delay: Duration) -> Config {
        Config { sync_interval: self.sync_interval.max(usual_delay), ..self.clone() }
    }

    /// The configuration of the log of unknown codes.
    pub fn for_orphans(&self) -> Config {
        let OrphanConfig { ring_bytes, max_disk_bytes } = self.orphan;
        Config { ring_bytes, max_disk_bytes, ..self.clone() }
    }

    /// Every value that cannot work: its key, and a sentence with the value and the allowed range.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = self.list_invalid_ring_and_disk_bytes();
        let mut add = |key: &str, message: String| errors.push(InvalidValue::new(key, message));
        if !((1 << 20)..=(4 << 30)).contains(&self.segment_bytes.0) {
            add("segment_bytes", format!("{} is not from 1 MiB to 4 GiB", self.segment_bytes));
        }
        if !(Duration::from_millis(4)..=Duration::from_secs(10)).contains(&self.sync_interval) {
            add("sync_interval", format!("{:?} is not from 4ms to 10s", self.sync_interval));
        }
        if self.wait_for_room > Duration::from_secs(10) {
            add("wait_for_room", format!("{:?} is longer than 10s: the buyer would be gone", self.wait_for_room));
        }
        let of_orphans = self.for_orphans().list_invalid_ring_and_disk_bytes();
        errors.extend(of_orphans.into_iter().map(|value| value.below("orphan")));
        errors
    }

    /// The invalid ones of the values that each log has for itself.
    fn list_invalid_ring_and_disk_bytes(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        let ring = self.ring_bytes.0;
        // At least 64 of the largest frames, so that a few frames never fill a ring.
        if !(64 * MAX_FRAME..=64 << 30).contains(&ring) || !ring.is_multiple_of(PAGE) {
            let message = format!("{} is not a multiple of 4 KiB from 4 MiB to 64 GiB", self.ring_bytes);
            errors.push(InvalidValue::new("ring_bytes", message));
        }
        if self.max_disk_bytes.0 < 4 * self.segment_bytes.0 {
            let message = format!("{} is less than four segments of {}", self.max_disk_bytes, self.segment_bytes);
            errors.push(InvalidValue::new("max_disk_bytes", message));
        }
        errors
    }
}
