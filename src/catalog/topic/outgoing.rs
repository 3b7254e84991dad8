//! Changes as records of the topic and of its audit.

use serde_json::{Value, json, value::RawValue};

use super::{
    record::{FreezeValue, GoneValue, OnceHeader, RecordAuthor, SuspensionValue, to_timestamp},
    record_key::RecordKey,
};
use crate::catalog::{
    change::LinkName,
    recorded::{RecordedChange, RecordedDomain, RecordedLink, RecordedWrite},
    suspension_rows::SuspensionRow,
};

/// A record that is to be written.
#[derive(Clone, Debug)]
pub(super) struct OutgoingRecord {
    pub(super) key: String,
    /// `None`: a tombstone.
    pub(super) value: Option<String>,
    pub(super) author: RecordAuthor,
    /// The line about it in the audit; `None`: nothing changes for anybody.
    pub(super) audit: Option<String>,
    /// The version that the plan gave the change, in whose place the offset comes.
    pub(super) planned_version: Option<u64>,
}

impl OutgoingRecord {
    /// The record of a change, at `now_ms`.
    pub(super) fn new(write: RecordedWrite, now_ms: u64) -> OutgoingRecord {
        let RecordedWrite { act, once, change } = write;
        let author = RecordAuthor {
            act: act.id.to_string(),
            actor: act.actor,
            reason: act.reason,
            once: once.as_ref().map(OnceHeader::new),
        };
        let (key, value, planned_version, mut audit) = match change {
            RecordedChange::Link(link) => describe_link(link),
            RecordedChange::Suspended(row) => {
                let audit = json!({"action": "suspend", "dimension": row.dimension.as_str(), "value": row.value});
                (key_of(&row), to_json(&suspension_value(&row)), Some(row.version), audit)
            }
            RecordedChange::SuspensionEnded(row) => {
                let audit =
                    json!({"action": "end_suspension", "dimension": row.dimension.as_str(), "value": row.value});
                (key_of(&row), None, None, audit)
            }
            RecordedChange::FreezeChanged(reason) => {
                let action = if reason.is_some() { "freeze" } else { "unfreeze" };
                let value = reason.and_then(|reason| to_json(&FreezeValue { reason }));
                (RecordKey::Freeze, value, None, json!({"action": action}))
            }
            RecordedChange::Domain(domain) => {
                let RecordedDomain { host, before, after } = *domain;
                let action = if after.is_some() { "put_domain" } else { "delete_domain" };
                let audit = json!({"action": action, "host": host, "before": before, "after": after});
                (RecordKey::Domain(host), after.and_then(|settings| to_json(&settings)), None, audit)
            }
        };
        audit["act"] = author.act.as_str().into();
        audit["at"] = to_timestamp(now_ms).to_string().into();
        audit["actor"] = author.actor.as_str().into();
        audit["reason"] = author.reason.as_deref().into();
        OutgoingRecord { key: key.to_string(), value, author, audit: Some(audit.to_string()), planned_version }
    }

    /// The tombstone of a gone link whose code is free again.
    pub(super) fn tombstone_of(name: LinkName, author: RecordAuthor) -> OutgoingRecord {
        let key = RecordKey::Link(name).to_string();
        OutgoingRecord { key, value: None, author, audit: None, planned_version: None }
    }
}

fn describe_link(link: RecordedLink) -> (RecordKey, Option<String>, Option<u64>, Value) {
    let RecordedLink { version, name, before_version, before, after, gone } = link;
    let raw = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let audit = json!({
        "action": "change", "domain": name.domain, "code": name.code, "before_version": before_version,
        "before": raw(&before), "after": raw(&after),
    });
    let value = match after {
        Some(record) => Some(record),
        // A record of a newer build cannot be remembered; its link is removed all the same.
        None => gone.and_then(|gone| to_json(&GoneValue::new(&gone))),
    };
    (RecordKey::Link(name), value, Some(version), audit)
}

fn key_of(row: &SuspensionRow) -> RecordKey {
    RecordKey::Suspension(row.dimension, row.value.clone())
}

fn suspension_value(row: &SuspensionRow) -> SuspensionValue {
    SuspensionValue {
        reason: row.reason.clone(),
        until: row.until_ms.map(to_timestamp),
        fallback_url: row.fallback_url.clone(),
    }
}

fn to_json(value: &impl serde::Serialize) -> Option<String> {
    serde_json::value::to_raw_value(value).ok().map(|raw: Box<RawValue>| raw.get().to_owned())
}
