//! Writes the value of an event as Protobuf (`deploy/schemas/click.v1.proto`), without allocation.
//!
//! ```text
//! [0x00 | schema id, 4 bytes, big-endian | 0x00]   with `kafka.schema_id`: the prefix that schema registries read; the
//!                                                  last byte is the list of message indexes: the first message
//! field: number << 3 | wire type, as varint | value: varint, or length as varint and bytes
//! ```
//!
//! The fields are those of the JSON value, in the same order: what JSON leaves out is absent, and `false` and 0 are
//! written. A value begins with the field `type`, so its first byte is 0x0a, or 0 with a prefix, and never `{`.

use std::net::IpAddr;

use super::{
    event_writer::EventWriter,
    field::{Field, Tag},
    json::append_ip_address,
};

/// The first byte of the prefix of a schema registry.
pub(super) const REGISTRY_MAGIC: u8 = 0;
/// What invalid UTF-8 becomes.
const REPLACEMENT: &str = "\u{fffd}";

/// Writes one event.
pub(super) struct ProtobufWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ProtobufWriter<'o> {
    /// Begins a value; `schema_id` puts the prefix of a schema registry in front of it.
    pub(super) fn begin(out: &'o mut Vec<u8>, schema_id: Option<u32>) -> ProtobufWriter<'o> {
        if let Some(id) = schema_id {
            out.push(REGISTRY_MAGIC);
            out.extend_from_slice(&id.to_be_bytes());
            out.push(0);
        }
        ProtobufWriter { out }
    }

    /// Pushes the tag of a field and one byte behind it: a short length, or a short number.
    #[inline(always)]
    fn push_tag_and_byte(&mut self, field: &Field, byte: u8) {
        match field.tag {
            Tag::Short(tag) => self.out.extend_from_slice(&[tag, byte]),
            Tag::Long([low, high]) => self.out.extend_from_slice(&[low, high, byte]),
        }
    }

    #[inline(always)]
    fn push_tag_and_varint(&mut self, field: &Field, value: u64) {
        match value {
            0..0x80 => self.push_tag_and_byte(field, value as u8),
            _ => {
                self.push_tag_and_byte(field, value as u8 | 0x80);
                self.push_varint(value >> 7);
            }
        }
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// Appends a text, without its length.
    fn push_lossy(&mut self, text: &[u8]) {
        if text.is_ascii() {
            return self.out.extend_from_slice(text);
        }
        for chunk in text.utf8_chunks() {
            self.out.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice(REPLACEMENT.as_bytes());
            }
        }
    }
}

/// The bytes that [`ProtobufWriter::push_lossy`] appends.
fn lossy_len(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    let chunks = text.utf8_chunks();
    chunks.map(|chunk| chunk.valid().len() + if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() }).sum()
}

impl EventWriter for ProtobufWriter<'_> {
    #[inline]
    fn add_text_unless_empty(&mut self, field: &'static Field, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        if value.is_ascii() || str::from_utf8(value).is_ok() {
            self.push_tag_and_varint(field, value.len() as u64);
            self.out.extend_from_slice(value);
        } else {
            self.push_tag_and_varint(field, lossy_len(value) as u64);
            self.push_lossy(value);
        }
    }

    fn add_text_with_inserted_word(&mut self, field: &'static Field, head: &[u8], word: &str, tail: &[u8]) {
        self.push_tag_and_varint(field, (lossy_len(head) + word.len() + lossy_len(tail)) as u64);
        self.push_lossy(head);
        self.out.extend_from_slice(word.as_bytes());
        self.push_lossy(tail);
    }

    #[inline]
    fn add_plain_word_unless_empty(&mut self, field: &'static Field, value: &str) {
        if !value.is_empty() {
            self.push_tag_and_varint(field, value.len() as u64);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    #[inline]
    fn add_hex_id(&mut self, field: &'static Field, value: &[u8]) {
        self.push_tag_and_varint(field, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    #[inline]
    fn add_integer(&mut self, field: &'static Field, value: u64) {
        self.push_tag_and_varint(field, value);
    }

    #[inline]
    fn add_bool(&mut self, field: &'static Field, value: bool) {
        self.push_tag_and_byte(field, u8::from(value));
    }

    fn add_ip_address(&mut self, field: &'static Field, value: IpAddr) {
        // An address as text has at most 45 bytes, so its length is one byte.
        self.push_tag_and_byte(field, 0);
        let begin = self.out.len();
        append_ip_address(self.out, &mut itoa::Buffer::new(), value);
        self.out[begin - 1] = (self.out.len() - begin) as u8;
    }
}
