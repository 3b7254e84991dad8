//! A ring that is not gone on with: it is put aside, and read from there.

use std::{io, path::Path};

use super::{Place, at};
use crate::journal::{
    OpenError,
    disk::Unfinished,
    layout,
    ringfile::RingFile,
    segment::read_up_to,
    survey::{Survey, Whose},
};

/// A ring is copied in pieces of so many bytes.
const PIECE: usize = 1 << 20;

impl Place<'_> {
    /// Puts the ring aside under a name of its own and takes its frames into the truth. From then on that file is their home: so
    /// its mapped pages are synced, and it lies in the data directory wherever the rings are.
    pub(super) fn salvage(&self, ring: RingFile, truth: &mut Survey, acked: u64) -> Result<(), OpenError> {
        let path = self.whose.ring_path();
        let number = truth.next_number;
        truth.next_number += 1;
        let Whose { journal, rings, lane, .. } = self.whose;
        let aside = journal.join(layout::salvage_name(lane, number));
        let kept = match rings == journal {
            true => self.disk.sync(&ring.file).and_then(|()| self.disk.rename(&path, &aside)),
            // The new ring takes the place of the old one.
            false => self.copy(&ring, &aside),
        };
        at(&path, kept.and_then(|()| self.disk.sync_dir(journal)))?;
        at(&path, truth.ring(&self.whose, &ring.file, ring.fixed.size, (number, aside), acked))
    }

    fn copy(&self, ring: &RingFile, to: &Path) -> io::Result<()> {
        let mut chunk = vec![0; PIECE];
        let copy = Unfinished::begin(self.disk, to)?;
        let (mut offset, mut first) = (0, Vec::new());
        loop {
            let got = read_up_to(&ring.file, &mut chunk, offset)?;
            if got == 0 {
                // Its first bytes last, with the sync and the name.
                return copy.finish(&first, to).map(drop);
            }
            match offset {
                0 => first = chunk[..got].to_vec(),
                _ => copy.write_at(&chunk[..got], offset)?,
            }
            offset += got as u64;
        }
    }
}
