//! Reads the orders file.

use std::path::Path;

use anyhow::{Result, bail};

use super::raw_tokens::RawTokenVerifier;
use crate::{
    cli::json_line::{parse_json_object, visit_lines},
    commission::{OrderVersion, group_versions_into_orders},
};

/// Reads every version of every order, and verifies raw tokens.
///
/// # Errors
/// The file cannot be read, or a version is bad; the text names file and line.
pub(super) fn read_order_versions(path: &Path, verifier: &mut RawTokenVerifier<'_>) -> Result<Vec<OrderVersion>> {
    let (mut versions, mut numbers) = (Vec::new(), Vec::new());
    visit_lines(path, |number, line| {
        let mut version: OrderVersion = parse_json_object(line)?;
        verifier.verify_raw_tokens(&mut version)?;
        version.check()?;
        versions.push(version);
        numbers.push(number);
        Ok(())
    })?;
    for order in group_versions_into_orders(&versions) {
        if let Some((version, message)) = order.find_mistake_between_versions() {
            let at = versions.iter().position(|other| std::ptr::eq(other, version)).unwrap_or(0);
            bail!("{}:{}: {message}", path.display(), numbers[at]);
        }
    }
    Ok(versions)
}
