//! Reads a record out of a body. What is wrong with it is told for every field at once, each with its place.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::unique_object::UniqueObject;
use crate::{
    api::http::problem::{FieldError, Problem, ProblemKind},
    model::link::record::Record,
};

/// The most bytes of a record, as in a links file.
pub(in crate::api) const MAX_RECORD: usize = crate::links::file::MAX_LINE;

/// A record as it was sent.
#[derive(Clone, Debug)]
pub(in crate::api) struct WrittenRecord {
    pub(in crate::api) record: Record,
    /// The text of the body, if nothing was filled in.
    pub(in crate::api) text: Option<String>,
}

/// What a record has where the body says nothing.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct RecordDefaults<'a> {
    /// The code; an empty one is minted.
    pub(in crate::api) code: Option<&'a str>,
    pub(in crate::api) domain: Option<&'a str>,
    pub(in crate::api) created_at: Option<Timestamp>,
}

/// Reads a record.
///
/// # Errors
/// The body is no JSON object, or no record.
pub(in crate::api) fn read_record(body: &[u8], defaults: &RecordDefaults<'_>) -> Result<WrittenRecord, Problem> {
    let text = body_text(body)?;
    let UniqueObject(mut object) = parse_object(text)?;
    let mut is_filled_in = false;
    let mut fill_in = |field: &str, value: Option<Value>| {
        if let Some(value) = value
            && object.get(field).is_none_or(Value::is_null)
        {
            object.insert(field.to_owned(), value);
            is_filled_in = true;
        }
    };
    fill_in("code", defaults.code.map(Value::from));
    fill_in("domain", defaults.domain.map(Value::from));
    fill_in("created_at", defaults.created_at.map(|time| time.to_string().into()));
    let record: Record = match serde_json::from_value(Value::Object(object.clone())) {
        Ok(record) => record,
        Err(error) => {
            let mut errors = list_errors_of_fields(&object);
            if errors.is_empty() {
                errors.push(FieldError::in_body("record", error.to_string()));
            }
            return Err(Problem::of_errors(ProblemKind::Invalid, errors));
        }
    };
    let text = (!is_filled_in).then(|| text.trim().to_owned());
    check_length_of_record(&record, text.as_deref())?;
    Ok(WrittenRecord { record, text })
}

/// The body as text.
///
/// # Errors
/// It is no UTF-8.
pub(in crate::api) fn body_text(body: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(body).map_err(|_| Problem::new(ProblemKind::Malformed, "the body is no text in UTF-8"))
}

/// The fields of a body, which is a JSON object.
///
/// # Errors
/// It is none.
pub(in crate::api) fn read_object(body: &Bytes) -> Result<Map<String, Value>, Problem> {
    parse_object(body_text(body)?).map(|object| object.0)
}

/// A whole number that is not negative. JSON has no integers: `7.0` is one, too.
pub(in crate::api) fn whole_number(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number));
    value.as_u64().or_else(|| float().map(|number| number as u64))
}

fn parse_object(text: &str) -> Result<UniqueObject, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let kind = if error.is_data() { ProblemKind::Invalid } else { ProblemKind::Malformed };
        Problem::new(kind, format!("the body is no JSON object of a record: {error}"))
    })
}

/// Every field that is no field of a record, or has a value of another type.
pub(in crate::api) fn list_errors_of_fields(object: &Map<String, Value>) -> Vec<FieldError> {
    let needed = ["url", "kind"].into_iter().filter(|field| !object.contains_key(*field));
    let mut errors: Vec<FieldError> = needed.map(|field| FieldError::in_body(field, "is needed")).collect();
    errors.extend(object.iter().filter_map(|(field, value)| find_error_of_field(field, value)));
    errors
}

/// Why this is no field of a record; `None`: it is one.
pub(in crate::api) fn find_error_of_field(field: &str, value: &Value) -> Option<FieldError> {
    let mut probe = json!({"code": "a", "url": "https://a.example/", "kind": "plain"});
    probe[field] = value.clone();
    let error = serde_json::from_value::<Record>(probe).err()?;
    Some(FieldError::in_body(field, error.to_string()))
}

/// What is kept must fit into one line of a links file.
fn check_length_of_record(record: &Record, text: Option<&str>) -> Result<(), Problem> {
    let length = text.map_or_else(|| serde_json::to_string(record).unwrap_or_default().len(), str::len);
    if length <= MAX_RECORD {
        return Ok(());
    }
    let detail = format!("the record has {length} bytes; allowed are {MAX_RECORD}");
    Err(Problem::new(ProblemKind::TooLarge, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WrittenRecord, Problem> {
        read_record(text.as_bytes(), &RecordDefaults { code: Some(""), ..RecordDefaults::default() })
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let problem = read(r#"{"kynd":"plain","rate_bp":"x","enabled":7}"#).unwrap_err().to_json();
        let pointers: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, ["/url", "/kind", "/enabled", "/kynd", "/rate_bp"]);
    }

    #[test]
    fn what_is_no_object_is_refused_and_a_name_that_stands_twice() {
        assert_eq!(read("{").unwrap_err().status(), 400);
        assert_eq!(read("[]").unwrap_err().status(), 422);
        let twice = read(r#"{"url":"https://a.example/","kind":"plain","kind":"plain"}"#).unwrap_err();
        assert!(twice.status() == 422 && twice.to_json().to_string().contains("duplicate field"));
        assert!(read_record(b"\xff", &RecordDefaults::default()).is_err());
    }

    #[test]
    fn a_text_is_kept_as_it_was_written_unless_something_is_filled_in() {
        let text = r#"{ "code":"a","url":"https://a.example/","kind":"plain" }"#;
        assert_eq!(read(text).unwrap().text.as_deref(), Some(text));
        assert_eq!(read(r#"{"url":"https://a.example/","kind":"plain","code":null}"#).unwrap().text, None);
    }
}
