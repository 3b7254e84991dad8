//! What showcases and campaigns stand for: the entries of product sets, as of a time.

use serde::Deserialize;

use super::json::value_or_default;
use crate::model::link::Plan;

/// The highest rate, in hundredths of a percent: the whole order value.
const MAX_RATE_BP: u16 = 10_000;

/// One entry of a product set. The first four fields are its key; a later entry of the same key replaces it.
#[derive(Clone, Debug, Deserialize)]
pub struct ProductSetEntry {
    product_set_id: String,
    seller_id: String,
    product_id: String,
    /// From when on the entry holds, milliseconds since the epoch.
    valid_from_ms: u64,
    /// The product is in the set no more.
    #[serde(default, deserialize_with = "value_or_default")]
    removed: bool,
    plan: Option<Plan>,
    rate_bp: Option<u16>,
    partner_id: Option<String>,
}

impl ProductSetEntry {
    /// Checks the terms of an entry that is not removed.
    ///
    /// # Errors
    /// The plan or the rate is missing, or the rate is above the whole value; the text names the field.
    pub fn check(&self) -> Result<(), String> {
        if self.removed {
            return Ok(());
        }
        if self.plan.is_none() {
            return Err("plan is missing; an entry has one, or \"removed\":true".to_owned());
        }
        match self.rate_bp {
            None => Err("rate_bp is missing; an entry has one, or \"removed\":true".to_owned()),
            Some(rate) if rate > MAX_RATE_BP => {
                Err(format!("rate_bp is {rate}; allowed are 0 to {MAX_RATE_BP} hundredths of a percent"))
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) const fn is_removed(&self) -> bool {
        self.removed
    }

    pub(super) const fn plan(&self) -> Option<Plan> {
        self.plan
    }

    /// The rate in hundredths of a percent.
    pub(super) fn rate_bp(&self) -> u16 {
        self.rate_bp.unwrap_or(0)
    }

    /// The partner's id; empty if none.
    pub(super) fn partner_id(&self) -> &str {
        self.partner_id.as_deref().unwrap_or_default()
    }

    fn product_key(&self) -> (&str, &str, &str) {
        (&self.product_set_id, &self.seller_id, &self.product_id)
    }
}

/// All entries, ordered by set, seller, product and time.
#[derive(Debug, Default)]
pub struct ProductSets(Vec<ProductSetEntry>);

impl ProductSets {
    /// Takes entries in the order in which they were written. Only the order of entries with the same key matters.
    pub fn from_entries_in_written_order(mut entries: Vec<ProductSetEntry>) -> ProductSets {
        // The sort is stable, and the last of the same key stays.
        entries.reverse();
        entries.sort_by(|one, other| {
            (one.product_key(), one.valid_from_ms).cmp(&(other.product_key(), other.valid_from_ms))
        });
        entries.dedup_by(|one, other| {
            one.product_key() == other.product_key() && one.valid_from_ms == other.valid_from_ms
        });
        ProductSets(entries)
    }

    /// The entry of a product that holds at a time: the one with the greatest `valid_from_ms` that is not later.
    pub(super) fn find_entry_at(&self, set: &str, seller: &str, product: &str, at_ms: u64) -> Option<&ProductSetEntry> {
        let key = (set, seller, product);
        let end = self.0.partition_point(|entry| (entry.product_key(), entry.valid_from_ms) <= (key, at_ms));
        self.0[..end].last().filter(|entry| entry.product_key() == key)
    }
}
