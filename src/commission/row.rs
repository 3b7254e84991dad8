//! The output of one order line, as `waypost attribute --json` prints it. Left out: what is absent, empty or zero,
//! except amounts, quantities and rates that are part of the answer.

use serde::Serialize;

use super::{
    candidate::Candidate,
    reason::{CandidateReason, Flag, FoundBy, LineReason, LineState},
};

/// One order line.
#[derive(Clone, Debug, Serialize)]
pub struct LineRow<'a> {
    /// The order.
    pub order_id: &'a str,
    /// The line of the order.
    pub line_id: &'a str,
    /// The time asked for, milliseconds since the epoch.
    pub as_of_ms: u64,
    /// From when on the winner is final, milliseconds since the epoch.
    pub freeze_at_ms: u64,
    /// The seller of the line.
    pub seller_id: &'a str,
    /// The product of the line.
    pub product_id: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// Pieces that were bought.
    pub quantity: i64,
    /// What the buyer paid for the line, in minor units.
    pub value_minor: i64,
    /// The state as of the time asked for.
    pub state: LineState,
    /// Why.
    pub reason: LineReason,
    /// The commission in minor units, before clawbacks.
    pub commission_minor: i64,
    /// The winner; `None` where nobody is credited.
    #[serde(flatten)]
    pub credit: Option<CreditRow<'a>>,
    /// When a completed line is confirmed and paid; `None` where everything was taken back.
    #[serde(flatten)]
    pub times: Option<TimesRow>,
    /// Tokens of the order that are not genuine.
    #[serde(skip_serializing_if = "is_zero")]
    pub bad_tokens: u64,
    /// Every candidate of the order, the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateRow<'a>>,
}

/// Who is credited for a line, by what, on which terms.
#[derive(Clone, Debug, Serialize)]
pub struct CreditRow<'a> {
    pub kept_quantity: i64,
    pub click_id: &'a str,
    pub clicked_at_ms: u64,
    pub domain: &'a str,
    pub code: &'a str,
    pub link_kind: &'static str,
    /// The creator who earns.
    pub creator_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub campaign_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub product_set_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub partner_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<&'static str>,
    /// Hundredths of a percent.
    pub rate_bp: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// What was taken back after the line became payable, one a moment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clawbacks: Vec<ClawbackRow>,
}

impl CreditRow<'_> {
    /// Whether the click has no record, and was credited by its token and its link.
    pub fn is_token_only(&self) -> bool {
        self.flags.contains(&Flag::TokenOnly)
    }
}

/// When a line is confirmed and paid, milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimesRow {
    pub confirmed_at_ms: u64,
    pub payable_from_ms: u64,
    pub payable_until_ms: u64,
}

/// Pieces taken back after the line became payable.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClawbackRow {
    pub returned_at_ms: u64,
    pub quantity: i64,
    /// Minor units, at most 0.
    pub amount_minor: i64,
}

/// One candidate of the order, and why it won or lost this line.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CandidateRow<'a> {
    /// The click.
    pub click_id: &'a str,
    /// The domain of the code.
    pub domain: &'a str,
    /// The link's code.
    pub code: &'a str,
    /// The click's time, milliseconds since the epoch.
    pub clicked_at_ms: u64,
    /// How the candidate was found.
    pub found_by: FoundBy,
    /// `won` or `lost`.
    pub result: &'static str,
    /// Why.
    pub reason: CandidateReason,
}

impl<'a> CandidateRow<'a> {
    pub(super) fn new(candidate: &Candidate<'a>, reason: CandidateReason) -> CandidateRow<'a> {
        CandidateRow {
            click_id: candidate.key.click_id,
            domain: candidate.key.domain,
            code: candidate.key.code,
            clicked_at_ms: candidate.clicked_at_ms,
            found_by: candidate.found_by,
            result: if reason == CandidateReason::LastClick { "won" } else { "lost" },
            reason,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
