//! Answers of APIs: a list of objects, perhaps inside an object that says how many there are in all. The list is read
//! item by item; each item is parsed later, on other threads.

use std::{
    cell::Cell as Shared,
    fmt,
    io::{self, BufReader, Read},
};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use crate::import::{
    column::JsonEnvelope,
    file_error::FileError,
    plan::ImportPlan,
    read_result::{FileFacts, ReadError},
    row_block::RowSink,
};

/// Reads a file to its end.
pub(super) fn read_rows(
    plan: &ImportPlan,
    envelope: &'static JsonEnvelope,
    input: &mut dyn Read,
    sink: &mut RowSink<'_>,
) -> Result<FileFacts, ReadError> {
    sink.set_columns(plan.all_columns().into())?;
    let line = Shared::new(1);
    let reader = LineCounter { input: BufReader::with_capacity(64 << 10, input), line: &line };
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let mut reading = Reading { sink, line: &line, is_inside_item: false, is_receiver_gone: false };
    let mut outside = Outside::default();
    let seed = Envelope { path: envelope.items, reading: &mut reading, outside: &mut outside };
    let result = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Err(error) = result {
        if reading.is_receiver_gone {
            return Err(ReadError::ReceiverGone);
        }
        return Err(describe_json_error(&error, &reading, envelope).into());
    }
    if !outside.has_items {
        return Err(describe_missing_list(&outside.value, envelope).into());
    }
    let total = find_at_path(&outside.value, envelope.total).and_then(Value::as_u64);
    let has_next_page = find_at_path(&outside.value, envelope.next_page).is_some_and(says_something);
    Ok(FileFacts { rows: 0, total, has_next_page })
}

/// Counts the line ends of what was read.
struct LineCounter<'a, R> {
    input: R,
    line: &'a Shared<u64>,
}

impl<R: Read> Read for LineCounter<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let ends = memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
        if ends > 0 {
            self.line.set(self.line.get() + ends);
        }
        Ok(read)
    }
}

/// The list that is being read.
struct Reading<'a, 'b> {
    sink: &'a mut RowSink<'b>,
    /// The line of the last byte that the parser took. It takes one byte at a time.
    line: &'a Shared<u64>,
    is_inside_item: bool,
    is_receiver_gone: bool,
}

/// What the file says beside its items.
#[derive(Default)]
struct Outside {
    value: Value,
    has_items: bool,
}

/// Reads an object down to the list at `path`.
struct Envelope<'r, 'a, 'b> {
    path: &'static [&'static str],
    reading: &'r mut Reading<'a, 'b>,
    outside: &'r mut Outside,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of links, or an object with one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.outside.has_items = true;
        while items.next_element_seed(Item { reading: &mut *self.reading })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut outside = serde_json::Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if self.path.first() == Some(&key.as_str()) {
                let mut below = Outside::default();
                fields.next_value_seed(Envelope {
                    path: &self.path[1..],
                    reading: &mut *self.reading,
                    outside: &mut below,
                })?;
                self.outside.has_items |= below.has_items;
                outside.insert(key, below.value);
            } else if outside.len() < 64 {
                outside.insert(key, fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        self.outside.value = Value::Object(outside);
        Ok(())
    }
}

/// Reads one item.
struct Item<'r, 'a, 'b> {
    reading: &'r mut Reading<'a, 'b>,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // The parser has taken the first byte of the item.
        let line = self.reading.line.get();
        self.reading.is_inside_item = true;
        let item: Box<RawValue> = de::Deserialize::deserialize(deserializer)?;
        self.reading.is_inside_item = false;
        self.reading.sink.push(line, item.get().as_bytes()).map_err(|_| {
            self.reading.is_receiver_gone = true;
            de::Error::custom("stopped")
        })
    }
}

fn describe_json_error(error: &serde_json::Error, reading: &Reading<'_, '_>, envelope: &JsonEnvelope) -> FileError {
    if let Some(kind) = error.io_error_kind() {
        return FileError::Read(io::Error::from(kind));
    }
    let list = envelope.items.last().copied().unwrap_or("the list");
    let place = match (reading.is_inside_item, reading.sink.rows) {
        (true, 0) => format!("inside the first item of {list}"),
        (true, before) => format!("inside item {} of {list}", before + 1),
        (false, 0) => "before the first item".to_owned(),
        (false, before) => format!("behind item {before} of {list}"),
    };
    if error.is_eof() {
        return FileError::refused(format!("ends {place}; the file is cut off, export it again"));
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    if message == "invalid unicode code point" {
        let line = reading.line.get();
        return FileError::refused(format!("is not UTF-8 on line {line}, {place}; save as UTF-8"));
    }
    FileError::refused(format!("is not JSON: {message} on line {}, {place}", error.line()))
}

fn describe_missing_list(outside: &Value, envelope: &JsonEnvelope) -> FileError {
    let keys = ["message", "error", "errors", "error_code", "detail", "description", "type", "title", "status", "code"];
    if keys[..5].iter().any(|key| outside.get(key).is_some()) {
        let says = keys.iter().find_map(|key| outside.get(key)?.as_str()).unwrap_or_default();
        return FileError::refused(format!("is an error answer, not an export: {}", crate::import::cell::quote(says)));
    }
    let list = if envelope.items.is_empty() { "a list".to_owned() } else { format!("{:?}", envelope.items.join(".")) };
    FileError::refused(format!("has no {list}; is it the export of another product?"))
}

fn find_at_path<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    if path.is_empty() {
        return None;
    }
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}
