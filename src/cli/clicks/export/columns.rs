//! The columns of an exported click: one list, from which the Parquet schema is made. It has every field of
//! `deploy/schemas/click.v1.schema.json` in the order of that file, then the arrival of the record, then what this
//! version does not know.

use crate::cli::clicks::click_lines::ARRIVAL_FIELD;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// UTF-8.
    Text,
    /// A whole number that fits 32 bits with its sign.
    Int32,
    /// A whole number that fits 64 bits with its sign.
    Int64,
    /// Milliseconds since the Unix epoch, UTC.
    TimestampMs,
    Boolean,
}

/// Holds, as a JSON object, the fields of an event that have no column, or whose value does not fit its column.
pub(super) const OTHER_FIELDS: &str = "other_fields";

/// Fields that every exported record has. The other columns can be null.
pub(super) const REQUIRED: [&str; 3] = ["type", "click_id", "clicked_at_ms"];

/// Name and type of each column. Only `other_fields` is no field of the event.
pub(super) const COLUMNS: &[(&str, ColumnType)] = &[
    ("type", ColumnType::Text),
    ("schema_version", ColumnType::Int32),
    ("click_id", ColumnType::Text),
    ("clicked_at_ms", ColumnType::TimestampMs),
    ("edge", ColumnType::Text),
    ("lane", ColumnType::Int32),
    ("epoch", ColumnType::Int64),
    ("seq", ColumnType::Int64),
    ("safe", ColumnType::Int64),
    ("reason", ColumnType::Text),
    ("size", ColumnType::Int64),
    ("outcome", ColumnType::Text),
    ("status", ColumnType::Int32),
    ("destination", ColumnType::Text),
    ("destination_host", ColumnType::Text),
    ("carrier", ColumnType::Text),
    ("cookie_set", ColumnType::Boolean),
    ("token_placed", ColumnType::Boolean),
    ("token_kid", ColumnType::Text),
    ("target_index", ColumnType::Int32),
    ("target_facts", ColumnType::Text),
    ("split", ColumnType::Text),
    ("split_bucket", ColumnType::Int32),
    ("split_basis", ColumnType::Text),
    ("targets_of", ColumnType::Text),
    ("opened_outside", ColumnType::Text),
    ("next_hop", ColumnType::Text),
    ("domain", ColumnType::Text),
    ("code", ColumnType::Text),
    ("link_version", ColumnType::Int64),
    ("link_kind", ColumnType::Text),
    ("link_created_at_ms", ColumnType::TimestampMs),
    ("link_ends_at_ms", ColumnType::TimestampMs),
    ("creator_id", ColumnType::Text),
    ("creator_type", ColumnType::Text),
    ("partner_id", ColumnType::Text),
    ("seller_id", ColumnType::Text),
    ("campaign_id", ColumnType::Text),
    ("product_id", ColumnType::Text),
    ("product_set_id", ColumnType::Text),
    ("plan", ColumnType::Text),
    ("rate_bp", ColumnType::Int32),
    ("link_test", ColumnType::Boolean),
    ("visitor_id", ColumnType::Text),
    ("visitor_new", ColumnType::Boolean),
    ("cookie_state", ColumnType::Text),
    ("previous_click_id", ColumnType::Text),
    ("previous_domain", ColumnType::Text),
    ("previous_code", ColumnType::Text),
    ("previous_clicked_at_ms", ColumnType::TimestampMs),
    ("consent", ColumnType::Text),
    ("gpc", ColumnType::Boolean),
    ("privacy_mode", ColumnType::Text),
    ("method", ColumnType::Text),
    ("http_version", ColumnType::Text),
    ("client_ip", ColumnType::Text),
    ("client_ip_mode", ColumnType::Text),
    ("client_ip_from", ColumnType::Text),
    ("user_agent", ColumnType::Text),
    ("referer", ColumnType::Text),
    ("accept_language", ColumnType::Text),
    ("app_package", ColumnType::Text),
    ("sec_fetch", ColumnType::Text),
    ("query", ColumnType::Text),
    ("sub1", ColumnType::Text),
    ("sub2", ColumnType::Text),
    ("sub3", ColumnType::Text),
    ("sub4", ColumnType::Text),
    ("sub5", ColumnType::Text),
    ("ad_click_id_name", ColumnType::Text),
    ("ad_click_id", ColumnType::Text),
    ("utm_source", ColumnType::Text),
    ("utm_medium", ColumnType::Text),
    ("utm_campaign", ColumnType::Text),
    ("repaired", ColumnType::Boolean),
    ("route", ColumnType::Text),
    ("suspended_by", ColumnType::Text),
    ("truncated", ColumnType::Boolean),
    ("class", ColumnType::Text),
    ("class_reason", ColumnType::Text),
    ("countable", ColumnType::Boolean),
    ("countable_reason", ColumnType::Text),
    ("duplicate", ColumnType::Boolean),
    ("duplicate_basis", ColumnType::Text),
    ("source", ColumnType::Text),
    ("source_reason", ColumnType::Text),
    ("in_app", ColumnType::Boolean),
    ("in_app_name", ColumnType::Text),
    ("labels_version", ColumnType::Int64),
    ("country", ColumnType::Text),
    ("region", ColumnType::Text),
    ("asn", ColumnType::Int64),
    ("network_name", ColumnType::Text),
    ("data_centre", ColumnType::Boolean),
    ("device", ColumnType::Text),
    ("os", ColumnType::Text),
    ("os_version", ColumnType::Text),
    ("browser", ColumnType::Text),
    ("browser_version", ColumnType::Text),
    (ARRIVAL_FIELD, ColumnType::TimestampMs),
    (OTHER_FIELDS, ColumnType::Text),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{
        ColumnType::{Boolean, Int32, Int64, Text, TimestampMs},
        *,
    };

    /// The type of a field by its JSON schema.
    fn column_type_of(name: &str, property: &Value) -> ColumnType {
        let largest = property["maximum"].as_i64().or(property["const"].as_i64());
        match property["type"].as_str() {
            _ if name.ends_with("_at_ms") => TimestampMs,
            Some("string") => Text,
            Some("boolean") => Boolean,
            Some("integer") | None if largest.is_some_and(|largest| i32::try_from(largest).is_ok()) => Int32,
            Some("integer") => Int64,
            other => panic!("{name}: {other:?} has no column type"),
        }
    }

    #[test]
    fn the_columns_are_the_fields_of_the_schema_with_their_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas/click.v1.schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let mut expected: Vec<(&str, ColumnType)> =
            properties.iter().map(|(name, property)| (name.as_str(), column_type_of(name, property))).collect();
        expected.extend([(ARRIVAL_FIELD, TimestampMs), (OTHER_FIELDS, Text)]);
        let mut columns = COLUMNS.to_vec();
        // The parser of this test may sort the keys of an object.
        expected.sort_by_key(|(name, _)| *name);
        columns.sort_by_key(|(name, _)| *name);
        assert_eq!(columns, expected);
        let always: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(REQUIRED.iter().all(|name| always.contains(name)), "what no column may lack, no click lacks");
    }
}
