//! Opening the journal: locks, the directory's id, recovery of each lane, its three ends.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use crate::{
    clock::wall_ms,
    journal::{
        Config, Lane, LaneReport, Reader, Spiller,
        disk::{Disk, Named, boot_id, lock, refused_file_system},
        error::{OpenError, io_error},
        gauges::{Counters, Gauges},
        identity,
        lane::Shared,
        layout,
        observer::Observed,
        recover::{Place, Recovered},
        ring,
        spill::{Origin, SpillLane},
        survey::Whose,
    },
};

/// An opened journal: recovered, locked, its new epochs durable.
#[derive(Debug)]
pub struct Journal {
    reports: Vec<LaneReport>,
    parts: Parts,
}

/// The ends of the journal's lanes, each for its own thread.
#[derive(Debug)]
pub struct Parts {
    /// One for each worker, in the order of their numbers.
    pub lanes: Vec<Lane>,
    /// One for each lane, those without a worker included.
    pub readers: Vec<Reader>,
    /// For a thread of its own.
    pub spiller: Spiller,
}

impl Journal {
    /// Opens the journal below `data_dir` with a lane for each worker. Called once, before anything listens.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage is not among them: it is counted in [`Journal::recovered`].
    pub fn open(data_dir: &Path, config: &Config, workers: usize) -> Result<Journal, OpenError> {
        Journal::open_with(&Disk::default(), data_dir, config, workers)
    }

    pub(super) fn open_with(
        disk: &Disk,
        data_dir: &Path,
        config: &Config,
        workers: usize,
    ) -> Result<Journal, OpenError> {
        let journal = layout::journal_dir(data_dir);
        made(disk, &journal)?;
        disk.sync_dir(data_dir).map_err(|source| io_error(data_dir, source))?;
        let mut locks = Vec::from([locked(data_dir)?]);
        let rings = match &config.ring_dir {
            Some(rings) => {
                made(disk, rings)?;
                let whole = |dir: &Path| dir.canonicalize().map_err(|source| io_error(dir, source));
                // Whole, for the next start may come from another working directory, and would miss what is in them.
                let rings = whole(rings)?;
                if rings != whole(data_dir)? {
                    locks.push(locked(&rings)?);
                }
                if rings == whole(&journal)? { journal.clone() } else { rings }
            }
            None => journal.clone(),
        };
        if let Some(kind) = refused_file_system(&rings).map_err(|source| io_error(&rings, source))? {
            return Err(OpenError::FileSystem { path: rings, kind });
        }
        if workers > 9999 {
            return Err(OpenError::Lanes { workers });
        }
        let directory = identity::directory_id(disk, &journal, &rings)?;
        identity::keep_rings(disk, &journal, &rings, directory)?;
        let found = layout::lanes(&journal).map_err(|source| io_error(&journal, source))?;
        let place = |lane: u16| Place {
            disk,
            whose: Whose { directory, lane, journal: &journal, rings: &rings },
            boot: boot_id(),
            ring_bytes: config.ring_bytes.0,
            worker: usize::from(lane) < workers,
            wall_ms: wall_ms(),
        };
        let mut builder = Builder { locks: Arc::new(locks), ..Builder::default() };
        let adopted = found.into_iter().filter(|lane| usize::from(*lane) >= workers && !place(*lane).drained());
        for lane in (0..workers as u16).chain(adopted) {
            let recovered = place(lane).recover()?;
            builder.add(&place(lane).whose, disk, recovered)?;
        }
        Ok(builder.finish(disk, config))
    }

    /// What was found in each lane.
    pub fn recovered(&self) -> &[LaneReport] {
        &self.reports
    }

    /// The ends, each to be given to its thread.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

#[derive(Default)]
struct Builder {
    reports: Vec<LaneReport>,
    lanes: Vec<Lane>,
    readers: Vec<Reader>,
    spills: Vec<SpillLane>,
    disk_pressed: Arc<AtomicBool>,
    locks: Arc<Vec<File>>,
}

impl Builder {
    fn add(&mut self, whose: &Whose<'_>, disk: &Disk, found: Recovered) -> Result<(), OpenError> {
        let lane = found.report.lane;
        let path = whose.rings.join(layout::ring_name(lane));
        let ring = Named::new(path, &found.ring.file).map_err(|source| io_error(whose.rings, source))?;
        let (writer, ship, spill) =
            ring::map(&found.ring.file, found.ring.fixed.size).map_err(|source| io_error(&found.dir, source))?;
        let who = (lane, found.seed, found.report.epoch);
        let common = (self.disk_pressed.clone(), self.locks.clone());
        let shared = Shared::new(who, writer.ring().clone(), common, found.home);
        let origin = Origin {
            disk: disk.clone(),
            directory: whose.directory,
            dir: found.dir,
            quarantine: whose.journal.join(layout::QUARANTINE),
            checkpoint: found.checkpoint,
            written: found.written,
            next_number: found.next_number,
            at_spilled: found.last,
            ring,
        };
        if found.report.epoch > 0 {
            self.lanes.push(Lane::new(writer, shared.clone()));
        }
        self.readers.push(Reader::new(shared.clone(), ship, whose.directory));
        self.spills.push(SpillLane::new(shared, spill, origin));
        self.reports.push(found.report);
        Ok(())
    }

    fn finish(self, disk: &Disk, config: &Config) -> Journal {
        let shared = self.spills.iter().map(|lane| lane.shared.clone());
        let gauges = Gauges::new(&self.reports);
        let spiller = Spiller {
            observed: Observed::new(config, shared, gauges, disk.asked(), self.disk_pressed),
            lanes: self.spills,
            config: config.clone(),
            counters: Counters::new(),
            checkpoint_at: None,
        };
        Journal { reports: self.reports, parts: Parts { lanes: self.lanes, readers: self.readers, spiller } }
    }
}

fn made(disk: &Disk, dir: &Path) -> Result<(), OpenError> {
    disk.create_dir(dir).map_err(|source| io_error(dir, source))
}

fn locked(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    match lock(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(OpenError::Locked { path }),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}
