//! An edge without a server: the links and the configuration that a server would serve, for commands that show answers.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::{Context, Result, bail};

use super::kept_domains::load_domains;
use crate::{
    attribution::keyring::Keyring,
    catalog::offline::{OfflineLinks, load_links_read_only, load_suspensions_read_only},
    config::Config,
    edge::snapshot::Edge,
    geoip::{Databases, LoadedFiles},
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

/// Loads the links file of the configuration, or the catalog if none is configured, and builds the edge that would
/// serve the links. A server may hold the data directory.
///
/// # Errors
/// A file that a server would refuse too; or there are no links.
pub(super) fn load_edge_without_server(config: &Config, keys: OfflineKeys, now_ms: u64) -> Result<Edge> {
    let domains = Arc::new(load_domains(config)?);
    let OfflineLinks { table, suspensions } = load_links(config, &domains, now_ms)?;
    let ring_path = config.attribution.keyring_path(&config.server.data_dir);
    let keyring = match keys {
        OfflineKeys::Configured if ring_path.try_exists().unwrap_or(false) => Keyring::load(&ring_path)?,
        OfflineKeys::Configured | OfflineKeys::New => Keyring::generate_without_file(now_ms)?,
    };
    let proxies = config.edge.to_trusted_proxies();
    let edge = Edge::new(Arc::new(table), Arc::new(keyring), domains, Arc::new(proxies));
    let LoadedFiles { databases, refused } = Databases::load(&config.geoip);
    if let Some(error) = refused.first() {
        bail!("{error}");
    }
    let edge = edge.with_suspensions(Arc::new(suspensions)).with_geoip(Arc::new(databases));
    Ok(edge.with_tls(config.tls.hsts.as_deref().and_then(tls::parse_hsts), None))
}

fn load_links(config: &Config, domains: &Domains, now_ms: u64) -> Result<OfflineLinks> {
    let (data_dir, policy) = (&config.server.data_dir, config.links.destination_policy());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(path) = config.links.file.as_deref() else {
        let found = load_links_read_only(data_dir, &policy, domains, now_ms, threads)?;
        return found.with_context(|| {
            format!("no links: there is no catalog in {}; give --links FILE or --data-dir DIR", data_dir.display())
        });
    };
    let rules = BatchRules {
        policy: &policy,
        domains,
        now_ms,
        served: None,
        latest_version: &AtomicU64::new(0),
        allow_shrink: config.links.allow_shrink,
    };
    let loaded = file::load_and_validate_file(&LoadRequest { path, rules, threads, progress: &|_| {} })?;
    Ok(OfflineLinks { table: loaded.table, suspensions: load_suspensions_read_only(data_dir)? })
}
