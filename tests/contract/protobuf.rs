//! Generates the Protobuf file of a record.
//!
//! - Every scalar is `optional`: what JSON leaves out is absent, and what JSON says is there, `false` and 0 too. So
//!   both encodings have the same fields.
//! - Lists of values are `string`, open and closed ones alike. A reader sees the words of JSON in every tool, and the
//!   word of a value that is newer than the reader. An `enum` would save 93 of the 925 bytes of an ordinary click, and
//!   3 of 207 behind LZ4; but tools name its values by constants (`OUTCOME_NOT_FOUND`), and a number that a reader does
//!   not know has no name at all.
//! - Ids are `string`, as tokens and tables have them, so that they join. As `bytes` they would save 37 bytes, and 29
//!   of 207 behind LZ4, but 6 of 137 behind zstd. (`loadtest/encodings.sh`, batches of 200: JSON has 237 bytes a click
//!   behind LZ4 and 139 behind zstd, Protobuf 207 and 137.)
//! - Integers are `int64`. They fit 53 bits.

use crate::description::{Field, FieldType, Message, Record, wrap};

const WIDTH: usize = 118;

/// The text of `NAME.v1.proto`.
pub(crate) fn protobuf_of(record: &Record) -> String {
    let title = &record.title;
    let mut text = format!(
        "// Generated from {title}.schema.json, which is the description of the record:\n\
         // WAYPOST_WRITE_DOCS=1 cargo test --test contract\n\
         syntax = \"proto3\";\n\n\
         package waypost.v1;\n\n\
         option java_multiple_files = true;\n\
         option java_package = \"waypost.v1\";\n\n"
    );
    push_comment(&mut text, "", &record.message.doc);
    text += &format!("message {} {{\n", record.message.name);
    push_fields(&mut text, "  ", &record.message);
    for message in record.inner.values() {
        text += "\n";
        push_comment(&mut text, "  ", &message.doc);
        text += &format!("  message {} {{\n", message.name);
        push_fields(&mut text, "    ", message);
        text += "  }\n";
    }
    text + "}\n"
}

fn push_fields(text: &mut String, indent: &str, message: &Message) {
    for field in &message.fields {
        push_comment(text, indent, &field.doc);
        *text += &format!("{indent}{} {} = {};\n", type_of(field), field.name, field.number);
    }
}

fn push_comment(text: &mut String, indent: &str, comment: &str) {
    for line in wrap(comment, WIDTH - indent.len() - 3).iter().filter(|line| !line.is_empty()) {
        *text += &format!("{indent}// {line}\n");
    }
}

fn type_of(field: &Field) -> String {
    match &field.field_type {
        FieldType::List(element) => format!("repeated {}", type_name(element)),
        // A message is always absent or there.
        FieldType::Message(name) => name.clone(),
        scalar => format!("optional {}", type_name(scalar)),
    }
}

fn type_name(field_type: &FieldType) -> &str {
    match field_type {
        FieldType::Text => "string",
        FieldType::Integer => "int64",
        FieldType::Boolean => "bool",
        FieldType::Message(name) => name,
        FieldType::List(_) => panic!("no list holds lists"),
    }
}
