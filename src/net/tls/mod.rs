//! TLS on the listeners that ask for it: certificates by server name, and the handshake before the first request.
//!
//! 1. Wait for the client's first bytes; a silent connection holds nothing but its socket.
//! 2. Wait for a turn ([`crate::net::turns`]): a worker computes for one handshake at a time, and serves what is ready in between.
//!    Few of an address go before many of another. A client that has left meanwhile costs no more than this.
//! 3. Take one of the worker's places. If all are taken the oldest handshake gives way: its client has had the longest time.
//! 4. Shake hands: TLS 1.3 or 1.2, the certificate by the name the client asks for. Each further step has its turn.
//! 5. Count how it ended.
//!
//! All of it, and a PROXY header before it, under `edge.limits.handshake_timeout`, in the connection's own task. What is no TLS (plain
//! HTTP, a PROXY header where none is wanted, anything else) is answered with a fatal alert and closed. Tickets are stateless and sealed with one key for
//! all workers, which changes every six hours and is in no file: a client that comes back to any worker resumes, one that comes back
//! after a restart shakes hands in full. There is no early data: a replayed first flight would be a click that nobody made.

pub mod certificates;
pub mod clients;
mod handshake;

use std::{path::PathBuf, rc::Rc, sync::Arc};

use http::HeaderValue;
use rustls::{ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};
use serde::Deserialize;

use crate::net::{Limits, tls::certificates::Served, turns::Turns};
use handshake::Counters;
pub(super) use handshake::Handshakes;

/// `[tls]`: what the listeners with `tls = true` show of themselves.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Pairs of files. The first is shown to a client that asks for no name, or for one that no certificate has.
    pub certificates: Vec<PairFiles>,
    /// A directory of pairs: `NAME.crt` with `NAME.key`, or folders with `fullchain.pem` and `privkey.pem`. After `certificates`, by
    /// name.
    pub directory: Option<PathBuf>,
    /// `Strict-Transport-Security` of answers over TLS, such as `max-age=31536000`, for domains that say nothing of their own.
    pub hsts: Option<String>,
    /// The port by which clients reach the TLS listener, where a listener with `upgrade = true` sends them.
    pub port: u16,
    /// The directory into which an ACME client writes its challenges; each file is answered under its name.
    pub acme_challenges: Option<PathBuf>,
}

/// The value of a `Strict-Transport-Security`, if it is one: `max-age=SECONDS`, then perhaps `; includeSubDomains` and `; preload`.
pub fn hsts(text: &str) -> Option<HeaderValue> {
    let mut parts = text.split(';').map(str::trim);
    let age = parts.next()?.strip_prefix("max-age=")?;
    let digits = !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit());
    let good = digits && parts.all(|part| matches!(part, "includeSubDomains" | "preload"));
    HeaderValue::from_str(text).ok().filter(|_| good)
}

impl Default for Config {
    fn default() -> Config {
        Config { certificates: Vec::new(), directory: None, hsts: None, port: 443, acme_challenges: None }
    }
}

/// What [`hsts`] takes, for whoever wrote something else.
pub const HSTS_FORM: &str = "max-age=SECONDS, then ; includeSubDomains and ; preload if they are meant";

/// The files of one certificate.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct PairFiles {
    /// PEM: the certificate, then what leads from it to a root that clients know.
    pub cert: PathBuf,
    /// PEM: the private key, PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl Config {
    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.directory.is_none()
    }

    /// What is not allowed, by key relative to `tls`. The files are read at the start, and by `waypost check`.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.certificates.iter().any(|pair| pair.cert.as_os_str().is_empty() || pair.key.as_os_str().is_empty()) {
            found.push(("certificates".to_owned(), "an empty path; allowed: files in PEM".to_owned()));
        }
        if let Some(text) = &self.hsts
            && hsts(text).is_none()
        {
            found.push(("hsts".to_owned(), format!("{text:?}; allowed: {HSTS_FORM}")));
        }
        if self.port == 0 {
            found.push(("port".to_owned(), "0; allowed: 1 to 65535".to_owned()));
        }
        found
    }
}

/// Registers the counters of handshakes at zero, where no listener makes them.
pub fn announce() {
    Counters::new();
}

/// What every worker's TLS listeners share: made once, at the start.
#[derive(Clone, Debug)]
pub struct Tls {
    http1: Arc<ServerConfig>,
    /// The same, with HTTP/2 offered beside HTTP/1.1.
    http2: Arc<ServerConfig>,
}

impl Tls {
    /// A TLS that shows what `served` holds at the time of each handshake.
    ///
    /// # Errors
    /// The crypto library refuses its own defaults, or has no random bytes for the first ticket key.
    pub fn new(served: Arc<Served>) -> Result<Tls, rustls::Error> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(served);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // A buyer comes back on one connection at a time; a second ticket would be sealed and sent for nobody.
        config.send_tls13_tickets = 1;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = config.clone();
        // Second: a buyer asks once on a new connection, and that costs more by HTTP/2 (loadtest/tls.sh).
        http2.alpn_protocols.push(b"h2".to_vec());
        Ok(Tls { http1: Arc::new(config), http2: Arc::new(http2) })
    }

    /// One worker's handshakes; `limits` are its share of them, `turns` its own.
    pub fn handshakes(&self, limits: &Limits, turns: Rc<Turns>) -> Rc<Handshakes> {
        Rc::new(Handshakes::new([self.http1.clone(), self.http2.clone()], limits, turns))
    }
}
