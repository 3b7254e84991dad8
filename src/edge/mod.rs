//! The edge: one pure function turns a request into an answer and the bytes of its click.
//!
//! A click's life:
//!
//! 1. Read the target: which code on which host ([`target`]). Refusals and fixed paths end here.
//! 2. Look the code up in its domain.
//! 3. Gather what the request says: prefetch, navigation, app, consent, the cookie it presents.
//! 4. Decide by the link's state and these facts ([`decide`]): one outcome, and what it may carry.
//! 5. Mint: the click's id, its URL token, the destination, the cookie.
//! 6. Write the click's bytes for the lane ([`click`] holds 3 to 6).
//! 7. [`service`] appends them, then sends the answer.
//!
//! Nothing here waits, reads a clock or fails: `now`, `seed` and `room` come in, every failure is an outcome.

pub mod click;
pub mod decide;
pub mod pages;
pub mod prepared;
pub mod secure;
pub mod service;
pub mod tally;
pub mod target;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use memchr::memmem::Finder;

use crate::{
    attribution::{keys::Keyring, mint::Seed},
    client::Trusted,
    edge::{
        click::Scratch,
        pages::Page,
        prepared::Prepared,
        secure::{Challenges, Secure},
        target::{Fixed, Refusal, Target},
    },
    links::{
        Table,
        domains::{Domain, Domains},
    },
    model::click::{CookieState, Outcome, Topic},
    net::peer::Peer,
};

/// Everything an answer depends on but the request itself. Immutable: a reload builds another and swaps it in.
pub struct Edge {
    table: Arc<Table>,
    keys: Arc<Keyring>,
    domains: Arc<Domains>,
    trusted: Arc<Trusted>,
    /// By domain id.
    prepared: Arc<[Prepared]>,
    secure: Arc<Secure>,
    challenges: Arc<Challenges>,
    /// Finds [`CLICK_JSON`] in `Accept`; to make it costs a tenth of an answer.
    asks_for_json: Finder<'static>,
}

/// By this type an app asks for the click as JSON (design §5).
const CLICK_JSON: &[u8] = b"application/vnd.waypost.click+json";

/// Whether the lane will take this click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It will.
    Free,
    /// It will, but ring or disk budget is three quarters full: unknown codes are counted only (design §7).
    Pressed,
    /// It will not: the token says so, and the click is counted as unrecorded.
    None,
}

/// What comes into an answer from outside the request.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// The wall's time, milliseconds since the epoch: link expiry, token age, the event's time.
    pub wall_ms: u64,
    /// The lane's time: never behind an earlier click of it, so that ids are ordered.
    pub id_ms: u64,
    /// This click's random bytes.
    pub seed: Seed,
    /// Whether the lane will take it.
    pub room: Room,
}

/// What goes out, and where its click goes.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Location`, and with it `Referrer-Policy`.
    pub location: Option<(HeaderValue, HeaderValue)>,
    /// `Set-Cookie`
    pub set_cookie: Option<HeaderValue>,
    /// `Strict-Transport-Security`, over TLS alone.
    pub hsts: Option<HeaderValue>,
    /// The body.
    pub page: Page,
    /// What is counted and recorded.
    pub record: Record,
}

/// What is counted, and whether the click's bytes lie in the scratch buffer for the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A click on a link, for this topic.
    Click(Topic, Outcome, CookieState),
    /// A click on a code that no link has: an orphan, and the first to be counted only when room runs out.
    Unknown(Outcome, CookieState),
    /// A fixed path: no click.
    Fixed,
    /// Sent to `https`: the click is made there.
    Upgraded,
    /// Refused before a code was looked at: no click.
    Refused(Refusal),
}

impl Edge {
    /// Puts the parts together and prepares every domain's bodies. Called at start and at each reload.
    pub fn new(table: Arc<Table>, keys: Arc<Keyring>, domains: Arc<Domains>, trusted: Arc<Trusted>) -> Edge {
        let prepared = domains.all().iter().map(Prepared::of).collect();
        let (secure, challenges) = Default::default();
        Edge { table, keys, domains, trusted, prepared, secure, challenges, asks_for_json: Finder::new(CLICK_JSON) }
    }

    /// The same edge with other links.
    pub fn with_table(&self, table: Arc<Table>) -> Edge {
        Edge { table, ..self.share() }
    }

    /// The same edge with other keys.
    pub fn with_keys(&self, keys: Arc<Keyring>) -> Edge {
        Edge { keys, ..self.share() }
    }

    /// The same edge with what TLS changes.
    pub fn with_secure(self, secure: Secure) -> Edge {
        Edge { secure: Arc::new(secure), ..self }
    }

    /// The same edge with other ACME challenges.
    pub fn with_challenges(&self, challenges: Arc<Challenges>) -> Edge {
        Edge { challenges, ..self.share() }
    }

    fn share(&self) -> Edge {
        Edge {
            table: self.table.clone(),
            keys: self.keys.clone(),
            domains: self.domains.clone(),
            trusted: self.trusted.clone(),
            prepared: self.prepared.clone(),
            secure: self.secure.clone(),
            challenges: self.challenges.clone(),
            asks_for_json: self.asks_for_json.clone(),
        }
    }

    /// Answers one request; the bytes of its click lie in `scratch` afterwards. Called by [`service`], with no await
    /// between this and the append.
    pub fn answer<B>(&self, request: &Request<B>, moment: &Moment, scratch: &mut Scratch) -> Answer {
        let target = target::read(request);
        if moment.peer.upgrade
            && !self.trusted.https(request.headers(), moment.peer)
            && let Some(answer) = self.secure.upgrade(&target, request.uri(), &self.domains)
        {
            return answer;
        }
        let hsts = if moment.peer.tls { self.secure.hsts(&target, &self.domains) } else { None };
        let mut answer = match target {
            Target::Code(asked) => click::answer(self, request, &asked, moment, scratch),
            Target::Fixed(path, host) => self.fixed(path, self.domains.of_host(host), request.uri().path()),
            Target::Refused(status, why) => Answer::plain(status, Page::text(why.line()), Record::Refused(why)),
        };
        if hsts.is_some() {
            answer.hsts = hsts;
        }
        answer
    }

    /// Whose request this is, behind the proxies that are trusted.
    fn client_address<B>(&self, request: &Request<B>, peer: Peer) -> IpAddr {
        self.trusted.address(request.headers(), peer).0
    }

    fn prepared(&self, domain: &Domain) -> &Prepared {
        &self.prepared[domain.id.place()]
    }

    fn fixed(&self, path: Fixed, domain: &Domain, full: &str) -> Answer {
        let prepared = self.prepared(domain);
        let (status, page) = match path {
            Fixed::Root => match &domain.root_url {
                Some(url) => return Answer::redirect(url.clone(), domain, Record::Fixed),
                None => (StatusCode::OK, prepared.root.clone()),
            },
            Fixed::Robots => (StatusCode::OK, prepared.robots.clone()),
            Fixed::Favicon => (StatusCode::NO_CONTENT, Page::empty()),
            Fixed::WellKnown => match (association(domain, full), self.challenges.answer(full)) {
                (Some(body), _) => (StatusCode::OK, Page::json(body)),
                (None, Some(page)) => (StatusCode::OK, page),
                (None, None) => (StatusCode::NOT_FOUND, Page::empty()),
            },
        };
        Answer::plain(status, page, Record::Fixed)
    }
}

impl Answer {
    fn plain(status: StatusCode, page: Page, record: Record) -> Answer {
        Answer { status, location: None, set_cookie: None, hsts: None, page, record }
    }

    fn redirect(to: HeaderValue, domain: &Domain, record: Record) -> Answer {
        Answer {
            location: Some((to, domain.referrer_policy.clone())),
            ..Answer::plain(StatusCode::FOUND, Page::empty(), record)
        }
    }
}

/// The body of an app association file, for a domain whose app resolves its links (design §5).
fn association(domain: &Domain, path: &str) -> Option<Bytes> {
    match path {
        "/.well-known/apple-app-site-association" => domain.associations.apple.clone(),
        "/.well-known/assetlinks.json" => domain.associations.android.clone(),
        _ => None,
    }
}
