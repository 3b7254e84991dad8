//! `waypost check`

use std::{io::Write, process::ExitCode};

use crate::cli::serve::Serve;

/// Reads what `serve` with the same flags would read, and changes nothing.
pub(super) fn run(serve: &Serve, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let config = serve.gather()?;
    writeln!(out, "configuration: good ({} workers)", config.edge.workers())?;
    Ok(ExitCode::SUCCESS)
}
