//! Steps 6 and 7 of the rule: which candidates stand for an order line, and which one wins it.

use super::{
    candidate::Candidate,
    order::OrderLine,
    policy::Scope,
    product_set::ProductSets,
    reason::{CandidateReason, LineReason},
};
use crate::model::link::{LINK_LIFETIME_MS, LinkFacts, LinkKind, Plan};

/// The terms on which a click earns from a line: those of the click's own time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) plan: Option<Plan>,
    /// Hundredths of a percent.
    pub(super) rate_bp: u16,
    /// The partner's id; empty if none.
    pub(super) partner_id: &'a str,
}

/// The click that a line is credited to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winner<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) link: LinkFacts<'a>,
    pub(super) terms: Terms<'a>,
}

/// Who wins a line.
#[derive(Clone, Debug)]
pub(super) struct LineContest<'a> {
    pub(super) reason: LineReason,
    pub(super) winner: Option<Winner<'a>>,
    /// The reason of each candidate, in the order of the candidates.
    pub(super) candidate_reasons: Vec<CandidateReason>,
}

/// A candidate, and the reason for which it cannot earn.
pub(super) type JudgedCandidate<'a> = (Candidate<'a>, Option<CandidateReason>);

/// Chooses the winner of a line among the candidates of its order.
pub(super) fn choose_winner<'a>(
    line: &OrderLine,
    judged: &[JudgedCandidate<'a>],
    product_sets: &'a ProductSets,
    scope: Scope,
    paid_at_ms: u64,
) -> LineContest<'a> {
    let standings: Vec<Standing<'a>> =
        judged.iter().map(|(candidate, refusal)| find_standing(candidate, *refusal, line, product_sets)).collect();
    let competes = |standing: &Standing<'_>| match standing {
        Standing::Stands(..) => true,
        Standing::StandsNot(_) => scope == Scope::Any,
        Standing::Unable(_) => false,
    };
    let in_contest = (0..judged.len()).filter(|at| competes(&standings[*at]));
    let last = in_contest.max_by_key(|at| {
        let (candidate, _) = &judged[*at];
        (candidate.is_own, candidate.clicked_at_ms, candidate.key)
    });
    let winner = last.and_then(|at| match standings[at] {
        Standing::Stands(link, terms) => Some(Winner { candidate: judged[at].0, link, terms }),
        Standing::StandsNot(_) | Standing::Unable(_) => None,
    });
    let is_alive = winner.is_some_and(|winner| is_link_alive_at(&winner.link, paid_at_ms));
    let reason_of = |at: usize| match (&standings[at], last) {
        (Standing::Unable(reason), _) => *reason,
        (Standing::StandsNot(reason), Some(last)) if at == last || scope == Scope::Product => *reason,
        (Standing::StandsNot(reason), None) => *reason,
        (_, Some(last)) if at == last && is_alive => CandidateReason::LastClick,
        (_, Some(last)) if at == last => CandidateReason::LinkEnded,
        (_, Some(last)) if judged[last].0.is_own && !judged[at].0.is_own => CandidateReason::SharedToken,
        _ => CandidateReason::EarlierClick,
    };
    LineContest {
        reason: match winner {
            Some(_) if is_alive => LineReason::LastClick,
            Some(_) => LineReason::LinkEnded,
            None => find_reason_without_winner(judged),
        },
        winner: winner.filter(|_| is_alive),
        candidate_reasons: (0..judged.len()).map(reason_of).collect(),
    }
}

/// How a candidate stands to a line.
enum Standing<'a> {
    /// The candidate is able, and its link stands for the line, on these terms.
    Stands(LinkFacts<'a>, Terms<'a>),
    /// The candidate is able, and its link does not stand for the line.
    StandsNot(CandidateReason),
    /// The candidate cannot earn.
    Unable(CandidateReason),
}

/// Step 6: a product link stands for its own product; a showcase or campaign stands for what its set held at the click.
fn find_standing<'a>(
    candidate: &Candidate<'a>,
    refusal: Option<CandidateReason>,
    line: &OrderLine,
    product_sets: &'a ProductSets,
) -> Standing<'a> {
    let link = match (refusal, candidate.link()) {
        (Some(reason), _) => return Standing::Unable(reason),
        (None, None) => return Standing::Unable(CandidateReason::Orphan),
        (None, Some(link)) => link,
    };
    match link.kind {
        LinkKind::Product if (link.seller, link.product) == (&line.seller_id, &line.product_id) => {
            let terms = Terms { plan: link.plan, rate_bp: link.rate_bp, partner_id: link.partner };
            Standing::Stands(link, terms)
        }
        LinkKind::Product => Standing::StandsNot(CandidateReason::OtherProduct),
        LinkKind::Plain => Standing::Unable(CandidateReason::PlainLink),
        LinkKind::Showcase | LinkKind::Campaign => {
            let (seller, product) = (&line.seller_id, &line.product_id);
            let entry = product_sets.find_entry_at(link.product_set, seller, product, candidate.clicked_at_ms);
            match entry.filter(|entry| !entry.is_removed()) {
                None => Standing::StandsNot(CandidateReason::NotInSet),
                Some(entry) => {
                    let partner_id = Some(entry.partner_id()).filter(|partner| !partner.is_empty());
                    let partner_id = partner_id.unwrap_or(link.partner);
                    Standing::Stands(link, Terms { plan: entry.plan(), rate_bp: entry.rate_bp(), partner_id })
                }
            }
        }
    }
}

/// A link earns until its own end, and for at most 100 days from its creation.
fn is_link_alive_at(link: &LinkFacts<'_>, paid_at_ms: u64) -> bool {
    paid_at_ms < link.ends_ms.min(link.created_ms.saturating_add(LINK_LIFETIME_MS))
}

fn find_reason_without_winner(judged: &[JudgedCandidate<'_>]) -> LineReason {
    if judged.is_empty() {
        LineReason::NoClick
    } else if judged.iter().any(|(_, refusal)| refusal.is_none()) {
        LineReason::NotLinkedProduct
    } else if judged.iter().any(|(_, refusal)| *refusal == Some(CandidateReason::ClickOver14Days)) {
        LineReason::ClickOver14Days
    } else {
        LineReason::NoCreditableClick
    }
}
