//! The literals of one row of a dump: `'text'`, numbers and `NULL`. All else is an expression, which nobody evaluates
//! here.

use std::borrow::Cow;

/// A value of a row. Texts are bytes: the row's own check names the column that is no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SqlValue<'a> {
    Null,
    Text(Cow<'a, [u8]>),
    Number(&'a [u8]),
    Expression(&'a [u8]),
}

/// Splits what stands between the brackets of a row.
pub(super) fn decode_values(row: &[u8]) -> Vec<SqlValue<'_>> {
    let mut values = Vec::new();
    let mut rest = row;
    loop {
        let len = find_end_of_value(rest);
        values.push(decode_value(rest[..len].trim_ascii()));
        match rest.get(len + 1..) {
            Some(behind) => rest = behind,
            None => return values,
        }
    }
}

/// The offset of the comma behind the value, or the length of the rest.
fn find_end_of_value(rest: &[u8]) -> usize {
    let (mut quote, mut depth, mut is_escaped) = (None, 0, false);
    for (at, &byte) in rest.iter().enumerate() {
        match quote {
            Some(open) => {
                if byte == open && !is_escaped {
                    quote = None;
                }
                is_escaped = byte == b'\\' && !is_escaped && open != b'`';
            }
            None => match byte {
                b'\'' | b'"' | b'`' => (quote, is_escaped) = (Some(byte), false),
                b'(' => depth += 1,
                b')' => depth -= 1,
                b',' if depth == 0 => return at,
                _ => {}
            },
        }
    }
    rest.len()
}

fn decode_value(value: &[u8]) -> SqlValue<'_> {
    match value {
        [quote @ (b'\'' | b'"'), inner @ .., last] if last == quote => {
            decode_text(inner, *quote).map_or(SqlValue::Expression(value), SqlValue::Text)
        }
        _ if value.eq_ignore_ascii_case(b"NULL") => SqlValue::Null,
        _ if is_number(value) => SqlValue::Number(value),
        _ => SqlValue::Expression(value),
    }
}

/// A sign, digits and a point, as dumps write numbers.
fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = digits.split(|byte| *byte == b'.');
    let is_part = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.by_ref().take(2).all(is_part) && parts.next().is_none()
}

/// The text between quotes; `None` if a quote stands alone inside, as between two texts that follow each other.
fn decode_text(inner: &[u8], quote: u8) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr2(b'\\', quote, inner).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next()? {
                b'0' => text.push(0),
                b'b' => text.push(8),
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'Z' => text.push(26),
                // These two keep the backslash (MySQL, "String Literals").
                escaped @ (b'%' | b'_') => text.extend_from_slice(&[b'\\', escaped]),
                escaped => text.push(escaped),
            },
            byte if byte == quote => {
                if bytes.next() != Some(quote) {
                    return None;
                }
                text.push(quote);
            }
            byte => text.push(byte),
        }
    }
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> SqlValue<'_> {
        SqlValue::Text(Cow::Borrowed(bytes))
    }

    #[test]
    fn texts_numbers_null_and_expressions_are_told_apart() {
        let row = br#"'a', "b" ,NULL,null,742,-1.5,NOW(),0x6869,'it''s','it\'s; \\ (so),',CONCAT('a',',')"#;
        assert_eq!(
            decode_values(row),
            [
                text(b"a"),
                text(b"b"),
                SqlValue::Null,
                SqlValue::Null,
                SqlValue::Number(b"742"),
                SqlValue::Number(b"-1.5"),
                SqlValue::Expression(b"NOW()"),
                SqlValue::Expression(b"0x6869"),
                text(b"it's"),
                text(br"it's; \ (so),"),
                SqlValue::Expression(b"CONCAT('a',',')"),
            ]
        );
        assert_eq!(decode_values(b"'a' 'b'"), [SqlValue::Expression(b"'a' 'b'")]);
        assert_eq!(decode_values(b""), [SqlValue::Expression(b"")]);
        assert_eq!(decode_values(br"'50\%\r\n'"), [text(b"50\\%\r\n")]);
    }

    proptest! {
        #[test]
        fn every_text_that_mysqldump_escapes_comes_back(texts in prop::collection::vec(".{0,20}", 1..6)) {
            let escape = |text: &String| {
                let text = text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n").replace('\r', r"\r");
                format!("'{}'", text.replace('\0', r"\0").replace('\u{1a}', r"\Z"))
            };
            let row = texts.iter().map(escape).collect::<Vec<_>>().join(",");
            let decoded: Vec<SqlValue<'_>> = texts.iter().map(|expected| text(expected.as_bytes())).collect();
            prop_assert_eq!(decode_values(row.as_bytes()), decoded);
        }

        #[test]
        fn any_bytes_are_split_without_a_panic(row in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(!decode_values(&row).is_empty());
        }
    }
}
