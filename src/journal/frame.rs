//! A frame: what the worker appends. The layout is specified in [`crate::journal`].

use crate::journal::STREAMS;

/// Bytes before the payload.
pub(super) const HEADER: usize = PAYLOAD;
/// Every frame, pad and block begins at a multiple of this.
pub(super) const ALIGN: u64 = 16;
/// The largest frame, bytes with its header, of a ring that is large enough; a smaller ring takes 1/64 of its size.
pub const MAX_FRAME: u64 = 64 << 10;
/// The version this build writes; a newer one is quarantined.
pub(super) const VERSION: u8 = 1;

const CRC: usize = 0;
const LEN: usize = CRC + 4;
const POS: usize = LEN + 4;
const EPOCH: usize = POS + 8;
const SEQ: usize = EPOCH + 8;
const NEXT: usize = SEQ + 8;
const STREAM: usize = NEXT + 8 * STREAMS;
const FRAME_VERSION: usize = STREAM + 1;
const ZERO: usize = FRAME_VERSION + 1;
const PAYLOAD: usize = ZERO + 14;

/// In `len`: this is a pad, and the rest is its whole length.
const PAD: u32 = 1 << 31;
/// A pad's own bytes: checksum, length, position.
const PAD_HEADER: usize = EPOCH;

/// No lane gets this far (at 1 GiB a second, in 500 years): what says that it did is no frame, and whoever adds to a position, an
/// epoch or a number need not fear an overflow.
const LAST: u64 = u64::MAX - MAX_FRAME;

const _: () = assert!(HEADER == 64 && HEADER.is_multiple_of(ALIGN as usize) && PAD_HEADER == 16);

/// One record of a lane as a reader gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it begins in its lane; never used again.
    pub pos: u64,
    /// Where the next one may begin: what to acknowledge once this one and all before it are delivered.
    pub next_pos: u64,
    /// The opening of the lane in which it was appended.
    pub epoch: u64,
    /// Its stream, below [`STREAMS`].
    pub stream: u8,
    /// Its number in lane, epoch and stream, gapless from 0.
    pub seq: u64,
    /// The next number of each stream in this epoch, after this frame.
    pub next: [u64; STREAMS],
    /// What was appended.
    pub payload: &'a [u8],
}

/// What lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Frame(Frame<'a>),
    /// Fills the ring up to its end.
    Pad {
        pos: u64,
        len: u64,
    },
    /// A whole frame of a version this build does not read.
    Newer {
        len: u64,
    },
    /// It would go on behind the given bytes.
    Short,
    Bad,
}

/// The part of the checksum that ties a frame to its directory and lane.
pub(super) fn seed(directory: u64, lane: u16) -> u32 {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&directory.to_le_bytes());
    bytes[8..].copy_from_slice(&lane.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// The room a payload takes.
pub(super) const fn total(payload: usize) -> u64 {
    (HEADER as u64 + payload as u64).next_multiple_of(ALIGN)
}

/// Who and where a new frame is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) pos: u64,
    pub(super) epoch: u64,
    pub(super) stream: u8,
    pub(super) seq: u64,
    pub(super) next: [u64; STREAMS],
}

/// Writes a whole frame; `slot` is exactly [`total`] long.
pub(super) fn write(slot: &mut [u8], seed: u32, stamp: &Stamp, payload: &[u8]) {
    let end = HEADER + payload.len();
    debug_assert_eq!(slot.len() as u64, total(payload.len()));
    put(slot, LEN, &(payload.len() as u32).to_le_bytes());
    put(slot, POS, &stamp.pos.to_le_bytes());
    put(slot, EPOCH, &stamp.epoch.to_le_bytes());
    put(slot, SEQ, &stamp.seq.to_le_bytes());
    for (stream, next) in stamp.next.iter().enumerate() {
        put(slot, NEXT + 8 * stream, &next.to_le_bytes());
    }
    slot[STREAM] = stamp.stream;
    slot[FRAME_VERSION] = VERSION;
    slot[ZERO..PAYLOAD].fill(0);
    put(slot, PAYLOAD, payload);
    slot[end..].fill(0);
    let crc = crc32c::crc32c_append(seed, &slot[LEN..end]);
    put(slot, CRC, &crc.to_le_bytes());
}

/// Writes a pad over the whole `slot`, at least 16 bytes.
pub(super) fn write_pad(slot: &mut [u8], seed: u32, pos: u64) {
    put(slot, LEN, &(PAD | slot.len() as u32).to_le_bytes());
    put(slot, POS, &pos.to_le_bytes());
    slot[PAD_HEADER..].fill(0);
    let crc = crc32c::crc32c_append(seed, &slot[LEN..PAD_HEADER]);
    put(slot, CRC, &crc.to_le_bytes());
}

/// What lies at the beginning of `bytes`, checksum verified.
///
/// `plausible` looks at the position first: a search through garbage must not pay for a checksum at every step.
pub(super) fn parse(bytes: &[u8], seed: u32, plausible: impl Fn(u64) -> bool) -> Found<'_> {
    if bytes.len() < PAD_HEADER {
        return Found::Short;
    }
    let len = u32_at(bytes, LEN);
    let pos = u64_at(bytes, POS);
    if !pos.is_multiple_of(ALIGN) || pos > LAST || !plausible(pos) {
        return Found::Bad;
    }
    if len & PAD != 0 {
        return parse_pad(bytes, seed, u64::from(len & !PAD));
    }
    let end = HEADER as u64 + u64::from(len);
    let whole = end.next_multiple_of(ALIGN);
    if whole > MAX_FRAME {
        return Found::Bad;
    }
    if (bytes.len() as u64) < whole {
        return Found::Short;
    }
    let end = end as usize;
    if crc32c::crc32c_append(seed, &bytes[LEN..end]) != u32_at(bytes, CRC) {
        return Found::Bad;
    }
    if bytes[FRAME_VERSION] != VERSION || usize::from(bytes[STREAM]) >= STREAMS {
        return Found::Newer { len: whole };
    }
    if u64_at(bytes, EPOCH) > LAST || u64_at(bytes, SEQ) > LAST {
        return Found::Bad;
    }
    Found::Frame(decode(&bytes[..end], pos + whole))
}

/// A frame that [`parse`] found good; no second checksum.
pub(super) fn decode(bytes: &[u8], next_pos: u64) -> Frame<'_> {
    Frame {
        pos: u64_at(bytes, POS),
        next_pos,
        epoch: u64_at(bytes, EPOCH),
        stream: bytes[STREAM],
        seq: u64_at(bytes, SEQ),
        next: std::array::from_fn(|stream| u64_at(bytes, NEXT + 8 * stream)),
        payload: &bytes[PAYLOAD..],
    }
}

/// Of a good frame: where its payload ends, and the room it takes.
pub(super) fn lengths(bytes: &[u8]) -> (usize, u64) {
    let len = u32_at(bytes, LEN) as usize;
    (HEADER + len, total(len))
}

/// Of a good frame: its position.
pub(super) fn position(bytes: &[u8]) -> u64 {
    u64_at(bytes, POS)
}

fn parse_pad(bytes: &[u8], seed: u32, len: u64) -> Found<'_> {
    let sound = len >= PAD_HEADER as u64
        && len.is_multiple_of(ALIGN)
        && len < MAX_FRAME
        && crc32c::crc32c_append(seed, &bytes[LEN..PAD_HEADER]) == u32_at(bytes, CRC);
    match sound {
        true if bytes.len() as u64 >= len => Found::Pad { pos: u64_at(bytes, POS), len },
        true => Found::Short,
        false => Found::Bad,
    }
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// For [`crate::fuzzing`]: walks over `data` as recovery does, as it is and with its first checksum made right.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    const SEED: u32 = 7;
    walk(data, SEED);
    let mut sealed = data.to_vec();
    if sealed.len() >= HEADER {
        let len = u32_at(&sealed, LEN);
        let end = if len & PAD == 0 { HEADER + len as usize } else { PAD_HEADER };
        if let Some(covered) = sealed.get(LEN..end) {
            let crc = crc32c::crc32c_append(SEED, covered);
            put(&mut sealed, CRC, &crc.to_le_bytes());
        }
    }
    walk(&sealed, SEED);
}

#[cfg(any(test, fuzzing))]
fn walk(mut bytes: &[u8], seed: u32) {
    loop {
        let len = match parse(bytes, seed, |_| true) {
            Found::Frame(frame) => {
                let len = total(frame.payload.len());
                assert_eq!(frame.next_pos, frame.pos + len);
                let Frame { pos, epoch, stream, seq, next, .. } = frame;
                let mut again = vec![0; len as usize];
                write(&mut again, seed, &Stamp { pos, epoch, stream, seq, next }, frame.payload);
                assert_eq!(parse(&again, seed, |_| true), Found::Frame(frame), "written again it is the same");
                len
            }
            Found::Pad { len, .. } | Found::Newer { len } => len,
            Found::Short | Found::Bad => return,
        };
        assert!(len >= PAD_HEADER as u64 && len <= bytes.len() as u64, "it goes on, and stays inside");
        bytes = &bytes[len as usize..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_no_lane_gets_to_is_none_and_the_last_one_is() {
        let found = |pos, epoch, seq| {
            let mut bytes = [0; HEADER];
            write(&mut bytes, 7, &Stamp { pos, epoch, stream: 0, seq, next: [0; STREAMS] }, b"");
            matches!(parse(&bytes, 7, |_| true), Found::Frame(_))
        };
        let last = LAST / ALIGN * ALIGN;
        assert!(found(last, LAST, LAST));
        assert!(!found(last + ALIGN, 1, 1) && !found(0, LAST + 1, 1) && !found(0, 1, u64::MAX));
        let mut pad = [0; 32];
        write_pad(&mut pad, 7, last + ALIGN);
        assert_eq!(parse(&pad, 7, |_| true), Found::Bad);
    }
}
