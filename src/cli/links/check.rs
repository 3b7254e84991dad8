//! `waypost links check`

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::place_args::PlaceArgs;
use crate::{
    cli::{
        exit::{self, SOME_REFUSED},
        links_file_check::check_links_file_and_format_summary,
    },
    config::FlagValues,
};

/// The flags of `waypost links check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Links files: a JSON record on each line
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl CheckArgs {
    /// Says of each file whether a server would take it, and if not, names every mistake.
    pub(super) fn check_files_and_print_results(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        place.refuse_server("check")?;
        let config = place.config.load(FlagValues::default())?;
        let mut exit_code = ExitCode::SUCCESS;
        for file in &self.files {
            match check_links_file_and_format_summary(&config, file) {
                Ok(line) => writeln!(out, "{line}")?,
                Err(error) => {
                    eprintln!("{}", exit::format_error_chain_without_repeats(&error));
                    exit_code = ExitCode::from(SOME_REFUSED);
                }
            }
        }
        Ok(exit_code)
    }
}
