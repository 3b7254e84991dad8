//! The checkpoint of a lane: how far everything is delivered, in two slots of which the younger sound one counts.
//! The layout is specified in [`crate::journal`].

use std::{fs::File, io, path::Path};

use crate::journal::{
    Mark, STREAMS, SinkNote,
    disk::{Disk, Unfinished},
    frame::{put, u32_at, u64_at},
    segment::read_up_to,
};

/// Bytes of a slot: a page, so that one write never touches both.
const SLOT: u64 = 4096;
/// The version this build writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"WPCHECK\n";
const CHECKPOINT_VERSION: usize = MAGIC.len();
const LANE: usize = CHECKPOINT_VERSION + 4;
const CLEAN: usize = LANE + 2;
const DIRECTORY: usize = CLEAN + 2;
const COUNTER: usize = DIRECTORY + 8;
const EPOCH: usize = COUNTER + 8;
const NEXT: usize = EPOCH + 8;
const ACKED: usize = NEXT + 8 * STREAMS;
const HEAD: usize = ACKED + 8;
const MARKS: usize = HEAD + 8;
const SINK: usize = MARKS + 16 * STREAMS;
const CRC: usize = SINK + 64;
const END: usize = CRC + 4;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The last epoch opened, and the next numbers in it when this was written.
    pub(super) epoch: u64,
    pub(super) next: [u64; STREAMS],
    /// Everything below is delivered: a lower bound.
    pub(super) acked: u64,
    /// How far each stream is delivered; the lowest of them is `acked`.
    pub(super) delivered: [Mark; STREAMS],
    pub(super) sink: SinkNote,
    /// The head after which nothing was appended, everything below it delivered or synced in segments.
    pub(super) clean: Option<u64>,
}

impl Checkpoint {
    /// Of a lane in which nothing was ever appended.
    pub(super) fn fresh() -> Checkpoint {
        Checkpoint {
            epoch: 0,
            next: [0; STREAMS],
            acked: 0,
            delivered: [Mark::default(); STREAMS],
            sink: [0; 64],
            clean: Some(0),
        }
    }

    pub(super) fn encode(&self, directory: u64, lane: u16, counter: u64) -> [u8; END] {
        let mut bytes = [0; END];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, CHECKPOINT_VERSION, &VERSION.to_le_bytes());
        put(&mut bytes, LANE, &lane.to_le_bytes());
        put(&mut bytes, CLEAN, &u16::from(self.clean.is_some()).to_le_bytes());
        put(&mut bytes, DIRECTORY, &directory.to_le_bytes());
        put(&mut bytes, COUNTER, &counter.to_le_bytes());
        put(&mut bytes, EPOCH, &self.epoch.to_le_bytes());
        put(&mut bytes, ACKED, &self.acked.to_le_bytes());
        put(&mut bytes, HEAD, &self.clean.unwrap_or(0).to_le_bytes());
        for stream in 0..STREAMS {
            put(&mut bytes, NEXT + 8 * stream, &self.next[stream].to_le_bytes());
            put(&mut bytes, MARKS + 16 * stream, &self.delivered[stream].epoch.to_le_bytes());
            put(&mut bytes, MARKS + 16 * stream + 8, &self.delivered[stream].next.to_le_bytes());
        }
        put(&mut bytes, SINK, &self.sink);
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// The counter and what the slot says; `None` if it is damaged, of another lane, or of a version this build does not read.
    pub(super) fn decode(bytes: &[u8], directory: u64, lane: u16) -> Option<(u64, Checkpoint)> {
        let bytes = bytes.get(..END)?;
        let sound = bytes[..MAGIC.len()] == MAGIC
            && u32_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC])
            && u32_at(bytes, CHECKPOINT_VERSION) == VERSION
            && bytes[LANE..CLEAN] == lane.to_le_bytes()
            && u64_at(bytes, DIRECTORY) == directory;
        let mark = |stream: usize| Mark {
            epoch: u64_at(bytes, MARKS + 16 * stream),
            next: u64_at(bytes, MARKS + 16 * stream + 8),
        };
        let mut sink = [0; 64];
        sink.copy_from_slice(&bytes[SINK..CRC]);
        sound.then(|| {
            let checkpoint = Checkpoint {
                epoch: u64_at(bytes, EPOCH),
                next: std::array::from_fn(|stream| u64_at(bytes, NEXT + 8 * stream)),
                acked: u64_at(bytes, ACKED),
                delivered: std::array::from_fn(mark),
                sink,
                clean: (bytes[CLEAN] != 0).then(|| u64_at(bytes, HEAD)),
            };
            (u64_at(bytes, COUNTER), checkpoint)
        })
    }
}

/// The file of a lane.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    file: File,
    directory: u64,
    lane: u16,
    /// The last one durable.
    counter: u64,
    slot: u64,
    disk: Disk,
}

impl CheckpointFile {
    /// A new file with its first checkpoint in it; it has its name only once that is durable. The caller syncs the directory.
    pub(super) fn create(
        disk: &Disk,
        path: &Path,
        directory: u64,
        lane: u16,
        first: &Checkpoint,
    ) -> io::Result<CheckpointFile> {
        let unfinished = Unfinished::begin(disk, path)?;
        unfinished.set_aside(2 * SLOT)?;
        let file = unfinished.finish(&first.encode(directory, lane, 1), path)?;
        Ok(CheckpointFile { file, directory, lane, counter: 1, slot: 0, disk: disk.clone() })
    }

    /// Opens an existing one. `None` beside it: neither slot can be read, so everything is replayed.
    pub(super) fn open(
        disk: &Disk,
        path: &Path,
        directory: u64,
        lane: u16,
    ) -> io::Result<(CheckpointFile, Option<Checkpoint>)> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        let (slot, found) = read(&file, directory, lane)?;
        let counter = found.map_or(0, |(counter, _)| counter);
        let opened = CheckpointFile { file, directory, lane, counter, slot, disk: disk.clone() };
        Ok((opened, found.map(|(_, checkpoint)| checkpoint)))
    }

    /// Makes it durable. After an error the younger sound slot is still the one before: the next try takes the same place.
    pub(super) fn write(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let slot = 1 - self.slot;
        let bytes = checkpoint.encode(self.directory, self.lane, self.counter + 1);
        self.disk.write_at(&self.file, &bytes, slot * SLOT)?;
        self.disk.sync(&self.file)?;
        self.slot = slot;
        self.counter += 1;
        Ok(())
    }
}

/// The younger sound slot of a checkpoint file: its place, its counter and what it says.
pub(super) fn read(file: &File, directory: u64, lane: u16) -> io::Result<(u64, Option<(u64, Checkpoint)>)> {
    let mut best = (0, None);
    for slot in 0..2 {
        let mut bytes = [0; END];
        let got = read_up_to(file, &mut bytes, slot * SLOT)?;
        let found = Checkpoint::decode(&bytes[..got], directory, lane);
        if found.map(|(counter, _)| counter) > best.1.map(|(counter, _): (u64, Checkpoint)| counter) {
            best = (slot, found);
        }
    }
    Ok(best)
}
