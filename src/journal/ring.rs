//! The mapped ring: the only unsafe code of the crate.
//!
//! The code is sound for three reasons. First, there is one [`RingWriter`] for each mapping and one [`RingReader`] for
//! each pin; all are made together in [`map_and_prefault_ring_and_make_its_ends`]. Second, the writer hands out only
//! bytes between its head and its limit, and the limit never passes a pin by more than the ring's size
//! ([`crate::journal::pins`], checked by loom). Third, a reader reads only under its pin and below `head`. So no byte
//! is read while it is written. The file is preallocated and locked: no other process writes it, and none of its pages
//! can be missing.

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

use crate::journal::{
    pins::{Pins, PublishedPositions, ReaderRole, publish_head},
    units::Position,
};

/// The offset of the head in the file. Each published word has two cache lines of its own.
pub(super) const HEAD: usize = 128;
/// The offset of the acknowledged position.
pub(super) const ACKED: usize = HEAD + 128;
/// The offset of the spilled position.
pub(super) const SPILLED: usize = ACKED + 128;
/// The offset of the time since which frames may have been waiting to become durable.
pub(super) const UNDURABLE_SINCE: usize = SPILLED + 128;
/// The offset of the frames.
pub(super) const DATA: usize = 4096;
/// The size of a ring is a multiple of this.
pub(super) const PAGE: u64 = 4096;

/// The mapped file and the pins on it.
#[derive(Debug)]
pub(super) struct Ring {
    map: MmapRaw,
    size: u64,
    pins: Pins,
}

/// The worker's end of a ring.
#[derive(Debug)]
pub(super) struct RingWriter {
    ring: Arc<Ring>,
    head: Position,
    /// The offset of the head in the ring, kept beside it to avoid a division by a number that is not constant.
    offset: u64,
    limit: Position,
    /// The writer may move to another thread, but two threads may not share it.
    _one_thread: std::marker::PhantomData<Cell<()>>,
}

/// A reader's end of a ring.
#[derive(Debug)]
pub(super) struct RingReader {
    ring: Arc<Ring>,
    role: ReaderRole,
}

/// The ends of a newly mapped ring.
#[derive(Debug)]
pub(super) struct RingEnds {
    pub(super) writer: RingWriter,
    pub(super) delivery_reader: RingReader,
    pub(super) spiller_reader: RingReader,
}

/// Maps a ring file whose header is complete, and touches each page so that no later store faults.
pub(super) fn map_and_prefault_ring_and_make_its_ends(file: &File, size: u64) -> io::Result<RingEnds> {
    let map = MmapOptions::new().len(DATA + size as usize).map_raw(file)?;
    let ring = Ring { map, size, pins: Pins::new(0) };
    for page in (0..DATA + size as usize).step_by(PAGE as usize) {
        ring.atomic_u64_at(page).fetch_or(0, Ordering::Relaxed);
    }
    let durable = ring.acked().max(ring.spilled());
    let ring = Arc::new(Ring { pins: Pins::new(durable.get()), ..ring });
    let writer = RingWriter {
        head: ring.head(),
        offset: ring.head().offset_in_ring(size),
        limit: durable + size,
        ring: ring.clone(),
        _one_thread: std::marker::PhantomData,
    };
    let reader = |role| RingReader { ring: ring.clone(), role };
    Ok(RingEnds { writer, delivery_reader: reader(ReaderRole::Delivery), spiller_reader: reader(ReaderRole::Spiller) })
}

impl Ring {
    /// Bytes of frames that the ring holds.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The position below which every frame is appended.
    pub(super) fn head(&self) -> Position {
        Position::new(self.atomic_u64_at(HEAD).load(Ordering::Acquire))
    }

    /// The position below which every frame is delivered.
    pub(super) fn acked(&self) -> Position {
        Position::new(self.atomic_u64_at(ACKED).load(Ordering::Acquire))
    }

    /// The position below which every frame is delivered or synced.
    pub(super) fn spilled(&self) -> Position {
        Position::new(self.atomic_u64_at(SPILLED).load(Ordering::Acquire))
    }

    /// Raises the acknowledged position, to the head at most. A lower value changes nothing.
    pub(super) fn raise_acked(&self, acked: Position) {
        let acked = acked.min(self.head());
        self.atomic_u64_at(ACKED).fetch_max(acked.get(), Ordering::Release);
    }

    /// Raises the spilled position. A lower value changes nothing. The frames below are synced before.
    pub(super) fn raise_spilled(&self, spilled: Position) {
        self.atomic_u64_at(SPILLED).fetch_max(spilled.get(), Ordering::Release);
    }

    /// Unix milliseconds: no frame that is not durable was appended earlier. 0: not known.
    pub(super) fn undurable_since_ms(&self) -> u64 {
        self.atomic_u64_at(UNDURABLE_SINCE).load(Ordering::Relaxed)
    }

    /// Stores for the next start what [`Ring::undurable_since_ms`] gives. A frozen disk can hold up this store: see
    /// [`Disk::run_mapped_store_as_pending_io`](crate::journal::disk::Disk::run_mapped_store_as_pending_io).
    pub(super) fn set_undurable_since_ms(&self, since_ms: u64) {
        self.atomic_u64_at(UNDURABLE_SINCE).store(since_ms, Ordering::Relaxed);
    }

    fn positions(&self) -> PublishedPositions<'_> {
        PublishedPositions {
            head: self.atomic_u64_at(HEAD),
            acked: self.atomic_u64_at(ACKED),
            spilled: self.atomic_u64_at(SPILLED),
        }
    }

    /// The 8 bytes at `offset` of the file as an atomic.
    fn atomic_u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.map.len());
        // SAFETY: inside the mapping and aligned (a mapping begins at a page), valid as long as `self`. The header's
        // words are only ever used as atomics; `map_and_prefault_ring_and_make_its_ends` touches data pages this way
        // before any writer or reader exists.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }

    /// A pointer to the bytes at `offset` of the ring; `None` if `len` bytes from there would pass the ring's end.
    fn data_ptr(&self, offset: u64, len: usize) -> Option<*mut u8> {
        // SAFETY: offset + len <= size, and the mapping is DATA + size long.
        (offset + len as u64 <= self.size).then(|| unsafe { self.map.as_mut_ptr().add(DATA + offset as usize) })
    }
}

impl RingWriter {
    pub(super) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// The position of the next frame or pad.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Bytes from the head to the ring's end.
    pub(super) fn bytes_to_ring_end(&self) -> u64 {
        self.ring.size - self.offset
    }

    /// The position up to which the writer may write, as of the last [`RingWriter::reclaim_durable_and_raise_limit`].
    pub(super) fn limit(&self) -> Position {
        self.limit
    }

    /// Raises the limit by the bytes that are durable and not pinned.
    pub(super) fn reclaim_durable_and_raise_limit(&mut self) {
        self.limit = Position::new(
            self.ring
                .pins
                .publish_durable_as_reclaimed_and_get_write_limit_above_pins(&self.ring.positions(), self.ring.size),
        );
    }

    /// The `len` free bytes at `position`, to be written before [`RingWriter::publish_head`]. `None` if they are not
    /// all between head and limit, or pass the ring's end.
    pub(super) fn try_get_free_bytes_at(&mut self, position: Position, len: usize) -> Option<&mut [u8]> {
        let free = position >= self.head && position + len as u64 <= self.limit;
        if !free {
            return None;
        }
        let offset = self.offset + (position - self.head);
        let offset = if offset >= self.ring.size { offset - self.ring.size } else { offset };
        let start = self.ring.data_ptr(offset, len)?;
        // SAFETY: [position, position + len) lies in [head, limit): above every pin minus the size and not yet
        // published, so no reader reads it; `&mut self` makes this the only slice; `data_ptr` keeps it inside the
        // mapping, whose bytes are initialised.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Publishes that everything below `head` is written. Readers see no other change of the worker.
    pub(super) fn publish_head(&mut self, head: Position) {
        debug_assert!(head >= self.head && head <= self.limit);
        self.offset += head - self.head;
        if self.offset >= self.ring.size {
            self.offset -= self.ring.size;
        }
        self.head = head;
        publish_head(&self.ring.positions(), head.get());
    }
}

impl RingReader {
    /// The lowest position that the ring may still hold. It can be reclaimed at any moment.
    pub(super) fn lowest_position(&self) -> Position {
        Position::new(self.ring.pins.reclaimed())
    }

    /// Copies at most `max_bytes` from `from` on, up to the head or the ring's end, into `out` in place of its
    /// contents. Returns the head; `None`: `from` is not in the ring any more.
    pub(super) fn try_copy_and_return_head(
        &mut self,
        from: Position,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Option<Position> {
        out.clear();
        out.reserve(max_bytes);
        let ring = &*self.ring;
        ring.pins.pin_and_copy_unless_reclaimed(self.role, &ring.positions(), from.get(), |head| {
            let head = Position::new(head);
            let offset = from.offset_in_ring(ring.size);
            let available = head.saturating_bytes_from(from).min(ring.size - offset);
            let len = available.min(max_bytes as u64) as usize;
            if let Some(start) = ring.data_ptr(offset, len) {
                // SAFETY: [from, from + len) is pinned and published: the writer does not touch it before the pin is
                // gone. `data_ptr` keeps it inside the mapping, and nobody writes published bytes, so they are plain
                // initialised bytes.
                out.extend_from_slice(unsafe { std::slice::from_raw_parts(start, len) });
            }
            head
        })
    }
}
