//! Waypost: a click-redirect edge server for affiliate links.
//!
//! A request becomes a `302` in microseconds, the click goes into a crash-safe lane, and a shipper takes it from there
//! to Kafka or to files. A module imports only from strictly lower floors (`tests/layers.rs` holds it):
//!
//! ```text
//! 8  cli          the commands                                      fuzzing   for tests: readers under any bytes
//! 7  server       the run-book: bind, recover, build, ready, serve, drain
//! 6  config       one file, the environment and flags; every mistake at once
//! 5  admin        /metrics, /livez, /readyz on a thread of their own
//! 4  edge         a click's life: answer, append, respond      shipper   journal to sink: label, encode, send
//! 3  links        the table, its file, destinations, domains   attribution   tokens and keys    client   who clicked
//! 2  model        code, link, click: values that are valid if they exist
//! 1  journal      lanes: ring, segments, recovery              net   sockets and hyper's limits   kafka   the client
//! 0  metrics · faults · lifecycle · watch · clock · size
//! ```

pub mod admin;
pub mod attribution;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod edge;
pub mod faults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod journal;
pub mod kafka;
pub mod lifecycle;
pub mod links;
pub mod metrics;
pub mod model;
pub mod net;
pub mod server;
pub mod shipper;
pub mod size;
pub mod watch;
