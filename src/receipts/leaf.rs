//! The leaves of the trees: a click, and an order line that a click earned, with the facts that decided.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;

/// A click as it was counted. It has nothing about the buyer but the click id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickLeaf {
    /// `human`, or what kind of machine.
    pub class: String,
    /// The click.
    pub click_id: String,
    /// Milliseconds since the Unix epoch.
    pub clicked_at_ms: u64,
    /// The link's code.
    pub code: String,
    /// Whether the click counts.
    pub countable: bool,
    /// Why it counts or not.
    pub countable_reason: String,
    /// The domain of the code.
    pub domain: String,
}

/// An order line that a click earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineLeaf {
    /// What was taken back after the line became payable, minor units, at most 0.
    pub clawed_back_minor: i64,
    /// The click that earned it.
    pub click_id: String,
    /// The commission before clawbacks, minor units.
    pub commission_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// The pieces that the commission is for.
    pub kept_quantity: i64,
    /// The line of the order.
    pub line_id: String,
    /// The order.
    pub order_id: String,
    /// The product of the line.
    pub product_id: String,
    /// Pieces that were bought.
    pub quantity: i64,
    /// Hundredths of a percent.
    pub rate_bp: u16,
    /// Why the line has its state.
    pub reason: String,
    /// `pending`, `confirmed`, `payable`, `reversed` or `rejected`.
    pub state: String,
    /// What the buyer paid for the line, minor units.
    pub value_minor: i64,
}

impl Canonical for ClickLeaf {}
impl Canonical for LineLeaf {}
