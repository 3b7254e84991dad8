//! Reads the schemas as what they are here: descriptions of messages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Every record that is described, by the title of its schema.
pub(crate) const RECORDS: [&str; 6] =
    ["click.v1", "lane.v1", "checkpoint.v1", "order.v1", "product_set.v1", "commission.v1"];

pub(crate) const FOLDER: &str = "deploy/schemas";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn schema_path(folder: &Path, record: &str) -> PathBuf {
    folder.join(format!("{record}.schema.json"))
}

/// The schema of a record in `folder`.
pub(crate) fn load_schema(folder: &Path, record: &str) -> Value {
    let path = schema_path(folder, record);
    serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The schema of a record in `deploy/schemas`.
pub(crate) fn load_present_schema(record: &str) -> Value {
    load_schema(&root().join(FOLDER), record)
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    Text,
    Integer,
    Boolean,
    /// A message with this name among the messages of the record.
    Message(String),
    List(Box<FieldType>),
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) field_type: FieldType,
    /// Every record of the topic has the field.
    pub(crate) required: bool,
    pub(crate) doc: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) doc: String,
    /// Ordered by number.
    pub(crate) fields: Vec<Field>,
}

/// A record: its message, and those inside it, by name.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// `click.v1`
    pub(crate) title: String,
    pub(crate) message: Message,
    pub(crate) inner: BTreeMap<String, Message>,
}

impl Record {
    pub(crate) fn of_schema(schema: &Value) -> Record {
        let title = schema["title"].as_str().unwrap().to_owned();
        let name = camel_case(title.strip_suffix(".v1").unwrap_or_else(|| panic!("{title} is not NAME.v1")));
        let mut inner = BTreeMap::new();
        let message = message_of(&name, schema, schema, &mut inner);
        Record { title, message, inner }
    }

    pub(crate) fn load(record: &str) -> Record {
        Record::of_schema(&load_present_schema(record))
    }
}

fn camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

fn message_of(name: &str, object: &Value, schema: &Value, inner: &mut BTreeMap<String, Message>) -> Message {
    let required: Vec<&str> = strings(&object["required"]);
    let properties = object["properties"].as_object().unwrap();
    let mut fields: Vec<Field> = properties
        .iter()
        .map(|(field, value)| Field {
            name: field.clone(),
            number: value["x-field-number"].as_u64().unwrap_or_else(|| panic!("{name}.{field} has no x-field-number")),
            field_type: type_of(value, schema, inner),
            required: required.contains(&field.as_str()),
            doc: doc_of(value),
        })
        .collect();
    fields.sort_by_key(|field| field.number);
    let doc = object["description"].as_str().unwrap_or_default().to_owned();
    Message { name: name.to_owned(), doc, fields }
}

/// The description of a field, and its values if they are listed.
fn doc_of(field: &Value) -> String {
    let mut doc = field["description"].as_str().unwrap().to_owned();
    if field["enum"].is_array() {
        let end = if field["x-enum-may-grow"] == Value::Bool(true) { "; later versions add others" } else { "" };
        doc += &format!(" One of {}{end}.", strings(&field["enum"]).join(", "));
    }
    doc
}

fn type_of(field: &Value, schema: &Value, inner: &mut BTreeMap<String, Message>) -> FieldType {
    if let Some(reference) = field["$ref"].as_str() {
        let definition = schema.pointer(reference.trim_start_matches('#')).unwrap();
        return message_type_of(definition, schema, inner);
    }
    let name = json_type(field).unwrap_or_else(|| panic!("a field without a type: {field}"));
    match name.as_str() {
        "string" => FieldType::Text,
        "integer" => FieldType::Integer,
        "boolean" => FieldType::Boolean,
        "array" => FieldType::List(Box::new(type_of(&field["items"], schema, inner))),
        "object" => message_type_of(field, schema, inner),
        other => panic!("no field has the type {other}"),
    }
}

/// The JSON type of a field, `null` apart. A constant or a list of values without a type has that of the values.
pub(crate) fn json_type(field: &Value) -> Option<String> {
    let of_value = |value: &Value| match value {
        Value::String(_) => "string".to_owned(),
        Value::Number(_) => "integer".to_owned(),
        other => panic!("no field has the value {other}"),
    };
    match &field["type"] {
        Value::String(name) => Some(name.clone()),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").map(str::to_owned),
        _ => field.get("const").or_else(|| field["enum"].get(0)).map(of_value),
    }
}

fn message_type_of(object: &Value, schema: &Value, inner: &mut BTreeMap<String, Message>) -> FieldType {
    let name = object["x-message"].as_str().unwrap_or_else(|| panic!("an object without x-message: {object}"));
    let message = message_of(name, object, schema, inner);
    let shape = |message: &Message| {
        let fields = message.fields.iter().map(|field| (field.name.clone(), field.number, field.field_type.clone()));
        fields.collect::<Vec<_>>()
    };
    if let Some(other) = inner.insert(name.to_owned(), message.clone()) {
        assert_eq!(shape(&other), shape(&message), "two messages are called {name}");
    }
    FieldType::Message(name.to_owned())
}

/// The texts of an array; empty if it is none. `null` is left out.
pub(crate) fn strings(array: &Value) -> Vec<&str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `text` in lines of at most `width` bytes, broken at spaces where there are any.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.len() + 1 + word.len() <= width {
            *line += &format!(" {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
