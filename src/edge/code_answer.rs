//! The answer to a request for a code.

use http::{HeaderValue, Request, StatusCode};

use crate::{
    attribution::{ATTRIBUTION_WINDOW_MS, claims::CookieClaims},
    edge::{
        answer::{Accounting, Answer, RedirectHeaders},
        click_record::encode_click_without_token_into_scratch,
        code_request::{AgentMemos, CodeRequest},
        context::RequestContext,
        cors,
        decision::{Action, CookieAction, Decision},
        info_page,
        landing::{kind::LandingPage, page::LandingUrls},
        minted_click::MintedClick,
        pages::Page,
        scratch::ScratchBuffers,
        second_lookup::SecondLookup,
        snapshot::Edge,
        target::RequestedCode,
    },
    links::{Link, LockedLink},
    model::click::CookieState,
};

/// Answers a request for a code, and leaves the bytes of its click in `scratch.click`.
pub(super) fn answer_code_and_encode_click<B>(
    edge: &Edge,
    request: &Request<B>,
    target: &RequestedCode<'_>,
    context: &RequestContext,
    scratch: &mut ScratchBuffers,
) -> Answer {
    match edge.find_link(target.host.domain, target.code.as_bytes()) {
        Some(link) if target.host.domain.sub_names.is_empty() => {
            answer_for_link_and_encode_click(edge, request, target, Some(&link), context, scratch)
        }
        link => answer_second_lookup_and_encode_click(edge, request, target, link, context, scratch),
    }
}

/// Answers for a code that no link has, and on a host whose sub ids have names of an old tracker.
#[cold]
fn answer_second_lookup_and_encode_click<B>(
    edge: &Edge,
    request: &Request<B>,
    target: &RequestedCode<'_>,
    link: Option<LockedLink<'_>>,
    context: &RequestContext,
    scratch: &mut ScratchBuffers,
) -> Answer {
    if link.is_none()
        && let Some(page) = info_page::answer_if_asked(edge, request.method(), target, context)
    {
        return page;
    }
    let found = SecondLookup::repair_or_route_unless_found(edge, request.uri().path().as_bytes(), target, link);
    answer_for_link_and_encode_click(edge, request, &found.target(target), found.link(), context, scratch)
}

/// Answers a request for a link, or for a code without one.
fn answer_for_link_and_encode_click<B>(
    edge: &Edge,
    request: &Request<B>,
    target: &RequestedCode<'_>,
    link: Option<&Link>,
    context: &RequestContext,
    scratch: &mut ScratchBuffers,
) -> Answer {
    let headers = request.headers();
    // The request borrows from it, so it is taken out of the buffers meanwhile.
    let mut payload = std::mem::take(&mut scratch.cookie_payload);
    let memos = AgentMemos { preview_fetchers: &mut scratch.preview_fetchers, agents: &mut scratch.agents };
    let request =
        CodeRequest::resolve_facts_and_verify_cookie(edge, request, target, link, context, &mut payload, memos);
    let mut decision = Decision::new(&request);
    let minted = MintedClick::mint_ids_and_render_token_and_location(&request, &mut decision, scratch);
    let set_cookie = build_new_or_expired_cookie_header(&request, &decision, &minted, scratch);
    let sets_cookie = set_cookie.is_some() && decision.cookie == CookieAction::Set;
    encode_click_without_token_into_scratch(&request, &decision, &minted, sets_cookie, scratch);
    let answer = Answer {
        status: decision.status,
        redirect: build_redirect_headers_if_redirect(&request, &decision, scratch),
        set_cookie,
        hsts: None,
        cors: if decision.is_for_app() { cors::headers_for_listed_origin(request.domain, headers) } else { None },
        page: build_body_or_empty_page(&request, &decision, &minted, scratch),
        accounting: accounting_of_click_or_unknown_code(&request, &decision),
    };
    scratch.cookie_payload = payload;
    answer
}

/// `Set-Cookie`: a new cookie, or the end of a presented one.
fn build_new_or_expired_cookie_header(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    minted: &MintedClick<'_>,
    scratch: &mut ScratchBuffers,
) -> Option<HeaderValue> {
    match decision.cookie {
        CookieAction::Set => {
            let claims = CookieClaims {
                visitor: minted.visitor.unwrap_or_default(),
                click_id: minted.id.0,
                domain: request.domain.name.as_bytes(),
                code: request.code,
            };
            scratch.cookie.clear();
            scratch.cookie.extend_from_slice(&request.responses.cookie_prefix);
            request.edge.keys.sign_and_append_cookie_token(request.context.wall_ms, &claims, &mut scratch.cookie);
            scratch.cookie.extend_from_slice(&request.responses.cookie_suffix);
            scratch.cookie_header()
        }
        CookieAction::Expire if request.cookie_state != CookieState::None => {
            Some(request.responses.expired_cookie.clone())
        }
        CookieAction::Expire | CookieAction::Keep => None,
    }
}

fn build_redirect_headers_if_redirect(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    scratch: &mut ScratchBuffers,
) -> Option<RedirectHeaders> {
    let location = match decision.action {
        _ if decision.is_for_app() => return None,
        Action::RedirectToDomainUrl(url) => match url.as_constant_header() {
            Some(constant) => constant.clone(),
            None => scratch.location_header()?,
        },
        Action::RedirectToDestination(_) | Action::LeaveAppBrowser(_) | Action::RedirectToFallback(_) => {
            scratch.location_header()?
        }
        Action::ReturnJson(_)
        | Action::ShowLandingPage(_)
        | Action::ShowGonePage
        | Action::ShowNotFoundPage
        | Action::Empty => return None,
    };
    Some(RedirectHeaders { location, referrer_policy: request.domain.referrer_policy.clone() })
}

fn build_body_or_empty_page(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    minted: &MintedClick<'_>,
    scratch: &ScratchBuffers,
) -> Page {
    if let Some(reason) = decision.reason_for_app {
        return dead_link_json(reason, decision.status, &scratch.location);
    }
    match decision.action {
        Action::ShowGonePage => request.responses.gone.clone(),
        Action::ShowNotFoundPage => request.responses.not_found.clone(),
        Action::ShowLandingPage(page) => build_landing_page(page, request, scratch),
        Action::ReturnJson(_) => Page::click_json(
            serde_json::json!({
                "click_id": String::from_utf8_lossy(&minted.id.text()),
                "click_token": minted.token_key.map(|_| String::from_utf8_lossy(&scratch.token)),
                "location": String::from_utf8_lossy(&scratch.location),
                "expires_at_ms": request.context.wall_ms + ATTRIBUTION_WINDOW_MS,
            })
            .to_string(),
        ),
        Action::RedirectToDestination(_)
        | Action::LeaveAppBrowser(_)
        | Action::RedirectToFallback(_)
        | Action::RedirectToDomainUrl(_)
        | Action::Empty => Page::empty(),
    }
}

/// The page that leads to the destination in place of a redirect.
#[cold]
fn build_landing_page(page: LandingPage, request: &CodeRequest<'_>, scratch: &ScratchBuffers) -> Page {
    let referrer_policy = request.domain.referrer_policy.to_str().unwrap_or_default();
    let urls = LandingUrls { destination: &scratch.location, way_on: &scratch.way_on };
    page.to_html(urls, request.facts.accept_language, referrer_policy)
}

/// What an app is told about a link that is not live, or a code without one; `location` is where a browser would go.
fn dead_link_json(reason: &str, status: StatusCode, location: &[u8]) -> Page {
    let mut body = serde_json::json!({ "reason": reason, "status": status.as_u16() });
    if !location.is_empty() {
        body["location"] = String::from_utf8_lossy(location).into();
    }
    Page::click_json(body.to_string())
}

fn accounting_of_click_or_unknown_code(request: &CodeRequest<'_>, decision: &Decision<'_>) -> Accounting {
    let (outcome, cookie_state) = (decision.outcome, request.cookie_state);
    match request.link {
        Some(_) => {
            let is_uncountable = request.target.is_head || request.facts.is_no_tap();
            Accounting::Click { topic: decision.topic, is_uncountable, outcome, cookie_state }
        }
        None => Accounting::UnknownCode { outcome, cookie_state, client: request.client.address },
    }
}
