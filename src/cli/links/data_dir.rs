//! The catalog of a data directory on which no server runs.

use anyhow::{Result, bail};

use crate::{
    catalog::{
        Catalog, CatalogHandle, LinkSource, OpenedCatalog,
        act::Act,
        change::{Write, WriteReport},
        new_act,
        query::CatalogReader,
    },
    cli::config_args::ConfigArgs,
    config::{Config, FlagValues},
    journal::DirectoryLocks,
    links::domains::Domains,
};

/// A catalog that this process alone uses.
pub(super) struct OfflineCatalog {
    catalog: Catalog,
    pub(super) domains: std::sync::Arc<Domains>,
    pub(super) config: Config,
    _locks: DirectoryLocks,
}

impl OfflineCatalog {
    /// Locks the data directory and opens its catalog.
    ///
    /// # Errors
    /// A process has locked the directory; or the configuration or the catalog cannot be used.
    pub(super) fn open(config: &ConfigArgs) -> Result<OfflineCatalog> {
        let config = config.load(FlagValues::default())?;
        let data_dir = &config.server.data_dir;
        let locks = DirectoryLocks::lock(data_dir, config.journal.ring_dir.as_deref())?;
        let domains = std::sync::Arc::new(Domains::new(&config.domains).map_err(anyhow::Error::msg)?);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let policy = config.links.destination_policy();
        let opened = OpenedCatalog::open_or_create(data_dir, policy, domains.clone(), threads)?;
        if let Some(path) = &opened.set_aside {
            bail!("the catalog was damaged; it lies in {} now, and a new one is in its place", path.display());
        }
        let source = LinkSource::of_config(&config.links);
        Ok(OfflineCatalog { catalog: opened.start(source)?, domains, config, _locks: locks })
    }

    pub(super) fn handle(&self) -> CatalogHandle {
        self.catalog.handle()
    }

    pub(super) fn reader(&self) -> Result<CatalogReader> {
        Ok(self.catalog.handle().open_reader()?)
    }

    /// Writes something and waits for it.
    pub(super) fn write(&self, write: Write) -> Result<WriteReport> {
        Ok(self.catalog.handle().write_blocking(write)?)
    }

    /// Ends the catalog in good order.
    pub(super) fn close(self) {
        self.catalog.stop();
    }
}

/// An act of the person who runs the command.
pub(super) fn act_of_user(reason: Option<&String>) -> Act {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    new_act(format!("command line, {}", user.as_deref().unwrap_or("unknown user")), reason.cloned())
}
