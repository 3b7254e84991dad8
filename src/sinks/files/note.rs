//! The file sink's note in the journal: the position in the topic's files up to which every line is synced.
//!
//! ```text
//! 0   "WPFILES1"
//! 8   file number u64, offset u64       little-endian; the rest is zero
//! ```

use crate::journal::SinkNote;

/// The first bytes of a note, version 1. A note of another sink reads as the beginning of the first file.
const MAGIC: &[u8; 8] = b"WPFILES1";
const NUMBER: usize = MAGIC.len();
const OFFSET: usize = NUMBER + 8;

/// A position in a topic's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilePosition {
    /// The number of the file.
    pub(super) number: u64,
    /// The byte in the file.
    pub(super) offset: u64,
}

impl FilePosition {
    /// Reads the position from a note.
    pub(super) fn from_note_or_default(note: &SinkNote) -> FilePosition {
        if !note.starts_with(MAGIC) {
            return FilePosition::default();
        }
        let read_u64 = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&note[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        FilePosition { number: read_u64(NUMBER), offset: read_u64(OFFSET) }
    }

    /// The note with this position.
    pub(super) fn to_note(self) -> SinkNote {
        let mut note = [0; 64];
        note[..NUMBER].copy_from_slice(MAGIC);
        note[NUMBER..OFFSET].copy_from_slice(&self.number.to_le_bytes());
        note[OFFSET..OFFSET + 8].copy_from_slice(&self.offset.to_le_bytes());
        note
    }
}
