//! The worker's end of a lane: it appends frames.

use std::sync::{Arc, atomic::Ordering};

use super::shared::LaneShared;
use crate::journal::{
    frame::{self, FrameHeader, MAX_FRAME},
    ring::RingWriter,
    units::{Epoch, Position, Seq},
};

/// The ring has no room for a frame: neither the sink nor the disk keeps up. Nothing was appended, and no number was
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full: neither the sink nor the disk keeps up")]
pub struct LaneFull;

/// The worker's end of a lane. One thread appends.
#[derive(Debug)]
pub struct LaneWriter {
    ring: RingWriter,
    shared: Arc<LaneShared>,
    epoch: Epoch,
    next_seq: Seq,
}

/// Where a frame goes in the ring.
#[derive(Clone, Copy, Debug)]
struct FrameSpan {
    begin: Position,
    end: Position,
}

impl LaneWriter {
    pub(in crate::journal) fn new(ring: RingWriter, shared: Arc<LaneShared>) -> LaneWriter {
        LaneWriter { epoch: shared.epoch, ring, shared, next_seq: Seq::ZERO }
    }

    /// The lane's number, from 0.
    pub fn lane(&self) -> u16 {
        self.shared.lane
    }

    /// This opening of the lane: larger than every earlier one, and at least the wall clock in Unix milliseconds.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The largest payload, bytes: 64 KiB, or 1/64 of a small ring, less the frame's header.
    pub fn max_payload_len(&self) -> usize {
        (self.ring_bytes() / 64).min(MAX_FRAME) as usize - frame::HEADER
    }

    /// Whether a payload of this length can be appended now. Reclaims durable bytes of the ring if needed; never waits.
    pub fn try_make_room_for(&mut self, payload_len: usize) -> bool {
        let FrameSpan { end, .. } = self.next_frame_span_behind_any_pad(payload_len);
        if end > self.ring.limit() {
            self.ring.reclaim_durable_and_raise_limit();
        }
        end <= self.ring.limit() && payload_len <= self.max_payload_len()
    }

    /// Whether a quarter of the ring is free, so that frames which matter less may still be appended. Reclaims durable
    /// bytes of the ring if needed; never waits.
    pub fn try_keep_quarter_free(&mut self) -> bool {
        let end = self.ring.head() + self.ring_bytes() / 4;
        if end > self.ring.limit() {
            self.ring.reclaim_durable_and_raise_limit();
        }
        end <= self.ring.limit()
    }

    /// Appends a frame and returns its number in this epoch. Costs a copy, a checksum and one store: no system call, no
    /// clock, no wait.
    ///
    /// # Errors
    /// [`LaneFull`] if [`LaneWriter::try_make_room_for`] is false.
    pub fn append(&mut self, payload: &[u8]) -> Result<Seq, LaneFull> {
        if !self.try_make_room_for(payload.len()) {
            return Err(LaneFull);
        }
        let FrameSpan { begin, end } = self.next_frame_span_behind_any_pad(payload.len());
        let head = self.ring.head();
        let checksum_seed = self.shared.checksum_seed;
        if begin > head {
            let pad = self.ring.try_get_free_bytes_at(head, (begin - head) as usize).ok_or(LaneFull)?;
            frame::fill_slot_with_pad(pad, checksum_seed, head);
        }
        let seq = self.next_seq;
        let header = FrameHeader { position: begin, epoch: self.epoch, seq };
        let slot = self.ring.try_get_free_bytes_at(begin, (end - begin) as usize).ok_or(LaneFull)?;
        frame::write_frame(slot, checksum_seed, &header, payload);
        self.ring.publish_head(end);
        self.next_seq += 1;
        self.shared.next_seq.store(self.next_seq);
        Ok(seq)
    }

    /// Adds clicks that were answered and not appended to the count in the lane's statements. Not to be called for each
    /// click: the readers load from the same cache line.
    pub fn add_to_unrecorded_count(&self, clicks: u64) {
        if clicks > 0 {
            self.shared.unrecorded.fetch_add(clicks, Ordering::Relaxed);
        }
    }

    /// Bytes in the ring that are not durable yet.
    #[cfg(test)]
    pub fn undurable_bytes(&self) -> u64 {
        self.ring.head() - self.shared.durable_position().min(self.ring.head())
    }

    /// Bytes of frames that the ring holds.
    pub fn ring_bytes(&self) -> u64 {
        self.ring.ring().size()
    }

    /// Where a payload's frame would go: at the head, or behind a pad if it would pass the ring's end.
    fn next_frame_span_behind_any_pad(&self, payload_len: usize) -> FrameSpan {
        let needed = frame::frame_len(payload_len);
        let head = self.ring.head();
        let to_ring_end = self.ring.bytes_to_ring_end();
        let begin = if needed > to_ring_end { head + to_ring_end } else { head };
        FrameSpan { begin, end: begin + needed }
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        self.shared.has_writer.store(false, Ordering::Release);
    }
}
