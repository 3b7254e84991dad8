//! How far an edge is, as it commits it with its clicks (`deploy/schemas/checkpoint.v1.schema.json`).
//!
//! ```text
//! key    the edge's name
//! value  {"type":"checkpoint","schema_version":1,"edge":…,"process":…,"at_ms":…,
//!         "lanes":[{"directory":"0123456789abcdef","lane":0,
//!                   "clicks":{"upto":{"epoch":…,"next":…},"beyond":[{"epoch":…,"from":…,"to":…}]},"orphan":{…}}]}
//! ```
//!
//! Lanes of other data directories that shipped as this edge are carried along, the [`OTHERS`] youngest: their clicks may come
//! back with a disk. Every click before `upto` is committed, and those of `beyond`: a click that is refused and waits holds up none behind it.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{
    journal::{Mark, SinkNote},
    shipper::upto::{Lanes, Stretch, Upto},
};

const TYPE: &str = "checkpoint";
const VERSION: u32 = 1;

/// The first bytes of the journal's note under exactly-once, version 1; the offset of the last checkpoint follows, and the
/// CRC-32C of the edge's name: under another name other checkpoints count.
const NOTE: &[u8; 8] = b"WPEXACT1";

/// Lanes of other directories in a checkpoint, so that it stays far below the largest record.
const OTHERS: usize = 256;

/// Adds to `lanes` those of `others` that are not among them.
pub(super) fn carry_along(lanes: &mut Lanes, others: &Lanes) {
    let mut others: Vec<_> = others.iter().filter(|(lane, _)| !lanes.contains_key(lane)).collect();
    others.sort_by_key(|(_, upto)| Reverse(upto.iter().map(|upto| upto.mark.epoch).max()));
    lanes.extend(others.into_iter().take(OTHERS).map(|(lane, upto)| (*lane, upto.clone())));
}

/// A checkpoint record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Which process wrote it.
    pub(super) process: String,
    pub(super) lanes: Lanes,
}

#[derive(Serialize, Deserialize)]
struct Record {
    r#type: String,
    schema_version: u32,
    edge: String,
    process: String,
    at_ms: u64,
    lanes: Vec<Lane>,
}

#[derive(Serialize, Deserialize)]
struct Lane {
    /// Sixteen digits: a number of 64 bits would lose its last ones in many readers.
    directory: String,
    lane: u16,
    clicks: Topic,
    orphan: Topic,
}

#[derive(Serialize, Deserialize)]
struct Topic {
    upto: Next,
    beyond: Vec<Stretch>,
}

#[derive(Serialize, Deserialize)]
struct Next {
    epoch: u64,
    next: u64,
}

impl Topic {
    fn of(upto: &Upto) -> Topic {
        let Mark { epoch, next } = upto.mark;
        Topic { upto: Next { epoch, next }, beyond: upto.beyond.clone() }
    }

    fn upto(self) -> Upto {
        let Next { epoch, next } = self.upto;
        Upto { mark: Mark { epoch, next }, beyond: self.beyond }
    }
}

impl Checkpoint {
    /// The record's value.
    pub(super) fn encode(&self, edge: &str, at_ms: u64) -> Vec<u8> {
        let lane = |((directory, lane), [clicks, orphan]): (&(u64, u16), &[Upto; 2])| Lane {
            directory: format!("{directory:016x}"),
            lane: *lane,
            clicks: Topic::of(clicks),
            orphan: Topic::of(orphan),
        };
        let record = Record {
            r#type: TYPE.to_owned(),
            schema_version: VERSION,
            edge: edge.to_owned(),
            process: self.process.clone(),
            at_ms,
            lanes: self.lanes.iter().map(lane).collect(),
        };
        // Numbers and text under text keys: nothing that JSON could not say.
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// Reads what [`Checkpoint::encode`] made.
    ///
    /// # Errors
    /// It is not one, or of a version that this build does not read: what is wrong.
    pub(super) fn decode(value: &[u8]) -> Result<Checkpoint, String> {
        let record: Record = serde_json::from_slice(value).map_err(|why| why.to_string())?;
        if record.r#type != TYPE || record.schema_version != VERSION {
            return Err(format!("a `{}` of version {}", record.r#type, record.schema_version));
        }
        let lanes = record.lanes.into_iter().map(|lane| {
            let directory =
                u64::from_str_radix(&lane.directory, 16).map_err(|_| format!("directory `{}`", lane.directory))?;
            Ok(((directory, lane.lane), [lane.clicks.upto(), lane.orphan.upto()]))
        });
        Ok(Checkpoint { process: record.process, lanes: lanes.collect::<Result<Lanes, String>>()? })
    }
}

/// The journal's note of where the last checkpoint lies.
pub(super) fn note(edge: &str, offset: i64) -> SinkNote {
    let mut note = [0; 64];
    note[..8].copy_from_slice(NOTE);
    note[8..16].copy_from_slice(&offset.to_le_bytes());
    note[16..20].copy_from_slice(&crc32c::crc32c(edge.as_bytes()).to_le_bytes());
    note
}

/// The offset, if the lane was shipped exactly once as this edge when the note was taken.
pub(in crate::shipper) fn noted(edge: &str, note: &SinkNote) -> Option<i64> {
    let rest = note.strip_prefix(NOTE)?;
    let (offset, rest) = rest.split_first_chunk()?;
    rest.starts_with(&crc32c::crc32c(edge.as_bytes()).to_le_bytes()).then(|| i64::from_le_bytes(*offset))
}

/// For [`crate::fuzzing`]: what is read is read again as it was.
#[cfg(any(test, fuzzing))]
pub fn fuzz(value: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::decode(value) {
        assert_eq!(Checkpoint::decode(&checkpoint.encode("edge-1", 5)), Ok(checkpoint));
    }
    if let Some(note) = value.first_chunk() {
        noted("edge-1", note);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upto() -> impl Strategy<Value = Upto> {
        let stretch =
            (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(epoch, from, to)| Stretch { epoch, from, to });
        (any::<u64>(), any::<u64>(), proptest::collection::vec(stretch, 0..4))
            .prop_map(|(epoch, next, beyond)| Upto { mark: Mark { epoch, next }, beyond })
    }

    proptest! {
        #[test]
        fn a_checkpoint_survives_being_a_record(
            process in ".{0,40}",
            lanes in proptest::collection::btree_map(any::<(u64, u16)>(), [upto(), upto()], 0..5),
        ) {
            let checkpoint = Checkpoint { process, lanes };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode("edge-1", 5)), Ok(checkpoint));
        }

        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Checkpoint::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_checkpoint_of_another_version_is_refused_and_named() {
        let text = String::from_utf8(Checkpoint::default().encode("edge-1", 5)).unwrap();
        let newer = text.replace("\"schema_version\":1", "\"schema_version\":2");
        assert_eq!(Checkpoint::decode(newer.as_bytes()), Err("a `checkpoint` of version 2".to_owned()));
    }

    #[test]
    fn a_note_says_where_the_checkpoint_lies_to_the_edge_that_wrote_it_alone() {
        assert_eq!(noted("edge-1", &note("edge-1", 1 << 40)), Some(1 << 40));
        assert_eq!(noted("edge-2", &note("edge-1", 1 << 40)), None);
        assert_eq!(noted("edge-1", &[0; 64]), None);
    }
}
