//! The answer to a request, and how the request is counted.

use std::net::IpAddr;

use http::{HeaderValue, StatusCode};

use crate::{
    edge::{pages::Page, target::RequestRejection},
    links::domains::Domain,
    model::click::{CookieState, Outcome, Topic},
};

/// The answer to one request, before it is an HTTP response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers of a redirect.
    pub redirect: Option<RedirectHeaders>,
    /// `Set-Cookie`
    pub set_cookie: Option<HeaderValue>,
    /// `Strict-Transport-Security`; over TLS alone.
    pub hsts: Option<HeaderValue>,
    /// What lets the script of another origin read the answer; in a box, because few answers have it.
    pub cors: Option<Box<CorsHeaders>>,
    /// The body.
    pub page: Page,
    /// How the request is counted, and whether its click is recorded.
    pub accounting: Accounting,
}

/// The headers that only a redirect has.
#[derive(Debug)]
pub struct RedirectHeaders {
    /// `Location`
    pub location: HeaderValue,
    /// `Referrer-Policy`
    pub referrer_policy: HeaderValue,
}

/// The headers that let a script of a listed origin read an answer (the Fetch standard, §3.2).
#[derive(Debug)]
pub struct CorsHeaders {
    /// `Access-Control-Allow-Origin`
    pub allow_origin: HeaderValue,
    /// For the answer to a preflight: the headers of the request that follows.
    pub preflight: Option<PreflightHeaders>,
}

/// The headers of the answer to a preflight.
#[derive(Debug)]
pub struct PreflightHeaders {
    /// `Access-Control-Allow-Headers`: those that the script named. None of them has an effect.
    pub allow_headers: Option<HeaderValue>,
}

/// How a request is counted. With a click, its bytes are in the scratch buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounting {
    /// A click on a link.
    Click {
        /// The topic of the click's event.
        topic: Topic,
        /// Whether the request itself says that nobody tapped: HEAD, a prefetch, no navigation. Such a click never
        /// counts, and its record is given up before a person's.
        is_uncountable: bool,
        /// The decision.
        outcome: Outcome,
        /// The state of the presented cookie.
        cookie_state: CookieState,
    },
    /// A click on a code that no link has. Its record is the first to be dropped when the lane fills up.
    UnknownCode {
        /// The decision.
        outcome: Outcome,
        /// The state of the presented cookie.
        cookie_state: CookieState,
        /// The address whose rate of unknown codes is limited.
        client: IpAddr,
    },
    /// A fixed path, or the preflight of an app's request; no click.
    FixedPath,
    /// A redirect to `https`; the click is made there.
    HttpsRedirect,
    /// Rejected before the code was read; no click.
    Rejected(RequestRejection),
}

impl Answer {
    /// An answer without redirect and cookie.
    pub(super) fn with_page(status: StatusCode, page: Page, accounting: Accounting) -> Answer {
        Answer { status, redirect: None, set_cookie: None, hsts: None, cors: None, page, accounting }
    }

    /// A `302` with an empty body.
    pub(super) fn redirect_302_to(location: HeaderValue, domain: &Domain, accounting: Accounting) -> Answer {
        let referrer_policy = domain.referrer_policy.clone();
        Answer {
            redirect: Some(RedirectHeaders { location, referrer_policy }),
            ..Answer::with_page(StatusCode::FOUND, Page::empty(), accounting)
        }
    }
}
