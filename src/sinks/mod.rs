//! The sinks: the destinations that implement [`crate::delivery::sink::Sink`]. `server` opens one of them, as the
//! configuration says.

pub mod files;
pub mod kafka;
#[cfg(test)]
mod tests;
