//! A random test of the whole way of a click: worker, ring, spiller, delivery, checkpoint and recovery are the real
//! ones; machine and clusters are simulated. Both topics of an edge share the machine, and each has a journal, a
//! delivery and a cluster of its own. A reference notes every acknowledged click, and the audit judges the topics at
//! the end.
//!
//! What must hold: a click whose append returned is on its topic or in the journal. After a power cut, clicks can be
//! gone that were neither delivered nor synced, and their epochs are stated as cut. Clicks on a page that the medium
//! does not give can be gone, and are stated. Nothing else is ever on a topic, and nothing is acknowledged to the
//! journal that is not on its topic. Under exactly-once a click is committed once. Every statement of a lane is true.
//! Trouble of one topic never holds up the other.

mod audit_checks;
mod checks;
mod damage;
mod reference;
mod simulation;
mod statement_checks;
mod time;
mod topic;
mod undurable_gauge;

use self::{
    reference::{Event, EventCounts},
    simulation::Simulation,
    undurable_gauge::UndurableAgeRecorder,
};

/// Runs one random life of an edge, and audits it.
fn run_random_life_and_audit_it(seed: u64, steps: usize) -> EventCounts {
    let recorder = UndurableAgeRecorder::default();
    metrics::with_local_recorder(&recorder, || {
        let mut simulation = Simulation::new(seed, &recorder);
        simulation.start_first_process();
        for _ in 0..steps {
            simulation.take_random_step_and_check_invariants();
        }
        simulation.restart_repair_and_deliver_all();
        simulation.assert_audit_names_every_lost_or_removed_click();
        simulation.sum_counts()
    })
}

/// The seed of `WAYPOST_MODEL_SEED`, which repeats a single life.
fn seed_from_environment() -> Option<u64> {
    std::env::var("WAYPOST_MODEL_SEED").ok().map(|seed| seed.parse().expect("a number"))
}

/// Runs many lives. Unless it was a single one, each of the events must have happened more than `at_least` times.
fn run_random_lives_and_assert_events(count: u64, steps: usize, events: &[Event], at_least: u64) {
    let seeds = seed_from_environment().map_or(1..count + 1, |seed| seed..seed + 1);
    let mut counts = EventCounts::default();
    seeds.for_each(|seed| counts.add_all(&run_random_life_and_audit_it(seed, steps)));
    println!("{counts:?}");
    let is_rare = |event: &&Event| counts.get(**event) <= at_least;
    let rare: Vec<&Event> = events.iter().filter(is_rare).collect();
    assert!(rare.is_empty() || seed_from_environment().is_some(), "{rare:?} too seldom: {counts:?}");
}

#[test]
fn random_crashes_leave_every_click_on_its_topic_or_in_the_journal_or_stated_as_lost() {
    let events = [
        Event::Kill,
        Event::PowerCut,
        Event::ClickLostByPowerCut,
        Event::Repeat,
        Event::Audit,
        Event::CompleteToStated,
        Event::PageUnreadable,
        Event::ReadsLimited,
        Event::StatementFailed,
        Event::TransactionCommitted,
        Event::TransactionAborted,
        Event::ProducerFenced,
        Event::TopicDrainedBesideTrouble,
    ];
    run_random_lives_and_assert_events(5, 300, &events, 0);
}

#[test]
#[ignore = "long form: 600 lives of 700 steps, one hour"]
fn random_crashes_leave_every_click_on_its_topic_or_in_the_journal_or_stated_as_lost_over_many_lives() {
    run_random_lives_and_assert_events(600, 700, &Event::ALL, 100);
}
