//! The reasons why connections end: the label values of `waypost_connections_closed_total`.

use std::{error::Error, io};

use crate::word_enum::word_enum;

word_enum! {
    /// Why a connection ended.
    pub(super) enum CloseReason {
        /// Either side closed it between two requests.
        Done = "done",
        /// No further request, or no reading of the answer, within `idle_timeout`.
        Idle = "idle",
        /// Idle for a second or longer while `max_connections` were open: it made room for a new one.
        MadeRoom = "made_room",
        /// No complete request head within `header_timeout`.
        HeaderTimeout = "header_timeout",
        /// The process stops.
        Drained = "drained",
        /// Not HTTP/1.1, answered with 400 where that was still possible; or invalid HTTP/2.
        Malformed = "malformed",
        /// The request head is larger than allowed, answered with 431 or 414.
        TooLarge = "too_large",
        /// An HTTP/2 preface on a listener without HTTP/2.
        Http2Preface = "http2_preface",
        /// The client closed it within a request.
        Incomplete = "incomplete",
        /// The system reported a broken connection.
        Reset = "reset",
        /// A PROXY protocol header was sent, or is required, and the peer is not among `edge.trusted_proxies`.
        ProxyUntrusted = "proxy_untrusted",
        /// A PROXY protocol header that is malformed or longer than allowed.
        ProxyMalformed = "proxy_malformed",
        /// A trusted proxy sent no PROXY protocol header where one is required.
        ProxyMissing = "proxy_missing",
        /// The TLS handshake failed.
        Handshake = "handshake",
        /// The TLS handshake was not complete within `handshake_timeout`.
        HandshakeTimeout = "handshake_timeout",
        /// The TLS handshake never had CPU time within `handshake_timeout`, or was closed in favour of a newer one.
        HandshakeBusy = "handshake_busy",
        /// Any other error of hyper.
        Other = "other",
        /// Older than `max_connection_age`.
        MaxAge = "max_age",
        /// It had `max_requests` requests.
        MaxRequests = "max_requests",
        /// Its address already had `max_connections_per_address` connections.
        PerAddress = "per_address",
        /// HTTP/2 resets, CONTINUATION, PING, SETTINGS or empty frames above their bound.
        Flood = "flood",
        /// An HTTP/2 PING had no answer.
        Unresponsive = "unresponsive",
    }
}

impl From<&hyper::Error> for CloseReason {
    fn from(error: &hyper::Error) -> CloseReason {
        let source = error.source();
        if let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) {
            return CloseReason::from(error);
        }
        if error.is_timeout() {
            CloseReason::Unresponsive
        } else if error.is_parse_too_large() {
            CloseReason::TooLarge
        } else if error.is_parse_version_h2() {
            CloseReason::Http2Preface
        } else if error.is_parse() {
            CloseReason::Malformed
        } else if error.is_incomplete_message() {
            CloseReason::Incomplete
        } else if error.is_shutdown() || source.is_some_and(|e| e.is::<io::Error>()) {
            CloseReason::Reset
        } else {
            CloseReason::Other
        }
    }
}

impl From<&h2::Error> for CloseReason {
    fn from(error: &h2::Error) -> CloseReason {
        let is_end_of_file = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        match error.reason() {
            _ if error.get_io().is_some_and(is_end_of_file) => CloseReason::Incomplete,
            _ if error.is_io() => CloseReason::Reset,
            Some(h2::Reason::NO_ERROR) => CloseReason::Done,
            _ if error.is_remote() => CloseReason::Other,
            // The h2 crate uses this code for bounds on frames and resets alone.
            Some(h2::Reason::ENHANCE_YOUR_CALM) => CloseReason::Flood,
            Some(_) => CloseReason::Malformed,
            None => CloseReason::Other,
        }
    }
}
