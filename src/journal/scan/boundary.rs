//! The frames on either side of the acknowledged position: they tell the sequence numbers there.

use crate::journal::{
    checkpoint::Checkpoint,
    frame::Frame,
    units::{Position, Watermark},
};

/// The position of a frame's edge, and the watermark there.
#[derive(Clone, Copy, Debug)]
struct FrameEdge {
    position: Position,
    watermark: Watermark,
}

/// The last frame below the acknowledged position, and the first frame above it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::journal) struct DeliveryBoundary {
    /// The end of the last frame below.
    below: Option<FrameEdge>,
    /// The beginning of the first frame above.
    above: Option<FrameEdge>,
    /// The end of the pad that begins at the acknowledged position.
    pad_end: Option<Position>,
}

impl DeliveryBoundary {
    /// Takes a frame into account, in any order of frames.
    pub(in crate::journal) fn update_nearest_edges_around_acked(&mut self, frame: &Frame<'_>, acked: Position) {
        if frame.next_position <= acked {
            if self.below.is_none_or(|below| frame.next_position > below.position) {
                self.below = Some(FrameEdge { position: frame.next_position, watermark: frame.watermark_after() });
            }
        } else if self.above.is_none_or(|above| frame.position < above.position) {
            self.above = Some(FrameEdge { position: frame.position, watermark: frame.watermark_before() });
        }
    }

    /// Takes a pad into account.
    pub(in crate::journal) fn note_pad_end_if_pad_is_at_acked(
        &mut self,
        position: Position,
        len: u64,
        acked: Position,
    ) {
        if position == acked {
            self.pad_end = Some(position + len);
        }
    }

    /// The watermark at `acked`, and at least the one in the checkpoint.
    ///
    /// The frame that ends at `acked` is exact and is taken first, for what follows may be damaged. The frame behind it
    /// is taken only if the checkpoint has no watermark of this very position, and only if the frame begins right
    /// there: frames that a power loss took between the two were not delivered. A frame that ends below `acked` gives a
    /// lower bound.
    pub(in crate::journal) fn delivered_watermark(
        &self,
        checkpoint: Option<&Checkpoint>,
        acked: Position,
    ) -> Watermark {
        let noted = checkpoint.map_or(Watermark::default(), |checkpoint| checkpoint.delivered);
        let noted_here = checkpoint.is_some_and(|checkpoint| checkpoint.acked == acked);
        let exact = self.below.filter(|below| below.position == acked);
        let begins_here = |above: &FrameEdge| above.position == acked || Some(above.position) == self.pad_end;
        let above = self.above.filter(|above| !noted_here && begins_here(above));
        exact.or(above).or(self.below).map_or(noted, |edge| noted.max(edge.watermark))
    }
}
