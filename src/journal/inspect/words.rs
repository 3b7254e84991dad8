//! What was found, in words.

use std::fmt;

use super::{Inspection, RingView, Verdict};
use crate::{journal::STREAMS, size::Bytes};

impl Inspection {
    /// In words, with the names of the streams.
    pub fn told<'a>(&'a self, streams: [&'a str; STREAMS]) -> impl fmt::Display + 'a {
        Told { inspection: self, streams }
    }
}

struct Told<'a> {
    inspection: &'a Inspection,
    streams: [&'a str; STREAMS],
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inspection { journal, rings, directory, lanes, quarantine } = self.inspection;
        writeln!(f, "journal {} (id {directory:016x}), rings in {}", journal.display(), rings.display())?;
        for lane in lanes {
            write!(
                f,
                "lane {}: epoch {}, {} undelivered",
                lane.lane,
                lane.epoch,
                lane.undelivered.iter().sum::<u64>()
            )?;
            writeln!(f, "{}", if lane.clean.is_some() { ", closed cleanly" } else { "" })?;
            match lane.ring {
                RingView::Absent => writeln!(f, "  ring: none")?,
                RingView::Unreadable => writeln!(f, "  ring: cannot be read")?,
                RingView::Ring { size, head, acked, spilled, this_boot } => writeln!(
                    f,
                    "  ring: {}, head {head}, acked {acked}, spilled {spilled}{}",
                    Bytes(size),
                    if this_boot { "" } else { ", of an earlier boot" }
                )?,
            }
            for (stream, mark) in self.streams.iter().zip(lane.delivered) {
                writeln!(f, "  {stream}: delivered to epoch {} before {}", mark.epoch, mark.next)?;
            }
            for segment in &lane.segments {
                let damaged = if segment.damaged { ", damaged" } else { "" };
                writeln!(f, "  {}: {} bytes, to {}{damaged}", segment.path.display(), segment.bytes, segment.to)?;
            }
        }
        for (path, bytes) in quarantine {
            writeln!(f, "quarantined {}: {bytes} bytes", path.display())?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |streams: [u64; STREAMS]| streams.iter().sum::<u64>();
        write!(
            f,
            "{} frames read, {} undelivered, {} missing, {} damaged places, {} torn tails, {} strange files, {} in quarantine: {}",
            self.frames,
            sum(self.undelivered),
            sum(self.missing),
            self.damaged,
            self.torn,
            self.strange,
            self.quarantined,
            if self.sound() { "sound" } else { "NOT sound" }
        )
    }
}
