//! In work.
#![allow(dead_code)]

mod agents;
pub mod duplicate;
mod event;
mod json;
mod labels;
mod params;
mod source;
