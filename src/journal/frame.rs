//! Frames: one appended record each, with its checksum, position and sequence number. Pads fill the end of the ring.
//! The layout of both is specified in [`crate::journal`].

use crate::journal::{
    bytes::{put_bytes, put_u32_le, put_u64_le, u32_le_at, u64_le_at},
    units::{Epoch, LaneId, Position, Seq, Watermark},
};

/// Bytes before the payload of a frame.
pub(super) const HEADER: usize = PAYLOAD;
/// The position of every frame, pad and block is a multiple of this.
pub(super) const ALIGN: u64 = 16;
/// The largest frame with its header, in bytes, of a ring that is large enough; a smaller ring takes 1/64 of its size.
pub const MAX_FRAME: u64 = 64 << 10;
/// The version of frames that this build writes.
pub(super) const VERSION: u8 = 2;

const CRC: usize = 0;
const LEN: usize = CRC + 4;
const POSITION: usize = LEN + 4;
const EPOCH: usize = POSITION + 8;
const SEQ: usize = EPOCH + 8;
const FRAME_VERSION: usize = SEQ + 8;
const ZERO: usize = FRAME_VERSION + 1;
const PAYLOAD: usize = ZERO + 15;

/// The bit of the length that marks a pad; the other bits are the length of the whole pad.
const PAD: u32 = 1 << 31;
/// Bytes of a pad that carry data: checksum, length, position.
const PAD_HEADER: usize = EPOCH;

/// No lane reaches this number: at 1 GiB a second it takes 500 years. A frame with a larger position, epoch or number
/// is invalid, so that additions to these cannot overflow.
const LAST: u64 = u64::MAX - MAX_FRAME;

const _: () = assert!(HEADER == 48 && HEADER.is_multiple_of(ALIGN as usize) && PAD_HEADER == 16);

/// One record of a lane, as a reader gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where the frame begins in its lane.
    pub position: Position,
    /// Where the next frame may begin: the position to acknowledge once this frame and all before it are delivered.
    pub next_position: Position,
    /// The epoch in which the frame was appended.
    pub epoch: Epoch,
    /// The number in lane and epoch.
    pub seq: Seq,
    /// The bytes that were appended.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The watermark right before this frame.
    pub(super) fn watermark_before(&self) -> Watermark {
        Watermark { epoch: self.epoch, next: self.seq }
    }

    /// The watermark right behind this frame.
    pub(super) fn watermark_after(&self) -> Watermark {
        Watermark::after(self.epoch, self.seq)
    }

    /// Bytes of the whole frame.
    pub(super) fn whole_len(&self) -> u64 {
        self.next_position - self.position
    }
}

/// What [`parse_and_verify_frame_or_pad`] finds at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParsedItem<'a> {
    Frame(Frame<'a>),
    Pad {
        position: Position,
        len: u64,
    },
    /// A whole frame with a good checksum, of a version that this build does not read.
    OtherVersion {
        position: Position,
        len: u64,
    },
    /// More bytes are needed to tell.
    Incomplete,
    Invalid,
}

/// The start value of a frame's checksum, which ties the frame to its directory and lane.
pub(super) fn checksum_seed(lane_id: LaneId) -> u32 {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&lane_id.directory_id.to_le_bytes());
    bytes[8..].copy_from_slice(&lane_id.lane.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// Bytes of a whole frame with a payload of `payload_len`.
pub(super) const fn frame_len(payload_len: usize) -> u64 {
    (HEADER as u64 + payload_len as u64).next_multiple_of(ALIGN)
}

/// What a frame's header says beside the length and the checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHeader {
    pub(super) position: Position,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// Writes a whole frame into `slot`, which is exactly [`frame_len`] long.
pub(super) fn write_frame(slot: &mut [u8], checksum_seed: u32, header: &FrameHeader, payload: &[u8]) {
    let end = HEADER + payload.len();
    debug_assert_eq!(slot.len() as u64, frame_len(payload.len()));
    put_u32_le(slot, LEN, payload.len() as u32);
    put_u64_le(slot, POSITION, header.position.get());
    put_u64_le(slot, EPOCH, header.epoch.get());
    put_u64_le(slot, SEQ, header.seq.get());
    slot[FRAME_VERSION] = VERSION;
    slot[ZERO..PAYLOAD].fill(0);
    put_bytes(slot, PAYLOAD, payload);
    slot[end..].fill(0);
    let crc = crc32c::crc32c_append(checksum_seed, &slot[LEN..end]);
    put_u32_le(slot, CRC, crc);
}

/// Writes a pad over the whole of `slot`, which is at least 16 bytes long.
pub(super) fn fill_slot_with_pad(slot: &mut [u8], checksum_seed: u32, position: Position) {
    put_u32_le(slot, LEN, PAD | slot.len() as u32);
    put_u64_le(slot, POSITION, position.get());
    slot[PAD_HEADER..].fill(0);
    let crc = crc32c::crc32c_append(checksum_seed, &slot[LEN..PAD_HEADER]);
    put_u32_le(slot, CRC, crc);
}

/// Parses the frame or pad at the beginning of `bytes` and verifies its checksum.
///
/// `is_plausible` sees the position before the checksum is computed: a search through garbage must not pay for a
/// checksum at every step.
pub(super) fn parse_and_verify_frame_or_pad(
    bytes: &[u8],
    checksum_seed: u32,
    is_plausible: impl Fn(Position) -> bool,
) -> ParsedItem<'_> {
    if bytes.len() < PAD_HEADER {
        return ParsedItem::Incomplete;
    }
    let len = u32_le_at(bytes, LEN);
    let position = Position::new(u64_le_at(bytes, POSITION));
    if !position.is_multiple_of(ALIGN) || position.get() > LAST || !is_plausible(position) {
        return ParsedItem::Invalid;
    }
    if len & PAD != 0 {
        return parse_and_verify_pad(bytes, checksum_seed, position, u64::from(len & !PAD));
    }
    let end = HEADER as u64 + u64::from(len);
    let whole_len = end.next_multiple_of(ALIGN);
    if whole_len > MAX_FRAME {
        return ParsedItem::Invalid;
    }
    if (bytes.len() as u64) < whole_len {
        return ParsedItem::Incomplete;
    }
    if crc32c::crc32c_append(checksum_seed, &bytes[LEN..end as usize]) != u32_le_at(bytes, CRC) {
        return ParsedItem::Invalid;
    }
    if bytes[FRAME_VERSION] != VERSION {
        return ParsedItem::OtherVersion { position, len: whole_len };
    }
    if u64_le_at(bytes, EPOCH) > LAST || u64_le_at(bytes, SEQ) > LAST {
        return ParsedItem::Invalid;
    }
    ParsedItem::Frame(decode_verified_frame(bytes))
}

/// Decodes the frame at the beginning of `bytes`, which [`parse_and_verify_frame_or_pad`] has verified before.
pub(super) fn decode_verified_frame(bytes: &[u8]) -> Frame<'_> {
    let payload_len = u32_le_at(bytes, LEN) as usize;
    let position = Position::new(u64_le_at(bytes, POSITION));
    Frame {
        position,
        next_position: position + frame_len(payload_len),
        epoch: Epoch::new(u64_le_at(bytes, EPOCH)),
        seq: Seq::new(u64_le_at(bytes, SEQ)),
        payload: &bytes[PAYLOAD..HEADER + payload_len],
    }
}

fn parse_and_verify_pad(bytes: &[u8], checksum_seed: u32, position: Position, len: u64) -> ParsedItem<'_> {
    let is_valid = len >= PAD_HEADER as u64
        && len.is_multiple_of(ALIGN)
        && len < MAX_FRAME
        && crc32c::crc32c_append(checksum_seed, &bytes[LEN..PAD_HEADER]) == u32_le_at(bytes, CRC);
    match is_valid {
        true if bytes.len() as u64 >= len => ParsedItem::Pad { position, len },
        true => ParsedItem::Incomplete,
        false => ParsedItem::Invalid,
    }
}

/// For [`crate::fuzzing`]: parses all frames in `data` as recovery does, first as they are, then with a correct first
/// checksum.
#[cfg(any(test, fuzzing))]
pub fn fuzz_frame_parsing_raw_and_resealed(data: &[u8]) {
    const SEED: u32 = 7;
    assert_parsed_frames_survive_rewriting(data, SEED);
    let mut sealed = data.to_vec();
    if sealed.len() >= HEADER {
        let len = u32_le_at(&sealed, LEN);
        let end = if len & PAD == 0 { HEADER + len as usize } else { PAD_HEADER };
        if let Some(covered) = sealed.get(LEN..end) {
            let crc = crc32c::crc32c_append(SEED, covered);
            put_u32_le(&mut sealed, CRC, crc);
        }
    }
    assert_parsed_frames_survive_rewriting(&sealed, SEED);
}

#[cfg(any(test, fuzzing))]
fn assert_parsed_frames_survive_rewriting(mut bytes: &[u8], checksum_seed: u32) {
    loop {
        let len = match parse_and_verify_frame_or_pad(bytes, checksum_seed, |_| true) {
            ParsedItem::Frame(frame) => {
                let len = frame_len(frame.payload.len());
                assert_eq!(frame.next_position, frame.position + len);
                let mut rewritten = vec![0; len as usize];
                let header = FrameHeader { position: frame.position, epoch: frame.epoch, seq: frame.seq };
                write_frame(&mut rewritten, checksum_seed, &header, frame.payload);
                assert_eq!(
                    parse_and_verify_frame_or_pad(&rewritten, checksum_seed, |_| true),
                    ParsedItem::Frame(frame),
                    "rewritten frame differs"
                );
                len
            }
            ParsedItem::Pad { len, .. } | ParsedItem::OtherVersion { len, .. } => len,
            ParsedItem::Incomplete | ParsedItem::Invalid => return,
        };
        assert!(
            len >= PAD_HEADER as u64 && len <= bytes.len() as u64,
            "an item is not empty and ends inside the bytes"
        );
        bytes = &bytes[len as usize..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_lane_reaches_make_a_frame_invalid_and_the_last_ones_do_not() {
        let is_frame = |position, epoch, seq| {
            let (position, epoch, seq) = (Position::new(position), Epoch::new(epoch), Seq::new(seq));
            let mut bytes = [0; HEADER];
            write_frame(&mut bytes, 7, &FrameHeader { position, epoch, seq }, b"");
            matches!(parse_and_verify_frame_or_pad(&bytes, 7, |_| true), ParsedItem::Frame(_))
        };
        let last = LAST / ALIGN * ALIGN;
        assert!(is_frame(last, LAST, LAST));
        assert!(!is_frame(last + ALIGN, 1, 1) && !is_frame(0, LAST + 1, 1) && !is_frame(0, 1, u64::MAX));
        let mut pad = [0; 32];
        fill_slot_with_pad(&mut pad, 7, Position::new(last + ALIGN));
        assert_eq!(parse_and_verify_frame_or_pad(&pad, 7, |_| true), ParsedItem::Invalid);
    }
}
