//! TLS: certificates by server name, and the handshake before the first request of a connection.
//!
//! A listener with TLS answers anything else (plain HTTP, an unexpected PROXY header) with a fatal alert and closes.
//! The handshake, and a PROXY header before it, have the deadline `edge.limits.handshake_timeout`.
//!
//! - `config`: `[tls]`.
//! - `certificate`, `certificate_set`: certificates from their files, looked up by server name, replaced by a reload.
//! - `server`: the configuration of the public listeners. `handshaker`: the handshakes of one worker.
//! - `client_auth`: the configuration of the admin listener, with client certificates.

mod certificate;
mod certificate_set;
mod client_auth;
mod config;
mod handshake_metrics;
mod handshaker;
mod server;
mod wake_filter;

pub use self::{
    certificate::{Certificate, CertificateError},
    certificate_set::{CertificateSet, ServedCertificates, list_configured_certificate_files},
    client_auth::{ClientCaRoots, build_admin_server_config_accepting_own_certificate},
    config::{CertificateFiles, Config, HSTS_FORM, parse_hsts},
    handshake_metrics::register_metrics,
    handshaker::Handshaker,
    server::TlsServer,
};
