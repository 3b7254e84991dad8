//! The journal's pin protocol under loom: every interleaving of a worker, a delivery and a spiller on a ring of two
//! slots.
//!
//! The protocol is the production file itself. `build.rs` selects loom's atomics and makes the faulty copies.
#![cfg(test)]

/// Defines the module `$name` with the model of one version of the protocol.
macro_rules! define_model {
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

            use self::pins::{Pins, PublishedPositions, ReaderRole, publish_head};

            const SLOTS: u64 = 2;
            const FRAMES: u64 = 4;

            /// A lane whose positions count slots. The slot of position p holds p + 1 once it is written.
            struct Lane {
                head: AtomicU64,
                acked: AtomicU64,
                spilled: AtomicU64,
                pins: Pins,
                slots: [UnsafeCell<u64>; SLOTS as usize],
            }

            impl Lane {
                fn positions(&self) -> PublishedPositions<'_> {
                    PublishedPositions { head: &self.head, acked: &self.acked, spilled: &self.spilled }
                }

                /// The worker: appends frames until all are appended or the ring is full.
                fn append_frames(&self) {
                    let mut limit = SLOTS;
                    for position in 0..FRAMES {
                        if position + 1 > limit {
                            let positions = self.positions();
                            let pins = &self.pins;
                            limit = pins.publish_durable_as_reclaimed_and_get_write_limit_above_pins(&positions, SLOTS);
                        }
                        if position + 1 > limit {
                            return;
                        }
                        let slot = &self.slots[(position % SLOTS) as usize];
                        slot.with_mut(|slot| unsafe { *slot = position + 1 });
                        publish_head(&self.positions(), position + 1);
                    }
                }

                /// Does as `RingReader::try_copy_and_return_head`: reads and checks each slot from `from` to the head.
                fn try_read_slots(&self, role: ReaderRole, from: u64) -> Option<u64> {
                    self.pins.pin_and_copy_unless_reclaimed(role, &self.positions(), from, |head| {
                        for position in from..head.min(from + SLOTS) {
                            let found = self.slots[(position % SLOTS) as usize].with(|slot| unsafe { *slot });
                            assert_eq!(found, position + 1, "the slot was overwritten");
                        }
                        head
                    })
                }

                /// The delivery: reads and acknowledges twice.
                fn deliver(&self) {
                    let mut from = 0;
                    for _ in 0..2 {
                        from = match self.try_read_slots(ReaderRole::Delivery, from) {
                            Some(head) => {
                                self.acked.store(head, Release);
                                head
                            }
                            None => {
                                let spilled = self.spilled.load(Acquire);
                                assert!(spilled > from, "reclaimed before it was durable");
                                spilled
                            }
                        };
                    }
                }

                /// The spiller: reads once, and syncs.
                fn spill(&self) {
                    let from = self.spilled.load(Acquire).max(self.acked.load(Acquire));
                    match self.try_read_slots(ReaderRole::Spiller, from) {
                        Some(head) => self.spilled.store(head, Release),
                        None => assert!(self.acked.load(Acquire) > from, "reclaimed before it was durable"),
                    }
                }
            }

            pub(crate) fn check_interleavings(max_preemptions: usize) {
                let mut builder = loom::model::Builder::new();
                builder.preemption_bound = Some(max_preemptions);
                builder.check(|| {
                    let lane = Arc::new(Lane {
                        head: AtomicU64::new(0),
                        acked: AtomicU64::new(0),
                        spilled: AtomicU64::new(0),
                        pins: Pins::new(0),
                        slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
                    });
                    let delivery = thread::spawn({
                        let lane = lane.clone();
                        move || lane.deliver()
                    });
                    let spiller = thread::spawn({
                        let lane = lane.clone();
                        move || lane.spill()
                    });
                    lane.append_frames();
                    delivery.join().unwrap();
                    spiller.join().unwrap();
                });
            }
        }
    };
}

define_model!(production, include!(concat!(env!("OUT_DIR"), "/production.rs")););
define_model!(worker_without_fence, include!(concat!(env!("OUT_DIR"), "/worker_without_fence.rs")););
define_model!(reader_without_fence, include!(concat!(env!("OUT_DIR"), "/reader_without_fence.rs")););
define_model!(spiller_without_pin, include!(concat!(env!("OUT_DIR"), "/spiller_without_pin.rs")););
define_model!(copy_before_check, include!(concat!(env!("OUT_DIR"), "/copy_before_check.rs")););

/// The bound on preemptions in an interleaving: `default`, or the value of `WAYPOST_LOOM_PREEMPTIONS`.
fn max_preemptions(default: usize) -> usize {
    std::env::var("WAYPOST_LOOM_PREEMPTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn no_slot_is_read_while_it_is_written_and_none_is_reclaimed_before_it_is_durable() {
    production::check_interleavings(max_preemptions(3));
}

/// Asserts that the model fails for a faulty version of the protocol, and for the right reason.
fn assert_fault_is_found(check_interleavings: fn(usize)) {
    let outcome = std::panic::catch_unwind(|| check_interleavings(max_preemptions(2)));
    let Err(panic) = outcome else { panic!("the fault was not found") };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or(panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default();
    let reasons = ["Causality violation", "the slot was overwritten", "reclaimed before it was durable"];
    assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
}

#[test]
fn a_worker_without_its_fence_is_found() {
    assert_fault_is_found(worker_without_fence::check_interleavings);
}

#[test]
fn a_reader_without_its_fence_is_found() {
    assert_fault_is_found(reader_without_fence::check_interleavings);
}

#[test]
fn a_spiller_without_a_pin_is_found() {
    assert_fault_is_found(spiller_without_pin::check_interleavings);
}

#[test]
fn a_reader_that_copies_before_it_checks_is_found() {
    assert_fault_is_found(copy_before_check::check_interleavings);
}
