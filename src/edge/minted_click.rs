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
        scratch::ScratchBuffers,
    },
    links::{
        Link,
        destination::{PlaceholderValues, TokenOffset, TokenPlace},
    },
    model::link::{LinkFacts, SellerAndPartner},
};

/// What was made for one click. Token and destination are in the scratch buffers.
pub(super) struct MintedClick {
    pub(super) id: ClickId,
    /// The visitor's id, known or new; `None` if the buyer must not be linked or gets no cookie.
    pub(super) visitor: Option<[u8; 16]>,
    /// The key that signed the URL token, if there is one.
    pub(super) token_key: Option<KeyId>,
    /// Where the first token stands in `scratch.location`, bytes; `None` without a token there.
    pub(super) token_offset: Option<TokenOffset>,
}

impl MintedClick {
    /// Makes the ids, and leaves token and destination in `scratch.token` and `scratch.location`.
    pub(super) fn mint_ids_and_render_token_and_location(
        request: &CodeRequest<'_>,
        decision: &Decision<'_>,
        scratch: &mut ScratchBuffers,
    ) -> MintedClick {
        let entropy = &request.context.entropy;
        let id = ClickId::mint(request.context.id_ms, &entropy.click_id);
        let visitor = match &request.cookie {
            Some(claims) => Some(claims.visitor),
            None => (decision.cookie == CookieAction::Set).then_some(entropy.visitor_id),
        };
        scratch.token.clear();
        scratch.location.clear();
        let token_key = sign_url_token_if_answer_may_carry_it(request, decision, id, scratch);
        let token_offset = render_location_into_scratch_and_return_token_offset(request, decision, id, scratch);
        MintedClick { id, visitor, token_key, token_offset }
    }
}

/// Signs the URL token into `scratch.token`, if the answer may carry one and has a place for it. Gives the key that
/// signed it.
fn sign_url_token_if_answer_may_carry_it(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    id: ClickId,
    scratch: &mut ScratchBuffers,
) -> Option<KeyId> {
    let link = match decision.action {
        Action::ReturnJson(link) => link,
        Action::RedirectToDestination(link) if has_place_for_token(link, decision) => link,
        _ => return None,
    };
    if !decision.allows_token {
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
fn has_place_for_token(link: &Link, decision: &Decision<'_>) -> bool {
    match link.url_template().token_place() {
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

/// Writes the URL that the answer leads to into `scratch.location`. Gives the offset of the token in it.
fn render_location_into_scratch_and_return_token_offset(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    id: ClickId,
    scratch: &mut ScratchBuffers,
) -> Option<TokenOffset> {
    match decision.action {
        Action::RedirectToDestination(link) | Action::ReturnJson(link) => {
            let template = link.url_template();
            // Few templates ask for the id, and its text costs as much as the rest of a short destination.
            let id_text = if template.has_placeholders() { Some(id.text()) } else { None };
            let values = PlaceholderValues {
                click_id: id_text.as_ref().map_or(&[], |text| text.as_slice()),
                token: (!scratch.token.is_empty()).then_some(&scratch.token[..]),
                query: request.target.destination_query,
                token_param: request.domain.token_param.as_bytes(),
            };
            return template.render_and_return_token_offset(&values, &mut scratch.location);
        }
        Action::RedirectToFallback(url) => scratch.location.extend_from_slice(url.as_bytes()),
        Action::RedirectToDomainUrl(url) => url.append_with_code(request.code, &mut scratch.location),
        Action::ShowGonePage | Action::ShowNotFoundPage | Action::Empty => {}
    }
    None
}
