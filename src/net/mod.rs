//! The public side of the network: listeners, connections, their limits, and TLS. HTTP requests are answered above, in
//! `edge`.
//!
//! - `listen`: binds listeners and accepts connections. `accept_error`, `open_files`: failed accepts, and their limit.
//! - `connection`: serves a connection from the accept to the end. `close_reason`: why connections end.
//! - `tls`: certificates and handshakes. `ticket_deferral`: saves the packet of a session ticket.
//! - `stream`, `peer`, `proxy_protocol`: the bytes of a connection, its other end, and the header of a proxy in
//!   between.
//! - `limits`, `connection_quota`, `rate_limiter`, `address_prefix`: limits, by address too.
//! - `cpu_scheduler`, `wait_queue`: CPU-heavy steps one at a time, so that a flood of them does not delay clicks.

mod accept_error;
mod address_prefix;
mod close_reason;
pub mod connection;
mod connection_quota;
pub mod cpu_scheduler;
pub mod limits;
pub mod listen;
pub mod open_files;
pub mod peer;
pub mod proxy_protocol;
pub mod rate_limiter;
pub mod stream;
mod ticket_deferral;
pub mod tls;
mod wait_queue;

pub use self::accept_error::AcceptError;
