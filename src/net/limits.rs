//! The limits of public connections and requests: `[edge.limits]`. The connection table, the TLS handshakes and the
//! rate limiter of unknown codes enforce them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{invalid_value::InvalidValue, size::Bytes};

/// `[edge.limits]`: how much a client may send, how long it may take, and how often it may ask.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request head in bytes, request line included. A larger head is answered with 431 and a page
    /// that says what to do.
    pub max_header_bytes: Bytes,
    /// The time for one request head. It runs from the connection (with TLS: from the end of the handshake) or from the
    /// first byte of a later request to the end of the head. The connection is closed after it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub header_timeout: Duration,
    /// The time a kept connection may wait for its next request, and the time a client may take to read its answer.
    /// Behind a load balancer it must be longer than the balancer's own.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub idle_timeout: Duration,
    /// Open connections of the whole process, shared evenly by the workers. Beyond them one that is idle for a second
    /// or longer makes room. Where none is, further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Open connections of one address (IPv6: of one /64), shared evenly by the workers. Further ones are closed at
    /// once. Trusted proxies and Unix sockets have no such limit.
    pub max_connections_per_address: u32,
    /// The age at which a connection gets its last answer, with a random tenth more or less. It makes balancers spread
    /// connections anew and keeps an HTTP/2 client from staying for ever.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub max_connection_age: Duration,
    /// Requests of one connection. The answer to the last one ends it.
    pub max_requests: u32,
    /// Requests for unknown codes that one address (IPv6: one /64) may make in a minute and have recorded, shared
    /// evenly by the workers. Further ones get the same answer and are only counted. Clicks on existing links have no
    /// such limit.
    pub max_unknown_codes_per_address: u32,
    /// The time from the accept to the end of the TLS handshake, a PROXY header before it included. The connection is
    /// closed after it. `header_timeout` runs beside it, so a longer value has no effect.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub handshake_timeout: Duration,
    /// TLS handshakes in flight of the whole process, shared evenly by the workers. One more closes the oldest one.
    pub max_handshakes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Shops set cookies for the whole site, some of them 20 KiB.
            max_header_bytes: Bytes::kib(32),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_connections: 100_000,
            // Thousands of buyers share one carrier's address.
            max_connections_per_address: 4096,
            max_connection_age: Duration::from_secs(600),
            max_requests: 10_000,
            max_unknown_codes_per_address: 600,
            handshake_timeout: Duration::from_secs(5),
            // About 18 KiB each (loadtest/attack.sh), 73 MiB in all.
            max_handshakes: 4096,
        }
    }
}

impl Limits {
    /// All values that are not allowed: the key relative to `edge.limits`, then the value and the allowed range.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        let mut check = |key: &str, is_allowed: bool, value: String, allowed: &str| {
            if !is_allowed {
                errors.push(InvalidValue::new(key, format!("{value}; allowed: {allowed}")));
            }
        };
        // hyper refuses read buffers below 8 KiB.
        let header_sizes = Bytes::kib(8)..=Bytes::kib(256);
        let size = self.max_header_bytes;
        check("max_header_bytes", header_sizes.contains(&size), size.to_string(), "8 KiB to 256 KiB");
        for (key, timeout) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("handshake_timeout", self.handshake_timeout),
        ] {
            let is_allowed = (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&timeout);
            check(key, is_allowed, format!("{timeout:?}"), "100ms to 1h");
        }
        let ages = Duration::from_millis(100)..=Duration::from_secs(86_400);
        let age = self.max_connection_age;
        check("max_connection_age", ages.contains(&age), format!("{age:?}"), "100ms to 24h");
        for (key, is_allowed) in [
            ("max_connections", self.max_connections > 0),
            ("max_connections_per_address", self.max_connections_per_address > 0),
            ("max_requests", self.max_requests > 0),
            ("max_handshakes", self.max_handshakes > 0),
        ] {
            check(key, is_allowed, "0".to_owned(), "1 and more");
        }
        errors
    }

    /// The limits of one of `workers` workers: limits on counts are divided and rounded up. Workers share nothing, so
    /// an address whose connections all reach one worker meets its limit there while the others are idle.
    pub fn with_counts_divided_among(&self, workers: usize) -> Limits {
        let workers = workers.max(1);
        let divided = |all: u32| all.div_ceil(u32::try_from(workers).unwrap_or(u32::MAX));
        Limits {
            max_connections: self.max_connections.div_ceil(workers),
            max_handshakes: self.max_handshakes.div_ceil(workers),
            max_connections_per_address: divided(self.max_connections_per_address),
            max_unknown_codes_per_address: divided(self.max_unknown_codes_per_address),
            ..self.clone()
        }
    }
}
