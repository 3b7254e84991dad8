//! The record of one click: the bytes that go to the worker's lane.

use crate::{
    client::request_facts::{MAX_SEC_FETCH_LEN, Navigation},
    edge::{
        code_request::CodeRequest, decision::Decision, minted_click::MintedClick, recorded_texts::RecordedTexts,
        scratch::ScratchBuffers,
    },
    links::Link,
    model::click::{Carrier, Click, Flags, Method, Text},
};

/// What stands in a recorded destination for each token behind the first one.
const TOKEN_PLACEHOLDER: &[u8] = b"{click_token}";

/// Encodes the click into `scratch.click`. `sets_cookie`: the answer sets a new cookie.
pub(super) fn encode_click_without_token_into_scratch(
    request: &CodeRequest<'_>,
    decision: &Decision<'_>,
    minted: &MintedClick<'_>,
    sets_cookie: bool,
    scratch: &mut ScratchBuffers,
) {
    copy_location_without_tokens_to_recorded_destination(minted, scratch);
    let ScratchBuffers { click, recorded_destination, recorded_texts, target_facts, .. } = scratch;
    recorded_texts.redact_if_needed(request);
    let token_at = minted.token_offset.map(|offset| offset.0);
    let token_at = recorded_texts.redact_destination_if_needed(request, recorded_destination, token_at);
    let mut buffer = [0; MAX_SEC_FETCH_LEN];
    let sec_fetch = request.facts.write_sec_fetch(&mut buffer);
    click.clear();
    Click {
        id: minted.id.0,
        at_ms: request.context.wall_ms,
        outcome: decision.outcome,
        status: decision.status.as_u16(),
        carrier: if decision.is_for_app() { Carrier::App } else { Carrier::Browser },
        method: if request.target.is_head { Method::Head } else { Method::Get },
        http: request.http_version,
        cookie_state: request.cookie_state,
        visitor: minted.visitor,
        previous: request.cookie.as_ref().map(|claims| claims.click_id),
        address: request.recorded_address,
        address_mode: request.address_mode,
        address_source: request.client.source,
        consent: request.query_facts.consent,
        privacy: request.privacy,
        flags: build_click_flags(request, minted, sets_cookie),
        token_at,
        token_kid: minted.token_key,
        texts: click_texts(request, recorded_texts, recorded_destination, sec_fetch),
        route: request.target.route.map_or(&[], |route| route.name().as_bytes()),
        suspension: request.suspension.map_or(&[], |suspension| suspension.name().as_bytes()),
        target: minted.target.map(|target| target.to_record(target_facts)),
    }
    .encode(click);
}

/// The texts of the click, in the order of [`Text`].
fn click_texts<'a>(
    request: &'a CodeRequest<'a>,
    texts: &'a RecordedTexts,
    destination: &'a [u8],
    sec_fetch: &'a [u8],
) -> [&'a [u8]; Text::COUNT] {
    let (facts, previous) = (&request.facts, request.cookie.as_ref());
    [
        request.domain.name.as_bytes(),
        request.code,
        request.link.map_or(&[], Link::facts),
        destination,
        previous.map_or(&[], |claims| claims.domain),
        previous.map_or(&[], |claims| claims.code),
        texts.query(request),
        texts.user_agent(request),
        texts.referer(request),
        facts.accept_language,
        facts.app_package,
        sec_fetch,
    ]
}

fn build_click_flags(request: &CodeRequest<'_>, minted: &MintedClick<'_>, sets_cookie: bool) -> Flags {
    let mut flags = Flags::default();
    flags.set_if(Flags::COOKIE_SET, sets_cookie);
    flags.set_if(Flags::VISITOR_NEW, minted.visitor.is_some() && request.cookie.is_none());
    flags.set_if(Flags::GPC, request.facts.has_gpc);
    flags.set_if(Flags::PREFETCH, request.facts.is_prefetch);
    flags.set_if(Flags::REPAIRED, request.target.is_repaired);
    flags.set_if(Flags::NON_NAVIGATION, request.facts.navigation == Navigation::NoTab);
    flags
}

/// Copies the location to `scratch.recorded_destination` without its token: a leaked journal or topic holds no bearer
/// tokens. The first token is left out; in place of each further one stands its placeholder, which no URL can hold: a
/// brace is always encoded.
fn copy_location_without_tokens_to_recorded_destination(minted: &MintedClick<'_>, scratch: &mut ScratchBuffers) {
    let ScratchBuffers { location, recorded_destination, token, .. } = scratch;
    recorded_destination.clear();
    let Some(offset) = minted.token_offset else {
        return recorded_destination.extend_from_slice(location);
    };
    let (before, from_token) = location.split_at(usize::from(offset.0));
    recorded_destination.extend_from_slice(before);
    let mut rest = &from_token[token.len()..];
    while rest.len() >= token.len()
        && let Some(at) = memchr::memmem::find(rest, token)
    {
        recorded_destination.extend_from_slice(&rest[..at]);
        recorded_destination.extend_from_slice(TOKEN_PLACEHOLDER);
        rest = &rest[at + token.len()..];
    }
    recorded_destination.extend_from_slice(rest);
}
