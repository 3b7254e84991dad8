//! How far the topic is read. Written in the transaction of the records, so that a restart goes on from there.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::catalog::store::Meta;

/// The record that names the generation of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    pub(super) id: String,
    pub(super) offset: u64,
}

/// How far a topic is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicState {
    pub(super) topic: String,
    /// The offset of the next record.
    pub(super) next_offset: u64,
    pub(super) generation: Option<Generation>,
    /// Of all links and their versions.
    pub(super) fingerprint: u64,
    /// When the end of the topic was reached last, milliseconds since the epoch; 0: never, so links are missing.
    pub(super) at_end_ms: u64,
    /// Of the domains and rules by which records were skipped, as the catalog's file has it.
    #[serde(default)]
    pub(super) rules_fingerprint: String,
}

impl TopicState {
    /// The beginning of a topic.
    pub(super) fn beginning_of(topic: &str) -> TopicState {
        TopicState {
            topic: topic.to_owned(),
            next_offset: 0,
            generation: None,
            fingerprint: 0,
            at_end_ms: 0,
            rules_fingerprint: String::new(),
        }
    }

    /// The state that was written last for this topic; `None`: the links are of another source.
    pub(super) fn read(connection: &Connection, topic: &str) -> rusqlite::Result<Option<TopicState>> {
        let text = Meta::TopicState.read(connection)?;
        let state: Option<TopicState> = text.and_then(|text| serde_json::from_str(&text).ok());
        Ok(state.filter(|state| state.topic == topic))
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let text = serde_json::to_string(self).unwrap_or_default();
        Meta::TopicState.write(connection, Some(&text))
    }
}
