//! A request for a code, with everything that is known about it before anything is decided.

use std::net::IpAddr;

use http::{Request, Version};

use crate::{
    attribution::{claims::CookieClaims, token::PayloadBuffer},
    client::{
        address::{ClientAddress, truncate_address},
        request_facts::{Navigation, QueryFacts, RequestFacts},
    },
    edge::{
        agent_memo::AgentMemo, client_kind::ClientKind, context::RequestContext, domain_responses::DomainResponses,
        preview_fetchers::PreviewFetchers, snapshot::Edge, target::RequestedCode,
    },
    links::{
        Link,
        domains::{Domain, Gpc},
        suspensions::Suspension,
    },
    model::click::{AddressMode, Consent, CookieState, HttpVersion, Privacy},
};

/// A request for a code and all facts about it. Each is resolved once, here.
pub(super) struct CodeRequest<'a> {
    pub(super) edge: &'a Edge,
    pub(super) context: &'a RequestContext,
    pub(super) target: &'a RequestedCode<'a>,
    pub(super) domain: &'a Domain,
    pub(super) responses: &'a DomainResponses,
    /// The code's link, if there is one.
    pub(super) link: Option<&'a Link>,
    /// The suspension that takes the link out of service.
    pub(super) suspension: Option<&'a Suspension>,
    /// The link's own code, which has one form in a domain that ignores case; of an unknown code the requested one.
    pub(super) code: &'a [u8],
    pub(super) http_version: HttpVersion,
    pub(super) facts: RequestFacts<'a>,
    /// What asks, on a domain that answers apps or their browsers in another way.
    pub(super) client_kind: ClientKind,
    /// A chat or a feed draws a preview of the link. Nobody else's cookie and token may come of its click.
    pub(super) is_preview_fetcher: bool,
    pub(super) query_facts: QueryFacts,
    pub(super) privacy: Privacy,
    pub(super) cookie_state: CookieState,
    /// The claims of a valid cookie, if the buyer may be linked to earlier clicks.
    pub(super) cookie: Option<CookieClaims<'a>>,
    pub(super) client: ClientAddress,
    /// As much of the client's address as the click keeps.
    pub(super) recorded_address: Option<IpAddr>,
    pub(super) address_mode: AddressMode,
}

/// What a worker remembers of user agents.
pub(super) struct AgentMemos<'m> {
    pub(super) preview_fetchers: &'m mut PreviewFetchers,
    pub(super) agents: &'m mut AgentMemo,
}

impl<'a> CodeRequest<'a> {
    /// Resolves every fact about a request. `payload` holds the decoded cookie afterwards.
    pub(super) fn resolve_facts_and_verify_cookie<B>(
        edge: &'a Edge,
        request: &'a Request<B>,
        target: &'a RequestedCode<'a>,
        link: Option<&'a Link>,
        context: &'a RequestContext,
        payload: &'a mut PayloadBuffer,
        memos: AgentMemos<'_>,
    ) -> CodeRequest<'a> {
        let domain = target.host.domain;
        let responses = edge.responses_of(domain);
        let facts = RequestFacts::read_all_headers(request.headers());
        let query_facts = QueryFacts::read(target.query, domain.token_param.as_bytes());
        let privacy = decide_privacy(query_facts.consent, facts.has_gpc, domain.gpc);
        let presented =
            edge.keys.find_and_verify_cookie(context.wall_ms, facts.cookie_headers(), responses.cookie_name, payload);
        let client = edge.trusted_proxies.client_address(request.headers(), context.peer);
        let address_mode = truncate_address_mode_for_privacy(privacy, domain.client_ip);
        CodeRequest {
            edge,
            context,
            target,
            domain,
            responses,
            link,
            suspension: match link {
                Some(link) if !edge.suspensions.is_empty() => edge.suspensions.find(link, domain, context.wall_ms),
                _ => None,
            },
            code: link.map_or(target.code.as_bytes(), Link::code),
            http_version: to_click_http_version(request.version()),
            client_kind: match domain.asks_for_client_kind {
                true => ClientKind::identify(domain, &facts, memos.agents),
                false => ClientKind::Browser,
            },
            // An unknown code gets no cookie and no token anyway.
            is_preview_fetcher: link.is_some() && memos.preview_fetchers.is_preview_fetcher(facts.user_agent),
            facts,
            query_facts,
            privacy,
            cookie_state: presented.state,
            cookie: presented.claims.filter(|_| privacy == Privacy::None),
            recorded_address: truncate_address(client.address, address_mode),
            client,
            address_mode,
        }
    }

    /// Whether an app asks for the click as JSON and resolves the link itself.
    pub(super) fn is_app_resolve(&self) -> bool {
        self.client_kind == ClientKind::ResolvingApp
    }

    /// Whether the request is made for others: nobody has tapped yet. A network can keep the URL to which its fetcher
    /// was led, and lead every buyer there.
    pub(super) fn is_fetched_for_others(&self) -> bool {
        self.facts.is_prefetch || self.is_preview_fetcher
    }

    /// Whether no tab opens the link with this request.
    pub(super) fn is_fetched_without_tap(&self) -> bool {
        self.is_fetched_for_others() || self.target.is_head || self.facts.navigation == Navigation::NoTab
    }
}

/// What GPC and consent take from the click, as the domain's `gpc` says. Refused consent always counts.
fn decide_privacy(consent: Consent, has_gpc: bool, domain_gpc: Gpc) -> Privacy {
    match (consent, has_gpc, domain_gpc) {
        (Consent::Refused, _, _) | (_, true, Gpc::Strict) => Privacy::Strict,
        (_, true, Gpc::Unlinked) => Privacy::Unlinked,
        (_, true, Gpc::Ignore) | (_, false, _) => Privacy::None,
    }
}

/// How much of the address the click keeps. A buyer who must not be linked must not be identified by the whole address
/// either.
fn truncate_address_mode_for_privacy(privacy: Privacy, domain_mode: AddressMode) -> AddressMode {
    match domain_mode {
        AddressMode::Full if privacy != Privacy::None => AddressMode::Truncated,
        mode => mode,
    }
}

fn to_click_http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => HttpVersion::Http10,
        Version::HTTP_2 => HttpVersion::Http2,
        _ => HttpVersion::Http11,
    }
}
