//! The headers of a segment file and of the blocks in it, as specified in [`crate::journal`].

use crate::journal::{
    bytes::{
        put_bytes, put_u16_le, put_u32_le, put_u64_le, put_watermark, u16_le_at, u32_le_at, u64_le_at, watermark_at,
    },
    frame::checksum_seed,
    units::{LaneId, Position, Watermark},
};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 64;
/// Bytes of a block's header.
pub(super) const BLOCK_HEADER: usize = 64;
/// The version of segments that this build writes.
pub(super) const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"WPSEGMT\n";
const SEGMENT_VERSION: usize = MAGIC.len();
const DIRECTORY: usize = SEGMENT_VERSION + 8;
const NUMBER: usize = DIRECTORY + 8;
const ZERO: usize = NUMBER + 8;
const CRC: usize = SEGMENT_HEADER - 4;
const _: () = assert!(ZERO + 28 == CRC);

const BLOCK_MAGIC: [u8; 4] = *b"BLCK";
const BLOCK_CRC: usize = 0;
const BLOCK_MARK: usize = BLOCK_CRC + 4;
const FROM: usize = BLOCK_MARK + 4;
const TO: usize = FROM + 8;
const ACKED_BELOW: usize = TO + 8;
const WATERMARK: usize = ACKED_BELOW + 8;
const LANE: usize = WATERMARK + 16;
const _: () = assert!(LANE + 16 == BLOCK_HEADER);

/// The first 64 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    pub(super) directory_id: u64,
    pub(super) number: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        put_bytes(&mut bytes, 0, &MAGIC);
        put_u32_le(&mut bytes, SEGMENT_VERSION, self.version);
        put_u64_le(&mut bytes, DIRECTORY, self.directory_id);
        put_u64_le(&mut bytes, NUMBER, self.number);
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put_u32_le(&mut bytes, CRC, crc);
        bytes
    }

    /// `None`: the bytes are not the beginning of a segment, or damaged.
    pub(super) fn decode_if_valid(bytes: &[u8; SEGMENT_HEADER]) -> Option<SegmentHeader> {
        let is_valid = bytes[..MAGIC.len()] == MAGIC && u32_le_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC]);
        is_valid.then(|| SegmentHeader {
            version: u32_le_at(bytes, SEGMENT_VERSION),
            directory_id: u64_le_at(bytes, DIRECTORY),
            number: u64_le_at(bytes, NUMBER),
        })
    }
}

/// The header of a block: frames of one lane follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) lane: u16,
    pub(super) from: Position,
    pub(super) to: Position,
    /// Everything below was delivered when the block was written.
    pub(super) acked_below: Position,
    /// The epoch of the last frame before `to`, and the next number after it.
    pub(super) watermark_at_to: Watermark,
}

impl BlockHeader {
    /// `checksum_seed`: of the block's lane.
    pub(super) fn encode(&self, checksum_seed: u32) -> [u8; BLOCK_HEADER] {
        let mut bytes = [0; BLOCK_HEADER];
        put_bytes(&mut bytes, BLOCK_MARK, &BLOCK_MAGIC);
        put_u64_le(&mut bytes, FROM, self.from.get());
        put_u64_le(&mut bytes, TO, self.to.get());
        put_u64_le(&mut bytes, ACKED_BELOW, self.acked_below.get());
        put_watermark(&mut bytes, WATERMARK, self.watermark_at_to);
        put_u16_le(&mut bytes, LANE, self.lane);
        let crc = crc32c::crc32c_append(checksum_seed, &bytes[BLOCK_MARK..]);
        put_u32_le(&mut bytes, BLOCK_CRC, crc);
        bytes
    }

    /// The block of any lane of the directory. `None`: the bytes are not the beginning of a block, or damaged.
    pub(super) fn decode_if_valid(bytes: &[u8], directory_id: u64) -> Option<BlockHeader> {
        let bytes = bytes.get(..BLOCK_HEADER).filter(|bytes| bytes[BLOCK_MARK..FROM] == BLOCK_MAGIC)?;
        let lane = u16_le_at(bytes, LANE);
        let checksum_seed = checksum_seed(LaneId { directory_id, lane });
        let is_valid = u32_le_at(bytes, BLOCK_CRC) == crc32c::crc32c_append(checksum_seed, &bytes[BLOCK_MARK..]);
        let header = BlockHeader {
            lane,
            from: Position::new(u64_le_at(bytes, FROM)),
            to: Position::new(u64_le_at(bytes, TO)),
            acked_below: Position::new(u64_le_at(bytes, ACKED_BELOW)),
            watermark_at_to: watermark_at(bytes, WATERMARK),
        };
        (is_valid && header.from <= header.to).then_some(header)
    }

    /// Bytes of the header and of the frames that follow.
    pub(super) fn whole_len(&self) -> u64 {
        BLOCK_HEADER as u64 + (self.to - self.from)
    }
}
