//! Receipts in a file, as `waypost receipts --json` prints them, with leaves or without.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use serde::Deserialize;

use crate::receipts::SignedReceipt;

/// A line of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Receipt(Box<SignedReceipt>),
    Leaf {
        #[serde(rename = "click_id")]
        _click_id: String,
    },
}

/// Reads the receipts in force of a day from a file, by creator.
///
/// # Errors
/// The file cannot be read, or a line is no signed receipt; the text names file and line.
pub(super) fn read_receipts_in_force_from_file(path: &Path, day: Date) -> Result<BTreeMap<String, SignedReceipt>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut in_force: BTreeMap<String, SignedReceipt> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let signed = match serde_json::from_str::<Line>(line) {
            Ok(Line::Receipt(signed)) => *signed,
            Ok(Line::Leaf { .. }) => continue,
            Err(_) => bail!(
                "{}:{}: is neither a signed receipt nor a leaf; give what `waypost receipts --json` printed",
                path.display(),
                number + 1
            ),
        };
        let revision = |receipt: Option<&SignedReceipt>| receipt.map_or(0, |receipt| receipt.receipt.revision);
        if signed.receipt.day == day.to_string()
            && signed.receipt.revision > revision(in_force.get(&signed.receipt.creator_id))
        {
            in_force.insert(signed.receipt.creator_id.clone(), signed);
        }
    }
    Ok(in_force)
}
