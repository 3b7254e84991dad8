//! The connections of one worker, from the accept to the end.
//!
//! - `table`: the open connections, their bounds and deadlines, and the drain.
//! - `state`: the phase and the deadlines of one connection.
//! - `server`: serves one connection: `setup`, then `protocol` (which HTTP version), then `http1` or `http2`.
//! - `dormancy`: how an idle HTTP/1.1 connection releases its buffers.
//! - `lingering_close`: how a refused client can still read its answer.
//! - `request_timer`: how long a sample of the requests takes.
//! - `metrics`: a worker's counts of connections.

mod dormancy;
mod http1;
mod http2;
mod lingering_close;
mod metrics;
mod protocol;
mod request_timer;
mod server;
mod setup;
mod state;
mod table;
mod too_large;

pub use self::{server::ConnectionServer, setup::ConnectionSetup, table::ConnectionTable};
