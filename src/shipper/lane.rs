//! One lane as the shipper sees it: its reader, and how far each topic is.

use std::{cmp::Ordering, time::Instant};

use super::{
    halt::Halt,
    kafka::checkpoint::noted,
    track::{State, Track},
    upto::{Lanes, Upto},
};
use crate::{
    journal::{Batch, Frame, Mark, Reader, Standing},
    model::click::Topic,
};

/// How many topics a lane has.
pub(super) const TOPICS: usize = Topic::ALL.len();

/// One lane.
pub(super) struct LaneState {
    pub(super) reader: Reader,
    pub(super) tracks: [Track; TOPICS],
    /// Delivered as the journal knew at the start: passed without being counted again.
    pub(super) counted: [Mark; TOPICS],
    /// What the journal was told last.
    pub(super) acked: u64,
    pub(super) marks: [Mark; TOPICS],
    /// Everything before is delivered or synced, as of the last batch read.
    pub(super) safe: [Mark; TOPICS],
    /// The time of the last click read: the lane with the smallest goes first.
    pub(super) read_ms: u64,
    pub(super) unreadable_until: Option<Instant>,
    /// What it said of itself last.
    pub(super) said: Option<Said>,
    /// Nothing was ever delivered that Kafka's checkpoints do not know of.
    exact: bool,
}

/// What a lane said last.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) at: Instant,
    pub(super) standing: Standing,
    pub(super) delivered: [Mark; TOPICS],
    /// That all of a lane without a worker is delivered.
    pub(super) drained: bool,
}

impl LaneState {
    /// A lane that goes on where the journal and the sink's files say. `found` is per topic what the files hold of it.
    pub(super) fn new(edge: &str, reader: Reader, found: [Mark; TOPICS]) -> LaneState {
        let counted = reader.delivered();
        let start = reader.start();
        let track = |topic: Topic| Track::new(start, counted[topic as usize].max(found[topic as usize]));
        LaneState {
            tracks: Topic::ALL.map(track),
            counted,
            acked: start,
            marks: counted,
            safe: counted,
            read_ms: 0,
            unreadable_until: None,
            said: None,
            exact: noted(edge, &reader.sink_note()).is_some(),
            reader,
        }
    }

    /// Notes what is said now.
    pub(super) fn says(&mut self, standing: Standing, drained: bool, now: Instant) {
        let delivered = self.tracks.each_ref().map(Track::delivered);
        self.said = Some(Said { at: now, standing, delivered, drained });
    }

    /// What will be delivered once everything in flight is.
    pub(super) fn upto(&self) -> ((u64, u16), [Upto; TOPICS]) {
        (self.key(), self.tracks.each_ref().map(Track::upto))
    }

    /// The lane's name in checkpoints.
    fn key(&self) -> (u64, u16) {
        (self.reader.directory(), self.reader.lane())
    }

    /// Why the lane cannot go on from what is committed. Where a start at least once lies between, the journal alone is right.
    pub(super) fn contradicts(&self, committed: &Lanes) -> Option<Halt> {
        if !self.exact {
            return None;
        }
        let lane = self.reader.lane();
        let none = Default::default();
        let there: &[Upto; TOPICS] = committed.get(&self.key()).unwrap_or(&none);
        let known = self.epochs();
        there.iter().zip(self.marks).find_map(|(upto, here)| {
            let there = upto.mark;
            // Of an epoch without a click recovery may know that it is over, and no checkpoint has to.
            if here > there && here.next > 0 {
                Some(Halt::Behind { lane, here, there })
            } else if knows(&known, there.epoch) {
                None
            } else {
                Some(Halt::Forked { lane, epoch: there.epoch })
            }
        })
    }

    /// Goes on from what is committed, as far as it is of this directory.
    pub(super) fn resume(&mut self, committed: &Lanes) {
        self.exact = true;
        let known = self.epochs();
        if let Some(there) = committed.get(&self.key()) {
            let ours = self.tracks.iter_mut().zip(there).filter(|(_, upto)| knows(&known, upto.mark.epoch));
            ours.for_each(|(track, upto)| track.resume(upto));
        }
    }

    /// The epochs that this directory remembers.
    fn epochs(&self) -> Vec<u64> {
        let ended = self.reader.standing().ended.into_iter().map(|end| end.epoch);
        let marked = self.marks.iter().map(|mark| mark.epoch);
        ended.chain(marked).chain([self.reader.epoch()]).filter(|epoch| *epoch > 0).collect()
    }

    /// Everything below is delivered.
    pub(super) fn prefix(&self) -> u64 {
        self.tracks.iter().map(Track::prefix).min().unwrap_or(self.acked)
    }

    /// Whether everything that was appended is delivered.
    pub(super) fn done(&self) -> bool {
        self.prefix() >= self.reader.head()
    }

    /// The number in the frame's epoch and topic below which everything is delivered or synced.
    pub(super) fn safe_for(&self, frame: &Frame<'_>) -> u64 {
        let safe = self.safe[usize::from(frame.stream).min(TOPICS - 1)];
        match safe.epoch.cmp(&frame.epoch) {
            Ordering::Less => 0,
            Ordering::Equal => safe.next,
            // A later epoch is safe up to somewhere, so this one is as a whole, as far as a power loss left it.
            Ordering::Greater => self.reader.true_of(frame.stream, Mark { epoch: frame.epoch, next: frame.seq }).next,
        }
    }

    /// The time of the oldest click read and not delivered; of the last one read, if more wait behind it.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        let sent = self.tracks.iter().filter_map(Track::oldest_ms).min();
        sent.or_else(|| (self.read_ms > 0 && !self.done()).then_some(self.read_ms))
    }

    /// Every click of the topic older than this is delivered, as far as the wall clock did not go back: the time of the oldest
    /// that is not, at most `now_ms`. `None` while that is not known.
    pub(super) fn complete_to_ms(&self, topic: Topic, now_ms: u64) -> Option<u64> {
        let track = &self.tracks[topic as usize];
        match track.oldest_ms() {
            Some(oldest) => Some(oldest.min(now_ms)),
            None if track.next() >= self.reader.head() => Some(now_ms),
            None => (self.read_ms > 0).then_some(self.read_ms.min(now_ms)),
        }
    }

    /// Adds to `sum` what is not delivered, by topic; whether all was counted before the deadline.
    pub(super) fn count_remaining(&mut self, batch: &mut Batch, deadline: Instant, sum: &mut [u64; TOPICS]) -> bool {
        let mut from = self.prefix();
        while from < self.reader.head() {
            if Instant::now() >= deadline || self.reader.read(from, batch).is_err() || batch.next() <= from {
                return false;
            }
            for frame in batch.frames() {
                let Some(track) = self.tracks.get(usize::from(frame.stream)) else { continue };
                let sent = track.ticket_of(&frame).and_then(|ticket| track.get(ticket));
                let delivered = track.has(&frame) || sent.is_some_and(|sent| sent.state == State::Delivered);
                sum[usize::from(frame.stream)] += u64::from(!delivered);
            }
            from = batch.next();
        }
        true
    }
}

/// Whether an epoch is one of these. One older than all of them covers none of the clicks that wait.
fn knows(epochs: &[u64], epoch: u64) -> bool {
    epochs.contains(&epoch) || epochs.iter().all(|known| epoch < *known)
}
