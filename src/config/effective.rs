//! Every key of a validated configuration with its effective value and where the value comes from.

use serde::Serialize;
use serde_json::Value;

use super::{
    Config,
    errors::ValueSource,
    values::{ConfigValues, KeyPath, format_toml_key},
};

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// The table that holds the key as TOML names it, such as `edge.limits`.
    pub table: String,
    /// The key inside its table.
    pub key: String,
    /// The value as TOML writes it; `None` if the key has no value. A secret's value is `"(secret)"`.
    pub toml: Option<String>,
    /// Where the value was written.
    pub source: ValueSource,
}

/// Every key in the order of the sections; within a table plain keys come before inner tables.
pub(super) fn list_effective_values(config: &Config, values: &ConfigValues) -> Vec<EffectiveValue> {
    let sections: [(&str, Value); 12] = [
        ("server", to_json(&config.server)),
        ("edge", to_json(&config.edge)),
        ("tls", to_json(&config.tls)),
        ("admin", to_json(&config.admin)),
        ("attribution", to_json(&config.attribution)),
        ("domains", to_json(&config.domains)),
        ("routes", to_json(&config.routes)),
        ("journal", to_json(&config.journal)),
        ("links", to_json(&config.links)),
        ("delivery", to_json(&config.delivery)),
        ("geoip", to_json(&config.geoip)),
        ("kafka", to_json(&config.kafka)),
    ];
    let mut list = Vec::new();
    for (name, section) in &sections {
        append_effective_values_of_table(&mut list, &mut vec![(*name).to_owned()], section, values);
    }
    list
}

/// A section as JSON, which, unlike TOML, keeps keys without a value.
fn to_json(section: &impl Serialize) -> Value {
    // Sections have string keys and plain values, so this cannot fail; if one did, it would show no keys.
    serde_json::to_value(section).unwrap_or_default()
}

fn append_effective_values_of_table(
    list: &mut Vec<EffectiveValue>,
    path: &mut KeyPath,
    table: &Value,
    values: &ConfigValues,
) {
    let Some(table) = table.as_object() else { return };
    let (inner_tables, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_object());
    for (key, value) in plain {
        let table = format_toml_key(path);
        path.push(key.clone());
        list.push(EffectiveValue {
            table,
            key: format_toml_key(&path[path.len() - 1..]),
            toml: to_single_line_toml(value),
            source: values.find_exact_source_or_default(path),
        });
        path.pop();
    }
    for (key, value) in inner_tables {
        path.push(key.clone());
        append_effective_values_of_table(list, path, value, values);
        path.pop();
    }
}

/// The value as TOML writes it on one line; `None` for a key without a value.
fn to_single_line_toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Object(table) => {
            let pairs =
                table.iter().filter_map(|(key, value)| Some(format!("{key} = {}", to_single_line_toml(value)?)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => {
            format!("[{}]", list.iter().filter_map(to_single_line_toml).collect::<Vec<_>>().join(", "))
        }
        // JSON writes strings, numbers and booleans as TOML reads them.
        scalar => scalar.to_string(),
    })
}
