//! The bytes of version 1, as `tests/fixtures/journal.hex` has them: a change here is a new version of the format.

use crate::journal::{
    Frame, Mark,
    checkpoint::Checkpoint,
    frame::{self, Found, Stamp},
    ringfile::Static,
    segment::{Block, Head},
};

const DIRECTORY: u64 = 0x0123_4567_89ab_cdef;
const LANE: u16 = 3;

fn golden(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/journal.hex");
    let text = std::fs::read_to_string(path).unwrap();
    let of_name =
        text.lines().skip_while(|line| *line != format!("# {name}")).skip(1).take_while(|l| !l.starts_with('#'));
    let digits: String = of_name.flat_map(|line| line.split_whitespace()).collect();
    (0..digits.len() / 2).map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect()
}

#[track_caller]
fn same(name: &str, bytes: &[u8]) {
    let golden = golden(name);
    assert!(golden == bytes, "# {name}\n{}differs from\n{}", hex(bytes), hex(&golden));
}

#[test]
fn the_checksum_has_its_check_value() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_frame_and_a_pad_are_these_bytes() {
    let seed = frame::seed(DIRECTORY, LANE);
    let stamp = Stamp { pos: 4096, epoch: 1_900_000_000_000, stream: 1, seq: 7, next: [42, 8] };
    let mut bytes = vec![0xee; frame::total(5) as usize];
    frame::write(&mut bytes, seed, &stamp, b"click");
    same("frame", &bytes);
    let found = Frame {
        pos: 4096,
        next_pos: 4096 + 80,
        epoch: stamp.epoch,
        stream: 1,
        seq: 7,
        next: [42, 8],
        payload: b"click",
    };
    assert_eq!(frame::parse(&bytes, seed, |_| true), Found::Frame(found));
    let mut pad = [0xee; 32];
    frame::write_pad(&mut pad, seed, 4176);
    same("pad", &pad);
    assert_eq!(frame::parse(&pad, seed, |_| true), Found::Pad { pos: 4176, len: 32 });
    let other_lane = frame::seed(DIRECTORY, LANE + 1);
    assert_eq!(frame::parse(&bytes, other_lane, |_| true), Found::Bad);
    assert_eq!(frame::parse(&pad, other_lane, |_| true), Found::Bad);
}

#[test]
fn a_frame_of_a_newer_version_is_known_by_its_length() {
    let seed = frame::seed(DIRECTORY, LANE);
    let mut bytes = golden("frame");
    bytes[49] = frame::VERSION + 1;
    let crc = crc32c::crc32c_append(seed, &bytes[4..69]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(frame::parse(&bytes, seed, |_| true), Found::Newer { len: 80 });
}

#[test]
fn no_bit_of_a_frame_can_flip_unseen() {
    let seed = frame::seed(DIRECTORY, LANE);
    let bytes = golden("frame");
    for bit in 0..8 * (frame::HEADER + 5) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = frame::parse(&flipped, seed, |_| true);
        assert!(matches!(found, Found::Bad | Found::Short), "bit {bit}: {found:?}");
    }
}

#[test]
fn a_segment_and_its_block_begin_with_these_bytes() {
    let head = Head { version: 1, lane: LANE, directory: DIRECTORY, number: 9 };
    same("segment", &head.encode());
    assert_eq!(Head::decode(&head.encode()), Some(head));
    let seed = frame::seed(DIRECTORY, LANE);
    let block = Block { from: 4096, to: 8192, acked_below: 1024, epoch: 1_900_000_000_000, next: [42, 8] };
    same("block", &block.encode(seed));
    assert_eq!(Block::decode(&block.encode(seed), seed), Some(block));
}

#[test]
fn a_ring_begins_with_these_bytes() {
    let fixed = Static { lane: LANE, size: 64 << 20, directory: DIRECTORY, boot: *b"0123456789abcdef", epoch: 77 };
    same("ring", &fixed.encode());
    assert_eq!(Static::decode(&fixed.encode()), Some(fixed));
}

#[test]
fn a_checkpoint_is_these_bytes() {
    let mark = |next| Mark { epoch: 1_900_000_000_000, next };
    let checkpoint = Checkpoint {
        epoch: 1_900_000_000_000,
        next: [42, 8],
        acked: 4096,
        delivered: [mark(41), mark(7)],
        sink: *b"the sink's own note, of exactly sixty-four bytes, opaque to us..",
        clean: Some(8192),
    };
    let bytes = checkpoint.encode(DIRECTORY, LANE, 5);
    same("checkpoint", &bytes);
    assert_eq!(Checkpoint::decode(&bytes, DIRECTORY, LANE), Some((5, checkpoint)));
    assert_eq!(Checkpoint::decode(&bytes, DIRECTORY, LANE + 1), None);
}
