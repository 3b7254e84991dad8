//! What is made for one click: its ids, its URL token, and the destination that carries the token.

use crate::{
    attribution::{
        claims::{UrlClaims, UrlFlags},
        click_id::ClickId,
        key_scope::KeyScope,
        keyring::KeyId,
    },
    client::request_facts::Navigation,
    edge::{
        code_request::CodeRequest,
        decision::{Action, CookieAction, Decision},
        fact_finder::FactFinder,
        scratch::ScratchBuffers,
        target_choice::{ChosenTarget, SplitIds},
    },
    links::{
        Link,
        destination::{PlaceholderValues, TokenOffset, TokenPlace, UrlTemplate},
        targets::Targets,
    },
    model::link::{LinkFacts, SellerAndPartner},
};

/// What was made for one click. Token and destination are in the scratch buffers.
pub(super) struct MintedClick<'a> {
    pub(super) id: ClickId,
    /// The visitor's id, known or new; `None` if the buyer must not be linked or gets no cookie.
    pub(super) visitor: Option<[u8; 16]>,
    /// The key that signed the URL token, if there is one.
    pub(super) token_key: Option<KeyId>,
    /// Where the first token stands in `scratch.location`, bytes; `None` without a token there.
    pub(super) token_offset: Option<TokenOffset>,
    /// The target, on a link that has some. What its conditions saw is in `scratch.target_facts`.
    pub(super) target: Option<ChosenTarget<'a>>,
}

impl<'a> MintedClick<'a> {
    /// Makes the ids, and leaves token and destination in `scratch.token` and `scratch.location`.
    pub(super) fn mint_ids_and_render_token_and_location(
        request: &CodeRequest<'a>,
        decision: &Decision<'a>,
        scratch: &mut ScratchBuffers,
    ) -> MintedClick<'a> {
        let id = ClickId::mint(request.context.id_ms, &request.context.entropy.click_id);
        let visitor = known_or_new_visitor(request, decision);
        scratch.token.clear();
        scratch.location.clear();
        let (Action::RedirectToDestination(link) | Action::ReturnJson(link)) = decision.action else {
            append_url_of_fallback_or_domain(request, decision, &mut scratch.location);
            return MintedClick { id, visitor, token_key: None, token_offset: None, target: None };
        };
        let mut finder = None;
        let target = match link.targets() {
            None => None,
            Some(targets) => {
                let ids = SplitIds { visitor: visitor.as_ref(), click: &id.0 };
                Some(choose_target(link, targets, finder.insert(FactFinder::new(request)), ids, scratch))
            }
        };
        let template = target.as_ref().map_or_else(|| link.url_template(), |target| target.template);
        let token_key = sign_url_token_if_answer_may_carry_it(request, decision, link, &template, id, scratch);
        let token_offset = render_destination_and_return_token_offset(request, &template, id, &mut finder, scratch);
        MintedClick { id, visitor, token_key, token_offset, target }
    }
}

/// The visitor's id: of the cookie, else a new one if the answer sets a cookie.
pub(super) fn known_or_new_visitor(request: &CodeRequest<'_>, decision: &Decision<'_>) -> Option<[u8; 16]> {
    match &request.cookie {
        Some(claims) => Some(claims.visitor),
        None => (decision.cookie == CookieAction::Set).then_some(request.context.entropy.visitor_id),
    }
}

/// A function of its own, so that its state is not part of each click's.
#[inline(never)]
fn choose_target<'a>(
    link: &'a Link,
    targets: Targets<'a>,
    finder: &mut FactFinder<'_, 'a>,
    ids: SplitIds<'_>,
    scratch: &mut ScratchBuffers,
) -> ChosenTarget<'a> {
    let ScratchBuffers { agents, target_facts, .. } = scratch;
    ChosenTarget::choose_and_record_facts(link, targets, finder, ids, agents, target_facts)
}

/// Signs the URL token into `scratch.token`, if the answer may carry one and has a place for it. Gives the key that
/// signed it.
fn sign_url_token_if_answer_may_carry_it(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    link: &Link,
    template: &UrlTemplate<'_>,
    id: ClickId,
    scratch: &mut ScratchBuffers,
) -> Option<KeyId> {
    let has_place = matches!(decision.action, Action::ReturnJson(_)) || has_place_for_token(template, decision);
    if !has_place || !decision.allows_token {
        return None;
    }
    let mut flags = UrlFlags::default();
    flags.set_if(UrlFlags::NAVIGATION, request.facts.navigation == Navigation::Tab);
    flags.set_if(UrlFlags::GPC, request.facts.has_gpc);
    flags.set_if(UrlFlags::UNRECORDED, !request.context.lane_has_room);
    let domain = request.domain.name.as_bytes();
    let claims = UrlClaims { click_id: id.0, domain, code: request.code, flags };
    let scope = choose_seller_partner_or_domain_key_scope(link, &request.domain.name);
    let (keys, now_ms) = (&request.edge.keys, request.context.wall_ms);
    Some(keys.sign_and_append_url_token_and_return_key_id(
        &mut scratch.url_keys,
        now_ms,
        scope,
        &claims,
        &mut scratch.token,
    ))
}

/// Whether the destination has a place for the token of this answer: beside a cookie that reaches the shop it has none.
fn has_place_for_token(template: &UrlTemplate<'_>, decision: &Decision<'_>) -> bool {
    match template.token_place() {
        TokenPlace::None => false,
        TokenPlace::Appended | TokenPlace::Placeholders => true,
        TokenPlace::AppendedWithoutCookie => decision.cookie != CookieAction::Set,
    }
}

/// The scope of the key that signs a link's URL tokens: its seller, else its partner, else its domain.
fn choose_seller_partner_or_domain_key_scope<'a>(link: &'a Link, domain: &'a str) -> KeyScope<'a> {
    let SellerAndPartner { seller, partner } = LinkFacts::decode_seller_and_partner(link.facts()).unwrap_or_default();
    KeyScope::of_seller_else_partner_else_domain(seller, partner, domain)
}

/// Writes the destination into `scratch.location`. Gives the offset of the token in it.
fn render_destination_and_return_token_offset<'r, 'a>(
    request: &'r CodeRequest<'a>,
    template: &UrlTemplate<'_>,
    id: ClickId,
    finder: &mut Option<FactFinder<'r, 'a>>,
    scratch: &mut ScratchBuffers,
) -> Option<TokenOffset> {
    // Few templates ask for the id, and its text costs as much as the rest of a short destination.
    let id_text = if template.has_placeholders() { Some(id.text()) } else { None };
    let values = PlaceholderValues {
        click_id: id_text.as_ref().map_or(&[], |text| text.as_slice()),
        token: (!scratch.token.is_empty()).then_some(&scratch.token[..]),
        query: request.target.destination_query,
        token_param: request.domain.token_param.as_bytes(),
    };
    if template.has_placeholders()
        && let Some(asked) = template.asked_facts()
    {
        let finder = finder.get_or_insert_with(|| FactFinder::new(request));
        finder.find(asked, &mut scratch.agents);
        return template.render_with_facts_and_return_token_offset(&values, &finder.facts, &mut scratch.location);
    }
    template.render_and_return_token_offset(&values, &mut scratch.location)
}

/// Appends the URL of an answer that leads to no destination; nothing for a page.
fn append_url_of_fallback_or_domain(request: &CodeRequest<'_>, decision: &Decision<'_>, location: &mut Vec<u8>) {
    match decision.action {
        Action::RedirectToFallback(url) => location.extend_from_slice(url.as_bytes()),
        Action::RedirectToDomainUrl(url) => url.append_with_code(request.code, location),
        Action::RedirectToDestination(_)
        | Action::ReturnJson(_)
        | Action::ShowGonePage
        | Action::ShowNotFoundPage
        | Action::Empty => {}
    }
}
