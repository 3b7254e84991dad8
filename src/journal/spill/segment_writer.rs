//! Writes blocks of frames into segments: creates, fills, syncs and closes them.

use std::{fs::File, io, mem, path::PathBuf, time::Duration};

use crate::journal::{
    disk::Disk,
    layout,
    segment::{self, BLOCK_HEADER, BlockHeader, SEGMENT_HEADER, SegmentHeader},
    segment_index::Extent,
    units::Watermark,
};

/// Writes the segments of a log, one after the other.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    disk: Disk,
    directory_id: u64,
    /// The directory of the log's journal.
    dir: PathBuf,
    next_file_number: u64,
    open: Option<OpenSegment>,
}

/// The segment that is being written.
#[derive(Debug)]
struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: File,
    /// The offset of the next block.
    len: u64,
    /// The name of the file is synced.
    is_name_synced: bool,
    /// Blocks that are written and not yet synced.
    unsynced: Vec<WrittenBlock>,
}

/// A block in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenBlock {
    /// The lane's index in the spiller.
    pub(super) lane_index: usize,
    pub(super) extent: Extent,
    pub(super) watermark_at_to: Watermark,
}

/// Blocks of a segment that were synced together, in the order in which they were written.
#[derive(Debug)]
pub(super) struct SyncedBlocks {
    pub(super) file_number: u64,
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    pub(super) blocks: Vec<WrittenBlock>,
    pub(super) sync_duration: Duration,
}

impl SegmentWriter {
    pub(super) fn new(disk: Disk, directory_id: u64, dir: PathBuf, next_file_number: u64) -> SegmentWriter {
        SegmentWriter { disk, directory_id, dir, next_file_number, open: None }
    }

    /// The number of the open segment.
    pub(super) fn open_file_number(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.number)
    }

    /// Bytes of the open segment; 0 if none is open.
    pub(super) fn open_len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.len)
    }

    /// Closes the open segment as it is. What is not synced is forgotten.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Appends a block to the open segment, or to a new one. `frames` are the bytes of the positions that the header
    /// names.
    pub(super) fn append_block_to_open_or_new_segment_unsynced(
        &mut self,
        lane_index: usize,
        header: &BlockHeader,
        checksum_seed: u32,
        frames: &[u8],
    ) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create_unsynced_segment_with_header()?,
        };
        let offset = open.len;
        let written = self
            .disk
            .write_at(&open.file, &header.encode(checksum_seed), offset)
            .and_then(|()| self.disk.write_at(&open.file, frames, offset + BLOCK_HEADER as u64));
        if written.is_ok() {
            open.len = offset + BLOCK_HEADER as u64 + frames.len() as u64;
            let (from, to) = (header.from, header.to);
            let extent = Extent { from, to, file: open.number, offset, end: open.len };
            open.unsynced.push(WrittenBlock { lane_index, extent, watermark_at_to: header.watermark_at_to });
        }
        self.open = Some(open);
        written
    }

    /// Syncs the blocks that are not synced yet, and the name of a new segment. `None`: there were none.
    pub(super) fn sync_unsynced_blocks_if_any(&mut self) -> io::Result<Option<SyncedBlocks>> {
        let Some(open) = self.open.as_mut().filter(|open| !open.unsynced.is_empty()) else { return Ok(None) };
        let started = self.disk.now();
        self.disk.sync_file_and_fail_if_unlinked(&open.file)?;
        if !open.is_name_synced {
            self.disk.sync_dir(&self.dir)?;
            open.is_name_synced = true;
        }
        Ok(Some(SyncedBlocks {
            file_number: open.number,
            path: open.path.clone(),
            file_bytes: open.len,
            blocks: mem::take(&mut open.unsynced),
            sync_duration: self.disk.now().saturating_duration_since(started),
        }))
    }

    /// Closes the open segment after an error. Removes its file if `was_file_synced` is false for its number: no reader
    /// knows of it then.
    pub(super) fn abandon_open_segment_and_remove_file_if_never_synced(
        &mut self,
        was_file_synced: impl Fn(u64) -> bool,
    ) {
        if let Some(open) = self.open.take()
            && !was_file_synced(open.number)
        {
            let _ = self.disk.remove(&open.path);
        }
    }

    /// Creates, syncs and removes an empty segment, to find out whether the disk works again.
    pub(super) fn probe_disk_by_creating_and_removing_segment(&mut self) -> io::Result<()> {
        let probe = self.create_unsynced_segment_with_header()?;
        let synced = self.disk.sync_file_and_fail_if_unlinked(&probe.file).and_then(|()| self.disk.sync_dir(&self.dir));
        let _ = self.disk.remove(&probe.path);
        synced
    }

    /// Creates a segment with its header, not synced.
    fn create_unsynced_segment_with_header(&mut self) -> io::Result<OpenSegment> {
        let number = self.next_file_number;
        let path = self.dir.join(layout::segment_file_name(number));
        let file = self.disk.create_new_file_with_mode_0600(&path)?;
        self.next_file_number += 1;
        let header = SegmentHeader { version: segment::VERSION, directory_id: self.directory_id, number };
        if let Err(error) = self.disk.write_at(&file, &header.encode(), 0) {
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        let len = SEGMENT_HEADER as u64;
        Ok(OpenSegment { number, path, file, len, is_name_synced: false, unsynced: Vec::new() })
    }
}
