//! The value of one column of one row, whatever the format of the file.

use std::borrow::Cow;

use serde_json::Value;

/// A value.
#[derive(Debug)]
pub(super) enum Cell<'a> {
    /// `null` of JSON, `NULL` of SQL.
    Null,
    /// A text; a field of CSV, and a number of SQL too.
    Text(Cow<'a, str>),
    /// A value of JSON that is neither `null` nor a text.
    Json(&'a Value),
    /// What stands in SQL where a literal belongs: a function call or a hexadecimal number.
    Expression(&'a str),
}

impl<'a> Cell<'a> {
    pub(super) fn from_json(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Null => Cell::Null,
            Value::String(text) => Cell::Text(Cow::Borrowed(text)),
            value => Cell::Json(value),
        }
    }

    /// Whether the value says nothing: `null`, an empty text, `false`, 0, an empty list, an object of such values.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Cell::Null => true,
            Cell::Text(text) => text.trim().is_empty(),
            Cell::Json(value) => is_blank_json(value),
            Cell::Expression(_) => false,
        }
    }

    /// The value for a message, cut where it is long.
    pub(super) fn describe(&self) -> String {
        match self {
            Cell::Null => "null".to_owned(),
            Cell::Text(text) => quote(text),
            Cell::Json(value) => cut(&value.to_string()),
            Cell::Expression(text) => cut(text),
        }
    }
}

fn is_blank_json(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_blank_json),
    }
}

/// A text in quotes for a message, cut where it is long.
pub(super) fn quote(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// The longest text of a file that a message repeats, in characters.
const MAX_REPEATED: usize = 80;

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_REPEATED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_says_nothing_is_blank() {
        let blank = [json!(null), json!(""), json!(" "), json!(false), json!(0), json!([]), json!({"a":null,"b":""})];
        assert!(blank.iter().all(|value| Cell::from_json(value).is_blank()));
        let said = [json!("x"), json!(true), json!(7), json!([null]), json!({"VN":"https://shop.example.com/"})];
        assert!(!said.iter().any(|value| Cell::from_json(value).is_blank()));
        assert!(!Cell::Expression("NOW()").is_blank());
    }

    #[test]
    fn a_long_text_is_cut_for_a_message() {
        assert_eq!(quote("a\tb"), r#""a\tb""#);
        assert_eq!(quote(&"ö".repeat(81)), format!("\"{}…\"", "ö".repeat(80)));
    }
}
