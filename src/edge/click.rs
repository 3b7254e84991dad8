//! A request for a code, from the facts of the request to the answer and the click's bytes.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::{HeaderValue, Request, Version};

use crate::{
    attribution::{
        keys::{Audience, SellerKeys},
        mint::ClickId,
        token::{CookieClaims, Payload, UrlClaims, UrlFlags},
    },
    client::{self, Facts},
    edge::{
        Answer, Edge, Moment, Record, Room,
        decide::{self, Cookie, Decision, Signals, Way},
        pages::Page,
        target::Asked,
    },
    links::{Link, destination::Fill, domains::Domain},
    model::click::{
        AddressFrom, AddressMode, Carrier, Click, Consent, CookieState, Flags, HttpVersion, Method, Privacy,
    },
    model::link::LinkFacts,
};

/// The bytes taken from the allocator at once for header values: about a hundred answers'.
const HEADER_CHUNK: usize = 32 * 1024;
/// How long a click earns, milliseconds: 14 days (design §1).
const EARNS_MS: u64 = 14 * 86_400_000;

/// A worker's buffers, reused from click to click.
#[derive(Default)]
pub struct Scratch {
    /// The click's bytes, for the lane.
    pub click: Vec<u8>,
    token: Vec<u8>,
    cookie: Vec<u8>,
    location: Vec<u8>,
    /// The location without its token.
    destination: Vec<u8>,
    headers: BytesMut,
    sellers: SellerKeys,
}

/// One request for a code: what it says, before anything is decided.
struct Visit<'a> {
    edge: &'a Edge,
    domain: &'a Domain,
    asked: &'a Asked<'a>,
    /// The link's own code, which a domain that ignores case has in one form whatever was asked; of an unknown code what
    /// was asked.
    code: &'a [u8],
    moment: &'a Moment,
    http: HttpVersion,
    facts: Facts<'a>,
    consent: Consent,
    privacy: Privacy,
    app: bool,
    cookie_state: CookieState,
    /// The presented cookie, if it is valid and this buyer may be linked.
    cookie: Option<CookieClaims<'a>>,
    address: (Option<IpAddr>, AddressMode, AddressFrom),
}

/// What was made for this click.
struct Minted {
    id: ClickId,
    visitor: Option<[u8; 16]>,
    token_kid: Option<[u8; 8]>,
    /// Where in the location the token stands.
    token_at: Option<u16>,
}

/// Answers a request for a code. The steps are 2 to 6 of a click's life.
pub(super) fn answer<B>(
    edge: &Edge,
    request: &Request<B>,
    asked: &Asked<'_>,
    moment: &Moment,
    scratch: &mut Scratch,
) -> Answer {
    let domain = edge.domains.of_host(asked.host);
    // The shard's guard is dropped here: what follows holds the link alone.
    let link = edge.table.get(domain.id, asked.code.as_bytes()).map(|found| Link::clone(&found));
    let mut payload = Payload::default();
    let code = link.as_ref().map_or(asked.code.as_bytes(), Link::code);
    let visit = Visit::read(edge, request, asked, code, domain, moment, &mut payload);
    let decision = decide::decide(link.as_ref(), domain, moment.wall_ms, visit.signals());
    let minted = visit.mint(&decision, scratch);
    let set_cookie = visit.set_cookie(&decision, &minted, scratch);
    visit.write(&decision, &minted, link.as_ref(), set_cookie.is_some(), scratch);
    Answer {
        status: decision.status,
        location: visit.location(&decision, scratch),
        set_cookie,
        hsts: None,
        page: visit.page(&decision, &minted, scratch),
        record: match link {
            Some(_) => Record::Click(decision.topic, decision.outcome, visit.cookie_state),
            None => Record::Unknown(decision.outcome, visit.cookie_state),
        },
    }
}

impl<'a> Visit<'a> {
    fn read<B>(
        edge: &'a Edge,
        request: &'a Request<B>,
        asked: &'a Asked<'a>,
        code: &'a [u8],
        domain: &'a Domain,
        moment: &'a Moment,
        payload: &'a mut Payload,
    ) -> Visit<'a> {
        let headers = request.headers();
        let facts = Facts::read(headers);
        let consent = client::consent(asked.query);
        let privacy = decide::privacy(consent, facts.gpc, domain);
        let name = edge.prepared(domain).cookie_name;
        let (cookie_state, cookie) = edge.keys.read_cookie(moment.wall_ms, facts.cookies(), name, payload);
        let (address, from) = edge.trusted.address(headers, moment.peer);
        // Who asks not to be linked is not found by address either.
        let coarse = privacy != Privacy::None && domain.client_ip == AddressMode::Full;
        let mode = if coarse { AddressMode::Truncated } else { domain.client_ip };
        Visit {
            edge,
            domain,
            asked,
            code,
            moment,
            http: http_version(request.version()),
            app: edge.asks_for_json.find(facts.accept).is_some(),
            facts,
            consent,
            privacy,
            cookie_state,
            cookie: cookie.filter(|_| privacy == Privacy::None),
            address: (client::coarsen(address, mode), mode, from),
        }
    }

    fn signals(&self) -> Signals {
        Signals {
            prefetch: self.facts.prefetch,
            head: self.asked.head,
            app: self.app,
            non_navigation: self.facts.non_navigation,
            privacy: self.privacy,
        }
    }

    /// Makes the click's ids and leaves token and location in `scratch`.
    fn mint(&self, decision: &Decision<'_>, scratch: &mut Scratch) -> Minted {
        let id = self.moment.seed.click_id(self.moment.id_ms);
        let visitor = match &self.cookie {
            Some(claims) => Some(claims.visitor),
            None => (decision.cookie == Cookie::Set).then_some(self.moment.seed.visitor),
        };
        scratch.token.clear();
        scratch.location.clear();
        let token_kid = self.sign(decision, id, scratch);
        let token = (!scratch.token.is_empty()).then_some(&scratch.token[..]);
        let token_at = match decision.way {
            Way::Link(link) | Way::Json(link) => {
                let fill = Fill {
                    click_id: &id.text(),
                    token,
                    query: self.asked.query,
                    token_param: self.domain.token_param.as_bytes(),
                };
                link.skeleton().render(&fill, &mut scratch.location)
            }
            Way::Url(url) => {
                scratch.location.extend_from_slice(url.as_bytes());
                None
            }
            Way::Prepared(url) => {
                scratch.location.extend_from_slice(url.as_bytes());
                None
            }
            Way::Gone | Way::NotFound | Way::Nowhere => None,
        };
        Minted { id, visitor, token_kid, token_at }
    }

    /// Signs the URL token if this answer may carry one and somebody will read it.
    fn sign(&self, decision: &Decision<'_>, id: ClickId, scratch: &mut Scratch) -> Option<[u8; 8]> {
        let link = match decision.way {
            Way::Json(link) => link,
            Way::Link(link) if link.skeleton().wants_token() => link,
            _ => return None,
        };
        if !decision.token {
            return None;
        }
        let mut flags = UrlFlags::default();
        flags.set_if(UrlFlags::NAVIGATION, self.facts.navigation);
        flags.set_if(UrlFlags::GPC, self.facts.gpc);
        flags.set_if(UrlFlags::UNJOURNALED, self.moment.room == Room::None);
        let (domain, code) = (self.domain.name.as_bytes(), self.code);
        let claims = UrlClaims { click_id: id.0, domain, code, flags };
        let (memo, out) = (&mut scratch.sellers, &mut scratch.token);
        Some(self.edge.keys.sign_url(memo, self.moment.wall_ms, audience(link, self.domain), &claims, out))
    }

    fn set_cookie(&self, decision: &Decision<'_>, minted: &Minted, scratch: &mut Scratch) -> Option<HeaderValue> {
        let prepared = self.edge.prepared(self.domain);
        match decision.cookie {
            Cookie::Set => {
                let claims = CookieClaims {
                    visitor: minted.visitor.unwrap_or_default(),
                    click_id: minted.id.0,
                    domain: self.domain.name.as_bytes(),
                    code: self.code,
                };
                scratch.cookie.clear();
                scratch.cookie.extend_from_slice(&prepared.cookie_before);
                self.edge.keys.sign_cookie(self.moment.wall_ms, &claims, &mut scratch.cookie);
                scratch.cookie.extend_from_slice(&prepared.cookie_after);
                header_value(&mut scratch.headers, &scratch.cookie)
            }
            Cookie::Expire if self.cookie_state != CookieState::None => Some(prepared.cookie_expired.clone()),
            Cookie::Expire | Cookie::Keep => None,
        }
    }

    fn location(&self, decision: &Decision<'_>, scratch: &mut Scratch) -> Option<(HeaderValue, HeaderValue)> {
        let value = match decision.way {
            Way::Prepared(url) => url.clone(),
            Way::Link(_) | Way::Url(_) => header_value(&mut scratch.headers, &scratch.location)?,
            Way::Json(_) | Way::Gone | Way::NotFound | Way::Nowhere => return None,
        };
        Some((value, self.domain.referrer_policy.clone()))
    }

    fn page(&self, decision: &Decision<'_>, minted: &Minted, scratch: &Scratch) -> Page {
        let prepared = self.edge.prepared(self.domain);
        match decision.way {
            Way::Gone => prepared.gone.clone(),
            Way::NotFound => prepared.not_found.clone(),
            Way::Json(_) => Page::click(
                serde_json::json!({
                    "click_id": String::from_utf8_lossy(&minted.id.text()),
                    "click_token": minted.token_kid.map(|_| String::from_utf8_lossy(&scratch.token)),
                    "location": String::from_utf8_lossy(&scratch.location),
                    "expires_at_ms": self.moment.wall_ms + EARNS_MS,
                })
                .to_string(),
            ),
            Way::Link(_) | Way::Url(_) | Way::Prepared(_) | Way::Nowhere => Page::empty(),
        }
    }

    /// Leaves the click's bytes in `scratch.click`.
    fn write(
        &self,
        decision: &Decision<'_>,
        minted: &Minted,
        link: Option<&Link>,
        cookie_set: bool,
        scratch: &mut Scratch,
    ) {
        let mut flags = Flags::default();
        flags.set_if(Flags::COOKIE_SET, cookie_set && decision.cookie == Cookie::Set);
        flags.set_if(Flags::VISITOR_NEW, minted.visitor.is_some() && self.cookie.is_none());
        flags.set_if(Flags::GPC, self.facts.gpc);
        flags.set_if(Flags::PREFETCH, self.facts.prefetch);
        flags.set_if(Flags::NON_NAVIGATION, self.facts.non_navigation);
        // The token is cut out of the record: a journal or a topic that leaks holds no bearer tokens.
        scratch.destination.clear();
        let (before, behind) = scratch.location.split_at(minted.token_at.map_or(scratch.location.len(), usize::from));
        scratch.destination.extend_from_slice(before);
        if minted.token_at.is_some() {
            scratch.destination.extend_from_slice(&behind[scratch.token.len()..]);
        }
        let mut sec_fetch = [0; 64];
        let (address, address_mode, address_from) = self.address;
        let previous = self.cookie.as_ref();
        scratch.click.clear();
        Click {
            id: minted.id.0,
            at_ms: self.moment.wall_ms,
            outcome: decision.outcome,
            status: decision.status.as_u16(),
            carrier: if matches!(decision.way, Way::Json(_)) { Carrier::App } else { Carrier::Browser },
            method: if self.asked.head { Method::Head } else { Method::Get },
            http: self.http,
            cookie_state: self.cookie_state,
            visitor: minted.visitor,
            previous: previous.map(|claims| claims.click_id),
            address,
            address_mode,
            address_from,
            consent: self.consent,
            privacy: self.privacy,
            flags,
            token_at: minted.token_at,
            token_kid: minted.token_kid,
            texts: [
                self.domain.name.as_bytes(),
                self.code,
                link.map_or(&[], Link::facts),
                &scratch.destination,
                previous.map_or(&[], |claims| claims.domain),
                previous.map_or(&[], |claims| claims.code),
                self.asked.query,
                self.facts.user_agent,
                self.facts.referer,
                self.facts.accept_language,
                self.facts.app_package,
                self.facts.sec_fetch(&mut sec_fetch),
            ],
        }
        .encode(&mut scratch.click);
    }
}

/// Makes a header value in a worker's chunk. Every part was validated where it was made (configuration, link, token
/// alphabet, percent-encoded query); should one slip through, the header is left out, never sent broken.
fn header_value(chunk: &mut BytesMut, bytes: &[u8]) -> Option<HeaderValue> {
    if chunk.capacity() < bytes.len() {
        chunk.reserve(HEADER_CHUNK.max(bytes.len()));
    }
    chunk.put_slice(bytes);
    HeaderValue::from_maybe_shared(chunk.split().freeze()).ok()
}

fn http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => HttpVersion::Http10,
        Version::HTTP_2 => HttpVersion::Http2,
        _ => HttpVersion::Http11,
    }
}

/// Whose key signs the URL token: the link's seller's, else its partner's, else the domain's.
fn audience<'a>(link: &'a Link, domain: &'a Domain) -> Audience<'a> {
    let facts = LinkFacts::decode(link.facts());
    let (seller, partner) = facts.map_or(("", ""), |facts| (facts.seller, facts.partner));
    Audience::of(seller, partner, &domain.name)
}
