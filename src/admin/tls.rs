//! `[admin.tls]`: `https` on the admin listener, with client certificates if `client_ca` names their authorities.
//!
//! A handshake runs in its connection's own task. A client that stalls delays no other client, and for no longer than
//! [`HANDSHAKE_TIMEOUT`] holds a place (`connections`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{Error, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    invalid_value::InvalidValue,
    metrics::{self, ADMIN_HANDSHAKES},
    net::tls::{self, CertificateFiles},
};

/// `[admin.tls]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM: the certificate, then the chain from it to a root that clients know. With it the listener speaks only
    /// `https`.
    pub cert: Option<PathBuf>,
    /// PEM: its private key as PKCS#8, PKCS#1 or SEC1.
    pub key: Option<PathBuf>,
    /// PEM: the authorities to one of which a client's certificate must lead. Without it clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

impl TlsConfig {
    /// The listener's certificate in the form of `[tls]`. `None`: no TLS.
    pub fn certificate_config(&self) -> Option<tls::Config> {
        let (cert, key) = (self.cert.clone()?, self.key.clone()?);
        Some(tls::Config { certificates: vec![CertificateFiles { cert, key }], ..tls::Config::default() })
    }

    /// All values that are not allowed: the key relative to `admin`, then what is wrong. The files are checked when
    /// they are read: at the start, and by `waypost check`.
    pub(super) fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        for (key, file) in [("cert", &self.cert), ("key", &self.key), ("client_ca", &self.client_ca)] {
            if file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                errors
                    .push(InvalidValue::new(format!("tls.{key}"), "an empty path; allowed: a file in PEM".to_owned()));
            }
        }
        let incomplete = match (&self.cert, &self.key) {
            (Some(_), None) => Some(("tls.key", "none, and there is tls.cert; set both")),
            (None, Some(_)) => Some(("tls.cert", "none, and there is tls.key; set both")),
            (None, None) if self.client_ca.is_some() => {
                Some(("tls.client_ca", "clients show certificates over TLS alone; set tls.cert and tls.key"))
            }
            _ => None,
        };
        errors.extend(incomplete.map(|(key, what)| InvalidValue::new(key, what)));
        errors
    }
}

/// The TLS configuration of the next handshake. A change ends every kept connection after its current answer, so that
/// its client is authenticated again.
pub type TlsConfigReceiver = watch::Receiver<Arc<ServerConfig>>;

/// The time from the accept to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long, and for how many bytes, the input of a refused client is discarded. In TLS 1.3 a client sends its request
/// before it knows of the refusal. A socket closed with unread bytes sends a reset, and the reset makes the client
/// discard the alert that tells the cause.
const LINGER_DURATION: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 << 10;

/// Does the handshakes of the admin listener and counts them.
pub(super) struct AdminHandshaker {
    /// `None`: no TLS.
    config: Option<TlsConfigReceiver>,
    done: ::metrics::Counter,
    /// The client's certificate was refused or missing.
    client_refused: ::metrics::Counter,
    timed_out: ::metrics::Counter,
    failed: ::metrics::Counter,
}

impl AdminHandshaker {
    pub(super) fn new(config: Option<TlsConfigReceiver>) -> AdminHandshaker {
        let counter = |result| metrics::counter(&ADMIN_HANDSHAKES, &[result]);
        AdminHandshaker {
            config,
            done: counter("done"),
            client_refused: counter("client"),
            timed_out: counter("timeout"),
            failed: counter("failed"),
        }
    }

    /// A receiver of the TLS configuration, which reports changes from now on. `None`: no TLS.
    pub(super) fn subscribe_to_config_if_tls(&self) -> Option<TlsConfigReceiver> {
        let mut config = self.config.clone()?;
        config.mark_unchanged();
        Some(config)
    }

    /// Does a handshake and counts its outcome. `None`: it failed, and the connection is closed.
    pub(super) async fn try_handshake_and_count_outcome(
        &self,
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Option<TlsStream<TcpStream>> {
        let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
        let unfinished = CountedWhenDropped(Some(&self.timed_out));
        let finished = timeout(HANDSHAKE_TIMEOUT, accept).await;
        let Ok(finished) = finished else { return None };
        unfinished.discard();
        let (error, stream) = match finished {
            Ok(stream) => {
                self.done.increment(1);
                return Some(stream);
            }
            Err(failed) => failed,
        };
        tracing::debug!(%error, "a TLS handshake of the admin listener failed");
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => self.client_refused.increment(1),
            _ => self.failed.increment(1),
        }
        shut_down_and_discard_input(stream).await;
        None
    }
}

/// Counts when it is dropped: a handshake that is not finished in time, or that makes room for another connection.
struct CountedWhenDropped<'a>(Option<&'a ::metrics::Counter>);

impl CountedWhenDropped<'_> {
    fn discard(mut self) {
        self.0 = None;
    }
}

impl Drop for CountedWhenDropped<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.increment(1);
        }
    }
}

async fn shut_down_and_discard_input(mut stream: TcpStream) {
    let discard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // The connection is closed afterwards in any case.
    let _ = timeout(LINGER_DURATION, discard).await;
}
