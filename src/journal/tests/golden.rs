//! The bytes of version 2, as `tests/fixtures/journal.hex` has them: a change here is a new version of the format.

use crate::journal::{
    Epoch, Frame, Position, Seq, Watermark,
    checkpoint::{Checkpoint, StoredCheckpoint},
    frame::{self, FrameHeader, ParsedItem},
    ring_file::RingHeader,
    segment::{self, BlockHeader, SegmentHeader},
    units::LaneId,
};

const LANE_ID: LaneId = LaneId { directory_id: 0x0123_4567_89ab_cdef, lane: 3 };
const OTHER_LANE_ID: LaneId = LaneId { lane: 4, ..LANE_ID };
const EPOCH: Epoch = Epoch::new(1_900_000_000_000);
const WATERMARK: Watermark = Watermark { epoch: EPOCH, next: Seq::new(42) };

/// The bytes under `# name` in the fixture.
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
fn assert_golden(name: &str, bytes: &[u8]) {
    let golden = golden(name);
    assert!(golden == bytes, "# {name}\n{}differs from\n{}", hex(bytes), hex(&golden));
}

#[test]
fn the_checksum_has_its_check_value() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_frame_and_a_pad_have_these_bytes() {
    let seed = frame::checksum_seed(LANE_ID);
    let (position, seq) = (Position::new(4096), Seq::new(7));
    let header = FrameHeader { position, epoch: EPOCH, seq };
    let mut bytes = vec![0xee; frame::frame_len(5) as usize];
    frame::write_frame(&mut bytes, seed, &header, b"click");
    assert_golden("frame", &bytes);
    let next_position = position + 64;
    let frame = Frame { position, next_position, epoch: EPOCH, seq, payload: b"click" };
    assert_eq!(frame::parse_and_verify_frame_or_pad(&bytes, seed, |_| true), ParsedItem::Frame(frame));
    let mut pad = [0xee; 32];
    frame::fill_slot_with_pad(&mut pad, seed, next_position);
    assert_golden("pad", &pad);
    assert_eq!(
        frame::parse_and_verify_frame_or_pad(&pad, seed, |_| true),
        ParsedItem::Pad { position: next_position, len: 32 }
    );
    let other_seed = frame::checksum_seed(OTHER_LANE_ID);
    assert_eq!(frame::parse_and_verify_frame_or_pad(&bytes, other_seed, |_| true), ParsedItem::Invalid);
    assert_eq!(frame::parse_and_verify_frame_or_pad(&pad, other_seed, |_| true), ParsedItem::Invalid);
}

#[test]
fn a_frame_of_another_version_is_recognized_with_its_length() {
    let seed = frame::checksum_seed(LANE_ID);
    let mut bytes = golden("frame");
    bytes[32] = frame::VERSION + 1;
    let crc = crc32c::crc32c_append(seed, &bytes[4..frame::HEADER + 5]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(
        frame::parse_and_verify_frame_or_pad(&bytes, seed, |_| true),
        ParsedItem::OtherVersion { position: Position::new(4096), len: 64 }
    );
}

#[test]
fn a_flipped_bit_anywhere_in_a_frame_is_detected() {
    let seed = frame::checksum_seed(LANE_ID);
    let bytes = golden("frame");
    for bit in 0..8 * (frame::HEADER + 5) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let item = frame::parse_and_verify_frame_or_pad(&flipped, seed, |_| true);
        assert!(matches!(item, ParsedItem::Invalid | ParsedItem::Incomplete), "bit {bit}: {item:?}");
    }
}

#[test]
fn a_segment_and_a_block_begin_with_these_bytes() {
    let header = SegmentHeader { version: segment::VERSION, directory_id: LANE_ID.directory_id, number: 9 };
    assert_golden("segment", &header.encode());
    assert_eq!(SegmentHeader::decode_if_valid(&header.encode()), Some(header));
    let seed = frame::checksum_seed(LANE_ID);
    let (from, to, acked_below) = (Position::new(4096), Position::new(8192), Position::new(1024));
    let block = BlockHeader { lane: LANE_ID.lane, from, to, acked_below, watermark_at_to: WATERMARK };
    assert_golden("block", &block.encode(seed));
    assert_eq!(BlockHeader::decode_if_valid(&block.encode(seed), LANE_ID.directory_id), Some(block));
}

#[test]
fn a_ring_begins_with_these_bytes() {
    let (size, boot_id, epoch) = (64 << 20, *b"0123456789abcdef", Epoch::new(77));
    let header = RingHeader { lane_id: LANE_ID, size, boot_id, epoch };
    assert_golden("ring", &header.encode());
    assert_eq!(RingHeader::decode_if_valid(&header.encode()), Some(header));
}

#[test]
fn a_checkpoint_has_these_bytes() {
    let checkpoint = Checkpoint {
        appended: WATERMARK,
        acked: Position::new(4096),
        delivered: Watermark { next: Seq::new(41), ..WATERMARK },
        sink_note: *b"the sink's own note, of exactly sixty-four bytes, opaque to us..",
        clean_head: Some(Position::new(8192)),
    };
    let stored = StoredCheckpoint { counter: 5, checkpoint };
    let bytes = stored.encode(LANE_ID);
    assert_golden("checkpoint", &bytes);
    assert_eq!(StoredCheckpoint::decode_if_valid(&bytes, LANE_ID), Some(stored));
    assert_eq!(StoredCheckpoint::decode_if_valid(&bytes, OTHER_LANE_ID), None);
}
