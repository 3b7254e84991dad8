//! Opens the journal of a log: reads the directory's id, recovers each lane and makes its ends.

use std::path::{Path, PathBuf};

use crate::{
    clock::wall_ms,
    journal::{
        config::Config,
        disk::{Disk, NamedFile, boot_id, find_kind_of_unsuitable_file_system},
        error::{OpenError, io_error, with_path},
        identity::read_recover_or_create_directory_id,
        lane::{DeliveredTail, LaneReader, LaneReaderParts, LaneShared, LaneWriter, MalformedFramesFile},
        layout,
        locks::DirectoryLocks,
        recover::{LogRecoveryContext, RecoveredLane, RecoveredLog, recover_log_and_begin_next_epochs},
        report::{LaneCondition, RecoveryReport},
        ring,
        ring_location::{
            find_first_unclean_lane_without_ring_in, find_last_ring_root_if_separate_with_own_rings, find_ring_root,
            store_ring_root_if_changed,
        },
        scan::ScannedSegment,
        segment_index::IndexedFile,
        spill::{OpenRingFile, SegmentLog, SegmentLogParts, SpillLane, SpillLaneParts, Spiller},
        units::Position,
    },
};

/// An opened journal: recovered and locked, its new epochs durable.
#[derive(Debug)]
pub struct Journal {
    reports: Vec<RecoveryReport>,
    parts: JournalParts,
}

/// The ends of the journal's lanes, each for its own thread.
#[derive(Debug)]
pub struct JournalParts {
    /// One for each worker, in the order of the lanes' numbers.
    pub writers: Vec<LaneWriter>,
    /// One for each lane, lanes without a worker included.
    pub readers: Vec<LaneReader>,
    /// For a thread of its own.
    pub spiller: Spiller,
}

/// The directories of a journal, locked and identified.
struct JournalDirs {
    log: &'static str,
    journal_dir: PathBuf,
    /// The directory of the log's rings.
    ring_dir: PathBuf,
    directory_id: u64,
}

impl Journal {
    /// Opens the journal of `log` in `data_dir` with a lane for each worker. Called once for each log, before the edge
    /// listens. `locks`: of this data directory and of the configuration's ring directory.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage is no error: the [`Journal::recovery_reports`] count it.
    pub fn open(
        data_dir: &Path,
        log: &'static str,
        config: &Config,
        workers: usize,
        locks: &DirectoryLocks,
    ) -> Result<Journal, OpenError> {
        Journal::open_and_recover_on_disk(&Disk::default(), data_dir, log, config, workers, locks)
    }

    pub(super) fn open_and_recover_on_disk(
        disk: &Disk,
        data_dir: &Path,
        log: &'static str,
        config: &Config,
        workers: usize,
        locks: &DirectoryLocks,
    ) -> Result<Journal, OpenError> {
        let journal_dir = layout::journals_dir(data_dir).join(log);
        create_dir_and_sync_parent(disk, &journal_dir)?;
        let ring_root = find_ring_root(data_dir, config.ring_dir.as_deref())?;
        let ring_dir = create_ring_dir_on_suitable_file_system(disk, &ring_root, log)?;
        let directory_id = read_recover_or_create_directory_id(disk, &journal_dir, &ring_dir)?;
        store_ring_root_if_changed(disk, &journal_dir, &ring_root)?;
        let dirs = JournalDirs { log, journal_dir, ring_dir, directory_id };
        Journal::recover_worker_lanes_and_undrained_lanes(disk, dirs, config, workers, locks)
    }

    /// Opens the journal of `log` that another process left in `data_dir`, to deliver it: every lane that holds clicks,
    /// without a writer and without a new epoch. `ring_dir`: where the rings are now; by default where the last run had
    /// them. If they are not there, the lanes count as cut. Called by `journal drain`, perhaps on another machine. If
    /// no start has created this log yet, the journal has no lanes.
    ///
    /// # Errors
    /// See [`OpenError`]; or `ring_dir` lacks the ring of a lane that was not closed in good order.
    pub fn open_existing_to_drain(
        data_dir: &Path,
        log: &'static str,
        config: &Config,
        ring_dir: Option<&Path>,
        locks: &DirectoryLocks,
    ) -> Result<Journal, OpenError> {
        let disk = &Disk::default();
        let journals_dir = layout::journals_dir(data_dir);
        let journal_dir = journals_dir.join(log);
        if with_path(&journals_dir, layout::is_log_not_created_beside_others(&journals_dir, log))? {
            let parts = SegmentLogParts::without_lanes(disk, journal_dir);
            return Ok(JournalBuilder::new(locks).build_journal_with_spiller(parts, log, config));
        }
        if !journal_dir.join(layout::DIRECTORY_ID).exists() {
            return Err(OpenError::NoJournal { path: data_dir.to_owned() });
        }
        let ring_root = match ring_dir {
            Some(_) => find_ring_root(data_dir, ring_dir)?,
            None => with_path(&journal_dir, find_last_ring_root_if_separate_with_own_rings(disk, &journal_dir))?
                .unwrap_or(journals_dir),
        };
        let found = create_ring_dir_on_suitable_file_system(disk, &ring_root, log)?;
        let directory_id = read_recover_or_create_directory_id(disk, &journal_dir, &found)?;
        if ring_dir.is_some()
            && let Some(lane) = with_path(
                &journal_dir,
                find_first_unclean_lane_without_ring_in(disk, &journal_dir, &found, directory_id),
            )?
        {
            let ring = Some(Path::new(log).join(layout::ring_file_name(lane)));
            return Err(OpenError::NoRings { path: ring_root, ring });
        }
        store_ring_root_if_changed(disk, &journal_dir, &ring_root)?;
        let dirs = JournalDirs { log, journal_dir, ring_dir: found, directory_id };
        Journal::recover_worker_lanes_and_undrained_lanes(disk, dirs, config, 0, locks)
    }

    /// Recovers the lane of each worker, and each lane without a worker that holds clicks.
    fn recover_worker_lanes_and_undrained_lanes(
        disk: &Disk,
        dirs: JournalDirs,
        config: &Config,
        workers: usize,
        locks: &DirectoryLocks,
    ) -> Result<Journal, OpenError> {
        if workers > 9999 {
            return Err(OpenError::TooManyLanes { workers });
        }
        let JournalDirs { log, journal_dir, ring_dir, directory_id } = dirs;
        let context = LogRecoveryContext {
            disk,
            log,
            directory_id,
            journal_dir: &journal_dir,
            ring_dir: &ring_dir,
            boot_id: boot_id(),
            ring_bytes: config.ring_bytes.0,
            workers: workers as u16,
            wall_ms: wall_ms(),
        };
        let RecoveredLog { lanes, segments, next_file_number, checkpoints } =
            recover_log_and_begin_next_epochs(&context)?;
        let mut builder = JournalBuilder::new(locks);
        for lane in lanes {
            builder.map_ring_and_add_lane_ends(&context, lane)?;
        }
        let segment = |ScannedSegment { number, path, bytes, is_damaged }: ScannedSegment| {
            (number, IndexedFile { path, to: Position::ZERO, bytes, damaged: is_damaged })
        };
        let parts = SegmentLogParts {
            disk: disk.clone(),
            directory_id,
            quarantine: journal_dir.join(layout::QUARANTINE),
            checkpoints: Some(checkpoints),
            next_file_number,
            segments: segments.into_iter().map(segment).collect(),
            dir: journal_dir.clone(),
        };
        Ok(builder.build_journal_with_spiller(parts, log, config))
    }

    /// What recovery found in each lane.
    pub fn recovery_reports(&self) -> &[RecoveryReport] {
        &self.reports
    }

    /// The ends of all lanes, each to be given to its thread.
    pub fn into_parts(self) -> JournalParts {
        self.parts
    }
}

struct JournalBuilder {
    reports: Vec<RecoveryReport>,
    writers: Vec<LaneWriter>,
    readers: Vec<LaneReader>,
    spill_lanes: Vec<SpillLane>,
    locks: DirectoryLocks,
}

impl JournalBuilder {
    fn new(locks: &DirectoryLocks) -> JournalBuilder {
        JournalBuilder {
            reports: Vec::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            spill_lanes: Vec::new(),
            locks: locks.clone(),
        }
    }

    /// Maps a recovered lane's ring and makes the lane's ends.
    fn map_ring_and_add_lane_ends(
        &mut self,
        context: &LogRecoveryContext<'_>,
        recovered: RecoveredLane,
    ) -> Result<(), OpenError> {
        let RecoveredLane { report, ring, progress, checkpoint_slots, checkpoint } = recovered;
        let files = context.lane_files(report.lane);
        let path = files.ring_path();
        let ring_name = NamedFile::new(path.clone(), &ring.file).map_err(|source| io_error(&path, source))?;
        let mapped = ring::map_and_prefault_ring_and_make_its_ends(&ring.file, ring.header.size)
            .map_err(|source| io_error(&path, source))?;
        let mapped_ring = mapped.writer.ring().clone();
        let shared = LaneShared::new(files.lane_id, report.epoch, mapped_ring, self.locks.clone(), progress);
        let delivered_tail = DeliveredTail {
            file: ring.file.try_clone().map_err(|source| io_error(&path, source))?,
            ring_size: ring.header.size,
            acked: shared.lock_progress().acked,
            lane_id: files.lane_id,
            disk: context.disk.with_own_pending_io_timer(),
            was_cut: report.condition == LaneCondition::Cut,
        };
        let ring_file = OpenRingFile { file: ring.file, name: ring_name };
        let parts = SpillLaneParts { checkpoint_slots, durable_checkpoint: checkpoint, ring_file };
        if report.epoch.is_some() {
            self.writers.push(LaneWriter::new(mapped.writer, shared.clone()));
        }
        let reader_parts = LaneReaderParts {
            directory_id: context.directory_id,
            disk: context.disk.with_own_pending_io_timer(),
            log: context.log,
            lane_dir: files.dir(),
            checkpoints_path: files.checkpoints_path(),
            malformed_frames: MalformedFramesFile::new(report.lane, &files.journal_dir.join(layout::QUARANTINE)),
            delivered_tail,
        };
        self.readers.push(LaneReader::new(shared.clone(), mapped.delivery_reader, reader_parts));
        self.spill_lanes.push(SpillLane::new(shared, mapped.spiller_reader, parts));
        self.reports.push(report);
        Ok(())
    }

    fn build_journal_with_spiller(self, parts: SegmentLogParts, log: &'static str, config: &Config) -> Journal {
        let disk = parts.disk.clone();
        let segment_log = SegmentLog::new(self.spill_lanes, parts);
        let spiller = Spiller::new(log, segment_log, &self.reports, config, &disk);
        let parts = JournalParts { writers: self.writers, readers: self.readers, spiller };
        Journal { reports: self.reports, parts }
    }
}

/// Creates the directory of the log's rings in the ring root.
fn create_ring_dir_on_suitable_file_system(disk: &Disk, ring_root: &Path, log: &str) -> Result<PathBuf, OpenError> {
    let ring_dir = ring_root.join(log);
    create_dir_and_sync_parent(disk, &ring_dir)?;
    match with_path(&ring_dir, find_kind_of_unsuitable_file_system(&ring_dir))? {
        Some(kind) => Err(OpenError::FileSystem { path: ring_dir, kind }),
        None => Ok(ring_dir),
    }
}

fn create_dir_and_sync_parent(disk: &Disk, dir: &Path) -> Result<(), OpenError> {
    let sync_parent = || dir.parent().map_or(Ok(()), |parent| disk.sync_dir(parent));
    with_path(dir, disk.create_dir(dir).and_then(|()| sync_parent()))
}
