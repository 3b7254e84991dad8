//! What one domain answers with, made ready when the configuration is read: the cookie's form and the small bodies.

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    attribution::token::{HOST_COOKIE, SHARED_COOKIE},
    edge::pages::{self, Page},
    links::domains::Domain,
};

/// How long a click earns: 14 days (design §1).
const MAX_AGE_SECONDS: u32 = 1_209_600;

/// The ready parts of one domain.
#[derive(Debug)]
pub struct Prepared {
    /// The cookie's name.
    pub cookie_name: &'static str,
    /// `name=`
    pub cookie_before: Vec<u8>,
    /// What follows the token.
    pub cookie_after: Vec<u8>,
    /// The header that expires a presented cookie.
    pub cookie_expired: HeaderValue,
    /// `/`, where no root redirect is set.
    pub root: Page,
    /// `/robots.txt`
    pub robots: Page,
    /// An unknown code.
    pub not_found: Page,
    /// A link that is not live.
    pub gone: Page,
}

impl Prepared {
    /// Makes a domain's parts.
    pub fn of(domain: &Domain) -> Prepared {
        let (cookie_name, scope) = match &domain.cookie_domain {
            Some(shared) => (SHARED_COOKIE, format!("; Domain={shared}")),
            None => (HOST_COOKIE, String::new()),
        };
        let rest = format!("; Path=/; Secure; HttpOnly; SameSite=Lax{scope}");
        let expired = Bytes::from(format!("{cookie_name}=; Max-Age=0{rest}"));
        let shop = domain.shop_url.as_deref();
        Prepared {
            cookie_name,
            cookie_before: format!("{cookie_name}=").into(),
            cookie_after: format!("; Max-Age={MAX_AGE_SECONDS}{rest}").into(),
            // A cookie domain that no header can hold was refused with the configuration.
            cookie_expired: HeaderValue::from_maybe_shared(expired).unwrap_or(HeaderValue::from_static("")),
            root: Page::html("Short links", "Links shared by creators start here.", shop),
            robots: Page { content_type: Some(pages::TEXT), body: domain.robots.clone() },
            not_found: Page::html("Link not found", "This link does not exist. Check it for a typing error.", shop),
            gone: Page::html("Link not available", "This link is not active at the moment.", shop),
        }
    }
}
