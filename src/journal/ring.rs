//! The mapped ring: the only unsafe code of the crate.
//!
//! Sound because of three facts. One [`Writer`] and one [`Tap`] a pin exist for each mapping, made together in [`map`]. The
//! writer hands out bytes only between its head and its limit, and the limit never passes a pin by more than the ring's size
//! ([`crate::journal::pins`], checked by loom). A tap reads only under its pin and below `head`. So no byte is read while it
//! is written. The file is preallocated and locked: no other process writes it, and its pages cannot be missing.

#![allow(unsafe_code, reason = "the one place: raw access to the mapped ring, each block names its proof")]

use std::{
    cell::Cell,
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use memmap2::{MmapOptions, MmapRaw};

use crate::journal::pins::{Marks, Pins, Who, publish};

/// Where the head's word lies; each word has two cache lines of its own.
pub(super) const HEAD: usize = 128;
/// Where the acknowledged position's word lies.
pub(super) const ACKED: usize = HEAD + 128;
/// Where the spilled position's word lies.
pub(super) const SPILLED: usize = ACKED + 128;
/// Where the time lies since when something may have had no home.
pub(super) const SINCE: usize = SPILLED + 128;
/// Where the frames begin.
pub(super) const DATA: usize = 4096;
/// Rings are whole pages.
pub(super) const PAGE: u64 = 4096;

/// The mapped file and the pins on it.
#[derive(Debug)]
pub(super) struct Ring {
    map: MmapRaw,
    size: u64,
    pins: Pins,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Arc<Ring>,
    head: u64,
    /// Where the head lies in the ring: kept beside it, for a division by a number that is not constant is slow.
    offset: u64,
    limit: u64,
    /// Not for two threads at once, though it may move.
    _one_thread: std::marker::PhantomData<Cell<()>>,
}

/// A reader's end.
#[derive(Debug)]
pub(super) struct Tap {
    ring: Arc<Ring>,
    who: Who,
}

/// Maps a prepared ring file whose words are set, and touches each page so that no store faults later.
pub(super) fn map(file: &File, size: u64) -> io::Result<(Writer, Tap, Tap)> {
    let map = MmapOptions::new().len(DATA + size as usize).map_raw(file)?;
    let ring = Ring { map, size, pins: Pins::new(0) };
    for page in (0..DATA + size as usize).step_by(PAGE as usize) {
        ring.word(page).fetch_or(0, Ordering::Relaxed);
    }
    let home = ring.acked().max(ring.spilled());
    let ring = Arc::new(Ring { pins: Pins::new(home), ..ring });
    let writer = Writer {
        head: ring.head(),
        offset: ring.head() % size,
        limit: home + size,
        ring: ring.clone(),
        _one_thread: std::marker::PhantomData,
    };
    let tap = |who| Tap { ring: ring.clone(), who };
    Ok((writer, tap(Who::Ship), tap(Who::Spill)))
}

impl Ring {
    /// Bytes of frames it holds.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Everything below was appended.
    pub(super) fn head(&self) -> u64 {
        self.word(HEAD).load(Ordering::Acquire)
    }

    /// Everything below is delivered.
    pub(super) fn acked(&self) -> u64 {
        self.word(ACKED).load(Ordering::Acquire)
    }

    /// Everything below is delivered or synced.
    pub(super) fn spilled(&self) -> u64 {
        self.word(SPILLED).load(Ordering::Acquire)
    }

    /// The shipper's publication. Never goes back, never passes the head.
    pub(super) fn set_acked(&self, acked: u64) {
        let acked = acked.min(self.head());
        self.word(ACKED).fetch_max(acked, Ordering::Release);
    }

    /// The spiller's publication, after its sync.
    pub(super) fn set_spilled(&self, spilled: u64) {
        self.word(SPILLED).fetch_max(spilled, Ordering::Release);
    }

    /// No frame without a home is older, Unix milliseconds; 0: nobody said.
    pub(super) fn since_ms(&self) -> u64 {
        self.word(SINCE).load(Ordering::Relaxed)
    }

    /// The spiller's word to the next start. A store that a frozen disk may hold up: see [`Disk::store`](crate::journal::disk::Disk::store).
    pub(super) fn set_since_ms(&self, since: u64) {
        self.word(SINCE).store(since, Ordering::Relaxed);
    }

    fn marks(&self) -> Marks<'_> {
        Marks { head: self.word(HEAD), acked: self.word(ACKED), spilled: self.word(SPILLED) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.map.len());
        // SAFETY: inside the mapping and aligned (a mapping begins at a page), valid as long as `self`. The header's words are
        // only ever used as atomics; `map` touches data pages this way before any writer or tap exists.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    /// The bytes at `offset`, if `len` of them do not straddle the end.
    fn place(&self, offset: u64, len: usize) -> Option<*mut u8> {
        // SAFETY: offset + len <= size, and the mapping is DATA + size long.
        (offset + len as u64 <= self.size).then(|| unsafe { self.map.as_mut_ptr().add(DATA + offset as usize) })
    }
}

impl Writer {
    /// The ring it writes.
    pub(super) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Where the next frame or pad begins.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Bytes from the head to the ring's end.
    pub(super) fn to_end(&self) -> u64 {
        self.ring.size - self.offset
    }

    /// Up to where it may write, as far as it knows without looking.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes back what has a home.
    pub(super) fn make_room(&mut self) {
        self.limit = self.ring.pins.make_room(&self.ring.marks(), self.ring.size);
    }

    /// The `len` bytes at `at`, to be written before [`Writer::publish`]. `None` outside the free part, or across the end.
    pub(super) fn slot(&mut self, at: u64, len: usize) -> Option<&mut [u8]> {
        let free = at >= self.head && at + len as u64 <= self.limit;
        if !free {
            return None;
        }
        let offset = self.offset + (at - self.head);
        let offset = if offset >= self.ring.size { offset - self.ring.size } else { offset };
        let place = self.ring.place(offset, len)?;
        // SAFETY: [at, at + len) lies in [head, limit): above every pin minus the size and not yet published, so no tap reads
        // it; `&mut self` makes this the only slice; `place` keeps it inside the mapping, whose bytes are initialised.
        Some(unsafe { std::slice::from_raw_parts_mut(place, len) })
    }

    /// Everything below `head` is written: the only publication.
    pub(super) fn publish(&mut self, head: u64) {
        debug_assert!(head >= self.head && head <= self.limit);
        self.offset += head - self.head;
        if self.offset >= self.ring.size {
            self.offset -= self.ring.size;
        }
        self.head = head;
        publish(&self.ring.marks(), head);
    }
}

impl Tap {
    /// Copies at most `most` bytes from `from` on, up to the head or the ring's end, into `out` in place of what it held.
    /// Returns the head it saw; `None`: `from` is not in the ring any more.
    pub(super) fn copy(&mut self, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64> {
        out.clear();
        out.reserve(most);
        let ring = &*self.ring;
        ring.pins.pinned(self.who, &ring.marks(), from, |head| {
            let offset = from % ring.size;
            let len = head.saturating_sub(from).min(ring.size - offset).min(most as u64) as usize;
            if let Some(place) = ring.place(offset, len) {
                // SAFETY: [from, from + len) is pinned and published: the writer does not touch it before the pin is gone.
                // `place` keeps it inside the mapping, and nobody writes published bytes, so they are plain initialised bytes.
                out.extend_from_slice(unsafe { std::slice::from_raw_parts(place, len) });
            }
            head
        })
    }
}
