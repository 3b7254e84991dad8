//! Parses one line of a links file into a record, and says where and why a line is none.

use crate::{links::file::errors::LineError, model::link::record::Record};

/// The longest line, in bytes.
pub const MAX_LINE: usize = 16 * 1024;

/// Parses a line that is not blank. `line` is its number, for the error.
pub(super) fn parse_json_record_of_line(line: u64, bytes: &[u8]) -> Result<Record, LineError> {
    if bytes.len() > MAX_LINE {
        let message = format!("has {} bytes; allowed are {MAX_LINE}", bytes.len());
        return Err(LineError { line, column: 1, message });
    }
    // serde would accept an array as a record, in the order of the fields.
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii_whitespace())
        && bytes[at] != b'{'
    {
        let message = if bytes.contains(&0) {
            "is no text in UTF-8, but has zero bytes as UTF-16 has; save the file as UTF-8"
        } else {
            "is no JSON object; a line holds one, {\"code\":…,\"url\":…,\"kind\":…}"
        };
        return Err(LineError { line, column: at as u64 + 1, message: message.to_owned() });
    }
    serde_json::from_slice(bytes).map_err(|error| to_line_error_with_column_and_hint(line, bytes, &error))
}

fn to_line_error_with_column_and_hint(line: u64, bytes: &[u8], error: &serde_json::Error) -> LineError {
    let text = error.to_string();
    // The position in serde's message counts lines within this line.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let names_its_field =
        ["unknown field", "missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
    let field =
        if error.is_data() && !names_its_field { find_key_of_value_ending_at(bytes, error.column()) } else { None };
    let allowed = match field {
        Some("created_at" | "starts_at" | "expires_at") => "; allowed is RFC 3339, such as 2026-11-01T00:00:00Z",
        Some("rate_bp") => "; allowed are 1 to 10000 hundredths of a percent",
        None if message == "trailing characters" => "; a line holds one JSON object and nothing behind it",
        _ => "",
    };
    let message = match field {
        Some(field) => format!("{field}: {message}{allowed}"),
        None if error.is_data() => message.to_owned(),
        None => format!("is not JSON: {message}{allowed}"),
    };
    LineError { line, column: error.column().max(1) as u64, message }
}

/// The key of the value that ends at `column`.
fn find_key_of_value_ending_at(bytes: &[u8], column: usize) -> Option<&str> {
    let before = bytes.get(..column)?;
    let mut colons = memchr::memrchr_iter(b':', before);
    let key = colons.find_map(|colon| before[..colon].trim_ascii_end().strip_suffix(b"\""))?;
    let start = memchr::memrchr(b'"', key)? + 1;
    str::from_utf8(&key[start..]).ok()
}
