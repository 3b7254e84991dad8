//! How a lane's epochs ended, as far as recovery knows it.

use std::{array, cmp::Ordering};

use super::{Place, at, delivered};
use crate::journal::{
    Mark, OpenError, Opening, STREAMS,
    checkpoint::Checkpoint,
    history::{self, End},
    ringfile::RingFile,
    segment::Item,
    seqs::Seqs,
    survey::Survey,
};

/// What is known when a lane's last epoch is closed.
pub(super) struct Known<'a> {
    pub(super) ring: Option<&'a RingFile>,
    pub(super) truth: &'a Survey,
    pub(super) found: Option<Checkpoint>,
    pub(super) acked: u64,
}

impl Place<'_> {
    /// Notes how the last epoch ended; gives every end that is known.
    ///
    /// Durable before the ring names the next epoch: a start that died between the two would find that one to be the last, and
    /// nobody would ever say how this one ended. A power loss can also take clicks of epochs before the last, which lay in the
    /// ring alone still: they had ended whole, and are said to be cut now.
    pub(super) fn note_ends(
        &self,
        opening: Opening,
        closed: Option<(u64, [u64; STREAMS])>,
        known: &Known<'_>,
    ) -> Result<Vec<End>, OpenError> {
        let (dir, of) = (self.whose.dir(), (self.whose.directory, self.whose.lane));
        let read = || at(&dir, history::read(&dir, of.0, of.1));
        let note = |end| at(&dir, history::note(self.disk, &dir, of, end));
        at(&dir, history::keep(self.disk, &dir))?;
        let said = read()?;
        // Said before, of a lane without a worker or by a start that died: nothing was appended to it since then.
        let closed = closed.filter(|(epoch, _)| said.iter().all(|end| end.epoch != *epoch));
        if opening == Opening::Cut {
            let left = self.left(known)?;
            for end in said.iter().filter(|end| !end.cut) {
                let next = left.upto(end.epoch, end.next);
                if next != end.next {
                    note(End { next, cut: true, ..*end })?;
                }
            }
            if let Some((epoch, next)) = closed {
                let seen = left.seqs.next(epoch);
                let next = left.upto(epoch, array::from_fn(|stream| next[stream].max(seen[stream])));
                note(End { epoch, next, cut: true })?;
            }
        } else if let Some((epoch, next)) = closed {
            note(End { epoch, next, cut: false })?;
        }
        read()
    }

    /// What a power loss left: the segments' frames, and the ring's.
    fn left(&self, known: &Known<'_>) -> Result<Left, OpenError> {
        let Known { ring, truth, found, acked } = *known;
        let (mut seqs, mut edge) = (truth.seqs.clone(), truth.edge);
        if let Some(ring) = ring {
            let walked = ring.walk(self.whose.seed(), |_, item| match item {
                Item::Frame(frame) => {
                    edge.note(&frame, acked);
                    if frame.pos >= acked {
                        seqs.add(&frame);
                    }
                }
                Item::Pad { pos, len } => edge.note_pad(pos, len, acked),
                _ => {}
            });
            at(&self.whose.ring_path(), walked)?;
        }
        Ok(Left { seqs, delivered: delivered(&edge, found, acked) })
    }
}

struct Left {
    seqs: Seqs,
    delivered: [Mark; STREAMS],
}

impl Left {
    /// The numbers of an epoch below which none is missing, `given` at most. A page can be lost that is older than another, so
    /// more may be there behind what is missing.
    fn upto(&self, epoch: u64, given: [u64; STREAMS]) -> [u64; STREAMS] {
        array::from_fn(|stream| {
            let delivered = self.delivered[stream];
            match delivered.epoch.cmp(&epoch) {
                Ordering::Less => given[stream].min(self.seqs.whole(epoch, stream, 0)),
                Ordering::Equal => given[stream].min(self.seqs.whole(epoch, stream, delivered.next)),
                Ordering::Greater => given[stream],
            }
        })
    }
}
