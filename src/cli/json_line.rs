//! Parses a line of an input: one JSON object.

use std::{fs::File, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::links::file::blocks::BlockReader;

/// Parses one JSON object.
///
/// # Errors
/// The bytes are no object, or a field is missing or of another type. The text names the field and the column.
pub(in crate::cli) fn parse_json_object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    // serde would accept an array as an object, in the order of the fields.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("is no JSON object; a line holds one".to_owned());
    }
    // One check of the whole line costs less than one of each text in it. Bytes that are no UTF-8 are still taken where
    // they stand in a field that nobody reads.
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    };
    parsed.map_err(|error| describe_json_error(bytes, &error))
}

/// What is wrong, without the line: serde counts lines within the bytes.
pub(in crate::cli) fn describe_json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let column = error.column();
    if !error.is_data() {
        return format!("is not JSON: {message} at column {column}");
    }
    let names_its_field =
        ["unknown field", "missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
    match find_last_key_before(bytes, column).filter(|_| !names_its_field) {
        Some(key) => format!("{key}: {message} at column {column}"),
        None => format!("{message} at column {column}"),
    }
}

/// The last key that ends before `column` of the first line.
fn find_last_key_before(bytes: &[u8], column: usize) -> Option<&str> {
    let before = bytes.get(..column)?;
    let mut colons = memchr::memrchr_iter(b':', before);
    let key = colons.find_map(|colon| before[..colon].trim_ascii_end().strip_suffix(b"\""))?;
    let start = memchr::memrchr(b'"', key)? + 1;
    str::from_utf8(&key[start..]).ok()
}

/// Calls `visit` with the number and the bytes of each line that is not blank. Lines count from 1.
///
/// # Errors
/// The file cannot be read, or `visit` fails: the text names file and line.
pub(in crate::cli) fn visit_lines(path: &Path, mut visit: impl FnMut(u64, &[u8]) -> Result<(), String>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let mut blocks = BlockReader::new(&file);
    while let Some(block) = blocks.read_next_block().with_context(|| format!("{}: cannot be read", path.display()))? {
        for (number, line) in block.numbered_lines().filter(|(_, line)| !line.trim_ascii().is_empty()) {
            if let Err(message) = visit(number, line) {
                bail!("{}:{number}: {message}", path.display());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commission::{ClickRecord, OrderVersion, ProductSetEntry};

    const ORDER: &str = concat!(
        r#"{"order_id":"o","updated_at_ms":3,"paid_at_ms":1,"click_tokens":["v1.x",{"verdict":"valid","kind":"url"}],"#,
        r#""lines":[{"line_id":"1","seller_id":"s","product_id":"p","quantity":1,"value_minor":1,"currency":"VND"}]}"#
    );

    fn parse_all(bytes: &[u8]) {
        if let Ok(version) = parse_json_object::<OrderVersion>(bytes) {
            let _ = version.check();
        }
        if let Ok(click) = parse_json_object::<ClickRecord<'_>>(bytes) {
            let _ = click.check();
        }
        let _ = parse_json_object::<ProductSetEntry>(bytes);
    }

    #[test]
    fn an_error_names_the_field_and_the_column() {
        let message = |text: &str| parse_json_object::<OrderVersion>(text.as_bytes()).unwrap_err();
        assert!(message(r#"{"order_id":7}"#).starts_with("order_id: invalid type: integer `7`"));
        assert_eq!(message("{}"), "missing field `order_id` at column 2");
        assert!(message("{\"order_id\"").starts_with("is not JSON: EOF"));
        assert_eq!(message("[]"), "is no JSON object; a line holds one");
        assert!(parse_json_object::<OrderVersion>(ORDER.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse_all(&bytes);
        }

        #[test]
        fn no_damaged_order_makes_parsing_panic(at in 0..ORDER.len(), byte: u8, end in 0..ORDER.len()) {
            let mut bytes = ORDER.as_bytes().to_vec();
            bytes[at] = byte;
            parse_all(&bytes);
            parse_all(&bytes[..end]);
        }
    }
}
