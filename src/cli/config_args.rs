//! `--config` and `--data-dir`: the flags of every command that reads a configuration or a data directory.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    admin,
    config::{Config, ConfigErrors, ConfigInputs, EffectiveValue, FlagValues},
};

/// Where a command finds its configuration and its data directory. A flag overrides the environment, the environment
/// overrides the file, and the file overrides the default.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file (TOML). Every key can also be set as WAYPOST__SECTION__KEY
    #[arg(long, value_name = "FILE", env = "WAYPOST_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Data directory: journal, key ring, click files [default: server.data_dir of the configuration, else
    /// waypost-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Loads and validates the configuration from file, environment, `--data-dir` and `flags`.
    ///
    /// # Errors
    /// Every error of the configuration, each with its key and where it was written.
    pub(super) fn load(&self, flags: FlagValues) -> Result<Config, ConfigErrors> {
        self.build_inputs_with_data_dir_flag(flags).load()
    }

    /// Loads and validates `[admin]` alone.
    ///
    /// # Errors
    /// Every error of the section, and of the file if it cannot be read.
    pub(super) fn load_admin_section_alone(&self, flags: FlagValues) -> Result<admin::Config, ConfigErrors> {
        self.build_inputs_with_data_dir_flag(flags).load_admin_section_alone()
    }

    /// Whether a configuration file or a data directory is given.
    pub(super) const fn is_any_given(&self) -> bool {
        self.config.is_some() || self.data_dir.is_some()
    }

    /// The directory given by `--data-dir`.
    pub(super) fn data_dir_flag(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The data directory. The configuration is read only if `--data-dir` is absent, so that a broken configuration
    /// file does not hide a journal.
    ///
    /// # Errors
    /// As [`ConfigArgs::load`].
    pub(super) fn find_data_dir_from_flag_else_config(&self) -> Result<PathBuf, ConfigErrors> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.load(FlagValues::default())?.server.data_dir),
        }
    }

    /// Every key with its effective value and where the value comes from.
    ///
    /// # Errors
    /// As [`ConfigArgs::load`].
    pub(super) fn load_effective_values(&self) -> Result<Vec<EffectiveValue>, ConfigErrors> {
        self.build_inputs_with_data_dir_flag(FlagValues::default()).load_and_list_effective_values()
    }

    fn build_inputs_with_data_dir_flag(
        &self,
        mut flags: FlagValues,
    ) -> ConfigInputs<'_, impl Iterator<Item = (OsString, OsString)>> {
        let dir = self.data_dir.as_ref().map(|dir| dir.display().to_string());
        flags.set("--data-dir", &["server", "data_dir"], dir);
        ConfigInputs { file: self.config.as_deref(), environment: std::env::vars_os(), flags }
    }
}
