//! The links: which there are, which domain and code each one has, and where it leads. One table in memory holds all of
//! them, and every worker reads it.
//!
//! [`file`](mod@file) is a source of links: it reads records and adds them to a [`batch`], which checks them by the
//! [`rules`] and builds a [`Table`] of [`Link`]s. [`domains`] are the hosts that links are served on, [`destination`]
//! is the URL of a link, [`targets`] are where a click ends that meets conditions, by its [`facts`], and [`next_hop`]
//! is where its own URL leads it on. [`routes`] turn old URLs of other trackers into codes.

pub mod batch;
mod config;
pub mod destination;
pub mod domains;
pub mod facts;
pub mod file;
mod link;
mod link_bytes;
mod link_key;
mod link_urls;
pub mod next_hop;
mod own_host;
pub mod qr_code;
pub mod routes;
pub mod rules;
pub mod suspensions;
mod table;
pub mod targets;

pub use config::{Config, WhenStale};
pub use link::{Link, LinkState, UnchangeableFields, ValidLink};
pub use link_key::LinkKey;
pub use table::{CODE_RESERVATION_MS, LockedLink, RemovedLink, Table};

#[cfg(test)]
mod tests;
