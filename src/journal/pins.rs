//! The pin protocol: the worker reuses bytes of the ring, and never overwrites bytes that a reader copies.
//!
//! The worker reclaims bytes that are durable (below `acked` or `spilled`), and never a byte at or above a pin. A
//! reader sets its pin first and checks `reclaimed` afterwards. A `SeqCst` fence stands between the worker's store to
//! `reclaimed` and its loads of the pins, and between a reader's store to its pin and its load of `reclaimed`. So at
//! least one of the two sees the store of the other: either the worker sees the pin and keeps the bytes, or the reader
//! sees that the bytes are reclaimed and reads none. `tests/loom` runs this file under every interleaving. The model
//! fails without either fence, without a pin, and with a reader that copies before it checks.
//!
//! Positions are plain integers here, because they lie in atomics.

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

/// The value of a pin that pins nothing.
const NO_PIN: u64 = u64::MAX;

/// The three published positions of a lane. In a running lane they lie in the ring's header, so that they outlive the
/// process.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishedPositions<'a> {
    /// Every frame below is appended. Stored by the worker alone, after the bytes.
    pub(super) head: &'a AtomicU64,
    /// Every frame below is delivered. Stored by the delivery thread alone.
    pub(super) acked: &'a AtomicU64,
    /// Every frame below is delivered or lies in a synced segment. Stored by the spiller alone.
    pub(super) spilled: &'a AtomicU64,
}

/// One of the two readers of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReaderRole {
    Delivery,
    Spiller,
}

/// The pin of each reader, and the position below which the worker has reclaimed the ring; a cache line each.
#[derive(Debug)]
pub(super) struct Pins {
    reclaimed: CacheLine,
    delivery: CacheLine,
    spiller: CacheLine,
}

#[derive(Debug)]
#[repr(align(128))]
struct CacheLine(AtomicU64);

impl Pins {
    /// Without any pin. Everything below `reclaimed` is reclaimed from the start.
    pub(super) fn new(reclaimed: u64) -> Pins {
        Pins {
            reclaimed: CacheLine(AtomicU64::new(reclaimed)),
            delivery: CacheLine(AtomicU64::new(NO_PIN)),
            spiller: CacheLine(AtomicU64::new(NO_PIN)),
        }
    }

    /// For the worker: reclaims everything that is durable and not pinned. Returns the position up to which the worker
    /// may write.
    pub(super) fn publish_durable_as_reclaimed_and_get_write_limit_above_pins(
        &self,
        positions: &PublishedPositions<'_>,
        ring_size: u64,
    ) -> u64 {
        let durable = max(positions.acked.load(Acquire), positions.spilled.load(Acquire));
        self.reclaimed.0.store(durable, Release);
        fence(SeqCst);
        let pinned = min(self.delivery.0.load(Acquire), self.spiller.0.load(Acquire));
        min(durable, pinned) + ring_size
    }

    /// The position below which the worker has reclaimed the ring: a reader finds nothing below.
    pub(super) fn reclaimed(&self) -> u64 {
        self.reclaimed.0.load(Acquire)
    }

    /// For a reader: runs `copy` with the head while everything from `from` on is pinned. `None`: `from` is already
    /// reclaimed.
    ///
    /// `copy` must be short and do no I/O, because the worker may find no room while it runs.
    pub(super) fn pin_and_copy_unless_reclaimed<T>(
        &self,
        role: ReaderRole,
        positions: &PublishedPositions<'_>,
        from: u64,
        copy: impl FnOnce(u64 /* head */) -> T,
    ) -> Option<T> {
        let pin = match role {
            ReaderRole::Delivery => &self.delivery.0,
            ReaderRole::Spiller => &self.spiller.0,
        };
        pin.store(from, Release);
        fence(SeqCst);
        if self.reclaimed.0.load(Acquire) > from {
            pin.store(NO_PIN, Release);
            return None;
        }
        let copied = copy(positions.head.load(Acquire));
        pin.store(NO_PIN, Release);
        Some(copied)
    }
}

/// For the worker: publishes that everything below `head` is written.
pub(super) fn publish_head(positions: &PublishedPositions<'_>, head: u64) {
    positions.head.store(head, Release);
}
