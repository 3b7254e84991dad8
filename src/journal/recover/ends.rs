//! How a lane's epochs ended, as far as recovery knows it.

use std::array;

use super::{Place, at, delivered};
use crate::journal::{
    OpenError, Opening, STREAMS,
    checkpoint::Checkpoint,
    history::{self, End},
    ringfile::RingFile,
    segment::Item,
    survey::Survey,
};

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
        ring: Option<&RingFile>,
        truth: &Survey,
        found: Option<Checkpoint>,
        acked: u64,
    ) -> Result<Vec<End>, OpenError> {
        let (dir, of) = (self.whose.dir(), (self.whose.directory, self.whose.lane));
        let read = || at(&dir, history::read(&dir, of.0, of.1));
        let note = |end| at(&dir, history::note(self.disk, &dir, of, end)).map(drop);
        let known = read()?;
        if opening == Opening::Cut {
            self.note_cuts(&known, ring, (truth, found, acked), note)?;
        }
        match closed.filter(|(epoch, _)| known.iter().all(|end| end.epoch != *epoch)) {
            Some((epoch, next)) => note(End { epoch, next, cut: opening == Opening::Cut })?,
            // Said before, of a lane without a worker or by a start that died: nothing was appended to it since then.
            None => {}
        }
        read()
    }

    fn note_cuts(
        &self,
        known: &[End],
        ring: Option<&RingFile>,
        (truth, found, acked): (&Survey, Option<Checkpoint>, u64),
        note: impl Fn(End) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let (mut seqs, mut edge) = (truth.seqs.clone(), truth.edge);
        if let Some(ring) = ring {
            let walked = ring.walk(self.whose.seed(), |_, item| {
                if let Item::Frame(frame) = item {
                    edge.note(&frame, acked);
                    if frame.pos >= acked {
                        seqs.add(&frame);
                    }
                }
            });
            at(&self.whose.ring_path(), walked)?;
        }
        let delivered = delivered(&edge, found, acked);
        let left = |epoch: u64| -> [u64; STREAMS] {
            let seen = seqs.next(epoch);
            array::from_fn(|stream| match delivered[stream].epoch.cmp(&epoch) {
                std::cmp::Ordering::Less => seen[stream],
                std::cmp::Ordering::Equal => seen[stream].max(delivered[stream].next),
                std::cmp::Ordering::Greater => u64::MAX,
            })
        };
        for end in known.iter().filter(|end| !end.cut) {
            let left = left(end.epoch);
            let next = array::from_fn(|stream| end.next[stream].min(left[stream]));
            if next != end.next {
                note(End { next, cut: true, ..*end })?;
            }
        }
        Ok(())
    }
}
