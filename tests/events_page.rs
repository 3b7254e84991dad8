//! `docs/events.md` is rendered from the schemas in `deploy/schemas`: every field with type, presence, meaning, example
//! and source. `WAYPOST_WRITE_DOCS=1 cargo test --test events_page` writes the page anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

const PAGE: &str = "docs/events.md";
const TEMPLATE: &str = "deploy/schemas/events.template.md";
const SCHEMAS: [&str; 6] = ["click.v1", "lane.v1", "checkpoint.v1", "order.v1", "product_set.v1", "commission.v1"];

/// A schema, as far as the page shows it.
#[derive(Deserialize)]
struct Schema {
    description: String,
    required: Vec<String>,
    properties: Fields,
    /// What clicks require in addition, but stubs do not.
    #[serde(rename = "else")]
    clicks_only: Option<Required>,
    #[serde(rename = "x-groups", default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Required {
    required: Vec<String>,
}

/// A section of the page.
#[derive(Deserialize)]
struct Group {
    title: String,
    description: String,
    fields: Vec<String>,
}

/// The fields of an object, in the order of the schema's file.
#[derive(Default)]
struct Fields(Vec<(String, Field)>);

/// The type of a field, or what it may be.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonType {
    One(String),
    /// A type, and `null`, which is an absent field.
    OneOrNull(Vec<String>),
}

impl JsonType {
    fn name(&self) -> &str {
        match self {
            JsonType::One(name) => name,
            JsonType::OneOrNull(names) => names.iter().find(|name| *name != "null").unwrap(),
        }
    }
}

/// A field of a schema.
#[derive(Deserialize)]
struct Field {
    #[serde(rename = "type")]
    json_type: Option<JsonType>,
    #[serde(rename = "const")]
    constant: Option<Value>,
    /// `None` among them is `null`.
    #[serde(rename = "enum")]
    values: Option<Vec<Option<String>>>,
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    properties: Fields,
    items: Option<Box<Field>>,
    /// The value of every key of a map.
    #[serde(rename = "additionalProperties")]
    map_value: Option<Box<Field>>,
    description: Option<String>,
    #[serde(default)]
    examples: Vec<Value>,
    #[serde(rename = "x-presence")]
    presence: Option<String>,
    #[serde(rename = "x-source")]
    source: Option<String>,
    #[serde(rename = "x-personal-data")]
    personal_data: Option<bool>,
    #[serde(rename = "x-enum-may-grow")]
    enum_may_grow: Option<bool>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct InOrder;

        impl<'de> de::Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema_path(name: &str) -> String {
    format!("deploy/schemas/{name}.schema.json")
}

fn load_schema(name: &str) -> Schema {
    serde_json::from_str(&read(&schema_path(name))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A field with its path in the record: `safe.next`, `ended[].epoch`.
struct Row<'s> {
    path: String,
    field: &'s Field,
    required: bool,
}

/// Every field below `fields`, nested ones after the field that holds them. A reference is not followed.
fn rows<'s>(prefix: &str, fields: &'s Fields, required: &[String]) -> Vec<Row<'s>> {
    let mut found = Vec::new();
    for (name, field) in &fields.0 {
        let path = format!("{prefix}{name}");
        found.push(Row { path: path.clone(), field, required: required.contains(name) });
        for (step, inner) in [("[]", &field.items), (".TOPIC", &field.map_value)] {
            if let Some(inner) = inner {
                found.extend(rows(&format!("{path}{step}."), &inner.properties, &inner.required));
            }
        }
        found.extend(rows(&format!("{path}."), &field.properties, &field.required));
    }
    found
}

fn type_of(field: &Field) -> String {
    if let Some(constant) = &field.constant {
        return format!("always `{}`", text_of(constant));
    }
    if field.values.is_some() {
        return "[enum](#enums)".to_owned();
    }
    if let Some(reference) = &field.reference {
        return reference.rsplit('/').next().unwrap().replace('_', " ");
    }
    match field.json_type.as_ref().map(JsonType::name) {
        Some("array") => "list".to_owned(),
        Some("object") if field.map_value.is_some() => "map by topic".to_owned(),
        Some(json_type) => json_type.to_owned(),
        None => panic!("a field without a type"),
    }
}

/// A value as the page shows it: strings without quotes.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn table_of(rows: &[Row<'_>]) -> String {
    let mut table =
        "| field | type | present | personal | meaning | example | from |\n|---|---|---|---|---|---|---|\n".to_owned();
    for Row { path, field, required } in rows {
        let present = match &field.presence {
            Some(presence) => presence,
            None if *required => "always",
            None => panic!("{path} is optional and has no x-presence"),
        };
        let personal = if field.personal_data.unwrap() { "yes" } else { "" };
        let example = text_of(&field.examples[0]);
        table += &format!(
            "| `{path}` | {} | {present} | {personal} | {} | `{example}` | {} |\n",
            type_of(field),
            field.description.as_ref().unwrap(),
            field.source.as_ref().unwrap(),
        );
    }
    table
}

fn click_sections(schema: &Schema) -> String {
    let clicks_only = schema.clicks_only.as_ref().unwrap();
    let required = [&schema.required[..], &clicks_only.required].concat();
    let rows = rows("", &schema.properties, &required);
    let mut sections = String::new();
    for Group { title, description, fields } in &schema.groups {
        let (in_group, _): (Vec<_>, Vec<_>) = rows.iter().partition(|row| fields.contains(&row.path));
        let in_group: Vec<Row<'_>> = in_group
            .iter()
            .map(|row| Row { path: row.path.clone(), field: row.field, required: row.required })
            .collect();
        sections += &format!("### {title}\n\n{description}\n\n{}\n", table_of(&in_group));
    }
    sections
}

fn enum_table(schemas: &[(&str, &Schema)]) -> String {
    let mut table = "| record | field | values | may grow |\n|---|---|---|---|\n".to_owned();
    for (record, schema) in schemas {
        for Row { path, field, .. } in rows("", &schema.properties, &schema.required) {
            if let Some(values) = &field.values {
                let grows = if field.enum_may_grow.unwrap() { "yes" } else { "no" };
                let values: Vec<&str> = values.iter().flatten().map(String::as_str).collect();
                table += &format!("| {record} | `{path}` | `{}` | {grows} |\n", values.join("`, `"));
            }
        }
    }
    table
}

/// The fields with personal data; of a list of objects those inside it.
fn personal_fields(schema: &Schema) -> String {
    let rows = rows("", &schema.properties, &schema.required);
    let has_inner = |field: &Field| field.items.as_ref().is_some_and(|items| !items.properties.0.is_empty());
    let fields = rows.iter().filter(|row| row.field.personal_data == Some(true) && !has_inner(row.field));
    fields.map(|row| format!("`{}`", row.path)).collect::<Vec<_>>().join(", ")
}

/// A golden event, one field a line.
fn click_example() -> String {
    let event = read("tests/fixtures/events/ordinary.json");
    let fields: Vec<&str> = event.trim().trim_matches(['{', '}']).split(",\"").collect();
    format!("{{\n  {}\n}}", fields.join(",\n  \"").replace("\":", "\": "))
}

fn render_page() -> String {
    let [click, lane, checkpoint, order, product_set, commission] = SCHEMAS.map(load_schema);
    let named = [
        ("click", &click),
        ("statement", &lane),
        ("checkpoint", &checkpoint),
        ("order", &order),
        ("product set", &product_set),
        ("commission", &commission),
    ];
    let table = |schema: &Schema| table_of(&rows("", &schema.properties, &schema.required));
    let mut page = read(TEMPLATE);
    for (placeholder, text) in [
        ("click fields", click_sections(&click)),
        ("click example", click_example()),
        ("enums", enum_table(&named)),
        ("personal fields", personal_fields(&click)),
        ("personal order fields", personal_fields(&order)),
        ("personal commission fields", personal_fields(&commission)),
        ("lane description", lane.description.clone()),
        ("lane fields", table(&lane)),
        ("checkpoint description", checkpoint.description.clone()),
        ("checkpoint fields", table(&checkpoint)),
        ("order description", order.description.clone()),
        ("order fields", table(&order)),
        ("product_set description", product_set.description.clone()),
        ("product_set fields", table(&product_set)),
        ("commission description", commission.description.clone()),
        ("commission fields", table(&commission)),
    ] {
        let placeholder = format!("{{{{{placeholder}}}}}");
        assert!(page.contains(&placeholder), "{TEMPLATE} has no {placeholder}");
        page = page.replace(&placeholder, &text);
    }
    page
}

#[test]
fn the_page_of_events_is_what_the_schemas_say() {
    let page = render_page();
    if std::env::var_os("WAYPOST_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), &page).unwrap();
    }
    assert!(read(PAGE) == page, "{PAGE} differs: WAYPOST_WRITE_DOCS=1 cargo test --test events_page writes it anew");
}

/// Every field below a schema, with its path.
fn all_fields(path: &str, schema: &Value) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        fields.push((format!("{path}.{name}"), field.clone()));
        fields.extend(all_fields(&format!("{path}.{name}"), field));
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        fields.extend(all_fields(&format!("{path}.{name}"), definition));
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|inner| schema.get(inner)) {
        fields.extend(all_fields(path, inner));
    }
    fields
}

#[test]
fn every_field_has_a_description_a_valid_example_a_source_and_says_whether_it_is_personal() {
    for name in SCHEMAS {
        let whole: Value = serde_json::from_str(&read(&schema_path(name))).unwrap();
        let fields = all_fields(name, &whole);
        assert!(fields.len() >= 8, "{name}");
        for (path, field) in fields {
            assert!(field["description"].as_str().is_some_and(|text| text.ends_with('.')), "{path}: no description");
            assert!(field["x-source"].is_string() && field["x-personal-data"].is_boolean(), "{path}");
            assert_eq!(field.get("enum").is_some(), field["x-enum-may-grow"].is_boolean(), "{path}: may it grow?");
            let examples = field["examples"].as_array().unwrap_or_else(|| panic!("{path}: no examples"));
            let mut field = field.clone();
            if let Some(definitions) = whole.get("$defs") {
                field["$defs"] = definitions.clone();
            }
            let mut schemas = boon::Schemas::new();
            let mut compiler = boon::Compiler::new();
            compiler.add_resource("field.json", field).unwrap();
            let compiled = compiler.compile("field.json", &mut schemas).unwrap();
            assert!(!examples.is_empty(), "{path}: no examples");
            for example in examples {
                schemas.validate(example, compiled).unwrap_or_else(|why| panic!("{path}: {example}: {why:#}"));
            }
        }
    }
}

#[test]
fn every_field_of_a_click_is_in_one_group() {
    let click = load_schema("click.v1");
    let mut grouped: Vec<&String> = click.groups.iter().flat_map(|group| &group.fields).collect();
    let mut fields: Vec<&String> = click.properties.0.iter().map(|(name, _)| name).collect();
    grouped.sort();
    fields.sort();
    assert_eq!(grouped, fields);
}
