//! Log lines: for people on a terminal, JSON elsewhere. Nothing is logged per request.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, Server};

/// Sets up logging to the standard error stream; says whether lines are JSON. `RUST_LOG` wins over `server.log_level`.
pub(super) fn init(config: &Server) -> bool {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&config.log_level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = stderr().is_terminal();
    let json = match config.log {
        Log::Auto => !terminal,
        Log::Text => false,
        Log::Json => true,
    };
    // A line that cannot be written is lost, in silence: to complain on the same stream would end the process.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    // Only a second call can fail; the first one's settings then stay.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).with_target(false).try_init()
    };
    json
}
