//! `[edge]`: the public side: its name, its listeners and whom it believes.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    client::{self, address::TrustedProxies},
    invalid_value::InvalidValue,
    net,
};

/// `[edge]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeConfig {
    /// This edge's name in every click: 1 to 63 characters of `[a-z0-9-]`. Without it a name is generated at the first
    /// start and kept in the data directory. No two edges may share a name: the proof that no click is missing is made
    /// for each edge.
    pub id: Option<String>,
    /// The public listeners; each worker listens on all of them.
    #[serde(deserialize_with = "deserialize_listener_or_list")]
    pub listen: Vec<net::listen::ListenConfig>,
    /// Worker threads, each with a journal lane of its own; by default one for each core this process may use.
    pub workers: Option<usize>,
    /// The networks of proxies whose forwarded client addresses are believed, such as `10.0.0.0/8`.
    pub trusted_proxies: net::peer::TrustedNetworks,
    /// The header in which those proxies write the client's address: `x-forwarded-for` or `forwarded`.
    pub address_header: client::address::AddressHeader,
    /// The header in which those proxies write the client's country, two letters of ISO 3166-1: `cf-ipcountry`,
    /// `cloudfront-viewer-country`. Without it no country is known.
    pub country_header: Option<String>,
    /// The header in which those proxies write the region in the country: the second part of a code of ISO 3166-2.
    pub region_header: Option<String>,
    /// Limits of what one client may send, and for how long.
    pub limits: net::limits::Limits,
}

impl Default for EdgeConfig {
    fn default() -> EdgeConfig {
        EdgeConfig {
            id: None,
            listen: vec![net::listen::ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080))).into()],
            workers: None,
            trusted_proxies: net::peer::TrustedNetworks::default(),
            address_header: client::address::AddressHeader::default(),
            country_header: None,
            region_header: None,
            limits: net::limits::Limits::default(),
        }
    }
}

/// The largest number of workers. A lane's number has 16 bits, and recovery adopts lanes of earlier starts beside them.
const MAX_WORKERS: usize = 512;

impl EdgeConfig {
    /// The number of worker threads.
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(cores).clamp(1, MAX_WORKERS)
    }

    /// The proxies whose headers about the client are believed.
    pub fn to_trusted_proxies(&self) -> TrustedProxies {
        let name = |header: &Option<String>| header.as_ref().and_then(|name| name.to_ascii_lowercase().parse().ok());
        TrustedProxies {
            networks: self.trusted_proxies.clone(),
            header: self.address_header,
            country_header: name(&self.country_header),
            region_header: name(&self.region_header),
        }
    }

    /// Every invalid key, relative to `edge`, with what was found and what is allowed.
    pub(super) fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if let Some(id) = &self.id
            && !is_edge_id(id)
        {
            errors.push(InvalidValue::new(
                "id",
                format!("`{id}` is not an edge's name; allowed: 1 to 63 characters of a-z, 0-9 and -"),
            ));
        }
        if self.listen.is_empty() {
            errors.push(InvalidValue::new("listen", "no address to serve on"));
        }
        if let Some(workers) = self.workers
            && !(1..=MAX_WORKERS).contains(&workers)
        {
            errors.push(InvalidValue::new("workers", format!("{workers}; allowed: 1 to {MAX_WORKERS}")));
        }
        for (key, header) in [("country_header", &self.country_header), ("region_header", &self.region_header)] {
            if let Some(header) = header
                && http::HeaderName::try_from(header).is_err()
            {
                errors.push(InvalidValue::new(key, format!("{header:?} is no header's name, such as cf-ipcountry")));
            }
        }
        errors.extend(self.limits.list_invalid_values().into_iter().map(|value| value.below("limits")));
        errors
    }
}

/// Whether a text is a valid edge name. The name goes into every click and into file names.
pub fn is_edge_id(id: &str) -> bool {
    (1..=63).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Accepts one listener or a list of them; one string may hold several addresses with commas between them.
fn deserialize_listener_or_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<net::listen::ListenConfig>, D::Error> {
    use net::listen::ListenConfig;

    struct ListenersVisitor;

    impl<'de> de::Visitor<'de> for ListenersVisitor {
        type Value = Vec<ListenConfig>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(
                "an address with a port such as \"127.0.0.1:8080\" or \"[::]:8080\", unix:PATH, systemd:NAME, \
                 a table with `address`, or a list of them",
            )
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<ListenConfig>, E> {
            text.split(',').map(|part| ListenConfig::deserialize(de::value::StrDeserializer::new(part))).collect()
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Vec<ListenConfig>, A::Error> {
            Ok(vec![ListenConfig::deserialize(de::value::MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<ListenConfig>, A::Error> {
            let mut listeners = Vec::new();
            while let Some(listener) = list.next_element()? {
                listeners.push(listener);
            }
            Ok(listeners)
        }
    }

    deserializer.deserialize_any(ListenersVisitor)
}
