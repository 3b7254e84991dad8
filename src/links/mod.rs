//! The links.
pub mod destination;
pub mod domains;
