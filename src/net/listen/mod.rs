//! The public listeners: their configuration, how they are bound, and how they accept connections.

mod config;
mod error;
mod listener;
mod open;
mod resolve;
mod socket_activation;
mod tcp;
mod unix;

pub use self::{
    config::{ListenAddress, ListenConfig},
    error::BindError,
    listener::{AcceptingListener, Listener},
    open::open_listeners_by_worker,
    resolve::parse_or_resolve_socket_address,
    tcp::bind_tcp,
};
