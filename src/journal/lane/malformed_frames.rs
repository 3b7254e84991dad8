//! The file that keeps frames whose payloads nobody can use, one behind the other as in the ring.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::journal::{
    disk::Disk,
    frame::{Frame, FrameHeader, write_frame},
    layout,
};

/// The malformed frames of a lane. No file is created before the first one.
#[derive(Debug)]
pub(in crate::journal) struct MalformedFramesFile {
    lane: u16,
    quarantine_dir: PathBuf,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
    /// Every byte before is synced.
    synced: u64,
}

impl MalformedFramesFile {
    pub(in crate::journal) fn new(lane: u16, quarantine_dir: &Path) -> MalformedFramesFile {
        MalformedFramesFile { lane, quarantine_dir: quarantine_dir.to_owned(), open: None }
    }

    /// The file, if a frame was kept since the start.
    pub(super) fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| &*open.path)
    }

    /// Appends a frame and syncs it. The file of an earlier start is never continued.
    pub(super) fn append_frame_and_sync(
        &mut self,
        disk: &Disk,
        checksum_seed: u32,
        frame: &Frame<'_>,
    ) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(create_file_and_sync_dir(disk, &self.quarantine_dir, self.lane)?),
        };
        let mut bytes = vec![0; frame.whole_len() as usize];
        let header = FrameHeader { position: frame.position, epoch: frame.epoch, seq: frame.seq };
        write_frame(&mut bytes, checksum_seed, &header, frame.payload);
        disk.write_at(&open.file, &bytes, open.synced)?;
        disk.sync_file_and_fail_if_unlinked(&open.file)?;
        open.synced += bytes.len() as u64;
        Ok(())
    }
}

fn create_file_and_sync_dir(disk: &Disk, quarantine_dir: &Path, lane: u16) -> io::Result<OpenFile> {
    disk.create_dir(quarantine_dir)?;
    let name = layout::malformed_frames_file_name(lane);
    let path = layout::find_free_path_in_quarantine(quarantine_dir, name.as_ref())?;
    let file = disk.create_new_file_with_mode_0600(&path)?;
    disk.sync_dir(quarantine_dir)?;
    Ok(OpenFile { path, file, synced: 0 })
}
