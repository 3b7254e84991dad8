//! The journal: opaque bytes in, the same bytes out, whatever dies in between. This header is its whole specification.
//!
//! # Constraints
//!
//! - An append makes no system call, takes no lock, looks at no clock, and is one copy, one checksum and one store.
//! - A frame that was appended outlives the process at once, and the machine once it has a *home*: the sink has acknowledged
//!   it, or it lies in a synced segment. Whichever is first lets the worker have the room back.
//! - Only the spiller's thread touches the disk while clicks are taken. A disk that stalls, fills or fails stalls nobody
//!   while the sink acknowledges; a sink that is away stalls nobody while the disk has room.
//! - What is damaged is counted and kept aside. It never blocks a start and is never deleted.
//!
//! # Files
//!
//! Files are 0600, directories 0700: they hold addresses and agents.
//!
//! ```text
//! DATA/lock                                     held by flock: one process a directory
//! DATA/journal/directory                        its id: "WPJOURN\n" | version u32 | zero | id u64 | crc u32
//! DATA/journal/rings                            where the rings are: a path, or "."
//! DATA/journal/lane-0000/checkpoint             how far everything is delivered
//! DATA/journal/lane-0000/history                how its epochs ended
//! DATA/journal/lane-0000/0000000000000000.segment
//! DATA/journal/lane-0000.0000000000000007.salvage  a ring that was put aside to be read, synced; numbered as a segment
//! DATA/journal/quarantine/                      segments that are damaged, or of a newer version
//! RINGS/lane-0000.ring                          RINGS: ring_dir (then with a lock of its own), else DATA/journal
//! ```
//!
//! # Bytes
//!
//! Little-endian. The checksum is CRC-32C (its value for `123456789` is `0xE3069283`). Positions are bytes of a lane, from 0, multiples of 16,
//! and never used again. A version newer than this build's is put aside, an older one is read.
//!
//! ```text
//! RING    0 magic "WPLANE\r\n" | version u32 | lane u16, 2 zero | size u64 | directory u64 | boot id 16 | epoch u64 | crc u32
//!       128 head u64     the worker's word: all below is appended        (each word alone in two cache lines)
//!       256 acked u64    the shipper's: all below is delivered
//!       384 spilled u64  the spiller's: all below is delivered or synced
//!       512 since u64    the spiller's: no frame above all of these came before, Unix milliseconds; 0: not known
//!      4096 frames: position p lies at 4096 + p % size
//! FRAME   0 crc u32 (of directory u64, lane u16, then bytes 4..) | 4 payload length u32 | 8 position u64
//!        16 epoch u64 | 24 seq u64 | 32 next seq of each stream, 2 u64 | 48 stream u8 | 49 version u8 | zeros
//!        64 payload, zeros to the next multiple of 16
//! PAD     0 crc u32 (the same over 4..16) | 4 bit 31 and its whole length u32 | 8 position u64 | zeros
//! SEGMENT 0 magic "WPSEGMT\n" | version u32 | lane u16, 2 zero | directory u64 | number u64 | zeros | 60 crc u32 of 0..60
//!        64 blocks
//! BLOCK   0 crc u32 (as a frame's) | 4 "BLCK" | 8 from u64 | 16 to u64 | 24 acked below u64 | 32 epoch u64
//!        40 next seq of each stream at `to`, 2 u64 | zeros | 64 the frames and pads [from, to) as they lay in the ring, of one epoch
//! CHECKPOINT  two slots, 4096 bytes apart; the sound one with the higher counter counts
//!         0 magic "WPCHECK\n" | version u32 | lane u16 | clean u16 | directory u64 | counter u64 | epoch u64 | next seqs 2 u64
//!        56 acked u64 | head u64 (if clean) | delivered, for each stream: epoch u64, next seq u64 | sink's note 64 | crc u32
//! HISTORY 256 slots of 64 bytes, written in turn: "WPEN" | lane u16 | cut u16 | directory u64 | counter u64 | epoch u64
//!        32 next seq of each stream, 2 u64 | crc u32
//! ```
//!
//! A frame never straddles the ring's end: a pad fills it. A frame takes 64 KiB at most, or 1/64 of a smaller ring.
//! The pad's magic of a block cannot be the length of a frame, so a walk over a segment knows at each place what begins there.
//!
//! # Write
//!
//! One worker a lane writes the frame's bytes, then `head`: the only publication. It overwrites what lies below max(acked,
//! spilled) and below every pin ([`pins`](self), checked by loom). The spiller copies what has waited `sync_interval` under its pin,
//! writes a block, syncs the file (a new one's directory too), sees that it still has a name, notes where it lies, then moves
//! `spilled`. On an error it closes the segment at its last good sync and takes the same frames again into a new one: they are
//! still in the ring. At most each second it writes the checkpoint into the slot that does not count, syncs it, and then removes
//! the segments below it.
//!
//! # Read
//!
//! From the ring while the position is in it, else from the segments by an index in memory. A reader checks every checksum and
//! position; what is bad it counts and passes, 16 bytes at a time.
//!
//! # Recover
//!
//! See [`Opening`] for the four ways in which a lane can be found, and `recover.rs` for the steps. Epochs are max(last + 1, Unix
//! milliseconds) and durable before the first click. Lanes without a worker are adopted: read and drained, never appended to.
//!
//! # Guarantees
//!
//! | what dies | what is lost |
//! |---|---|
//! | the process, at any instruction | nothing |
//! | the machine | what had no home yet: at most max(`sync_interval`, a sync) and a sync, if the sink acknowledged none of it |
//! | the disk, while the sink is well | nothing |
//! | bytes of a file | the frames they belong to, unless the ring still holds them: counted by the numbers that are missing |
//!
//! # Assumptions
//!
//! Blocks set aside by `fallocate` and written once are there when a mapped store needs them: so btrfs, ZFS, NFS, FUSE and the
//! like are refused for rings. A sync that succeeded holds. A sync that failed tells nothing about the pages, so it is never
//! repeated on the same bytes. A 4096-byte checkpoint slot is not torn by a write to the other one.

mod checkpoint;
mod disk;
mod error;
mod export;
mod frame;
mod gauges;
mod history;
mod identity;
mod inspect;
mod lane;
mod layout;
mod observer;
mod open;
mod pins;
mod reader;
mod recover;
mod ring;
mod ringfile;
mod segment;
mod seqs;
mod spill;
mod spiller;
mod survey;
#[cfg(test)]
pub(crate) mod tests;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

#[cfg(any(test, fuzzing))]
pub use self::frame::fuzz as fuzz_frames;
pub use self::{
    error::OpenError,
    export::{Undelivered, keep_others_out, undelivered},
    frame::{Frame, MAX_FRAME},
    history::End,
    inspect::{InspectError, Inspection, LaneInspection, RingView, SegmentView, Verdict, dump, inspect, verify},
    lane::{Full, Lane},
    open::{Journal, Parts},
    reader::{BATCH, Batch, ReadError, Reader, Standing},
    spiller::Spiller,
};
use crate::size::Bytes;

/// Streams of a lane, each with gapless numbers of its own: one for each topic.
pub const STREAMS: usize = 2;

/// What a sink wants to find again after a restart, beside the positions; opaque here.
pub type SinkNote = [u8; 64];

/// A place in a stream: everything before number `next` of `epoch`, and every earlier epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The opening of the lane.
    pub epoch: u64,
    /// The first number that is not covered.
    pub next: u64,
}

/// When the spiller writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spill {
    /// What the sink has not acknowledged within `sync_interval`.
    #[default]
    Auto,
    /// Everything within `sync_interval`: for a sink that would lose power together with this machine.
    Always,
}

/// What becomes of a click that finds no room, after `wait_for_room`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// The buyer is redirected with a token that says so; counted.
    #[default]
    Unrecorded,
    /// `503`.
    Refuse,
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of each worker's ring: what both failing sink and failing disk may last. Whole pages of 4096.
    pub ring_bytes: Bytes,
    /// Bytes that all segments together may take; then the rings fill.
    pub disk_bytes: Bytes,
    /// Bytes after which a segment is closed.
    pub segment_bytes: Bytes,
    /// How long a click may lie in the ring alone.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub sync_interval: Duration,
    /// Where the rings are; by default the data directory. On tmpfs an append never waits for a file system.
    pub ring_dir: Option<PathBuf>,
    /// When segments are written.
    pub spill: Spill,
    /// How long a request waits for room in a full ring before anything is decided.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub wait_for_room: Duration,
    /// What becomes of it then.
    pub on_full: OnFull,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ring_bytes: Bytes::mib(64),
            disk_bytes: Bytes::gib(8),
            segment_bytes: Bytes::mib(64),
            sync_interval: Duration::from_millis(50),
            ring_dir: None,
            spill: Spill::Auto,
            wait_for_room: Duration::from_millis(100),
            on_full: OnFull::Unrecorded,
        }
    }
}

impl Config {
    /// What cannot work: the key, and what was found and is allowed.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |key: &str, what: String| found.push((key.to_owned(), what));
        let ring = self.ring_bytes.0;
        // 64 of the largest frames, so that a ring is never full of a few.
        if !(64 * MAX_FRAME..=64 << 30).contains(&ring) || !ring.is_multiple_of(ring::PAGE) {
            say("ring_bytes", format!("{} is not a multiple of 4 KiB from 4 MiB to 64 GiB", self.ring_bytes));
        }
        if !((1 << 20)..=(4 << 30)).contains(&self.segment_bytes.0) {
            say("segment_bytes", format!("{} is not from 1 MiB to 4 GiB", self.segment_bytes));
        }
        if self.disk_bytes.0 < 4 * self.segment_bytes.0 {
            say("disk_bytes", format!("{} is less than four segments of {}", self.disk_bytes, self.segment_bytes));
        }
        if !(Duration::from_millis(4)..=Duration::from_secs(10)).contains(&self.sync_interval) {
            say("sync_interval", format!("{:?} is not from 4ms to 10s", self.sync_interval));
        }
        if self.wait_for_room > Duration::from_secs(10) {
            say("wait_for_room", format!("{:?} is longer than 10s: the buyer would be gone", self.wait_for_room));
        }
        found
    }
}

/// How a lane was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing was ever in it.
    Fresh,
    /// Closed in good order: everything below the head is delivered or in segments. The ring is not needed.
    Clean {
        /// Where it goes on.
        head: u64,
    },
    /// The process died, the machine did not: every frame from the last home to the head is in the ring, which stays in place.
    Intact,
    /// The machine died, or the ring is gone or damaged: what had no home may be missing. What is left of the ring is read.
    Cut,
}

/// What was found in a lane at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneReport {
    /// Its number.
    pub lane: u16,
    /// The epoch opened now; 0 for a lane without a worker.
    pub epoch: u64,
    /// How it was found.
    pub opening: Opening,
    /// The last epoch before, and the next number of each stream in it as far as is known; exact unless the lane was cut.
    pub closed: Option<(u64, [u64; STREAMS])>,
    /// Clicks of each stream that are not known to be delivered, the damaged ones among them; without what a power loss may have
    /// taken, of which nobody knows whether it was delivered: see [`End::cut`].
    pub recovered: [u64; STREAMS],
    /// Those of them whose numbers are missing: their bytes are damaged, and whole nowhere.
    pub quarantined: [u64; STREAMS],
    /// Damaged places in segments.
    pub damaged: u64,
    /// Files put aside: damaged, or of a newer version.
    pub put_aside: u64,
    /// Bytes from the first undelivered position to the head.
    pub backlog_bytes: u64,
}
