//! Instruction counts of the steps of the delivery of a click; `benches/run.sh` prints them. Each step is measured
//! warm, and its setup is not counted. The clicks are those that the worker writes for the requests of `benches/click`.
#![allow(missing_docs, clippy::unwrap_used)] // a bench stops at its first failure

#[path = "../click/fixture.rs"]
#[allow(dead_code, reason = "the steps of the worker use the rest")]
mod fixture;
mod steps;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use waypost::{
    events::{DecodedClick, ValueEncoding},
    model::click::Topic,
};

use crate::{
    fixture::Setup,
    steps::{Content, Labelled, Producer, Step, Traffic},
};

// As in the product, so that an allocation costs the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// --- read: the click, the facts of its link and its parameters, from the bytes of the journal

#[library_benchmark(setup = steps::recorded)]
#[bench::first(false, Setup::Plain)]
#[bench::returning(true, Setup::Plain)]
#[bench::long_query(false, Setup::LongQuery)]
fn decode(bytes: &'static [u8]) -> &'static [u8] {
    black_box(DecodedClick::decode(black_box(bytes)).ok().unwrap());
    bytes
}

library_benchmark_group!(name = read; benchmarks = decode);

// --- label: what depends on the click alone

#[library_benchmark(setup = steps::step)]
#[bench::known_agent(Content::Usual(false, Setup::Plain), Traffic::Quiet)]
#[bench::long_query(Content::Usual(false, Setup::LongQuery), Traffic::Quiet)]
fn labels(mut step: Step) -> Step {
    step.labels = black_box(&mut step.builder).compute_labels(black_box(&step.click));
    step
}

// An agent that the labeller has not met: the automaton reads all of it.
#[library_benchmark(setup = steps::step_with_new_agent)]
#[bench::longest()]
fn labels_of_new_agent(mut step: Step) -> Step {
    step.labels = black_box(&mut step.builder).compute_labels(black_box(&step.click));
    step
}

library_benchmark_group!(name = label; benchmarks = labels, labels_of_new_agent);

// --- duplicate: the filters, quiet and after a hundred thousand clicks of the last slots

#[library_benchmark(setup = steps::step)]
#[bench::first(Content::Usual(false, Setup::Plain), Traffic::Quiet)]
#[bench::long_query(Content::Usual(false, Setup::LongQuery), Traffic::Quiet)]
#[bench::repeat(Content::Usual(false, Setup::Plain), Traffic::Repeated)]
fn verdict(mut step: Step) -> Step {
    let Step { builder, click, labels, .. } = &mut step;
    step.verdict = builder.decide_duplicate_and_remember_if_it_can_count(Topic::Clicks, black_box(click), labels);
    step
}

// How many probes a full filter takes is chance, and the filters have another seed in each process: many are counted.
#[library_benchmark(setup = steps::step)]
#[bench::first(Content::Usual(false, Setup::Plain), Traffic::Busy)]
#[bench::returning(Content::Usual(true, Setup::Plain), Traffic::Busy)]
fn five_hundred_verdicts(mut step: Step) -> Step {
    step.judge_five_hundred();
    step
}

library_benchmark_group!(name = duplicate; benchmarks = verdict, five_hundred_verdicts);

// --- encode: the event

#[library_benchmark(setup = steps::step)]
#[bench::first(Content::Usual(false, Setup::Plain), Traffic::Quiet)]
#[bench::returning(Content::Usual(true, Setup::Plain), Traffic::Quiet)]
#[bench::long_query(Content::Usual(false, Setup::LongQuery), Traffic::Quiet)]
#[bench::to_be_escaped(Content::Hostile, Traffic::Quiet)]
fn json(mut step: Step) -> Step {
    let Step { builder, click, labels, verdict, out, .. } = &mut step;
    builder.append_event_json(out, &steps::IDENTITY, black_box(click), labels, *verdict);
    step
}

#[library_benchmark(setup = steps::step)]
#[bench::first(Content::Usual(false, Setup::Plain), Traffic::Quiet)]
#[bench::returning(Content::Usual(true, Setup::Plain), Traffic::Quiet)]
#[bench::long_query(Content::Usual(false, Setup::LongQuery), Traffic::Quiet)]
#[bench::not_utf8(Content::Hostile, Traffic::Quiet)]
fn protobuf(mut step: Step) -> Step {
    let Step { builder, click, labels, verdict, out, .. } = &mut step;
    let encoding = ValueEncoding::Protobuf { schema_id: None };
    builder.append_event(out, encoding, &steps::IDENTITY, black_box(click), labels, *verdict);
    step
}

// The event of a first visit with the labels that a configuration can add.
#[library_benchmark(setup = steps::step_labelled)]
#[bench::device(Labelled::Device)]
#[bench::new_device(Labelled::NewDevice)]
#[bench::place_and_network(Labelled::Place)]
fn labelled_json(mut step: Step) -> Step {
    let Step { builder, click, labels, verdict, out, .. } = &mut step;
    builder.append_event_json(out, &steps::IDENTITY, black_box(click), labels, *verdict);
    step
}

library_benchmark_group!(name = event; benchmarks = json, protobuf, labelled_json);

// --- hand over: a hundred records to the producer, which knows the partitions; its own threads are not counted

#[library_benchmark(setup = steps::producer)]
#[bench::hundred()]
fn records(mut producer: Producer) -> Producer {
    producer.hand_over_a_hundred();
    producer
}

library_benchmark_group!(name = hand_over; benchmarks = records);

// --- all: from the bytes of the journal to the event

#[library_benchmark(setup = steps::step)]
#[bench::first(Content::Usual(false, Setup::Plain), Traffic::Quiet)]
#[bench::returning(Content::Usual(true, Setup::Plain), Traffic::Quiet)]
#[bench::everything(Content::Usual(false, Setup::Everything), Traffic::Quiet)]
fn whole(mut step: Step) -> Step {
    let Step { bytes, builder, out, .. } = &mut step;
    let click = DecodedClick::decode(black_box(bytes)).ok().unwrap();
    let labels = builder.compute_labels(&click);
    let verdict = builder.decide_duplicate_and_remember_if_it_can_count(Topic::Clicks, &click, &labels);
    builder.append_event_json(out, &steps::IDENTITY, &click, &labels, verdict);
    step
}

library_benchmark_group!(name = journal_to_event; benchmarks = whole);

main!(library_benchmark_groups = read, label, duplicate, event, hand_over, journal_to_event);
