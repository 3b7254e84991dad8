//! `waypost check`

use std::{io::Write, process::ExitCode};

use crate::cli::serve::Serve;

/// Reads what `serve` with the same flags would read, and changes nothing.
pub(super) fn run(serve: &Serve) -> anyhow::Result<ExitCode> {
    let config = serve.gather()?;
    writeln!(std::io::stdout(), "configuration: good ({} workers)", config.edge.workers())?;
    Ok(ExitCode::SUCCESS)
}
