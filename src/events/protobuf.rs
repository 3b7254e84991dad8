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

use std::{io::Write, net::IpAddr};

use super::{
    event_writer::EventWriter,
    field::{Field, FieldType},
};

/// The wire type of integers and booleans.
pub(super) const VARINT: u64 = 0;
/// The wire type of texts: a length, and bytes.
pub(super) const LENGTH_DELIMITED: u64 = 2;
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

    #[inline]
    fn push_tag(&mut self, field: &Field) {
        let wire_type = match field.field_type {
            FieldType::Text => LENGTH_DELIMITED,
            FieldType::Integer | FieldType::Boolean => VARINT,
        };
        let tag = u64::from(field.number) << 3 | wire_type;
        // A field's number is a constant, so one of the two is left after inlining. No number exceeds two bytes.
        match tag {
            0..0x80 => self.out.push(tag as u8),
            _ => self.out.extend_from_slice(&[tag as u8 | 0x80, (tag >> 7) as u8]),
        }
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn push_bytes(&mut self, value: &[u8]) {
        self.push_varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Appends a text, without its length.
    fn push_lossy(&mut self, text: &[u8]) {
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
    let chunks = text.utf8_chunks();
    chunks.map(|chunk| chunk.valid().len() + if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() }).sum()
}

impl EventWriter for ProtobufWriter<'_> {
    #[inline]
    fn add_text_unless_empty(&mut self, field: &'static Field, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.push_tag(field);
        if str::from_utf8(value).is_ok() {
            self.push_bytes(value);
        } else {
            self.push_varint(lossy_len(value) as u64);
            self.push_lossy(value);
        }
    }

    fn add_text_with_inserted_word(&mut self, field: &'static Field, head: &[u8], word: &str, tail: &[u8]) {
        self.push_tag(field);
        self.push_varint((lossy_len(head) + word.len() + lossy_len(tail)) as u64);
        self.push_lossy(head);
        self.out.extend_from_slice(word.as_bytes());
        self.push_lossy(tail);
    }

    #[inline]
    fn add_plain_word_unless_empty(&mut self, field: &'static Field, value: &str) {
        if !value.is_empty() {
            self.push_tag(field);
            self.push_bytes(value.as_bytes());
        }
    }

    #[inline]
    fn add_integer(&mut self, field: &'static Field, value: u64) {
        self.push_tag(field);
        self.push_varint(value);
    }

    #[inline]
    fn add_bool(&mut self, field: &'static Field, value: bool) {
        self.push_tag(field);
        self.out.push(u8::from(value));
    }

    fn add_ip_address(&mut self, field: &'static Field, value: IpAddr) {
        self.push_tag(field);
        let length_at = self.out.len();
        self.out.push(0);
        // Writing into a Vec cannot fail. An address as text has at most 45 bytes, so its length is one byte.
        let _ = write!(self.out, "{value}");
        self.out[length_at] = (self.out.len() - length_at - 1) as u8;
    }
}
