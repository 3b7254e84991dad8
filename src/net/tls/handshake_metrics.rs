//! The outcomes of failed TLS handshakes, and the metrics of all handshakes.

use std::io;

use rustls::{AlertDescription, Error, HandshakeKind, ProtocolVersion, ServerConnection};

use crate::{
    metrics::{self, TLS_HANDSHAKES, TLS_SESSIONS},
    net::close_reason::CloseReason,
    word_enum::word_enum,
};

word_enum! {
    /// Why a handshake failed: a label value of `waypost_tls_handshakes_total`.
    pub(super) enum HandshakeFailure {
        /// It was not complete within its time.
        Timeout = "timeout",
        /// It was closed in favour of a newer one, or had no CPU permit within its time, because others used them all.
        Busy = "busy",
        /// The client sent something that is no valid TLS.
        Junk = "junk",
        /// The two sides have no version, cipher, group or protocol in common.
        Incompatible = "incompatible",
        /// The client refused it, most often because it does not trust the certificate.
        Alert = "alert",
        /// The client closed the connection.
        Left = "left",
        /// Anything else.
        Other = "other",
    }
}

impl From<io::Error> for HandshakeFailure {
    fn from(error: io::Error) -> HandshakeFailure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(
                Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerMisbehaved(_),
            ) => HandshakeFailure::Junk,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => HandshakeFailure::Incompatible,
            Some(Error::AlertReceived(AlertDescription::UserCanceled | AlertDescription::CloseNotify)) => {
                HandshakeFailure::Left
            }
            Some(Error::AlertReceived(_)) => HandshakeFailure::Alert,
            Some(_) => HandshakeFailure::Other,
            None => HandshakeFailure::Left,
        }
    }
}

impl From<HandshakeFailure> for CloseReason {
    fn from(failure: HandshakeFailure) -> CloseReason {
        match failure {
            HandshakeFailure::Timeout => CloseReason::HandshakeTimeout,
            HandshakeFailure::Busy => CloseReason::HandshakeBusy,
            _ => CloseReason::Handshake,
        }
    }
}

/// The shared counters of handshakes, without cells in front: a handshake costs some thousand times as much as an
/// atomic increment.
#[derive(Debug)]
pub(super) struct HandshakeMetrics {
    done: ::metrics::Counter,
    failed: [::metrics::Counter; HandshakeFailure::ALL.len()],
    /// By version (1.2, 1.3), then by whether the session was resumed.
    sessions: [[::metrics::Counter; 2]; 2],
}

impl HandshakeMetrics {
    pub(super) fn new() -> HandshakeMetrics {
        let result = |label| metrics::counter(&TLS_HANDSHAKES, &[label]);
        HandshakeMetrics {
            done: result("done"),
            failed: HandshakeFailure::ALL.map(|failure| result(failure.as_str())),
            sessions: ["1.2", "1.3"]
                .map(|version| ["no", "yes"].map(|resumed| metrics::counter(&TLS_SESSIONS, &[version, resumed]))),
        }
    }

    pub(super) fn count_completed_session(&self, session: &ServerConnection) {
        let version = usize::from(session.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        let resumed = usize::from(session.handshake_kind() == Some(HandshakeKind::Resumed));
        self.done.increment(1);
        self.sessions[version][resumed].increment(1);
    }

    pub(super) fn count_failed(&self, failure: HandshakeFailure) {
        self.failed[failure as usize].increment(1);
    }
}

/// Registers the counters of handshakes at zero, for a process without a TLS listener.
pub fn register_metrics() {
    HandshakeMetrics::new();
}
