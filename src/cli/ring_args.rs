//! Where the commands about keys and tokens find the key ring.

use std::path::PathBuf;

use super::config_args::ConfigArgs;
use crate::config::{ConfigErrors, FlagValues};

/// The flags that locate the key ring.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RingArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Key ring file [default: attribution.keys of the configuration, else keys.json in the data directory]
    #[arg(long, value_name = "FILE", global = true)]
    keys: Option<PathBuf>,
}

impl RingArgs {
    /// The path of the key ring: `--keys`, else what the configuration says.
    ///
    /// # Errors
    /// Every mistake in the configuration.
    pub(super) fn find_ring_file_from_flag_else_config(&self) -> Result<PathBuf, ConfigErrors> {
        if let Some(file) = &self.keys {
            return Ok(file.clone());
        }
        let config = self.config.load(FlagValues::default())?;
        Ok(config.attribution.keyring_path(&config.server.data_dir))
    }
}
