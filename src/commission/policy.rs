//! The policy: what a programme may decide for itself. Each first value is the default.

use serde::Deserialize;

use crate::word_enum::word_enum;

word_enum! {
    /// Which clicks compete for an order line.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Scope {
        /// The clicks on links that stand for the line's product.
        #[default]
        Product = "product",
        /// All clicks. If the last one does not stand for the line, the line earns nothing.
        Any = "any",
    }
}
word_enum! {
    /// Whether a case that a programme may forbid is credited.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Allowance { Credit = "credit", Refuse = "refuse" }
}

/// The days of a programme, counted from completion, and the cases that it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Which clicks compete for an order line.
    pub scope: Scope,
    /// Platforms whose clicks earn nothing, by the word in the event's `source`.
    pub excluded_sources: Vec<String>,
    /// What a creator buys by the creator's own link.
    pub self_purchase: Allowance,
    /// Clicks whose tokens all came to the shop by another account than the buyer's.
    pub shared_token: Allowance,
    /// Tokens whose click has no record.
    pub token_only: Allowance,
    /// Days from completion until a line is confirmed; also days from payment until the winner is final.
    pub confirm_days: u32,
    /// Days from completion until a line is to be paid.
    pub payable_from_days: u32,
    /// Days from completion until a line must be paid.
    pub payable_until_days: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            scope: Scope::Product,
            excluded_sources: Vec::new(),
            self_purchase: Allowance::Refuse,
            shared_token: Allowance::Credit,
            token_only: Allowance::Credit,
            confirm_days: 14,
            payable_from_days: 21,
            payable_until_days: 30,
        }
    }
}

impl Policy {
    /// Checks the order of the days.
    ///
    /// # Errors
    /// The days are not in the order confirmed, payable from, payable until; the text names them.
    pub fn check_order_of_days(&self) -> Result<(), String> {
        let Policy { confirm_days, payable_from_days, payable_until_days, .. } = self;
        if confirm_days <= payable_from_days && payable_from_days <= payable_until_days {
            return Ok(());
        }
        Err(format!(
            "confirm_days is {confirm_days}, payable_from_days is {payable_from_days}, payable_until_days is \
             {payable_until_days}; allowed is confirm_days ≤ payable_from_days ≤ payable_until_days"
        ))
    }
}
