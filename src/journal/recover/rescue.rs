//! What segments have lost and the ring still holds gets a home again, before the worker may write over it.

use std::io;

use super::{Place, at};
use crate::journal::{
    OpenError, Opening,
    frame::{self, Stamp},
    layout,
    ringfile::RingFile,
    segment::{self, Block, Extent, Head, Item, union},
    survey::Survey,
};

/// Blocks are written in pieces of about so many bytes.
const PIECE: usize = 1 << 20;

impl Place<'_> {
    /// Copies the frames that should lie in segments, are in none, and are whole in the ring into a segment of their own, and
    /// takes them into the truth. A ring that is cut is put aside instead, with all it holds.
    ///
    /// A disk that does not take them blocks no start: they then count as damaged.
    pub(super) fn rescue(
        &self,
        opening: Opening,
        ring: Option<&RingFile>,
        truth: &mut Survey,
        acked: u64,
    ) -> Result<(), OpenError> {
        let Some(ring) = ring else { return Ok(()) };
        let (home, head) = match opening {
            Opening::Clean { head } => (head, head),
            Opening::Intact => (ring.words.acked.max(ring.words.spilled), ring.words.head),
            Opening::Fresh | Opening::Cut => return Ok(()),
        };
        let mut have: Vec<Extent> = union(truth.extents.clone()).into();
        have.retain(|extent| extent.from < home);
        let reached =
            have.iter().fold(acked, |reached, extent| if extent.from <= reached { extent.to } else { reached });
        if reached >= home {
            return Ok(());
        }
        // Judged without the copies, which do not make the damaged files sound.
        truth.judge_tails(Some((home, head)));
        let number = truth.next_number;
        let path = self.whose.dir().join(layout::segment_name(number));
        let lost = |pos: u64, to: u64| {
            let before = have.partition_point(|extent| extent.from <= pos);
            pos >= acked && to <= home && before.checked_sub(1).is_none_or(|before| have[before].to <= pos)
        };
        match self.copy_lost(ring, number, lost) {
            Ok(0) => Ok(()),
            Ok(clicks) => {
                tracing::warn!(lane = self.whose.lane, clicks, "damaged in segments, and taken from the ring");
                truth.next_number += 1;
                at(&path, truth.segment(&self.whose, number, &path, acked))
            }
            Err(error) => {
                tracing::warn!(lane = self.whose.lane, %error, "damaged in segments, and not to be taken from the ring");
                let _ = self.disk.remove(&path);
                Ok(())
            }
        }
    }

    /// Writes the lost frames into segment `number`, synced; how many there are. Without any, there is no such file.
    fn copy_lost(&self, ring: &RingFile, number: u64, lost: impl Fn(u64, u64) -> bool) -> io::Result<u64> {
        let seed = self.whose.seed();
        let head = Head { version: segment::VERSION, lane: self.whose.lane, directory: self.whose.directory, number };
        let path = self.whose.dir().join(layout::segment_name(number));
        let (mut file, mut piece, mut offset, mut frames) = (None, Vec::from(head.encode()), 0, 0);
        let mut flush = |piece: &mut Vec<u8>| -> io::Result<()> {
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(self.disk.create(&path)?),
            };
            self.disk.write_at(file, piece, offset)?;
            offset += piece.len() as u64;
            piece.clear();
            Ok(())
        };
        let mut done = Ok(());
        ring.walk(seed, |_, item| {
            let Item::Frame(found) = item else { return };
            if done.is_err() || !lost(found.pos, found.next_pos) {
                return;
            }
            frames += 1;
            put_block(&mut piece, seed, &found);
            if piece.len() >= PIECE {
                done = flush(&mut piece);
            }
        })?;
        done?;
        if frames > 0 {
            flush(&mut piece)?;
            if let Some(file) = &file {
                self.disk.sync(file)?;
            }
            self.disk.sync_dir(&self.whose.dir())?;
        }
        Ok(frames)
    }
}

/// Appends a block of this one frame.
fn put_block(piece: &mut Vec<u8>, seed: u32, found: &frame::Frame<'_>) {
    let frame::Frame { pos, next_pos, epoch, stream, seq, next, payload } = *found;
    piece.extend(Block { from: pos, to: next_pos, acked_below: 0, epoch, next }.encode(seed));
    let at = piece.len();
    piece.resize(at + (next_pos - pos) as usize, 0);
    frame::write(&mut piece[at..], seed, &Stamp { pos, epoch, stream, seq, next }, payload);
}
