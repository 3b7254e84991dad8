//! The cases of `tests/fixtures/attribution` as inputs of one job: each case has ids of its own, and all are asked for
//! at one time.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value};

/// The time that most cases ask for. The times of the others are moved so that they ask for it too: the rules know
/// differences of times and no calendar.
pub(crate) const AS_OF_MS: i64 = 1_796_904_000_000;

/// A case with ids of its own.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) clicks: Vec<Value>,
    pub(crate) orders: Vec<Value>,
    pub(crate) product_sets: Vec<Value>,
    pub(crate) links: Vec<Value>,
    /// Rows without candidates, which the pipeline does not give.
    pub(crate) expected: Vec<Value>,
}

/// Cases of one policy, and the settings that differ from the defaults.
pub(crate) struct PolicyCases {
    pub(crate) settings: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

/// All cases, gathered by policy.
pub(crate) fn by_policy() -> Vec<PolicyCases> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/attribution");
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    let mut by_policy: BTreeMap<Vec<String>, Vec<Case>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let file: Value = serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        by_policy.entry(settings(&file["policy"])).or_default().push(case(name, &format!("{index}/"), file));
    }
    by_policy.into_iter().map(|(settings, cases)| PolicyCases { settings, cases }).collect()
}

/// The order and line of a row.
pub(crate) fn key_of(row: &Value) -> String {
    format!("{} {}", row["order_id"], row["line_id"])
}

/// A policy as settings of the launcher: `{"scope": "any"}` is `SCOPE=any`.
fn settings(policy: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let policy = policy.as_object().unwrap();
    policy.iter().map(|(key, value)| format!("{}={}", key.to_uppercase(), text(value))).collect()
}

fn case(name: &str, prefix: &str, mut file: Value) -> Case {
    let shift = AS_OF_MS - file["as_of_ms"].as_i64().unwrap();
    let links = list(&mut file, "links");
    assert!(links.is_empty() || shift == 0, "{name}: the links file has times as texts, which are not moved");
    let prepared = |mut values: Vec<Value>| {
        values.iter_mut().for_each(|value| prepare(value, prefix, shift));
        values
    };
    let mut expected = list(&mut file, "expected");
    expected.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("candidates")));
    Case {
        name: name.to_owned(),
        clicks: prepared(list(&mut file, "clicks")),
        orders: prepared(list(&mut file, "orders")),
        product_sets: prepared(list(&mut file, "product_sets")),
        links: prepared(links),
        expected: prepared(expected),
    }
}

fn list(file: &mut Value, key: &str) -> Vec<Value> {
    match file[key].take() {
        Value::Array(values) => values,
        other => panic!("{key} is no list: {other}"),
    }
}

/// Puts the prefix before each id that cases share, and moves each time.
fn prepare(value: &mut Value, prefix: &str, shift: i64) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| prepare(value, prefix, shift)),
        Value::Object(fields) => prepare_fields(fields, prefix, shift),
        _ => {}
    }
}

fn prepare_fields(fields: &mut Map<String, Value>, prefix: &str, shift: i64) {
    const SHARED: [&str; 6] = ["order_id", "click_id", "visitor_id", "code", "product_set_id", "product_set"];
    for (key, value) in fields {
        match value {
            Value::String(text) if SHARED.contains(&key.as_str()) => *text = format!("{prefix}{text}"),
            Value::Number(number) if key.ends_with("_ms") => *value = Value::from(number.as_i64().unwrap() + shift),
            other => prepare(other, prefix, shift),
        }
    }
}
