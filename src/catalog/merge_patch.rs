//! Patches of records.

use crate::model::link::record::Record;

/// The URL on another host. Everything behind the host stays as it is, placeholders too.
fn with_other_host(url: &str, host: &str) -> String {
    let Some((scheme, behind)) = url.split_once("://") else { return url.to_owned() };
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    format!("{scheme}://{host}{}", &behind[end..])
}

/// The record that a JSON merge patch (RFC 7396) makes of another. The member `host` stands for the host of `url`.
pub(super) fn apply_merge_patch(record: &str, patch: &serde_json::Value) -> Result<Record, String> {
    let Some(changes) = patch.as_object() else { return Err("a patch is a JSON object".to_owned()) };
    let mut value: serde_json::Value = serde_json::from_str(record).map_err(|error| error.to_string())?;
    for (field, change) in changes {
        if let ("host", Some(host)) = (&**field, change.as_str()) {
            value["url"] = with_other_host(value["url"].as_str().unwrap_or_default(), host).into();
            continue;
        }
        // No field of a record is an object, so a patch has one level. A null is an absent field.
        value[field.as_str()] = change.clone();
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}
