//! The programme's rules: from clicks and orders to commission lines.
//!
//! One pure function of records, orders, product sets, links, a policy and a time: no clock, no I/O, no order of
//! arrival, exact integers. It gives what one perfect cookie jar a buyer and product would give. The rule, step by
//! step, is `docs/attribution.md`; `tests/fixtures/attribution` has one case a rule.
//!
//! ```text
//! step 1   click_record   one record a click           order         first paid and last version of an order
//!      2-4 candidate      by token, by cookie jar, the click's time  (token, links)
//!      5   eligibility    able or not, the first reason
//!      6-7 winner         which candidates stand for the line, and the last of them  (product_set)
//!      8   settlement     what the buyer kept    money   the amount    state   the payout clock
//! out      row
//! ```
//!
//! It runs in a command, never in the edge's process.

mod candidate;
mod click_record;
mod credit;
mod eligibility;
mod json;
mod links;
mod money;
mod order;
mod policy;
mod product_set;
mod reason;
mod row;
mod settlement;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod winner;

pub use self::{
    candidate::Candidate,
    click_record::{ClickRecord, ClickRecords},
    credit::{OrderCredit, Programme},
    links::Links,
    order::{Order, OrderVersion, group_versions_into_orders},
    policy::Policy,
    product_set::{ProductSetEntry, ProductSets},
    reason::{CandidateReason, FoundBy, LineReason, LineState},
    row::{CandidateRow, LineRow},
    token::{OrderToken, TokenFields, TokenKind},
};
