//! The cases of `tests/fixtures/attribution`, and each rule of the programme in its own words.

mod vectors;
