//! The TLS configuration of the public listeners, shared by all workers.
//!
//! Session tickets are stateless. One key seals them for all workers, changes every six hours, and is in no file. So a
//! client resumes its session at any worker, and does a full handshake after a restart. Early data (0-RTT) is off: a
//! replayed first flight would be a click that nobody made.

use std::{rc::Rc, sync::Arc};

use rustls::{ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};

use crate::net::{
    cpu_scheduler::CpuScheduler,
    limits::Limits,
    tls::{certificate_set::ServedCertificates, handshaker::Handshaker},
};

/// The TLS configuration of the public listeners.
#[derive(Clone, Debug)]
pub struct TlsServer {
    http1_config: Arc<ServerConfig>,
    /// Offers HTTP/2 beside HTTP/1.1.
    http2_config: Arc<ServerConfig>,
}

impl TlsServer {
    /// A configuration whose handshakes use the certificates that `served` has at that time.
    ///
    /// # Errors
    /// The crypto library refuses its own defaults, or has no random bytes for the first ticket key.
    pub fn new(served: Arc<ServedCertificates>) -> Result<TlsServer, rustls::Error> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(served);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // A buyer comes back on one connection at a time, so a second ticket would never be used.
        config.send_tls13_tickets = 1;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2_config = config.clone();
        // HTTP/2 is second: a buyer makes one request on a new connection, which costs more by HTTP/2
        // (loadtest/tls.sh).
        http2_config.alpn_protocols.push(b"h2".to_vec());
        Ok(TlsServer { http1_config: Arc::new(config), http2_config: Arc::new(http2_config) })
    }

    /// The handshaker of one worker. `limits` are that worker's, `scheduler` is its own.
    pub fn new_handshaker(&self, limits: &Limits, scheduler: Rc<CpuScheduler>) -> Rc<Handshaker> {
        Rc::new(Handshaker::new(self.http1_config.clone(), self.http2_config.clone(), limits, scheduler))
    }
}
