//! A disk that fails from a chosen operation on, and that forgets what was not synced when the power goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use crate::journal::disk::DiskOperation;

/// Counts the operations of a disk and makes some of them fail.
#[derive(Debug, Default)]
pub(in crate::journal) struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    operations: u64,
    /// The first operation that fails.
    fail_from: u64,
    /// How many operations fail.
    failures: u64,
    /// How to undo the operations that are not synced, in order.
    unsynced: Vec<Undo>,
    /// Keeps removed files until their directory is synced.
    removed_files: Option<tempfile::TempDir>,
    /// Inodes of the files that were synced: their mapped pages are on the medium too.
    synced_inodes: BTreeSet<u64>,
    /// How long each sync would take.
    simulated_sync: Duration,
    /// Syncs of files since the start.
    syncs: u32,
    /// Bytes of files that the medium does not give.
    unreadable: Vec<(PathBuf, Range<u64>)>,
    /// The most bytes that one read gives; 0: as many as are asked for.
    max_read: usize,
}

/// What a write replaced.
#[derive(Debug)]
struct ReplacedBytes {
    offset: u64,
    bytes: Vec<u8>,
    /// The length of the file before the write.
    file_len: u64,
}

/// A disk writes a sector as a whole.
const SECTOR: u64 = 512;

impl Default for State {
    fn default() -> State {
        State {
            operations: 0,
            fail_from: u64::MAX,
            failures: u64::MAX,
            unsynced: Vec::new(),
            removed_files: None,
            synced_inodes: BTreeSet::new(),
            simulated_sync: Duration::ZERO,
            syncs: 0,
            unreadable: Vec::new(),
            max_read: 0,
        }
    }
}

#[derive(Debug)]
enum Undo {
    Write { path: PathBuf, replaced: ReplacedBytes },
    Create { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf, copy: PathBuf },
}

impl Faults {
    /// Resets the count of operations. From operation `fail_from` on, `failures` of them fail.
    pub(in crate::journal) fn fail_from(&self, fail_from: u64, failures: u64) {
        let mut state = self.0.lock().unwrap();
        state.operations = 0;
        state.fail_from = fail_from;
        state.failures = failures;
    }

    /// Operations since the last call of [`Faults::fail_from`].
    pub(in crate::journal) fn operation_count(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// Lets the clock of the disk run ahead by so much at each sync of a file.
    pub(in crate::journal) fn simulate_sync_duration(&self, duration: Duration) {
        self.0.lock().unwrap().simulated_sync = duration;
    }

    /// Syncs of files since the start.
    pub(in crate::journal) fn sync_count(&self) -> u32 {
        self.0.lock().unwrap().syncs
    }

    /// By how much the clock of the disk has run ahead.
    pub(in crate::journal) fn simulated_sync_time(&self) -> Duration {
        let state = self.0.lock().unwrap();
        state.simulated_sync * state.syncs
    }

    /// Counts an operation, and fails if it is one of those to fail. Called before each operation of the disk.
    pub(in crate::journal) fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let index = state.operations;
        state.operations += 1;
        if index >= state.fail_from && index - state.fail_from < state.failures {
            return Err(io::Error::other("the test stops the disk here"));
        }
        state.record(operation);
        Ok(())
    }

    /// Makes every read fail with EIO that touches these bytes of the file `path`.
    pub(in crate::journal) fn make_unreadable(&self, path: &Path, bytes: Range<u64>) {
        self.0.lock().unwrap().unreadable.push((path.to_owned(), bytes));
    }

    /// Makes every byte readable again.
    pub(in crate::journal) fn make_all_readable(&self) {
        self.0.lock().unwrap().unreadable.clear();
    }

    /// Lets each read give so many bytes at most, as a signal or a network file system may.
    pub(in crate::journal) fn limit_reads_to(&self, bytes: usize) {
        self.0.lock().unwrap().max_read = bytes;
    }

    /// How many bytes a read may give, or its error. Called before each read of the disk.
    pub(in crate::journal) fn before_read(&self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        let state = self.0.lock().unwrap();
        let end = offset + len as u64;
        let touches = |bytes: &Range<u64>| bytes.start < end && offset < bytes.end;
        if !state.unreadable.is_empty() {
            let path = path_of(file);
            if state.unreadable.iter().any(|(unreadable, bytes)| *unreadable == path && touches(bytes)) {
                return Err(rustix::io::Errno::IO.into());
            }
        }
        Ok(if state.max_read > 0 { len.min(state.max_read) } else { len })
    }

    /// Undoes every operation that is not synced. If `torn`, half of the latest write stays.
    pub(in crate::journal) fn undo_unsynced(&self, torn: bool) {
        let mut state = self.0.lock().unwrap();
        let mut torn = torn;
        for undo in std::mem::take(&mut state.unsynced).into_iter().rev() {
            match undo {
                Undo::Write { path, replaced: ReplacedBytes { offset, bytes, file_len } } => {
                    let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
                    let half = if std::mem::take(&mut torn) { bytes.len() / 2 } else { 0 };
                    file.write_all_at(&bytes[half..], offset + half as u64).unwrap();
                    file.set_len(file_len.max(if half > 0 { offset + half as u64 } else { 0 })).unwrap();
                }
                Undo::Create { path } => drop(std::fs::remove_file(path)),
                Undo::Rename { from, to } => drop(std::fs::rename(to, from)),
                Undo::Remove { path, copy } => drop(std::fs::rename(copy, path)),
            }
        }
    }

    /// Undoes any part of the operations that are not synced. Each sector of a file gets one of its n states, as
    /// `pick(n)` says. Each file gets its length after one of its writes. The latest creations, renamings and removals
    /// are undone.
    pub(in crate::journal) fn undo_unsynced_randomly(&self, pick: &mut dyn FnMut(usize) -> usize) {
        let unsynced = std::mem::take(&mut self.0.lock().unwrap().unsynced);
        let (mut files, mut names) = (BTreeMap::<PathBuf, Vec<ReplacedBytes>>::new(), Vec::new());
        for undo in unsynced {
            match undo {
                Undo::Write { path, replaced } => files.entry(path).or_default().push(replaced),
                name => names.push(name),
            }
        }
        for (path, writes) in files {
            // The test machine ages the pages of mapped rings itself.
            let is_mapped = path.extension().is_some_and(|kind| kind == "ring" || kind == "salvage");
            let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
            if !is_mapped {
                undo_writes_randomly(&file, &writes, pick);
            }
        }
        let kept = pick(names.len() + 1);
        for name in names.drain(kept..).rev() {
            match name {
                Undo::Write { .. } => {}
                Undo::Create { path } => drop(std::fs::remove_file(path)),
                Undo::Rename { from, to } => drop(std::fs::rename(to, from)),
                Undo::Remove { path, copy } => drop(std::fs::copy(copy, path)),
            }
        }
    }

    /// Takes the inodes of the files that were synced since the last call.
    pub(in crate::journal) fn take_synced_inodes(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.0.lock().unwrap().synced_inodes)
    }
}

/// Undoes some of the writes, sector by sector, and then the change of the length.
fn undo_writes_randomly(file: &File, writes: &[ReplacedBytes], pick: &mut dyn FnMut(usize) -> usize) {
    let sectors: BTreeSet<u64> = writes
        .iter()
        .flat_map(|write| write.offset / SECTOR..(write.offset + write.bytes.len() as u64).div_ceil(SECTOR))
        .collect();
    // Mostly a prefix of the writes is kept, as by a disk with a queue; sometimes any mixture.
    let prefix = (pick(3) > 0).then(|| pick(writes.len() + 1));
    let mut kept_writes = || prefix.unwrap_or_else(|| pick(writes.len() + 1));
    for sector in sectors {
        for write in writes[kept_writes()..].iter().rev() {
            let from = (sector * SECTOR).max(write.offset);
            let to = ((sector + 1) * SECTOR).min(write.offset + write.bytes.len() as u64);
            if from < to {
                let bytes = &write.bytes[(from - write.offset) as usize..(to - write.offset) as usize];
                file.write_all_at(bytes, from).unwrap();
            }
        }
    }
    if let Some(write) = writes.get(kept_writes()) {
        file.set_len(write.file_len).unwrap();
    }
}

impl State {
    /// Notes how to undo an operation, or which operations a sync makes durable.
    fn record(&mut self, operation: &DiskOperation<'_>) {
        match operation {
            DiskOperation::Write { file, offset, len } => {
                let file_len = file.metadata().unwrap().len();
                let mut bytes = vec![0; *len];
                let kept = file_len.saturating_sub(*offset).min(*len as u64) as usize;
                file.read_exact_at(&mut bytes[..kept], *offset).unwrap();
                let replaced = ReplacedBytes { offset: *offset, bytes, file_len };
                self.unsynced.push(Undo::Write { path: path_of(file), replaced });
            }
            // The bytes are synced with it; whether the name stays depends on the directory.
            DiskOperation::Preallocate => {}
            DiskOperation::Sync(file) => {
                let synced = path_of(file);
                self.syncs += 1;
                self.synced_inodes.insert(file.metadata().unwrap().ino());
                self.unsynced.retain(|undo| !matches!(undo, Undo::Write { path, .. } if *path == synced));
            }
            DiskOperation::Create(path) => {
                if !path.exists() && path.extension().is_some() {
                    self.unsynced.push(Undo::Create { path: path.to_path_buf() });
                }
            }
            DiskOperation::Rename { from, to } => {
                for undo in &mut self.unsynced {
                    match undo {
                        Undo::Write { path, .. } if path == from => *path = to.to_path_buf(),
                        _ => {}
                    }
                }
                self.unsynced.push(Undo::Rename { from: from.to_path_buf(), to: to.to_path_buf() });
            }
            DiskOperation::Remove(path) => self.record_removal(path),
            DiskOperation::SyncDir(dir) => {
                let is_inside = |path: &Path| path.parent() == Some(dir);
                self.unsynced.retain(|undo| match undo {
                    Undo::Write { .. } => true,
                    Undo::Create { path } | Undo::Remove { path, .. } => !is_inside(path),
                    Undo::Rename { to, .. } => !is_inside(to),
                });
            }
        }
    }

    fn record_removal(&mut self, path: &Path) {
        if !path.exists() {
            return;
        }
        let removed_files = self.removed_files.get_or_insert_with(|| tempfile::tempdir().unwrap());
        let copy = removed_files.path().join(self.operations.to_string());
        std::fs::copy(path, &copy).unwrap();
        // Writes that are not synced may be missing from the file if it comes back.
        for undo in &mut self.unsynced {
            if let Undo::Write { path: written, .. } = undo
                && written == path
            {
                written.clone_from(&copy);
            }
        }
        self.unsynced.push(Undo::Remove { path: path.to_path_buf(), copy });
    }
}

fn path_of(file: &File) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}
