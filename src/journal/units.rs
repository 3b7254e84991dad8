//! The numbers of the journal that must not be mixed up: positions, epochs and sequence numbers. Each is a `u64` at no
//! cost.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
};

use serde::{Deserialize, Serialize};

/// Bytes that the sink stores in a checkpoint beside the positions. The journal does not read them.
pub type SinkNote = [u8; 64];

/// Names a lane: the id of the journal's directory, and the lane's number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneId {
    pub(super) directory_id: u64,
    pub(super) lane: u16,
}

/// A byte offset in a lane, from 0. No position is used twice, in all epochs of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct Position(u64);

/// The number of an opening of a lane. A later opening has a larger number; 0 stands for no epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct Epoch(u64);

/// The sequence number of a click in its lane and epoch, gapless from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct Seq(u64);

impl Position {
    /// The first position of a lane.
    pub const ZERO: Position = Position(0);
    /// Above every position of a lane.
    pub const MAX: Position = Position(u64::MAX);

    /// The position that is `bytes` above the beginning of the lane.
    pub const fn new(bytes: u64) -> Position {
        Position(bytes)
    }

    /// Bytes from the beginning of the lane.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Bytes from `lower` to this position; 0 if this position is the lower one.
    pub const fn saturating_bytes_from(self, lower: Position) -> u64 {
        self.0.saturating_sub(lower.0)
    }

    /// The offset of this position in a ring of `ring_size` bytes.
    pub(super) const fn offset_in_ring(self, ring_size: u64) -> u64 {
        self.0 % ring_size
    }

    /// Whether the position is a multiple of `align`.
    pub(super) const fn is_multiple_of(self, align: u64) -> bool {
        self.0.is_multiple_of(align)
    }

    /// The lowest multiple of `align` that is not below this position.
    pub(super) const fn next_multiple_of(self, align: u64) -> Position {
        Position(self.0.next_multiple_of(align))
    }
}

impl Epoch {
    /// Stands for no epoch: of a lane without a worker, or of a lane that was never opened.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch with this number.
    pub const fn new(number: u64) -> Epoch {
        Epoch(number)
    }

    /// The epoch's number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is an epoch and not [`Epoch::NONE`].
    pub const fn is_some(self) -> bool {
        self.0 > 0
    }
}

impl Seq {
    /// The first sequence number of an epoch.
    pub const ZERO: Seq = Seq(0);

    /// The sequence number `number`.
    pub const fn new(number: u64) -> Seq {
        Seq(number)
    }

    /// The sequence number as an integer. As the next number of an epoch it is also the count of clicks in it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This number less `count`, at least 0.
    pub const fn saturating_sub(self, count: u64) -> Seq {
        Seq(self.0.saturating_sub(count))
    }

    /// How many numbers lie from `first` (included) to this one (excluded); 0 if this one is the lower.
    pub const fn saturating_count_from(self, first: Seq) -> u64 {
        self.0.saturating_sub(first.0)
    }
}

impl Add<u64> for Position {
    type Output = Position;

    fn add(self, bytes: u64) -> Position {
        Position(self.0 + bytes)
    }
}

impl Sub for Position {
    type Output = u64;

    fn sub(self, lower: Position) -> u64 {
        self.0 - lower.0
    }
}

impl Add<u64> for Seq {
    type Output = Seq;

    fn add(self, count: u64) -> Seq {
        Seq(self.0 + count)
    }
}

impl AddAssign<u64> for Seq {
    fn add_assign(&mut self, count: u64) {
        self.0 += count;
    }
}

impl Sub for Seq {
    type Output = u64;

    fn sub(self, first: Seq) -> u64 {
        self.0 - first.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A limit in the numbers of a lane: every number before `next` of `epoch` lies below it, and every earlier epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark {
    /// The epoch in which the limit lies.
    pub epoch: Epoch,
    /// The first number of the epoch that is not below the watermark.
    pub next: Seq,
}

impl Watermark {
    /// The watermark right behind the click `seq` of `epoch`.
    pub fn after(epoch: Epoch, seq: Seq) -> Watermark {
        Watermark { epoch, next: seq + 1 }
    }

    /// Whether the click `seq` of `epoch` lies below the watermark.
    pub fn covers(self, epoch: Epoch, seq: Seq) -> bool {
        Watermark { epoch, next: seq } < self
    }

    /// The first number of `epoch` at or above the watermark, if `epoch` is not an earlier one.
    pub(super) fn first_uncovered_in(self, epoch: Epoch) -> Seq {
        if epoch == self.epoch { self.next } else { Seq::ZERO }
    }
}

/// Consecutive numbers of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeqRange {
    /// The epoch.
    pub epoch: Epoch,
    /// The first number.
    pub first: Seq,
    /// The number after the last.
    pub end: Seq,
}

impl SeqRange {
    /// Whether every number of `other` is one of this range.
    pub fn contains(&self, other: &SeqRange) -> bool {
        self.epoch == other.epoch && self.first <= other.first && other.end <= self.end
    }
}
