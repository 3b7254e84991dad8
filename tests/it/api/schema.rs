//! Holds answers against the OpenAPI file.

use std::sync::OnceLock;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::dsl::Answer;

const FILE: &str = include_str!("../../../deploy/schemas/openapi.json");
/// The name of the file for the validator.
const RESOURCE: &str = "openapi.json";

fn openapi() -> &'static Value {
    static OPENAPI: OnceLock<Value> = OnceLock::new();
    OPENAPI.get_or_init(|| serde_json::from_str(FILE).unwrap())
}

/// Checks status, headers and body of an answer.
pub(crate) fn check_answer(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    let place = format!("{method} {target} answered {}: {}", answer.status, answer.text());
    if method == "OPTIONS" {
        return;
    }
    let pointer = response_pointer(method, path, answer.status).unwrap_or_else(|| panic!("not documented: {place}"));
    let (pointer, response) = resolve(&pointer);
    for (name, header) in response["headers"].as_object().unwrap() {
        let (_, header) = resolve(&local_pointer(header).unwrap());
        let value = answer.header(name).unwrap_or_else(|| panic!("{name} is absent: {place}"));
        assert_valid(&header["schema"], &json!(value), &format!("{name} of {place}"));
    }
    assert!(!answer.header("cache-control").unwrap().is_empty(), "{place}");
    let Some(content) = response.get("content") else {
        assert!(answer.body.is_empty(), "{place}");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_else(|| panic!("content-type is absent: {place}"));
    assert!(content.get(media_type).is_some(), "{media_type} is not documented: {place}");
    if method == "HEAD" {
        return;
    }
    if media_type.starts_with("image/") {
        assert!(!answer.body.is_empty(), "{place}");
        return;
    }
    let schema = format!("{pointer}/content/{}/schema", escape(media_type));
    check_body(&schema, &body_as_json(media_type, answer), &place);
}

fn body_as_json(media_type: &str, answer: &Answer) -> Value {
    let text = answer.text();
    if media_type == "application/x-ndjson" {
        return text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line)).collect();
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The description of a response in the file.
fn response_pointer(method: &str, path: &str, status: u16) -> Option<String> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let paths = openapi()["paths"].as_object().unwrap();
    let template = paths.keys().find(|template| matches_template(template, path));
    let operation = template.map(|template| format!("/paths/{}/{method}", escape(template)));
    let operation = operation.filter(|pointer| openapi().pointer(pointer).is_some());
    match operation {
        Some(operation) => {
            let pointer = format!("{operation}/responses/{status}");
            openapi().pointer(&pointer).map(|_| pointer)
        }
        // No path, or no method of the path.
        None => [404, 405].contains(&status).then(|| format!("/components/responses/Problem{status}")),
    }
}

fn matches_template(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(expected, found)| expected.starts_with('{') || *expected == found)
}

/// Follows a reference, if the pointer leads to one.
fn resolve(pointer: &str) -> (String, &'static Value) {
    let value = openapi().pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
    match local_pointer(value) {
        Some(target) => resolve(&target),
        None => (pointer.to_owned(), value),
    }
}

fn local_pointer(value: &Value) -> Option<String> {
    value["$ref"].as_str().map(|target| target.strip_prefix('#').unwrap().to_owned())
}

fn escape(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

fn check_body(schema: &str, body: &Value, place: &str) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource(RESOURCE, openapi().clone()).unwrap();
    // The braces of a path are no part of a URL.
    let location = format!("{RESOURCE}#{}", schema.replace('{', "%7B").replace('}', "%7D"));
    let index = compiler.compile(&location, &mut schemas).unwrap_or_else(|error| panic!("{location}: {error:#}"));
    if let Err(error) = schemas.validate(body, index) {
        panic!("{place}\n{error:#}");
    }
}

fn assert_valid(schema: &Value, value: &Value, place: &str) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("header.json", schema.clone()).unwrap();
    let index = compiler.compile("header.json", &mut schemas).unwrap();
    assert!(schemas.validate(value, index).is_ok(), "{place}: {value}");
}

#[test]
fn the_file_refuses_what_the_api_does_not_answer() {
    let answer = |status, body: &str| Answer {
        status,
        headers: [("cache-control", "no-store"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        body: body.as_bytes().to_vec(),
    };
    let fails = |path: &'static str, answer: Answer| {
        std::panic::catch_unwind(move || check_answer("GET", path, &answer)).is_err()
    };
    assert!(!fails("/v1/rejected", answer(200, r#"{"items":[],"next":null}"#)));
    assert!(fails("/v1/rejected", answer(200, r#"{"items":[],"next":1}"#)));
    assert!(fails("/v1/rejected", answer(201, r#"{"items":[],"next":null}"#)));
    assert!(fails("/v1/links/*/mug", answer(200, r#"{"items":[],"next":null}"#)));
}
