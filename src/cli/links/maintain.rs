//! `waypost links verify` and `backup`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::place_args::PlaceArgs;
use crate::catalog;

/// The flags of `waypost links backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl BackupArgs {
    pub(super) fn back_up(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let data_dir = place.find_data_dir("backup")?;
        catalog::open_reader_of(&data_dir)?.back_up_to(&self.file)?;
        writeln!(out, "backed up to {}; to restore it, put it in the place of DATA/catalog.db", self.file.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn verify_and_print_result(place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
    let catalog = place.open_data_dir("verify")?;
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
