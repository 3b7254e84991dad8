//! What one domain answers with, formatted when the configuration is read: the cookie's attributes and the small pages.

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    attribution::{
        ATTRIBUTION_WINDOW_MS,
        cookie::{HOST_COOKIE, SHARED_COOKIE},
    },
    edge::pages::Page,
    links::domains::Domain,
};

/// The formatted responses of one domain.
#[derive(Debug)]
pub(super) struct DomainResponses {
    /// The attribution cookie's name.
    pub(super) cookie_name: &'static str,
    /// The bytes before the token in `Set-Cookie`: `name=`.
    pub(super) cookie_prefix: Vec<u8>,
    /// The bytes behind the token: the cookie's attributes.
    pub(super) cookie_suffix: Vec<u8>,
    /// The `Set-Cookie` that makes a browser drop the cookie.
    pub(super) expired_cookie: HeaderValue,
    /// `/`, where no root URL is set.
    pub(super) root: Page,
    /// `/robots.txt`
    pub(super) robots: Page,
    /// An unknown code.
    pub(super) not_found: Page,
    /// A link that is not live.
    pub(super) gone: Page,
}

impl DomainResponses {
    /// Formats a domain's responses.
    pub(super) fn new(domain: &Domain) -> DomainResponses {
        let (cookie_name, domain_attribute) = match &domain.cookie_domain {
            Some(cookie_domain) => (SHARED_COOKIE, format!("; Domain={cookie_domain}")),
            None => (HOST_COOKIE, String::new()),
        };
        let attributes = format!("; Path=/; Secure; HttpOnly; SameSite=Lax{domain_attribute}");
        let expired = Bytes::from(format!("{cookie_name}=; Max-Age=0{attributes}"));
        let max_age = ATTRIBUTION_WINDOW_MS / 1000;
        let shop = domain.shop_url.as_deref();
        DomainResponses {
            cookie_name,
            cookie_prefix: format!("{cookie_name}=").into(),
            cookie_suffix: format!("; Max-Age={max_age}{attributes}").into(),
            // The configuration refuses a cookie domain that no header can hold, so the default is never used.
            expired_cookie: HeaderValue::from_maybe_shared(expired).unwrap_or(HeaderValue::from_static("")),
            root: Page::html_from_escaped_texts_and_shop_url(
                "Short links",
                "Links shared by creators start here.",
                shop,
            ),
            robots: Page::plain_text(domain.robots.clone()),
            not_found: Page::html_from_escaped_texts_and_shop_url(
                "Link not found",
                "This link does not exist. Check it for a typing error.",
                shop,
            ),
            gone: Page::html_from_escaped_texts_and_shop_url(
                "Link not available",
                "This link is not active at the moment.",
                shop,
            ),
        }
    }
}
