//! The journal's pin protocol under loom: every interleaving of a worker, a shipper and a spiller on a ring of two slots.
//!
//! The protocol is the production file itself; `build.rs` chooses loom's atomics and makes the faulty copies.
#![cfg(test)]

/// The model, over one version of the protocol.
macro_rules! model {
    ($name:ident, $($source:tt)*) => {
        mod $name {
            #[allow(dead_code, reason = "the model uses what it needs of the protocol")]
            mod pins {
                $($source)*
            }

            use loom::{
                cell::UnsafeCell,
                sync::{
                    Arc,
                    atomic::{AtomicU64, Ordering::{Acquire, Release}},
                },
                thread,
            };

            use self::pins::{Marks, Pins, Who, publish};

            const SLOTS: u64 = 2;
            const FRAMES: u64 = 4;

            /// A lane whose positions count slots; the slot of position p holds p + 1 once written.
            struct Lane {
                head: AtomicU64,
                acked: AtomicU64,
                spilled: AtomicU64,
                pins: Pins,
                slots: [UnsafeCell<u64>; SLOTS as usize],
            }

            impl Lane {
                fn marks(&self) -> Marks<'_> {
                    Marks { head: &self.head, acked: &self.acked, spilled: &self.spilled }
                }

                fn append_all(&self) {
                    let mut limit = SLOTS;
                    for pos in 0..FRAMES {
                        if pos + 1 > limit {
                            limit = self.pins.make_room(&self.marks(), SLOTS);
                        }
                        if pos + 1 > limit {
                            return; // full
                        }
                        self.slots[(pos % SLOTS) as usize].with_mut(|slot| unsafe { *slot = pos + 1 });
                        publish(&self.marks(), pos + 1);
                    }
                }

                /// What `Tap::copy` does: everything from `from` to the head, each slot checked.
                fn copy(&self, who: Who, from: u64) -> Option<u64> {
                    self.pins.pinned(who, &self.marks(), from, |head| {
                        for pos in from..head.min(from + SLOTS) {
                            let found = self.slots[(pos % SLOTS) as usize].with(|slot| unsafe { *slot });
                            assert_eq!(found, pos + 1, "read over what another frame was written");
                        }
                        head
                    })
                }

                fn ship(&self) {
                    let mut from = 0;
                    for _ in 0..2 {
                        from = match self.copy(Who::Ship, from) {
                            Some(head) => {
                                self.acked.store(head, Release);
                                head
                            }
                            None => {
                                let spilled = self.spilled.load(Acquire);
                                assert!(spilled > from, "gone from the ring without a home");
                                spilled
                            }
                        };
                    }
                }

                fn spill(&self) {
                    let from = self.spilled.load(Acquire).max(self.acked.load(Acquire));
                    match self.copy(Who::Spill, from) {
                        Some(head) => self.spilled.store(head, Release),
                        None => assert!(self.acked.load(Acquire) > from, "gone from the ring without a home"),
                    }
                }
            }

            pub(crate) fn check(preemptions: usize) {
                let mut builder = loom::model::Builder::new();
                builder.preemption_bound = Some(preemptions);
                builder.check(|| {
                    let lane = Arc::new(Lane {
                        head: AtomicU64::new(0),
                        acked: AtomicU64::new(0),
                        spilled: AtomicU64::new(0),
                        pins: Pins::new(0),
                        slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
                    });
                    let shipper = thread::spawn({
                        let lane = lane.clone();
                        move || lane.ship()
                    });
                    let spiller = thread::spawn({
                        let lane = lane.clone();
                        move || lane.spill()
                    });
                    lane.append_all();
                    shipper.join().unwrap();
                    spiller.join().unwrap();
                });
            }
        }
    };
}

model!(production, include!(concat!(env!("OUT_DIR"), "/production.rs")););
model!(worker_without_fence, include!(concat!(env!("OUT_DIR"), "/worker_without_fence.rs")););
model!(reader_without_fence, include!(concat!(env!("OUT_DIR"), "/reader_without_fence.rs")););
model!(spiller_without_pin, include!(concat!(env!("OUT_DIR"), "/spiller_without_pin.rs")););
model!(copy_then_check, include!(concat!(env!("OUT_DIR"), "/copy_then_check.rs")););

/// Interleavings with at most so many preemptions; `WAYPOST_LOOM_PREEMPTIONS` asks for more.
fn preemptions(default: usize) -> usize {
    std::env::var("WAYPOST_LOOM_PREEMPTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn no_byte_is_read_while_it_is_written_and_none_is_given_up_without_a_home() {
    production::check(preemptions(3));
}

/// That the model refuses a faulty copy, and for the right reason.
fn finds(check: fn(usize)) {
    let Err(panic) = std::panic::catch_unwind(|| check(preemptions(2))) else { panic!("the fault was not found") };
    let said = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|said| said.to_string()));
    let said = said.unwrap_or_default();
    let reasons =
        ["Causality violation", "read over what another frame was written", "gone from the ring without a home"];
    assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
}

#[test]
fn a_worker_without_its_fence_is_found() {
    finds(worker_without_fence::check);
}

#[test]
fn a_reader_without_its_fence_is_found() {
    finds(reader_without_fence::check);
}

#[test]
fn a_spiller_without_a_pin_is_found() {
    finds(spiller_without_pin::check);
}

#[test]
fn copying_before_checking_is_found() {
    finds(copy_then_check::check);
}
