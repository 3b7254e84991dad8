//! Errors about a value's type, in words for people who know neither Rust nor serde.

/// The message of an error of serde on one line: what was found, and what is allowed.
pub(super) fn explain_type_error(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ").replace("unknown field", "unknown key");
    let Some((what, expected)) = message.split_once(", expected ") else {
        let is_duration = message.contains("duration") || message.starts_with("failed to parse");
        return if is_duration { format!("{message}; allowed: {DURATION}") } else { message };
    };
    let expected = expected.strip_prefix("one of ").unwrap_or(expected);
    if let Some(unknown) = what.strip_prefix("unknown variant ") {
        return format!("unknown value {unknown}; allowed: {expected}");
    }
    match what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: ")) {
        Some(found) => format!("found {}; allowed: {}", describe_found(found), describe_expected(expected)),
        None => format!("{what}; allowed: {expected}"),
    }
}

const DURATION: &str = "a number with its unit, such as 50ms, 10s, 5m or 1h";

fn describe_found(found: &str) -> String {
    for (kind, words) in [("string ", "the text "), ("integer ", ""), ("floating point ", ""), ("boolean ", "")] {
        if let Some(value) = found.strip_prefix(kind) {
            return format!("{words}{value}");
        }
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

fn describe_expected(expected: &str) -> &str {
    match expected {
        "usize" | "u64" => "a whole number from 0",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "u8" => "a whole number from 0 to 255",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list such as [\"one\", \"two\"], or in a variable: one,two",
        "an unsigned duration string" | "a signed duration string" | "a duration" => DURATION,
        "a map" => "a table",
        table if table.starts_with("struct ") => "a table with keys of its own",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_plain_words() {
        for (message, told) in [
            (
                "invalid type: string \"many\", expected usize",
                "found the text \"many\"; allowed: a whole number from 0",
            ),
            ("invalid value: integer `99999`, expected u16", "found `99999`; allowed: a whole number from 0 to 65535"),
            ("invalid type: string \"yes\", expected a boolean", "found the text \"yes\"; allowed: true or false"),
            (
                "invalid type: integer `50`, expected an unsigned duration string",
                "found `50`; allowed: a number with its unit, such as 50ms, 10s, 5m or 1h",
            ),
            ("invalid type: sequence, expected struct Limits", "found a list; allowed: a table with keys of its own"),
            ("unknown variant `xml`, expected one of `text`, `json`", "unknown value `xml`; allowed: `text`, `json`"),
            ("unknown variant `xml`, expected `text` or `json`", "unknown value `xml`; allowed: `text` or `json`"),
            ("unknown field `x`, expected one of\n`a`, `b`", "unknown key `x`; allowed: `a`, `b`"),
            ("`x` is no such thing", "`x` is no such thing"),
        ] {
            assert_eq!(explain_type_error(message), told);
        }
    }
}
