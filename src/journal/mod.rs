//! The journal stores the clicks of each worker until they are delivered, so that a crash of the process loses none.
//! Payloads are opaque bytes here. This header is the specification of the format on disk.
//!
//! A log is the clicks of one topic: `clicks`, or `clicks.orphan` for unknown, ended, disabled and not yet started
//! codes. Each log has a journal of its own, with its own lanes, rings and disk budget, so that one of them never takes
//! the room of the other.
//!
//! # Constraints
//!
//! - An append makes no system call, takes no lock and reads no clock. It costs one copy, one checksum and one store.
//! - A frame survives the process as soon as it is appended. It survives the machine once it is *durable*: the sink has
//!   acknowledged it, or it lies in a synced segment. The worker reuses the ring's bytes once a frame is durable.
//! - While the edge serves, only the spiller's thread waits for the disk. A disk that stalls, fills or fails delays no
//!   click while the sink acknowledges. A sink that is away delays no click while the disk has room.
//! - Damaged files are counted and kept in the quarantine. They never block a start and are never deleted.
//!
//! # Files
//!
//! Files have mode 0600 and directories 0700, because they hold addresses and user agents.
//!
//! ```text
//! DATA/lock                       locked with flock, once for all logs: one process for each directory
//! DATA/journal/LOG/directory      the id: "WPJOURN\n" | version u32 | zero | id u64 | crc u32
//! DATA/journal/LOG/rings          RINGS of the last run: a path, or "." for DATA/journal
//! DATA/journal/LOG/checkpoints    how far each lane is delivered
//! DATA/journal/LOG/0000000000000000.segment            frames of all lanes
//! DATA/journal/LOG/lane-0000.0000000000000007.salvage  a ring kept for reading, synced; numbered like a segment
//! DATA/journal/LOG/lane-0000/history                   how the lane's epochs ended
//! DATA/journal/LOG/lane-0000/quarantined               the numbers whose clicks are damaged or gone
//! DATA/journal/LOG/quarantine/    files that are damaged, of another version or of another directory
//! DATA/journal/LOG/quarantine/lane-0000.malformed  frames whose payloads are no clicks, one behind the other
//! RINGS/LOG/lane-0000.ring        RINGS: ring_dir (then with a lock of its own), else DATA/journal
//! ```
//!
//! # Bytes
//!
//! Integers are little-endian. The checksum is CRC-32C (of `123456789` it is `0xE3069283`). Positions are bytes of a
//! lane, from 0, multiples of 16, and never used twice. Numbers (seq) count the frames of a lane and epoch, from 0.
//! Rings and segments of another version than this build's are moved to the quarantine. A journal that lies in
//! DATA/journal itself is of version 1, in which a lane carried all topics; a start refuses it.
//!
//! ```text
//! RING    0 magic "WPLANE\r\n" | version u32 | lane u16, 2 zero | size u64 | directory u64 | boot id 16 | epoch u64
//!        56 crc u32 of 0..56
//!       128 head u64     stored by the worker: everything below is appended   (each word has two cache lines)
//!       256 acked u64    stored by the delivery: everything below is delivered
//!       384 spilled u64  stored by the spiller: everything below is delivered or synced
//!       512 since u64    stored by the spiller: no frame that is not durable is older, Unix milliseconds; 0: unknown
//!      4096 frames: position p lies at 4096 + p % size
//! FRAME   0 crc u32 (of directory u64, lane u16, then bytes 4..) | 4 payload length u32 | 8 position u64
//!        16 epoch u64 | 24 seq u64 | 32 version u8 | zeros
//!        48 payload, zeros to the next multiple of 16
//! PAD     0 crc u32 (the same over 4..16) | 4 bit 31 and the length of the whole pad u32 | 8 position u64 | zeros
//! SEGMENT 0 magic "WPSEGMT\n" | version u32 | 4 zero | directory u64 | number u64 | zeros
//!        60 crc u32 of 0..60
//!        64 blocks
//! BLOCK   0 crc u32 (as in a frame) | 4 "BLCK" | 8 from u64 | 16 to u64 | 24 acked below u64
//!        32 epoch u64 of the last frame, and the next seq u64 at `to` | 48 lane u16 | zeros
//!        64 the frames and pads [from, to) of the lane as in its ring, of one epoch
//! CHECKPOINTS  of lane n the slots 2n and 2n+1, 4096 bytes each; of the valid ones the one with the higher counter
//!         counts; zeros: none yet
//!         0 magic "WPCHECK\n" | version u32 | lane u16 | clean u16 | directory u64 | counter u64
//!        32 appended: epoch u64, next seq u64 | acked u64 | head u64 (if clean)
//!        64 delivered: epoch u64, next seq u64 | sink's note 64
//!       144 crc u32 of 0..144
//! HISTORY and QUARANTINED  256 slots of 64 bytes, written in turn
//!         0 "WPEN" | lane u16 | cut u16 | directory u64 | counter u64 | epoch u64 | next seq u64 | zero u64
//!         0 "WPQR" | lane u16 | zero u16 | directory u64 | counter u64 | epoch u64 | first seq u64 | end seq u64
//!        48 crc u32 of 0..48
//! ```
//!
//! A frame never passes the ring's end: a pad fills the rest. A frame takes at most 64 KiB, or 1/64 of a smaller ring.
//! The magic of a block cannot be the length of a frame, so a walk over a segment can tell which of the two begins at
//! an offset. Behind a damaged block header, a walk tries the checksums of all lanes, and so finds the frames. Each log
//! has a directory id of its own, so the checksum of a frame fits in no other log.
//!
//! # Write
//!
//! Each lane has one worker. The worker writes the bytes of a frame, then stores `head`, which publishes the frame. It
//! overwrites bytes below max(acked, spilled) and below every pin (`pins`, checked by loom).
//!
//! All lanes of a log share one series of segments, and one spiller. In a round it copies the frames of every lane that
//! have waited for `sync_interval`, or would have at the next round, each under its pin, as blocks into one segment.
//! Then it syncs the file once (and the directory of a new file), checks that the file still has a name, adds each
//! block to the index of its lane, and then stores each `spilled`. After an error it closes the segment at its last
//! good sync, and writes the same frames of all lanes, which are still in the rings, into a new segment.
//!
//! At most once a second it writes the checkpoints of the lanes that have advanced into their older slots, and syncs
//! them together. Then it removes the segments that the checkpoints of all lanes have passed.
//!
//! # Read
//!
//! A reader takes frames from the ring as long as their position is there, else from the segments, by an index of its
//! lane in memory. An extent of the index may hold blocks of other lanes, 256 KiB at most in all; the reader passes
//! over them. It verifies every checksum and position. It counts damaged bytes and skips them, 16 at a time. A page
//! that the medium does not give (EIO) is damage too, once it was asked for three times. What a segment lacks is taken
//! from the ring, if it is still there. The reader knows the next number that it must see: numbers that are nowhere are
//! quarantined: logged, written to `quarantined`, and stated, also by later processes. The file that lacks them is
//! kept, and reading goes on.
//!
//! # Recover
//!
//! The segments of a log are read once, for all lanes. [`LaneCondition`] names the four conditions in which a lane can
//! be found; `recover` lists the steps. An epoch is the maximum of the last epoch + 1 and the Unix milliseconds, and is
//! durable before the first click. Lanes without a worker are read and drained; nothing is appended to them. Once such
//! a lane is drained and closed in good order, its ring is removed, by that stop or by the next start. Its checkpoint
//! and its history stay, so that its next epoch is larger than all before.
//!
//! # Guarantees
//!
//! | what fails | what is lost |
//! |---|---|
//! | the process, at any instruction | nothing |
//! | the machine | frames that are not durable: at most those of max(`sync_interval`, a round) and a sync |
//! | the disk, while the sink works | nothing |
//! | bytes of a file, or the file | the frames in them, unless the ring still holds them; told by number |
//!
//! A round is a sync, then a pause of a quarter of `sync_interval` (1 ms at least, 20 ms at most). Once a second the
//! sync of the checkpoints takes the place of the pause, or a part of it. It does not depend on the number of lanes.
//!
//! # Assumptions
//!
//! - Blocks that `fallocate` has set aside and that were written once exist when a mapped store needs them. So only
//!   ext4, XFS and tmpfs are allowed for rings, also below overlayfs. On XFS a copy of a ring shares its blocks: the
//!   start, and the spiller each second, give the ring blocks of its own.
//! - A sync that succeeded is true. After a sync that failed nothing is known about the pages, so it is never repeated
//!   on the same bytes.
//! - A write to one checkpoint slot of 4096 bytes never damages the other slot.

mod bytes;
mod checkpoint;
mod config;
mod disk;
mod epoch_ends;
mod error;
mod export;
mod frame;
mod identity;
mod inspect;
mod lane;
mod lane_files;
mod layout;
mod locks;
mod open;
mod pins;
mod quarantined_seqs;
mod recover;
mod report;
mod ring;
mod ring_file;
mod ring_location;
mod scan;
mod segment;
mod segment_index;
mod slot_file;
mod spill;
#[cfg(test)]
pub(crate) mod tests;
mod units;
mod walk;

#[cfg(any(test, fuzzing))]
pub use self::frame::fuzz_frame_parsing_raw_and_resealed as fuzz_frames;
pub use self::{
    config::{Config, OnFull, OrphanConfig, SpillMode},
    epoch_ends::EpochEnd,
    error::OpenError,
    export::{ExportedLane, lock_data_dir_if_lock_file_exists, visit_undelivered_by_time_and_count_by_lane},
    frame::{Frame, MAX_FRAME},
    inspect::{
        InspectError, Inspection, LaneInspection, QuarantinedFile, RingInspection, SegmentInspection, VerifyReport,
        dump_frames_and_count, inspect, verify_undelivered_frames,
    },
    lane::{Batch, LaneFull, LaneReader, LaneStatus, LaneWriter, MAX_BATCH_BYTES, ReadError, TailCoverage},
    locks::DirectoryLocks,
    open::{Journal, JournalParts},
    report::{LaneCondition, RecoveryReport},
    spill::Spiller,
    units::{Epoch, Position, Seq, SeqRange, SinkNote, Watermark},
};
