//! The rule as one function: from an order to the rows of its lines. The steps are those of `docs/attribution.md`.

use super::{
    candidate::{Candidate, Sources, collect_candidates},
    click_record::ClickRecords,
    eligibility::find_first_refusal,
    links::Links,
    money::compute_commission_minor,
    order::{Order, OrderLine},
    policy::Policy,
    product_set::ProductSets,
    reason::{CandidateReason, Flag, LineState},
    row::{CandidateRow, ClawbackRow, CreditRow, LineRow, TimesRow},
    settlement::Settlement,
    state::{CreditedState, DAY_MS, find_state_of_credited_line},
    winner::{JudgedCandidate, LineContest, Winner, choose_winner},
};
use crate::model::link::Plan;

/// Everything that an order is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Programme<'a> {
    /// The records of clicks.
    pub records: &'a ClickRecords<'a>,
    /// What showcases and campaigns stand for.
    pub product_sets: &'a ProductSets,
    /// What tokens without a record are credited by.
    pub links: &'a Links,
    /// The policy.
    pub policy: &'a Policy,
    /// The time asked for, milliseconds since the epoch.
    pub as_of_ms: u64,
}

/// An order with its candidates and the row of each line.
#[derive(Clone, Debug)]
pub struct OrderCredit<'a> {
    /// The candidates, the latest first.
    pub candidates: Vec<Candidate<'a>>,
    /// The lines by the bytes of their ids.
    pub rows: Vec<LineRow<'a>>,
}

impl<'a> Programme<'a> {
    /// Credits the lines of an order. An order that is paid after `as_of_ms` has no rows.
    pub fn credit_order(&self, order: Order<'a>) -> OrderCredit<'a> {
        if order.paid_at_ms > self.as_of_ms {
            return OrderCredit { candidates: Vec::new(), rows: Vec::new() };
        }
        let freeze_at_ms = order.paid_at_ms.saturating_add(u64::from(self.policy.confirm_days) * DAY_MS);
        // Steps 2 to 4.
        let sources = Sources { records: self.records, links: self.links };
        let candidates = collect_candidates(order, sources, freeze_at_ms);
        // Step 5.
        let judge = |candidate: &Candidate<'a>| (*candidate, find_first_refusal(candidate, order, self.policy));
        let judged: Vec<JudgedCandidate<'a>> = candidates.iter().map(judge).collect();
        let mut lines: Vec<&'a OrderLine> = order.first_paid.lines.iter().collect();
        lines.sort_by_key(|line| &line.line_id);
        let rows = lines.into_iter().map(|line| {
            // Steps 6 and 7.
            let contest = choose_winner(line, &judged, self.product_sets, self.policy.scope, order.paid_at_ms);
            // Step 8.
            let settled = Settlement::as_of(order, line, self.as_of_ms);
            self.build_row(order, line, freeze_at_ms, &candidates, contest, &settled)
        });
        let rows = rows.collect();
        OrderCredit { candidates, rows }
    }

    fn build_row(
        &self,
        order: Order<'a>,
        paid_line: &'a OrderLine,
        freeze_at_ms: u64,
        candidates: &[Candidate<'a>],
        contest: LineContest<'a>,
        settled: &Settlement<'a>,
    ) -> LineRow<'a> {
        let genuine = order.first_paid.click_tokens.iter().filter(|token| token.genuine().is_some()).count();
        let reasons: &[CandidateReason] = &contest.candidate_reasons;
        let mut row = LineRow {
            order_id: order.order_id(),
            line_id: &paid_line.line_id,
            as_of_ms: self.as_of_ms,
            freeze_at_ms,
            seller_id: &paid_line.seller_id,
            product_id: &paid_line.product_id,
            currency: &settled.line.currency,
            quantity: settled.line.quantity,
            value_minor: settled.line.value_minor,
            state: LineState::Rejected,
            reason: contest.reason,
            commission_minor: 0,
            credit: None,
            times: None,
            bad_tokens: (order.first_paid.click_tokens.len() - genuine) as u64,
            candidates: candidates.iter().zip(reasons).map(|(one, reason)| CandidateRow::new(one, *reason)).collect(),
        };
        if let Some(winner) = contest.winner {
            let credited = find_state_of_credited_line(settled, self.policy, self.as_of_ms);
            row.state = credited.state;
            row.reason = credited.reason;
            row.commission_minor = commission_for(settled, credited.kept_quantity, winner.terms.rate_bp);
            row.credit = Some(build_credit(&winner, &credited, settled));
            row.times = credited.times.map(|times| TimesRow {
                confirmed_at_ms: times.confirmed_at_ms,
                payable_from_ms: times.payable_from_ms,
                payable_until_ms: times.payable_until_ms,
            });
        }
        row
    }
}

/// C(kept) of a settled line.
fn commission_for(settled: &Settlement<'_>, kept: i64, rate_bp: u16) -> i64 {
    compute_commission_minor(settled.line.value_minor, kept, settled.line.quantity, rate_bp)
}

fn build_credit<'a>(winner: &Winner<'a>, credited: &CreditedState, settled: &Settlement<'_>) -> CreditRow<'a> {
    let Winner { candidate, link, terms } = winner;
    let is_token_only = candidate.is_token_only();
    let flags = [
        (Flag::TokenOnly, is_token_only),
        (Flag::Unjournaled, is_token_only && candidate.is_unjournaled),
        (Flag::SharedToken, !candidate.is_own),
    ];
    CreditRow {
        kept_quantity: credited.kept_quantity,
        click_id: candidate.key.click_id,
        clicked_at_ms: candidate.clicked_at_ms,
        domain: candidate.key.domain,
        code: candidate.key.code,
        link_kind: link.kind.as_str(),
        creator_id: link.creator,
        campaign_id: link.campaign,
        product_set_id: link.product_set,
        partner_id: terms.partner_id,
        plan: terms.plan.map(Plan::as_str),
        rate_bp: terms.rate_bp,
        flags: flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect(),
        clawbacks: build_clawbacks(credited, settled, terms.rate_bp),
    }
}

/// One clawback for each moment from `payable_from_ms` on: C(after) − C(before).
fn build_clawbacks(credited: &CreditedState, settled: &Settlement<'_>, rate_bp: u16) -> Vec<ClawbackRow> {
    let Some(times) = credited.times else { return Vec::new() };
    let mut kept = credited.kept_quantity;
    let moments = settled.take_backs_from(times.payable_from_ms).into_iter().map(|taken| {
        let before = commission_for(settled, kept, rate_bp);
        kept -= taken.quantity;
        ClawbackRow {
            returned_at_ms: taken.at_ms,
            quantity: taken.quantity,
            amount_minor: commission_for(settled, kept, rate_bp) - before,
        }
    });
    moments.collect()
}
