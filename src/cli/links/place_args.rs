//! `--data-dir`, `--config` and `--server`: where the links of a command are.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::{data_dir::OfflineCatalog, place::LinkPlace, server::ServerLinks};
use crate::cli::{api_client::ServerArgs, config_args::ConfigArgs};

/// Where the links are.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl PlaceArgs {
    /// The links of the server, if one is named, else those of the data directory.
    ///
    /// # Errors
    /// There is no key for the server; or the data directory cannot be used.
    pub(super) fn open(&self) -> Result<Box<dyn LinkPlace>> {
        Ok(match self.server.client()? {
            Some(client) => Box::new(ServerLinks::new(client)),
            None => Box::new(OfflineCatalog::open(&self.config)?),
        })
    }

    /// The catalog of the data directory, for a command that reads its file.
    ///
    /// # Errors
    /// A server is named; or the data directory cannot be used.
    pub(super) fn open_data_dir(&self, command: &str) -> Result<OfflineCatalog> {
        self.refuse_server(command)?;
        OfflineCatalog::open(&self.config)
    }

    /// The data directory itself, which a server may hold.
    ///
    /// # Errors
    /// A server is named; or the configuration cannot be read.
    pub(super) fn find_data_dir(&self, command: &str) -> Result<PathBuf> {
        self.refuse_server(command)?;
        Ok(self.config.find_data_dir_from_flag_else_config()?)
    }

    /// Whether a server is named.
    pub(super) const fn has_server(&self) -> bool {
        self.server.is_given()
    }

    /// # Errors
    /// A server is named.
    pub(super) fn refuse_server(&self, command: &str) -> Result<()> {
        if self.has_server() {
            bail!(
                "`links {command}` reads a file, which the API does not offer: leave --server out, and run it with \
                 --data-dir on the machine of the server"
            );
        }
        Ok(())
    }
}
