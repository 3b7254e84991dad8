//! Looks at every file of a lane, frame by frame, and changes nothing: for recovery, and for those who only want to see.

use std::{
    array,
    ffi::OsStr,
    fs::File,
    io, mem,
    path::{Path, PathBuf},
};

use crate::journal::{
    Mark, STREAMS,
    frame::{self, Frame, seed},
    layout,
    ringfile::{Found, RingFile, walk_ring},
    segment::{self, Extent, Head, Index, Item, Segment, read_up_to, union, walk_file},
    seqs::Seqs,
};

/// The number under which a ring in its place is surveyed beside the segments.
pub(super) const RING: u64 = u64::MAX;

/// Which lane, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) directory: u64,
    pub(super) lane: u16,
    /// The journal's directory.
    pub(super) journal: &'a Path,
    /// Where the rings are.
    pub(super) rings: &'a Path,
}

/// What the files of a lane hold from a position on.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) extents: Vec<Extent>,
    pub(super) index: Index,
    pub(super) seqs: Seqs,
    pub(super) edge: Edge,
    /// Everything below is delivered, as the blocks say.
    pub(super) acked_below: u64,
    /// The highest position seen.
    pub(super) top: u64,
    pub(super) frames: u64,
    /// Bad places with something good behind them.
    pub(super) damaged: u64,
    /// Files that end in the middle of something.
    pub(super) torn: u64,
    /// Whole files that this build must not touch: of a newer version, or not this lane's.
    pub(super) strange: Vec<PathBuf>,
    pub(super) next_number: u64,
    /// What blocks at the end of files promise and do not hold: file, and positions from and to.
    tails: Vec<(u64, u64, u64)>,
}

/// The frames on either side of the position below which everything is delivered: they tell the numbers there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edge {
    /// Where the last frame below ends, its epoch, and the numbers after it.
    below: Option<(u64, u64, [u64; STREAMS])>,
    /// Where the first frame above begins, its epoch, and the numbers before it.
    above: Option<(u64, u64, [u64; STREAMS])>,
    /// Where the pad ends that begins at the position, if one does.
    pad: Option<u64>,
}

impl Edge {
    pub(super) fn note(&mut self, frame: &Frame<'_>, acked: u64) {
        if frame.next_pos <= acked {
            if self.below.is_none_or(|(end, _, _)| frame.next_pos > end) {
                self.below = Some((frame.next_pos, frame.epoch, frame.next));
            }
        } else if self.above.is_none_or(|(pos, _, _)| frame.pos < pos) {
            let mut before = frame.next;
            before[usize::from(frame.stream)] = frame.seq;
            self.above = Some((frame.pos, frame.epoch, before));
        }
    }

    pub(super) fn note_pad(&mut self, pos: u64, len: u64, acked: u64) {
        if pos == acked {
            self.pad = Some(pos + len);
        }
    }

    /// The marks below which every frame before `acked` lies, on top of those `noted` there.
    ///
    /// The frame that ends at `acked` knows best, for what follows may be damaged; so the one behind it is asked only where
    /// nobody noted anything (`noted` then being of an earlier position), and if it begins right there: what a power loss took
    /// between the two was not delivered. One that ends earlier is a lower bound.
    pub(super) fn delivered(&self, acked: u64, noted: [Mark; STREAMS], noted_there: bool) -> [Mark; STREAMS] {
        let exact = self.below.filter(|(end, _, _)| *end == acked);
        let above = self.above.filter(|(pos, _, _)| !noted_there && (*pos == acked || Some(*pos) == self.pad));
        match exact.or(above).or(self.below) {
            Some((_, epoch, next)) => array::from_fn(|stream| noted[stream].max(Mark { epoch, next: next[stream] })),
            None => noted,
        }
    }
}

/// A path beside what the system said about it.
pub(super) type PathError = (PathBuf, io::Error);

impl<'a> Whose<'a> {
    pub(super) fn dir(&self) -> PathBuf {
        self.journal.join(layout::lane_name(self.lane))
    }

    pub(super) fn ring_path(&self) -> PathBuf {
        self.rings.join(layout::ring_name(self.lane))
    }

    pub(super) fn seed(&self) -> u32 {
        seed(self.directory, self.lane)
    }

    /// Its segments, by number.
    pub(super) fn segments(&self) -> Result<Vec<(u64, PathBuf)>, PathError> {
        numbered(&self.dir(), layout::segment_number)
    }

    /// Rings that earlier recoveries put aside to be read, by number. Builds before 2026-11-21 left them beside the rings.
    pub(super) fn salvages(&self) -> Result<Vec<(u64, PathBuf)>, PathError> {
        let own = |name: &OsStr| layout::salvage_number(name).filter(|(lane, _)| *lane == self.lane).map(|(_, n)| n);
        let mut found = numbered(self.journal, own)?;
        if self.rings != self.journal {
            found.extend(numbered(self.rings, own)?);
        }
        Ok(found)
    }

    /// Surveys every segment and salvaged ring from `acked` on.
    pub(super) fn survey(&self, acked: u64) -> Result<Survey, PathError> {
        let mut survey = Survey::default();
        self.add_files(&mut survey, acked)?;
        Ok(survey)
    }

    /// Adds every segment and salvaged ring to a survey. What vanishes meanwhile was delivered.
    pub(super) fn add_files(&self, survey: &mut Survey, acked: u64) -> Result<(), PathError> {
        for (number, path) in self.segments()? {
            survey.next_number = survey.next_number.max(number + 1);
            match survey.segment(self, number, &path, acked) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((path, error)),
                _ => {}
            }
        }
        for (number, path) in self.salvages()? {
            survey.next_number = survey.next_number.max(number + 1);
            match RingFile::open(&path, false) {
                Ok(Found::Ring(ring)) => {
                    let name = (number, path.clone());
                    survey.ring(self, &ring.file, ring.fixed.size, name, acked).map_err(|error| (path, error))?;
                }
                Ok(Found::Unreadable) => survey.strange.push(path),
                Ok(Found::Absent) => {}
                Err(error) => return Err((path, error)),
            }
        }
        Ok(())
    }
}

impl Survey {
    /// Takes in a segment's frames.
    pub(super) fn segment(&mut self, whose: &Whose<'_>, number: u64, path: &Path, acked: u64) -> io::Result<()> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut head = [0; segment::HEADER];
        let got = read_up_to(&file, &mut head, 0)?;
        let head = Head::decode(&head).filter(|_| got == head.len());
        let strange = |head: &Head| {
            head.version > segment::VERSION || head.directory != whose.directory || head.lane != whose.lane
        };
        if head.as_ref().is_some_and(strange) {
            self.strange.push(path.to_owned());
            return Ok(());
        }
        let mut runs = Runs::new(number, acked);
        let from = segment::HEADER as u64;
        walk_file(&file, from, len, whose.seed(), |_, _| true, |offset, item| runs.visit(self, offset, item))?;
        runs.pass(self, runs.promised);
        if runs.end < runs.promised {
            self.tails.push((number, runs.end.max(acked), runs.promised));
        }
        self.torn += u64::from(runs.bad || runs.end < runs.promised);
        self.damaged += runs.damaged;
        let damaged = runs.damaged > 0;
        self.add(runs, Segment { path: path.to_owned(), to: 0, bytes: len, damaged });
        Ok(())
    }

    /// Takes in a ring's frames. What is bad there is what frames half overwritten look like.
    pub(super) fn ring(
        &mut self,
        whose: &Whose<'_>,
        file: &File,
        size: u64,
        (number, path): (u64, PathBuf),
        acked: u64,
    ) -> io::Result<()> {
        let mut runs = Runs::new(number, acked);
        walk_ring(file, size, whose.seed(), |offset, item| runs.visit(self, offset, item))?;
        self.add(runs, Segment { path, to: 0, bytes: size, damaged: false });
        Ok(())
    }

    /// Makes the union of all, by position, once the tails are judged.
    pub(super) fn settle(&mut self, ring: Option<(u64, u64)>) {
        self.judge_tails(ring);
        self.index.extents = union(mem::take(&mut self.extents));
    }

    /// A tail that is nowhere else was perhaps never synced, and perhaps damaged since: so its file is kept as evidence. `ring`:
    /// what is at home in the ring; what else it holds counts only if it is put aside.
    pub(super) fn judge_tails(&mut self, ring: Option<(u64, u64)>) {
        let tails = mem::take(&mut self.tails);
        if tails.is_empty() {
            return;
        }
        let counts = |extent: &&Extent| ring.is_none() || extent.file != RING;
        let whole = union(self.extents.iter().filter(counts).copied().collect());
        for (number, from, to) in tails {
            let mut reached = from;
            for extent in &whole {
                if extent.from <= reached {
                    reached = reached.max(extent.to);
                }
            }
            if let Some((_, head)) = ring.filter(|(home, _)| *home <= reached) {
                reached = reached.max(head);
            }
            if reached < to {
                self.damaged += 1;
                if let Some(file) = self.index.files.get_mut(&number) {
                    file.damaged = true;
                }
            }
        }
    }

    fn add(&mut self, runs: Runs, mut segment: Segment) {
        segment.to = runs.top;
        self.index.files.insert(runs.number, segment);
        self.extents.extend(runs.runs);
    }
}

fn numbered(dir: &Path, number: impl Fn(&OsStr) -> Option<u64>) -> Result<Vec<(u64, PathBuf)>, PathError> {
    let mut found = Vec::new();
    let failed = |error| (dir.to_owned(), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        found.extend(path.file_name().and_then(&number).map(|number| (number, path.clone())));
    }
    found.sort_unstable();
    Ok(found)
}

/// The runs of contiguous frames in one file.
#[derive(Debug)]
struct Runs {
    number: u64,
    acked: u64,
    runs: Vec<Extent>,
    top: u64,
    damaged: u64,
    /// Something bad, with nothing good behind it yet.
    bad: bool,
    /// Where the last good item ends, and the last block is to end.
    end: u64,
    promised: u64,
    /// The numbers at `promised`, as the block says.
    last: (u64, [u64; STREAMS]),
    /// Everything of the block up to here is good, and the numbers there, where they are known.
    sure: u64,
    known: Option<(u64, [u64; STREAMS])>,
}

impl Runs {
    fn new(number: u64, acked: u64) -> Runs {
        Runs {
            number,
            acked,
            runs: Vec::new(),
            top: 0,
            damaged: 0,
            bad: false,
            end: 0,
            promised: 0,
            last: Default::default(),
            sure: 0,
            known: None,
        }
    }

    /// Notes the numbers that the last block was to hold and that do not come before `pos`.
    fn pass(&mut self, survey: &mut Survey, pos: u64) {
        if self.sure < self.promised && pos >= self.promised {
            self.lack(survey, self.promised, self.last);
            (self.sure, self.known) = (self.promised, Some(self.last));
        }
    }

    /// Notes that the numbers from `sure` to those at `pos` are damaged. Where the first of them is not known there are at most so
    /// many as so many bytes can hold.
    fn lack(&self, survey: &mut Survey, pos: u64, (epoch, next): (u64, [u64; STREAMS])) {
        let most = (pos - self.sure) / frame::HEADER as u64;
        let known = self.known.filter(|known| known.0 == epoch).map_or([0; STREAMS], |known| known.1);
        let first = array::from_fn(|stream| known[stream].max(next[stream].saturating_sub(most)));
        survey.seqs.damage(epoch, first, next);
    }

    fn visit(&mut self, survey: &mut Survey, offset: u64, item: Item<'_>) {
        let (pos, to) = match item {
            Item::Bad | Item::Newer => {
                self.bad = true;
                return;
            }
            Item::Block(block) => {
                survey.acked_below = survey.acked_below.max(block.acked_below);
                survey.top = survey.top.max(block.to);
                self.top = self.top.max(block.to);
                self.pass(survey, self.promised);
                self.known = self.known.filter(|_| self.sure == block.from);
                (self.end, self.promised, self.sure) = (block.from, block.to, block.from);
                self.last = (block.epoch, block.next);
                if block.to > self.acked {
                    survey.seqs.know(block.epoch, block.next);
                }
                return;
            }
            Item::Frame(frame) => {
                survey.edge.note(&frame, self.acked);
                if frame.pos >= self.acked {
                    survey.frames += 1;
                    survey.seqs.add(&frame);
                }
                self.pass(survey, frame.pos);
                if (self.sure..self.promised).contains(&frame.pos) && self.sure < frame.pos {
                    let mut before = frame.next;
                    before[usize::from(frame.stream)] = frame.seq;
                    self.lack(survey, frame.pos, (frame.epoch, before));
                }
                (self.sure, self.known) = (frame.next_pos, Some((frame.epoch, frame.next)));
                (frame.pos, frame.next_pos)
            }
            Item::Pad { pos, len } => {
                survey.edge.note_pad(pos, len, self.acked);
                if self.sure == pos {
                    self.sure = pos + len;
                }
                (pos, pos + len)
            }
        };
        survey.top = survey.top.max(to);
        self.top = self.top.max(to);
        self.end = to;
        let bad = mem::take(&mut self.bad);
        if to <= self.acked {
            return;
        }
        self.damaged += u64::from(bad);
        let end = offset + (to - pos);
        match self.runs.last_mut() {
            Some(run) if run.to == pos && !bad => {
                run.to = to;
                run.end = end;
            }
            _ => self.runs.push(Extent { from: pos, to, file: self.number, offset, end }),
        }
    }
}
