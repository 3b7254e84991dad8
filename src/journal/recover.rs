//! Recovery of one lane: what was there, what of it is true, and where to go on.
//!
//! 1. The checkpoint, and the ring if it is this directory's.
//! 2. A position below which everything is delivered: the highest that anybody wrote down, each a safe lower bound.
//! 3. The segments, then the ring, frame by frame. Clean, intact or cut: see [`Opening`].
//! 4. If cut, the ring is put aside to be read and a new one made, with positions above all that were ever used.
//! 5. The truth is the union by position; what is missing in it is counted, files with damage are kept as evidence.
//! 6. The new epoch, durable before the first click.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::journal::{
    LaneReport, Mark, OpenError, Opening, STREAMS,
    checkpoint::{Checkpoint, CheckpointFile},
    disk::Disk,
    frame::{ALIGN, Frame, seed},
    lane::Home,
    layout,
    ringfile::{Found, RingFile, Static, Words, walk_ring},
    segment::{self, Extent, Head, Index, Item, Segment, read_up_to, union, walk_file},
    seqs::Seqs,
};

/// A lane's surroundings.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) disk: &'a Disk,
    pub(super) directory: u64,
    pub(super) boot: [u8; 16],
    /// The journal's directory.
    pub(super) journal: &'a Path,
    /// Where the rings are.
    pub(super) rings: &'a Path,
    pub(super) ring_bytes: u64,
    pub(super) lane: u16,
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
    pub(super) epoch: u64,
    pub(super) dir: PathBuf,
    pub(super) checkpoint: CheckpointFile,
    pub(super) written: Checkpoint,
    pub(super) next_number: u64,
    pub(super) at_spilled: (u64, [u64; STREAMS]),
}

/// What a scan of files found.
#[derive(Debug, Default)]
struct Truth {
    extents: Vec<Extent>,
    index: Index,
    seqs: Seqs,
    /// The frame with the lowest position: its epoch, and the numbers before it.
    first: Option<(u64, u64, [u64; STREAMS])>,
    /// Everything below is delivered, as the blocks say.
    acked_below: u64,
    /// The highest position seen.
    top: u64,
    damaged: u64,
    put_aside: u64,
    next_number: u64,
}

impl Place<'_> {
    /// Recovers the lane and opens its next epoch.
    pub(super) fn recover(&self) -> Result<Recovered, OpenError> {
        let dir = self.journal.join(layout::lane_name(self.lane));
        self.io(&dir, self.disk.create_dir(&dir))?;
        self.io(self.journal, self.disk.sync_dir(self.journal))?;
        let ring = self.find_ring()?;
        let (mut checkpoint, found) = self.open_checkpoint(&dir, ring.is_some())?;

        let mut acked = found.map_or(0, |found| found.acked);
        if let Some(ring) = ring.as_ref().filter(|ring| ring.sensible()) {
            acked = acked.max(ring.words.acked);
        }
        let mut truth = self.scan(&dir, acked)?;
        if truth.acked_below > acked {
            acked = truth.acked_below;
            let put_aside = truth.put_aside;
            truth = self.scan(&dir, acked)?;
            truth.put_aside += put_aside;
        }
        let opening = self.judge(found, ring.as_ref(), &mut truth, acked)?;
        let last_epoch = [
            found.map_or(0, |found| found.epoch),
            ring.as_ref().map_or(0, |ring| ring.fixed.epoch),
            truth.seqs.last().map_or(0, |(epoch, _)| epoch),
        ];
        let last_epoch = last_epoch.into_iter().max().unwrap_or(0);
        let epoch = if self.worker { self.wall_ms.max(last_epoch + 1) } else { 0 };

        let ring = self.go_on(opening, ring, &mut truth, acked, epoch.max(last_epoch))?;
        let delivered = delivered(found, &truth, acked);
        let written = Checkpoint {
            epoch: epoch.max(last_epoch),
            next: [0; STREAMS],
            acked,
            delivered,
            sink: found.map_or([0; 64], |found| found.sink),
            clean: None,
        };
        self.io(&dir, checkpoint.write(&written))?;
        Ok(self.finish(opening, ring, truth, checkpoint, written, (dir, epoch), found))
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where everything found comes together")]
    fn finish(
        &self,
        opening: Opening,
        ring: RingFile,
        truth: Truth,
        checkpoint: CheckpointFile,
        written: Checkpoint,
        (dir, epoch): (PathBuf, u64),
        found: Option<Checkpoint>,
    ) -> Recovered {
        let Truth { extents, mut index, seqs, damaged, put_aside, next_number, .. } = truth;
        index.extents = union(extents);
        let counts: [_; STREAMS] = std::array::from_fn(|stream| seqs.count(stream, written.delivered[stream]));
        let last = seqs.last().or(found.map(|found| (found.epoch, found.next))).unwrap_or((0, [0; STREAMS]));
        let in_ring = ring.words.head > ring.words.acked.max(ring.words.spilled);
        let safe = match (opening, in_ring) {
            // The ring alone has some of them.
            (Opening::Intact, true) => written.delivered,
            _ => [Mark { epoch: written.epoch, next: 0 }; STREAMS],
        };
        let report = LaneReport {
            lane: self.lane,
            epoch,
            opening,
            closed: (last.0 > 0).then_some(last),
            recovered: counts.map(|count| count.present + count.missing),
            quarantined: counts.map(|count| count.missing),
            damaged,
            put_aside,
            backlog_bytes: ring.words.head.saturating_sub(written.acked),
        };
        let home = Home {
            index,
            acked: written.acked,
            delivered: written.delivered,
            sink: written.sink,
            safe,
            recovered: seqs,
        };
        Recovered {
            report,
            ring,
            home,
            seed: seed(self.directory, self.lane),
            epoch,
            dir,
            checkpoint,
            written,
            next_number,
            at_spilled: last,
        }
    }

    fn io<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, OpenError> {
        result.map_err(|source| OpenError::Io { path: path.to_owned(), source })
    }

    fn ring_path(&self) -> PathBuf {
        self.rings.join(layout::ring_name(self.lane))
    }

    /// The ring of this directory and lane. One that cannot be read is put aside.
    fn find_ring(&self) -> Result<Option<RingFile>, OpenError> {
        let path = self.ring_path();
        match self.io(&path, RingFile::open(&path, true))? {
            Found::Absent => Ok(None),
            Found::Ring(ring) if ring.fixed.directory != self.directory || ring.fixed.lane != self.lane => {
                Err(OpenError::ForeignRing { path })
            }
            Found::Ring(ring) => Ok(Some(ring)),
            Found::Unreadable => {
                tracing::error!(path = %path.display(), "this ring is damaged or of a newer version; it is put aside");
                let name = layout::ring_name(self.lane);
                let aside = layout::put_aside(self.disk, &path, &self.rings.join("quarantine"), name.as_ref());
                self.io(&path, aside)?;
                Ok(None)
            }
        }
    }

    /// The checkpoint's file, made where there is none, and what it says, if it says anything.
    fn open_checkpoint(&self, dir: &Path, has_ring: bool) -> Result<(CheckpointFile, Option<Checkpoint>), OpenError> {
        let path = dir.join("checkpoint");
        if self.io(&path, path.try_exists())? {
            return self.io(&path, CheckpointFile::open(self.disk, &path, self.directory, self.lane));
        }
        // Only a lane in which nothing ever lay begins with the clean mark.
        let used = has_ring || !self.io(dir, files(dir))?.is_empty() || !self.salvages()?.is_empty();
        let first = Checkpoint { clean: (!used).then_some(0), ..Checkpoint::fresh() };
        let file = self.io(&path, CheckpointFile::create(self.disk, &path, self.directory, self.lane, &first))?;
        self.io(dir, self.disk.sync_dir(dir))?;
        Ok((file, (!used).then_some(first)))
    }

    /// Rings that earlier recoveries put aside to be read.
    fn salvages(&self) -> Result<Vec<(u64, PathBuf)>, OpenError> {
        let mut found = Vec::new();
        for entry in self.io(self.rings, std::fs::read_dir(self.rings))? {
            let path = self.io(self.rings, entry)?.path();
            match path.file_name().and_then(layout::salvage_number) {
                Some((lane, number)) if lane == self.lane => found.push((number, path)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Reads every segment and salvaged ring, frame by frame, from `acked` on.
    fn scan(&self, dir: &Path, acked: u64) -> Result<Truth, OpenError> {
        let mut truth = Truth::default();
        for (number, path) in self.io(dir, files(dir))? {
            truth.next_number = truth.next_number.max(number + 1);
            let scanned = self.scan_segment(&mut truth, number, &path, acked);
            self.io(&path, scanned)?;
        }
        for (number, path) in self.salvages()? {
            truth.next_number = truth.next_number.max(number + 1);
            match self.io(&path, RingFile::open(&path, false))? {
                Found::Ring(ring) => {
                    let scanned =
                        self.scan_ring(&mut truth, &ring.file, ring.fixed.size, (number, path.clone()), acked);
                    self.io(&path, scanned)?;
                }
                Found::Absent | Found::Unreadable => truth.damaged += 1,
            }
        }
        Ok(truth)
    }

    fn scan_segment(&self, truth: &mut Truth, number: u64, path: &Path, acked: u64) -> io::Result<()> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut head = [0; segment::HEADER];
        let got = read_up_to(&file, &mut head, 0)?;
        if let Some(head) = Head::decode(&head).filter(|_| got == head.len())
            && (head.version > segment::VERSION || head.directory != self.directory || head.lane != self.lane)
        {
            tracing::error!(path = %path.display(), "this segment is of a newer version or another lane; it is put aside");
            truth.put_aside += 1;
            let name = path.file_name().unwrap_or_default();
            return layout::put_aside(self.disk, path, &self.journal.join("quarantine"), name);
        }
        let mut runs = Runs::new(number, acked);
        let seed = seed(self.directory, self.lane);
        walk_file(
            &file,
            segment::HEADER as u64,
            len,
            seed,
            |_, _| true,
            |offset, item| runs.visit(truth, offset, item),
        )?;
        // What is bad up to the end of the file is a torn tail: it was never synced, so nobody counted on it.
        let damaged = runs.damaged;
        truth.damaged += damaged;
        truth.add(runs, Segment { path: path.to_owned(), to: 0, bytes: len, damaged: damaged > 0 });
        Ok(())
    }

    fn scan_ring(
        &self,
        truth: &mut Truth,
        file: &File,
        size: u64,
        (number, path): (u64, PathBuf),
        acked: u64,
    ) -> io::Result<()> {
        let mut runs = Runs::new(number, acked);
        walk_ring(file, size, seed(self.directory, self.lane), |offset, item| runs.visit(truth, offset, item))?;
        truth.add(runs, Segment { path, to: 0, bytes: size, damaged: false });
        Ok(())
    }

    /// How the last opening ended.
    fn judge(
        &self,
        found: Option<Checkpoint>,
        ring: Option<&RingFile>,
        truth: &mut Truth,
        acked: u64,
    ) -> Result<Opening, OpenError> {
        if let Some(head) = found.and_then(|found| found.clean) {
            let fresh = head == 0 && truth.top == 0;
            return Ok(if fresh { Opening::Fresh } else { Opening::Clean { head } });
        }
        let Some(ring) = ring else { return Ok(Opening::Cut) };
        let same_life = self.boot != [0; 16]
            && ring.fixed.boot == self.boot
            && ring.fixed.epoch >= found.map_or(0, |found| found.epoch)
            && ring.sensible()
            && truth.top <= ring.words.head;
        if !same_life {
            return Ok(Opening::Cut);
        }
        let from = ring.words.acked.max(ring.words.spilled);
        let head = ring.words.head;
        let mut seqs = truth.seqs.clone();
        let mut first = truth.first;
        let mut bytes = 0;
        let walked = ring.walk(seed(self.directory, self.lane), |_, item| match item {
            Item::Frame(frame) if frame.pos >= from && frame.next_pos <= head => {
                bytes += frame.next_pos - frame.pos;
                if frame.pos >= acked {
                    seqs.add(&frame);
                    note_first(&mut first, &frame);
                }
            }
            Item::Frame(frame) if frame.next_pos == from => seqs.know(frame.epoch, frame.next),
            Item::Pad { pos, len } if pos >= from && pos + len <= head => bytes += len,
            _ => {}
        });
        self.io(&self.ring_path(), walked)?;
        if bytes != head - from {
            return Ok(Opening::Cut);
        }
        truth.seqs = seqs;
        truth.first = first;
        Ok(Opening::Intact)
    }

    /// The ring to go on in: the one that is there, or a new one.
    fn go_on(
        &self,
        opening: Opening,
        ring: Option<RingFile>,
        truth: &mut Truth,
        acked: u64,
        epoch: u64,
    ) -> Result<RingFile, OpenError> {
        let path = self.ring_path();
        let fits = |ring: &RingFile| ring.fixed.size == self.ring_bytes || !self.worker;
        let fixed = |size| Static { lane: self.lane, size, directory: self.directory, boot: self.boot, epoch };
        let reusable = matches!(opening, Opening::Intact | Opening::Clean { .. } | Opening::Fresh);
        match ring {
            Some(mut ring) if reusable && fits(&ring) => {
                let words = match opening {
                    Opening::Clean { head } => Words { head, acked, spilled: head },
                    _ => Words { acked: ring.words.acked.max(acked), ..ring.words },
                };
                let renewed = ring.renew(self.disk, fixed(ring.fixed.size), words);
                self.io(&path, renewed)?;
                Ok(ring)
            }
            old => {
                let mut top = truth.top.max(acked);
                if let Opening::Clean { head } = opening {
                    top = top.max(head);
                }
                if let (Some(_), Opening::Clean { .. } | Opening::Fresh) = (&old, opening) {
                    // All of it is delivered or in segments; only its size is not what is wanted.
                    self.io(&path, self.disk.remove(&path))?;
                } else if let Some(old) = old {
                    let limit = old.fixed.size.max(self.ring_bytes);
                    // A word of a damaged ring may say anything: it counts only where a frame could have been.
                    top = if old.sensible() { top.max(old.words.head) } else { top };
                    self.salvage(old, truth, acked)?;
                    top = top.max(truth.top) + 2 * limit;
                } else if opening == Opening::Cut {
                    top += 2 * self.ring_bytes;
                }
                let head = top.next_multiple_of(ALIGN);
                let size = if self.worker { self.ring_bytes } else { self.ring_bytes.min(64 << 10) };
                let words = Words { head, acked: acked.min(head), spilled: head };
                let made = RingFile::create(self.disk, &path, fixed(size), words)
                    .map_err(|source| OpenError::SetAside { path: path.clone(), bytes: size, source })?;
                self.io(self.rings, self.disk.sync_dir(self.rings))?;
                Ok(made)
            }
        }
    }

    /// Puts the ring aside under a name of its own and takes its frames into the truth.
    fn salvage(&self, ring: RingFile, truth: &mut Truth, acked: u64) -> Result<(), OpenError> {
        let path = self.ring_path();
        let number = truth.next_number;
        truth.next_number += 1;
        let aside = self.rings.join(layout::salvage_name(self.lane, number));
        self.io(&path, self.disk.rename(&path, &aside))?;
        self.io(self.rings, self.disk.sync_dir(self.rings))?;
        let scanned = self.scan_ring(truth, &ring.file, ring.fixed.size, (number, aside), acked);
        self.io(&path, scanned)
    }
}

/// The segments in a lane's directory, by number.
fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        found.extend(path.file_name().and_then(layout::segment_number).map(|number| (number, path.clone())));
    }
    found.sort_unstable();
    Ok(found)
}

/// How far each stream is delivered. The checkpoint's marks hold for its own position; above it the first frame tells.
fn delivered(found: Option<Checkpoint>, truth: &Truth, acked: u64) -> [Mark; STREAMS] {
    let known = found.map_or([Mark::default(); STREAMS], |found| found.delivered);
    match truth.first {
        Some((_, epoch, before)) if found.is_none_or(|found| found.acked < acked) => {
            std::array::from_fn(|stream| known[stream].max(Mark { epoch, next: before[stream] }))
        }
        _ => known,
    }
}

fn note_first(first: &mut Option<(u64, u64, [u64; STREAMS])>, frame: &Frame<'_>) {
    if first.is_none_or(|(pos, _, _)| frame.pos < pos) {
        let mut before = frame.next;
        before[usize::from(frame.stream)] = frame.seq;
        *first = Some((frame.pos, frame.epoch, before));
    }
}

impl Truth {
    fn add(&mut self, runs: Runs, mut segment: Segment) {
        segment.to = runs.runs.iter().map(|run| run.to).max().unwrap_or(0).max(runs.top);
        self.index.files.insert(runs.number, segment);
        self.extents.extend(runs.runs);
    }
}

/// The runs of contiguous frames in one file.
#[derive(Debug)]
struct Runs {
    number: u64,
    acked: u64,
    runs: Vec<Extent>,
    top: u64,
    /// Bad places with something good behind them.
    damaged: u64,
    bad: bool,
}

impl Runs {
    fn new(number: u64, acked: u64) -> Runs {
        Runs { number, acked, runs: Vec::new(), top: 0, damaged: 0, bad: false }
    }

    fn visit(&mut self, truth: &mut Truth, offset: u64, item: Item<'_>) {
        let (pos, len) = match item {
            Item::Bad { .. } => {
                self.bad = true;
                return;
            }
            Item::Block(block) => {
                truth.acked_below = truth.acked_below.max(block.acked_below);
                if block.to > self.acked {
                    truth.seqs.know(block.epoch, block.next);
                }
                return;
            }
            Item::Frame(frame) => {
                if frame.pos >= self.acked {
                    truth.seqs.add(&frame);
                    note_first(&mut truth.first, &frame);
                }
                (frame.pos, frame.next_pos - frame.pos)
            }
            Item::Pad { pos, len } => (pos, len),
            Item::Newer => {
                self.bad = true;
                return;
            }
        };
        let to = pos + len;
        truth.top = truth.top.max(to);
        self.top = self.top.max(to);
        let bad = std::mem::take(&mut self.bad);
        if to <= self.acked {
            return;
        }
        self.damaged += u64::from(bad);
        let end = offset + len;
        match self.runs.last_mut() {
            Some(run) if run.to == pos && !bad => {
                run.to = to;
                run.end = end;
            }
            _ => self.runs.push(Extent { from: pos, to, file: self.number, offset, end }),
        }
    }
}
