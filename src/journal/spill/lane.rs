//! The spiller's end of one lane: it copies frames from the ring for blocks, and knows how far the lane is written,
//! synced and checkpointed.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    clock::wall_ms,
    journal::{
        checkpoint::{Checkpoint, CheckpointSlots},
        config::SpillMode,
        disk::{Disk, NamedFile},
        lane::{LaneShared, MAX_BATCH_BYTES},
        ring::{DATA, RingReader},
        segment::BlockHeader,
        segment_index::{Extent, IndexedFile},
        units::{Epoch, Position, Watermark},
        walk::{WalkItem, walk_items_and_return_walked_bytes},
    },
};

/// The spiller's end of one lane.
#[derive(Debug)]
pub(in crate::journal) struct SpillLane {
    pub(in crate::journal) shared: Arc<LaneShared>,
    ring: RingReader,
    pub(super) checkpoint_slots: CheckpointSlots,
    /// The checkpoint that is durable.
    durable_checkpoint: Checkpoint,
    /// The watermark at the end of what is written into segments.
    written_watermark: Watermark,
    /// The watermark at the end of what is synced.
    synced_watermark: Watermark,
    ring_file: OpenRingFile,
    /// The ring's file is not under its name any more.
    pub(super) is_ring_gone: bool,
    /// The ring's file shares blocks with a copy, and there is no room for blocks of its own.
    is_ring_shared: bool,
    /// The frames of the block that was copied last.
    pub(super) buffer: Vec<u8>,
}

/// What recovery hands over to the spiller of a lane.
#[derive(Debug)]
pub(in crate::journal) struct SpillLaneParts {
    pub(in crate::journal) checkpoint_slots: CheckpointSlots,
    pub(in crate::journal) durable_checkpoint: Checkpoint,
    pub(in crate::journal) ring_file: OpenRingFile,
}

/// The ring's file beside its mapping.
#[derive(Debug)]
pub(in crate::journal) struct OpenRingFile {
    pub(in crate::journal) file: File,
    pub(in crate::journal) name: NamedFile,
}

impl SpillLane {
    pub(in crate::journal) fn new(shared: Arc<LaneShared>, ring: RingReader, parts: SpillLaneParts) -> SpillLane {
        let SpillLaneParts { checkpoint_slots, durable_checkpoint, ring_file } = parts;
        // Not further than what is durable: a first block without frames takes this watermark.
        let durable = shared.lock_progress().durable;
        SpillLane {
            shared,
            ring,
            checkpoint_slots,
            durable_checkpoint,
            written_watermark: durable,
            synced_watermark: durable,
            ring_file,
            is_ring_gone: false,
            is_ring_shared: false,
            buffer: Vec::new(),
        }
    }

    pub(in crate::journal) fn number(&self) -> u16 {
        self.shared.lane
    }

    /// Checks whether the ring's file is still under its name. Returns the name if it is gone since the last check.
    pub(super) fn detect_newly_removed_ring_file(&mut self) -> Option<&Path> {
        let was_gone = self.is_ring_gone;
        self.is_ring_gone = !self.ring_file.name.is_still_named();
        (self.is_ring_gone && !was_gone).then_some(&*self.ring_file.name.path)
    }

    /// Gives the ring blocks of its own if somebody has copied it since the last call. Returns the name and the error
    /// of the first failure in a row.
    pub(super) fn unshare_ring_blocks_or_get_first_error(&mut self, disk: &Disk) -> Option<(&Path, io::Error)> {
        let len = DATA as u64 + self.shared.ring.size();
        let was_shared = self.is_ring_shared;
        let error = disk.unshare_blocks(&self.ring_file.file, len).err();
        self.is_ring_shared = error.is_some();
        error.filter(|_| !was_shared).map(|error| (&*self.ring_file.name.path, error))
    }

    /// Stores in the ring, for the next start, since when a frame may have waited to become durable: for
    /// `age_of_oldest`, or since now.
    pub(super) fn store_undurable_since_in_ring(&self, disk: &Disk, age_of_oldest: Option<Duration>) {
        // Rounded down, for no frame may be older.
        let since = wall_ms().saturating_sub(age_of_oldest.unwrap_or_default().as_millis() as u64 + 1);
        disk.run_mapped_store_as_pending_io(|| self.shared.ring.set_undurable_since_ms(since));
    }

    /// The position from which frames are to be spilled.
    pub(super) fn position_to_spill_from(&self, spill: SpillMode) -> Position {
        match spill {
            SpillMode::Auto => self.shared.durable_position(),
            SpillMode::Always => self.shared.ring.spilled(),
        }
    }

    /// Copies the frames of the next block into the buffer and returns the block's header. `None`: the frames at
    /// `from` were delivered meanwhile, and overwritten.
    pub(super) fn try_copy_next_block(&mut self, from: Position) -> Option<BlockHeader> {
        let head = self.ring.try_copy_and_return_head(from, MAX_BATCH_BYTES, &mut self.buffer)?;
        Some(self.cut_buffer_to_whole_frames_of_one_epoch(from, head))
    }

    /// Cuts the buffer, which was copied from `from` on, to whole frames of one epoch. So the last number of each epoch
    /// stands in the header of a block.
    fn cut_buffer_to_whole_frames_of_one_epoch(&mut self, from: Position, head: Position) -> BlockHeader {
        let end = from + self.buffer.len() as u64;
        let is_last = end == head || end.is_multiple_of(self.shared.ring.size());
        let mut watermark = self.written_watermark;
        let (mut epoch, mut other_epoch_offset): (Option<Epoch>, _) = (None, None);
        let is_plausible = |offset: usize, position| position == from + offset as u64;
        let lane_id = self.shared.lane_id;
        let walked =
            walk_items_and_return_walked_bytes(&self.buffer, lane_id, is_last, is_plausible, |offset, item| {
                if let (WalkItem::Frame(frame), None) = (item, other_epoch_offset) {
                    if *epoch.get_or_insert(frame.epoch) == frame.epoch {
                        watermark = frame.watermark_after();
                    } else {
                        other_epoch_offset = Some(offset);
                    }
                }
            });
        let len = other_epoch_offset.unwrap_or(walked);
        self.buffer.truncate(len);
        BlockHeader {
            lane: lane_id.lane,
            from,
            to: from + len as u64,
            acked_below: self.shared.ring.acked(),
            watermark_at_to: watermark,
        }
    }

    /// Notes that the block is written, not synced.
    pub(super) fn note_written_block(&mut self, block: &BlockHeader) {
        self.written_watermark = block.watermark_at_to;
    }

    /// After an error: what is not synced is to be written again.
    pub(super) fn forget_unsynced_blocks(&mut self) {
        self.written_watermark = self.synced_watermark;
    }

    /// Adds a synced block to the index, then raises the spilled position: in this order. `file`: the segment, in which
    /// the lane may have its first block.
    pub(super) fn publish_synced_block(&mut self, extent: Extent, watermark_at_to: Watermark, file: &IndexedFile) {
        let mut progress = self.shared.lock_progress();
        progress.index.files.entry(extent.file).or_insert_with(|| file.clone());
        progress.index.push_or_merge_extent_and_grow_file(extent);
        self.synced_watermark = watermark_at_to;
        progress.durable = watermark_at_to;
        drop(progress);
        self.shared.ring.raise_spilled(extent.to);
    }

    /// The checkpoint of the lane as it is now, without the clean mark.
    fn build_current_unclean_checkpoint(&self) -> Checkpoint {
        let progress = self.shared.lock_progress();
        let written = self.durable_checkpoint.appended;
        let next = if self.shared.epoch.is_some() { self.shared.next_seq() } else { written.next };
        Checkpoint {
            appended: Watermark { next, ..written },
            acked: progress.acked,
            delivered: progress.delivered,
            sink_note: progress.sink_note,
            clean_head: None,
        }
    }

    /// The checkpoint to be written, if the delivery has made progress.
    pub(super) fn build_checkpoint_if_advanced(&self) -> Option<Checkpoint> {
        let checkpoint = self.build_current_unclean_checkpoint();
        let durable = &self.durable_checkpoint;
        (checkpoint.acked != durable.acked || checkpoint.delivered != durable.delivered).then_some(checkpoint)
    }

    /// The last checkpoint, with the clean mark if everything is durable and nothing more can be appended.
    pub(super) fn build_last_checkpoint(&self) -> Checkpoint {
        let head = self.shared.ring.head();
        let has_writer = self.shared.has_writer.load(Ordering::Acquire);
        let is_clean = !has_writer && self.shared.durable_position() >= head;
        Checkpoint { clean_head: is_clean.then_some(head), ..self.build_current_unclean_checkpoint() }
    }

    /// Notes that the checkpoint, which was written last, is synced.
    pub(super) fn confirm_synced_checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoint_slots.confirm_synced();
        self.durable_checkpoint = checkpoint;
    }

    /// Takes the files below the durable checkpoint out of the index: the lane does not need them any more.
    pub(super) fn release_passed_files(&self) -> Vec<ReleasedFile> {
        let passed =
            self.shared.lock_progress().index.remove_files_wholly_below_and_return_them(self.durable_checkpoint.acked);
        passed.into_iter().map(|(number, file)| ReleasedFile { number, damaged: file.damaged }).collect()
    }

    /// The ring's path, if the lane has no worker, was closed in good order and is delivered, so that its ring is of no
    /// use any more.
    pub(super) fn ring_to_remove_after_close(&self) -> Option<&Path> {
        let Checkpoint { clean_head, acked, .. } = self.durable_checkpoint;
        let is_drained = !self.shared.epoch.is_some() && clean_head.is_some_and(|head| acked >= head);
        (is_drained && self.ring_file.name.is_still_named()).then_some(&*self.ring_file.name.path)
    }
}

/// A segment or salvaged ring that a lane does not need any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReleasedFile {
    pub(super) number: u64,
    /// The lane's reader, or the scan at the start, could not read something in it.
    pub(super) damaged: bool,
}
