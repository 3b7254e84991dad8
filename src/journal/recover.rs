//! Recovery of one lane: what was there, what of it is true, and where to go on.
//!
//! 1. The checkpoint, and the ring if it is this directory's.
//! 2. A position below which everything is delivered: the highest that anybody wrote down, each a safe lower bound.
//! 3. The segments from there, then the ring, frame by frame. Clean, intact or cut: see [`Opening`]. What segments have lost and
//!    a ring that stays in place still holds is copied (`rescue`).
//! 4. How the last epoch ended (`ends`), durable before anything names the new one.
//! 5. If cut, the ring is put aside to be read (`salvage`) and a new one made, with positions above all that were ever used.
//! 6. The truth is the union by position; what is missing in it is counted, files with damage are kept as evidence.
//! 7. The new epoch, durable before the first click.

mod ends;
mod rescue;
mod salvage;

use std::{
    io,
    path::{Path, PathBuf},
};

use self::ends::Known;
use crate::{
    faults::{self, say},
    journal::{
        LaneReport, Mark, OpenError, Opening, STREAMS,
        checkpoint::{self, Checkpoint, CheckpointFile},
        disk::Disk,
        frame::ALIGN,
        history,
        lane::Home,
        layout,
        ringfile::{Found, RingFile, Static, Words},
        segment::Item,
        survey::{Edge, PathError, Survey, Whose},
    },
};

/// A ring of a lane that is only drained holds nothing new, so the smallest will do.
const DRAINED_RING: u64 = 64 << 10;

/// A lane's surroundings.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) disk: &'a Disk,
    pub(super) whose: Whose<'a>,
    pub(super) boot: [u8; 16],
    pub(super) ring_bytes: u64,
    /// A worker will append; else the lane is only drained.
    pub(super) worker: bool,
    pub(super) wall_ms: u64,
}

/// A lane ready to go on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) report: LaneReport,
    pub(super) ring: RingFile,
    pub(super) home: Home,
    pub(super) seed: u32,
    pub(super) dir: PathBuf,
    pub(super) checkpoint: CheckpointFile,
    pub(super) written: Checkpoint,
    pub(super) next_number: u64,
    /// The epoch and next numbers at the end of what was recovered.
    pub(super) last: (u64, [u64; STREAMS]),
}

impl From<PathError> for OpenError {
    fn from((path, source): PathError) -> OpenError {
        OpenError::Io { path, source }
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

impl Place<'_> {
    /// Whether the lane was closed in good order and everything in it is delivered: then it need not be adopted.
    pub(super) fn drained(&self) -> bool {
        let Ok(file) = std::fs::File::open(self.checkpoint_path()) else { return false };
        let found = checkpoint::read(&file, self.whose.directory, self.whose.lane);
        let Ok((_, Some((_, Checkpoint { clean: Some(head), acked, .. })))) = found else { return false };
        let nothing = |files: Result<Vec<_>, _>| files.is_ok_and(|files| files.is_empty());
        acked >= head && nothing(self.whose.segments()) && nothing(self.whose.salvages())
    }

    /// Recovers the lane and opens its next epoch: the steps of the header.
    pub(super) fn recover(&self) -> Result<Recovered, OpenError> {
        let dir = self.whose.dir();
        at(&dir, self.disk.create_dir(&dir).and_then(|()| self.disk.sync_dir(self.whose.journal)))?;
        at(&dir, history::make(self.disk, &dir))?;
        // 1
        let ring = self.find_ring()?;
        let (checkpoint, found) = self.open_checkpoint(&dir, ring.is_some())?;
        // 2
        let (mut truth, acked) = self.survey(found, ring.as_ref())?;
        let put_aside = self.put_strange_aside(&truth)?;
        // 3
        let opening = self.judge(found, ring.as_ref(), &mut truth, acked)?;
        self.rescue(opening, ring.as_ref(), &mut truth, acked)?;
        // 4
        let known = [
            found.map_or(Default::default(), |found| (found.epoch, found.next)),
            ring.as_ref().map_or(Default::default(), |ring| (ring.fixed.epoch, [0; STREAMS])),
            truth.seqs.last().unwrap_or_default(),
        ];
        let closed = known.into_iter().reduce(later).unwrap_or_default();
        let last_epoch = closed.0;
        let epoch = if self.worker { self.wall_ms.max(last_epoch + 1) } else { last_epoch };
        // An epoch in which nothing was appended was opened, and has ended, too.
        let closed = (closed.0 > 0).then_some(closed);
        let ended = self.note_ends(opening, closed, &Known { ring: ring.as_ref(), truth: &truth, found, acked })?;
        // 5
        let ring = self.go_on(opening, ring, &mut truth, acked, epoch)?;
        // 6
        ended.iter().for_each(|end| truth.seqs.ended(end));
        let written = Checkpoint {
            epoch,
            next: [0; STREAMS],
            acked,
            delivered: delivered(&truth.edge, found, acked),
            sink: found.map_or([0; 64], |found| found.sink),
            clean: None,
        };
        let last = truth.seqs.last().or(found.map(|found| (found.epoch, found.next))).unwrap_or_default();
        let mut recovered = self.gather(opening, ring, truth, checkpoint, written, last);
        recovered.report.put_aside = put_aside;
        recovered.report.closed = closed;
        recovered.home.ended = ended;
        // 7
        at(&recovered.dir, recovered.checkpoint.write(&recovered.written))?;
        Ok(recovered)
    }

    fn gather(
        &self,
        opening: Opening,
        ring: RingFile,
        mut truth: Survey,
        checkpoint: CheckpointFile,
        written: Checkpoint,
        last: (u64, [u64; STREAMS]),
    ) -> Recovered {
        let Words { head, acked, spilled } = ring.words;
        truth.settle(Some((acked.max(spilled), head)));
        let Survey { index, seqs, damaged, next_number, .. } = truth;
        let counts: [_; STREAMS] = std::array::from_fn(|stream| seqs.count(stream, written.delivered[stream]));
        // What the ring alone has is neither delivered nor synced; of anything else the segments are the home.
        let safe = match head > acked.max(spilled) {
            true => written.delivered,
            false => [Mark { epoch: written.epoch, next: 0 }; STREAMS],
        };
        let report = LaneReport {
            lane: self.whose.lane,
            epoch: if self.worker { written.epoch } else { 0 },
            opening,
            closed: None,
            recovered: counts.map(|count| count.present + count.missing),
            quarantined: counts.map(|count| count.missing),
            damaged,
            put_aside: 0,
            backlog_bytes: head.saturating_sub(written.acked),
        };
        let home = Home {
            index,
            acked: written.acked,
            delivered: written.delivered,
            sink: written.sink,
            safe,
            recovered: seqs,
            lost: Default::default(),
            ended: Vec::new(),
        };
        Recovered {
            report,
            ring,
            home,
            seed: self.whose.seed(),
            dir: self.whose.dir(),
            checkpoint,
            written,
            next_number,
            last,
        }
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.whose.dir().join(layout::CHECKPOINT)
    }

    /// The ring of this directory and lane. One that cannot be read is put aside.
    fn find_ring(&self) -> Result<Option<RingFile>, OpenError> {
        let path = self.whose.ring_path();
        match at(&path, RingFile::open(&path, true))? {
            Found::Absent => Ok(None),
            Found::Ring(ring) if ring.fixed.directory != self.whose.directory || ring.fixed.lane != self.whose.lane => {
                Err(OpenError::ForeignRing { path })
            }
            Found::Ring(ring) => Ok(Some(ring)),
            Found::Unreadable => {
                self.put_aside(&path, self.whose.rings)?;
                Ok(None)
            }
        }
    }

    /// The checkpoint's file, made where there is none, and what it says, if it says anything.
    fn open_checkpoint(&self, dir: &Path, has_ring: bool) -> Result<(CheckpointFile, Option<Checkpoint>), OpenError> {
        let path = self.checkpoint_path();
        let Whose { directory, lane, .. } = self.whose;
        if at(&path, path.try_exists())? {
            return at(&path, CheckpointFile::open(self.disk, &path, directory, lane));
        }
        // Only a lane in which nothing ever lay begins with the clean mark.
        let used = has_ring || !self.whose.segments()?.is_empty() || !self.whose.salvages()?.is_empty();
        let first = Checkpoint { clean: (!used).then_some(0), ..Checkpoint::fresh() };
        let file = at(&path, CheckpointFile::create(self.disk, &path, directory, lane, &first))?;
        at(dir, self.disk.sync_dir(dir))?;
        Ok((file, (!used).then_some(first)))
    }

    /// What the files hold from the highest position below which somebody wrote that all is delivered, and that position.
    fn survey(&self, found: Option<Checkpoint>, ring: Option<&RingFile>) -> Result<(Survey, u64), OpenError> {
        let noted = found.map_or(0, |found| found.acked);
        let acked = ring.filter(|ring| ring.sensible()).map_or(noted, |ring| noted.max(ring.words.acked));
        let truth = self.whose.survey(acked)?;
        match truth.acked_below {
            later if later > acked => Ok((self.whose.survey(later)?, later)),
            _ => Ok((truth, acked)),
        }
    }

    /// Moves the files that this build must not touch to the quarantine; how many.
    fn put_strange_aside(&self, truth: &Survey) -> Result<u64, OpenError> {
        for path in &truth.strange {
            let rings = path.parent() == Some(self.whose.rings);
            self.put_aside(path, if rings { self.whose.rings } else { self.whose.journal })?;
        }
        Ok(truth.strange.len() as u64)
    }

    fn put_aside(&self, path: &Path, base: &Path) -> Result<(), OpenError> {
        say!(
            error,
            faults::FILE_PUT_ASIDE,
            path = %path.display(),
            "damaged, of a newer version or not of this lane: put aside, not read"
        );
        let name = path.file_name().unwrap_or_default();
        at(path, layout::put_aside(self.disk, path, &base.join(layout::QUARANTINE), name))
    }

    /// How the last opening ended. If intact, the ring's frames are taken into the truth.
    fn judge(
        &self,
        found: Option<Checkpoint>,
        ring: Option<&RingFile>,
        truth: &mut Survey,
        acked: u64,
    ) -> Result<Opening, OpenError> {
        if let Some(head) = found.and_then(|found| found.clean) {
            return Ok(if head == 0 && truth.top == 0 { Opening::Fresh } else { Opening::Clean { head } });
        }
        let same_life = |ring: &&RingFile| {
            self.boot != [0; 16]
                && ring.fixed.boot == self.boot
                && ring.fixed.epoch >= found.map_or(0, |found| found.epoch)
                && ring.sensible()
                && truth.top <= ring.words.head
        };
        let Some(ring) = ring.filter(same_life) else { return Ok(Opening::Cut) };
        let head = ring.words.head;
        let from = ring.words.acked.max(ring.words.spilled);
        let (mut seqs, mut edge, mut whole) = (truth.seqs.clone(), truth.edge, 0);
        let walked = ring.walk(self.whose.seed(), |_, item| match item {
            Item::Frame(frame) if frame.pos >= from && frame.next_pos <= head => {
                whole += frame.next_pos - frame.pos;
                edge.note(&frame, acked);
                if frame.pos >= acked {
                    seqs.add(&frame);
                }
            }
            Item::Frame(frame) if frame.next_pos <= from => {
                edge.note(&frame, acked);
                if frame.next_pos == from {
                    seqs.know(frame.epoch, frame.next);
                }
            }
            Item::Pad { pos, len } if pos >= from && pos + len <= head => {
                edge.note_pad(pos, len, acked);
                whole += len;
            }
            _ => {}
        });
        at(&self.whose.ring_path(), walked)?;
        if whole != head - from {
            return Ok(Opening::Cut);
        }
        (truth.seqs, truth.edge) = (seqs, edge);
        Ok(Opening::Intact)
    }

    /// The ring to go on in: the one that is there, in place, so that a full disk does not matter; or a new one.
    fn go_on(
        &self,
        opening: Opening,
        ring: Option<RingFile>,
        truth: &mut Survey,
        acked: u64,
        epoch: u64,
    ) -> Result<RingFile, OpenError> {
        let path = self.whose.ring_path();
        let fits = |ring: &RingFile| ring.fixed.size == self.ring_bytes || !self.worker;
        match ring {
            Some(mut ring) if opening != Opening::Cut && fits(&ring) => {
                let words = match opening {
                    Opening::Clean { head } => Words { head, acked, spilled: head },
                    _ => Words { acked: ring.words.acked.max(acked), ..ring.words },
                };
                let size = ring.fixed.size;
                at(&path, ring.renew(self.disk, self.first_line(size, epoch), words))?;
                Ok(ring)
            }
            old => self.new_ring(opening, old, truth, acked, epoch),
        }
    }

    fn first_line(&self, size: u64, epoch: u64) -> Static {
        Static { lane: self.whose.lane, size, directory: self.whose.directory, boot: self.boot, epoch }
    }

    /// Makes a new ring. The old one, if it may hold something, is put aside to be read, once there is room for the new one.
    fn new_ring(
        &self,
        opening: Opening,
        old: Option<RingFile>,
        truth: &mut Survey,
        acked: u64,
        epoch: u64,
    ) -> Result<RingFile, OpenError> {
        let path = self.whose.ring_path();
        let size = if self.worker { self.ring_bytes } else { self.ring_bytes.min(DRAINED_RING) };
        let prepare = || {
            RingFile::prepare(self.disk, &path, size).map_err(|source| OpenError::SetAside {
                path: path.clone(),
                bytes: size,
                source,
            })
        };
        let (prepared, head) = match (opening, old) {
            (Opening::Fresh | Opening::Clean { .. }, old) => {
                // All of it is delivered or in segments; only its size is not what is wanted.
                if old.is_some() {
                    at(&path, self.disk.remove(&path))?;
                }
                let head = if let Opening::Clean { head } = opening { head } else { 0 };
                (prepare()?, head.max(truth.top).max(acked))
            }
            (Opening::Intact | Opening::Cut, old) => {
                let prepared = prepare()?;
                let (mut top, mut largest) = (acked, self.ring_bytes);
                if let Some(old) = old {
                    largest = largest.max(old.fixed.size);
                    // A word of a damaged ring may say anything: it counts only where it can be true.
                    top = if old.sensible() { top.max(old.words.head) } else { top };
                    self.salvage(old, truth, acked)?;
                }
                // Frames that nobody can see any more may have reached one ring further; twice that is out of their way.
                (prepared, top.max(truth.top) + 2 * largest)
            }
        };
        let head = head.next_multiple_of(ALIGN);
        let words = Words { head, acked, spilled: head };
        let made = RingFile::create(prepared, &path, self.first_line(size, epoch), words);
        at(&path, made.and_then(|made| self.disk.sync_dir(self.whose.rings).map(|()| made)))
    }
}

/// What is known of the later of two epochs; of one epoch, the most.
fn later(one: (u64, [u64; STREAMS]), other: (u64, [u64; STREAMS])) -> (u64, [u64; STREAMS]) {
    match one.0.cmp(&other.0) {
        std::cmp::Ordering::Less => other,
        std::cmp::Ordering::Greater => one,
        std::cmp::Ordering::Equal => (one.0, std::array::from_fn(|stream| one.1[stream].max(other.1[stream]))),
    }
}

/// How far each stream is delivered at `acked`.
pub(super) fn delivered(edge: &Edge, found: Option<Checkpoint>, acked: u64) -> [Mark; STREAMS] {
    let noted = found.map_or([Mark::default(); STREAMS], |found| found.delivered);
    edge.delivered(acked, noted, found.is_some_and(|found| found.acked == acked))
}
