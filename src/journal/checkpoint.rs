//! The checkpoint of a lane: how far everything is delivered. One file has two slots for each lane of a log, and the
//! newer valid one counts. The layout is specified in [`crate::journal`].

use std::{fs::File, io, path::Path, sync::Arc};

use crate::journal::{
    bytes::{put_bytes, put_u16_le, put_u32_le, put_u64_le, put_watermark, u32_le_at, u64_le_at, watermark_at},
    disk::{Disk, PendingFile, is_medium_error},
    layout,
    units::{LaneId, Position, SinkNote, Watermark},
};

/// Bytes of a slot: a page, so that one write never touches both slots.
const SLOT: u64 = 4096;
/// The version of checkpoints that this build writes.
pub(super) const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"WPCHECK\n";
const CHECKPOINT_VERSION: usize = MAGIC.len();
const LANE: usize = CHECKPOINT_VERSION + 4;
const CLEAN: usize = LANE + 2;
const DIRECTORY: usize = CLEAN + 2;
const COUNTER: usize = DIRECTORY + 8;
const APPENDED: usize = COUNTER + 8;
const ACKED: usize = APPENDED + 16;
const HEAD: usize = ACKED + 8;
const DELIVERED: usize = HEAD + 8;
const SINK_NOTE: usize = DELIVERED + 16;
const CRC: usize = SINK_NOTE + 64;
const END: usize = CRC + 4;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The last epoch that was opened, and the next number in it when the checkpoint was written.
    pub(super) appended: Watermark,
    /// Everything below is delivered. More may be delivered.
    pub(super) acked: Position,
    /// How far the lane is delivered, by number.
    pub(super) delivered: Watermark,
    pub(super) sink_note: SinkNote,
    /// Set by a clean stop: the head, behind which nothing was appended. Everything below is delivered or in segments.
    pub(super) clean_head: Option<Position>,
}

/// A valid checkpoint in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredCheckpoint {
    /// Counts the checkpoints of the lane.
    pub(super) counter: u64,
    pub(super) checkpoint: Checkpoint,
}

impl Checkpoint {
    /// The checkpoint of a lane to which nothing was ever appended.
    pub(super) fn of_new_lane() -> Checkpoint {
        Checkpoint {
            appended: Watermark::default(),
            acked: Position::ZERO,
            delivered: Watermark::default(),
            sink_note: [0; 64],
            clean_head: Some(Position::ZERO),
        }
    }
}

impl StoredCheckpoint {
    pub(super) fn encode(&self, lane_id: LaneId) -> [u8; END] {
        let Checkpoint { appended, acked, delivered, sink_note, clean_head } = &self.checkpoint;
        let mut bytes = [0; END];
        put_bytes(&mut bytes, 0, &MAGIC);
        put_u32_le(&mut bytes, CHECKPOINT_VERSION, VERSION);
        put_u16_le(&mut bytes, LANE, lane_id.lane);
        put_u16_le(&mut bytes, CLEAN, u16::from(clean_head.is_some()));
        put_u64_le(&mut bytes, DIRECTORY, lane_id.directory_id);
        put_u64_le(&mut bytes, COUNTER, self.counter);
        put_watermark(&mut bytes, APPENDED, *appended);
        put_u64_le(&mut bytes, ACKED, acked.get());
        put_u64_le(&mut bytes, HEAD, clean_head.unwrap_or_default().get());
        put_watermark(&mut bytes, DELIVERED, *delivered);
        put_bytes(&mut bytes, SINK_NOTE, sink_note);
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put_u32_le(&mut bytes, CRC, crc);
        bytes
    }

    /// `None`: damaged, of another lane, or of a version that this build does not read.
    pub(super) fn decode_if_valid(bytes: &[u8], lane_id: LaneId) -> Option<StoredCheckpoint> {
        let bytes = bytes.get(..END)?;
        let is_valid = bytes[..MAGIC.len()] == MAGIC
            && u32_le_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC])
            && u32_le_at(bytes, CHECKPOINT_VERSION) == VERSION
            && bytes[LANE..CLEAN] == lane_id.lane.to_le_bytes()
            && u64_le_at(bytes, DIRECTORY) == lane_id.directory_id;
        let mut sink_note = [0; 64];
        sink_note.copy_from_slice(&bytes[SINK_NOTE..CRC]);
        is_valid.then(|| {
            let checkpoint = Checkpoint {
                appended: watermark_at(bytes, APPENDED),
                acked: Position::new(u64_le_at(bytes, ACKED)),
                delivered: watermark_at(bytes, DELIVERED),
                sink_note,
                clean_head: (bytes[CLEAN] != 0).then(|| Position::new(u64_le_at(bytes, HEAD))),
            };
            StoredCheckpoint { counter: u64_le_at(bytes, COUNTER), checkpoint }
        })
    }
}

/// The open file with the checkpoints of all lanes of a log.
#[derive(Clone, Debug)]
pub(super) struct CheckpointsFile {
    file: Arc<File>,
    disk: Disk,
}

/// The two slots of a lane in the file.
#[derive(Debug)]
pub(super) struct CheckpointSlots {
    lane_id: LaneId,
    /// The counter of the last durable checkpoint.
    counter: u64,
    /// The slot of the last durable checkpoint: 0 or 1.
    slot: u64,
}

impl CheckpointsFile {
    /// Opens or creates the file, with slots for the lanes up to `last_lane`. New slots are zeros, preallocated and
    /// synced, so that a full disk stops no checkpoint.
    pub(super) fn open_or_create_with_slots_up_to(
        disk: &Disk,
        journal_dir: &Path,
        last_lane: u16,
    ) -> io::Result<CheckpointsFile> {
        let path = journal_dir.join(layout::CHECKPOINTS);
        let len = (u64::from(last_lane) + 1) * 2 * SLOT;
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => {
                let old_len = file.metadata()?.len();
                if old_len < len {
                    disk.preallocate_zeroed_and_sync(&file, old_len, len - old_len)?;
                }
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pending = PendingFile::create_temporary_replacing_leftover(disk, &path)?;
                pending.preallocate_zeroed_and_sync(len)?;
                let file = pending.write_start_sync_and_rename(&[], &path)?;
                disk.sync_dir(journal_dir)?;
                file
            }
            Err(error) => return Err(error),
        };
        Ok(CheckpointsFile { file: Arc::new(file), disk: disk.clone() })
    }

    /// Reads the newer valid checkpoint of a lane.
    pub(super) fn read_newer_valid_checkpoint(
        &self,
        lane_id: LaneId,
    ) -> io::Result<(CheckpointSlots, CheckpointLookup)> {
        let (slot, lookup) = read_newer_slot_and_checkpoint(&self.disk, &self.file, lane_id)?;
        let counter = if let SlotsLookup::Found(stored) = lookup { stored.counter } else { 0 };
        Ok((CheckpointSlots { lane_id, counter, slot }, lookup.into()))
    }

    /// Writes a checkpoint into the lane's older slot, not synced. It counts once [`CheckpointsFile::sync`] has
    /// succeeded and [`CheckpointSlots::confirm_synced`] was called. After an error the other slot still counts, and
    /// the next call takes the same slot again.
    pub(super) fn write_to_older_slot_unsynced(
        &self,
        slots: &CheckpointSlots,
        checkpoint: Checkpoint,
    ) -> io::Result<()> {
        let stored = StoredCheckpoint { counter: slots.counter + 1, checkpoint };
        let offset = slot_offset(slots.lane_id.lane, 1 - slots.slot);
        let bytes = stored.encode(slots.lane_id);
        match self.disk.write_at(&self.file, &bytes, offset) {
            // A page that cannot be read cannot be changed in part either, only overwritten as a whole.
            Err(error) if is_medium_error(&error) => {
                let mut page = [0; SLOT as usize];
                put_bytes(&mut page, 0, &bytes);
                self.disk.write_at(&self.file, &page, offset)
            }
            written => written,
        }
    }

    /// Syncs what was written for any lane.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync_file_and_fail_if_unlinked(&self.file)
    }

    /// Writes and syncs the checkpoint of one lane.
    pub(super) fn write_and_sync(&self, slots: &mut CheckpointSlots, checkpoint: Checkpoint) -> io::Result<()> {
        self.write_to_older_slot_unsynced(slots, checkpoint)?;
        self.sync()?;
        slots.confirm_synced();
        Ok(())
    }
}

impl CheckpointSlots {
    /// The checkpoint that was written last is synced.
    pub(super) fn confirm_synced(&mut self) {
        self.slot = 1 - self.slot;
        self.counter += 1;
    }
}

/// Reads the newer valid checkpoint of a lane in the file `path`.
pub(super) fn read_newer_valid_checkpoint(disk: &Disk, path: &Path, lane_id: LaneId) -> io::Result<CheckpointLookup> {
    match File::open(path) {
        Ok(file) => Ok(read_newer_slot_and_checkpoint(disk, &file, lane_id)?.1.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CheckpointLookup::NeverWritten),
        Err(error) => Err(error),
    }
}

/// What [`read_newer_valid_checkpoint`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointLookup {
    /// The lane has no checkpoint yet.
    NeverWritten,
    /// Neither slot is valid.
    Unreadable,
    Found(Checkpoint),
}

impl CheckpointLookup {
    pub(super) fn into_checkpoint_if_found(self) -> Option<Checkpoint> {
        match self {
            CheckpointLookup::Found(checkpoint) => Some(checkpoint),
            CheckpointLookup::NeverWritten | CheckpointLookup::Unreadable => None,
        }
    }
}

/// What the slots of a lane hold.
#[derive(Clone, Copy, Debug)]
enum SlotsLookup {
    NeverWritten,
    Unreadable,
    Found(StoredCheckpoint),
}

impl From<SlotsLookup> for CheckpointLookup {
    fn from(lookup: SlotsLookup) -> CheckpointLookup {
        match lookup {
            SlotsLookup::NeverWritten => CheckpointLookup::NeverWritten,
            SlotsLookup::Unreadable => CheckpointLookup::Unreadable,
            SlotsLookup::Found(stored) => CheckpointLookup::Found(stored.checkpoint),
        }
    }
}

fn slot_offset(lane: u16, slot: u64) -> u64 {
    (u64::from(lane) * 2 + slot) * SLOT
}

/// The slot with the newer valid checkpoint, and the checkpoint. Slot 0 if neither is valid.
fn read_newer_slot_and_checkpoint(disk: &Disk, file: &File, lane_id: LaneId) -> io::Result<(u64, SlotsLookup)> {
    let mut newest: (u64, Option<StoredCheckpoint>) = (0, None);
    let mut is_written = false;
    for slot in 0..2 {
        let mut bytes = [0; END];
        let offset = slot_offset(lane_id.lane, slot);
        let got = disk.read_at_marking_unreadable_pages(file, &mut bytes, offset)?.len;
        is_written |= bytes != [0; END];
        let stored = StoredCheckpoint::decode_if_valid(&bytes[..got], lane_id);
        if stored.map(|stored| stored.counter) > newest.1.map(|stored| stored.counter) {
            newest = (slot, stored);
        }
    }
    let lookup = match newest.1 {
        Some(stored) => SlotsLookup::Found(stored),
        None if is_written => SlotsLookup::Unreadable,
        None => SlotsLookup::NeverWritten,
    };
    Ok((newest.0, lookup))
}
