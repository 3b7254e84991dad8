//! One worker's handshakes: their bound, their deadline, how each ended.

use std::{future::Future, io, sync::Arc, time::Duration};

use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::{
    io::AsyncWriteExt,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    metrics::{self, TLS_HANDSHAKES, TLS_SESSIONS},
    net::{Limits, counts::Closed, stream::Stream, tls::Ticketed},
};

/// How a handshake that failed ended; the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Not done within its time.
    Timeout,
    /// No place within its time: others' handshakes held them all.
    Busy,
    /// What came is not TLS.
    Junk,
    /// No version, cipher, group or protocol that both sides know.
    Incompatible,
    /// The client refused: most often it does not trust the certificate.
    Alert,
    /// The client left.
    Left,
    /// Anything else.
    Other,
}

impl Failed {
    /// In the order of their values.
    const ALL: [(Failed, &'static str); 7] = [
        (Failed::Timeout, "timeout"),
        (Failed::Busy, "busy"),
        (Failed::Junk, "junk"),
        (Failed::Incompatible, "incompatible"),
        (Failed::Alert, "alert"),
        (Failed::Left, "left"),
        (Failed::Other, "other"),
    ];
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        use rustls::{AlertDescription, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(
                Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerMisbehaved(_),
            ) => Failed::Junk,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Failed::Incompatible,
            Some(Error::AlertReceived(AlertDescription::UserCanceled | AlertDescription::CloseNotify)) => Failed::Left,
            Some(Error::AlertReceived(_)) => Failed::Alert,
            Some(_) => Failed::Other,
            None => Failed::Left,
        }
    }
}

/// The shared counters, without cells in front: a handshake costs some thousand times what an atomic does.
#[derive(Debug)]
pub(super) struct Counters {
    done: ::metrics::Counter,
    failed: [::metrics::Counter; Failed::ALL.len()],
    /// By version (1.2, 1.3), then by whether it was resumed.
    sessions: [[::metrics::Counter; 2]; 2],
}

impl Counters {
    pub(super) fn new() -> Counters {
        let result = |word| metrics::counter(&TLS_HANDSHAKES, &[word]);
        Counters {
            done: result("done"),
            failed: Failed::ALL.map(|(_, word)| result(word)),
            sessions: ["1.2", "1.3"]
                .map(|version| ["no", "yes"].map(|resumed| metrics::counter(&TLS_SESSIONS, &[version, resumed]))),
        }
    }

    fn done(&self, stream: &TlsStream<Ticketed>) {
        let session = stream.get_ref().1;
        let version = usize::from(session.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        let resumed = usize::from(session.handshake_kind() == Some(HandshakeKind::Resumed));
        self.done.increment(1);
        self.sessions[version][resumed].increment(1);
    }
}

/// One worker's handshakes.
#[derive(Debug)]
pub struct Handshakes {
    /// Without HTTP/2, and with it.
    configs: [Arc<ServerConfig>; 2],
    places: Semaphore,
    timeout: Duration,
    counters: Counters,
}

impl Handshakes {
    pub(super) fn new(configs: [Arc<ServerConfig>; 2], limits: &Limits) -> Handshakes {
        Handshakes {
            configs,
            places: Semaphore::new(limits.handshakes.min(Semaphore::MAX_PERMITS)),
            timeout: limits.handshake_timeout,
            counters: Counters::new(),
        }
    }

    /// Until when a connection that was accepted now must have shaken hands: what comes before the handshake included.
    pub(in crate::net) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Takes a step that comes before the handshake; one that does not end in time counts as a handshake that did not.
    pub(in crate::net) async fn before<T>(
        &self,
        deadline: Instant,
        step: impl Future<Output = Result<T, Closed>>,
    ) -> Result<T, Closed> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| Err(self.failed(Failed::Timeout)))
    }

    /// Shakes hands over `stream`, with HTTP/2 offered or not; says so by `begun` once the client does. `Err`: the connection ends here,
    /// and why.
    pub(in crate::net) async fn run(
        &self,
        stream: Stream,
        http2: bool,
        deadline: Instant,
        begun: impl Fn(),
    ) -> Result<Stream, Closed> {
        let mut placed = false;
        let steps = async {
            stream.readable().await?;
            begun();
            // Never closed, so an error cannot be.
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            placed = true;
            let acceptor = TlsAcceptor::from(self.configs[usize::from(http2)].clone());
            match acceptor.accept(Ticketed::new(stream)).into_fallible().await {
                Ok(mut stream) => {
                    stream.get_mut().0.shaken();
                    Ok(stream)
                }
                Err((error, mut stream)) => {
                    if stream.waits() {
                        // The alert is a courtesy: the connection ends for what was wrong before.
                        let _ = stream.shutdown().await;
                    }
                    Err(error)
                }
            }
        };
        match timeout_at(deadline, steps).await {
            Ok(Ok(stream)) => {
                self.counters.done(&stream);
                Ok(Stream::Tls(Box::new(stream)))
            }
            Ok(Err(error)) => Err(self.failed(Failed::from(error))),
            Err(_) if self.places.available_permits() == 0 && !placed => Err(self.failed(Failed::Busy)),
            Err(_) => Err(self.failed(Failed::Timeout)),
        }
    }

    fn failed(&self, failed: Failed) -> Closed {
        self.counters.failed[failed as usize].increment(1);
        match failed {
            Failed::Timeout => Closed::HandshakeTimeout,
            Failed::Busy => Closed::HandshakeBusy,
            _ => Closed::Handshake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_word_at_its_place() {
        for (at, (failed, word)) in Failed::ALL.into_iter().enumerate() {
            assert_eq!(failed as usize, at, "{word}");
        }
    }
}
