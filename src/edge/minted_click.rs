//! What is made for one click: its ids, its URL token, and the destination that carries the token.

use crate::{
    attribution::{click_id::ClickId, keyring::KeyId},
    edge::{
        code_request::CodeRequest,
        decision::{Action, CookieAction, Decision},
        destination::{
            has_place_for_token, render_destination_and_return_token_offset, sign_url_token_if_answer_may_carry_it,
        },
        landing::choice::{ClickIds, Landing},
        scratch::ScratchBuffers,
        target_choice::ChosenTarget,
    },
    links::destination::TokenOffset,
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
    /// The target, where a click can end elsewhere than at the link's own URL. What was looked at for it is in
    /// `scratch.target_facts`.
    pub(super) target: Option<ChosenTarget<'a>>,
}

impl<'a> MintedClick<'a> {
    /// Makes the ids, and leaves token and destination in `scratch.token` and `scratch.location`. Where a page leads on
    /// in place of a redirect, the decision says so afterwards.
    pub(super) fn mint_ids_and_render_token_and_location(
        request: &CodeRequest<'a>,
        decision: &mut Decision<'a>,
        scratch: &mut ScratchBuffers,
    ) -> MintedClick<'a> {
        let id = ClickId::mint(request.context.id_ms, &request.context.entropy.click_id);
        let visitor = known_or_new_visitor(request, decision);
        scratch.token.clear();
        scratch.location.clear();
        let link = match decision.action {
            Action::RedirectToDestination(link) | Action::ReturnJson(link)
                if !link.leads_elsewhere() && !request.domain.leads_elsewhere =>
            {
                link
            }
            Action::RedirectToDestination(link) | Action::ReturnJson(link) | Action::LeaveAppBrowser(link) => {
                let ids = ClickIds { click: id, visitor };
                let Landing { target, token_key, token_offset } =
                    Landing::choose_and_render(request, decision, link, ids, scratch);
                return MintedClick { id, visitor, token_key, token_offset, target: Some(target) };
            }
            _ => {
                append_url_of_fallback_or_domain(request, decision, &mut scratch.location);
                return MintedClick { id, visitor, token_key: None, token_offset: None, target: None };
            }
        };
        let template = link.url_template();
        let has_place = has_place_for_token(&template, decision);
        let token_key = sign_url_token_if_answer_may_carry_it(request, decision, link, has_place, id, scratch);
        let query = request.target.destination_query;
        let token_offset =
            render_destination_and_return_token_offset(request, &template, query, id, &mut None, scratch);
        MintedClick { id, visitor, token_key, token_offset, target: None }
    }
}

/// The visitor's id: of the cookie, else a new one if the answer sets a cookie.
pub(super) fn known_or_new_visitor(request: &CodeRequest<'_>, decision: &Decision<'_>) -> Option<[u8; 16]> {
    match &request.cookie {
        Some(claims) => Some(claims.visitor),
        None => (decision.cookie == CookieAction::Set).then_some(request.context.entropy.visitor_id),
    }
}

/// Appends the URL of an answer that leads to no destination; nothing for a page.
fn append_url_of_fallback_or_domain(request: &CodeRequest<'_>, decision: &Decision<'_>, location: &mut Vec<u8>) {
    match decision.action {
        Action::RedirectToFallback(url) => location.extend_from_slice(url.as_bytes()),
        Action::RedirectToDomainUrl(url) => url.append_with_code(request.code, location),
        Action::RedirectToDestination(_)
        | Action::LeaveAppBrowser(_)
        | Action::ReturnJson(_)
        | Action::ShowLandingPage(_)
        | Action::ShowGonePage
        | Action::ShowNotFoundPage
        | Action::Empty => {}
    }
}
