//! A machine for models: a directory on a disk that fails and forgets, rings whose mapped pages reach the medium at
//! different times, and the journal's parts, driven by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{LOG, new_temp_dir, retry_while_locked};
use crate::{
    journal::{
        Batch, Config, DirectoryLocks, Journal, LaneReader, LaneWriter, OpenError, RecoveryReport, Spiller,
        disk::Disk,
        layout,
        ring::DATA,
        ring_file::{RingFile, RingLookup},
    },
    size::Bytes,
};

const PAGE: usize = 4096;
/// Earlier contents that are kept of each ring.
const MAX_RING_STATES: usize = 12;

/// Chooses one of so many.
pub(crate) type Pick<'a> = &'a mut dyn FnMut(usize) -> usize;

/// The machine. It lives through power cuts.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    /// The ring directory, if the rings are on tmpfs.
    rings: Option<tempfile::TempDir>,
    config: Config,
    /// By log: each fails by itself.
    disks: BTreeMap<&'static str, Disk>,
    /// By inode, the contents of a ring whose pages may be on the medium, the oldest first.
    ring_states: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// The journal of one log in one process on the machine.
pub(crate) struct Process {
    pub(crate) writers: Vec<LaneWriter>,
    pub(crate) reports: Vec<RecoveryReport>,
    spiller: Spiller,
}

/// A frame that was read, with plain numbers.
pub(crate) struct ReadFrame {
    pub(crate) lane: u16,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) payload: Vec<u8>,
    /// The position at which the frame ends.
    pub(crate) end: u64,
}

impl Machine {
    pub(crate) fn new(rings_on_tmpfs: bool, config: Config) -> Machine {
        let rings = rings_on_tmpfs.then(new_temp_dir);
        let ring_dir = rings.as_ref().map(|rings| rings.path().to_owned());
        let config = Config { ring_dir, ..config };
        Machine { dir: new_temp_dir(), rings, config, disks: BTreeMap::new(), ring_states: BTreeMap::new() }
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    fn disk(&mut self, log: &'static str) -> &Disk {
        self.disks.entry(log).or_default()
    }

    /// Starts a process with so many workers and rings of so many bytes, with the log of the journal's tests alone.
    pub(in crate::journal) fn start_process(
        &mut self,
        workers: usize,
        ring_bytes: Bytes,
    ) -> Result<(Process, Vec<LaneReader>), OpenError> {
        let config = Config { ring_bytes, ..self.config.clone() };
        let locks = self.lock_directories(LOG)?;
        self.open_journal(LOG, &config, workers, &locks)
    }

    /// Locks the directories for a process, by the disk of this log.
    pub(crate) fn lock_directories(&mut self, log: &'static str) -> Result<DirectoryLocks, OpenError> {
        let (disk, ring_dir) = (self.disk(log).clone(), self.config.ring_dir.clone());
        retry_while_locked(|| DirectoryLocks::lock_on_disk(&disk, self.dir.path(), ring_dir.as_deref()))
    }

    /// Opens the journal of a log. The machine knows the ring directory.
    pub(crate) fn open_journal(
        &mut self,
        log: &'static str,
        config: &Config,
        workers: usize,
        locks: &DirectoryLocks,
    ) -> Result<(Process, Vec<LaneReader>), OpenError> {
        let config = Config { ring_dir: self.config.ring_dir.clone(), ..config.clone() };
        let disk = self.disk(log).clone();
        let opened = Journal::open_and_recover_on_disk(&disk, self.dir.path(), log, &config, workers, locks);
        self.save_ring_states();
        let journal = opened?;
        let reports = journal.recovery_reports().to_vec();
        let parts = journal.into_parts();
        Ok((Process { writers: parts.writers, reports, spiller: parts.spiller }, parts.readers))
    }

    /// From operation `fail_from` of the log's disk on, `failures` of them fail.
    pub(crate) fn break_disk(&mut self, log: &'static str, fail_from: u64, failures: u64) {
        self.disk(log).faults.fail_from(fail_from, failures);
    }

    pub(crate) fn repair_disk(&mut self, log: &'static str) {
        self.disk(log).faults.fail_from(u64::MAX, 0);
    }

    /// The segments of a log, in order.
    pub(crate) fn list_segments(&self, log: &str) -> Vec<PathBuf> {
        let dir = self.dir.path().join("journal").join(log);
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "segment");
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> = entries.filter(is_segment).collect();
        segments.sort_unstable();
        segments
    }

    /// The medium gives these bytes of a file of the log no more.
    pub(crate) fn make_unreadable(&mut self, log: &'static str, path: &Path, bytes: Range<u64>) {
        self.disk(log).faults.make_unreadable(path, bytes);
    }

    pub(crate) fn make_all_readable(&mut self, log: &'static str) {
        self.disk(log).faults.make_all_readable();
    }

    /// Each read of the log's files gives so many bytes at most; 0: as many as are asked for.
    pub(crate) fn limit_reads_to(&mut self, log: &'static str, bytes: usize) {
        self.disk(log).faults.limit_reads_to(bytes);
    }

    /// The rings and salvaged rings, with their inodes.
    fn ring_files(&self) -> Vec<(u64, PathBuf)> {
        let is_ring = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "ring" || kind == "salvage");
        let journals = self.dir.path().join("journal");
        let roots = [Some(journals), self.rings.as_ref().map(|rings| rings.path().to_owned())];
        let dirs = roots.into_iter().flatten().flat_map(|root| layout::list_journal_dirs_sorted(&root).unwrap());
        let entries = dirs.flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_ring).collect();
        paths.sort_unstable();
        paths.into_iter().map(|path| (path.metadata().unwrap().ino(), path)).collect()
    }

    /// Saves the rings as they are now: the kernel may have written any page of them by the time the power goes.
    pub(crate) fn save_ring_states(&mut self) {
        let synced: BTreeSet<u64> = self.disks.values().flat_map(|disk| disk.faults.take_synced_inodes()).collect();
        let files = self.ring_files();
        self.ring_states.retain(|inode, _| files.iter().any(|(known, _)| known == inode));
        for (inode, path) in files {
            let states = self.ring_states.entry(inode).or_default();
            if synced.contains(&inode) {
                states.clear();
            }
            if states.len() == MAX_RING_STATES {
                states.remove(MAX_RING_STATES / 2);
            }
            states.push(std::fs::read(path).unwrap());
        }
    }

    /// The power goes: writes that are not synced are undone in part, and rings on tmpfs are gone. Called when nothing
    /// of the process lives any more.
    pub(crate) fn cut_power(&mut self, pick: Pick<'_>) {
        self.save_ring_states();
        for (inode, path) in self.ring_files() {
            if self.rings.as_ref().is_some_and(|rings| path.starts_with(rings.path())) {
                std::fs::remove_file(path).unwrap();
                continue;
            }
            let states = &self.ring_states[&inode];
            let whole = (pick(3) == 0).then(|| pick(states.len()));
            let pages = (0..states[0].len().div_ceil(PAGE)).flat_map(|page| {
                let state = &states[whole.unwrap_or_else(|| pick(states.len()))];
                state[page * PAGE..state.len().min((page + 1) * PAGE)].to_vec()
            });
            let bytes: Vec<u8> = pages.collect();
            std::fs::write(path, bytes).unwrap();
        }
        self.disks.values().for_each(|disk| disk.faults.undo_unsynced_randomly(pick));
        for (_, path) in self.ring_files() {
            change_boot_id(&path);
        }
        self.ring_states.clear();
        // After the power cut, these contents are on the medium.
        self.save_ring_states();
    }
}

/// Marks the ring as one of an earlier boot.
fn change_boot_id(path: &Path) {
    let Ok(RingLookup::Found(mut ring)) = RingFile::open_and_verify_header(&Disk::default(), path, true) else {
        return;
    };
    ring.header.boot_id = [7; 16];
    let mut bytes = std::fs::read(path).unwrap();
    let header = ring.header.encode();
    bytes[..header.len()].copy_from_slice(&header);
    assert!(bytes.len() > DATA);
    std::fs::write(path, bytes).unwrap();
}

impl Process {
    /// Runs one round of the spiller.
    pub(crate) fn run_spiller(&mut self, now: Instant) {
        self.spiller.spill_due_lanes_and_save_due_checkpoints(now);
    }

    /// By lane, the position below which everything is durable.
    pub(crate) fn durable_positions(&self) -> BTreeMap<u16, u64> {
        let lanes = self.spiller.segment_log.lanes.iter();
        lanes.map(|lane| (lane.number(), lane.shared.durable_position().get())).collect()
    }

    /// By lane, the position below which everything is delivered.
    pub(crate) fn acked_positions(&self) -> BTreeMap<u16, u64> {
        self.spiller.segment_log.lanes.iter().map(|lane| (lane.number(), lane.shared.ring.acked().get())).collect()
    }

    /// The head of a lane.
    pub(crate) fn head(&self, lane: usize) -> u64 {
        self.spiller.segment_log.lanes[lane].shared.ring.head().get()
    }

    /// Whether any lane backs off after a disk error.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.spiller.segment_log.is_backing_off()
    }

    /// Stops in good order. Every reader must be gone.
    pub(crate) fn close(self) {
        drop(self.writers);
        self.spiller.spill_rest_write_last_checkpoints_and_close();
    }
}

/// How often a read is tried again that the medium fails.
const READ_ATTEMPTS: usize = 50;

/// Reads every undelivered frame of a lane. The delivery reads them afterwards as if for the first time.
pub(crate) fn read_undelivered(reader: &mut LaneReader) -> Vec<ReadFrame> {
    let (mut next, mut frames, mut batch) = (reader.first_undelivered(), Vec::new(), Batch::default());
    loop {
        let is_read = (0..READ_ATTEMPTS).any(|_| reader.read(next, &mut batch).is_ok());
        assert!(is_read, "lane {} cannot be read from {next} on", reader.lane());
        frames.extend(batch.frames().map(|frame| ReadFrame {
            lane: reader.lane(),
            epoch: frame.epoch.get(),
            seq: frame.seq.get(),
            payload: frame.payload.to_vec(),
            end: frame.next_position.get(),
        }));
        if batch.next_position() == next {
            reader.continue_account_at(reader.first_undelivered(), reader.recovered_watermark());
            return frames;
        }
        next = batch.next_position();
    }
}
