//! Generates the Avro schema of a record. A field that a record can lack is a union with `null`, which is its default;
//! lists of values are strings, as in Protobuf, because an Avro reader fails at a symbol that it does not know.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::description::{FieldType, Message, Record};

const NAMESPACE: &str = "waypost.v1";

/// The text of `NAME.v1.avsc`.
pub(crate) fn avro_of(record: &Record) -> String {
    let mut defined = BTreeSet::new();
    let mut schema = record_of(record, &record.message, &mut defined);
    schema["namespace"] = NAMESPACE.into();
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())
}

/// The name of a message: inner ones have the record's in front, because names are one space.
fn full_name(record: &Record, message: &str) -> String {
    if message == record.message.name { message.to_owned() } else { format!("{}{message}", record.message.name) }
}

fn record_of(record: &Record, message: &Message, defined: &mut BTreeSet<String>) -> Value {
    let fields: Vec<Value> = message
        .fields
        .iter()
        .map(|field| {
            let avro_type = type_of(record, &field.field_type, defined);
            let mut avro_field = json!({"name": field.name, "doc": field.doc, "type": avro_type});
            if !field.required {
                avro_field["type"] = json!(["null", avro_type]);
                avro_field["default"] = Value::Null;
            }
            avro_field
        })
        .collect();
    let name = full_name(record, &message.name);
    let mut schema = json!({"type": "record", "name": name, "fields": fields});
    if !message.doc.is_empty() {
        schema["doc"] = message.doc.clone().into();
    }
    schema
}

/// A message is written out where it is named first.
fn type_of(record: &Record, field_type: &FieldType, defined: &mut BTreeSet<String>) -> Value {
    match field_type {
        FieldType::Text => "string".into(),
        FieldType::Integer => "long".into(),
        FieldType::Boolean => "boolean".into(),
        FieldType::List(element) => json!({"type": "array", "items": type_of(record, element, defined)}),
        FieldType::Message(name) if defined.contains(name) => full_name(record, name).into(),
        FieldType::Message(name) => {
            defined.insert(name.clone());
            record_of(record, &record.inner[name], defined)
        }
    }
}
