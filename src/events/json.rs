//! Writes flat JSON objects, `{"key":value,…}`, into a reused buffer, without allocation.
//!
//! A key is given with its punctuation ([`key`], [`text_key`]), so that it costs one copy. Texts are arbitrary bytes
//! from requests: bytes that are not UTF-8 become U+FFFD; quotes, backslashes and control characters are escaped.
//! U+2028 and U+2029 are not escaped: JSON allows them, and readers split lines at `\n` alone.

use std::{io::Write, net::IpAddr};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text`, escaped for a JSON string, without the quotes.
pub(crate) fn append_json_escaped_lossy(out: &mut Vec<u8>, text: &[u8]) {
    if is_printable_ascii_without_escapes(text) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        append_json_escaped_utf8(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether the text is printable ASCII that needs no escape. Nearly every text is.
fn is_printable_ascii_without_escapes(text: &[u8]) -> bool {
    // The last chunk overlaps the one before it, so that no shorter rest remains.
    match (text.last_chunk::<16>(), text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(last), ..) => text.as_chunks::<16>().0.iter().all(are_all_plain) && are_all_plain(last),
        (None, Some(first), Some(last)) => are_all_plain(first) & are_all_plain(last),
        _ => text.iter().all(|byte| is_plain(*byte)),
    }
}

/// Without a branch in the loop, so that the compiler uses vector instructions.
#[inline(always)]
fn are_all_plain<const N: usize>(chunk: &[u8; N]) -> bool {
    chunk.iter().fold(true, |all, byte| all & is_plain(*byte))
}

fn is_plain(byte: u8) -> bool {
    // As a signed number every byte from 0x80 on is negative.
    (byte as i8 >= 0x20) & (byte != b'"') & (byte != b'\\')
}

fn append_json_escaped_utf8(out: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&text[from..]);
}

/// The two digits of each byte.
const HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The bytes as lower-case hexadecimal digits.
pub(crate) fn encode_hex(bytes: &[u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = HEX_PAIRS[usize::from(*byte)];
    }
    text
}

/// Appends an IP address as text.
pub(super) fn append_ip_address(out: &mut Vec<u8>, digits: &mut itoa::Buffer, value: IpAddr) {
    match value {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        // Writing into a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// `true` or `false`.
pub(super) const fn bool_word(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// `,"name":`
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
/// `,"name":"`, the key of a text; the method that writes the text closes the quotes.
macro_rules! text_key {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(crate) use {key, text_key};

/// Writes one JSON object. Empty texts are omitted.
pub(crate) struct JsonObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    digits: itoa::Buffer,
}

impl<'o> JsonObjectWriter<'o> {
    /// Writes `{` and the first member, so that every other member can begin with a comma.
    pub(crate) fn begin_object_with(out: &'o mut Vec<u8>, first_member: &str) -> JsonObjectWriter<'o> {
        out.push(b'{');
        out.extend_from_slice(first_member.as_bytes());
        JsonObjectWriter { out, digits: itoa::Buffer::new() }
    }

    /// Writes `}`.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    /// Adds a text of a request, escaped. `encoded_key` is a [`text_key`]. An empty text is omitted.
    pub(crate) fn add_text_unless_empty(&mut self, encoded_key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.out.extend_from_slice(encoded_key.as_bytes());
            append_json_escaped_lossy(self.out, value);
            self.out.push(b'"');
        }
    }

    /// Adds a text of three parts; `word` needs no escape.
    pub(crate) fn add_text_with_inserted_word(&mut self, encoded_key: &str, head: &[u8], word: &str, tail: &[u8]) {
        self.out.extend_from_slice(encoded_key.as_bytes());
        append_json_escaped_lossy(self.out, head);
        self.out.extend_from_slice(word.as_bytes());
        append_json_escaped_lossy(self.out, tail);
        self.out.push(b'"');
    }

    /// Adds a word that needs no escape. `encoded_key` is a [`text_key`]. An empty word is omitted.
    pub(crate) fn add_plain_word_unless_empty(&mut self, encoded_key: &str, value: &str) {
        if !value.is_empty() {
            self.out.extend_from_slice(encoded_key.as_bytes());
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        }
    }

    /// Adds an id of hexadecimal digits and hyphens. `encoded_key` is a [`text_key`].
    pub(crate) fn add_hex_id(&mut self, encoded_key: &str, value: &[u8]) {
        self.out.extend_from_slice(encoded_key.as_bytes());
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    /// Adds an integer. `encoded_key` is a [`key`].
    pub(crate) fn add_integer(&mut self, encoded_key: &str, value: u64) {
        self.out.extend_from_slice(encoded_key.as_bytes());
        self.out.extend_from_slice(self.digits.format(value).as_bytes());
    }

    /// Adds a boolean. `encoded_key` is a [`key`].
    pub(crate) fn add_bool(&mut self, encoded_key: &str, value: bool) {
        self.out.extend_from_slice(encoded_key.as_bytes());
        self.out.extend_from_slice(bool_word(value));
    }

    /// Adds an IP address. `encoded_key` is a [`text_key`].
    pub(crate) fn add_ip_address(&mut self, encoded_key: &str, value: IpAddr) {
        self.out.extend_from_slice(encoded_key.as_bytes());
        append_ip_address(self.out, &mut self.digits, value);
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = vec![b'"'];
        append_json_escaped_lossy(&mut out, text);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_control_characters_and_invalid_utf8_are_escaped() {
        assert_eq!(escaped(b"plain text, longer than a word"), "\"plain text, longer than a word\"");
        assert_eq!(escaped(b"a\"b\\c\nd\x00e\x1f"), r#""a\"b\\c\nd\u0000e\u001f""#);
        assert_eq!(escaped(b"ok \xff\xfe \xec\x95"), "\"ok \u{fffd}\u{fffd} \u{fffd}\"");
        assert_eq!(escaped("안녕 \u{2028}".as_bytes()), "\"안녕 \u{2028}\"");
    }

    proptest! {
        #[test]
        fn escaped_bytes_parse_as_their_lossy_text(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: String = serde_json::from_str(&escaped(&text)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
        }

        #[test]
        fn escaped_text_parses_as_itself(text in ".{0,100}") {
            let read: String = serde_json::from_str(&escaped(text.as_bytes())).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
