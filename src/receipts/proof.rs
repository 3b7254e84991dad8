//! The path that shows that a click was counted, and the order lines that it earned.

use serde::{Deserialize, Serialize};

use super::{
    canonical::{Canonical, format_hash, parse_hash},
    leaf::{ClickLeaf, LineLeaf},
    merkle::{Hash, compute_path, root_of_path},
    receipt::{CountedDay, SignedReceipt},
};

/// A click, its place among the clicks of the receipt, and the way from its leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickProof {
    /// The leaf.
    pub click: ClickLeaf,
    /// The place of the leaf, from 0.
    pub index: u64,
    /// The order lines that the click earned.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lines: Vec<LineProof>,
    /// The hashes beside the way, from the leaf up.
    pub path: Vec<String>,
    /// The receipt that states the root.
    pub receipt: SignedReceipt,
}

/// An order line with its way to the root of the lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineProof {
    /// The place of the leaf, from 0.
    pub index: u64,
    /// The leaf.
    pub line: LineLeaf,
    /// The hashes beside the way, from the leaf up.
    pub path: Vec<String>,
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotProved {
    /// The day has no such click.
    NoSuchClick,
    /// The receipt states another day, or other counts and roots than these leaves give.
    OtherReceipt,
}

impl ClickProof {
    /// Proves a click by the receipt of its day.
    ///
    /// # Errors
    /// The day lacks the click, or the receipt does not state the day.
    pub fn prove(counted: &CountedDay, click_id: &str, receipt: &SignedReceipt) -> Result<ClickProof, NotProved> {
        if !counted.is_stated_as_far_as_known_by(&receipt.receipt) {
            return Err(NotProved::OtherReceipt);
        }
        let found = counted.clicks().binary_search_by(|click| click.click_id.as_str().cmp(click_id));
        let index = found.map_err(|_| NotProved::NoSuchClick)?;
        let line_hashes = counted.line_hashes();
        let earned = counted.lines().iter().enumerate().filter(|(_, line)| line.click_id == click_id);
        let lines = earned.filter_map(|(index, line)| {
            let path = format_path(&compute_path(&line_hashes, index)?);
            Some(LineProof { index: index as u64, line: line.clone(), path })
        });
        Ok(ClickProof {
            click: counted.clicks()[index].clone(),
            index: index as u64,
            lines: lines.collect(),
            path: format_path(&compute_path(&counted.click_hashes(), index).ok_or(NotProved::NoSuchClick)?),
            receipt: receipt.clone(),
        })
    }

    /// Whether every path leads to the root that the receipt states. Says nothing about the signature.
    pub fn leads_to_stated_roots(&self) -> bool {
        let receipt = &self.receipt.receipt;
        let clicks = &receipt.clicks;
        let leads = |hash: Hash, index: u64, count: u64, path: &[String], root: &str| {
            let (Ok(index), Ok(count)) = (usize::try_from(index), usize::try_from(count)) else { return false };
            let path: Option<Vec<Hash>> = path.iter().map(|hash| parse_hash(hash)).collect();
            let found = path.and_then(|path| root_of_path(hash, index, count, &path));
            found.is_some_and(|found| format_hash(&found) == root)
        };
        leads(self.click.leaf_hash(), self.index, clicks.count, &self.path, &clicks.root)
            && self.lines.iter().all(|proof| {
                let is_of_click = proof.line.click_id == self.click.click_id;
                is_of_click
                    && receipt.lines.as_ref().is_some_and(|lines| {
                        leads(proof.line.leaf_hash(), proof.index, lines.count, &proof.path, &lines.root)
                    })
            })
    }
}

fn format_path(path: &[Hash]) -> Vec<String> {
    path.iter().map(format_hash).collect()
}
