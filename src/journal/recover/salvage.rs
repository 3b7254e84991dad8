//! A ring that cannot be continued: it is kept as a file of its own, and its frames are read from there.

use std::{io, path::Path};

use super::context::LaneRecoveryContext;
use crate::journal::{
    disk::PendingFile,
    error::{OpenError, with_path},
    layout,
    ring_file::RingFile,
    scan::LaneScan,
    units::Position,
};

/// A ring is copied in pieces of this size, bytes.
const PIECE: usize = 1 << 20;

impl LaneRecoveryContext<'_> {
    /// Keeps the ring as a salvaged ring in the journal directory, durably, and adds its frames to the scan.
    ///
    /// From then on the frames are durable there. So the mapped pages of the ring are synced, and the file lies in the
    /// data directory even if the ring directory is another one.
    pub(super) fn keep_ring_as_salvaged_file_and_add_to_scan(
        &self,
        ring: &RingFile,
        scan: &mut LaneScan,
        acked: Position,
    ) -> Result<(), OpenError> {
        let path = self.files.ring_path();
        let number = self.take_file_number();
        let journal_dir = self.files.journal_dir;
        let salvaged = journal_dir.join(layout::salvaged_ring_file_name(self.files.lane_id.lane, number));
        let kept = if self.files.ring_dir == journal_dir {
            self.disk.sync_file_and_fail_if_unlinked(&ring.file).and_then(|()| self.disk.rename(&path, &salvaged))
        } else {
            // The original stays until the new ring takes its name.
            self.copy_ring_to_synced_file(ring, &salvaged)
        };
        with_path(&path, kept.and_then(|()| self.disk.sync_dir(journal_dir)))?;
        with_path(&path, scan.add_ring_ignoring_damage(&self.files, ring, number, salvaged, acked))
    }

    fn copy_ring_to_synced_file(&self, ring: &RingFile, to: &Path) -> io::Result<()> {
        let mut chunk = vec![0; PIECE];
        let copy = PendingFile::create_temporary_replacing_leftover(self.disk, to)?;
        let (mut offset, mut start) = (0, Vec::new());
        loop {
            let got = self.disk.read_at_marking_unreadable_pages(&ring.file, &mut chunk, offset)?.len;
            if got == 0 {
                return copy.write_start_sync_and_rename(&start, to).map(drop);
            }
            match offset {
                0 => start = chunk[..got].to_vec(),
                _ => copy.write_at(&chunk[..got], offset)?,
            }
            offset += got as u64;
        }
    }
}
