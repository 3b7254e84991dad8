//! Reads the value of a record, which is JSON or Protobuf: a topic can hold both, record by record.
//!
//! The first byte tells them apart: JSON begins with `{`, which begins no value that [`super::protobuf`] describes.
//! Protobuf becomes the bytes that the JSON encoding of the same click has, so every reader reads JSON alone, and both
//! encodings give the same rows. Fields that this version does not know are left out of that JSON.

use super::{
    field::{FIELDS, Field, FieldType, LENGTH_DELIMITED, VARINT, find_index_of_number},
    json::{self, append_json_escaped_lossy},
    protobuf::REGISTRY_MAGIC,
};

/// The wire types of numbers with fixed lengths, which no field has yet.
const FIXED_64: u64 = 1;
const FIXED_32: u64 = 5;
/// The longest list of message indexes that is read: no message lies deeper.
const MAX_MESSAGE_INDEXES: u64 = 16;

/// Why a value is no event in Protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    /// A field, or the prefix of a schema registry, is cut off, or has a form that Protobuf does not have.
    #[error("the bytes are no Protobuf message")]
    Malformed,
    /// A known field has another type.
    #[error("the field {0} has another type than click.v1 says")]
    WrongType(&'static str),
    /// A text is no UTF-8.
    #[error("the field {0} is no UTF-8")]
    NotUtf8(&'static str),
    /// A number is negative.
    #[error("the field {0} is negative")]
    Negative(&'static str),
    /// The prefix names another message than the first of the file.
    #[error("the prefix of the schema registry names another message than Click")]
    OtherMessage,
    /// No known field is there.
    #[error("the message has no field of click.v1")]
    NoField,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum FieldValue<'v> {
    Varint(u64),
    Bytes(&'v [u8]),
}

/// The value as JSON: as it is if it begins with `{`, else what it holds as Protobuf, in `buffer`. A value that is
/// neither is returned as it is; it is no record of Waypost.
pub(crate) fn value_as_json<'v>(value: &'v [u8], buffer: &'v mut Vec<u8>) -> &'v [u8] {
    if value.first() == Some(&b'{') {
        return value;
    }
    buffer.clear();
    match append_protobuf_event_as_json(value, buffer) {
        Ok(()) => buffer,
        Err(_) => value,
    }
}

/// Appends the event that a Protobuf value holds as JSON, byte for byte as the encoder of JSON writes it. On an error
/// `out` is as it was.
///
/// # Errors
/// The value is no event in Protobuf.
pub(crate) fn append_protobuf_event_as_json(value: &[u8], out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let fields = read_fields(skip_registry_prefix(value)?)?;
    let begin = out.len();
    let mut digits = itoa::Buffer::new();
    for (field, value) in FIELDS.into_iter().zip(fields) {
        let added = value.map_or(Ok(()), |value| append_member(out, field, value, &mut digits));
        added.inspect_err(|_| out.truncate(begin))?;
    }
    // Each member begins with a comma.
    *out.get_mut(begin).ok_or(ProtobufError::NoField)? = b'{';
    out.push(b'}');
    Ok(())
}

fn append_member(
    out: &mut Vec<u8>,
    field: &'static Field,
    value: FieldValue<'_>,
    digits: &mut itoa::Buffer,
) -> Result<(), ProtobufError> {
    match (field.field_type, value) {
        (FieldType::Text, FieldValue::Bytes([])) => {}
        (FieldType::Text, FieldValue::Bytes(text)) => {
            str::from_utf8(text).map_err(|_| ProtobufError::NotUtf8(field.name))?;
            out.extend_from_slice(field.json_text_key.as_bytes());
            append_json_escaped_lossy(out, text);
            out.push(b'"');
        }
        (FieldType::Integer, FieldValue::Varint(number)) => {
            i64::try_from(number).map_err(|_| ProtobufError::Negative(field.name))?;
            out.extend_from_slice(field.json_key.as_bytes());
            out.extend_from_slice(digits.format(number).as_bytes());
        }
        (FieldType::Boolean, FieldValue::Varint(number)) => {
            out.extend_from_slice(field.json_key.as_bytes());
            out.extend_from_slice(json::bool_word(number != 0));
        }
        _ => return Err(ProtobufError::WrongType(field.name)),
    }
    Ok(())
}

/// The message behind the prefix of a schema registry, if there is one.
fn skip_registry_prefix(value: &[u8]) -> Result<&[u8], ProtobufError> {
    let Some((&REGISTRY_MAGIC, rest)) = value.split_first() else { return Ok(value) };
    let mut rest = rest.get(4..).ok_or(ProtobufError::Malformed)?;
    // Zigzag numbers: how many indexes there are, and the indexes. None stands for the first message alone.
    let count = read_varint(&mut rest)? >> 1;
    if count > MAX_MESSAGE_INDEXES {
        return Err(ProtobufError::Malformed);
    }
    let mut is_first = true;
    for _ in 0..count {
        is_first &= read_varint(&mut rest)? == 0;
    }
    if is_first && count <= 1 { Ok(rest) } else { Err(ProtobufError::OtherMessage) }
}

/// The value of each field, in the order of [`FIELDS`]. Of a field that is there twice the last value counts, as
/// Protobuf says.
fn read_fields(mut message: &[u8]) -> Result<[Option<FieldValue<'_>>; FIELDS.len()], ProtobufError> {
    let mut fields = [None; FIELDS.len()];
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let value = match tag & 7 {
            VARINT => Some(FieldValue::Varint(read_varint(&mut message)?)),
            LENGTH_DELIMITED => {
                let len = usize::try_from(read_varint(&mut message)?).map_err(|_| ProtobufError::Malformed)?;
                Some(FieldValue::Bytes(take_bytes(&mut message, len)?))
            }
            FIXED_64 => take_bytes(&mut message, 8).map(|_| None)?,
            FIXED_32 => take_bytes(&mut message, 4).map(|_| None)?,
            _ => return Err(ProtobufError::Malformed),
        };
        if tag >> 3 == 0 {
            return Err(ProtobufError::Malformed);
        }
        if let Some(index) = find_index_of_number(tag >> 3) {
            fields[index] = Some(value.ok_or(ProtobufError::WrongType(FIELDS[index].name))?);
        }
    }
    Ok(fields)
}

fn take_bytes<'v>(bytes: &mut &'v [u8], len: usize) -> Result<&'v [u8], ProtobufError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(ProtobufError::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// Takes a varint of at most ten bytes.
fn read_varint(bytes: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(ProtobufError::Malformed)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(ProtobufError::Malformed);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Malformed)
}
