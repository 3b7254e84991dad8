//! The checkpoint record: which clicks of a topic an edge has committed
//! (`deploy/schemas/checkpoint.v1.schema.json`). Under exactly-once the edge commits it together with the clicks.
//!
//! ```text
//! key    the edge's name, a slash, and the topic: `clicks` or `clicks.orphan`, whatever its name on the broker
//! value  {"type":"checkpoint","schema_version":1,"edge":…,"topic":…,"process":…,"at_ms":…,
//!         "lanes":[{"directory":"0123456789abcdef","lane":0,
//!                   "upto":{"epoch":…,"next":…},"beyond":[{"epoch":…,"from":…,"to":…}]}]}
//! ```
//!
//! Every click below the watermark `upto` is committed, and the clicks in `beyond` above it: a refused click that waits
//! does not hold up the clicks behind it. A checkpoint also keeps the lanes of other data directories that delivered as
//! this edge, the [`MAX_FOREIGN_LANES`] youngest, because such a directory may come back with its disk.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{
    delivery::committed::{CommittedLanes, CommittedSet, LaneKey},
    events::statement::{SeqRange, Watermark},
    journal::SinkNote,
    model::click::Topic,
};

const RECORD_TYPE: &str = "checkpoint";
const SCHEMA_VERSION: u32 = 1;

/// The first bytes of the sink's note in the journal, version 1. The offset of the last checkpoint follows, and the
/// CRC-32C of the edge's name, because an edge of another name has other checkpoints.
const NOTE_MAGIC: &[u8; 8] = b"WPEXACT1";

/// Ranges of clicks above an undelivered one that a checkpoint can hold of a lane, 60 bytes each at most. The engine
/// sends nothing that would need more.
const MAX_RANGES_OF_LANE: usize = 1_000;
/// The same of all lanes together: 600 000 bytes, so that a checkpoint stays below 1 MB, the usual largest record.
const MAX_RANGES: usize = 10_000;
/// Lanes of other data directories in a checkpoint, 100 bytes each at most beside their ranges.
const MAX_FOREIGN_LANES: usize = 256;
/// The ranges of these lanes.
const MAX_FOREIGN_RANGES: usize = 2_000;

/// The committed clicks of an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The process that wrote the checkpoint: host/pid/start in ms.
    pub(super) process: String,
    pub(super) lanes: CommittedLanes,
}

/// The record's value.
#[derive(Serialize, Deserialize)]
struct CheckpointRecord {
    r#type: String,
    schema_version: u32,
    edge: String,
    topic: String,
    process: String,
    at_ms: u64,
    lanes: Vec<LaneRecord>,
}

#[derive(Serialize, Deserialize)]
struct LaneRecord {
    /// Sixteen hexadecimal digits: many readers would lose the last digits of a 64-bit number.
    directory: String,
    lane: u16,
    upto: Watermark,
    beyond: Vec<SeqRange>,
}

impl Checkpoint {
    /// Adds the youngest lanes of `earlier` that this checkpoint does not have: they belong to other data directories.
    pub(super) fn add_youngest_lanes_of_other_directories(&mut self, earlier: &CommittedLanes) {
        let mut foreign: Vec<_> = earlier.iter().filter(|(lane, _)| !self.lanes.contains_key(lane)).collect();
        foreign.sort_by_key(|(_, committed)| Reverse(committed.watermark.epoch));
        let mut ranges = 0;
        let youngest = foreign.into_iter().take(MAX_FOREIGN_LANES).take_while(|(_, committed)| {
            ranges += committed.above.len();
            ranges <= MAX_FOREIGN_RANGES
        });
        self.lanes.extend(youngest.map(|(lane, committed)| (*lane, committed.clone())));
    }

    /// Encodes the record's value.
    pub(super) fn encode(&self, edge: &str, topic: Topic, at_ms: u64) -> Vec<u8> {
        let lanes = self.lanes.iter().map(|(key, committed)| LaneRecord {
            directory: format!("{:016x}", key.directory),
            lane: key.lane,
            upto: committed.watermark.into(),
            beyond: committed.above.clone(),
        });
        let record = CheckpointRecord {
            r#type: RECORD_TYPE.to_owned(),
            schema_version: SCHEMA_VERSION,
            edge: edge.to_owned(),
            topic: topic.name().to_owned(),
            process: self.process.clone(),
            at_ms,
            lanes: lanes.collect(),
        };
        // Numbers and texts under text keys always encode.
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// Decodes a record's value.
    ///
    /// # Errors
    /// The value is no checkpoint, or of a version that this build cannot read.
    pub(super) fn decode(value: &[u8]) -> Result<Checkpoint, String> {
        let record: CheckpointRecord = serde_json::from_slice(value).map_err(|why| why.to_string())?;
        if record.r#type != RECORD_TYPE || record.schema_version != SCHEMA_VERSION {
            return Err(format!("a `{}` of version {}", record.r#type, record.schema_version));
        }
        let lanes = record.lanes.into_iter().map(|lane| {
            let directory =
                u64::from_str_radix(&lane.directory, 16).map_err(|_| format!("directory `{}`", lane.directory))?;
            let key = LaneKey { directory, lane: lane.lane };
            Ok((key, CommittedSet { watermark: lane.upto.into(), above: lane.beyond }))
        });
        Ok(Checkpoint { process: record.process, lanes: lanes.collect::<Result<CommittedLanes, String>>()? })
    }
}

/// The ranges above an undelivered click that a checkpoint of so many lanes can hold of each.
pub(super) fn max_ranges_of_each_lane(lanes: usize) -> usize {
    (MAX_RANGES / lanes.max(1)).clamp(1, MAX_RANGES_OF_LANE)
}

/// The key of the records with an edge's checkpoints of a topic.
pub(super) fn record_key(edge: &str, topic: Topic) -> String {
    format!("{edge}/{}", topic.name())
}

/// Encodes the sink's note in the journal: the offset of the last checkpoint.
pub(super) fn encode_checkpoint_offset_note(edge: &str, offset: i64) -> SinkNote {
    let mut note = [0; 64];
    note[..8].copy_from_slice(NOTE_MAGIC);
    note[8..16].copy_from_slice(&offset.to_le_bytes());
    note[16..20].copy_from_slice(&crc32c::crc32c(edge.as_bytes()).to_le_bytes());
    note
}

/// The offset in a note; `None` if the lane was not delivered exactly once as this edge when the note was stored.
pub(super) fn find_checkpoint_offset_in_note(edge: &str, note: &SinkNote) -> Option<i64> {
    let rest = note.strip_prefix(NOTE_MAGIC)?;
    let (offset, rest) = rest.split_first_chunk()?;
    rest.starts_with(&crc32c::crc32c(edge.as_bytes()).to_le_bytes()).then(|| i64::from_le_bytes(*offset))
}

/// For [`crate::fuzzing`]: a decoded checkpoint survives encoding.
#[cfg(any(test, fuzzing))]
pub fn assert_decoded_checkpoint_survives_encoding(value: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::decode(value) {
        assert_eq!(Checkpoint::decode(&checkpoint.encode("edge-1", Topic::Clicks, 5)), Ok(checkpoint));
    }
    if let Some(note) = value.first_chunk() {
        find_checkpoint_offset_in_note("edge-1", note);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::{Epoch, Seq, Watermark};

    fn committed_set() -> impl Strategy<Value = CommittedSet> {
        let range =
            (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(epoch, from, to)| SeqRange { epoch, from, to });
        (any::<u64>(), any::<u64>(), proptest::collection::vec(range, 0..4)).prop_map(|(epoch, next, above)| {
            let watermark = Watermark { epoch: Epoch::new(epoch), next: Seq::new(next) };
            CommittedSet { watermark, above }
        })
    }

    fn lane_key() -> impl Strategy<Value = LaneKey> {
        any::<(u64, u16)>().prop_map(|(directory, lane)| LaneKey { directory, lane })
    }

    proptest! {
        #[test]
        fn a_checkpoint_survives_encoding(
            process in ".{0,40}",
            lanes in proptest::collection::btree_map(lane_key(), committed_set(), 0..5),
        ) {
            let checkpoint = Checkpoint { process, lanes };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode("edge-1", Topic::Clicks, 5)), Ok(checkpoint));
        }

        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Checkpoint::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_checkpoint_of_many_lanes_with_the_most_ranges_fits_a_record_of_a_megabyte() {
        let epoch = 1_794_900_000_000;
        let range = |at: u64| SeqRange { epoch, from: 2 * at + 1_000_000_000, to: 2 * at + 1_000_000_001 };
        let set = |ranges: usize| CommittedSet {
            watermark: Watermark { epoch: Epoch::new(epoch), next: Seq::new(1_000_000_000) },
            above: (0..ranges as u64).map(range).collect(),
        };
        let lanes = |directory, count: u16, ranges| (0..count).map(move |lane| (LaneKey { directory, lane }, ranges));
        for count in [1, 10, 64, 1_000] {
            let own = lanes(u64::MAX, count, max_ranges_of_each_lane(usize::from(count)));
            let earlier = lanes(7, 300, 1_000).map(|(lane, ranges)| (lane, set(ranges))).collect();
            let mut checkpoint = Checkpoint {
                process: "host/4194304/1794900000000".to_owned(),
                lanes: own.map(|(lane, ranges)| (lane, set(ranges))).collect(),
            };
            checkpoint.add_youngest_lanes_of_other_directories(&earlier);
            let bytes = checkpoint.encode(&"e".repeat(64), Topic::Orphan, epoch).len();
            assert!(bytes < 1_000_000, "{count} lanes: {bytes} bytes");
        }
    }

    #[test]
    fn a_checkpoint_of_another_version_is_refused_and_named() {
        let text = String::from_utf8(Checkpoint::default().encode("edge-1", Topic::Clicks, 5)).unwrap();
        let newer = text.replace("\"schema_version\":1", "\"schema_version\":2");
        assert_eq!(Checkpoint::decode(newer.as_bytes()), Err("a `checkpoint` of version 2".to_owned()));
    }

    #[test]
    fn a_note_gives_its_offset_to_the_edge_that_wrote_it_alone() {
        assert_eq!(
            find_checkpoint_offset_in_note("edge-1", &encode_checkpoint_offset_note("edge-1", 1 << 40)),
            Some(1 << 40)
        );
        assert_eq!(find_checkpoint_offset_in_note("edge-2", &encode_checkpoint_offset_note("edge-1", 1 << 40)), None);
        assert_eq!(find_checkpoint_offset_in_note("edge-1", &[0; 64]), None);
    }
}
