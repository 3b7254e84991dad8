//! What lies in a data directory, for those who look from outside: nothing is locked, nothing is changed, and a running
//! process is not disturbed.

mod words;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::journal::{
    Frame, Mark, STREAMS,
    checkpoint::{self, Checkpoint},
    disk::boot_id,
    history,
    identity::{read_directory_id, read_rings},
    layout,
    recover::delivered,
    ringfile::{Found, RingFile, Words},
    segment::{Index, Item, walk_file},
    survey::{PathError, RING, Survey, Whose},
};

/// Why nothing can be said about a directory.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No journal was ever opened there.
    #[error("{path} holds no journal: name the data directory of a waypost (--data-dir)")]
    NoJournal {
        /// What was looked at.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<PathError> for InspectError {
    fn from((path, source): PathError) -> InspectError {
        InspectError::Io { path, source }
    }
}

/// What lies in a data directory.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The journal's directory.
    pub journal: PathBuf,
    /// Where its rings are.
    pub rings: PathBuf,
    /// Its id.
    pub directory: u64,
    /// Its lanes.
    pub lanes: Vec<LaneInspection>,
    /// Files put aside, and their bytes.
    pub quarantine: Vec<(PathBuf, u64)>,
}

/// What lies in a lane.
#[derive(Clone, Debug)]
pub struct LaneInspection {
    /// Its number.
    pub lane: u16,
    /// The last epoch that was opened; 0 if no checkpoint can be read.
    pub epoch: u64,
    /// Everything below is delivered.
    pub acked: u64,
    /// How far each stream is delivered.
    pub delivered: [Mark; STREAMS],
    /// Closed in good order, at this head.
    pub clean: Option<u64>,
    /// Its ring.
    pub ring: RingView,
    /// Its segments and salvaged rings.
    pub segments: Vec<SegmentView>,
    /// Undelivered frames of each stream that can be read.
    pub undelivered: [u64; STREAMS],
}

/// What is seen of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingView {
    /// There is none.
    Absent,
    /// Damaged, of a newer version, or another directory's.
    Unreadable,
    /// Its positions.
    Ring {
        /// Bytes of frames it holds.
        size: u64,
        /// Everything below is appended.
        head: u64,
        /// Everything below is delivered.
        acked: u64,
        /// Everything below is delivered or synced.
        spilled: u64,
        /// Written since this machine was started.
        this_boot: bool,
    },
}

/// A segment or a salvaged ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Its file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The highest position it holds.
    pub to: u64,
    /// Something in it cannot be read.
    pub damaged: bool,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Frames whose checksum was verified.
    pub frames: u64,
    /// Those of them that are not delivered, of each stream.
    pub undelivered: [u64; STREAMS],
    /// Numbers between them that no frame bears, of each stream; not counted in a lane that delivers meanwhile, nor where a start
    /// has said that a power loss cut the epoch there.
    pub missing: [u64; STREAMS],
    /// Damaged places in segments and in the part of the rings that counts.
    pub damaged: u64,
    /// Segments that end in the middle of something: ordinary after a crash.
    pub torn: u64,
    /// Files of a newer version or another lane, and rings that cannot be read.
    pub strange: u64,
    /// Files in the quarantine.
    pub quarantined: u64,
}

impl Verdict {
    /// Whether every undelivered click can be read. What an earlier start put into the quarantine does not count against it.
    pub fn sound(&self) -> bool {
        self.damaged == 0 && self.strange == 0 && self.missing == [0; STREAMS]
    }
}

/// Where things are.
pub(super) struct Place {
    journal: PathBuf,
    pub(super) rings: PathBuf,
    directory: u64,
}

impl Place {
    /// Of a data directory, or of the journal's directory in it.
    fn find(dir: &Path) -> Result<Place, InspectError> {
        Place::find_with(dir, None)
    }

    /// The same with the rings elsewhere than where the last run had them.
    pub(super) fn find_with(dir: &Path, rings: Option<&Path>) -> Result<Place, InspectError> {
        let inner = layout::journal_dir(dir);
        let journal = if inner.join(layout::DIRECTORY).exists() { inner } else { dir.to_owned() };
        let io = |path: &Path, source| InspectError::Io { path: path.to_owned(), source };
        let path = journal.join(layout::DIRECTORY);
        let directory = read_directory_id(&path).map_err(|error| io(&path, error))?;
        let directory = directory.ok_or_else(|| InspectError::NoJournal { path: dir.to_owned() })?;
        let rings = match rings {
            Some(rings) => Some(rings.to_owned()),
            None => read_rings(&journal).map_err(|error| io(&journal, error))?,
        };
        Ok(Place { rings: rings.unwrap_or_else(|| journal.clone()), journal, directory })
    }

    pub(super) fn lanes(&self) -> Result<Vec<u16>, InspectError> {
        layout::lanes(&self.journal).map_err(|source| InspectError::Io { path: self.journal.clone(), source })
    }

    pub(super) fn whose(&self, lane: u16) -> Whose<'_> {
        Whose { directory: self.directory, lane, journal: &self.journal, rings: &self.rings }
    }

    fn quarantine(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        for base in [&self.journal, &self.rings] {
            let Ok(entries) = std::fs::read_dir(base.join(layout::QUARANTINE)) else { continue };
            found.extend(entries.flatten().map(|e| (e.path(), e.metadata().map_or(0, |meta| meta.len()))));
        }
        found.sort();
        found.dedup();
        found
    }
}

/// A lane as it is seen in one look.
pub(super) struct Look {
    checkpoint: Option<Checkpoint>,
    ring: Option<RingFile>,
    view: RingView,
    acked: u64,
    pub(super) survey: Survey,
    /// Bytes of the ring that should be frames and are not.
    ring_damaged: bool,
    /// Something was delivered while this was looked at, so not every gap is one.
    moved: bool,
}

impl Look {
    /// `from`: the lowest position of interest; `None`: the first undelivered one.
    pub(super) fn take(whose: &Whose<'_>, from: Option<u64>) -> Result<Look, InspectError> {
        let path = whose.dir().join(layout::CHECKPOINT);
        let checkpoint = match File::open(&path) {
            Ok(file) => checkpoint::read(&file, whose.directory, whose.lane).map_err(|error| (path, error))?.1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err((path, error).into()),
        };
        let checkpoint = checkpoint.map(|(_, checkpoint)| checkpoint);
        let path = whose.ring_path();
        let (ring, view) = match RingFile::open(&path, false).map_err(|error| (path.clone(), error))? {
            Found::Absent => (None, RingView::Absent),
            Found::Ring(ring) if ring.fixed.directory == whose.directory && ring.fixed.lane == whose.lane => {
                let Words { head, acked, spilled } = ring.words;
                let this_boot = ring.fixed.boot == boot_id();
                let view = RingView::Ring { size: ring.fixed.size, head, acked, spilled, this_boot };
                (Some(ring), view)
            }
            Found::Ring(_) | Found::Unreadable => (None, RingView::Unreadable),
        };
        let sensible = ring.as_ref().filter(|ring| ring.sensible());
        let noted = checkpoint.map_or(0, |checkpoint| checkpoint.acked);
        let acked = sensible.map_or(noted, |ring| noted.max(ring.words.acked));
        let from = from.unwrap_or(acked);
        let clean = checkpoint.and_then(|checkpoint| checkpoint.clean);
        let mut survey = Survey::default();
        let mut ring_damaged = false;
        let failed = |error| (path.clone(), error);
        // The ring first: what leaves it while this goes on is in the segments by the time they are read, or delivered.
        if let Some(ring) = sensible {
            ring_damaged = add_ring(whose, ring, &mut survey, from).map_err(failed)? && clean.is_none();
        }
        whose.add_files(&mut survey, from)?;
        let now = words_now(&path).map_err(failed)?;
        let moved = now.is_some_and(|now| now.acked > acked);
        // As a start would find it: a ring of an earlier boot is put aside, and all of it counts.
        let home = match (clean, view) {
            (Some(head), _) => Some((head, head)),
            (None, RingView::Ring { head, acked, spilled, this_boot: true, .. })
                if sensible.is_some() && !ring_damaged =>
            {
                Some((acked.max(spilled), now.map_or(head, |now| now.head.max(head))))
            }
            _ => None,
        };
        survey.settle(home);
        let dir = whose.dir();
        let ends = history::read(&dir, whose.directory, whose.lane).map_err(|error| (dir, error))?;
        ends.iter().for_each(|end| survey.seqs.ended(end));
        Ok(Look { checkpoint, ring, view, acked, survey, ring_damaged, moved })
    }
}

impl Look {
    /// How far each stream is delivered.
    pub(super) fn delivered(&self) -> [Mark; STREAMS] {
        delivered(&self.survey.edge, self.checkpoint, self.acked)
    }

    /// Where answered clicks end; `None`: wherever readable frames do, for the ring is gone or was written before the last boot.
    pub(super) fn head(&self) -> Option<u64> {
        if let Some(clean) = self.checkpoint.and_then(|checkpoint| checkpoint.clean) {
            return Some(clean);
        }
        match self.view {
            RingView::Ring { head, this_boot: true, .. } if !self.ring_damaged => Some(head),
            _ => None,
        }
    }

    /// Shows every frame from where the look began, in order.
    pub(super) fn frames(
        self,
        whose: &Whose<'_>,
        mut visit: impl FnMut(&Frame<'_>) -> io::Result<()>,
    ) -> Result<(), InspectError> {
        let Index { extents, files } = self.survey.index;
        for extent in extents {
            let Some(path) = files.get(&extent.file).map(|file| &file.path) else { continue };
            let failed = |source| InspectError::Io { path: path.clone(), source };
            let opened;
            let file = match (&self.ring, extent.file) {
                (Some(ring), RING) => &ring.file,
                _ => match File::open(path) {
                    Ok(file) => {
                        opened = file;
                        &opened
                    }
                    // Delivered and removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(error)),
                },
            };
            let mut outcome = Ok(());
            let inside = |_: u64, pos: u64| pos >= extent.from && pos < extent.to;
            walk_file(file, extent.offset, extent.end, whose.seed(), inside, |_, item| {
                if let (Item::Frame(frame), Ok(())) = (&item, &outcome) {
                    outcome = visit(frame);
                }
            })
            .and(outcome)
            .map_err(failed)?;
        }
        Ok(())
    }
}

/// Surveys the ring and says whether something between its last home and its head cannot be read, though nobody overwrote it.
fn add_ring(whose: &Whose<'_>, ring: &RingFile, survey: &mut Survey, from: u64) -> io::Result<bool> {
    let (home, head) = (ring.words.acked.max(ring.words.spilled), ring.words.head);
    let mut whole = Vec::new();
    ring.walk(whose.seed(), |_, item| {
        let (pos, to) = match item {
            Item::Frame(frame) => (frame.pos, frame.next_pos),
            Item::Pad { pos, len } => (pos, pos + len),
            _ => return,
        };
        if pos >= home && to <= head {
            whole.push((pos, to - pos));
        }
    })?;
    survey.ring(whose, &ring.file, ring.fixed.size, (RING, whose.ring_path()), from)?;
    // Whatever got a home while this was read may be overwritten by now.
    let home = words_now(&whose.ring_path())?.map_or(head, |now| now.acked.max(now.spilled).clamp(home, head));
    let read: u64 = whole.iter().filter(|(pos, _)| *pos >= home).map(|(_, len)| len).sum();
    Ok(read != head - home)
}

fn words_now(ring: &Path) -> io::Result<Option<Words>> {
    match RingFile::open(ring, false)? {
        Found::Ring(ring) => Ok(Some(ring.words)),
        Found::Absent | Found::Unreadable => Ok(None),
    }
}

/// What lies in the data directory `dir`, whether or not a process runs on it.
///
/// # Errors
/// There is no journal, or the system refused to read it.
pub fn inspect(dir: &Path) -> Result<Inspection, InspectError> {
    let place = Place::find(dir)?;
    let mut lanes = Vec::new();
    for lane in place.lanes()? {
        let look = Look::take(&place.whose(lane), None)?;
        let checkpoint = look.checkpoint;
        let delivered = delivered(&look.survey.edge, checkpoint, look.acked);
        let files = look.survey.index.files.into_iter().filter(|(number, _)| *number != RING);
        lanes.push(LaneInspection {
            lane,
            epoch: checkpoint.map_or(0, |checkpoint| checkpoint.epoch),
            acked: look.acked,
            delivered,
            clean: checkpoint.and_then(|checkpoint| checkpoint.clean),
            ring: look.view,
            segments: files
                .map(|(_, file)| SegmentView { path: file.path, bytes: file.bytes, to: file.to, damaged: file.damaged })
                .collect(),
            undelivered: std::array::from_fn(|stream| look.survey.seqs.count(stream, delivered[stream]).present),
        });
    }
    let quarantine = place.quarantine();
    Ok(Inspection { journal: place.journal, rings: place.rings, directory: place.directory, lanes, quarantine })
}

/// Reads every undelivered frame in the data directory `dir` and verifies its checksum, position and number.
///
/// # Errors
/// There is no journal, or the system refused to read it. Damage is not an error: it is in the verdict.
pub fn verify(dir: &Path) -> Result<Verdict, InspectError> {
    let place = Place::find(dir)?;
    let mut verdict = Verdict { quarantined: place.quarantine().len() as u64, ..Verdict::default() };
    for lane in place.lanes()? {
        let Look { checkpoint, view, acked, survey, ring_damaged, moved, .. } = Look::take(&place.whose(lane), None)?;
        verdict.frames += survey.frames;
        verdict.damaged += survey.damaged + u64::from(ring_damaged);
        verdict.torn += survey.torn;
        verdict.strange += survey.strange.len() as u64 + u64::from(view == RingView::Unreadable);
        let delivered = delivered(&survey.edge, checkpoint, acked);
        for (stream, mark) in delivered.into_iter().enumerate() {
            let count = survey.seqs.count(stream, mark);
            verdict.undelivered[stream] += count.present;
            verdict.missing[stream] += if moved { 0 } else { count.missing };
        }
    }
    Ok(verdict)
}

/// Shows every frame that can be read in the data directory `dir`, lane by lane in order; with `all` those too that are
/// delivered and not yet overwritten. Returns how many there were.
///
/// # Errors
/// There is no journal, the system refused to read it, or `visit` gave up.
pub fn dump(
    dir: &Path,
    all: bool,
    mut visit: impl FnMut(u16 /* lane */, &Frame<'_>) -> io::Result<()>,
) -> Result<u64, InspectError> {
    let place = Place::find(dir)?;
    let mut shown = 0;
    for lane in place.lanes()? {
        let whose = place.whose(lane);
        let look = Look::take(&whose, all.then_some(0))?;
        look.frames(&whose, |frame| {
            shown += 1;
            visit(lane, frame)
        })?;
    }
    Ok(shown)
}
