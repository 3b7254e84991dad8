//! Waypost: a click-redirect edge server for affiliate links.
//!
//! A request is answered with a `302` in microseconds; its click is appended to a crash-safe lane, and `delivery` sends
//! it from there to Kafka or to files. A module imports from lower layers only (`tests/layers.rs` checks it):
//!
//! ```text
//! 10  cli         the commands                                      fuzzing   for tests: parsers on any bytes
//! 9  server       one run: bind, recover, build, ready, serve, drain
//! 8  config       one file, the environment and flags; all errors at once
//! 7  admin        the operator's listener: /metrics, /livez, /readyz and the API, on a thread of its own
//! 6  api          /v1: links over HTTP                  sinks   Kafka with exactly-once; click files
//! 5  edge         request to answer and click record          delivery   the engine: read, send, acknowledge
//! 4  events       clicks become events    catalog   links, in SQLite    import    commission, receipts   who earns
//! 3  links        table, file, destinations, domains   attribution   tokens and keys   client   request facts
//! 2  model        code, link, click: values that are always valid
//! 1  journal      lanes: ring, segments, recovery     net   sockets, HTTP, TLS  kafka  geoip  file_series  access_log
//! 0  metrics  faults  lifecycle  file_watch  clock  size  text  uri  invalid_value  word_enum  lock_holder
//! ```

pub mod access_log;
pub mod admin;
pub mod api;
pub mod attribution;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commission;
pub mod config;
pub mod delivery;
pub mod edge;
pub mod events;
pub mod faults;
pub mod file_series;
pub mod file_watch;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod geoip;
pub mod import;
pub mod invalid_value;
pub mod journal;
pub mod kafka;
pub mod lifecycle;
pub mod links;
pub mod lock_holder;
pub mod metrics;
pub mod model;
pub mod net;
pub mod receipts;
pub mod server;
pub mod sinks;
pub mod size;
pub mod text;
pub mod uri;
mod word_enum;
