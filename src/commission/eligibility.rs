//! Step 5 of the rule: whether a candidate is able to earn, whatever the line. What is not able displaces nothing.
//!
//! The event's `countable`, `duplicate` and `burst` are never read: they count clicks.

use super::{
    candidate::{Candidate, ClickFacts},
    order::Order,
    policy::{Allowance, Policy},
    reason::CandidateReason,
};
use crate::{
    attribution::ATTRIBUTION_WINDOW_MS,
    model::link::{CreatorType, LinkFacts, LinkKind},
};

/// The first reason for which a candidate cannot earn; `None` if the candidate is able.
pub(super) fn find_first_refusal(
    candidate: &Candidate<'_>,
    order: Order<'_>,
    policy: &Policy,
) -> Option<CandidateReason> {
    find_refusal_of_facts(candidate)
        .or_else(|| find_refusal_of_link(&candidate.link()?))
        .or_else(|| find_refusal_of_policy(candidate, order, policy))
        .or_else(|| find_refusal_of_time(candidate.clicked_at_ms, order.paid_at_ms))
}

/// What is wrong with token and record.
fn find_refusal_of_facts(candidate: &Candidate<'_>) -> Option<CandidateReason> {
    match candidate.facts {
        ClickFacts::Unknown => Some(CandidateReason::UnknownClick),
        ClickFacts::ArrivedTooLate => Some(CandidateReason::ArrivedTooLate),
        _ if !candidate.fits => Some(CandidateReason::TokenMismatch),
        ClickFacts::Recorded(record) if record.live_link().is_none() => Some(CandidateReason::Orphan),
        ClickFacts::Recorded(record) if !record.is_human() => Some(CandidateReason::NotHuman),
        ClickFacts::Recorded(_) | ClickFacts::TokenOnly(_) => None,
    }
}

/// What kind of link earns nobody anything.
fn find_refusal_of_link(link: &LinkFacts<'_>) -> Option<CandidateReason> {
    if link.test {
        Some(CandidateReason::TestLink)
    } else if link.kind == LinkKind::Plain {
        Some(CandidateReason::PlainLink)
    } else if link.creator.is_empty() {
        Some(CandidateReason::NoCreator)
    } else if link.kind == LinkKind::Showcase && link.creator_type != Some(CreatorType::Affiliate) {
        Some(CandidateReason::ShowcaseNotAffiliate)
    } else {
        None
    }
}

/// What the programme refuses.
fn find_refusal_of_policy(candidate: &Candidate<'_>, order: Order<'_>, policy: &Policy) -> Option<CandidateReason> {
    let is_refused = |allowance: Allowance| allowance == Allowance::Refuse;
    if let ClickFacts::Recorded(record) = candidate.facts
        && policy.excluded_sources.iter().any(|source| *source == record.source)
    {
        return Some(CandidateReason::ExcludedSource);
    }
    if is_refused(policy.self_purchase) && candidate.creator_id() == order.buyer_creator_id() {
        return Some(CandidateReason::SelfPurchase);
    }
    if is_refused(policy.token_only) && matches!(candidate.facts, ClickFacts::TokenOnly(_)) {
        return Some(CandidateReason::TokenOnly);
    }
    if is_refused(policy.shared_token) && !candidate.is_own {
        return Some(CandidateReason::SharedToken);
    }
    None
}

/// A click earns from its own millisecond to before 14 days later.
fn find_refusal_of_time(clicked_at_ms: u64, paid_at_ms: u64) -> Option<CandidateReason> {
    if clicked_at_ms > paid_at_ms {
        Some(CandidateReason::AfterPayment)
    } else if paid_at_ms >= clicked_at_ms.saturating_add(ATTRIBUTION_WINDOW_MS) {
        Some(CandidateReason::ClickOver14Days)
    } else {
        None
    }
}
