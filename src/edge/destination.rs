//! The destination of one click: signs its URL token and fills the URL template with it.

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
    },
    links::{
        Link,
        destination::{PlaceholderValues, TokenOffset, TokenPlace, UrlTemplate},
    },
    model::link::{LinkFacts, SellerAndPartner},
};

/// Signs the URL token into `scratch.token`, if the answer may carry one and `has_place` for it. Gives the key that
/// signed it.
pub(super) fn sign_url_token_if_answer_may_carry_it(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    link: &Link,
    has_place: bool,
    id: ClickId,
    scratch: &mut ScratchBuffers,
) -> Option<KeyId> {
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

/// Whether the answer has a place for its token: in the JSON for an app, or in the destination. Beside a cookie that
/// reaches the shop the destination has none.
#[inline]
pub(super) fn has_place_for_token(template: &UrlTemplate<'_>, decision: &Decision<'_>) -> bool {
    if matches!(decision.action, Action::ReturnJson(_)) {
        return true;
    }
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

/// Appends the destination to `scratch.location`, which is empty. Gives the offset of the token in it. `query` is what
/// the destination may have of the incoming query.
pub(super) fn render_destination_and_return_token_offset<'r, 'a>(
    request: &'r CodeRequest<'a>,
    template: &UrlTemplate<'_>,
    query: &[u8],
    id: ClickId,
    finder: &mut Option<FactFinder<'r, 'a>>,
    scratch: &mut ScratchBuffers,
) -> Option<TokenOffset> {
    // Few templates ask for the id, and its text costs as much as the rest of a short destination.
    let id_text = if template.has_placeholders() { Some(id.text()) } else { None };
    let values = PlaceholderValues {
        click_id: id_text.as_ref().map_or(&[], |text| text.as_slice()),
        token: (!scratch.token.is_empty()).then_some(&scratch.token[..]),
        query,
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
