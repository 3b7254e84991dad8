//! What the readers of files and of topics have in common: a record, its location, and which records are read.

use std::path::Path;

use anyhow::Result;
use rdkafka::message::BorrowedMessage;

/// The value of a record and its location.
#[derive(Clone, Copy)]
pub(in crate::cli) struct EventRecord<'a> {
    /// The event as JSON, also of a record whose value is Protobuf.
    pub(in crate::cli) value: &'a [u8],
    pub(in crate::cli) location: RecordLocation<'a>,
    /// The record's Kafka timestamp, milliseconds since the Unix epoch.
    pub(in crate::cli) written_ms: Option<u64>,
    /// When the edge sent the record, by its header `wp_shipped_at_ms`, milliseconds since the Unix epoch. A line of a
    /// file has none.
    pub(in crate::cli) shipped_ms: Option<u64>,
    /// The record as it is on its topic, with key and headers. A line of a file has none.
    pub(in crate::cli) message: Option<&'a BorrowedMessage<'a>>,
}

/// The location of a record.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum RecordLocation<'a> {
    /// A line of a click file. Lines count from 1; with [`ReadRange::Latest`] they count from the first line read.
    File { path: &'a Path, line: u64 },
    /// A record of a topic.
    Kafka { topic: &'a str, partition: i32, offset: i64 },
}

/// How far reading is.
#[derive(Clone, Copy)]
pub(in crate::cli) enum ReadProgress<'a> {
    /// The next record.
    Record(EventRecord<'a>),
    /// Every record that existed when reading began was visited. Comes once.
    CaughtUp,
}

/// Receives the records.
pub(in crate::cli) type ReadProgressVisitor<'a> = &'a mut dyn FnMut(ReadProgress<'_>) -> Result<()>;

/// Which records are read.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum ReadRange {
    /// Every record.
    All,
    /// Records written at this time or later, milliseconds since the Unix epoch. Some earlier records can be among
    /// them.
    Since(u64),
    /// The latest `count` records of each topic; with `follow`, then new records without end.
    Latest { count: usize, follow: bool },
}
