//! A machine that a model of everything runs on: a directory on a disk that fails and forgets, rings whose mapped pages reach
//! it at ages of their own, and the journal's parts, driven by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::scratch;
use crate::{
    journal::{
        Batch, Config, Journal, Lane, LaneReport, OpenError, Reader, Spiller,
        disk::Disk,
        ring::DATA,
        ringfile::{Found, RingFile},
    },
    size::Bytes,
};

const PAGE: usize = 4096;
/// Ages kept of each ring.
const AGES: usize = 12;

/// Chooses one of so many.
pub(crate) type Pick<'a> = &'a mut dyn FnMut(usize) -> usize;

/// The machine, through power cuts.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    /// Rings on tmpfs.
    rings: Option<tempfile::TempDir>,
    config: Config,
    disk: Disk,
    /// What each page of a ring may look like on the medium, by inode, the oldest first.
    ages: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// The journal of one process on it.
pub(crate) struct Process {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) reports: Vec<LaneReport>,
    spiller: Spiller,
}

/// A frame that can be read.
pub(crate) struct Kept {
    pub(crate) lane: u16,
    pub(crate) epoch: u64,
    pub(crate) stream: u8,
    pub(crate) seq: u64,
    pub(crate) payload: Vec<u8>,
}

impl Machine {
    pub(crate) fn new(tmpfs: bool, config: Config) -> Machine {
        let rings = tmpfs.then(scratch);
        let ring_dir = rings.as_ref().map(|rings| rings.path().to_owned());
        let config = Config { ring_dir, ..config };
        Machine { dir: scratch(), rings, config, disk: Disk::default(), ages: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a process with so many workers and rings of so many bytes.
    pub(crate) fn boot(&mut self, workers: usize, ring_bytes: Bytes) -> Result<(Process, Vec<Reader>), OpenError> {
        let config = Config { ring_bytes, ..self.config.clone() };
        let opened = loop {
            match Journal::open_with(&self.disk, self.dir.path(), &config, workers) {
                // A child that another test forked holds every descriptor of this process until it executes its program.
                Err(OpenError::Locked { .. }) => std::thread::yield_now(),
                opened => break opened,
            }
        };
        self.write_back();
        let journal = opened?;
        let reports = journal.recovered().to_vec();
        let parts = journal.into_parts();
        Ok((Process { lanes: parts.lanes, reports, spiller: parts.spiller }, parts.readers))
    }

    /// From the `stop_at`th effect on, `failing` of them fail.
    pub(crate) fn disk_fails(&self, stop_at: u64, failing: u64) {
        self.disk.faults.stop_at(stop_at, failing);
    }

    pub(crate) fn disk_is_well(&self) {
        self.disk.faults.stop_at(u64::MAX, 0);
    }

    fn ring_files(&self) -> Vec<(u64, PathBuf)> {
        let mapped = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "ring" || kind == "salvage");
        let journal = self.dir.path().join("journal");
        let mut dirs = BTreeSet::from([journal]);
        dirs.extend(self.rings.as_ref().map(|rings| rings.path().to_owned()));
        let paths = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
        let paths = paths.map(|entry| entry.unwrap().path()).filter(mapped);
        paths.map(|path| (path.metadata().unwrap().ino(), path)).collect()
    }

    /// The rings as they are now are what the kernel may have written by the time the power goes.
    pub(crate) fn write_back(&mut self) {
        let synced = self.disk.faults.take_synced();
        let files = self.ring_files();
        self.ages.retain(|inode, _| files.iter().any(|(known, _)| known == inode));
        for (inode, path) in files {
            let ages = self.ages.entry(inode).or_default();
            if synced.contains(&inode) {
                ages.clear();
            }
            if ages.len() == AGES {
                ages.remove(AGES / 2);
            }
            ages.push(std::fs::read(path).unwrap());
        }
    }

    /// The power goes. To be called once nothing of the process lives.
    pub(crate) fn power_cut(&mut self, pick: Pick<'_>) {
        self.write_back();
        for (inode, path) in self.ring_files() {
            if self.rings.as_ref().is_some_and(|rings| path.starts_with(rings.path())) {
                std::fs::remove_file(path).unwrap();
                continue;
            }
            let ages = &self.ages[&inode];
            let whole = (pick(3) == 0).then(|| pick(ages.len()));
            let pages = (0..ages[0].len().div_ceil(PAGE)).flat_map(|page| {
                let age = &ages[whole.unwrap_or_else(|| pick(ages.len()))];
                age[page * PAGE..age.len().min((page + 1) * PAGE)].to_vec()
            });
            let bytes: Vec<u8> = pages.collect();
            std::fs::write(path, bytes).unwrap();
        }
        self.disk.faults.power_cut_anywhere(pick);
        for (_, path) in self.ring_files() {
            of_another_boot(&path);
        }
        self.ages.clear();
        // Read from the medium: this is what there is.
        self.write_back();
    }
}

/// The ring is of a boot that is over.
fn of_another_boot(path: &Path) {
    let Ok(Found::Ring(mut ring)) = RingFile::open(path, true) else { return };
    ring.fixed.boot = [7; 16];
    let mut bytes = std::fs::read(path).unwrap();
    let line = ring.fixed.encode();
    bytes[..line.len()].copy_from_slice(&line);
    assert!(bytes.len() > DATA);
    std::fs::write(path, bytes).unwrap();
}

impl Process {
    /// One look of the spiller.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.spiller.tick(now);
    }

    /// Everything below has a durable home, by lane.
    pub(crate) fn durable(&self) -> BTreeMap<u16, u64> {
        self.spiller.lanes.iter().map(|lane| (lane.number(), lane.shared.durable())).collect()
    }

    /// Everything below is delivered, by lane.
    pub(crate) fn acked(&self) -> BTreeMap<u16, u64> {
        self.spiller.lanes.iter().map(|lane| (lane.number(), lane.shared.ring.acked())).collect()
    }

    /// Where a lane ends.
    pub(crate) fn head(&self, lane: usize) -> u64 {
        self.spiller.lanes[lane].shared.ring.head()
    }

    /// Whether any lane backs off from its disk.
    pub(crate) fn backing_off(&self) -> bool {
        self.spiller.lanes.iter().any(|lane| lane.backing_off())
    }

    /// The last round of a clean stop; every reader must be gone.
    pub(crate) fn close(self) {
        drop(self.lanes);
        self.spiller.close();
    }

    /// Everything of a lane that can be read from where it is to be shipped, and where each ends.
    pub(crate) fn read(reader: &mut Reader) -> Vec<(Kept, u64)> {
        let (mut at, mut kept, mut batch) = (reader.start(), Vec::new(), Batch::default());
        loop {
            reader.read(at, &mut batch).unwrap();
            kept.extend(batch.frames().map(|frame| {
                let (epoch, stream, seq, payload) = (frame.epoch, frame.stream, frame.seq, frame.payload.to_vec());
                (Kept { lane: reader.lane(), epoch, stream, seq, payload }, frame.next_pos)
            }));
            if batch.next() == at {
                return kept;
            }
            at = batch.next();
        }
    }
}
