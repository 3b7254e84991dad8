//! A disk that stops at a chosen effect, and forgets what was not synced when the power goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::journal::disk::Effect;

/// Counts the effects; from `stop_at` on, `failing` of them fail.
#[derive(Debug, Default)]
pub(in crate::journal) struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    passed: u64,
    stop_at: u64,
    failing: u64,
    /// How to undo what is not on the medium yet.
    undo: Vec<Undo>,
    /// Where removed files are kept until their directory is synced.
    stash: Option<tempfile::TempDir>,
    /// Files that were synced, by inode: their mapped pages are on the medium too.
    synced: BTreeSet<u64>,
}

/// What a write replaced: where, the bytes, and the length of the file before it.
type Replaced = (u64, Vec<u8>, u64);

/// What a disk writes whole.
const SECTOR: u64 = 512;

impl Default for State {
    fn default() -> State {
        State {
            passed: 0,
            stop_at: u64::MAX,
            failing: u64::MAX,
            undo: Vec::new(),
            stash: None,
            synced: BTreeSet::new(),
        }
    }
}

#[derive(Debug)]
enum Undo {
    Write { path: PathBuf, offset: u64, old: Vec<u8>, old_len: u64 },
    Create { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf, kept: PathBuf },
}

impl Faults {
    /// From the `stop_at`th effect on, `failing` of them fail.
    pub(in crate::journal) fn stop_at(&self, stop_at: u64, failing: u64) {
        let mut state = self.0.lock().unwrap();
        state.passed = 0;
        state.stop_at = stop_at;
        state.failing = failing;
    }

    /// Effects since then.
    pub(in crate::journal) fn passed(&self) -> u64 {
        self.0.lock().unwrap().passed
    }

    pub(in crate::journal) fn before(&self, effect: &Effect<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let point = state.passed;
        state.passed += 1;
        if point >= state.stop_at && point - state.stop_at < state.failing {
            return Err(io::Error::other("the test stops the disk here"));
        }
        state.note(effect);
        Ok(())
    }

    /// The power goes: what was not synced never was. The latest write that is left may be torn: half of it stays.
    pub(in crate::journal) fn power_cut(&self, torn: bool) {
        let mut state = self.0.lock().unwrap();
        let mut torn = torn;
        for undo in std::mem::take(&mut state.undo).into_iter().rev() {
            match undo {
                Undo::Write { path, offset, old, old_len } => {
                    let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
                    let half = if std::mem::take(&mut torn) { old.len() / 2 } else { 0 };
                    file.write_all_at(&old[half..], offset + half as u64).unwrap();
                    file.set_len(old_len.max(if half > 0 { offset + half as u64 } else { 0 })).unwrap();
                }
                Undo::Create { path } => drop(std::fs::remove_file(path)),
                Undo::Rename { from, to } => drop(std::fs::rename(to, from)),
                Undo::Remove { path, kept } => drop(std::fs::rename(kept, path)),
            }
        }
    }
}

impl Faults {
    /// The power goes, and of what was not synced any part may have reached the medium: each sector of a file is as old as
    /// `pick(n)` of its n states says, each file as long as after one of its writes, and of the names the latest are gone.
    pub(in crate::journal) fn power_cut_anywhere(&self, pick: &mut dyn FnMut(usize) -> usize) {
        let undo = std::mem::take(&mut self.0.lock().unwrap().undo);
        let (mut files, mut names) = (BTreeMap::<PathBuf, Vec<Replaced>>::new(), Vec::new());
        for undo in undo {
            match undo {
                Undo::Write { path, offset, old, old_len } => {
                    files.entry(path).or_default().push((offset, old, old_len));
                }
                name => names.push(name),
            }
        }
        for (path, writes) in files {
            // The pages of rings are mapped: whoever maps them lets them age.
            let mapped = path.extension().is_some_and(|kind| kind == "ring" || kind == "salvage");
            let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
            if !mapped {
                age(&file, &writes, pick);
            }
        }
        let kept = pick(names.len() + 1);
        for name in names.drain(kept..).rev() {
            match name {
                Undo::Write { .. } => {}
                Undo::Create { path } => drop(std::fs::remove_file(path)),
                Undo::Rename { from, to } => drop(std::fs::rename(to, from)),
                Undo::Remove { path, kept } => drop(std::fs::copy(kept, path)),
            }
        }
    }

    /// The inodes of files that were synced since the last call.
    pub(in crate::journal) fn take_synced(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.0.lock().unwrap().synced)
    }
}

/// Takes some of the writes back, sector by sector, and then the length.
fn age(file: &File, writes: &[Replaced], pick: &mut dyn FnMut(usize) -> usize) {
    let sectors: BTreeSet<u64> = writes
        .iter()
        .flat_map(|(offset, old, _)| offset / SECTOR..(offset + old.len() as u64).div_ceil(SECTOR))
        .collect();
    // Mostly a prefix of the writes, as a disk with a queue would do it; sometimes any mixture.
    let prefix = (pick(3) > 0).then(|| pick(writes.len() + 1));
    let mut age_of = || prefix.unwrap_or_else(|| pick(writes.len() + 1));
    for sector in sectors {
        for (offset, old, _) in writes[age_of()..].iter().rev() {
            let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
            let (from, to) = (from.max(*offset), to.min(offset + old.len() as u64));
            if from < to {
                file.write_all_at(&old[(from - offset) as usize..(to - offset) as usize], from).unwrap();
            }
        }
    }
    if let Some((_, _, old_len)) = writes.get(age_of()) {
        file.set_len(*old_len).unwrap();
    }
}

impl State {
    fn note(&mut self, effect: &Effect<'_>) {
        match effect {
            Effect::Write(file, offset, len) => {
                let old_len = file.metadata().unwrap().len();
                let mut old = vec![0; *len];
                let got = crate::journal::segment::read_up_to(file, &mut old, *offset).unwrap();
                old[got..].fill(0);
                self.undo.push(Undo::Write { path: path_of(file), offset: *offset, old, old_len });
            }
            // Its bytes are synced with it; that a name to it remains is up to its directory.
            Effect::SetAside => {}
            Effect::Sync(file) => {
                let synced = path_of(file);
                self.synced.insert(file.metadata().unwrap().ino());
                self.undo.retain(|undo| !matches!(undo, Undo::Write { path, .. } if *path == synced));
            }
            Effect::Create(path) => {
                if !path.exists() && path.extension().is_some() {
                    self.undo.push(Undo::Create { path: path.to_path_buf() });
                }
            }
            Effect::Rename(from, to) => {
                for undo in &mut self.undo {
                    match undo {
                        Undo::Write { path, .. } if path == from => *path = to.to_path_buf(),
                        _ => {}
                    }
                }
                self.undo.push(Undo::Rename { from: from.to_path_buf(), to: to.to_path_buf() });
            }
            Effect::Remove(path) => {
                if path.exists() {
                    let stash = self.stash.get_or_insert_with(|| tempfile::tempdir().unwrap());
                    let kept = stash.path().join(self.passed.to_string());
                    std::fs::copy(path, &kept).unwrap();
                    // What of it was not synced is not in what may come back either.
                    for undo in &mut self.undo {
                        if let Undo::Write { path: written, .. } = undo
                            && written == path
                        {
                            written.clone_from(&kept);
                        }
                    }
                    self.undo.push(Undo::Remove { path: path.to_path_buf(), kept });
                }
            }
            Effect::SyncDir(dir) => {
                let inside = |path: &Path| path.parent() == Some(dir);
                self.undo.retain(|undo| match undo {
                    Undo::Write { .. } => true,
                    Undo::Create { path } | Undo::Remove { path, .. } => !inside(path),
                    Undo::Rename { to, .. } => !inside(to),
                });
            }
        }
    }
}

fn path_of(file: &File) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}
