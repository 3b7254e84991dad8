//! Opening the journal: locks, the directory's id, recovery of each lane, its three ends.

use std::{
    fs::File,
    path::{Path, PathBuf},
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
        let (rings, locks) = lock_both(disk, data_dir, config.ring_dir.as_deref())?;
        let directory = identity::directory_id(disk, &journal, &rings)?;
        identity::keep_rings(disk, &journal, &rings, directory)?;
        Journal::recover(disk, (&journal, &rings, directory), config, workers, locks)
    }

    /// Opens what another process left in `data_dir`, in order to deliver it: every lane that holds something, none to append to,
    /// no new epoch. `rings`: where its rings are now; by default where the last run had them, and where that directory is not here
    /// the lanes count as cut. Called by `journal drain`, perhaps on another machine.
    ///
    /// # Errors
    /// See [`OpenError`]; there is no journal; or `rings` is named and lacks the ring of a lane that was not closed in good order.
    pub fn adopt(data_dir: &Path, config: &Config, rings: Option<&Path>) -> Result<Journal, OpenError> {
        let disk = &Disk::default();
        let journal = layout::journal_dir(data_dir);
        if !journal.join(layout::DIRECTORY).exists() {
            return Err(OpenError::NoJournal { path: data_dir.to_owned() });
        }
        let at = match rings {
            Some(named) => Some(named.to_owned()).filter(|named| named.is_dir()),
            None => identity::rings_here(&journal).map_err(|source| io_error(&journal, source))?,
        };
        let (at, locks) = match (at, rings) {
            (None, Some(named)) => return Err(OpenError::NoRings { path: named.to_owned(), lane: None }),
            (at, _) => lock_both(disk, data_dir, at.as_deref())?,
        };
        let directory = identity::directory_id(disk, &journal, &at)?;
        if rings.is_some()
            && let Some(lane) =
                identity::lane_without_ring(&journal, &at, directory).map_err(|source| io_error(&journal, source))?
        {
            return Err(OpenError::NoRings { path: at, lane: Some(lane) });
        }
        identity::note_rings(disk, &journal, &at)?;
        Journal::recover(disk, (&journal, &at, directory), config, 0, locks)
    }

    fn recover(
        disk: &Disk,
        (journal, rings, directory): (&Path, &Path, u64),
        config: &Config,
        workers: usize,
        locks: Vec<File>,
    ) -> Result<Journal, OpenError> {
        if workers > 9999 {
            return Err(OpenError::Lanes { workers });
        }
        let found = layout::lanes(journal).map_err(|source| io_error(journal, source))?;
        let place = |lane: u16| Place {
            disk,
            whose: Whose { directory, lane, journal, rings },
            boot: boot_id(),
            ring_bytes: config.ring_bytes.0,
            worker: usize::from(lane) < workers,
            wall_ms: wall_ms(),
        };
        let mut builder = Builder { locks: Arc::new(locks), ..Builder::default() };
        // Whoever only adopts has every lane say that it is drained, though an earlier run may have said so.
        let wanted = |lane: &u16| workers == 0 || usize::from(*lane) >= workers && !place(*lane).drained();
        let adopted = found.into_iter().filter(wanted);
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

/// Locks the data directory and that of the rings; gives the latter, whole, and the locks.
fn lock_both(disk: &Disk, data_dir: &Path, rings: Option<&Path>) -> Result<(PathBuf, Vec<File>), OpenError> {
    let journal = layout::journal_dir(data_dir);
    let mut locks = Vec::from([locked(data_dir)?]);
    let rings = match rings {
        Some(rings) => {
            made(disk, rings)?;
            let whole = |dir: &Path| dir.canonicalize().map_err(|source| io_error(dir, source));
            // Whole, for the next start may come from another working directory, and would miss what is in them.
            let rings = whole(rings)?;
            if rings != whole(data_dir)? {
                locks.push(locked(&rings)?);
            }
            if rings == whole(&journal)? { journal } else { rings }
        }
        None => journal,
    };
    match refused_file_system(&rings).map_err(|source| io_error(&rings, source))? {
        Some(kind) => Err(OpenError::FileSystem { path: rings, kind }),
        None => Ok((rings, locks)),
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
