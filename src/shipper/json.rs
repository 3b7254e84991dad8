//! Flat JSON, written into a reused buffer: `{"key":value,…}`, one object a click, no allocation.
//!
//! Keys are given as they stand on the wire ([`key`], [`quoted`]), so that a key costs one copy. Texts are arbitrary bytes from
//! outside: what is not UTF-8 becomes U+FFFD, quotes, backslashes and control characters are escaped, U+2028 and U+2029
//! are not (JSON since 2019 equals ECMAScript here, and every reader splits lines at `\n` alone).

use std::io::Write;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` escaped for a JSON string, without the quotes.
pub(super) fn escape(out: &mut Vec<u8>, text: &[u8]) {
    if is_clean(text) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        escape_utf8(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether all of it is printable ASCII that needs no escape, as nearly every text is.
fn is_clean(text: &[u8]) -> bool {
    // The last chunk overlaps the one before instead of leaving a rest.
    match (text.last_chunk::<16>(), text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(last), ..) => text.as_chunks::<16>().0.iter().all(all_clean) && all_clean(last),
        (None, Some(first), Some(last)) => all_clean(first) & all_clean(last),
        _ => text.iter().all(|byte| clean(*byte)),
    }
}

/// Without a branch inside, so that it becomes a few vector instructions.
fn all_clean<const N: usize>(chunk: &[u8; N]) -> bool {
    chunk.iter().fold(true, |all, byte| all & clean(*byte))
}

fn clean(byte: u8) -> bool {
    // As a signed number everything from 0x80 on is below zero.
    (byte as i8 >= 0x20) & (byte != b'"') & (byte != b'\\')
}

fn escape_utf8(out: &mut Vec<u8>, text: &[u8]) {
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

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
    text
}

/// `,"name":`
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
/// `,"name":"` for a text, which the method closes.
macro_rules! quoted {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(super) use {key, quoted};

/// One object under construction. Values that say nothing are left out.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    ints: itoa::Buffer,
}

impl<'o> Object<'o> {
    /// Opens the object; its first member follows at once, so that no other has to ask whether it is the first.
    pub(super) fn open(out: &'o mut Vec<u8>, first: &str) -> Object<'o> {
        out.push(b'{');
        out.extend_from_slice(first.as_bytes());
        Object { out, ints: itoa::Buffer::new() }
    }

    /// Closes the object.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }

    /// A text from outside, escaped, behind a [`quoted`] key; left out if empty.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.out.extend_from_slice(key.as_bytes());
            escape(self.out, value);
            self.out.push(b'"');
        }
    }

    /// The same in two parts with a word between them that needs no escape.
    pub(super) fn spliced(&mut self, key: &str, head: &[u8], word: &str, tail: &[u8]) {
        self.out.extend_from_slice(key.as_bytes());
        escape(self.out, head);
        self.out.extend_from_slice(word.as_bytes());
        escape(self.out, tail);
        self.out.push(b'"');
    }

    /// A word of this program behind a [`quoted`] key; needs no escape, left out if empty.
    pub(super) fn word(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        }
    }

    /// An integer behind a [`key`].
    pub(super) fn int(&mut self, key: &str, value: u64) {
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(self.ints.format(value).as_bytes());
    }

    /// A boolean behind a [`key`].
    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A client's address behind a [`quoted`] key.
    pub(super) fn address(&mut self, key: &str, value: std::net::IpAddr) {
        self.out.extend_from_slice(key.as_bytes());
        match value {
            std::net::IpAddr::V4(v4) => {
                for (at, octet) in v4.octets().into_iter().enumerate() {
                    if at > 0 {
                        self.out.push(b'.');
                    }
                    self.out.extend_from_slice(self.ints.format(octet).as_bytes());
                }
            }
            // Writing into a Vec cannot fail.
            std::net::IpAddr::V6(v6) => drop(write!(self.out, "{v6}")),
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = vec![b'"'];
        escape(&mut out, text);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_controls_and_broken_utf8_are_escaped() {
        assert_eq!(escaped(b"plain text, longer than a word"), "\"plain text, longer than a word\"");
        assert_eq!(escaped(b"a\"b\\c\nd\x00e\x1f"), r#""a\"b\\c\nd\u0000e\u001f""#);
        assert_eq!(escaped(b"ok \xff\xfe \xec\x95"), "\"ok \u{fffd}\u{fffd} \u{fffd}\"");
        assert_eq!(escaped("안녕 \u{2028}".as_bytes()), "\"안녕 \u{2028}\"");
    }

    proptest! {
        #[test]
        fn any_bytes_read_back_as_their_lossy_text(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: String = serde_json::from_str(&escaped(&text)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
        }

        #[test]
        fn any_text_reads_back(text in ".{0,100}") {
            let read: String = serde_json::from_str(&escaped(text.as_bytes())).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
