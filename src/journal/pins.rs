//! The pin protocol: how the worker takes room back without ever overwriting what somebody copies.
//!
//! The worker gives up what has a durable home (`acked`, `spilled`), and never a byte at or above a pin. A reader pins
//! first and checks afterwards; between the worker's `reclaimed` store and its look at the pins, and between a reader's pin
//! and its look at `reclaimed`, stands a `SeqCst` fence. So of the two at least one sees the other: either the worker finds
//! the pin and keeps those bytes, or the reader finds that they are gone and touches none. `tests/loom` runs this very file
//! under every interleaving, and fails without either fence, without a pin, and with "copy, then check".

use std::cmp::{max, min};

#[cfg(waypost_loom)]
use loom::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release, SeqCst},
    fence,
};
#[cfg(not(waypost_loom))]
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release, SeqCst},
    fence,
};

/// A pin that holds nothing.
const NONE: u64 = u64::MAX;

/// The three published positions of a lane. In a running lane they lie in the ring's header, so that they outlive the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<'a> {
    /// Everything below was appended. Stored by the worker alone, after the bytes.
    pub(super) head: &'a AtomicU64,
    /// Everything below is delivered. Stored by the shipper alone.
    pub(super) acked: &'a AtomicU64,
    /// Everything below is delivered or lies synced in a segment. Stored by the spiller alone.
    pub(super) spilled: &'a AtomicU64,
}

/// Who pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The shipper's reader.
    Ship,
    /// The spiller.
    Spill,
}

/// What worker and readers tell each other in memory; a line of the cache each.
#[derive(Debug)]
pub(super) struct Pins {
    reclaimed: Line,
    ship: Line,
    spill: Line,
}

#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Pins {
    /// No pin; everything below `reclaimed` is already given up.
    pub(super) fn new(reclaimed: u64) -> Pins {
        Pins {
            reclaimed: Line(AtomicU64::new(reclaimed)),
            ship: Line(AtomicU64::new(NONE)),
            spill: Line(AtomicU64::new(NONE)),
        }
    }

    /// The worker's side: takes back what has a home. Returns the position up to which it may write in a ring of `size`.
    pub(super) fn make_room(&self, marks: &Marks<'_>, size: u64) -> u64 {
        let home = max(marks.acked.load(Acquire), marks.spilled.load(Acquire));
        self.reclaimed.0.store(home, Release);
        fence(SeqCst);
        let pinned = min(self.ship.0.load(Acquire), self.spill.0.load(Acquire));
        min(home, pinned) + size
    }

    /// A reader's side: runs `copy` with the head while everything from `from` on is pinned. `None`: no longer in the ring.
    ///
    /// `copy` must be short and do no I/O: while it runs the worker may find no room.
    pub(super) fn pinned<T>(
        &self,
        who: Who,
        marks: &Marks<'_>,
        from: u64,
        copy: impl FnOnce(u64 /* head */) -> T,
    ) -> Option<T> {
        let pin = match who {
            Who::Ship => &self.ship.0,
            Who::Spill => &self.spill.0,
        };
        pin.store(from, Release);
        fence(SeqCst);
        if self.reclaimed.0.load(Acquire) > from {
            pin.store(NONE, Release);
            return None;
        }
        let copied = copy(marks.head.load(Acquire));
        pin.store(NONE, Release);
        Some(copied)
    }
}

/// The worker's publication: everything below `head` is written.
pub(super) fn publish(marks: &Marks<'_>, head: u64) {
    marks.head.store(head, Release);
}
