//! A line of a link's history as JSON.

use serde_json::{Value, json};

use crate::catalog::query::AuditLine;

/// The line of the catalog.
pub(super) fn history_of_audit_line(line: &AuditLine) -> Value {
    let time = i64::try_from(line.at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let record = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "version": line.version,
        "at": time.map(|time| time.to_string()),
        "act": line.act,
        "actor": line.actor,
        "reason": line.reason,
        "before": record(&line.before),
        "after": record(&line.after),
    })
}

/// The line of the API, without what names the link.
pub(super) fn history_of_api_item(item: &Value) -> Value {
    let fields = ["version", "at", "act", "actor", "reason", "before", "after"];
    fields.into_iter().map(|field| (field.to_owned(), item[field].clone())).collect()
}
