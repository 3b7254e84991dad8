//! `https` on the admin listener, with client certificates if the configuration names who issues them.
//!
//! A handshake happens in its connection's own task, under a deadline, and holds one of the listener's places meanwhile: a client
//! that stalls keeps nobody from being accepted until all places are held, and then for no longer than [`TIMEOUT`].

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{Error, ServerConfig};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    metrics::{self, ADMIN_HANDSHAKES},
    net::tls::{self, PairFiles},
};

/// `[admin.tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM: the certificate, then what leads from it to a root that its clients know. With it the listener speaks `https` alone.
    pub cert: Option<PathBuf>,
    /// PEM: its private key, PKCS#8, PKCS#1 or SEC1.
    pub key: Option<PathBuf>,
    /// PEM: the authorities to one of which a client's certificate must lead; by default clients show none.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// What the listener shows, as `[tls]` would say it; `None` without TLS.
    pub fn shown(&self) -> Option<tls::Config> {
        let (cert, key) = (self.cert.clone()?, self.key.clone()?);
        Some(tls::Config { certificates: vec![PairFiles { cert, key }], ..tls::Config::default() })
    }

    /// What is not allowed, by key relative to `admin`. The files are read at the start, and by `waypost check`.
    pub(super) fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (key, file) in [("cert", &self.cert), ("key", &self.key), ("client_ca", &self.client_ca)] {
            if file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                found.push((format!("tls.{key}"), "an empty path; allowed: a file in PEM".to_owned()));
            }
        }
        let half = match (&self.cert, &self.key) {
            (Some(_), None) => Some(("tls.key", "none, and there is tls.cert; set both")),
            (None, Some(_)) => Some(("tls.cert", "none, and there is tls.key; set both")),
            (None, None) if self.client_ca.is_some() => {
                Some(("tls.client_ca", "clients show certificates over TLS alone; set tls.cert and tls.key"))
            }
            _ => None,
        };
        found.extend(half.map(|(key, what)| (key.to_owned(), what.to_owned())));
        found
    }
}

/// What the next handshake is made with. A change ends kept connections after the answer they are at: their clients come back and
/// are looked at again.
pub type Offered = watch::Receiver<Arc<ServerConfig>>;

/// From the accept to the end of the handshake, as on the public side.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long, and for how many bytes, a refused client is still listened to: in TLS 1.3 it has sent its request before it is refused,
/// and a socket closed with unread bytes resets, which overtakes the alert that says why.
const LINGER: (Duration, u64) = (Duration::from_millis(500), 64 << 10);

/// The listener's handshakes.
pub(super) struct Handshakes {
    /// `None` without TLS.
    offered: Option<Offered>,
    done: ::metrics::Counter,
    client: ::metrics::Counter,
    timeout: ::metrics::Counter,
    failed: ::metrics::Counter,
}

impl Handshakes {
    pub(super) fn new(offered: Option<Offered>) -> Handshakes {
        let counter = |result| metrics::counter(&ADMIN_HANDSHAKES, &[result]);
        let (done, client) = (counter("done"), counter("client"));
        Handshakes { offered, done, client, timeout: counter("timeout"), failed: counter("failed") }
    }

    /// What a new connection is to be opened with; `None` without TLS.
    pub(super) fn offered(&self) -> Option<Offered> {
        self.offered.clone().map(|mut offered| {
            offered.mark_unchanged();
            offered
        })
    }

    /// Shakes hands; `None`: the connection has ended here, and was counted.
    pub(super) async fn run(&self, stream: TcpStream, config: Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
        let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
        let (error, mut stream) = match timeout(TIMEOUT, accept).await {
            Ok(Ok(stream)) => {
                self.done.increment(1);
                return Some(stream);
            }
            Ok(Err(refused)) => refused,
            Err(_) => {
                self.timeout.increment(1);
                return None;
            }
        };
        tracing::debug!(%error, "a TLS handshake of the admin listener failed");
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => &self.client,
            _ => &self.failed,
        }
        .increment(1);
        let rest = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(LINGER.1), &mut tokio::io::sink()).await
        };
        // Whatever ends it, the client had its chance.
        let _ = timeout(LINGER.0, rest).await;
        None
    }
}
