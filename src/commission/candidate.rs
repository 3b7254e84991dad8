//! Steps 2 to 4 of the rule: which clicks of an order can be looked at, what is known of them, and their time.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    click_record::{ClickRecord, ClickRecords},
    links::Links,
    order::Order,
    reason::FoundBy,
    token::{GenuineToken, TokenKind},
};
use crate::{
    attribution::{ATTRIBUTION_WINDOW_MS, key_scope::KeyScope},
    model::link::LinkFacts,
};

/// The longest time by which a landing is earlier than its click and believed: the edge's clock was ahead. A day,
/// milliseconds.
const MAX_CLOCK_AHEAD_MS: u64 = 86_400_000;

/// What names a candidate. The order is that of the rule's last tie-breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CandidateKey<'a> {
    /// The click.
    pub click_id: &'a str,
    /// The domain of the code.
    pub domain: &'a str,
    /// The link's code.
    pub code: &'a str,
}

/// What is known of a candidate's click and link.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClickFacts<'a> {
    /// The click's record.
    Recorded(&'a ClickRecord<'a>),
    /// No record, but the link: class and source of the click are unknown.
    TokenOnly(LinkFacts<'a>),
    /// Neither record nor link.
    Unknown,
    /// No link, and a record that arrived at the freeze or after it.
    ArrivedTooLate,
}

/// A click that may have led to the order.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What names it.
    pub key: CandidateKey<'a>,
    /// The click's time by step 4, milliseconds since the epoch.
    pub clicked_at_ms: u64,
    /// How it was found.
    pub found_by: FoundBy,
    pub(super) facts: ClickFacts<'a>,
    /// A token fits, or the click lies in the buyer's cookie jar.
    pub(super) fits: bool,
    /// A fitting token is the buyer's own, or the click lies in the buyer's cookie jar.
    pub(super) is_own: bool,
    /// A fitting token says that the edge could not record the click.
    pub(super) is_unjournaled: bool,
}

impl<'a> Candidate<'a> {
    /// The facts of the link, as of the click; `None` for an orphan and for what is not known.
    pub(super) fn link(&self) -> Option<LinkFacts<'a>> {
        match self.facts {
            ClickFacts::Recorded(record) => record.live_link(),
            ClickFacts::TokenOnly(link) => Some(link),
            ClickFacts::Unknown | ClickFacts::ArrivedTooLate => None,
        }
    }

    /// Whether the click has no record, and its link is known.
    pub(super) const fn is_token_only(&self) -> bool {
        matches!(self.facts, ClickFacts::TokenOnly(_))
    }

    /// The creator of the link; empty if unknown.
    pub fn creator_id(&self) -> &'a str {
        self.link().map_or("", |link| link.creator)
    }
}

/// What the steps read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'a> {
    pub(super) records: &'a ClickRecords<'a>,
    pub(super) links: &'a Links,
}

/// Collects the candidates of an order. A record that arrived at `freeze_at_ms` or later does not exist for the order.
/// The latest candidate comes first: the greatest time, click id, domain and code.
pub(super) fn collect_candidates<'a>(order: Order<'a>, sources: Sources<'a>, freeze_at_ms: u64) -> Vec<Candidate<'a>> {
    let mut drafts: BTreeMap<CandidateKey<'a>, CandidateDraft<'a>> = BTreeMap::new();
    let mut jars: BTreeSet<&'a str> = BTreeSet::new();
    // Step 2: by token.
    for token in order.first_paid.click_tokens.iter().filter_map(|token| token.genuine()) {
        let key = CandidateKey { click_id: token.click_id, domain: token.domain, code: token.code };
        let draft = drafts.entry(key).or_insert_with(|| CandidateDraft {
            facts: find_facts(key, sources, freeze_at_ms),
            found_by: FoundBy::Token,
            ..CandidateDraft::default()
        });
        let is_own = draft.add_token_and_tell_if_fitting_and_own(key, &token, order.buyer_id());
        // Step 3: an own token opens a cookie jar.
        jars.extend(draft.jar_opened_by(&token).filter(|_| is_own));
    }
    // Step 3: by cookie jar.
    for record in jars.iter().flat_map(|jar| sources.records.of_visitor(jar)) {
        let is_within_window = record.clicked_at_ms <= order.paid_at_ms
            && order.paid_at_ms < record.clicked_at_ms.saturating_add(ATTRIBUTION_WINDOW_MS);
        if is_within_window && record.arrived_at_ms < freeze_at_ms {
            let key = CandidateKey { click_id: &record.click_id, domain: &record.domain, code: &record.code };
            let draft = drafts.entry(key).or_insert_with(|| CandidateDraft {
                facts: ClickFacts::Recorded(record),
                found_by: FoundBy::Visitor,
                ..CandidateDraft::default()
            });
            (draft.fits, draft.is_own) = (true, true);
        }
    }
    let mut candidates: Vec<Candidate<'a>> = drafts.into_iter().map(|(key, draft)| draft.into_candidate(key)).collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse((candidate.clicked_at_ms, candidate.key)));
    candidates
}

/// The facts of a token's click: its record's; without a record those of the link.
fn find_facts<'a>(key: CandidateKey<'a>, sources: Sources<'a>, freeze_at_ms: u64) -> ClickFacts<'a> {
    let record = sources.records.find(key.click_id);
    match record.filter(|record| record.arrived_at_ms < freeze_at_ms) {
        Some(record) => ClickFacts::Recorded(record),
        None => match (sources.links.find(key.domain, key.code), record) {
            (Some(link), _) => ClickFacts::TokenOnly(link),
            (None, Some(_)) => ClickFacts::ArrivedTooLate,
            (None, None) => ClickFacts::Unknown,
        },
    }
}

/// A candidate while its tokens are added.
struct CandidateDraft<'a> {
    facts: ClickFacts<'a>,
    found_by: FoundBy,
    fits: bool,
    is_own: bool,
    is_unjournaled: bool,
    /// The earliest time that a token names: of the fitting ones, else of all.
    token_time_ms: Option<u64>,
    earliest_landing_ms: Option<u64>,
}

impl Default for CandidateDraft<'_> {
    fn default() -> Self {
        CandidateDraft {
            facts: ClickFacts::Unknown,
            found_by: FoundBy::Token,
            fits: false,
            is_own: false,
            is_unjournaled: false,
            token_time_ms: None,
            earliest_landing_ms: None,
        }
    }
}

impl<'a> CandidateDraft<'a> {
    fn add_token_and_tell_if_fitting_and_own(
        &mut self,
        key: CandidateKey<'_>,
        token: &GenuineToken<'_>,
        buyer_id: &str,
    ) -> bool {
        let fits = does_token_fit(key, token, self.facts);
        if fits && !self.fits {
            self.token_time_ms = None;
        }
        if fits || !self.fits {
            self.token_time_ms = earlier_of(self.token_time_ms, Some(token.clicked_at_ms));
        }
        if !fits {
            return false;
        }
        let is_own = token.was_landed_by(buyer_id);
        self.fits = true;
        self.is_own |= is_own;
        self.is_unjournaled |= token.is_unjournaled;
        self.earliest_landing_ms = earlier_of(self.earliest_landing_ms, token.landed_at_ms);
        is_own
    }

    /// The cookie jar that a token opens: a cookie's own, else its record's.
    fn jar_opened_by(&self, token: &GenuineToken<'a>) -> Option<&'a str> {
        let named = if token.kind == TokenKind::Cookie { token.visitor_id } else { "" };
        let recorded = match self.facts {
            ClickFacts::Recorded(record) => &*record.visitor_id,
            _ => "",
        };
        [named, recorded].into_iter().find(|jar| !jar.is_empty())
    }

    /// Step 4: the click's time.
    fn into_candidate(self, key: CandidateKey<'a>) -> Candidate<'a> {
        let told_ms = match self.facts {
            ClickFacts::Recorded(record) => record.clicked_at_ms,
            _ => self.token_time_ms.unwrap_or(0),
        };
        let is_believed = |landed: &u64| *landed < told_ms && told_ms <= landed.saturating_add(MAX_CLOCK_AHEAD_MS);
        Candidate {
            key,
            clicked_at_ms: self.earliest_landing_ms.filter(is_believed).unwrap_or(told_ms),
            found_by: self.found_by,
            facts: self.facts,
            fits: self.fits,
            is_own: self.is_own,
            is_unjournaled: self.is_unjournaled,
        }
    }
}

fn earlier_of(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether domain and code of a token are those of the facts, and the audience of a URL token is the facts' seller,
/// else partner, else domain: a shop has the key of its own audience and could sign for itself.
fn does_token_fit(key: CandidateKey<'_>, token: &GenuineToken<'_>, facts: ClickFacts<'_>) -> bool {
    let (seller, partner) = match facts {
        ClickFacts::Recorded(record) if (key.domain, key.code) != (&record.domain, &record.code) => return false,
        ClickFacts::Recorded(record) => record.seller_and_partner(),
        ClickFacts::TokenOnly(link) => (link.seller, link.partner),
        ClickFacts::Unknown | ClickFacts::ArrivedTooLate => return false,
    };
    let scope = KeyScope::of_seller_else_partner_else_domain(seller, partner, key.domain);
    token.kind == TokenKind::Cookie || token.audience == (scope.kind_word(), scope.name())
}
