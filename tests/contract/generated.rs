//! What is generated is what the descriptions say, and real compilers take it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use apache_avro::{reader::datum::GenericDatumReader, types::Value as AvroValue, writer::datum::GenericDatumWriter};
use serde_json::Value;

use crate::{
    avro::avro_of,
    description::{FOLDER, RECORDS, Record, load_present_schema, read, root},
    protobuf::protobuf_of,
};

fn generated_path(record: &str, extension: &str) -> PathBuf {
    root().join(FOLDER).join(format!("{record}.{extension}"))
}

#[test]
fn protobuf_and_avro_are_what_the_descriptions_say() {
    for name in RECORDS {
        let record = Record::load(name);
        for (extension, text) in [("proto", protobuf_of(&record)), ("avsc", avro_of(&record))] {
            let path = generated_path(name, extension);
            if std::env::var_os("WAYPOST_WRITE_DOCS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            assert!(
                read(&path) == text,
                "{} differs: WAYPOST_WRITE_DOCS=1 cargo test --test contract writes it anew",
                path.display()
            );
        }
    }
}

#[test]
fn every_field_has_a_number_of_its_own_that_protobuf_allows() {
    for name in RECORDS {
        let record = Record::load(name);
        for message in record.inner.values().chain([&record.message]) {
            let numbers: BTreeSet<u64> = message.fields.iter().map(|field| field.number).collect();
            assert_eq!(numbers.len(), message.fields.len(), "{name}: two fields of {} have one number", message.name);
            let is_allowed = |number: &u64| (1..=536_870_911).contains(number) && !(19_000..20_000).contains(number);
            assert!(numbers.iter().all(is_allowed), "{name}: {}", message.name);
        }
    }
}

#[test]
fn a_protobuf_compiler_takes_every_file() {
    for name in RECORDS {
        let descriptors = protox::compile([format!("{name}.proto")], [root().join(FOLDER)]);
        let descriptors = descriptors.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(descriptors).unwrap();
        let record = Record::load(name);
        let message = pool.get_message_by_name(&format!("waypost.v1.{}", record.message.name)).unwrap();
        assert_eq!(message.fields().len(), record.message.fields.len(), "{name}");
    }
}

/// The first example of each field of an object, which makes an example of the object.
fn example_of(object: &Value) -> Value {
    let fields = object["properties"].as_object().unwrap().iter();
    fields.map(|(name, field)| (name.clone(), field["examples"][0].clone())).collect()
}

fn avro_value(json: &Value) -> AvroValue {
    match json {
        Value::Null => AvroValue::Null,
        Value::Bool(value) => AvroValue::Boolean(*value),
        Value::Number(number) => AvroValue::Long(number.as_i64().unwrap()),
        Value::String(text) => AvroValue::String(text.clone()),
        Value::Array(items) => AvroValue::Array(items.iter().map(avro_value).collect()),
        Value::Object(members) => {
            AvroValue::Map(members.iter().map(|(name, member)| (name.clone(), avro_value(member))).collect())
        }
    }
}

#[test]
fn an_avro_library_takes_every_schema_and_writes_and_reads_an_example() {
    for name in RECORDS {
        let schema = apache_avro::Schema::parse_str(&read(&generated_path(name, "avsc")));
        let schema = schema.unwrap_or_else(|error| panic!("{name}: {error}"));
        let example = example_of(&load_present_schema(name));
        let value = avro_value(&example).resolve(&schema);
        let value = value.unwrap_or_else(|error| panic!("{name}: {example}: {error}"));
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let bytes = writer.write_value_to_vec(value.clone()).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        assert_eq!(reader.read_value(&mut &bytes[..]).unwrap(), value, "{name}");
    }
}

#[test]
fn every_description_is_a_json_schema_that_takes_its_own_example() {
    for name in RECORDS {
        let schema = load_present_schema(name);
        assert_eq!(schema["title"], name);
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("record.json", schema.clone()).unwrap();
        let compiled = compiler.compile("record.json", &mut schemas).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut example = example_of(&schema);
        if name == "click.v1" {
            // A click has no field of a stub.
            example.as_object_mut().unwrap().retain(|field, _| !["reason", "size"].contains(&field.as_str()));
        }
        schemas.validate(&example, compiled).unwrap_or_else(|why| panic!("{name}: {example}: {why:#}"));
    }
}
