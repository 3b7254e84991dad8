//! What MMDB files say about an address: its country and region, its network, and whether it is a data centre's. The
//! click path asks for links whose targets need it, the delivery for the labels of every click.
//!
//! A file is read into memory and checked from end to end when it is loaded: every record that a look-up can reach is
//! decoded once. So a damaged file is refused as a whole, and no look-up meets the damage. A file is not mapped: a
//! mapped file that somebody cuts short would end the process. The memory is the file's size and some 30 bytes for each
//! record of a country, and during a reload that of both versions.
//!
//! A look-up allocates nothing and takes no lock.

mod config;
mod database;
mod databases;
mod load_error;
mod records;
#[cfg(test)]
mod tests;

pub use config::{Config, DatabaseKind};
pub use databases::{Databases, LoadedFiles};
pub use load_error::LoadError;
pub use records::{Network, Place};
