//! The results of `inspect` and `verify`, and their text.

use std::{fmt, path::PathBuf};

use super::{location::QuarantinedFile, snapshot::RingInspection};
use crate::{
    journal::units::{Epoch, Position, Watermark},
    size::Bytes,
};

/// What the journal of a log holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The name of the log.
    pub log: &'static str,
    /// The directory of the journal.
    pub journal_dir: PathBuf,
    /// The directory of the rings.
    pub ring_dir: PathBuf,
    /// The id of the journal's directory.
    pub directory_id: u64,
    /// The lanes, by number.
    pub lanes: Vec<LaneInspection>,
    /// The files in the quarantine.
    pub quarantine: Vec<QuarantinedFile>,
}

/// What a lane holds.
#[derive(Clone, Debug)]
pub struct LaneInspection {
    /// The lane's number.
    pub lane: u16,
    /// The last epoch that was opened; [`Epoch::NONE`] if no checkpoint can be read.
    pub epoch: Epoch,
    /// Everything below is delivered.
    pub acked: Position,
    /// How far the lane is delivered, by number.
    pub delivered: Watermark,
    /// The head, if the lane was closed in good order.
    pub clean_head: Option<Position>,
    /// The lane's ring.
    pub ring: RingInspection,
    /// The lane's segments and salvaged rings.
    pub segments: Vec<SegmentInspection>,
    /// Readable undelivered frames.
    pub undelivered: u64,
}

/// A segment or a salvaged ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The file.
    pub path: PathBuf,
    /// The file's size.
    pub bytes: u64,
    /// The highest position in the file.
    pub to: Position,
    /// Something in the file cannot be read.
    pub damaged: bool,
}

/// What [`verify_undelivered_frames`](super::verify_undelivered_frames) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Frames with a good checksum.
    pub frames: u64,
    /// Of these frames, those that are not delivered.
    pub undelivered: u64,
    /// Numbers for which there is no frame. Not counted in a lane that delivers meanwhile, nor where an earlier start
    /// has stored that a power loss cut the epoch.
    pub missing: u64,
    /// Damaged places in segments, and in the part of the rings that is not durable.
    pub damaged: u64,
    /// Segments that end in the middle of an item: ordinary after a crash.
    pub torn: u64,
    /// Files of another version or of another lane, and rings that cannot be read.
    pub foreign: u64,
    /// Files in the quarantine.
    pub quarantined: u64,
}

impl VerifyReport {
    /// Whether every undelivered click can be read. Files that an earlier start put into the quarantine do not count.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0 && self.foreign == 0 && self.missing == 0
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inspection { log, journal_dir, ring_dir, directory_id, lanes, quarantine } = self;
        let (journal_dir, ring_dir) = (journal_dir.display(), ring_dir.display());
        writeln!(f, "log {log}: journal {journal_dir} (id {directory_id:016x}), rings in {ring_dir}")?;
        for lane in lanes {
            write!(f, "{lane}")?;
        }
        for file in quarantine {
            writeln!(f, "quarantined {}: {} bytes", file.path.display(), file.bytes)?;
        }
        Ok(())
    }
}

impl fmt::Display for LaneInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}: epoch {}, {} undelivered", self.lane, self.epoch, self.undelivered)?;
        writeln!(f, "{}", if self.clean_head.is_some() { ", closed cleanly" } else { "" })?;
        match self.ring {
            RingInspection::Absent => writeln!(f, "  ring: none")?,
            RingInspection::Unreadable => writeln!(f, "  ring: cannot be read")?,
            RingInspection::Ring { size, head, acked, spilled, is_of_this_boot } => writeln!(
                f,
                "  ring: {}, head {head}, acked {acked}, spilled {spilled}{}",
                Bytes(size),
                if is_of_this_boot { "" } else { ", of an earlier boot" }
            )?,
        }
        writeln!(f, "  delivered to epoch {} before {}", self.delivered.epoch, self.delivered.next)?;
        for segment in &self.segments {
            let damaged = if segment.damaged { ", damaged" } else { "" };
            writeln!(f, "  {}: {} bytes, to {}{damaged}", segment.path.display(), segment.bytes, segment.to)?;
        }
        Ok(())
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames read, {} undelivered, {} missing, {} damaged places, {} torn tails, {} foreign files, \
             {} in quarantine: {}",
            self.frames,
            self.undelivered,
            self.missing,
            self.damaged,
            self.torn,
            self.foreign,
            self.quarantined,
            if self.is_sound() { "sound" } else { "NOT sound" }
        )
    }
}
