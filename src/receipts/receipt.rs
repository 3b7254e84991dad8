//! The receipt of a creator's day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    canonical::{Canonical, format_hash},
    leaf::{ClickLeaf, LineLeaf},
    merkle::{Hash, compute_root},
    signing_key::{SigningKey, verify_signature},
};

/// The type of a receipt, by which its signature cannot pass for one over anything else.
const RECEIPT_TYPE: &str = "waypost.receipt.v1";

/// What was counted for a creator on a day. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The time as of which the order lines have their states.
    pub as_of_ms: u64,
    /// The clicks.
    pub clicks: ClickTotals,
    /// Whether the topics proved that no click of the day is missing.
    pub complete: bool,
    /// The creator.
    pub creator_id: String,
    /// The day, UTC, such as `2026-11-21`.
    pub day: String,
    /// When the receipt was made.
    pub issued_at_ms: u64,
    /// The key that signs it.
    pub key_id: String,
    /// The order lines that these clicks earned; `None` if no orders were given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lines: Option<LineTotals>,
    /// The SHA-256 of the canonical bytes of the receipt that this one corrects; `None` in the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<String>,
    /// 1 in the first receipt of the creator's day, one more in each correction.
    pub revision: u64,
    /// Always `waypost.receipt.v1`.
    #[serde(rename = "type")]
    pub receipt_type: String,
}

/// The clicks of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickTotals {
    /// The leaves of the tree.
    pub count: u64,
    /// Those that count.
    pub countable: u64,
    /// By class, code, countable and domain, in this order.
    pub groups: Vec<ClickGroup>,
    /// The root of the tree of clicks.
    pub root: String,
}

/// Clicks that agree in what they are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickGroup {
    /// As in the leaf.
    pub class: String,
    /// How many.
    pub clicks: u64,
    /// As in the leaf.
    pub code: String,
    /// As in the leaf.
    pub countable: bool,
    /// As in the leaf.
    pub domain: String,
}

/// The order lines of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTotals {
    /// The leaves of the tree.
    pub count: u64,
    /// The root of the tree of lines.
    pub root: String,
    /// By currency and state, in this order.
    pub totals: Vec<LineTotal>,
}

/// The sums of one currency and state, minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTotal {
    /// At most 0.
    pub clawed_back_minor: i64,
    /// Before clawbacks.
    pub commission_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// How many.
    pub lines: u64,
    /// As in the leaf.
    pub state: String,
}

impl Canonical for Receipt {}

/// The leaves of a creator's day, sorted, with each click and line once.
#[derive(Clone, Debug, Default)]
pub struct CountedDay {
    clicks: Vec<ClickLeaf>,
    lines: Option<Vec<LineLeaf>>,
}

impl CountedDay {
    /// Sorts the leaves. `lines`: `None` if no orders were given.
    pub fn new(mut clicks: Vec<ClickLeaf>, mut lines: Option<Vec<LineLeaf>>) -> CountedDay {
        clicks.sort_by(|one, other| one.click_id.cmp(&other.click_id));
        clicks.dedup_by(|one, other| one.click_id == other.click_id);
        if let Some(lines) = &mut lines {
            lines.sort_by(|one, other| (&one.order_id, &one.line_id).cmp(&(&other.order_id, &other.line_id)));
        }
        CountedDay { clicks, lines }
    }

    /// The clicks by click id.
    pub fn clicks(&self) -> &[ClickLeaf] {
        &self.clicks
    }

    /// The lines by order id and line id; none if no orders were given.
    pub fn lines(&self) -> &[LineLeaf] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub(super) fn click_hashes(&self) -> Vec<Hash> {
        self.clicks.iter().map(Canonical::leaf_hash).collect()
    }

    pub(super) fn line_hashes(&self) -> Vec<Hash> {
        self.lines().iter().map(Canonical::leaf_hash).collect()
    }

    fn total_clicks(&self) -> ClickTotals {
        let mut groups: BTreeMap<(&str, &str, bool, &str), u64> = BTreeMap::new();
        for ClickLeaf { class, code, countable, domain, .. } in &self.clicks {
            *groups.entry((class, code, *countable, domain)).or_default() += 1;
        }
        let groups = groups.into_iter().map(|((class, code, countable, domain), clicks)| ClickGroup {
            class: class.to_owned(),
            clicks,
            code: code.to_owned(),
            countable,
            domain: domain.to_owned(),
        });
        ClickTotals {
            count: self.clicks.len() as u64,
            countable: self.clicks.iter().filter(|click| click.countable).count() as u64,
            groups: groups.collect(),
            root: format_hash(&compute_root(&self.click_hashes())),
        }
    }

    fn total_lines(&self) -> Option<LineTotals> {
        let lines = self.lines.as_ref()?;
        let mut totals: BTreeMap<(&str, &str), LineTotal> = BTreeMap::new();
        for line in lines {
            let total = totals.entry((&line.currency, &line.state)).or_insert_with(|| LineTotal {
                clawed_back_minor: 0,
                commission_minor: 0,
                currency: line.currency.clone(),
                lines: 0,
                state: line.state.clone(),
            });
            total.lines += 1;
            total.commission_minor = total.commission_minor.saturating_add(line.commission_minor);
            total.clawed_back_minor = total.clawed_back_minor.saturating_add(line.clawed_back_minor);
        }
        Some(LineTotals {
            count: lines.len() as u64,
            root: format_hash(&compute_root(&self.line_hashes())),
            totals: totals.into_values().collect(),
        })
    }

    /// Whether the receipt states these clicks, and these lines if they are known: counts and roots agree.
    pub(super) fn is_stated_as_far_as_known_by(&self, receipt: &Receipt) -> bool {
        self.total_clicks() == receipt.clicks && (self.lines.is_none() || self.total_lines() == receipt.lines)
    }
}

/// What a receipt says beside the counts.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptTerms<'a> {
    /// The creator.
    pub creator_id: &'a str,
    /// The day, such as `2026-11-21`.
    pub day: &'a str,
    /// The time as of which the order lines have their states.
    pub as_of_ms: u64,
    /// When the receipt is made.
    pub issued_at_ms: u64,
    /// Whether the topics proved that no click of the day is missing.
    pub complete: bool,
}

/// A receipt with its signature: the value of a record on the topic of receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// Ed25519 over the receipt's canonical bytes, base64url without padding.
    pub signature: String,
}

impl SignedReceipt {
    /// Makes and signs the receipt of a day. `previous` is the receipt in force; if it says the same already, it is
    /// returned as it is.
    pub fn issue(
        terms: ReceiptTerms<'_>,
        counted: &CountedDay,
        previous: Option<&SignedReceipt>,
        key: &SigningKey,
    ) -> SignedReceipt {
        let receipt = Receipt {
            as_of_ms: terms.as_of_ms,
            clicks: counted.total_clicks(),
            complete: terms.complete,
            creator_id: terms.creator_id.to_owned(),
            day: terms.day.to_owned(),
            issued_at_ms: terms.issued_at_ms,
            key_id: key.key_id(),
            lines: counted.total_lines(),
            previous: previous.map(|previous| previous.receipt.hash_text()),
            revision: previous.map_or(1, |previous| previous.receipt.revision.saturating_add(1)),
            receipt_type: RECEIPT_TYPE.to_owned(),
        };
        match previous {
            Some(previous) if previous.receipt.says_the_same_as(&receipt) => previous.clone(),
            _ => {
                let signature = key.sign(&receipt.canonical_bytes());
                SignedReceipt { receipt, signature }
            }
        }
    }

    /// Whether this public key made the signature.
    pub fn is_signed_by(&self, key: &SigningKey) -> bool {
        self.receipt.receipt_type == RECEIPT_TYPE
            && self.receipt.key_id == key.key_id()
            && verify_signature(&key.public_key(), &self.receipt.canonical_bytes(), &self.signature)
    }
}

impl Receipt {
    /// The SHA-256 of the canonical bytes, by which a correction names the receipt.
    pub fn hash_text(&self) -> String {
        format_hash(&Sha256::digest(self.canonical_bytes()).into())
    }

    /// Whether another receipt states the same counts under the same key.
    fn says_the_same_as(&self, other: &Receipt) -> bool {
        let own = (&self.creator_id, &self.day, &self.key_id, &self.clicks, &self.lines, self.complete);
        own == (&other.creator_id, &other.day, &other.key_id, &other.clicks, &other.lines, other.complete)
    }
}
