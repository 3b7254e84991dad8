//! Reads policy, product sets and links.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{
    cli::json_line::{describe_json_error, parse_json_object, visit_lines},
    commission::{Links, Policy, ProductSetEntry, ProductSets},
    model::link::record::Record,
};

/// Reads the policy: one JSON object in a file.
///
/// # Errors
/// The file cannot be read, a key is unknown or a value not allowed; the text names file and line.
pub(super) fn read_policy_or_default(path: Option<&Path>) -> Result<Policy> {
    let Some(path) = path else { return Ok(Policy::default()) };
    let text = fs::read(path).with_context(|| format!("{}: the policy cannot be read", path.display()))?;
    if text.trim_ascii_start().first() != Some(&b'{') {
        bail!("{}:1: is no JSON object; a policy is one", path.display());
    }
    let policy: Policy = match serde_json::from_slice(&text) {
        Ok(policy) => policy,
        Err(error) => {
            let line_start = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
            let line = &text[line_start.map(<[u8]>::len).sum::<usize>().min(text.len())..];
            bail!("{}:{}: {}", path.display(), error.line(), describe_json_error(line, &error));
        }
    };
    if let Err(message) = policy.check_order_of_days() {
        bail!("{}:1: {message}", path.display());
    }
    Ok(policy)
}

/// Reads entries of product sets, in the order in which they were written.
///
/// # Errors
/// The file cannot be read, or an entry is bad; the text names file and line.
pub(super) fn read_product_sets(path: Option<&Path>) -> Result<ProductSets> {
    let mut entries = Vec::new();
    if let Some(path) = path {
        visit_lines(path, |_, line| {
            let entry: ProductSetEntry = parse_json_object(line)?;
            entry.check()?;
            entries.push(entry);
            Ok(())
        })?;
    }
    Ok(ProductSets::from_entries_in_written_order(entries))
}

/// Reads a links file. Its records are judged as of `as_of_ms`, milliseconds since the epoch.
///
/// # Errors
/// The file cannot be read, or a record is bad; the text names file and line.
pub(super) fn read_links(path: Option<&Path>, as_of_ms: u64) -> Result<Links> {
    let mut links = Links::valid_as_of(as_of_ms);
    if let Some(path) = path {
        visit_lines(path, |_, line| links.add(parse_json_object::<Record>(line)?))?;
    }
    Ok(links)
}
