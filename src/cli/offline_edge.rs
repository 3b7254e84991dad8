//! An edge without a server: the links and the configuration that a server would serve, for commands that show answers.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::Result;

use crate::{
    attribution::keyring::Keyring,
    client::address::TrustedProxies,
    config::Config,
    edge::snapshot::Edge,
    links::{
        batch::BatchRules,
        domains::Domains,
        file::{self, LoadRequest},
    },
    net::tls,
};

/// The keys of an edge that records nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfflineKeys {
    /// The key ring of the configuration, if its file is there: presented cookies are verified.
    Configured,
    /// A key that nobody knows.
    New,
}

/// Loads the links file of the configuration, and builds the edge that would serve it.
///
/// # Errors
/// A file that a server would refuse too.
pub(super) fn load_edge_without_server(config: &Config, keys: OfflineKeys, now_ms: u64) -> Result<Edge> {
    let domains = Arc::new(Domains::new(&config.domains).map_err(anyhow::Error::msg)?);
    let path = config.links.file.as_deref().ok_or_else(|| anyhow::Error::msg("no links file: give --links FILE"))?;
    let rules = BatchRules {
        policy: &config.links.destination_policy(),
        domains: &domains,
        now_ms,
        served: None,
        latest_version: &AtomicU64::new(0),
        allow_shrink: config.links.allow_shrink,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let loaded = file::load_and_validate_file(&LoadRequest { path, rules, threads, progress: &|_| {} })?;
    let ring_path = config.attribution.keyring_path(&config.server.data_dir);
    let keyring = match keys {
        OfflineKeys::Configured if ring_path.try_exists().unwrap_or(false) => Keyring::load(&ring_path)?,
        OfflineKeys::Configured | OfflineKeys::New => Keyring::generate_without_file(now_ms)?,
    };
    let proxies = TrustedProxies { networks: config.edge.trusted_proxies.clone(), header: config.edge.address_header };
    let edge = Edge::new(Arc::new(loaded.table), Arc::new(keyring), domains, Arc::new(proxies));
    Ok(edge.with_tls(config.tls.hsts.as_deref().and_then(tls::parse_hsts), None))
}
