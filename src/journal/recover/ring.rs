//! The ring of a recovered lane: the old one, continued in place, or a new one.

use super::context::LaneRecoveryContext;
use crate::journal::{
    error::{OpenError, with_path},
    frame::ALIGN,
    report::LaneCondition,
    ring::DATA,
    ring_file::{RingFile, RingHeader, RingLookup, RingPositions},
    scan::LaneScan,
    units::{Epoch, Position},
};

/// The size of a new ring for a lane that is only drained, bytes. Nothing is appended to it.
const DRAINED_RING: u64 = 64 << 10;

/// What is known of a lane when its ring is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingPlan {
    pub(super) condition: LaneCondition,
    /// Everything below is delivered.
    pub(super) acked: Position,
    /// The epoch that begins now.
    pub(super) epoch: Epoch,
}

impl LaneRecoveryContext<'_> {
    /// Opens the ring of this directory and lane, if there is one, and gives it blocks of its own. Moves a ring that
    /// cannot be read to the quarantine.
    pub(super) fn open_own_ring_or_quarantine_unreadable(&self) -> Result<Option<RingFile>, OpenError> {
        let path = self.files.ring_path();
        match with_path(&path, RingFile::open_and_verify_header(self.disk, &path, true))? {
            RingLookup::Absent => Ok(None),
            RingLookup::Found(ring) if ring.header.lane_id != self.files.lane_id => {
                Err(OpenError::ForeignRing { path })
            }
            RingLookup::Found(ring) => {
                // Before the first change of the lane: if it fails, the lane is as the last run left it.
                let unshared = self.disk.unshare_blocks(&ring.file, DATA as u64 + ring.header.size);
                unshared.map_err(|source| OpenError::SharedRing { path, source })?;
                Ok(Some(ring))
            }
            RingLookup::Unreadable => {
                self.quarantine_and_log(&path, self.files.ring_dir)?;
                Ok(None)
            }
        }
    }

    /// Continues the old ring in place, so that a full disk does not matter; or makes a new ring, if the lane is cut or
    /// the size differs from the configuration.
    pub(super) fn continue_ring_in_place_or_create_new_and_salvage(
        &self,
        plan: RingPlan,
        old: Option<RingFile>,
        scan: &mut LaneScan,
    ) -> Result<RingFile, OpenError> {
        let has_right_size = |ring: &RingFile| ring.header.size == self.ring_bytes || !self.has_worker;
        match old {
            Some(mut ring)
                if plan.condition != LaneCondition::Cut
                    && has_right_size(&ring)
                    && with_path(&self.files.ring_path(), ring.is_readable_to_its_end())? =>
            {
                let positions = match plan.condition {
                    LaneCondition::Clean { head } => RingPositions { head, acked: plan.acked, spilled: head },
                    _ => RingPositions { acked: ring.positions.acked.max(plan.acked), ..ring.positions },
                };
                let header = self.ring_header(ring.header.size, plan.epoch);
                with_path(&self.files.ring_path(), ring.overwrite_header_and_positions(self.disk, header, positions))?;
                Ok(ring)
            }
            old => self.create_ring_and_remove_or_salvage_old(plan, old, scan),
        }
    }

    fn ring_header(&self, size: u64, epoch: Epoch) -> RingHeader {
        RingHeader { lane_id: self.files.lane_id, size, boot_id: self.boot_id, epoch }
    }

    /// Makes a new ring. The old one, if it may hold undelivered frames, is salvaged once there is room for the new
    /// one.
    fn create_ring_and_remove_or_salvage_old(
        &self,
        plan: RingPlan,
        old: Option<RingFile>,
        scan: &mut LaneScan,
    ) -> Result<RingFile, OpenError> {
        let RingPlan { condition, acked, epoch } = plan;
        let path = self.files.ring_path();
        let size = if self.has_worker { self.ring_bytes } else { self.ring_bytes.min(DRAINED_RING) };
        let preallocate = || {
            let preallocated = RingFile::preallocate_under_temporary_name(self.disk, &path, size);
            preallocated.map_err(|source| OpenError::Preallocate { path: path.clone(), bytes: size, source })
        };
        let (preallocated, head) = match condition {
            LaneCondition::Fresh | LaneCondition::Clean { .. } => {
                // Everything in the old ring is delivered or in segments; only its size is wrong.
                if old.is_some() {
                    with_path(&path, self.disk.remove(&path))?;
                }
                let head = if let LaneCondition::Clean { head } = condition { head } else { Position::ZERO };
                (preallocate()?, head.max(scan.frames.top).max(acked))
            }
            LaneCondition::Intact | LaneCondition::Cut => {
                let preallocated = preallocate()?;
                let (mut top, mut largest) = (acked, self.ring_bytes);
                if let Some(old) = old {
                    largest = largest.max(old.header.size);
                    // The positions in a damaged ring can have any value, and count only if they are plausible.
                    if old.has_plausible_positions() {
                        top = top.max(old.positions.head);
                    }
                    self.keep_ring_as_salvaged_file_and_add_to_scan(&old, scan, acked)?;
                }
                // Frames that are lost may have reached up to one ring size further. Twice the size is above all of
                // them.
                (preallocated, top.max(scan.frames.top) + 2 * largest)
            }
        };
        let head = head.next_multiple_of(ALIGN);
        let positions = RingPositions { head, acked, spilled: head };
        let header = self.ring_header(size, epoch);
        let made = RingFile::publish_preallocated(self.disk, preallocated, &path, header, positions);
        with_path(&path, made.and_then(|ring| self.disk.sync_dir(self.files.ring_dir).map(|()| ring)))
    }
}
