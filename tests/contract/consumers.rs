//! Programs outside of Rust that read clicks in Protobuf have the field numbers of the description.

use serde_json::Value;

use crate::description::{FOLDER, load_present_schema, read, root};

fn number_of(schema: &Value, field: &str) -> u64 {
    schema["properties"][field]["x-field-number"].as_u64().unwrap_or_else(|| panic!("click.v1 has no field {field}"))
}

#[test]
fn the_pipeline_reads_each_field_by_its_number_and_type() {
    let schema = load_present_schema("click.v1");
    let java = read(&root().join("deploy/flink/java/waypost/flink/ParseClick.java"));
    let fields = java.lines().filter_map(|line| line.trim().strip_prefix("new Field(\"")?.strip_suffix("),"));
    let mut count = 0;
    for field in fields {
        let (name, rest) = field.split_once("\", ").unwrap();
        let (number, type_name) = rest.split_once(", Type.").unwrap();
        assert_eq!(number.parse::<u64>().unwrap(), number_of(&schema, name), "{name}");
        let expected = match type_name {
            "TEXT" => "string",
            "INTEGER" => "integer",
            "BOOLEAN" => "boolean",
            other => panic!("{name}: {other}"),
        };
        assert_eq!(schema["properties"][name]["type"], expected, "{name}");
        count += 1;
    }
    assert_eq!(count, 29);
}

#[test]
fn the_page_that_audits_reads_each_field_by_its_number() {
    let schema = load_present_schema("click.v1");
    let python = read(&root().join(FOLDER).join("audit.py"));
    let table = python.split_once("FIELDS = {").unwrap().1.split_once('}').unwrap().0;
    let fields: Vec<(u64, &str)> = table
        .split(", ")
        .map(|entry| entry.split_once(": ").unwrap())
        .map(|(number, name)| (number.parse().unwrap(), name.trim_matches('"')))
        .collect();
    assert_eq!(fields.len(), 6);
    for (number, name) in fields {
        assert_eq!(number, number_of(&schema, name), "{name}");
    }
}
