//! `waypost links verify` and `backup`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::data_dir::OfflineCatalog;
use crate::{catalog, cli::config_args::ConfigArgs};

/// The flags of `waypost links backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl BackupArgs {
    pub(super) fn back_up(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let data_dir = config.find_data_dir_from_flag_else_config()?;
        catalog::open_reader_of(&data_dir)?.back_up_to(&self.file)?;
        writeln!(out, "backed up to {}; to restore it, put it in the place of DATA/catalog.db", self.file.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn verify_and_print_result(config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
    let catalog = OfflineCatalog::open(config)?;
    let damage = catalog.reader()?.find_damage()?;
    for line in &damage {
        eprintln!("{line}");
    }
    if damage.is_empty() {
        writeln!(out, "the catalog is sound, at version {}", catalog.reader()?.version()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
