//! The domains of a data directory: those of the configuration, and those that the API made.

use anyhow::{Context, Result};

use crate::{catalog::offline::add_domains_of_catalog, config::Config, links::domains::Domains};

/// The domains that a server with this configuration would serve. Nothing is written.
///
/// # Errors
/// The catalog cannot be read, or a domain is not allowed.
pub(super) fn load_domains(config: &Config) -> Result<Domains> {
    let data_dir = &config.server.data_dir;
    let merged = add_domains_of_catalog(&config.domains, data_dir);
    let merged = merged.with_context(|| format!("the domains in the catalog of {}", data_dir.display()))?;
    Domains::new(&merged).map_err(anyhow::Error::msg)
}
