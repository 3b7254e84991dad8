//! The cases of `tests/fixtures/attribution`, each rule of the programme in its own words, and random worlds.

mod description;
mod invariants;
mod naive;
mod naive_settlement;
mod programme;
mod random;
mod vectors;
mod world;
