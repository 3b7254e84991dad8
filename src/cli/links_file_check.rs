//! Checks a links file as a server would load it.

use std::{path::Path, sync::atomic::AtomicU64};

use anyhow::Result;

use crate::{
    cli::kept_domains::load_domains,
    clock,
    config::Config,
    links::{
        batch::BatchRules,
        file::{self, LoadRequest},
    },
};

/// Returns the line about a links file, with its warnings below.
///
/// # Errors
/// The file cannot be read, or breaks rules; each mistake is named with its line.
pub(super) fn check_links_file_and_format_summary(config: &Config, path: &Path) -> Result<String> {
    let domains = load_domains(config)?;
    let rules = BatchRules {
        policy: &config.links.destination_policy(),
        domains: &domains,
        now_ms: clock::wall_ms(),
        served: None,
        latest_version: &AtomicU64::new(0),
        allow_shrink: config.links.allow_shrink,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let loaded = file::load_and_validate_file(&LoadRequest { path, rules, threads, progress: &|_| {} })?;
    let mut text = format!("links: good, {} in {}", loaded.links, path.display());
    for warning in &loaded.warnings {
        text += &format!("\n{}:{}:{}: warning: {}", path.display(), warning.line, warning.column, warning.message);
    }
    let more = loaded.warnings_total.saturating_sub(loaded.warnings.len() as u64);
    if more > 0 {
        text += &format!("\n{more} more warnings");
    }
    Ok(text)
}
