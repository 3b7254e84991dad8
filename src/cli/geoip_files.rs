//! The MMDB files for commands that label clicks of a journal.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    config::Config,
    geoip::{Databases, LoadedFiles},
};

/// Loads the configured files. One that cannot be used is told on the standard error stream, and its labels are left
/// out: a click is worth more than its labels.
pub(super) fn load_usable_geoip_files_and_warn(config: &Config) -> Arc<ArcSwap<Databases>> {
    let LoadedFiles { databases, refused } = Databases::load(&config.geoip);
    refused.iter().for_each(|error| eprintln!("waypost: {error}; its labels are left out"));
    Arc::new(ArcSwap::from_pointee(databases))
}
