//! The commands.

pub mod keys;
pub mod token;
