//! One line of a bulk request as a change.
//!
//! | line | change |
//! |---|---|
//! | a record, as in a links file | the link is this record from now on; a record without a code gets one |
//! | `{"op":"put","record":{…},"version":7}` | the same, if the link has the version |
//! | `{"op":"patch","domain":"*","code":"mug","patch":{…}}` | a merge patch; `version` as above |
//! | `{"op":"delete","domain":"*","code":"mug"}` | the link is removed; `version` as above |

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    api::{
        http::problem::{FieldError, Problem, ProblemKind},
        links::{
            create::{now, put},
            record_body::{
                RecordDefaults, WrittenRecord, body_text, find_error_of_field, read_object, read_record, whole_number,
            },
        },
    },
    catalog::change::{ChangeRow, ExpectedLink, LinkChange, LinkName},
    model::link::record::Record,
};

/// Reads a line. `existing`: what the link has to be before a record takes its place, if the line names no version.
///
/// # Errors
/// It is no change.
pub(super) fn read_row(line: &Bytes, existing: ExpectedLink) -> Result<ChangeRow, Problem> {
    // Most lines are whole records: these are read once.
    if line.starts_with(b"{")
        && let Ok(record) = serde_json::from_slice::<Record>(line)
        && !record.code.is_empty()
    {
        let text = Some(body_text(line)?.to_owned());
        return Ok(put(WrittenRecord { record, text }, existing));
    }
    let object = read_object(line)?;
    match object.get("op").and_then(Value::as_str) {
        None => read_record_row(line, &object, existing),
        Some(op) => read_operation(op, &object, existing),
    }
}

fn read_record_row(text: &[u8], object: &Map<String, Value>, expected: ExpectedLink) -> Result<ChangeRow, Problem> {
    let has_code = object.get("code").is_some_and(|code| !code.is_null());
    let defaults = match has_code {
        true => RecordDefaults::default(),
        false => RecordDefaults { code: Some(""), created_at: Some(now()), ..RecordDefaults::default() },
    };
    read_record(text, &defaults).map(|written| put(written, expected))
}

fn read_operation(op: &str, object: &Map<String, Value>, existing: ExpectedLink) -> Result<ChangeRow, Problem> {
    let allowed: &[&str] = match op {
        "put" => &["op", "record", "version"],
        "patch" => &["op", "domain", "code", "patch", "version"],
        "delete" => &["op", "domain", "code", "version"],
        _ => {
            let message = format!("is {op:?}; allowed are put, patch, delete");
            return Err(invalid(vec![FieldError::in_body("op", message)]));
        }
    };
    let unknown = object.keys().filter(|field| !allowed.contains(&field.as_str()));
    let mut errors: Vec<FieldError> = unknown
        .map(|field| FieldError::in_body(field, format!("is unknown; allowed are {}", allowed.join(", "))))
        .collect();
    let expected = match object.get("version") {
        None | Some(Value::Null) if op == "put" => existing,
        None | Some(Value::Null) => ExpectedLink::Any,
        Some(version) => match whole_number(version) {
            Some(version) => ExpectedLink::AtVersion(version),
            None => {
                errors.push(FieldError::in_body("version", "is no version; write the number of an ETag"));
                ExpectedLink::Any
            }
        },
    };
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    if op == "put" {
        let record = object_field(object, "record")?;
        let text = serde_json::to_vec(record).unwrap_or_default();
        return read_record_row(&text, record, expected);
    }
    let name = LinkName {
        domain: object.get("domain").map_or(Ok("*"), |_| text_field(object, "domain"))?.to_owned(),
        code: text_field(object, "code")?.to_owned(),
    };
    if op == "delete" {
        return Ok(ChangeRow { change: LinkChange::Delete { name }, expected });
    }
    let patch = object_field(object, "patch")?;
    let errors: Vec<FieldError> = patch.iter().filter_map(|(field, value)| find_error_of_field(field, value)).collect();
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    Ok(ChangeRow { change: LinkChange::Patch { name, patch: Value::Object(patch.clone()) }, expected })
}

fn invalid(errors: Vec<FieldError>) -> Problem {
    Problem::of_errors(ProblemKind::Invalid, errors)
}

fn object_field<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a Map<String, Value>, Problem> {
    let found = object.get(field).and_then(Value::as_object);
    found.ok_or_else(|| invalid(vec![FieldError::in_body(field, "is needed, and is a JSON object")]))
}

fn text_field<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a str, Problem> {
    let found = object.get(field).and_then(Value::as_str);
    found.ok_or_else(|| invalid(vec![FieldError::in_body(field, "is needed, and is a text")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<ChangeRow, Problem> {
        read_row(&Bytes::copy_from_slice(line.as_bytes()), ExpectedLink::AbsentOrSame)
    }

    #[test]
    fn each_form_of_a_line_is_its_change() {
        let record = r#"{"code":"mug","url":"https://a.example/","kind":"plain"}"#;
        assert!(matches!(read(record).unwrap().change, LinkChange::Put { text: Some(text), .. } if text == record));
        assert_eq!(read(record).unwrap().expected, ExpectedLink::AbsentOrSame);
        let put = read(&format!(r#"{{"op":"put","record":{record},"version":7}}"#)).unwrap();
        assert_eq!(put.expected, ExpectedLink::AtVersion(7));
        assert!(matches!(
            read(r#"{"op":"delete","code":"mug"}"#).unwrap().change,
            LinkChange::Delete { name } if name.domain == "*"
        ));
        assert!(matches!(
            read(r#"{"op":"patch","code":"mug","patch":{"enabled":false}}"#).unwrap().change,
            LinkChange::Patch { .. }
        ));
        let minted = read(r#"{"url":"https://a.example/","kind":"plain"}"#).unwrap();
        assert!(matches!(minted.change, LinkChange::Put { record, .. } if record.created_at.is_some()));
    }

    #[test]
    fn what_is_no_change_is_refused_by_name() {
        for (line, place) in [
            (r#"{"op":"move","code":"a"}"#, "/op"),
            (r#"{"op":"delete"}"#, "/code"),
            (r#"{"op":"delete","code":"a","patch":{}}"#, "/patch"),
            (r#"{"op":"delete","code":"a","version":"7"}"#, "/version"),
            (r#"{"op":"patch","code":"a","patch":{"kynd":1}}"#, "/kynd"),
            (r#"{"op":"put"}"#, "/record"),
            (r#"{"code":"a","url":5,"kind":"plain"}"#, "/url"),
        ] {
            let problem = read(line).unwrap_err().to_json();
            assert_eq!(problem["errors"][0]["pointer"], place, "{line}: {problem}");
        }
        assert_eq!(read("{").unwrap_err().status(), 400);
    }
}
