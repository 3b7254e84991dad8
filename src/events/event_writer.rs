//! The boundary between the encoder of events, which knows the facts, and the two encodings of a value.

use std::net::IpAddr;

use super::{field::Field, json::JsonObjectWriter};

/// Writes the fields of one event, each at most once. Texts are arbitrary bytes from requests: what is not UTF-8
/// becomes U+FFFD.
pub(super) trait EventWriter {
    /// Adds a text of a request. An empty text is omitted.
    fn add_text_unless_empty(&mut self, field: &'static Field, value: &[u8]);

    /// Adds a text of three parts; `word` is ASCII without quotes, backslashes and control characters.
    fn add_text_with_inserted_word(&mut self, field: &'static Field, head: &[u8], word: &str, tail: &[u8]);

    /// Adds a word of ASCII without quotes, backslashes and control characters. An empty word is omitted.
    fn add_plain_word_unless_empty(&mut self, field: &'static Field, value: &str);

    /// Adds an id of hexadecimal digits and hyphens.
    fn add_hex_id(&mut self, field: &'static Field, value: &[u8]);

    /// Adds an integer of at most 53 bits.
    fn add_integer(&mut self, field: &'static Field, value: u64);

    /// Adds a boolean.
    fn add_bool(&mut self, field: &'static Field, value: bool);

    /// Adds an IP address as text.
    fn add_ip_address(&mut self, field: &'static Field, value: IpAddr);
}

// Inlined, so that the key of each field is a constant where it is written.
impl EventWriter for JsonObjectWriter<'_> {
    #[inline]
    fn add_text_unless_empty(&mut self, field: &'static Field, value: &[u8]) {
        self.add_text_unless_empty(field.json_text_key, value);
    }

    #[inline]
    fn add_text_with_inserted_word(&mut self, field: &'static Field, head: &[u8], word: &str, tail: &[u8]) {
        self.add_text_with_inserted_word(field.json_text_key, head, word, tail);
    }

    #[inline]
    fn add_plain_word_unless_empty(&mut self, field: &'static Field, value: &str) {
        self.add_plain_word_unless_empty(field.json_text_key, value);
    }

    #[inline]
    fn add_hex_id(&mut self, field: &'static Field, value: &[u8]) {
        self.add_hex_id(field.json_text_key, value);
    }

    #[inline]
    fn add_integer(&mut self, field: &'static Field, value: u64) {
        self.add_integer(field.json_key, value);
    }

    #[inline]
    fn add_bool(&mut self, field: &'static Field, value: bool) {
        self.add_bool(field.json_key, value);
    }

    #[inline]
    fn add_ip_address(&mut self, field: &'static Field, value: IpAddr) {
        self.add_ip_address(field.json_text_key, value);
    }
}
