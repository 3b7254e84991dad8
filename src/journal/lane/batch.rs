//! Some frames of a lane in a buffer of their own.

use crate::journal::{
    frame::{Frame, MAX_FRAME, decode_verified_frame},
    units::Position,
};

/// The largest size of a batch, bytes. At least two of the largest frames, so that each read makes progress.
pub const MAX_BATCH_BYTES: usize = 256 << 10;
const _: () = assert!(MAX_BATCH_BYTES as u64 >= 2 * MAX_FRAME);

/// Some frames of a lane, in order.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` each frame begins. Each of them is verified.
    pub(super) offsets: Vec<u32>,
    pub(super) next_position: Position,
}

impl Batch {
    /// The frames, with verified checksums, in the order of their positions.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.offsets.iter().map(|offset| decode_verified_frame(&self.bytes[*offset as usize..]))
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The position at which the next read continues. It can lie behind pads and damage even if the batch has no frame.
    pub fn next_position(&self) -> Position {
        self.next_position
    }
}
