//! Every version that was ever published stays readable: `deploy/schemas/published/N/` holds the descriptions and what
//! was generated from them, as they were published for the Nth time. What is there is never changed.
//! A release that changed a description adds a folder with copies of all of them (`*.v1.*` of `deploy/schemas`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::description::{FOLDER, json_type, load_present_schema, load_schema, read, root, strings};

/// Keywords whose value must not change at all.
const FIXED: [&str; 7] = ["x-field-number", "x-message", "x-enum-may-grow", "const", "pattern", "format", "$ref"];

/// Every published version, the oldest first.
fn published_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(FOLDER).join("published")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap());
    assert!(!folders.is_empty());
    folders
}

/// The files of a published version with this extension, by their names.
fn published_files(folder: &Path, extension: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: Vec<String> = names.filter(|name| name.ends_with(extension)).collect();
    assert!(!files.is_empty(), "{}: no {extension}", folder.display());
    files
}

/// What a reader of the old description cannot rely on any more in records of the new one, and what a writer of the old
/// one may not write any more. Empty if the new description only adds.
fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare_objects("", old, new, &mut found);
    for branch in ["then", "else"] {
        compare_required(&format!("{branch}: "), &old[branch], &new[branch], &mut found);
    }
    for (name, definition) in old["$defs"].as_object().into_iter().flatten() {
        compare_fields(&format!("$defs.{name}"), definition, &new["$defs"][name], &mut found);
    }
    found
}

fn compare_objects(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    compare_required(path, old, new, found);
    for (name, field) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(present) => compare_fields(&format!("{path}{name}"), field, present, found),
            None => found.push(format!("{path}{name} is removed or renamed")),
        }
    }
}

fn compare_required(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (before, now) = (strings(&old["required"]), strings(&new["required"]));
    let made = now.iter().filter(|name| !before.contains(name));
    found.extend(made.map(|name| format!("{path}{name} is made required: earlier records lack it")));
    let dropped = before.iter().filter(|name| !now.contains(name));
    found.extend(dropped.map(|name| format!("{path}{name} is required no more: readers rely on it")));
}

fn compare_fields(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if json_type_or_none(old) != json_type_or_none(new) || may_be_null(old) != may_be_null(new) {
        found.push(format!("{path} has another type"));
    }
    for keyword in FIXED.into_iter().filter(|keyword| old.get(keyword) != new.get(keyword)) {
        found.push(format!("{path} has another {keyword}"));
    }
    compare_bounds(path, old, new, found);
    compare_values(path, old, new, found);
    compare_objects(&format!("{path}."), old, new, found);
    if old["items"].is_object() {
        compare_fields(&format!("{path}[]"), &old["items"], &new["items"], found);
    }
}

fn json_type_or_none(field: &Value) -> Option<String> {
    if field.get("$ref").is_some() { None } else { json_type(field) }
}

fn may_be_null(field: &Value) -> bool {
    field["type"].as_array().is_some_and(|types| types.contains(&"null".into()))
}

/// A bound may become wider, not narrower.
fn compare_bounds(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for (keyword, is_lower) in [("minimum", true), ("maximum", false), ("minLength", true), ("maxLength", false)] {
        let (before, now) = (old[keyword].as_i64(), new[keyword].as_i64());
        let is_narrower = match (before, now) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(now)) => {
                if is_lower {
                    now > before
                } else {
                    now < before
                }
            }
        };
        if is_narrower {
            found.push(format!("{path} has a narrower {keyword}"));
        }
    }
}

/// No value goes; one that is new comes only to a list that may grow.
fn compare_values(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if old["enum"].is_null() != new["enum"].is_null() {
        return found.push(format!("{path} has a list of values before or after, and not both times"));
    }
    let (before, now) = (strings(&old["enum"]), strings(&new["enum"]));
    let gone = before.iter().filter(|value| !now.contains(value));
    found.extend(gone.map(|value| format!("{path} has the value {value} no more")));
    if old["x-enum-may-grow"] == Value::Bool(false) {
        let added = now.iter().filter(|value| !before.contains(value));
        found.extend(added.map(|value| format!("{path} has the new value {value}, and its list is closed")));
    }
}

#[test]
fn the_descriptions_only_add_to_every_version_ever_published() {
    for folder in published_folders() {
        for file in published_files(&folder, ".schema.json") {
            let record = file.strip_suffix(".schema.json").unwrap();
            let found = breaks(&load_schema(&folder, record), &load_present_schema(record));
            assert!(found.is_empty(), "{record} breaks readers of {}: {found:#?}", folder.display());
        }
    }
}

/// Every field of a Protobuf file, by its message and number, as `TYPE NAME`.
fn protobuf_fields(text: &str) -> BTreeMap<(String, u32), String> {
    let (mut messages, mut fields) = (Vec::new(), BTreeMap::new());
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(name) = line.strip_prefix("message ") {
            messages.push(name.trim_end_matches(" {").to_owned());
        } else if line == "}" {
            messages.pop();
        } else if let Some((field, number)) = line.split_once(" = ").filter(|_| !messages.is_empty()) {
            let number = number.trim_end_matches(';').parse().unwrap();
            assert!(fields.insert((messages.join("."), number), field.to_owned()).is_none(), "{line}");
        }
    }
    fields
}

#[test]
fn no_field_of_a_published_protobuf_file_has_another_number_type_or_name() {
    for folder in published_folders() {
        for file in published_files(&folder, ".proto") {
            let published = protobuf_fields(&read(&folder.join(&file)));
            let present = protobuf_fields(&read(&root().join(FOLDER).join(&file)));
            assert!(published.len() >= 8, "{file}");
            for (key, field) in published {
                assert_eq!(present.get(&key), Some(&field), "{file}: {key:?} of {}", folder.display());
            }
        }
    }
}

#[test]
fn a_reader_with_any_published_avro_schema_reads_what_the_present_one_writes_and_the_other_way_round() {
    for folder in published_folders() {
        for file in published_files(&folder, ".avsc") {
            let parse = |path: &Path| apache_avro::Schema::parse_str(&read(path)).unwrap();
            let (published, present) = (parse(&folder.join(&file)), parse(&root().join(FOLDER).join(&file)));
            for (writer, reader) in [(&published, &present), (&present, &published)] {
                let can_read = apache_avro::schema_compatibility::SchemaCompatibility::can_read(writer, reader);
                assert!(can_read.is_ok(), "{file} of {}: {can_read:?}", folder.display());
            }
        }
    }
}

/// Changes a copy of a schema and returns what the comparison finds.
fn breaks_of(record: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = load_present_schema(record);
    let mut new = old.clone();
    change(&mut new);
    assert_ne!(old, new, "nothing was changed");
    breaks(&old, &new)
}

fn remove(object: &mut Value, key: &str) -> Value {
    object.as_object_mut().unwrap().remove(key).unwrap()
}

#[test]
fn each_kind_of_break_is_found() {
    let find = |expected: &str, found: Vec<String>| {
        assert!(found.iter().any(|text| text.contains(expected)), "{expected:?} is not among {found:?}");
    };
    let click = |change: &dyn Fn(&mut Value)| breaks_of("click.v1", change);
    find("query is removed", click(&|schema| drop(remove(&mut schema["properties"], "query"))));
    find(
        "query is removed",
        click(&|schema| {
            let query = remove(&mut schema["properties"], "query");
            schema["properties"]["request_query"] = query;
        }),
    );
    find("status has another type", click(&|schema| schema["properties"]["status"]["type"] = "string".into()));
    find(
        "status has another type",
        click(&|schema| schema["properties"]["status"]["type"] = json!(["integer", "null"])),
    );
    find(
        "code has another x-field-number",
        click(&|schema| schema["properties"]["code"]["x-field-number"] = 99.into()),
    );
    find("query is made required", click(&|schema| schema["required"].as_array_mut().unwrap().push("query".into())));
    find(
        "seq is required no more",
        click(&|schema| {
            schema["required"].as_array_mut().unwrap().retain(|name| name != "seq");
        }),
    );
    find(
        "else: query is made required",
        click(&|schema| {
            schema["else"]["required"].as_array_mut().unwrap().push("query".into());
        }),
    );
    find("method has the value HEAD no more", click(&|schema| schema["properties"]["method"]["enum"] = json!(["GET"])));
    find(
        "outcome has the value expired no more",
        click(&|schema| {
            schema["properties"]["outcome"]["enum"].as_array_mut().unwrap().retain(|value| value != "expired");
        }),
    );
    find(
        "its list is closed",
        click(&|schema| {
            schema["properties"]["method"]["enum"].as_array_mut().unwrap().push("POST".into());
        }),
    );
    find(
        "method has another x-enum-may-grow",
        click(&|schema| {
            schema["properties"]["method"]["x-enum-may-grow"] = true.into();
        }),
    );
    find("lane has a narrower maximum", click(&|schema| schema["properties"]["lane"]["maximum"] = 255.into()));
    find(
        "ended[].cut is removed",
        breaks_of("lane.v1", |schema| {
            remove(&mut schema["properties"]["ended"]["items"]["properties"], "cut");
        }),
    );
    find(
        "$defs.watermark.next has another x-field-number",
        breaks_of("lane.v1", |schema| {
            schema["$defs"]["watermark"]["properties"]["next"]["x-field-number"] = 7.into();
        }),
    );
    find(
        "lines[].returns[] has another x-message",
        breaks_of("order.v1", |schema| {
            let lines = &mut schema["properties"]["lines"]["items"]["properties"];
            lines["returns"]["items"]["x-message"] = "GoodsReturned".into();
        }),
    );
}

#[test]
fn what_is_added_breaks_nothing() {
    let found = breaks_of("click.v1", |schema| {
        schema["properties"]["added"] = json!({"type": "string", "x-field-number": 200});
        schema["properties"]["outcome"]["enum"].as_array_mut().unwrap().push("parked".into());
        schema["properties"]["route"]["maxLength"] = 64.into();
        schema["properties"]["route"]["description"] = "Another text.".into();
    });
    assert_eq!(found, [""; 0]);
}
