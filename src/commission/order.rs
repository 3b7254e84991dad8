//! Step 1 of the rule, for orders: the first paid version says who earns by what, the last version says how much.

use serde::Deserialize;

use super::{json::value_or_default, money::MAX_INTEGER, token::OrderToken};

/// A snapshot of an order. Times are milliseconds since the epoch; an absent one has not happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct OrderVersion {
    /// The order.
    pub order_id: String,
    /// When the shop made this version.
    pub updated_at_ms: u64,
    /// When the buyer committed; for cash on delivery the time of the checkout.
    #[serde(default)]
    pub paid_at_ms: Option<u64>,
    /// When the order was delivered.
    #[serde(default)]
    pub completed_at_ms: Option<u64>,
    #[serde(default)]
    pub(super) cancelled_at_ms: Option<u64>,
    /// The buyer's account at the shop.
    #[serde(default)]
    pub(super) buyer_id: Option<String>,
    /// The buyer's own creator account.
    #[serde(default)]
    pub(super) buyer_creator_id: Option<String>,
    /// Every token that the shop kept for the buyer.
    #[serde(default, deserialize_with = "value_or_default")]
    pub click_tokens: Vec<OrderToken>,
    #[serde(default, deserialize_with = "value_or_default")]
    pub(super) lines: Vec<OrderLine>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct OrderLine {
    pub(super) line_id: String,
    pub(super) seller_id: String,
    pub(super) product_id: String,
    /// Pieces, at least 1.
    pub(super) quantity: i64,
    /// What the buyer paid for the whole line, in minor units of the currency.
    pub(super) value_minor: i64,
    pub(super) currency: String,
    #[serde(default, deserialize_with = "value_or_default")]
    pub(super) returns: Vec<LineReturn>,
}

/// Pieces that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct LineReturn {
    pub(super) returned_at_ms: u64,
    pub(super) quantity: i64,
}

impl OrderVersion {
    /// Checks everything but the form of the JSON, and that raw tokens were verified.
    ///
    /// # Errors
    /// The first mistake; the text names the field, the line and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if let (Some(paid), Some(completed)) = (self.paid_at_ms, self.completed_at_ms)
            && completed < paid
        {
            return Err(format!("completed_at_ms {completed} is before paid_at_ms {paid}; an order is paid first"));
        }
        for (at, token) in self.click_tokens.iter().enumerate() {
            token.check().map_err(|message| format!("click_tokens[{at}]: {message}"))?;
        }
        for (at, line) in self.lines.iter().enumerate() {
            line.check().map_err(|message| format!("line {:?}: {message}", line.line_id))?;
            if self.lines[..at].iter().any(|earlier| earlier.line_id == line.line_id) {
                return Err(format!("line_id {:?} stands twice; each line of an order has its own", line.line_id));
            }
        }
        Ok(())
    }
}

impl OrderLine {
    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_INTEGER).contains(&self.quantity) {
            return Err(format!("quantity is {}; allowed are 1 to {MAX_INTEGER}", self.quantity));
        }
        if !(0..=MAX_INTEGER).contains(&self.value_minor) {
            return Err(format!("value_minor is {}; allowed are 0 to {MAX_INTEGER} minor units", self.value_minor));
        }
        match self.returns.iter().find(|returned| !(1..=MAX_INTEGER).contains(&returned.quantity)) {
            Some(returned) => {
                Err(format!("returns: quantity is {}; allowed are 1 to {MAX_INTEGER}", returned.quantity))
            }
            None => Ok(()),
        }
    }
}

/// The two versions of an order that matter.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The first version that has a time of payment.
    pub(super) first_paid: &'a OrderVersion,
    /// When the buyer committed.
    pub(super) paid_at_ms: u64,
    /// The last version.
    pub(super) last: &'a OrderVersion,
}

impl<'a> Order<'a> {
    /// The order's id.
    pub fn order_id(&self) -> &'a str {
        &self.first_paid.order_id
    }

    /// The version that contradicts another one, and the mistake: the last version says that the order was completed
    /// before the first paid one says that it was paid.
    pub fn find_mistake_between_versions(&self) -> Option<(&'a OrderVersion, String)> {
        let completed = self.last.completed_at_ms.filter(|completed| *completed < self.paid_at_ms)?;
        let paid = self.paid_at_ms;
        let message = format!(
            "completed_at_ms {completed} is before paid_at_ms {paid} of the order's first paid version; an order is \
             paid first"
        );
        Some((self.last, message))
    }

    /// When the buyer committed, milliseconds since the epoch.
    pub const fn paid_at_ms(&self) -> u64 {
        self.paid_at_ms
    }

    /// The buyer's account; empty if unknown.
    pub(super) fn buyer_id(&self) -> &'a str {
        self.first_paid.buyer_id.as_deref().unwrap_or_default()
    }

    /// The buyer's own creator account; empty if unknown.
    pub(super) fn buyer_creator_id(&self) -> &'a str {
        self.first_paid.buyer_creator_id.as_deref().unwrap_or_default()
    }
}

/// Groups versions into orders, by the bytes of the order id. Versions can stand in any order and be repeated. An order
/// without a time of payment is left out.
pub fn group_versions_into_orders(versions: &[OrderVersion]) -> Vec<Order<'_>> {
    let mut sorted: Vec<&OrderVersion> = versions.iter().collect();
    // By the whole content last: two versions of one time that differ are still taken in a fixed order.
    sorted.sort_by(|one, other| {
        (&one.order_id, one.updated_at_ms).cmp(&(&other.order_id, other.updated_at_ms)).then_with(|| one.cmp(other))
    });
    let of_one_order = sorted.chunk_by(|one, other| one.order_id == other.order_id);
    let orders = of_one_order.filter_map(|versions| {
        let (first_paid, paid_at_ms) =
            versions.iter().find_map(|version| version.paid_at_ms.map(|paid| (*version, paid)))?;
        versions.last().map(|last| Order { first_paid, paid_at_ms, last })
    });
    orders.collect()
}
