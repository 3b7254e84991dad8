//! The answer table for a code (design §5): from the link's state and what the request says to one outcome.
//!
//! The rows overlap; they are tried in this order: prefetch, the link's state, HEAD, app, non-navigation. Privacy signals
//! only ever take away.

use http::{HeaderValue, StatusCode};

use crate::{
    links::{
        Link, State,
        domains::{Domain, Gpc, OnExpired, Prefetch},
    },
    model::click::{Consent, Outcome, Privacy, Topic},
};

/// What the request says about itself, as far as it decides.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// A prefetch or prerender.
    pub prefetch: bool,
    /// HEAD.
    pub head: bool,
    /// An app resolves the link itself.
    pub app: bool,
    /// `Sec-Fetch-Dest` says that it is no navigation.
    pub non_navigation: bool,
    /// GPC and consent, as the domain takes them.
    pub privacy: Privacy,
}

/// Where the buyer is sent.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// To the link's destination.
    Link(&'a Link),
    /// To another URL of the link (bytes validated when it was loaded).
    Url(&'a str),
    /// To a prepared URL of the domain.
    Prepared(&'a HeaderValue),
    /// The click as JSON, for an app.
    Json(&'a Link),
    /// The small page of a link that is not live.
    Gone,
    /// The small page of an unknown code.
    NotFound,
    /// Nowhere: an empty body.
    Nowhere,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    /// What is recorded and counted.
    pub outcome: Outcome,
    /// The status.
    pub status: StatusCode,
    /// Where to.
    pub way: Way<'a>,
    /// The topic.
    pub topic: Topic,
    /// What this answer does with the attribution cookie.
    pub cookie: Cookie,
    /// Whether the destination may carry a token.
    pub token: bool,
}

/// What an answer does with the attribution cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Sets it anew: last click wins.
    Set,
    /// Expires it, if one was presented: the buyer asked not to be linked.
    Expire,
    /// Leaves it alone.
    Keep,
}

/// GPC and consent, as the domain takes them. `cons=0` is never ignored.
pub fn privacy(consent: Consent, gpc: bool, domain: &Domain) -> Privacy {
    match (consent, gpc, domain.gpc) {
        (Consent::Refused, _, _) | (_, true, Gpc::Strict) => Privacy::Strict,
        (_, true, Gpc::Unlinked) => Privacy::Unlinked,
        (_, true, Gpc::Ignore) | (_, false, _) => Privacy::None,
    }
}

/// Decides one click. `link` is what the table holds for the code, `now_ms` the wall's time.
pub fn decide<'a>(link: Option<&'a Link>, domain: &'a Domain, now_ms: u64, signals: Signals) -> Decision<'a> {
    let state = link.map(|link| (link, link.state(now_ms)));
    let topic = if matches!(state, Some((_, State::Live))) { Topic::Clicks } else { Topic::Orphan };
    let bare = |outcome, status, way| Decision { outcome, status, way, topic, cookie: Cookie::Keep, token: false };
    if signals.prefetch && domain.prefetch == Prefetch::Refuse {
        return bare(Outcome::RefusedPrefetch, StatusCode::SERVICE_UNAVAILABLE, Way::Nowhere);
    }
    match state {
        None => match domain.not_found_url.as_ref().or(domain.root_url.as_ref()) {
            Some(url) => bare(Outcome::NotFound, StatusCode::FOUND, Way::Prepared(url)),
            None => bare(Outcome::NotFound, StatusCode::NOT_FOUND, Way::NotFound),
        },
        Some((link, State::Live)) => live(link, signals),
        Some((link, ended)) => {
            if let Some(url) = link.fallback_url() {
                return bare(Outcome::Fallback, StatusCode::FOUND, Way::Url(url));
            }
            if let Some(url) = &domain.fallback_url {
                return bare(Outcome::Fallback, StatusCode::FOUND, Way::Prepared(url));
            }
            match ended {
                State::Expired if domain.on_expired == OnExpired::Pass => {
                    bare(Outcome::Passed, StatusCode::FOUND, Way::Link(link))
                }
                State::NotStarted => bare(Outcome::NotStarted, StatusCode::GONE, Way::Gone),
                State::Disabled => bare(Outcome::Disabled, StatusCode::GONE, Way::Gone),
                State::Expired | State::Live => bare(Outcome::Expired, StatusCode::GONE, Way::Gone),
            }
        }
    }
}

/// A live link: only a buyer's own navigation gets cookie and token, an app the token alone.
fn live(link: &Link, signals: Signals) -> Decision<'_> {
    let token = signals.privacy != Privacy::Strict;
    let cookie = if signals.privacy == Privacy::None { Cookie::Set } else { Cookie::Expire };
    let redirect = Decision {
        outcome: Outcome::Redirected,
        status: StatusCode::FOUND,
        way: Way::Link(link),
        topic: Topic::Clicks,
        cookie,
        token,
    };
    // A prefetch that the domain lets through comes before the app: nobody has tapped yet, whoever asks.
    if signals.prefetch || signals.head {
        Decision { cookie: Cookie::Keep, token: false, ..redirect }
    } else if signals.app {
        Decision { status: StatusCode::OK, way: Way::Json(link), cookie: Cookie::Keep, ..redirect }
    } else if signals.non_navigation {
        Decision { cookie: Cookie::Keep, token: false, ..redirect }
    } else {
        redirect
    }
}
