//! What a client may do, for how long, and how often.

use std::time::Duration;

use serde::Deserialize;

use crate::size::Bytes;

/// `[edge.limits]`: what a client may send, and for how long it may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request head, request line included; 431 above it.
    pub headers: Bytes,
    /// From the connection (with TLS: from the end of its handshake), or from the first byte of a later request, to the end of its
    /// head; closed after it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub header_timeout: Duration,
    /// How long a kept connection may wait for its next request, and a client for reading its answer. Behind a load
    /// balancer it must be longer than the balancer's own.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub idle_timeout: Duration,
    /// Open connections of the whole process, shared evenly by the workers; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Open connections of one address (IPv6: of one /64), shared evenly by the workers; further ones are closed at once.
    /// Trusted proxies and Unix sockets have no such limit.
    pub connections_per_address: u32,
    /// How long a connection is kept, a tenth more or less by chance: then its next answer is its last, so that
    /// balancers spread connections anew and an HTTP/2 client does not stay for ever.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub max_age: Duration,
    /// Requests of one connection; the last one's answer ends it.
    pub requests: u32,
    /// Requests for unknown codes that one address (IPv6: one /64) may make a minute before further ones are only
    /// counted, shared evenly by the workers. They get the same answer; a link's click is never touched.
    pub unknown_per_address: u32,
    /// From the accept to the end of a TLS handshake, a PROXY header before it included; closed after it. Never longer than
    /// `header_timeout`, which runs beside it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub handshake_timeout: Duration,
    /// TLS handshakes in flight of the whole process, shared evenly by the workers; beyond it the oldest one is closed.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            headers: Bytes::kib(16),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            connections: 100_000,
            // Thousands of buyers share one carrier's address.
            connections_per_address: 4096,
            max_age: Duration::from_secs(600),
            requests: 10_000,
            unknown_per_address: 600,
            handshake_timeout: Duration::from_secs(5),
            // Some 18 KiB each, by loadtest/attack.sh: 73 MiB of a flood.
            handshakes: 4096,
        }
    }
}

impl Limits {
    /// What is not allowed, by key relative to `edge.limits`.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut check = |key: &str, good: bool, found_: String, allowed: &str| {
            if !good {
                found.push((key.to_owned(), format!("{found_}; allowed: {allowed}")));
            }
        };
        // hyper refuses read buffers below 8 KiB.
        let heads = Bytes::kib(8)..=Bytes::kib(256);
        check("headers", heads.contains(&self.headers), self.headers.to_string(), "8 KiB to 256 KiB");
        for (key, timeout) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("handshake_timeout", self.handshake_timeout),
        ] {
            let good = (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&timeout);
            check(key, good, format!("{timeout:?}"), "100ms to 1h");
        }
        let ages = Duration::from_millis(100)..=Duration::from_secs(86_400);
        check("max_age", ages.contains(&self.max_age), format!("{:?}", self.max_age), "100ms to 24h");
        for (key, good) in [
            ("connections", self.connections > 0),
            ("connections_per_address", self.connections_per_address > 0),
            ("requests", self.requests > 0),
            ("handshakes", self.handshakes > 0),
        ] {
            check(key, good, "0".to_owned(), "1 and more");
        }
        found
    }

    /// One worker's part of what the workers share: an address whose connections one worker happens to get meets its
    /// limit there, however idle the others are. Never 0 of what was not.
    pub fn share(&self, workers: usize) -> Limits {
        let workers = workers.max(1);
        let part = |all: u32| all.div_ceil(u32::try_from(workers).unwrap_or(u32::MAX));
        Limits {
            connections: self.connections.div_ceil(workers),
            handshakes: self.handshakes.div_ceil(workers),
            connections_per_address: part(self.connections_per_address),
            unknown_per_address: part(self.unknown_per_address),
            ..self.clone()
        }
    }
}
