//! The flags for everything that orders are judged by, beside the clicks.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{inputs, orders::read_order_versions, raw_tokens::RawTokenVerifier};
use crate::{
    attribution::keyring::Keyring,
    cli::click_source_args::ClickSourceArgs,
    commission::{ClickRecords, Links, OrderVersion, Policy, ProductSets, Programme},
};

/// Product sets, links, policy, time, and the key ring of raw tokens.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProgrammeArgs {
    /// Entries of product sets, one JSON object a line: what showcases and campaigns stand for
    #[arg(long, value_name = "FILE")]
    product_sets: Option<PathBuf>,
    /// Links file: what a token is credited by whose click has no record
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// The policy, one JSON object; absent keys have their defaults
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The time asked for, milliseconds since the epoch [default: now]
    #[arg(long, value_name = "MS")]
    as_of: Option<u64>,
    /// Key ring that raw tokens in orders are verified with [default: that of --config or --data-dir]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// What orders are judged by, read from the files.
pub(in crate::cli) struct ProgrammeInputs {
    policy: Policy,
    product_sets: ProductSets,
    links: Links,
    as_of_ms: u64,
}

impl ProgrammeInputs {
    pub(in crate::cli) fn programme<'a>(&'a self, records: &'a ClickRecords<'a>) -> Programme<'a> {
        let ProgrammeInputs { policy, product_sets, links, as_of_ms } = self;
        Programme { records, product_sets, links, policy, as_of_ms: *as_of_ms }
    }
}

impl ProgrammeArgs {
    /// The time asked for, milliseconds since the epoch.
    pub(in crate::cli) fn as_of_ms_or(&self, now_ms: u64) -> u64 {
        self.as_of.unwrap_or(now_ms)
    }

    /// Reads policy, product sets and links. Links are judged as of `as_of_ms`, milliseconds since the epoch.
    ///
    /// # Errors
    /// A file cannot be read, or is bad; the text names file and line.
    pub(in crate::cli) fn read_inputs(&self, as_of_ms: u64) -> Result<ProgrammeInputs> {
        Ok(ProgrammeInputs {
            policy: inputs::read_policy_or_default(self.policy.as_deref())?,
            product_sets: inputs::read_product_sets(self.product_sets.as_deref())?,
            links: inputs::read_links(self.links.as_deref(), as_of_ms)?,
            as_of_ms,
        })
    }

    /// Reads the versions of all orders, and verifies raw tokens with the ring of `--keys`, else with that of the
    /// configuration if one is given.
    ///
    /// # Errors
    /// The file cannot be read, or a version is bad; the text names file and line.
    pub(in crate::cli) fn read_order_versions(
        &self,
        path: &Path,
        source: &ClickSourceArgs,
    ) -> Result<Vec<OrderVersion>> {
        read_order_versions(path, &mut RawTokenVerifier::new(|| self.load_ring_if_given(source)))
    }

    fn load_ring_if_given(&self, source: &ClickSourceArgs) -> Result<Option<Keyring>> {
        let path = match &self.keys {
            Some(path) => path.clone(),
            None if source.is_any_given() => {
                let config = source.load_config_with_kafka_flag()?;
                config.attribution.keyring_path(&config.server.data_dir)
            }
            None => return Ok(None),
        };
        Ok(Some(Keyring::load(&path)?))
    }
}
